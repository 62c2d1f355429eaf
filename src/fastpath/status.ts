/** What the data plane of this node is and does, for /status and /metrics. Plain data. */
import type { Counter } from "./nft.ts";
import { assignSlots } from "./slots.ts";
import { COUNTERS } from "./tables.ts";
import type { FastPathNode, OwnTarget, RulesetPlan } from "./tables.ts";

export type Mode =
  | { readonly kind: "starting" }
  /** The kernel does it all. */
  | { readonly kind: "fast-path" }
  /** The VIP's ports lead to this node's proxy. */
  | { readonly kind: "proxy"; readonly reason: string }
  /** No rules: only the proxy's own port works. */
  | { readonly kind: "off"; readonly reason: string };

export interface FastPathNodeStatus {
  readonly node: string;
  readonly addresses: readonly string[];
  readonly mac: string;
  /** Of 1024 that this node, as holder, would send there. */
  readonly slots: number;
  /** In the ring: its API server is not DOWN. */
  readonly walkable: boolean;
  /** Its packets in the VIP's name do not arrive here. */
  readonly unheard: boolean;
  /** Sent there from this node's ingress, ever. */
  readonly packets: number;
  readonly bytes: number;
}

export interface FastPathStatus {
  readonly mode: Mode["kind"];
  /** Why it is not the fast path; "" when it is. */
  readonly reason: string;
  readonly ports: readonly number[];
  readonly nodes: readonly FastPathNodeStatus[];
  /** Names of nodes that have the rules and take no part, because there are more than 16: they get no connections from here. */
  readonly leftOut: readonly string[];
  /** This node's own clients and pods, by API server: connections since the rules were first loaded. */
  readonly own: readonly { readonly backend: string; readonly connections: number }[];
  /** Packets sent on to the next node of the ring. */
  readonly secondChances: number;
  /** Packets that nobody knew, delivered here as the last of the ring: the kernel resets their connection. */
  readonly unknown: number;
  /** The same, dropped because the members had just changed. */
  readonly settling: number;
  /** Idle clients of a dead API server that were sent a stray ACK. */
  readonly kicked: number;
  /** Sockets of this node that could not live on and were ended. */
  readonly destroyed: number;
  /** Times that somebody else changed the rules and they were put back. */
  readonly restored: number;
}

export interface Told {
  readonly kicked: number;
  readonly destroyed: number;
}

export interface StatusInput {
  readonly mode: Mode;
  readonly plan: RulesetPlan | undefined;
  readonly counters: readonly Counter[];
  readonly restored: number;
  readonly ports: readonly number[];
  readonly unheard: ReadonlySet<string>;
  readonly told: Told;
}

export function fastPathStatus({ mode, plan, counters, restored, ports, unheard, told }: StatusInput): FastPathStatus {
  const packets = (name: string): number => sum(counters, name, "packets");
  return {
    mode: mode.kind,
    reason: mode.kind === "fast-path" || mode.kind === "starting" ? "" : mode.reason,
    ports,
    nodes: nodes(plan, counters, unheard),
    leftOut: plan?.wire?.leftOut ?? [],
    own: (plan?.own ?? []).map((target) => ({ backend: hostOf(target), connections: packets(COUNTERS.own(target)) })),
    secondChances: packets(COUNTERS.secondChance),
    unknown: packets(COUNTERS.unknown),
    settling: packets(COUNTERS.settling),
    ...told,
    restored,
  };
}

function nodes(plan: RulesetPlan | undefined, counters: readonly Counter[], unheard: ReadonlySet<string>): readonly FastPathNodeStatus[] {
  const wire = plan?.wire;
  if (wire === undefined) return [];
  const slots = new Map<string, number>();
  for (const owner of assignSlots(wire.takers)) slots.set(owner, (slots.get(owner) ?? 0) + 1);
  const sent = (node: FastPathNode, what: "packets" | "bytes"): number => {
    const names = node === wire.self ? [COUNTERS.here] : node.addresses.map(COUNTERS.forwarded);
    return names.reduce((total, name) => total + sum(counters, name, what), 0);
  };
  return [wire.self, ...wire.peers].map((node) => ({
    node: node.name,
    addresses: node.addresses.map((address) => address.text),
    mac: node.mac,
    slots: slots.get(node.name) ?? 0,
    walkable: wire.walkable.includes(node.name),
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
