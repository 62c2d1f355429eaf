/**
 * The metrics of a process that every Prometheus client has, by the names of its conventions. prom-client's
 * own collection brings 20 more of Node's, watches the event loop's delay with a timer, and costs 15 MB.
 */
import { readdirSync, readFileSync } from "node:fs";
import { mostOpenFiles } from "../linux/open-files.ts";
import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";

/** Registers them. They are read at each scrape. One that the kernel does not tell is absent then. */
export function collectProcessMetrics(registry: Registry): void {
  const registers = [registry];
  const cpu = new Counter({
    name: "process_cpu_seconds_total",
    help: "User and system CPU time of the agent in seconds, its ended child processes not included.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1e6);
    },
  });
  const gauge = (name: string, help: string, read: () => number | undefined): void => {
    const metric: Gauge = new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = read();
        if (value === undefined) metric.remove();
        else metric.set(value);
      },
    });
  };
  const startedAtS = Date.now() / 1000 - process.uptime();
  gauge("process_start_time_seconds", "When the agent started, in seconds since 1970.", () => startedAtS);
  gauge("process_resident_memory_bytes", "Resident memory in bytes.", () => process.memoryUsage.rss());
  gauge("process_virtual_memory_bytes", "Virtual memory in bytes.", () => statusKib("VmSize"));
  gauge("process_open_fds", "Open file descriptors.", () =>
    quietly(() => readdirSync("/proc/self/fd").length),
  );
  gauge("process_max_fds", "Most file descriptors that may be open.", () => mostOpenFiles());
  gauge(
    "nodejs_heap_size_used_bytes",
    "Used part of the JavaScript heap of the agent's main thread in bytes.",
    () => process.memoryUsage().heapUsed,
  );
}

function statusKib(name: string): number | undefined {
  return quietly(() => {
    const kib = number(
      new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1],
    );
    return kib === undefined ? undefined : kib * 1024;
  });
}

function number(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** Returns what `read` returns. undefined where /proc is not there or is hidden. */
function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
