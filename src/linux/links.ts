/**
 * Decides on which interface the VIP belongs, and which address there is this node's own. Pure decisions over
 * the kernel's lists.
 */
import { LeaseholdError } from "../errors.ts";
import { hostPrefix, samePrefix, type Family, type IpAddress, type Subnet } from "../net.ts";
import { SystemCallError } from "./libc.ts";
import {
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_SECONDARY,
  IFA_F_TENTATIVE,
  dumpAddresses,
  dumpLinks,
  getLink,
  parseAddress,
  parseLink,
  type AddressEntry,
  type LinkEntry,
} from "./rtnetlink.ts";
import { openRouteSocket, type NetlinkSocket } from "./sockets.ts";

/** A network that is on a link by a route without a gateway. */
export interface LinkRoute {
  readonly linkIndex: number;
  readonly network: IpAddress;
  readonly prefixLength: number;
}

export interface Network {
  readonly links: readonly LinkEntry[];
  readonly addresses: readonly AddressEntry[];
  /** Read only where an interface has to be found. */
  readonly routes?: readonly LinkRoute[];
}

/**
 * Reads the machine's links and addresses as of now.
 * @throws {LeaseholdError} LH_NATIVE
 */
export function readNetwork(): Network {
  const socket = openRouteSocket();
  try {
    return {
      links: socket.query(dumpLinks(), "list links").flatMap((message) => parseLink(message) ?? []),
      addresses: readAddresses(socket),
    };
  } finally {
    socket.close();
  }
}

/**
 * Reads one interface and the machine's addresses as of now. There is no link while no interface has that
 * name.
 * @throws {LeaseholdError} LH_NATIVE
 */
export function readLink(interfaceName: string): Network {
  const socket = openRouteSocket();
  try {
    const link = findLink(socket, interfaceName);
    return { links: link === undefined ? [] : [link], addresses: readAddresses(socket) };
  } finally {
    socket.close();
  }
}

function readAddresses(socket: Pick<NetlinkSocket, "query">): readonly AddressEntry[] {
  return socket.query(dumpAddresses(), "list addresses").flatMap((message) => parseAddress(message) ?? []);
}

/**
 * Reads one interface as of now; undefined while no interface has that name.
 * @throws {LeaseholdError} LH_NATIVE
 */
export function findLink(socket: Pick<NetlinkSocket, "query">, interfaceName: string): LinkEntry | undefined {
  try {
    return socket.query(getLink(interfaceName), "get link").flatMap((message) => parseLink(message) ?? [])[0];
  } catch (error) {
    if (error instanceof SystemCallError && error.errnoName === "ENODEV") return undefined;
    throw error;
  }
}

/**
 * Returns the interface whose networks contain every one of `vips`, or `configured`, if that exists. Of
 * several, one that is up comes before one that is not, as in the kernel's routing, and then the one with the
 * longest prefixes. An interface is known by any of its names, also as `ip` prints it (`eth0@if6`).
 * @throws {LeaseholdError} LH_INTERFACE when there is none (yet), LH_AMBIGUOUS_INTERFACE when there is more
 * than one (the message names them), LH_LINK_TYPE when it is the loopback, which no machine can reach
 */
export function chooseInterface(
  network: Network,
  vips: readonly IpAddress[],
  configured: string | undefined,
): LinkEntry {
  if (configured !== undefined) {
    const [name = ""] = configured.split("@");
    const link =
      network.links.find((candidate) => candidate.name === name) ??
      network.links.find((candidate) => candidate.altNames.includes(name));
    if (link !== undefined) return reachable(network, link, `LEASEHOLD_INTERFACE="${configured}" is`);
    throw new LeaseholdError(
      "LH_INTERFACE",
      `there is no interface ${configured}; this machine has ${describe(network)}`,
    );
  }
  const wanted = vips.map((vip) => vip.text).join(" and ");
  const fitting = network.links.filter(
    (link) => !link.loopback && vips.every((vip) => prefixTo(network, link, vip) > 0),
  );
  const lengthOf = (link: LinkEntry): number =>
    vips.reduce((sum, vip) => sum + prefixTo(network, link, vip), 0);
  const candidates = bestBy(fitting, [
    (link) => Number(link.ethernet),
    (link) => Number(link.up && link.carrier),
    lengthOf,
  ]);
  const [only, another] = candidates;
  if (only === undefined) {
    throw new LeaseholdError(
      "LH_INTERFACE",
      `no interface has a network that holds ${wanted}; this machine has ${describe(network)}`,
    );
  }
  if (another !== undefined) {
    const names = candidates.map((link) => link.name).join(", ");
    throw new LeaseholdError(
      "LH_AMBIGUOUS_INTERFACE",
      `more than one interface has a network that holds ${wanted}: ${names}`,
    );
  }
  return reachable(network, only, `the network that holds ${wanted} is on ${only.name},`);
}

