/**
 * Which API servers the balancer checks and uses. Normally those that the cluster names in the EndpointSlices
 * of the `kubernetes` Service. The addresses there are not always the nodes' addresses on the VIP's network: in
 * Vagrant every kube-apiserver names 10.0.2.15, a node with a second network card may name that one, and with
 * `--endpoint-reconciler-type=none` none is named. Then the candidates of the Lease name their own. Pure.
 */
import { LeaseholdError } from "../errors.ts";
import { isOnNetwork, parseIp } from "../net.ts";
import type { HostPort, IpAddress, Subnet } from "../net.ts";

/** A node, by its annotation in the Lease. */
export interface NodeAddresses {
  /** Its address on the VIP's network, canonical text. */
  readonly ip: string;
  /** All of its addresses there, canonical text. */
  readonly all: readonly string[];
}

export interface BackendSources {
  /** LEASEHOLD_BACKENDS. If there are any, they are the whole list. */
  readonly configured: readonly HostPort[];
  /** What the cluster named when it last named any. */
  readonly discovered: readonly HostPort[];
  /** What the cluster's last answer named. It may be empty. undefined: it has not answered yet. */
  readonly answered: readonly HostPort[] | undefined;
  /** What an earlier run has found. */
  readonly remembered: readonly HostPort[];
  /** This node's own addresses; undefined on a worker. */
  readonly own: NodeAddresses | undefined;
  /** The other nodes of the Lease. */
  readonly candidates: readonly NodeAddresses[];
  /** The subnets that contain a VIP. */
  readonly subnets: readonly Subnet[];
  readonly vips: readonly IpAddress[];
  /** The port of a candidate's API server. */
  readonly port: number;
  /** True for an address whose API server a check has verified. */
  readonly isProven: (host: string) => boolean;
}

export interface ListedServer extends HostPort {
  /** See {@link import("./backend.ts").Backend.claimed}. */
  readonly claimed?: true;
}

export interface BackendList {
  readonly servers: readonly ListedServer[];
  /**
   * The API servers of nodes that the cluster names by another address or not at all, this node's among them.
   * Those are proven.
   */
  readonly unnamed: readonly string[];
}

/** No control plane has this many servers. The limit keeps a broken Lease from flooding the pool. */
const MOST_CLAIMED = 64;

/** Makes the list. The own API server is in the pool whatever the list says. */
export function listBackends(sources: BackendSources): BackendList {
  const { configured, discovered, answered, own, candidates, vips, port, isProven } = sources;
  const isVip = ({ host }: HostPort): boolean => vips.some((vip) => vip.text === host);
  const [named = []] = [configured, discovered, sources.remembered].filter((list) => list.length > 0);
  const servers = named.filter((server) => !isVip(server));
  if (configured.length > 0 || answered === undefined) return { servers, unnamed: [] };
  const hosts = new Set(discovered.map(({ host }) => host));
  const nodes = [...(own === undefined ? [] : [own]), ...candidates];
  const known = new Set(nodes.flatMap(({ ip, all }) => [ip, ...all]));
  // While every address is a node's, a node that is not named has no API server now. The VIP is no node's: a
  // kube-apiserver that was started while its machine had the VIP may have taken that for its own address.
  if (answered.length > 0 && named.every(({ host }) => known.has(host))) return { servers, unnamed: [] };
  const isNamed = ({ ip, all }: NodeAddresses): boolean => [ip, ...all].some((host) => hosts.has(host));
  const claimed = candidates
    .filter((node) => !isNamed(node) && mayBeNode(sources, node.ip))
    .slice(0, MOST_CLAIMED)
    .map(({ ip }): ListedServer => ({ host: ip, port, claimed: true }));
  const proven = claimed.filter(({ host }) => isProven(host)).map(({ host }) => host);
  const ownIps = own !== undefined && !isNamed(own) && isProven(own.ip) ? [own.ip] : [];
  // An address of another network is another way to the same server, or the way to this machine itself.
  const kept = proven.length === 0 ? servers : servers.filter(({ host }) => isNear(sources, known, host));
  return { servers: [...kept, ...claimed], unnamed: [...ownIps, ...proven] };
}

function mayBeNode({ subnets, vips, own }: BackendSources, ip: string): boolean {
  const address = parseIp(ip);
  return (
    address !== undefined &&
    isOnNetwork(subnets, address) &&
    !vips.some(({ text }) => text === ip) &&
    own?.all.includes(ip) !== true
  );
}

function isNear({ subnets }: BackendSources, known: ReadonlySet<string>, host: string): boolean {
  const address = parseIp(host);
  return known.has(host) || (address !== undefined && isOnNetwork(subnets, address));
}

/** API servers of the Lease's nodes, by address, and what the cluster's list names instead. */
export interface Unnamed {
  readonly named: readonly string[];
  readonly servers: readonly string[];
}

/** Most addresses that an error names. */
const MOST_NAMED = 5;

/** What is wrong with the cluster's list of API servers. */
export function unnamedError({ named, servers }: Unnamed): LeaseholdError {
  const list = (addresses: readonly string[]): string =>
    addresses.slice(0, MOST_NAMED).join(", ") +
    (addresses.length > MOST_NAMED ? ` and ${addresses.length - MOST_NAMED} more` : "");
  return new LeaseholdError(
    "LH_ENDPOINTS",
    `the EndpointSlices of the Service default/kubernetes name ${named.length === 0 ? "no address" : list(named)}; ` +
      `API servers answer at ${list(servers)}, which are nodes' addresses on the VIP's network`,
  );
}
