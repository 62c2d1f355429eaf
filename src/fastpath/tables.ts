/**
 * The data of the ruleset: the plan that it is made from, the tables that it consists of, and their names.
 */
import type { Family, IpAddress } from "../net.ts";

/** A control-plane node that takes part, as the Lease describes it. */
export interface FastPathNode {
  readonly name: string;
  /** The node's addresses on the VIP's network, at most one of each family. */
  readonly addresses: readonly IpAddress[];
  /** The MAC address of the VIP's interface, aa:bb:cc:dd:ee:ff. */
  readonly mac: string;
}

/** A target of a node's own clients: an API server, or the node's own proxy. */
export interface OwnTarget {
  readonly address: IpAddress;
  readonly port: number;
}

/** The part of a plan that only a control-plane node has: packets that come over the wire. */
export interface WirePlan {
  readonly interfaceName: string;
  /**
   * The index of the interface. No rule contains it, but ingress has to be bound again when a new link gets
   * the same name.
   */
  readonly interfaceIndex: number;
  readonly self: FastPathNode;
  /**
   * All other members: nodes that have these rules, whatever the grade of their API servers. With this node,
   * if it is a member, they are at most MOST_MEMBERS.
   */
  readonly peers: readonly FastPathNode[];
  /**
   * The names of nodes that have these rules and are no members, because there are too many. This node may be
   * one. No rule contains them.
   */
  readonly leftOut: readonly string[];
  /** The names of the nodes in the ring: those whose API server is not DOWN. */
  readonly inRing: readonly string[];
  /**
   * The names of the nodes that accept new connections. When there are none, this node's proxy accepts them.
   */
  readonly acceptsNew: readonly string[];
  /**
   * True when this node's API server is drained, and another one serves. A new connection that another node has sent
   * here all the same goes on to the next node of the ring.
   */
  readonly passesOn: boolean;
  /**
   * The port to which this node delivers: that of its API server, or of its proxy while the API server is
   * DOWN.
   */
  readonly deliverTo: number;
  /**
   * The port at which the API server listens on a wildcard address, so that the kernel can say whether it is
   * there. It is undefined if the API server listens in another way.
   */
  readonly listener: number | undefined;
  /**
   * True where the rules spread packets at ingress. False where the kernel lacks what that needs: all packets
   * are then delivered here.
   */
  readonly hasIngress: boolean;
  /**
   * True where conntrack forgets ended connections after seconds. False where the kernel has no such
   * time-outs (CONFIG_NF_CONNTRACK_TIMEOUT): it then forgets them after two minutes.
   */
  readonly shortConntrackTimeouts: boolean;
}

/** What the ruleset is made from. */
export interface RulesetPlan {
  readonly vips: readonly IpAddress[];
  /** The ports of the VIP. */
  readonly ports: readonly number[];
  /** The interfaces by which pods of this node send, as nft names them: a `*` ends the beginning of a name. */
  readonly podInterfaces: readonly string[];
  /** It is undefined with LEASEHOLD_ROLE=balancer. */
  readonly wire: WirePlan | undefined;
  /**
   * The targets of own clients, of either family. A VIP without targets of its family is left to the wire.
   */
  readonly own: readonly OwnTarget[];
  /**
   * True while other software has the VIP: the rules leave the VIP's packets alone, as they do when no agent
   * refreshes them (ADR 0016).
   */
  readonly idle?: boolean;
}

/** A chain of rules. */
export interface Chain {
  readonly name: string;
  /** A base chain's `type ... hook ... priority ...;`. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

/** A table of nftables. */
export interface Table {
  readonly family: "netdev" | "ip" | "ip6";
  readonly sets: readonly { readonly name: string; readonly spec: string }[];
  readonly counters: readonly string[];
  /** The time-outs of conntrack (`ct timeout`). */
  readonly timeouts?: readonly { readonly name: string; readonly spec: string }[];
  readonly chains: readonly Chain[];
}

/** The names of the counters. */
export const COUNTERS = {
  secondChance: "second_chance",
  unknown: "unknown",
  settling: "settling",
  forwarded: (address: IpAddress): string => `to_${word(address)}`,
  here: "here",
  own: (target: OwnTarget): string => `own_${word(target.address)}_${target.port}`,
} as const;

export const OWN_SET = "own";
/** The set of the tables `ip` and `ip6` that holds the VIPs while an agent refreshes them. */
export const VIPS_SET = "vips";
/** The same set of the table `netdev`. */
export const ingressVipsSet = (family: Family): string => `vips${family}`;
export const SETTLING_SET = "settling";
export const heardSet = (family: Family): string => `heard${family}`;
/** The set of the flows that are remembered for an hour. */
export const flowSet = (family: Family): string => `flows${family}`;
/** The set of the flows that sent something within the last minute, and are not in the other set. */
export const recentSet = (family: Family): string => `recent${family}`;

/** Writes an address as a part of a name. nft's names have letters, digits and underscores. */
function word(address: IpAddress): string {
  return address.text.replaceAll(/[.:]/g, "_");
}
