/**
 * Reads default routes, which show machines on a link that are not nodes of the cluster. Layout:
 * linux/rtnetlink.h.
 */
import { ipFromBytes, type Family, type IpAddress } from "../net.ts";
import { concatBytes, viewOf } from "./bytes.ts";
import { SystemCallError } from "./libc.ts";
import { findLink } from "./links.ts";
import type { LinkRoute } from "./links.ts";
import {
  LITTLE_ENDIAN,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  encodeAttribute,
  parseAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink.ts";
import { openRouteSocket } from "./sockets.ts";

const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const AF_INET = 2;
const AF_INET6 = 10;
/** struct rtmsg */
const HEADER_BYTES = 12;
/** struct rtnexthop: length, flags, hops, index; then attributes. */
const NEXT_HOP_BYTES = 8;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;

/**
 * Lists the next hops of the default routes out of an interface, each once; none when there is no such
 * interface.
 * @throws {LeaseholdError} LH_NATIVE
 */
export function gateways(interfaceName: string, families: readonly Family[]): readonly IpAddress[] {
  const socket = openRouteSocket("strict");
  try {
    const link = findLink(socket, interfaceName);
    if (link === undefined) return [];
    const found = new Map<string, IpAddress>();
    for (const family of families) {
      const list = dumpRoutes(family, link.index);
      const routes = absentAsNone(() =>
        socket.collect(list, "list routes", (message) => parseDefaultRoute(message, link.index)),
      );
      for (const gateway of routes.flat()) found.set(gateway.text, gateway);
    }
    return [...found.values()];
  } finally {
    socket.close();
  }
}

/**
 * Lists the networks that the main table reaches on a link without a gateway. Such a route says which network
 * the link is in where the machine's address there has none of its own: a /128 from DHCPv6, a /32.
 * @throws {LeaseholdError} LH_NATIVE
 */
export function linkRoutes(families: readonly Family[]): readonly LinkRoute[] {
  const socket = openRouteSocket("strict");
  try {
    return families.flatMap((family) =>
      absentAsNone(() => socket.collect(dumpRoutes(family), "list routes", parseLinkRoute)),
    );
  } finally {
    socket.close();
  }
}

/**
 * Treats three errors as an empty list. ENODEV: there is no such link. ENOENT: a family that never had a
 * route has no main table. EAFNOSUPPORT: the kernel does not have that family (ipv6.disable=1).
 */
function absentAsNone<T>(list: () => readonly T[]): readonly T[] {
  try {
    return list();
  } catch (error) {
    if (error instanceof SystemCallError && ["ENODEV", "ENOENT", "EAFNOSUPPORT"].includes(error.errnoName))
      return [];
    throw error;
  }
}

/**
 * Asks for the main table's routes, out of one link or of all. A kernel before 4.20 lists all routes, and the parser
 * selects. A node whose network is made of routes has thousands.
 */
export function dumpRoutes(family: Family, linkIndex?: number): NetlinkRequest {
  const header = new Uint8Array(HEADER_BYTES);
  header[0] = family === 4 ? AF_INET : AF_INET6;
  header[4] = RT_TABLE_MAIN;
  const index = new Uint8Array(4);
  viewOf(index).setUint32(0, linkIndex ?? 0, LITTLE_ENDIAN);
  const selection = linkIndex === undefined ? [] : [encodeAttribute(RTA_OIF, index)];
  return {
    type: RTM_GETROUTE,
    flags: NLM_F_REQUEST | NLM_F_DUMP,
    payload: concatBytes([header, ...selection]),
  };
}

/**
 * Returns a default route's next hops on the link; undefined for any other route or message, and for a
 * malformed one.
 */
export function parseDefaultRoute(
  message: NetlinkMessage,
  linkIndex: number,
): readonly IpAddress[] | undefined {
  const { payload } = message;
  if (message.type !== RTM_NEWROUTE || payload.length < HEADER_BYTES) return undefined;
  const [family, destinationLength, sourceLength, , table, , , type] = payload;
  if (
    (family !== AF_INET && family !== AF_INET6) ||
    destinationLength !== 0 ||
    sourceLength !== 0 ||
    type !== RTN_UNICAST
  )
    return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER_BYTES));
  if (attributes === undefined || (readIndex(attributes.get(RTA_TABLE)) ?? table) !== RT_TABLE_MAIN)
    return undefined;
  const several = attributes.get(RTA_MULTIPATH);
  const hops =
    several === undefined
      ? [{ linkIndex: readIndex(attributes.get(RTA_OIF)), attributes }]
      : parseNextHops(several);
  return hops?.flatMap((hop) => {
    const gateway = hop.attributes.get(RTA_GATEWAY);
    // Without a gateway the link itself is the destination. IPv4 through an IPv6 neighbour (RTA_VIA) is left
    // out, because it is not of the VIP's family.
    return hop.linkIndex === linkIndex && gateway?.length === (family === AF_INET ? 4 : 16)
      ? [ipFromBytes(gateway)]
      : [];
  });
}

/** Parses a route to a network on a link; undefined for any other route or message, and a malformed one. */
export function parseLinkRoute(message: NetlinkMessage): LinkRoute | undefined {
  const { payload } = message;
  if (message.type !== RTM_NEWROUTE || payload.length < HEADER_BYTES) return undefined;
  const [family, prefixLength = 0, sourceLength, , table, , , type] = payload;
  if ((family !== AF_INET && family !== AF_INET6) || prefixLength === 0 || sourceLength !== 0)
    return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER_BYTES));
  if (attributes === undefined || type !== RTN_UNICAST) return undefined;
  const linkIndex = readIndex(attributes.get(RTA_OIF));
  const destination = attributes.get(RTA_DST);
  const size = family === AF_INET ? 4 : 16;
  const isElsewhere = [RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH].some((attribute) => attributes.has(attribute));
  if (isElsewhere || (readIndex(attributes.get(RTA_TABLE)) ?? table) !== RT_TABLE_MAIN) return undefined;
  if (linkIndex === undefined || destination?.length !== size || prefixLength > size * 8) return undefined;
  return { linkIndex, network: ipFromBytes(destination), prefixLength };
}

interface NextHop {
  readonly linkIndex: number | undefined;
  readonly attributes: ReadonlyMap<number, Uint8Array>;
}

function parseNextHops(bytes: Uint8Array): readonly NextHop[] | undefined {
  const hops: NextHop[] = [];
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < NEXT_HOP_BYTES) return undefined;
    const length = view.getUint16(at, LITTLE_ENDIAN);
    if (length < NEXT_HOP_BYTES || length > bytes.length - at) return undefined;
    const attributes = parseAttributes(bytes.subarray(at + NEXT_HOP_BYTES, at + length));
    if (attributes === undefined) return undefined;
    hops.push({ linkIndex: view.getInt32(at + 4, LITTLE_ENDIAN), attributes });
    at += (length + 3) & ~3;
  }
  return hops;
}

function readIndex(bytes: Uint8Array | undefined): number | undefined {
  return bytes?.length === 4 ? viewOf(bytes).getUint32(0, LITTLE_ENDIAN) : undefined;
}
