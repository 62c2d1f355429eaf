/** What the fast path of this node is and does, for /status and /metrics. Plain data. */
import type { Counter } from "./nft.ts";
import { assignSlots } from "./slots.ts";
import { COUNTERS } from "./tables.ts";
import type { FastPathNode, OwnTarget, RulesetPlan } from "./tables.ts";

/** What carries the packets to the VIP's ports. */
export type Mode =
  | { readonly kind: "starting" }
  /** The rules in the kernel balance over the API servers. */
  | { readonly kind: "fast-path" }
  /** The rules lead the VIP's ports to this node's proxy. */
  | { readonly kind: "proxy"; readonly reason: string }
  /** There are no rules. Only the proxy's own port works. */
  | { readonly kind: "off"; readonly reason: string };

/** One member, as this node sees it. The field names are those of /status. */
export interface FastPathNodeStatus {
  readonly node: string;
  readonly addresses: readonly string[];
  readonly mac: string;
  /** The number of the 1024 slots that this node, as holder, would send there. */
  readonly slots: number;
  /** The node is in the ring: its API server is not DOWN. */
  readonly walkable: boolean;
  /** The node's packets in the VIP's name do not arrive here. */
  readonly unheard: boolean;
  /** What this node's ingress has sent there since the rules were first loaded. */
  readonly packets: number;
  readonly bytes: number;
}

/** The `fastPath` of /status. The field names are public. */
export interface FastPathStatus {
  readonly mode: Mode["kind"];
  /** Why the mode is not `fast-path`; "" when it is. */
  readonly reason: string;
  readonly ports: readonly number[];
  readonly nodes: readonly FastPathNodeStatus[];
  /**
   * The names of nodes that have the rules and take no part, because there are more than 16. They get no
   * connections from here.
   */
  readonly leftOut: readonly string[];
  /** The connections of this node's own clients and pods since the rules were first loaded, by API server. */
  readonly own: readonly { readonly backend: string; readonly connections: number }[];
  /** The packets sent on to the next node of the ring. */
  readonly secondChances: number;
  /**
   * The packets that no node knew and that ended here, at the last node of the ring. The kernel resets their
   * connection.
   */
  readonly unknown: number;
  /** The packets that no node knew and that were dropped because the members had just changed. */
  readonly settling: number;
  /** The idle clients of a dead API server that were sent a stray ACK. */
  readonly kicked: number;
  /** The sockets of this node that could not live on and were ended. */
  readonly destroyed: number;
  /** How often another program changed the rules and they were put back. */
  readonly restored: number;
}

/** Figures of {@link FastPathStatus}. */
export interface Told {
  readonly kicked: number;
  readonly destroyed: number;
}

/** What the status is made of. */
export interface StatusInput {
  readonly mode: Mode;
  readonly plan: RulesetPlan | undefined;
  readonly counters: readonly Counter[];
  readonly restored: number;
  readonly ports: readonly number[];
  readonly unheard: ReadonlySet<string>;
  readonly told: Told;
}

/** Makes the status. */
export function fastPathStatus({
  mode,
  plan,
  counters,
  restored,
  ports,
  unheard,
  told,
}: StatusInput): FastPathStatus {
  const packets = (name: string): number => sum(counters, name, "packets");
  return {
    mode: mode.kind,
    reason: mode.kind === "fast-path" || mode.kind === "starting" ? "" : mode.reason,
    ports,
    nodes: nodes(plan, counters, unheard),
    leftOut: plan?.wire?.leftOut ?? [],
    own: (plan?.own ?? []).map((target) => ({
      backend: hostOf(target),
      connections: packets(COUNTERS.own(target)),
    })),
    secondChances: packets(COUNTERS.secondChance),
    unknown: packets(COUNTERS.unknown),
    settling: packets(COUNTERS.settling),
    ...told,
    restored,
  };
}

function nodes(
  plan: RulesetPlan | undefined,
  counters: readonly Counter[],
  unheard: ReadonlySet<string>,
): readonly FastPathNodeStatus[] {
  const wire = plan?.wire;
  if (wire === undefined) return [];
  const slots = new Map<string, number>();
  for (const owner of assignSlots(wire.acceptsNew)) slots.set(owner, (slots.get(owner) ?? 0) + 1);
  const sent = (node: FastPathNode, what: "packets" | "bytes"): number => {
    const names = node === wire.self ? [COUNTERS.here] : node.addresses.map(COUNTERS.forwarded);
    return names.reduce((total, name) => total + sum(counters, name, what), 0);
  };
  return [wire.self, ...wire.peers].map((node) => ({
    node: node.name,
    addresses: node.addresses.map((address) => address.text),
    mac: node.mac,
    slots: slots.get(node.name) ?? 0,
    walkable: wire.inRing.includes(node.name),
    unheard: unheard.has(node.mac),
    packets: sent(node, "packets"),
    bytes: sent(node, "bytes"),
  }));
}

function sum(counters: readonly Counter[], name: string, what: "packets" | "bytes"): number {
  return counters.reduce((total, counter) => (counter.name === name ? total + counter[what] : total), 0);
}

function hostOf({ address, port }: OwnTarget): string {
  return address.family === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`;
}
