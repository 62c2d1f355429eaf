/**
 * Moves of the address and losses of nodes as the clients of a real API see them: half of the connections are
 * watches that only listen, half ask now and then, all through one address. In each round everything that may
 * happen happens once, to ours and to those beside it in turn.
 */
import { join } from "node:path";
import { createCluster } from "../../lab/cluster.ts";
import type { Cluster, ClusterNode } from "../../lab/cluster.ts";
import { clientTls, startTicker } from "../../lab/watchers.ts";
import { monotonicMs, sleep } from "../../support/lab/clock.ts";
import { ClientProbe, failures, longestGap } from "../../support/lab/probe.ts";
import { twice } from "../again.ts";
import { versionsOf } from "../anchor.ts";
import { KUBE_VIP_PROGRAM } from "../kube-vip.ts";
import { takesPart } from "../report.ts";
import type { Benchmark, Metric, Plan, Sample } from "../report.ts";
import { Clients } from "./clients.ts";
import { disorderly, outcomeOf } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { KEEPALIVED, KUBE_VIP, keepalivedAndHaproxy, kubeVip, LEASEHOLD, leasehold } from "./planes.ts";
import type { Plane } from "./planes.ts";

const WATCHES = 250;
const REQUESTS = 250;
const REQUEST_EVERY_MS = 500;
const EVENT_EVERY_MS = 100;
const KEEPALIVED_VIP = "10.77.0.101";
const KUBE_VIP_VIP = "10.77.0.102";
/** Without the kernel's fast path only the proxy's own port is there. */
const OUR_PORT = Number(process.env["MOVES_PORT"] ?? 6443);
/**
 * What a fault leads to is looked at for this long, and until new connections have been answered for a while
 * and nothing hangs: after a long silence TCP sends again after as long a time once more.
 */
const AT_LEAST_MS = 4_000;
const AT_MOST_MS = 25_000;
/** HAProxy asks every 2 s and believes the second good answer. */
const HAPROXY_RISE_MS = 6_000;
/** An API server that is told to stop says so on /readyz, and goes on serving for this long. */
const SHUTDOWN_DELAY_MS = 12_000;
const IDLE_MS = 2_500;
/** Whoever has not been told of a dead server by now waits for its own time-outs. */
const TOLD_MS = 10_000;
const PROBE_EVERY_MS = 50;
const PROBE_TIMEOUT_MS = 2_000;
const WATCH_PATH =
  "/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name%3Dticker&timeoutSeconds=3600";

/** What happens, and who must not notice. */
interface Scenario {
  readonly name: string;
  /** Who suffers: the holder of the address, another node, or nobody. */
  readonly victim: "holder" | "other" | "nobody";
  /** The victim's API server is gone with it. */
  readonly deadly: boolean;
  /** The goals that hold for it. */
  readonly goals: { readonly live?: number; readonly behindMs?: number; readonly toldMs?: number };
  readonly act: (plane: Plane, victim: ClusterNode, cluster: Cluster) => Promise<void>;
  /**
   * What follows with the same clients, and is looked at by its own: the victim's connections are out of it.
   */
  readonly sequel?: { readonly name: string; readonly act: (victim: ClusterNode) => Promise<void> };
  /** Ends what {@link act} began; what programs are missing then, {@link Plane.ready} starts. */
  readonly heal?: (victim: ClusterNode, cluster: Cluster) => Promise<void>;
}

const lose: Scenario["act"] = async (_, victim, cluster) => {
  await cluster.lab.isolate(victim.host);
  victim.plane.apiServer.stop();
};
const find: Scenario["heal"] = async (victim, cluster) => {
  // It boots. An agent that had lived through this again and again would be no candidate for longer each
  // time.
  await victim.endAgent("SIGKILL");
  await cluster.forget(victim);
  victim.plane.apiServer.continue();
  await cluster.lab.heal();
};

const SCENARIOS: readonly Scenario[] = [
  { name: "nothing", victim: "nobody", deadly: false, goals: {}, act: async () => {} },
  {
    name: "planned move",
    victim: "holder",
    deadly: false,
    goals: { live: 100, behindMs: 250 },
    act: (plane, holder) => plane.stopHolder(holder),
  },
  {
    name: "there and back",
    victim: "holder",
    deadly: false,
    goals: { live: 100, behindMs: 250 },
    act: (plane, holder) => plane.thereAndBack(holder),
  },
  {
    name: "holder's node lost",
    victim: "holder",
    deadly: true,
    goals: { live: 100, toldMs: 1_000 },
    act: lose,
    heal: find,
  },
  {
    name: "other node lost",
    victim: "other",
    deadly: true,
    goals: { live: 100, toldMs: 1_000 },
    act: lose,
    heal: find,
  },
  {
    name: "drained",
    victim: "other",
    deadly: false,
    goals: { live: 100 },
    async act(_, victim) {
      void victim.plane.apiServer.terminate(60_000);
      await sleep(SHUTDOWN_DELAY_MS - 4_000);
    },
    sequel: {
      name: "returned",
      async act(victim) {
        await victim.plane.apiServer.terminate(60_000);
        await victim.plane.apiServer.start();
        await victim.plane.ready();
        await sleep(HAPROXY_RISE_MS);
      },
    },
  },
  {
    name: "API server killed",
    victim: "other",
    deadly: true,
    goals: { live: 100 },
    act: (_, victim) => victim.plane.apiServer.kill(),
    heal: (victim) => victim.plane.apiServer.start(),
  },
];

