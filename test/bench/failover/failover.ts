/**
 * Failover as a client sees it, beside keepalived on the same nodes: a new connection every 5 ms to each one's own
 * address; the gap is the longest distance between the send times of two answered ones.
 */
import { createCluster } from "../../lab/cluster.ts";
import type { Cluster } from "../../lab/cluster.ts";
import { monotonicMs, sleep } from "../../support/lab/clock.ts";
import { ClientProbe, longestGap } from "../../support/lab/probe.ts";
import { versionOf } from "../anchor.ts";
import type { Benchmark, Sample } from "../report.ts";
import { Keepalived, LISTENER_PORT } from "./keepalived.ts";

const OURS = "leasehold";
const ANCHOR = "keepalived";
const STOP = "gap, planned stop (SIGTERM)";
const KILL = "gap, killed for good (SIGKILL)";
const BALANCER_PORT = 8443;
const KEEPALIVED_VIP = "10.77.0.101";
const PROBE_TIMEOUT_MS = 1000;

export const failover: Benchmark = {
  name: "failover",
  summary: "what a client sees when the holder stops or dies, beside keepalived",
  defaultRounds: 5,
  subjects: [ANCHOR, OURS],
  ours: OURS,
  anchor: ANCHOR,
  metrics: [
    { name: STOP, unit: "ms", decimals: 0, goal: { kind: "at-most", value: 150 } },
    { name: KILL, unit: "ms", decimals: 0 },
  ],
  anchorVersion: () => versionOf("keepalived", "--version"),
  needsLab: true,
  run,
};

async function run(rounds: number, record: (sample: Sample) => void): Promise<void> {
  await using cluster = await createCluster();
  const hosts = cluster.nodes.map((node) => node.host);
  const keepalived = new Keepalived(cluster.lab, hosts, KEEPALIVED_VIP);
  await Promise.all([cluster.startAgents(), keepalived.start()]);
  for (let round = 1; round <= rounds; round++) {
    for (const metric of [STOP, KILL]) {
      record({ round, subject: ANCHOR, metric, value: await keepalivedGap(cluster, keepalived, metric) });
      record({ round, subject: OURS, metric, value: await ourGap(cluster, metric) });
    }
  }
}

async function keepalivedGap(cluster: Cluster, keepalived: Keepalived, metric: string): Promise<number> {
  const gap = await observe(cluster, keepalived.vip, LISTENER_PORT, () => (metric === STOP ? keepalived.stopMaster() : keepalived.killMaster()));
  await keepalived.start();
  return gap;
}

async function ourGap(cluster: Cluster, metric: string): Promise<number> {
  const holder = await cluster.settled();
  const gap = await observe(cluster, cluster.vip, BALANCER_PORT, () => holder.endAgent(metric === STOP ? "SIGTERM" : "SIGKILL"));
  const next = await cluster.settled();
  if (next === holder) throw new Error(`${holder.name} was to lose the VIP and has it\n${cluster.lab.tails(20)}`);
  await holder.startAgent();
  await cluster.settled();
  return gap;
}

/** The longest gap from half a second before `act` until the address has answered steadily again. */
async function observe(cluster: Cluster, host: string, port: number, act: () => Promise<void>): Promise<number> {
  await using probe = await ClientProbe.start(cluster.client, { host, port, timeoutMs: PROBE_TIMEOUT_MS }, `probe-${(serial += 1)}`);
  await cluster.lab.until(() => steady(probe), 20_000, `${host}:${port} answers steadily before the fault`);
  const fromMs = monotonicMs();
  await act();
  await sleep(4000);
  await cluster.lab.until(() => steady(probe), 30_000, `${host}:${port} answers steadily after the fault`);
  return longestGap((await probe.stop()).filter((attempt) => attempt.sentMs > fromMs - 500)).ms;
}
let serial = 0;

/** Nothing failed in the last two seconds, which tells of all sent until one second ago, and enough was answered. */
function steady(probe: ClientProbe): boolean {
  const nowMs = monotonicMs();
  const recent = probe.attempts().filter((attempt) => attempt.sentMs + attempt.ms > nowMs - 2 * PROBE_TIMEOUT_MS);
  return recent.length > 100 && recent.every((attempt) => attempt.ok);
}
