/**
 * Decides on which interface the VIP belongs, and which address there is this node's own. Pure decisions over
 * the kernel's lists.
 */
import { LeaseholdError } from "../errors.ts";
import { hostPrefix, type Family, type IpAddress } from "../net.ts";
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

export interface Network {
  readonly links: readonly LinkEntry[];
  readonly addresses: readonly AddressEntry[];
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
      addresses: socket
        .query(dumpAddresses(), "list addresses")
        .flatMap((message) => parseAddress(message) ?? []),
    };
  } finally {
    socket.close();
  }
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
 * Returns the interface whose connected subnets contain every one of `vips`, or `configured`, if that exists.
 * @throws {LeaseholdError} LH_INTERFACE when there is none (yet), LH_AMBIGUOUS_INTERFACE when there is more
 * than one (the message names them)
 */
export function chooseInterface(
  network: Network,
  vips: readonly IpAddress[],
  configured: string | undefined,
): LinkEntry {
  if (configured !== undefined) {
    const link = network.links.find((candidate) => candidate.name === configured);
    if (link !== undefined) return link;
    throw new LeaseholdError(
      "LH_INTERFACE",
      `there is no interface ${configured}; this machine has ${describe(network)}`,
    );
  }
  const wanted = vips.map((vip) => vip.text).join(" and ");
  const candidates = network.links.filter(
    (link) => !link.loopback && vips.every((vip) => onSubnet(network, link, vip).length > 0),
  );
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
  return only;
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

function samePrefix(a: Uint8Array, b: Uint8Array, prefixLength: number): boolean {
  for (let i = 0; i < a.length; i++) {
    const bits = Math.min(8, Math.max(0, prefixLength - i * 8));
    const mask = (0xff00 >> bits) & 0xff;
    if ((((a[i] ?? 0) ^ (b[i] ?? 0)) & mask) !== 0) return false;
  }
  return true;
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