/** Keeps those that are first by the first criterion, of these those by the second, and so on. */
function bestBy(
  links: readonly LinkEntry[],
  criteria: readonly ((link: LinkEntry) => number)[],
): readonly LinkEntry[] {
  return criteria.reduce((left, score) => {
    const most = Math.max(...left.map(score));
    return left.filter((link) => score(link) === most);
  }, links);
}

/** Returns the longest prefix by which `vip` is in a network of the link; 0 when it is in none. */
function prefixTo(network: Network, link: LinkEntry, vip: IpAddress): number {
  const subnets = onSubnet(network, link, vip).map(({ prefixLength }) => prefixLength);
  // An address of this node's own has to be there, or there is nothing to announce the VIP beside.
  const hasOwn = own(network, link, vip.family).some(({ address }) => address.text !== vip.text);
  const routes = (network.routes ?? []).filter(
    (route) =>
      hasOwn &&
      route.linkIndex === link.index &&
      route.network.family === vip.family &&
      route.prefixLength < hostPrefix(vip) &&
      samePrefix(route.network.bytes, vip.bytes, route.prefixLength),
  );
  return Math.max(0, ...subnets, ...routes.map(({ prefixLength }) => prefixLength));
}

/** Refuses the loopback. `begin` begins the error's message. */
function reachable(network: Network, link: LinkEntry, begin: string): LinkEntry {
  if (!link.loopback) return link;
  throw new LeaseholdError(
    "LH_LINK_TYPE",
    `${begin} the loopback interface, which no other machine can reach; ` +
      `use an Ethernet interface: this machine has ${describe({ ...network, links: network.links.filter(({ ethernet }) => ethernet) })}`,
  );
}

/** Why a link carries neither announcements nor the fast path. */
export const NO_ARP =
  "it is not an Ethernet interface with ARP, so no machine can be told there who has the VIP";

/** Says what is lost on a link where the VIP cannot be announced; undefined on an Ethernet interface. */
export function linkTypeProblem({ name, ethernet }: LinkEntry): LeaseholdError | undefined {
  if (ethernet) return undefined;
  return new LeaseholdError(
    "LH_LINK_TYPE",
    `the VIP's interface is ${name}: ${NO_ARP}. The VIP is not announced, the holder's silence is no proof, ` +
      "and port 6443 leads to the holder's proxy",
  );
}

/** True when a network of the link contains `vip`. */
export function holds(network: Network, link: LinkEntry, vip: IpAddress): boolean {
  return prefixTo(network, link, vip) > 0;
}

/**
 * Says which address of a connected subnet `vip` is, if that address belongs to no machine: the network's own
 * or its broadcast address (RFC 1122 section 3.2.1.3; a /31 has neither, RFC 3021), or the subnet-router
 * anycast address (RFC 4291 section 2.6.1; a /127 has none, RFC 6164). undefined when it is an ordinary one.
 */
export function reservedAs(network: Network, link: LinkEntry, vip: IpAddress): string | undefined {
  for (const { address, prefixLength } of onSubnet(network, link, vip)) {
    if (prefixLength >= hostPrefix(vip) - 1) continue;
    const where = `${address.text}/${prefixLength} on ${link.name}`;
    if (hostBitsAre(vip.bytes, prefixLength, 0x00))
      return vip.family === 4
        ? `the network's own address (${where})`
        : `the network's subnet-router anycast address (${where})`;
    if (vip.family === 4 && hostBitsAre(vip.bytes, prefixLength, 0xff))
      return `the network's broadcast address (${where})`;
  }
  return undefined;
}

/** True when every bit after the prefix is as in `fill`, 0x00 or 0xff. */
function hostBitsAre(bytes: Uint8Array, prefixLength: number, fill: number): boolean {
  return bytes.every((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefixLength - index * 8));
    return ((byte ^ fill) & (0xff >> bits)) === 0;
  });
}

/** True when the link has this address, as one of the machine's own. */
export function hasAddress(network: Network, link: LinkEntry, address: IpAddress): boolean {
  return own(network, link, address.family).some((entry) => entry.address.text === address.text);
}

/**
 * Returns why `nodeIp` cannot be this node's address on `link`: the link is up and has others of that family.
 * undefined when the link has it, and while it may still get it.
 */
export function wrongNodeIp(
  network: Network,
  link: LinkEntry,
  vips: readonly IpAddress[],
  nodeIp: IpAddress,
): LeaseholdError | undefined {
  if (!link.up || hasAddress(network, link, nodeIp)) return undefined;
  const right = ownAddress(network, link, vips, nodeIp.family);
  if (right === undefined) return undefined;
  const other = network.links.find((each) => each !== link && hasAddress(network, each, nodeIp));
  const where = other === undefined ? "" : `, but of ${other.name}`;
  return new LeaseholdError(
    "LH_NODE_IP",
    `LEASEHOLD_NODE_IP="${nodeIp.text}" is no address of the VIP's interface ${link.name}${where}; ` +
      `use ${right.text}, or leave it out: this machine has ${describe(network)}`,
  );
}

