/** Processor time and memory of processes, as the kernel says. */
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessFigures {
  /** Its own, and that of children it has waited for. */
  readonly cpuMs: number;
  /** Resident. */
  readonly memoryKib: number;
  /** Of these what no file backs: what the machine cannot take back without swapping. */
  readonly anonymousKib: number;
  /** Resident, where a page that n processes share counts as 1/n for each. */
  readonly proportionalKib: number;
  /** How often its living threads have waited for something (voluntary context switches). */
  readonly wakeUps: number;
}

/** undefined when it has ended: its parent has its figures then. */
export function processOf(pid: number): ProcessFigures | undefined {
  const stat = statOf(pid);
  try {
    if (stat === undefined) return undefined;
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return {
      cpuMs: cpuMs(stat),
      memoryKib: kib(status, "VmRSS"),
      anonymousKib: kib(status, "RssAnon"),
      proportionalKib: kib(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"), "Pss"),
      wakeUps: wakeUps(pid),
    };
  } catch {
    return undefined;
  }
}

/**
 * User and system time of a process and of those that it has waited for, ms. USER_HZ is 100 on every Linux
 * port that Node has.
 */
export function cpuMs(stat: string): number {
  return (
    fieldsOf(stat)
      .slice(11, 15)
      .reduce((sum, ticks) => sum + ticks, 0) * 10
  );
}

export function parentOf(stat: string): number {
  return fieldsOf(stat)[1] ?? Number.NaN;
}

/**
 * Processor time of all processes of the sandbox, client and server too. What the kernel forwards runs on
 * behalf of whoever sent it, and is in here; what its own threads (ksoftirqd) took over under load is not.
 * The machine's total would hold that, and everybody else's work.
 */
export function sandboxCpuMs(): number {
  return all().reduce((sum, { stat }) => sum + cpuMs(stat), 0);
}

/**
 * A process and those that live on below it: masters have workers. What was only born to run a check is in
 * its parent's figures when it has ended.
 */
export function family(pid: number): readonly number[] {
  const parents = all().map((one) => ({ pid: one.pid, parent: parentOf(one.stat) }));
  const found = [pid];
  for (const one of found)
    found.push(...parents.filter(({ parent }) => parent === one).map((child) => child.pid));
  return found;
}

/** Of the kernel's objects (sockets, tracked connections) and of a process, KiB. */
export function memoryKib(pid: number | undefined, meminfo = readFileSync("/proc/meminfo", "utf8")): number {
  return kib(meminfo, "Slab") + (pid === undefined ? 0 : residentKib(pid));
}

function residentKib(pid: number): number {
  return kib(readFileSync(`/proc/${pid}/status`, "utf8"), "VmRSS");
}

/** Of all threads that live. */
function wakeUps(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1] ?? 0);
  }, 0);
}

function kib(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
}

/** Those after the name, which is in brackets and may hold anything. */
function fieldsOf(stat: string): readonly number[] {
  return stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
}

/** undefined: it has ended, and is in its parent's figures now. */
function statOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
}

function all(): readonly { readonly pid: number; readonly stat: string }[] {
  return readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? statOf(pid) : undefined;
    return stat === undefined ? [] : [{ pid, stat }];
  });
}
