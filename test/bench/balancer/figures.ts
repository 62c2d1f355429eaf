/** What the load programs print, as numbers; what the kernel says of processor time and memory. */
import { readdirSync, readFileSync } from "node:fs";

/** `iperf3 --json`: Gbit/s that arrived. @throws Error with what iperf3 complains of */
export function gbitPerSecond(iperf3: string): number {
  const report: { readonly error?: string; readonly end?: { readonly sum_received?: { readonly bits_per_second?: number } } } = JSON.parse(iperf3);
  const bits = report.end?.sum_received?.bits_per_second;
  if (report.error !== undefined || bits === undefined) throw new Error(`iperf3: ${report.error ?? "no figures"}`);
  return bits / 1e9;
}

/** `wrk`: answers a second; what was reset or timed out is no answer. @throws Error when some answers were not 200 */
export function requestsPerSecond(wrk: string): number {
  const rate = /^Requests\/sec:\s+(\d+(?:\.\d+)?)$/m.exec(wrk)?.[1];
  if (rate === undefined || wrk.includes("Non-2xx")) throw new Error(`wrk: ${wrk}`);
  return Number(rate);
}

export interface RoundTrips {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** `sockperf ping-pong --full-rtt`. @throws Error with all it said when figures are missing */
export function roundTrips(sockperf: string): RoundTrips {
  const valid = /\[Valid Duration\] RunTime=([\d.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)/.exec(sockperf);
  const percentile = (name: string): number => Number(new RegExp(`percentile ${name} =\\s+([\\d.]+)`).exec(sockperf)?.[1]);
  const figures = { perSecond: Number(valid?.[2]) / Number(valid?.[1]), p50Us: percentile("50\\.000"), p99Us: percentile("99\\.000") };
  if (Object.values(figures).some((value) => !Number.isFinite(value))) throw new Error(`sockperf: ${sockperf}`);
  return figures;
}

/** User and system time of a process and of those that it has waited for, ms. USER_HZ is 100 on every Linux port that Node has. */
export function cpuMs(stat: string): number {
  // The name, in brackets, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
  return fields.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0) * 10;
}

/**
 * Processor time of all processes of the sandbox, client and server too. What the kernel forwards runs on behalf of whoever sent it, and is in
 * here; what its own threads (ksoftirqd) took over under load is not. The machine's total would hold that, and everybody else's work.
 */
export function sandboxCpuMs(): number {
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return processes.reduce((sum, pid) => {
    try {
      return sum + cpuMs(readFileSync(`/proc/${pid}/stat`, "utf8"));
    } catch {
      return sum; // ended in between, and is in its parent's figures now
    }
  }, 0);
}

/** Of the kernel's objects (sockets, tracked connections) and of a process, KiB. */
export function memoryKib(pid: number | undefined, meminfo = readFileSync("/proc/meminfo", "utf8")): number {
  const field = (text: string, name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
  return field(meminfo, "Slab") + (pid === undefined ? 0 : field(readFileSync(`/proc/${pid}/status`, "utf8"), "VmRSS"));
}
