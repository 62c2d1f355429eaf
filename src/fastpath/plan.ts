/**
 * Makes the plan for the ruleset: which nodes take part in the fast path, and with what. It follows from what
 * the pool, the Lease and the network check say. Pure.
 */
import type { Grade } from "../backends/backend.ts";
import type { FastPathOffer } from "../kube/record.ts";
import { familiesOf, isOnNetwork, parseIp } from "../net.ts";
import type { IpAddress, Subnet } from "../net.ts";
import { FAST_PATH_VERSION, MOST_MEMBERS } from "./ruleset.ts";
import type { FastPathNode, OwnTarget, RulesetPlan } from "./tables.ts";

/** An API server, as the pool has it. */
export interface PlanBackend {
  readonly host: string;
  readonly port: number;
  readonly grade: Grade;
  /** True when it accepts new connections; false before its first check. */
  readonly serving: boolean;
  /** True when a person has drained it, or it is about to stop. */
  readonly drained: boolean;
  /** True when not even TCP answers, so that the machine may be gone and not only the process. */
  readonly silent: boolean;
}

/** Another node, as its annotation in the Lease describes it. */
export interface PlanPeer {
  readonly node: string;
  readonly fastPath: FastPathOffer | null;
  readonly mac: string;
  /**
   * True while its agent writes. Rules outlive an agent, so a node without one stays a member while it has an
   * API server of the cluster.
   */
  readonly fresh: boolean;
  /**
   * One of the addresses that it offers is an API server's, or was. An API server that is being restarted is
   * not in the cluster's list for a while.
   */
  readonly served: boolean;
  /** A text that changes each time that its agent writes. */
  readonly said: string;
}

/** What the plan rests on. */
export interface PlanFacts {
  readonly backends: readonly PlanBackend[];
  /** The longest known comes first. */
  readonly peers: readonly PlanPeer[];
  /** The MAC addresses of peers whose packets in the VIP's name do not arrive here. */
  readonly unheard: ReadonlySet<string>;
  /** The names of peers that were lost with their machine and have not written since. */
  readonly unproven: ReadonlySet<string>;
}

/** This node. */
export interface PlanNode {
  readonly name: string;
  readonly interfaceName: string;
  /** The index of the link that has this name now. */
  readonly interfaceIndex: number;
  readonly addresses: readonly IpAddress[];
  /** The subnets of its interface that contain a VIP. Peers have their addresses there. */
  readonly subnets: readonly Subnet[];
  readonly mac: string;
  readonly backendPort: number;
  /**
   * The proxy's port. It is undefined while the proxy cannot have it: the clients would go to the program
   * that has it.
   */
  readonly balancerPort: number | undefined;
  /** True when a process listens on a wildcard address at `backendPort`. */
  readonly wildcardListener: boolean;
  /** False where only the translation to the proxy is possible or wanted, see {@link WirePlan.hasIngress}. */
  readonly hasIngress: boolean;
  /** See {@link WirePlan.shortConntrackTimeouts}. */
  readonly shortConntrackTimeouts: boolean;
}

/** What stays the same, and this node. */
export interface PlanSettings {
  readonly vips: readonly IpAddress[];
  readonly ports: readonly number[];
  /** See {@link RulesetPlan.podInterfaces}. */
  readonly podInterfaces: readonly string[];
  /** It is undefined on a worker. */
  readonly node: PlanNode | undefined;
  /** See {@link RulesetPlan.idle}. */
  readonly idle?: boolean;
}

/** Makes the plan. All nodes that read the same facts agree on members and slots. */
export function makePlan(settings: PlanSettings, facts: PlanFacts): RulesetPlan {
  const { vips, ports, podInterfaces, node, idle = false } = settings;
  const others = node === undefined ? [] : partners(node, vips, facts);
  return {
    ...(idle ? { idle } : {}),
    vips,
    ports,
    podInterfaces,
    wire: node === undefined ? undefined : wirePlan(node, others, facts),
    own: ownTargets(settings, others, facts),
  };
}

function wirePlan(node: PlanNode, others: readonly FastPathNode[], facts: PlanFacts): RulesetPlan["wire"] {
  const self: FastPathNode = { name: node.name, addresses: node.addresses, mac: node.mac };
  const { members, leftOut } = chooseMembers([self, ...others], facts.backends);
  // A node that is left out may hold the VIP all the same. It then sends everything to the members.
  const peers = members.filter((member) => member !== self);
  const gradeOf = (member: FastPathNode): PlanBackend | undefined => backendOf(member, facts.backends);
  const own = gradeOf(self);
  const inRing = [self, ...peers]
    .filter((member) => (gradeOf(member)?.grade ?? "UNKNOWN") !== "DOWN")
    .map((member) => member.name);
  const acceptsNew = node.hasIngress
    ? members
        .filter(
          (member) =>
            gradeOf(member)?.serving === true &&
            !facts.unheard.has(member.mac) &&
            !facts.unproven.has(member.name),
        )
        .map((member) => member.name)
    : [];
  const anyServes = facts.backends.some((backend) => backend.serving);
  const proxied = !inRing.includes(node.name) || acceptsNew.length === 0;
  return {
    interfaceName: node.interfaceName,
    interfaceIndex: node.interfaceIndex,
    self,
    peers,
    leftOut,
    inRing,
    acceptsNew,
    passesOn: own?.drained === true && !own.serving,
    deliverTo: proxied && anyServes ? (node.balancerPort ?? node.backendPort) : node.backendPort,
    listener: node.wildcardListener ? node.backendPort : undefined,
    hasIngress: node.hasIngress,
    shortConntrackTimeouts: node.shortConntrackTimeouts,
  };
}

