/**
 * What a soak plays: a seed gives a list of episodes without end. An episode is one fault, or two that
 * overlap on different nodes. It ends when the cluster is well again. Pure: nothing here knows a real
 * cluster.
 */
import { Random } from "../sim/random.ts";
import { FAULT_KINDS } from "./bounds.ts";
import type { FaultKind } from "./bounds.ts";

export const NODES = ["n1", "n2", "n3"] as const;
export type NodeName = (typeof NODES)[number];

export interface PlannedFault {
  readonly kind: FaultKind;
  /** The node that it happens to. `apis-down` happens to all. */
  readonly node: NodeName;
  /** The second node of `link-cut` and `quorum-lost`; undefined for every other kind. */
  readonly other: NodeName | undefined;
  /** Only `link-cut`: frames vanish on their way from `node` to `other`, and pass the other way. */
  readonly oneWay: boolean;
  /** Only `clock-stepped`: hours by which the clock is wrong meanwhile; 0 otherwise. */
  readonly stepHours: number;
  /** Milliseconds from the beginning of the episode. */
  readonly afterMs: number;
  /** Milliseconds that it lasts; 0 for what is over at once. */
  readonly forMs: number;
}

export interface Episode {
  /** 0 and up. */
  readonly index: number;
  /** The node that has the VIP when the episode begins, where that can be had. */
  readonly holder: NodeName;
  /** One or two, in the order in which they begin. */
  readonly faults: readonly PlannedFault[];
  /** A node to which none of them happens. */
  readonly healthy: NodeName;
  /** Milliseconds of calm before it. */
  readonly calmMs: number;
}

/** How long a fault of each kind lasts, ms: shortest and longest. */
const LASTS: Readonly<Record<FaultKind, readonly [number, number]>> = {
  "vip-moved": [0, 0],
  "agent-stopped": [1_000, 8_000],
  "agent-restarted": [0, 0],
  "agent-killed": [4_000, 14_000],
  "agent-frozen": [1_000, 14_000],
  "agent-upgraded": [2_000, 5_000],
  // Longer than the kernel keeps a dead agent's address.
  "node-lost": [6_000, 14_000],
  "link-down": [1_000, 10_000],
  "link-flapping": [4_000, 10_000],
  "node-isolated": [2_000, 14_000],
  "link-cut": [2_000, 10_000],
  "api-killed": [2_000, 8_000],
  "api-hung": [4_000, 12_000],
  "api-refused": [4_000, 10_000],
  "apis-down": [3_000, 12_000],
  "etcd-killed": [2_000, 8_000],
  "etcd-hung": [3_000, 10_000],
  "etcd-refused": [3_000, 10_000],
  "quorum-lost": [4_000, 12_000],
  "rules-flushed": [0, 0],
  "address-deleted": [0, 0],
  "clock-stepped": [3_000, 8_000],
};

/** These end the agent's process. They never happen to the steady node. */
const ENDS_AGENT: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "agent-stopped",
  "agent-restarted",
  "agent-killed",
  "agent-upgraded",
  "node-lost",
]);

/** These take an etcd member from the others. One more of them, and there is no quorum. */
const TAKES_MEMBER: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "node-lost",
  "link-down",
  "link-flapping",
  "node-isolated",
  "link-cut",
  "etcd-killed",
  "etcd-hung",
  "etcd-refused",
  "quorum-lost",
]);

/** These concern more than one node, or change what all nodes do: nothing else happens at the same time. */
const ALONE: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "vip-moved",
  "agent-upgraded",
  "link-cut",
  "link-flapping",
  "apis-down",
  "quorum-lost",
]);

/** What may happen while another fault lasts. */
const SECOND: readonly FaultKind[] = [
  "agent-killed",
  "agent-frozen",
  "agent-stopped",
  "link-down",
  "node-isolated",
  "api-killed",
  "api-hung",
  "api-refused",
  "etcd-killed",
  "rules-flushed",
  "clock-stepped",
];

const TWO_AT_ONCE = 0.35;
/** A fault on the node that has the VIP is the harder one. */
const ON_THE_HOLDER = 0.7;

