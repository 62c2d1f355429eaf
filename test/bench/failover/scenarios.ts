/** What happens to the holder of an address, and what is measured of it. */
import { join } from "node:path";
import type { ClusterNode } from "../../lab/cluster.ts";
import { leadFrom } from "../../lab/etcd-leader.ts";
import { monotonicMs, sleep } from "../../support/lab/clock.ts";
import { failures } from "../../support/lab/probe.ts";
import type { Attempt } from "../../support/lab/probe.ts";
import type { Goal, Metric } from "../report.ts";
import type { Contender } from "./contenders.ts";
import { lastHeldMs, longestDualMs, seen, silenceAfterMs, slowestMs } from "./figures.ts";
import { startProbe, watch } from "./observe.ts";
import type { Rig, Watched } from "./observe.ts";

export type Say = (figure: string, value: number) => void;

export interface Scenario {
  readonly name: string;
  readonly figures: readonly Omit<Metric, "scenario">[];
  /** Not asked of those to whom it cannot make a difference. */
  readonly concerns: (contender: Contender) => boolean;
  readonly play: (rig: Rig, contender: Contender, holder: ClusterNode, say: Say) => Promise<void>;
}

/**
 * After a move that nobody should notice: the time in which the old holder lets go and all have heard the new
 * one's announcements.
 */
const AFTER_MOVE_MS = 2_000;
/**
 * An API server that is gone. Until each balancer knows, connections fail, and what is watched goes on for as
 * long as they do.
 */
const AFTER_DEATH_MS = 3_000;
/** A real request, TLS and all, costs client and server some 5 ms of a processor: not at every 5 ms. */
const REQUEST_EVERY_MS = 50;
/**
 * Until its kernel has closed a killed server's sockets, each connection that a hash sends there is lost, and
 * chance sends three or four there in a row: every 5 ms these would be a gap of 20 ms, however short the time
 * in which nobody is served.
 */
const RUN_EVERY_MS = 2;
/** Whoever claims the address late still claims it within this. */
const LATE_CLAIM_MS = 1_500;

const ms = (name: string, goal?: Goal): Omit<Metric, "scenario"> => ({
  name,
  unit: "ms",
  decimals: 0,
  ...(goal === undefined ? {} : { goal }),
});
const count = (name: string, goal?: Goal): Omit<Metric, "scenario"> => ({
  name,
  unit: "",
  decimals: 0,
  ...(goal === undefined ? {} : { goal }),
});
const seenFigures = (goal?: Goal): readonly Omit<Metric, "scenario">[] => [
  ms("gap", goal),
  ms("silence"),
  ms("client's pause"),
  count("unanswered"),
];
const always = (value: number): Goal => ({ kind: "every-round-at-most", value });
const NODE_LOSS: Goal = { kind: "at-most", value: 300, always: 500 };

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "node lost",
    figures: seenFigures(NODE_LOSS),
    concerns: () => true,
    play: (...given) => nodeLost("follower", ...given),
  },
  {
    name: "node lost with etcd's leader",
    figures: seenFigures(NODE_LOSS),
    concerns: ({ electsByApi }) => electsByApi,
    play: (...given) => nodeLost("leader", ...given),
  },
  {
    name: "planned stop",
    figures: [...seenFigures(always(20)), ms("one holder again", always(1_000))],
    concerns: () => true,
    async play(rig, contender, holder, say) {
      const watched = await watch(rig, contender, {
        act: () => contender.stop(holder),
        from: holder,
        atLeastMs: AFTER_MOVE_MS,
      });
      sayWatched(watched, say);
      say("one holder again", longestDualMs(watched.timeline));
    },
  },
  {
    name: "killed for good",
    figures: [...seenFigures(), ms("newcomer's silence", always(500)), ms("one holder again", always(1_000))],
    concerns: () => true,
    async play(rig, contender, holder, say) {
      const watched = await watch(rig, contender, {
        act: () => contender.kill(holder),
        from: holder,
        atLeastMs: AFTER_MOVE_MS,
        newcomers: true,
      });
      await contender.forget(holder);
      sayWatched(watched, say);
      const heldMs = lastHeldMs(watched.timeline, holder.name);
      // A fast path that outlives its agent serves those who still send to the dead one's node: who asks
      // anew, learns what is gone.
      if (heldMs !== undefined) say("newcomer's silence", silenceAfterMs(watched.newcomers, heldMs));
      say("one holder again", longestDualMs(watched.timeline));
    },
  },
  {
    name: "API server killed",
    figures: [
      ...seenFigures(always(20)),
      ms("server's end"),
      count("requests failed"),
      ms("slowest request"),
    ],
    concerns: () => true,
    play: apiServerKilled,
  },
  {
    name: "cold start",
    figures: [count("dual claims", always(0))],
    concerns: () => true,
    async play({ cluster, arp }, contender, _, say) {
      await Promise.all(cluster.nodes.map((node) => contender.kill(node)));
      for (const node of cluster.nodes) await contender.forget(node);
      await contender.forgetHolder();
      const fromMs = monotonicMs();
      await contender.start();
      await contender.settled();
      await cluster.lab.until(
        () => arp.announcers(contender.vip, fromMs).length > 0,
        10_000,
        `${contender.name}: somebody announces ${contender.vip}`,
      );
      await sleep(LATE_CLAIM_MS);
      say("dual claims", arp.announcers(contender.vip, fromMs).length - 1);
    },
  },
];

