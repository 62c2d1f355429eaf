/** What the ruleset is made from and made of: the plan, the tables, and the names by which they are found again. */
import type { Family, IpAddress } from "../net.ts";

/** A control-plane node that takes part, as the Lease describes it. */
export interface FastPathNode {
  readonly name: string;
  /** On the VIP's network, at most one of each family. */
  readonly addresses: readonly IpAddress[];
  /** Of the VIP's interface, aa:bb:cc:dd:ee:ff. */
  readonly mac: string;
}

/** Where a node's own clients may be sent: an API server, or the own proxy. */
export interface OwnTarget {
  readonly address: IpAddress;
  readonly port: number;
}

/** The part of a control-plane node: packets that come over the wire. */
export interface WirePlan {
  readonly interfaceName: string;
  /** In no rule; but a link that was made anew under its name has another, and ingress has to be bound to that one. */
  readonly interfaceIndex: number;
  readonly self: FastPathNode;
  /** All other members: nodes that have these rules, whatever the grade of their API servers. At most MOST_MEMBERS with this node, if it is one. */
  readonly peers: readonly FastPathNode[];
  /** In no rule: names of nodes that have these rules and are no members, because there are too many. This node may be one of them. */
  readonly leftOut: readonly string[];
  /** Names of the nodes whose API server is not DOWN: the ring. */
  readonly walkable: readonly string[];
  /** Names of the nodes that take new connections. Empty: this node's proxy takes them. */
  readonly takers: readonly string[];
  /** Where this node delivers: its API server, or its proxy while that one is DOWN. */
  readonly deliverTo: number;
  /** The API server listens on a wildcard address at this port, so the kernel itself can say whether it is there; undefined: it does not. */
  readonly listener: number | undefined;
  /** False where the kernel lacks what ingress needs: packets are delivered here, whoever sent them. */
  readonly spreads: boolean;
  /** False where conntrack can keep no time-outs of our own (CONFIG_NF_CONNTRACK_TIMEOUT): ended connections are known for two minutes. */
  readonly forgets: boolean;
}

export interface RulesetPlan {
  readonly vips: readonly IpAddress[];
  /** Of the VIP. */
  readonly ports: readonly number[];
  /** undefined with LEASEHOLD_ROLE=balancer. */
  readonly wire: WirePlan | undefined;
  /** Of either family; a VIP without targets of its family is left to the wire. */
  readonly own: readonly OwnTarget[];
}

export interface Chain {
  readonly name: string;
  /** `type ... hook ... priority ...;` of a base chain. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

export interface Table {
  readonly family: "netdev" | "ip" | "ip6";
  readonly sets: readonly { readonly name: string; readonly spec: string }[];
  readonly counters: readonly string[];
  /** conntrack's time-outs (`ct timeout`). */
  readonly timeouts?: readonly { readonly name: string; readonly spec: string }[];
  readonly chains: readonly Chain[];
}

/** Names of counters, with what they count. */
export const COUNTERS = {
  secondChance: "second_chance",
  unknown: "unknown",
  settling: "settling",
  forwarded: (address: IpAddress): string => `to_${word(address)}`,
  here: "here",
  own: (target: OwnTarget): string => `own_${word(target.address)}_${target.port}`,
} as const;

export const OWN_SET = "own";
export const SETTLING_SET = "settling";
export const heardSet = (family: Family): string => `heard${family}`;
export const flowSet = (family: Family): string => `flows${family}`;

/** An address as a part of a name: nft's names have letters, digits and underscores. */
function word(address: IpAddress): string {
  return address.text.replaceAll(/[.:]/g, "_");
}
