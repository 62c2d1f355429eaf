/**
 * The proxy beside HAProxy and no balancer at all, on loopback: one thread each, and each with its default
 * number, which is a thread per core for HAProxy and `workersFor` for ours. Client, servers and subject share
 * the machine, so that rates mix all their costs: beside each stands what the subject's process took of it,
 * CPU time.
 */
import { fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { workersFor } from "../../../src/proxy/threads.ts";
import { freePort } from "../../support/backends/servers.ts";
import { until } from "../../support/proxy/fixture.ts";
import { TOOL_PATH } from "../../support/sandbox/tools.ts";
import { versionsOf } from "../anchor.ts";
import type { Benchmark, Metric, Plan, Sample } from "../report.ts";
import { bulk, connections, residentMiB } from "./load.ts";
import type { Subject } from "./load.ts";

const OURS = "leasehold";
const ANCHOR = "haproxy";
const DIRECT = "no balancer";
const SERVERS = 2;
const WARM_UPS = 2;
const MODES = ["1 thread", "defaults"] as const;
type Mode = (typeof MODES)[number];

export const proxy: Benchmark = {
  name: "proxy",
  summary: "the TCP proxy beside HAProxy, one thread each and with defaults: new connections, bulk, CPU time",
  defaultRounds: 10,
  subjects: [DIRECT, ANCHOR, OURS],
  ours: OURS,
  anchor: ANCHOR,
  metrics: MODES.flatMap((mode): readonly Metric[] => [
    {
      name: `new connections, ${mode}`,
      unit: "1/s",
      decimals: 0,
      goal: { kind: "planned", text: `>= 0.8 of ${ANCHOR}` },
    },
    { name: `CPU per connection, ${mode}`, unit: "us", decimals: 0 },
    { name: `main thread late, ${mode}`, unit: "ms", decimals: 1 },
    {
      name: `bulk down, ${mode}`,
      unit: "GB/s",
      decimals: 2,
      goal: { kind: "planned", text: `>= 1.0 of ${ANCHOR}` },
    },
    { name: `CPU per GB down, ${mode}`, unit: "ms", decimals: 0 },
    {
      name: `bulk up, ${mode}`,
      unit: "GB/s",
      decimals: 2,
      goal: { kind: "planned", text: `>= 1.0 of ${ANCHOR}` },
    },
    { name: `CPU per GB up, ${mode}`, unit: "ms", decimals: 0 },
    { name: `memory, ${mode}`, unit: "MiB", decimals: 0 },
  ]),
  anchorVersion: () => versionsOf(["haproxy"]),
  needs: "nothing",
  run,
};

interface Process {
  readonly pid: number;
  readonly port: number;
  /** See `proxy-child.ts`. */
  readonly mainThreadLateMs?: () => Promise<number>;
}

/** What a round measures in one mode. */
interface Entrant extends Subject {
  readonly mode: Mode;
  readonly mainThreadLateMs?: () => Promise<number>;
}

async function run({ rounds }: Plan, record: (sample: Sample) => void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-bench-"));
  const children: ChildProcess[] = [];
  const forked = async (file: URL, args: readonly string[] = []): Promise<Process> => {
    const child = fork(file, args);
    children.push(child);
    const next = async (): Promise<number> => Number((await once(child, "message"))[0]);
    const port = await next();
    const mainThreadLateMs = async (): Promise<number> => {
      const answer = next();
      child.send("late?");
      return await answer;
    };
    return { pid: child.pid ?? 0, port, mainThreadLateMs };
  };
  try {
    const ports: number[] = [];
    for (let i = 0; i < SERVERS; i++)
      ports.push((await forked(new URL("./server-child.ts", import.meta.url))).port);
    const entrants: Entrant[] = [];
    for (const mode of MODES) {
      const workers = mode === "1 thread" ? 1 : workersFor(availableParallelism());
      const ours = await forked(
        new URL("./proxy-child.ts", import.meta.url),
        [workers, ...ports].map(String),
      );
      const haproxy = await startHaproxy(mode, ports, directory, children);
      entrants.push(
        { name: DIRECT, mode, port: ports[0] ?? 0, pid: undefined },
        { name: ANCHOR, mode, ...haproxy },
        { name: OURS, mode, ...ours },
      );
    }
    for (let time = 0; time < WARM_UPS; time++) {
      for (const entrant of entrants) await connections(entrant); // compiled and grown before it counts
    }
    for (let round = 1; round <= rounds; round++) {
      await measureRound(entrants, round, record);
      entrants.push(...entrants.splice(0, 1)); // nobody is always the first
    }
  } finally {
    for (const child of children) {
      if (child.connected) child.disconnect();
      else child.kill("SIGKILL");
    }
    rmSync(directory, { recursive: true });
  }
}

/** One kind of load after the other, so that what is compared was measured within seconds. */
async function measureRound(
  entrants: readonly Entrant[],
  round: number,
  record: (sample: Sample) => void,
): Promise<void> {
  const say = ({ name, mode }: Entrant, metric: string, value: number): void =>
    record({ round, subject: name, metric: `${metric}, ${mode}`, value });
  for (const entrant of entrants) {
    await entrant.mainThreadLateMs?.();
    const { amount, tookMs, cpuMs } = await connections(entrant);
    const lateMs = await entrant.mainThreadLateMs?.();
    say(entrant, "new connections", (amount / tookMs) * 1000);
    if (cpuMs !== undefined) say(entrant, "CPU per connection", (cpuMs * 1000) / amount);
    if (lateMs !== undefined) say(entrant, "main thread late", lateMs);
  }
  for (const direction of ["down", "up"] as const) {
    for (const entrant of entrants) {
      const { amount, tookMs, cpuMs } = await bulk(entrant, direction);
      say(entrant, `bulk ${direction}`, amount / tookMs / 1e6);
      if (cpuMs !== undefined) say(entrant, `CPU per GB ${direction}`, (cpuMs * 1e9) / amount);
    }
  }
  for (const entrant of entrants) {
    if (entrant.pid !== undefined) say(entrant, "memory", residentMiB(entrant.pid));
  }
}

/** What a TCP balancer needs and no more. */
async function startHaproxy(
  mode: Mode,
  ports: readonly number[],
  directory: string,
  children: ChildProcess[],
): Promise<Process> {
  const port = await freePort();
  const file = join(directory, `haproxy-${port}.cfg`);
  const config = `
global
  maxconn 9500
  ${mode === "1 thread" ? "nbthread 1" : "# nbthread: a thread per core"}
defaults
  mode tcp
  balance leastconn
  timeout connect 1s
  timeout client 1h
  timeout server 1h
frontend f
  bind 127.0.0.1:${port}
  default_backend b
backend b
${ports.map((serverPort, i) => `  server s${i} 127.0.0.1:${serverPort}`).join("\n")}
`;
  writeFileSync(file, config);
  const child = spawn("haproxy", ["-db", "-q", "-f", file], { stdio: "ignore", env: { PATH: TOOL_PATH } });
  children.push(child);
  let up = false;
  await until("haproxy listens", () => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      up = true;
      socket.destroy();
    });
    socket.once("error", () => socket.destroy());
    return up;
  });
  return { pid: child.pid ?? 0, port };
}