export function metricsOf({ name, figures }: Scenario): readonly Metric[] {
  return figures.map((figure) => ({ ...figure, name: metricName(figure.name, name), scenario: name }));
}

export function metricName(figure: string, scenario: string): string {
  return `${figure}, ${scenario}`;
}

function sayWatched({ attempts }: { readonly attempts: readonly Attempt[] }, say: Say): void {
  const { gapMs, silenceMs, pauseMs, unanswered } = seen(attempts);
  say("gap", gapMs);
  say("silence", silenceMs);
  say("client's pause", pauseMs);
  say("unanswered", unanswered);
}

/** No frame comes or goes any more, and nothing on the node runs on: the power is gone. Then it boots. */
async function nodeLost(
  member: "leader" | "follower",
  rig: Rig,
  contender: Contender,
  holder: ClusterNode,
  say: Say,
): Promise<void> {
  const { cluster, contenders } = rig;
  const [other] = cluster.others(holder);
  if (other === undefined) throw new Error("a cluster has other nodes");
  await leadFrom(cluster, member === "leader" ? holder : other);
  const { apiServer, etcd } = holder.plane;
  const act = async (): Promise<void> => {
    await cluster.lab.isolate(holder.host);
    // Frozen and not killed: the others cannot tell, and it is back without a start of several seconds.
    apiServer.stop();
    etcd.stop();
    await Promise.all(contenders.map((each) => each.kill(holder)));
  };
  try {
    sayWatched(await watch(rig, contender, { act, from: holder, atLeastMs: AFTER_MOVE_MS }), say);
  } finally {
    // A dead holder that came back with the address, or with its memory, would be another fault.
    await Promise.all(contenders.map((each) => each.kill(holder)));
    await Promise.all(contenders.map((each) => each.forget(holder)));
    await cluster.lab.heal();
    etcd.continue();
    apiServer.continue();
  }
}

/**
 * "Was I served?" is the API server's own answer, for a balancer takes a connection whatever is behind it.
 * TLS at this pace would take most of a processor, for its keys; an API server says 400 to plain HTTP, and
 * that costs nothing. Beside it, real requests, fewer.
 */
async function apiServerKilled(rig: Rig, contender: Contender, holder: ClusterNode, say: Say): Promise<void> {
  const caFile = join(holder.plane.etcKubernetes, "pki", "ca.crt");
  await using requests = await startProbe(rig, contender, {
    port: contender.apiPort,
    intervalMs: REQUEST_EVERY_MS,
    timeoutMs: 3_000,
    path: "/livez",
    tls: { caFile },
  });
  let killedMs = Infinity;
  let goneMs = Infinity;
  const act = async (): Promise<void> => {
    killedMs = monotonicMs();
    // The kernel frees a killed process's memory before it closes its sockets, and takes connections for it
    // until then.
    await holder.plane.apiServer.kill();
    goneMs = monotonicMs();
  };
  const watched: Watched = await watch(rig, contender, {
    ask: { port: contender.apiPort, path: "/livez", status: 400, intervalMs: RUN_EVERY_MS },
    act,
    atLeastMs: AFTER_DEATH_MS,
  });
  sayWatched(watched, say);
  say("server's end", goneMs - killedMs);
  const asked = (await requests.stop()).filter(({ sentMs, ms: tookMs }) => sentMs + tookMs > killedMs);
  say("requests failed", failures(asked).length);
  say("slowest request", slowestMs(asked));
}