function metricsOf({ name, deadly, goals, sequel }: Scenario): readonly Metric[] {
  const least = (value: number | undefined): Pick<Metric, "goal"> =>
    value === undefined ? {} : { goal: { kind: "every-round-at-least", value } };
  const most = (value: number | undefined): Pick<Metric, "goal"> =>
    value === undefined ? {} : { goal: { kind: "every-round-at-most", value } };
  const none = most(goals.live === undefined ? undefined : 0);
  const connections = (of: string): readonly Metric[] => [
    { name: `${of}: live`, unit: "%", decimals: 1, ...least(goals.live) },
    { name: `${of}: closed`, unit: "", decimals: 0 },
    { name: `${of}: hung`, unit: "", decimals: 0 },
    { name: `${of}: latest event`, unit: "ms", decimals: 0 },
    { name: `${of}: behind its server`, unit: "ms", decimals: 0, ...most(goals.behindMs) },
    { name: `${of}: events missed`, unit: "", decimals: 0, ...none },
  ];
  return [
    ...connections(name),
    ...(deadly
      ? [
          { name: `${name}: watches told`, unit: "ms", decimals: 0, ...most(goals.toldMs) },
          { name: `${name}: requests told`, unit: "ms", decimals: 0 },
        ]
      : []),
    ...(sequel === undefined ? [] : connections(sequel.name)),
    { name: `${name}: new connections failed`, unit: "", decimals: 0 },
    { name: `${name}: gap of new connections`, unit: "ms", decimals: 0 },
    { name: `${name}: half-closes not orderly`, unit: "", decimals: 0, ...none },
  ];
}

export const moves: Benchmark = {
  name: "moves",
  summary: `${WATCHES} watches and ${REQUESTS} asking clients of a real API through moves and losses, beside keepalived with HAProxy`,
  defaultRounds: 20,
  subjects: [KEEPALIVED, ...(KUBE_VIP_PROGRAM === undefined ? [] : [KUBE_VIP]), LEASEHOLD],
  ours: LEASEHOLD,
  anchor: KEEPALIVED,
  metrics: SCENARIOS.flatMap((scenario) =>
    metricsOf(scenario).map((metric) => ({ ...metric, scenario: scenario.name })),
  ),
  scenarios: SCENARIOS.map(({ name }) => name),
  anchorVersion: () => versionsOf(["keepalived", "haproxy", "curl"]),
  needs: "control plane",
  run,
};

async function run(plan: Plan, record: (sample: Sample) => void): Promise<void> {
  const { rounds, subjects, scenarios } = plan;
  await using cluster = await createCluster({
    apiServerFlags: { "shutdown-delay-duration": `${SHUTDOWN_DELAY_MS}ms` },
  });
  const all = [leasehold(cluster, OUR_PORT), keepalivedAndHaproxy(cluster, KEEPALIVED_VIP)];
  if (KUBE_VIP_PROGRAM !== undefined) all.push(kubeVip(cluster, KUBE_VIP_VIP, KUBE_VIP_PROGRAM));
  const planes = all.filter(({ name }) => subjects.includes(name));
  const stage: Stage = { cluster, planes: [...planes], readyMs: undefined };
  for (let round = 1; round <= rounds; round++) {
    for (const [index, scenario] of SCENARIOS.entries()) {
      if (!scenarios.includes(scenario.name)) continue;
      for (const plane of planes.filter(({ name }) => takesPart(name, LEASEHOLD, round, plan))) {
        // Now one, now the other node that is not the holder.
        for (const sample of await twice(() => prepareAndPlay(stage, plane, scenario, round + index)))
          record({ round, subject: plane.name, ...sample });
      }
    }
    planes.push(...planes.splice(0, 1)); // nobody is always the first
  }
}

interface Stage {
  readonly cluster: Cluster;
  readonly planes: readonly Plane[];
  /**
   * Since when all API servers are there, for HAProxy has to find them well; undefined: the scenario before
   * took one away.
   */
  readyMs: number | undefined;
}

interface Figure {
  readonly metric: string;
  readonly value: number;
}

async function prepareAndPlay(
  stage: Stage,
  plane: Plane,
  scenario: Scenario,
  turn: number,
): Promise<readonly Figure[]> {
  const { cluster, planes } = stage;
  // All of them: none is to be at rest while another is measured.
  const holders = new Map<Plane, ClusterNode>();
  for (const { plane: node } of cluster.nodes) if (!node.apiServer.running) await node.apiServer.start();
  await cluster.plane.ready();
  const readyMs = (stage.readyMs ??= monotonicMs());
  for (const each of planes) holders.set(each, await each.ready());
  if (plane.name === KEEPALIVED) await sleep(Math.max(0, readyMs + HAPROXY_RISE_MS - monotonicMs()));
  if (scenario.deadly || scenario.sequel !== undefined) stage.readyMs = undefined;
  const holder = holders.get(plane);
  if (holder === undefined) throw new Error("every plane has a holder");
  const victim = scenario.victim === "other" ? (cluster.others(holder)[turn % 2] ?? holder) : holder;
  const figures: Figure[] = [];
  await play(cluster, plane, scenario, victim, (metric, value) => figures.push({ metric, value }));
  return figures;
}