/** The node whose agent nothing restarts in the whole soak: its memory is what a leak would show in. */
export function steadyNode(seed: number): NodeName {
  return new Random(`soak ${seed}`).fork("steady").pick(NODES);
}

/**
 * The episodes of a seed, without end. Every kind comes once before any comes again. @param kinds only these
 * begin an episode
 */
export function* episodes(seed: number, kinds: readonly FaultKind[] = FAULT_KINDS): Generator<Episode> {
  const root = new Random(`soak ${seed}`);
  const steady = steadyNode(seed);
  for (let index = 0; ; index += 1) {
    const round = Math.floor(index / kinds.length);
    const kind = shuffled(kinds, root.fork(`round ${round}`))[index % kinds.length];
    if (kind === undefined) return;
    yield episodeOf(index, kind, steady, root.fork(`episode ${index}`));
  }
}

function episodeOf(index: number, kind: FaultKind, steady: NodeName, random: Random): Episode {
  const node = random.pick(allowed(kind, NODES, steady));
  const others = NODES.filter((name) => name !== node);
  const other = random.pick(others);
  const third = others.find((name) => name !== other) ?? other;
  // A move needs a node to come from.
  const onHolder = kind !== "vip-moved" && random.chance(ON_THE_HOLDER);
  const first: PlannedFault = {
    ...fault(kind, node, random),
    other: kind === "link-cut" || kind === "quorum-lost" ? other : undefined,
    oneWay: kind === "link-cut" && random.chance(0.5),
  };
  const second = random.chance(TWO_AT_ONCE) ? secondFault(first, other, steady, random) : undefined;
  return {
    index,
    holder: onHolder ? node : random.pick(others),
    faults: second === undefined ? [first] : [first, second],
    healthy: third,
    calmMs: Math.round(random.between(1_000, 3_000)),
  };
}

function secondFault(
  first: PlannedFault,
  node: NodeName,
  steady: NodeName,
  random: Random,
): PlannedFault | undefined {
  if (ALONE.has(first.kind)) return undefined;
  const possible = SECOND.filter(
    (kind) =>
      allowed(kind, [node], steady).length > 0 && !(TAKES_MEMBER.has(first.kind) && TAKES_MEMBER.has(kind)),
  );
  const afterMs = Math.round(random.between(0, first.forMs));
  return { ...fault(random.pick(possible), node, random), afterMs };
}

function fault(kind: FaultKind, node: NodeName, random: Random): PlannedFault {
  const [shortest, longest] = LASTS[kind];
  return {
    kind,
    node,
    other: undefined,
    oneWay: false,
    stepHours: kind === "clock-stepped" ? random.pick([-30, -5, -1, 1, 5, 30]) : 0,
    afterMs: 0,
    forMs: Math.round(random.between(shortest, longest)),
  };
}

function allowed(kind: FaultKind, nodes: readonly NodeName[], steady: NodeName): readonly NodeName[] {
  return ENDS_AGENT.has(kind) ? nodes.filter((name) => name !== steady) : nodes;
}

function shuffled<T>(items: readonly T[], random: Random): readonly T[] {
  return items
    .map((item) => ({ item, at: random.unit() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item);
}

/** How long an episode's faults take, ms, without the time until the cluster is well again. */
export function lengthOf({ faults }: Episode): number {
  return Math.max(...faults.map(({ afterMs, forMs }) => afterMs + forMs));
}

/** `node-lost n1 for 8.0 s, 3.2 s later api-hung n2 for 5.1 s`, for people. */
export function describeEpisode({ faults, holder }: Episode): string {
  const parts = faults.map(({ kind, node, other, oneWay, stepHours, afterMs, forMs }) => {
    const later = afterMs === 0 ? "" : `${(afterMs / 1_000).toFixed(1)} s later `;
    const to = other === undefined ? "" : `${oneWay ? " to" : " and"} ${other}`;
    const step = stepHours === 0 ? "" : ` by ${stepHours} h`;
    const lasts = forMs === 0 ? "" : ` for ${(forMs / 1_000).toFixed(1)} s`;
    return `${later}${kind} ${node}${to}${step}${lasts}`;
  });
  return `${parts.join(", ")} (the VIP on ${holder})`;
}
