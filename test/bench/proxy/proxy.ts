/**
 * The proxy beside HAProxy and no balancer at all, on loopback. Client, servers and subject share the machine, so that
 * rates mix all their costs: beside each stands what the subject's process took of it, CPU time.
 */
import { fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../support/balancer/fixture.ts";
import { freePort } from "../../support/balancer/servers.ts";
import { TOOL_PATH } from "../../support/sandbox/tools.ts";
import { versionsOf } from "../anchor.ts";
import type { Benchmark, Sample } from "../report.ts";
import { bulk, connections } from "./load.ts";
import type { Measured, Subject } from "./load.ts";

const OURS = "leasehold";
const ANCHOR = "haproxy";
const DIRECT = "no balancer";
const SERVERS = 2;

export const proxy: Benchmark = {
  name: "proxy",
  summary: "the TCP proxy beside HAProxy: new connections, bulk, CPU time",
  defaultRounds: 5,
  subjects: [DIRECT, ANCHOR, OURS],
  ours: OURS,
  anchor: ANCHOR,
  metrics: [
    { name: "new connections", unit: "1/s", decimals: 0, goal: { kind: "planned", text: `>= 0.8 of ${ANCHOR}` } },
    { name: "CPU per connection", unit: "us", decimals: 0 },
    { name: "bulk down", unit: "GB/s", decimals: 2, goal: { kind: "planned", text: `>= 1.0 of ${ANCHOR}` } },
    { name: "CPU per GB down", unit: "ms", decimals: 0 },
    { name: "bulk up", unit: "GB/s", decimals: 2, goal: { kind: "planned", text: `>= 1.0 of ${ANCHOR}` } },
    { name: "CPU per GB up", unit: "ms", decimals: 0 },
  ],
  anchorVersion: () => versionsOf(["haproxy"]),
  needs: "nothing",
  run,
};

async function run(rounds: number, record: (sample: Sample) => void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-bench-"));
  const children: ChildProcess[] = [];
  const forked = async (file: URL, args: readonly string[] = []): Promise<{ readonly pid: number; readonly port: number }> => {
    const child = fork(file, args);
    children.push(child);
    return { pid: child.pid ?? 0, port: Number((await once(child, "message"))[0]) };
  };
  try {
    const ports: number[] = [];
    for (let i = 0; i < SERVERS; i++) ports.push((await forked(new URL("./server-child.ts", import.meta.url))).port);
    const ours = await forked(new URL("./proxy-child.ts", import.meta.url), ports.map(String));
    const haproxy = await startHaproxy(ports, directory, children);
    const subjects: Subject[] = [
      { name: DIRECT, port: ports[0] ?? 0, pid: undefined },
      { name: ANCHOR, ...haproxy },
      { name: OURS, ...ours },
    ];
    for (const subject of subjects) await connections(subject); // compiled and grown before it counts
    for (let round = 1; round <= rounds; round++) {
      await measureRound(subjects, round, record);
      subjects.push(...subjects.splice(0, 1)); // nobody is always the first
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
async function measureRound(subjects: readonly Subject[], round: number, record: (sample: Sample) => void): Promise<void> {
  for (const subject of subjects) {
    const { amount, tookMs, cpuMs } = await connections(subject);
    const say = (metric: string, value: number): void => record({ round, subject: subject.name, metric, value });
    say("new connections", (amount / tookMs) * 1000);
    if (cpuMs !== undefined) say("CPU per connection", (cpuMs * 1000) / amount);
  }
  for (const direction of ["down", "up"] as const) {
    for (const subject of subjects) {
      const { amount, tookMs, cpuMs }: Measured = await bulk(subject, direction);
      const say = (metric: string, value: number): void => record({ round, subject: subject.name, metric, value });
      say(`bulk ${direction}`, amount / tookMs / 1e6);
      if (cpuMs !== undefined) say(`CPU per GB ${direction}`, (cpuMs * 1e9) / amount);
    }
  }
}

/** One thread, as our proxy has one; otherwise what a TCP balancer needs and no more. */
async function startHaproxy(ports: readonly number[], directory: string, children: ChildProcess[]): Promise<{ readonly pid: number; readonly port: number }> {
  const port = await freePort();
  const file = join(directory, "haproxy.cfg");
  const config = `
global
  nbthread 1
  maxconn 9500
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
