/**
 * The load of one subject: programs in the client's namespace, written in C where Node itself would be the
 * slowest part.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { sleep } from "../../support/lab/clock.ts";
import type { Host } from "../../support/lab/host.ts";
import type { LabProcess } from "../../support/lab/process.ts";
import { httpServer, startHaproxy } from "../haproxy.ts";
import { memoryKib, sandboxCpuMs } from "../processes.ts";
import { gbitPerSecond, requestsPerSecond, roundTrips } from "./figures.ts";
import type { RoundTrips } from "./figures.ts";

const SECONDS = 2;
/** At a time, for new connections. */
const CONCURRENT = 16;
export const CROWD = 5000;

/** Where the client connects to. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** Of the balancer; undefined where no process is in the way. */
  readonly pid: number | undefined;
}

/** What answers on every backend while one kind of load is on. */
export type ServerKind = "bulk" | "echo" | "http";

export async function startServer(host: Host, kind: ServerKind, port: number): Promise<LabProcess> {
  // sockperf does not set SO_REUSEADDR: what the last server's connections left would keep it from the port.
  await forgetEnded(host, `sport = :${port}`);
  const started = await start(host, kind, port);
  for (let tries = 0; tries < 100; tries++) {
    if ((await host.run(["ss", "-Htln", `sport = :${port}`])) !== "") return started;
    await sleep(50);
  }
  throw new Error(`${kind} does not listen on port ${port}\n${started.lastLines(10).join("\n")}`);
}

function start(host: Host, kind: ServerKind, port: number): Promise<LabProcess> {
  switch (kind) {
    case "bulk":
      return host.spawn(["iperf3", "--server", "--port", String(port)], { name: "iperf3" });
    case "echo":
      return host.spawn(["sockperf", "server", "--tcp", "-i", "0.0.0.0", "-p", String(port)], {
        name: "sockperf",
      });
    case "http":
      return startHaproxy(host, "http-server", httpServer(port));
  }
}

export interface Measured<T> {
  readonly value: T;
  /** Of all processes of the benchmark. */
  readonly cpuMs: number;
}

async function measured<T>(act: () => Promise<T>): Promise<Measured<T>> {
  const before = sandboxCpuMs();
  const value = await act();
  return { value, cpuMs: sandboxCpuMs() - before };
}

/** One stream. Gbit/s, and the Gbit that came. */
export async function bulk(
  client: Host,
  target: Target,
  direction: "down" | "up",
): Promise<Measured<number>> {
  const argv = [
    "iperf3",
    "--client",
    target.host,
    "--port",
    String(target.port),
    "--time",
    String(SECONDS),
    "--json",
    ...(direction === "down" ? ["--reverse"] : []),
  ];
  for (let tries = 1; ; tries++) {
    try {
      return await measured(async () => gbitPerSecond(await client.run(argv, { timeoutMs: 30_000 })));
    } catch (error) {
      // It takes one client at a time, and may not have done with the last one.
      if (tries === 5) throw error;
      await sleep(300);
    }
  }
}

export function gbitIn(rate: number): number {
  return rate * SECONDS;
}

/** Each connection carries one request and its answer. */
export async function connections(client: Host, target: Target): Promise<Measured<number>> {
  await forgetEnded(client);
  return measured(async () =>
    requestsPerSecond(
      await client.run(
        [
          "wrk",
          "-t1",
          `-c${CONCURRENT}`,
          `-d${SECONDS}`,
          "-H",
          "Connection: close",
          `http://${target.host}:${target.port}/`,
        ],
        { timeoutMs: 30_000 },
      ),
    ),
  );
}

/**
 * Where a client is the first to close it keeps the port in TIME-WAIT for a minute, and Linux gives out half
 * of its 28000 to begin with. After ten thousand connections to one address the search for a free one took
 * longer than anything that is measured here.
 */
async function forgetEnded(host: Host, ...filter: readonly string[]): Promise<void> {
  await host.run(["ss", "-K", "state", "time-wait", ...filter]);
}

export function connectionsIn(rate: number): number {
  return rate * SECONDS;
}

/** 14 bytes each way, one at a time: the rate is the path's latency, with nothing queued. */
export async function pingPong(client: Host, target: Target): Promise<RoundTrips> {
  const argv = [
    "sockperf",
    "ping-pong",
    "--tcp",
    "-i",
    target.host,
    "-p",
    String(target.port),
    "-t",
    String(SECONDS),
    "--full-rtt",
  ];
  return roundTrips(await client.run(argv, { timeoutMs: 30_000 }));
}

export interface Crowd {
  /** From the first connect() until the last had its answer; Infinity when some never had. */
  readonly answeredMs: number;
  /** What all connections took while they were idle, of kernel objects and of the balancer's process. */
  readonly memoryKib: number;
}

export async function crowd(client: Host, target: Target): Promise<Crowd> {
  await forgetEnded(client);
  const before = memoryKib(target.pid);
  const script = fileURLToPath(new URL("crowd-child.ts", import.meta.url));
  const [file = "", ...args] = client.inside([
    process.execPath,
    script,
    target.host,
    String(target.port),
    String(CROWD),
  ]);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    await sleep(300); // what was needed for a moment only is freed
    return { answeredMs: Number(line), memoryKib: memoryKib(target.pid) - before };
  } finally {
    const ended = once(child, "exit");
    child.stdin.end();
    await ended;
  }
}
