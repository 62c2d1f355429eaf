/**
 * Lists TCP connections that the kernel tracks in this network namespace (ctnetlink). The codecs are pure.
 * Layouts: linux/netfilter/nfnetlink_conntrack.h.
 */
import { ipFromBytes, type Family, type IpAddress } from "../net.ts";
import { concatBytes, viewOf } from "./bytes.ts";
import {
  LITTLE_ENDIAN,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  encodeAttribute,
  encodeNested,
  parseAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink.ts";
import { NFGENMSG_LENGTH, NFNL_SUBSYS_CTNETLINK, nfnetlinkType, readBe16 } from "./nfnetlink.ts";
import { NETLINK_NETFILTER, openNetlinkSocket } from "./sockets.ts";

const IPCTNL_MSG_CT_NEW = 0;
const IPCTNL_MSG_CT_GET = 1;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_FILTER = 25;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP = { 4: { source: 1, destination: 2 }, 6: { source: 3, destination: 4 } } as const;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
// From net/netfilter/nf_conntrack_netlink.c. No header for programs has them, but libnetfilter_conntrack has
// them too.
const CTA_FILTER_F_CTA_IP_DST = 1 << 1;
const CTA_FILTER_F_CTA_PROTO_NUM = 1 << 3;
const CTA_FILTER_F_CTA_PROTO_DST_PORT = 1 << 5;
const AF = { 4: 2, 6: 10 } as const;
const IPPROTO_TCP = 6;

export interface Tuple {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface ConntrackEntry {
  readonly family: Family;
  /** Addresses and ports of the first packet. */
  readonly original: Tuple;
  /** Addresses and ports of the answers. With NAT, the source is not the original's destination. */
  readonly reply: Tuple;
}

/** The destination of a connection before any translation. */
export interface OriginalDestination {
  readonly address: IpAddress;
  readonly port: number;
}

export interface Conntrack {
  /**
   * Lists TCP connections of the table, which may have some 100 000. With `to` it lists only connections to
   * that destination. The kernel selects them (Linux 5.8), so the others cost neither time nor space.
   * @throws {SystemCallError} EPERM without CAP_NET_ADMIN; EINVAL where nf_conntrack_netlink is missing
   * (nfnetlink knows no such subsystem)
   */
  list(family: Family, to?: OriginalDestination): readonly ConntrackEntry[];
  close(): void;
}

export function openConntrack(): Conntrack {
  const netlink = openNetlinkSocket(NETLINK_NETFILTER);
  return {
    list(family, to) {
      if (to !== undefined && to.address.family !== family) return [];
      return netlink.collect(dumpConntrack(family, to), "list connections", (message) =>
        parseConntrack(message, to),
      );
    },
    close: () => netlink.close(),
  };
}

export function dumpConntrack(family: Family, to?: OriginalDestination): NetlinkRequest {
  const proto = [encodeAttribute(CTA_PROTO_NUM, Uint8Array.of(IPPROTO_TCP))];
  const parts: Uint8Array[] = [];
  let flags = CTA_FILTER_F_CTA_PROTO_NUM;
  if (to !== undefined) {
    proto.push(encodeAttribute(CTA_PROTO_DST_PORT, Uint8Array.of(to.port >>> 8, to.port & 0xff)));
    flags |= CTA_FILTER_F_CTA_PROTO_DST_PORT;
    // Not for IPv6: ctnetlink_filter_match_tuple takes ipv6_addr_cmp's 0 for "unlike", and leaves out exactly
    // the connections that are wanted (seen on Linux 6.18).
    if (family === 4) {
      parts.push(encodeNested(CTA_TUPLE_IP, encodeAttribute(CTA_IP[4].destination, to.address.bytes)));
      flags |= CTA_FILTER_F_CTA_IP_DST;
    }
  }
  const tuple = encodeNested(CTA_TUPLE_ORIG, ...parts, encodeNested(CTA_TUPLE_PROTO, ...proto));
  // Older kernels do not know CTA_FILTER and list everything, so `parseConntrack` checks again.
  const filter = encodeNested(
    CTA_FILTER,
    hostUint32(CTA_FILTER_ORIG_FLAGS, flags),
    hostUint32(CTA_FILTER_REPLY_FLAGS, 0),
  );
  return {
    type: nfnetlinkType(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET),
    flags: NLM_F_REQUEST | NLM_F_DUMP,
    payload: concatBytes([Uint8Array.of(AF[family], 0, 0, 0), tuple, filter]),
  };
}

function hostUint32(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, LITTLE_ENDIAN);
  return encodeAttribute(type, bytes);
}

/**
 * Parses one connection. Returns undefined for any other message, for a connection that is not TCP or not to
 * `to`, and for a malformed one.
 */
export function parseConntrack(
  message: NetlinkMessage,
  to?: OriginalDestination,
): ConntrackEntry | undefined {
  const { payload } = message;
  if (
    message.type !== nfnetlinkType(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW) ||
    payload.length < NFGENMSG_LENGTH
  )
    return undefined;
  const family = payload[0] === AF[4] ? 4 : payload[0] === AF[6] ? 6 : undefined;
  const attributes = parseAttributes(payload.subarray(NFGENMSG_LENGTH));
  if (family === undefined || attributes === undefined) return undefined;
  const original = rawTuple(family, attributes.get(CTA_TUPLE_ORIG));
  if (original === undefined || (to !== undefined && !leadsTo(original, to))) return undefined;
  const reply = rawTuple(family, attributes.get(CTA_TUPLE_REPLY));
  return reply && { family, original: tupleOf(original), reply: tupleOf(reply) };
}

/**
 * Keeps addresses as bytes of the message: making values for connections that are then left out would be most
 * of the work.
 */
interface RawTuple {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

function rawTuple(family: Family, bytes: Uint8Array | undefined): RawTuple | undefined {
  const parts = parseNested(bytes);
  const ip = parseNested(parts?.get(CTA_TUPLE_IP));
  const proto = parseNested(parts?.get(CTA_TUPLE_PROTO));
  if (proto?.get(CTA_PROTO_NUM)?.[0] !== IPPROTO_TCP) return undefined;
  const source = ip?.get(CTA_IP[family].source);
  const destination = ip?.get(CTA_IP[family].destination);
  const sourcePort = readBe16(proto.get(CTA_PROTO_SRC_PORT));
  const destinationPort = readBe16(proto.get(CTA_PROTO_DST_PORT));
  const size = family === 4 ? 4 : 16;
  if (source?.length !== size || destination?.length !== size) return undefined;
  if (sourcePort === undefined || destinationPort === undefined) return undefined;
  return { source, destination, sourcePort, destinationPort };
}

function parseNested(bytes: Uint8Array | undefined): ReadonlyMap<number, Uint8Array> | undefined {
  return bytes && parseAttributes(bytes);
}

function leadsTo(tuple: RawTuple, to: OriginalDestination): boolean {
  return tuple.destinationPort === to.port && Buffer.compare(tuple.destination, to.address.bytes) === 0;
}

function tupleOf(raw: RawTuple): Tuple {
  return { ...raw, source: ipFromBytes(raw.source), destination: ipFromBytes(raw.destination) };
}