type Say = (metric: string, value: number) => void;

function sayOutcome(of: string, outcome: Outcome, say: Say): void {
  if (outcome.livePercent !== undefined) say(`${of}: live`, outcome.livePercent);
  say(`${of}: closed`, outcome.closed);
  say(`${of}: hung`, outcome.hung);
  say(`${of}: latest event`, outcome.latestMs);
  say(`${of}: behind its server`, outcome.behindMs);
  say(`${of}: events missed`, outcome.missed);
}

let serial = 0;

async function play(
  cluster: Cluster,
  plane: Plane,
  scenario: Scenario,
  victim: ClusterNode,
  say: Say,
): Promise<void> {
  const { lab, client } = cluster;
  const { name, sequel } = scenario;
  const [witness] = cluster.others(victim);
  if (witness === undefined) throw new Error("a cluster has other nodes");
  // What it learnt in an earlier fault (a node that was cut off thought itself the master) is no part of this
  // one.
  await client.run(["ip", "neigh", "flush", "all"]);
  await using ticker = await startTicker(cluster, witness, EVENT_EVERY_MS);
  await lab.until(() => ticker.ticks().length > 0, 10_000, "events are made");
  await using clients = await openClients(cluster, plane);
  const options = {
    host: plane.vip,
    port: plane.port,
    intervalMs: PROBE_EVERY_MS,
    timeoutMs: PROBE_TIMEOUT_MS,
    tls: { caFile: clientTls(cluster).caFile },
  };
  await using probe = await ClientProbe.start(client, options, `probe-${(serial += 1)}`);
  await lab.until(() => steady(probe), 20_000, "new connections are answered before the fault");

  // A watch that is idle has been there for a while. Agents tell each other once a second who the clients are.
  await sleep(IDLE_MS);
  const fromMs = monotonicMs();
  clients.mark();
  try {
    await scenario.act(plane, victim, cluster);
    let dead = scenario.deadly ? victim.name : undefined;
    const outcome = await settle(clients, probe, fromMs, dead);
    sayOutcome(name, outcome, say);
    if (outcome.toldWatchesMs !== undefined) say(`${name}: watches told`, outcome.toldWatchesMs);
    if (outcome.toldRequestsMs !== undefined) say(`${name}: requests told`, outcome.toldRequestsMs);
    if (sequel !== undefined) {
      dead = victim.name;
      clients.mark();
      await sequel.act(victim);
      sayOutcome(sequel.name, await settle(clients, probe, monotonicMs(), dead), say);
    }
    const attempts = (await probe.stop()).filter((attempt) => attempt.sentMs > fromMs - 500);
    say(`${name}: new connections failed`, failures(attempts).length);
    say(`${name}: gap of new connections`, longestGap(attempts).ms);
    say(`${name}: half-closes not orderly`, disorderly(await clients.finish(dead), dead));
  } finally {
    await scenario.heal?.(victim, cluster);
  }
}

function openClients(cluster: Cluster, { vip, port }: Plane): Promise<Clients> {
  return Clients.start(cluster.client, {
    host: vip,
    port,
    watches: WATCHES,
    requests: REQUESTS,
    watchPath: WATCH_PATH,
    requestPath: "/version",
    everyMs: REQUEST_EVERY_MS,
    direct: cluster.nodes.map(({ host }) => host.ipv4),
    tls: clientTls(cluster),
    certificates: Object.fromEntries(
      cluster.nodes.map((node) => [node.name, join(node.plane.etcKubernetes, "pki", "apiserver.crt")]),
    ),
  });
}

async function settle(
  clients: Clients,
  probe: ClientProbe,
  fromMs: number,
  dead: string | undefined,
): Promise<Outcome> {
  await sleep(Math.max(0, fromMs + AT_LEAST_MS - monotonicMs()));
  for (;;) {
    const { atMs, clients: reports } = await clients.report();
    const outcome = outcomeOf(reports, { faultMs: fromMs, endMs: atMs, dead });
    const working = steady(probe) && outcome.hung === 0;
    const told = outcome.toldWatchesMs !== Infinity && outcome.toldRequestsMs !== Infinity;
    if ((working && told) || atMs > fromMs + (working ? TOLD_MS : AT_MOST_MS)) return outcome;
    await sleep(250);
  }
}

/** All of the last 1.5 s were answered, but for those that may still be under way. */
function steady(probe: ClientProbe): boolean {
  const fromMs = monotonicMs() - 1_500;
  const recent = probe.attempts().filter((attempt) => attempt.sentMs + attempt.ms > fromMs);
  return recent.length > 10 && recent.every((attempt) => attempt.ok);
}
