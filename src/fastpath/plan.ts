/**
 * Who takes part in the kernel's data plane, and with what: from what the pool, the Lease and the network check say to a plan for
 * the ruleset. Pure.
 */
import type { Grade } from "../backends/backend.ts";
import type { FastPathOffer } from "../kube/record.ts";
import { parseIp } from "../net.ts";
import type { IpAddress } from "../net.ts";
import { DATA_PLANE_VERSION, MOST_MEMBERS } from "./ruleset.ts";
import type { FastPathNode, OwnTarget, RulesetPlan } from "./tables.ts";

/** One API server, as the pool has it. */
export interface PlanBackend {
  readonly host: string;
  readonly port: number;
  readonly grade: Grade;
  /** Takes new connections; false before its first check. */
  readonly serving: boolean;
  /** Not even TCP answers: its machine, not only the process, may be gone. */
  readonly silent: boolean;
}

/** Another node, as its annotation in the Lease describes it. */
export interface PlanPeer {
  readonly node: string;
  readonly fastPath: FastPathOffer | null;
  readonly mac: string;
  /** Its agent writes. Rules outlive an agent, so this is no condition, but a node that is in no list any more goes with it. */
  readonly fresh: boolean;
  /** Changes each time that its agent writes. */
  readonly said: string;
}

export interface PlanFacts {
  readonly backends: readonly PlanBackend[];
  readonly peers: readonly PlanPeer[];
  /** MAC addresses of peers whose packets in the VIP's name do not get through to here. */
  readonly unheard: ReadonlySet<string>;
  /** Names of peers that were lost with their machine and have not said since that they have rules. */
  readonly unproven: ReadonlySet<string>;
}

export interface PlanNode {
  readonly name: string;
  readonly interfaceName: string;
  /** Of the link that has this name now. */
  readonly interfaceIndex: number;
  readonly addresses: readonly IpAddress[];
  readonly mac: string;
  readonly backendPort: number;
  /** undefined while the proxy cannot have its port: whoever has it would get the clients. */
  readonly balancerPort: number | undefined;
  /** Something listens on a wildcard address at `backendPort`. */
  readonly wildcardListener: boolean;
  /** False where only the translation to the proxy is possible or wanted. */
  readonly spreads: boolean;
  readonly forgets: boolean;
}

export interface PlanSettings {
  readonly vips: readonly IpAddress[];
  readonly ports: readonly number[];
  /** undefined on a worker. */
  readonly node: PlanNode | undefined;
}

export function makePlan(settings: PlanSettings, facts: PlanFacts): RulesetPlan {
  const { vips, ports, node } = settings;
  return { vips, ports, wire: node === undefined ? undefined : wirePlan(node, vips, facts), own: ownTargets(settings, facts) };
}

function wirePlan(node: PlanNode, vips: readonly IpAddress[], facts: PlanFacts): RulesetPlan["wire"] {
  const self: FastPathNode = { name: node.name, addresses: node.addresses, mac: node.mac };
  const { members, leftOut } = chooseMembers([self, ...partners(node, vips, facts)], facts.backends);
  // One that is left out may hold the VIP all the same. It then gives everything to the members.
  const peers = members.filter((member) => member !== self);
  const gradeOf = (member: FastPathNode): PlanBackend | undefined => backendOf(member, facts.backends);
  const walkable = [self, ...peers].filter((member) => (gradeOf(member)?.grade ?? "UNKNOWN") !== "DOWN").map((member) => member.name);
  const takers = node.spreads
    ? members.filter((member) => gradeOf(member)?.serving === true && !facts.unheard.has(member.mac) && !facts.unproven.has(member.name)).map((member) => member.name)
    : [];
  const anyServes = facts.backends.some((backend) => backend.serving);
  const proxied = !walkable.includes(node.name) || takers.length === 0;
  return {
    interfaceName: node.interfaceName,
    interfaceIndex: node.interfaceIndex,
    self,
    peers,
    leftOut,
    walkable,
    takers,
    deliverTo: proxied && anyServes ? (node.balancerPort ?? node.backendPort) : node.backendPort,
    listener: node.wildcardListener ? node.backendPort : undefined,
    spreads: node.spreads,
    forgets: node.forgets,
  };
}

/**
 * The same on every node, because it comes from what all of them read: the cluster's API servers before others, then by name. Grades do not count.
 * A node that is left out still offers its rules, and is a member as soon as another leaves.
 */
function chooseMembers(
  candidates: readonly FastPathNode[],
  backends: readonly PlanBackend[],
): { readonly members: readonly FastPathNode[]; readonly leftOut: readonly string[] } {
  const rank = (node: FastPathNode): number => (backendOf(node, backends) === undefined ? 1 : 0);
  const byRank = [...candidates].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  const chosen = new Set(byRank.slice(0, MOST_MEMBERS));
  return { members: candidates.filter((node) => chosen.has(node)), leftOut: byRank.slice(MOST_MEMBERS).map(({ name }) => name) };
}

/**
 * Every other node that says in the Lease that it has these rules, in this version. One that is neither an API server of the cluster nor heard
 * of lately has left.
 */
function partners(node: PlanNode, vips: readonly IpAddress[], facts: PlanFacts): readonly FastPathNode[] {
  const seen = new Set([node.mac, ""]);
  // A machine that was replaced under another name leaves its annotation, with the address that the new one has: who writes is right. The VIP is no node's.
  const addressesSeen = new Set([...node.addresses, ...vips].map((address) => address.text));
  const result: FastPathNode[] = [];
  for (const peer of [...facts.peers].sort((a, b) => Number(b.fresh) - Number(a.fresh) || (a.node < b.node ? -1 : 1))) {
    if (peer.node === node.name || peer.fastPath?.version !== DATA_PLANE_VERSION || seen.has(peer.mac)) continue;
    const addresses = peer.fastPath.addresses.flatMap((text) => parseIp(text) ?? []);
    const partner: FastPathNode = { name: peer.node, addresses, mac: peer.mac };
    if (addresses.some((address) => addressesSeen.has(address.text))) continue;
    if (!peer.fresh && backendOf(partner, facts.backends) === undefined) continue;
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
 * A node's own clients need no rules on the other side: they can go to every API server. For a VIP of a family in which none has an
 * address, the own proxy takes them.
 */
function ownTargets(settings: PlanSettings, facts: PlanFacts): readonly OwnTarget[] {
  const { node } = settings;
  const serving = facts.backends.filter((backend) => backend.serving);
  if (serving.length === 0) return [];
  const families = new Set(settings.vips.map((vip) => vip.family));
  return [...families].flatMap((family) => {
    const targets = serving.flatMap((backend): readonly OwnTarget[] => {
      const address = [backend.host, ...alsoKnownAs(backend, settings, facts)].flatMap((text) => parseIp(text) ?? []).find((known) => known.family === family);
      return address === undefined ? [] : [{ address, port: backend.port }];
    });
    if (targets.length > 0) return targets;
    const self = node?.addresses.find((address) => address.family === family);
    return self === undefined || node?.balancerPort === undefined ? [] : [{ address: self, port: node.balancerPort }];
  });
}

/** The other addresses of the node that this API server runs on. */
function alsoKnownAs(backend: PlanBackend, { node }: PlanSettings, facts: PlanFacts): readonly string[] {
  const own = node?.addresses.map((address) => address.text) ?? [];
  if (own.includes(backend.host)) return own;
  return facts.peers.find((peer) => peer.fastPath?.addresses.includes(backend.host) === true)?.fastPath?.addresses ?? [];
}
