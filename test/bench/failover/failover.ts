/**
 * Failover as a client sees it, beside keepalived on the same nodes: a new connection every 5 ms to each one's own
 * address; the gap is the longest distance between the send times of two answered ones. Beside it the silence, the longest
 * time without an answer: a router that still resolves the address holds connections back and delivers them late, which a
 * gap does not show. No figure can be finer than the client's own longest pause.
 */
import { fileURLToPath } from "node:url";
import { createCluster } from "../../lab/cluster.ts";
import type { Cluster } from "../../lab/cluster.ts";
import { monotonicMs, sleep } from "../../support/lab/clock.ts";
import type { Host } from "../../support/lab/host.ts";
import { ClientProbe, longestGap, longestPauseMs } from "../../support/lab/probe.ts";
import type { Attempt } from "../../support/lab/probe.ts";
import type { LabProcess } from "../../support/lab/process.ts";
import { versionsOf } from "../anchor.ts";
import type { Benchmark, Sample } from "../report.ts";
import { Keepalived } from "./keepalived.ts";

const OURS = "leasehold";
const ANCHOR = "keepalived";
/** What happens to the holder. */
const FAULTS = { SIGTERM: "planned stop", SIGKILL: "killed for good" } as const;
const BALANCER_PORT = 8443;
const KEEPALIVED_VIP = "10.77.0.101";
/** Behind keepalived's address answers a plain listener. Its check of the balancer is left out: it would pass throughout. */
const LISTENER_PORT = 7000;
const LISTENER = fileURLToPath(new URL("../../support/lab/children/echo-server.ts", import.meta.url));
const PROBE_TIMEOUT_MS = 1000;

export const failover: Benchmark = {
  name: "failover",
  summary: "what a client sees when the holder stops or dies, beside keepalived",
  defaultRounds: 5,
  subjects: [ANCHOR, OURS],
  ours: OURS,
  anchor: ANCHOR,
  metrics: [
    { name: `gap, ${FAULTS.SIGTERM}`, unit: "ms", decimals: 0, goal: { kind: "at-most", value: 150 } },
    { name: `silence, ${FAULTS.SIGTERM}`, unit: "ms", decimals: 0 },
    { name: `client's pause, ${FAULTS.SIGTERM}`, unit: "ms", decimals: 0 },
    { name: `gap, ${FAULTS.SIGKILL}`, unit: "ms", decimals: 0 },
    { name: `silence, ${FAULTS.SIGKILL}`, unit: "ms", decimals: 0 },
    { name: `client's pause, ${FAULTS.SIGKILL}`, unit: "ms", decimals: 0 },
  ],
  anchorVersion: () => versionsOf(["keepalived"]),
  needs: "control plane",
  run,
};

async function run(rounds: number, record: (sample: Sample) => void): Promise<void> {
  await using cluster = await createCluster();
  const hosts = cluster.nodes.map((node) => node.host);
  const balancer = (host: Host): Promise<LabProcess> => host.spawn([process.execPath, LISTENER, JSON.stringify({ port: LISTENER_PORT })], { name: "listener" });
  const keepalived = new Keepalived(cluster.lab, hosts, { vip: KEEPALIVED_VIP, balancer });
  await Promise.all([cluster.startAgents(), keepalived.start()]);
  for (let round = 1; round <= rounds; round++) {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const say = (subject: string, seen: Seen): void => {
        record({ round, subject, metric: `gap, ${FAULTS[signal]}`, value: seen.gapMs });
        record({ round, subject, metric: `silence, ${FAULTS[signal]}`, value: seen.silenceMs });
        record({ round, subject, metric: `client's pause, ${FAULTS[signal]}`, value: seen.pauseMs });
      };
      say(ANCHOR, await endKeepalived(cluster, keepalived, signal));
      say(OURS, await endOurs(cluster, signal));
    }
  }
}

/** What the client saw of one fault. */
interface Seen {
  readonly gapMs: number;
  readonly silenceMs: number;
  readonly pauseMs: number;
}

async function endKeepalived(cluster: Cluster, keepalived: Keepalived, signal: keyof typeof FAULTS): Promise<Seen> {
  const act = (): Promise<void> => (signal === "SIGTERM" ? keepalived.stopMaster() : keepalived.killMaster());
  const seen = await observe(cluster, keepalived.vip, LISTENER_PORT, act);
  await keepalived.start();
  return seen;
}

async function endOurs(cluster: Cluster, signal: keyof typeof FAULTS): Promise<Seen> {
  const holder = await cluster.settled();
  const seen = await observe(cluster, cluster.vip, BALANCER_PORT, () => holder.endAgent(signal));
  const next = await cluster.settled();
  if (next === holder) throw new Error(`${holder.name} was to lose the VIP and has it\n${cluster.lab.tails(20)}`);
  await holder.startAgent();
  await cluster.settled();
  return seen;
}

/** What the client sees from half a second before `act` until the address has answered steadily again. */
async function observe(cluster: Cluster, host: string, port: number, act: () => Promise<void>): Promise<Seen> {
  await using probe = await ClientProbe.start(cluster.client, { host, port, timeoutMs: PROBE_TIMEOUT_MS }, `probe-${(serial += 1)}`);
  await cluster.lab.until(() => steady(probe), 20_000, `${host}:${port} answers steadily before the fault`);
  const fromMs = monotonicMs();
  await act();
  await sleep(4000);
  await cluster.lab.until(() => steady(probe), 30_000, `${host}:${port} answers steadily after the fault`);
  const attempts = (await probe.stop()).filter((attempt) => attempt.sentMs > fromMs - 500);
  return { gapMs: longestGap(attempts).ms, silenceMs: longestSilenceMs(attempts), pauseMs: longestPauseMs(attempts) };
}
let serial = 0;

function longestSilenceMs(attempts: readonly Attempt[]): number {
  const answersMs = attempts.filter(({ ok }) => ok).map(({ sentMs, ms }) => sentMs + ms).sort((a, b) => a - b);
  return answersMs.reduce((worst, atMs, index) => Math.max(worst, atMs - (answersMs[index - 1] ?? atMs)), 0);
}

/** Nothing failed in the last two seconds, which tells of all sent until one second ago, and enough was answered. */
function steady(probe: ClientProbe): boolean {
  const nowMs = monotonicMs();
  const recent = probe.attempts().filter((attempt) => attempt.sentMs + attempt.ms > nowMs - 2 * PROBE_TIMEOUT_MS);
  return recent.length > 100 && recent.every((attempt) => attempt.ok);
}