/**
 * Chooses the members. The choice is the same on every node, because it rests on what all of them read: API
 * servers of the cluster come first, then names decide. Grades do not count. A node that is left out still
 * offers its rules, and becomes a member as soon as another one leaves.
 */
function chooseMembers(
  candidates: readonly FastPathNode[],
  backends: readonly PlanBackend[],
): { readonly members: readonly FastPathNode[]; readonly leftOut: readonly string[] } {
  const rank = (node: FastPathNode): number => (backendOf(node, backends) === undefined ? 1 : 0);
  const byRank = [...candidates].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  const chosen = new Set(byRank.slice(0, MOST_MEMBERS));
  return {
    members: candidates.filter((node) => chosen.has(node)),
    leftOut: byRank.slice(MOST_MEMBERS).map(({ name }) => name),
  };
}

/**
 * Answers every other node that offers these rules in the Lease, in this version. Whoever may write the Lease
 * can offer anything there, and packets to the VIP are sent to what is offered. So a node's addresses are
 * those of one machine in the VIP's subnet, and one of them is an API server's. A node that is none any more
 * and has not written lately has left.
 */
function partners(node: PlanNode, vips: readonly IpAddress[], facts: PlanFacts): readonly FastPathNode[] {
  const seen = new Set([node.mac, ""]);
  // A machine that was replaced under another name leaves its annotation behind, with the address of the new
  // machine. The node that writes is right. The VIP is the address of no node.
  const addressesSeen = new Set([...node.addresses, ...vips].map((address) => address.text));
  const result: FastPathNode[] = [];
  // A new name does not displace a node that is known and alive. The sort is stable.
  for (const peer of facts.peers.toSorted((a, b) => Number(b.fresh) - Number(a.fresh))) {
    if (peer.node === node.name || peer.fastPath?.version !== FAST_PATH_VERSION || seen.has(peer.mac))
      continue;
    const addresses = peer.fastPath.addresses.flatMap((text) => parseIp(text) ?? []);
    const partner: FastPathNode = { name: peer.node, addresses, mac: peer.mac };
    if (!addresses.every((address) => isOnNetwork(node.subnets, address))) continue;
    if (addresses.some((address) => addressesSeen.has(address.text))) continue;
    if (backendOf(partner, facts.backends) === undefined && !(peer.fresh && peer.served)) continue;
    seen.add(peer.mac);
    for (const address of addresses) addressesSeen.add(address.text);
    result.push(partner);
  }
  return result.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function backendOf(member: FastPathNode, backends: readonly PlanBackend[]): PlanBackend | undefined {
  return backends.find((backend) => member.addresses.some((address) => address.text === backend.host));
}

/**
 * Answers the targets of this node's own clients. They can go to every API server, because they need no rules
 * on the other side. For a VIP of a family in which no API server has an address, the node's own proxy is the
 * target.
 */
function ownTargets(
  settings: PlanSettings,
  others: readonly FastPathNode[],
  facts: PlanFacts,
): readonly OwnTarget[] {
  const { node } = settings;
  const serving = facts.backends.filter((backend) => backend.serving);
  if (serving.length === 0) return [];
  return familiesOf(settings.vips).flatMap((family) => {
    const targets = serving.flatMap((backend): readonly OwnTarget[] => {
      const address = [backend.host, ...alsoKnownAs(backend, settings, others)]
        .flatMap((text) => parseIp(text) ?? [])
        .find((known) => known.family === family);
      return address === undefined ? [] : [{ address, port: backend.port }];
    });
    if (targets.length > 0) return targets;
    const self = node?.addresses.find((address) => address.family === family);
    return self === undefined || node?.balancerPort === undefined
      ? []
      : [{ address: self, port: node.balancerPort }];
  });
}

/** Answers the other addresses of the node that this API server runs on. */
function alsoKnownAs(
  backend: PlanBackend,
  { node }: PlanSettings,
  others: readonly FastPathNode[],
): readonly string[] {
  const nodes = [...(node === undefined ? [] : [node]), ...others];
  const texts = nodes.map(({ addresses }) => addresses.map(({ text }) => text));
  return texts.find((known) => known.includes(backend.host)) ?? [];
}