/**
 * Returns this node's own address on `link`, of the first VIP's family. It prefers an address whose subnet
 * contains that VIP. Otherwise (the interface was configured) it takes any global one. It never returns a
 * VIP.
 * @throws {LeaseholdError} LH_NODE_IP
 */
export function chooseNodeIp(network: Network, link: LinkEntry, vips: readonly IpAddress[]): IpAddress {
  const [vip] = vips;
  if (vip === undefined) throw new LeaseholdError("LH_NODE_IP", "there is no VIP");
  const best = ownAddress(network, link, vips, vip.family);
  if (best === undefined) {
    throw new LeaseholdError(
      "LH_NODE_IP",
      `${link.name} has no IPv${vip.family} address of this node's own; this machine has ${describe(network)}`,
    );
  }
  return best;
}

/**
 * Chooses this node's own address as {@link chooseNodeIp} does, for either family; undefined when the link
 * has none of it.
 */
export function ownAddress(
  network: Network,
  link: LinkEntry,
  vips: readonly IpAddress[],
  family: Family,
): IpAddress | undefined {
  const vip = vips.find((each) => each.family === family);
  const isVip = (entry: AddressEntry): boolean => vips.some((other) => other.text === entry.address.text);
  const near = vip === undefined ? [] : onSubnet(network, link, vip).filter((entry) => !isVip(entry));
  const pool = near.length > 0 ? near : own(network, link, family).filter((entry) => !isVip(entry));
  // A primary, permanent, settled address comes before secondary (IPv4), temporary (IPv6), deprecated or
  // tentative ones. Otherwise the kernel's order decides.
  const lesser = IFA_F_SECONDARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE;
  return (pool.find((entry) => (entry.flags & lesser) === 0) ?? pool[0])?.address;
}

/**
 * True when a node that is known by this address on `link` may go on with it: the link has it, it is not
 * deprecated, and no other one is nearer to the VIP.
 */
export function isStillGood(
  network: Network,
  link: LinkEntry,
  vips: readonly IpAddress[],
  address: IpAddress,
): boolean {
  const isIt = (entry: AddressEntry): boolean => entry.address.text === address.text;
  const entry = own(network, link, address.family).find(isIt);
  if (entry === undefined || (entry.flags & IFA_F_DEPRECATED) !== 0) return false;
  const near = vips
    .filter(({ family }) => family === address.family)
    .flatMap((vip) => onSubnet(network, link, vip))
    .filter((one) => !vips.some(({ text }) => text === one.address.text));
  return near.length === 0 || near.some(isIt);
}

/** Lists the subnets of the link that contain one of `vips`. A host address is no subnet. */
export function subnetsOf(network: Network, link: LinkEntry, vips: readonly IpAddress[]): readonly Subnet[] {
  return vips.flatMap((vip) =>
    onSubnet(network, link, vip).map(({ address, prefixLength }) => ({ address, prefixLength })),
  );
}

/** Lists the subnets of all links that contain one of `vips`. */
export function subnetsOfVips(network: Network, vips: readonly IpAddress[]): readonly Subnet[] {
  return network.links.flatMap((link) => subnetsOf(network, link, vips));
}

/**
 * Lists the link's usable addresses whose subnet contains `vip`. A VIP bound by an agent (a host address) is
 * no subnet.
 */
function onSubnet(network: Network, link: LinkEntry, vip: IpAddress): readonly AddressEntry[] {
  return own(network, link, vip.family).filter(
    (entry) =>
      entry.prefixLength < hostPrefix(entry.address) &&
      samePrefix(entry.address.bytes, vip.bytes, entry.prefixLength),
  );
}

function own(network: Network, link: LinkEntry, family: Family): readonly AddressEntry[] {
  return network.addresses.filter(
    (entry) =>
      entry.linkIndex === link.index &&
      entry.address.family === family &&
      !entry.ours &&
      (entry.flags & IFA_F_DADFAILED) === 0 &&
      !isLinkLocal(entry.address),
  );
}

/** True for fe80::/10. Every interface has such an address, so it says nothing. */
function isLinkLocal(address: IpAddress): boolean {
  return address.family === 6 && address.bytes[0] === 0xfe && ((address.bytes[1] ?? 0) & 0xc0) === 0x80;
}

/**
 * Returns text such as `eth0 (192.0.2.1/24), eth1 (no address)`, without the loopback and link-local
 * addresses.
 */
function describe(network: Network): string {
  const links = network.links.filter((link) => !link.loopback);
  if (links.length === 0) return "no interface but the loopback";
  return links
    .map((link) => {
      const addresses = network.addresses.filter(
        (entry) => entry.linkIndex === link.index && !isLinkLocal(entry.address),
      );
      const list = addresses.map((entry) => `${entry.address.text}/${entry.prefixLength}`).join(" ");
      return `${link.name} (${list === "" ? "no address" : list})`;
    })
    .join(", ");
}
