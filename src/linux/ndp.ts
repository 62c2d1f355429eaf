/** Encodes and parses neighbour discovery (RFC 4861) as whole Ethernet frames. Pure. */
import { ipFromBytes } from "../net.ts";
import type { NeighbourFrame } from "./arp.ts";
import { concatBytes, sameBytes } from "./bytes.ts";
import { internetChecksum } from "./checksum.ts";
import { ICMPV6, ipFrame, parseIcmpv6, pseudoHeader } from "./ip-header.ts";
import { isOneMachine } from "./mac.ts";

/** ff02::1 is the group of all nodes on the link. */
const ALL_NODES = Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01);
/** ff02::1:ff00:0/104, to which the last three bytes of an address are appended (RFC 4291 section 2.7.1). */
const SOLICITED_NODE = Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff);
const UNSPECIFIED = new Uint8Array(16);
/** This hop limit proves that no router forwarded the packet (section 7.1). */
const HOP_LIMIT = 255;
export const NEIGHBOR_SOLICITATION = 135;
export const NEIGHBOR_ADVERTISEMENT = 136;
const FLAG_ROUTER = 0x80;
const FLAG_SOLICITED = 0x40;
const FLAG_OVERRIDE = 0x20;
const OPTION_SOURCE_LINK_LAYER_ADDRESS = 1;
const OPTION_TARGET_LINK_LAYER_ADDRESS = 2;
/** Length of type, code, checksum, flags or reserved, and target. */
const FIXED_BYTES = 24;

/**
 * Builds an unsolicited neighbour advertisement (section 7.2.6): "`ip` is at `mac`", which overrides the
 * neighbours' tables. `router` says whether this machine forwards. Hosts drop a default router whose
 * advertisement says that it is none (section 7.2.5), so `router` must agree with what the kernel itself
 * answers.
 */
export function unsolicitedAdvertisement(mac: Uint8Array, ip: Uint8Array, router: boolean): Uint8Array {
  const flags = FLAG_OVERRIDE | (router ? FLAG_ROUTER : 0);
  return multicast(mac, ip, ALL_NODES, [
    // The bytes are type, code, checksum (below), flags and reserved.
    Uint8Array.of(NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0),
    ip,
    linkLayerAddress(OPTION_TARGET_LINK_LAYER_ADDRESS, mac),
  ]);
}

/**
 * Builds "Who has `target`?" to the target's solicited-node group (section 7.2.2). Without a `sender` it is
 * duplicate address detection (RFC 4862 section 5.4.2). The answer to that goes to all nodes, and no machine
 * may learn from the question, so it must not contain our MAC (section 4.3).
 */
export function neighbourSolicitation(
  mac: Uint8Array,
  sender: Uint8Array | undefined,
  target: Uint8Array,
): Uint8Array {
  return multicast(mac, sender ?? UNSPECIFIED, solicitedNode(target), [
    Uint8Array.of(NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0),
    target,
    ...(sender === undefined ? [] : [linkLayerAddress(OPTION_SOURCE_LINK_LAYER_ADDRESS, mac)]),
  ]);
}

export function solicitedNode(target: Uint8Array): Uint8Array {
  return concatBytes([SOLICITED_NODE, target.subarray(13)]);
}

/** Builds a link-layer address option, whose length is in units of eight bytes. */
function linkLayerAddress(option: number, mac: Uint8Array): Uint8Array {
  return concatBytes([Uint8Array.of(option, 1), mac]);
}

function multicast(
  sourceMac: Uint8Array,
  source: Uint8Array,
  group: Uint8Array,
  parts: readonly Uint8Array[],
): Uint8Array {
  const icmp = concatBytes(parts);
  const checksum = internetChecksum([pseudoHeader(source, group, ICMPV6, icmp.length), icmp]);
  icmp[2] = checksum >>> 8;
  icmp[3] = checksum & 0xff;
  // A group's Ethernet address contains the group's last four bytes (RFC 2464 section 7).
  const destinationMac = concatBytes([Uint8Array.of(0x33, 0x33), group.subarray(12)]);
  return ipFrame(
    { sourceMac, destinationMac, source: ipFromBytes(source), destination: ipFromBytes(group) },
    ICMPV6,
    HOP_LIMIT,
    [icmp],
  );
}

/**
 * Parses a neighbour advertisement, or a solicitation without sender, that passes the checks of sections
 * 7.1.1 and 7.1.2; undefined for anything else, and for an advertisement in another machine's name. A solicitation with a sender also tells that sender's MAC.
 * But it does not say who has the target, and this node did not ask its sender, so it is left out.
 */
export function parseNeighbour(frame: Uint8Array): NeighbourFrame | undefined {
  const packet = parseIcmpv6(frame);
  if (packet === undefined || packet.hopLimit !== HOP_LIMIT || !isOneMachine(packet.sourceMac))
    return undefined;
  const { message, sourceMac, source, destination } = packet;
  if (message.length < FIXED_BYTES || message[1] !== 0) return undefined;
  const ip = message.subarray(8, FIXED_BYTES);
  const options = parseOptions(message.subarray(FIXED_BYTES));
  if (options === undefined || isMulticast(ip)) return undefined;
  if (message[0] === NEIGHBOR_ADVERTISEMENT) {
    // An advertisement to a group cannot answer one machine's question.
    const reply = ((message[4] ?? 0) & FLAG_SOLICITED) !== 0;
    if (isMulticast(source) || (isMulticast(destination) && reply)) return undefined;
    // Only an answer to a unicast question may leave the option out. Then the frame's own source counts.
    const mac = options.get(OPTION_TARGET_LINK_LAYER_ADDRESS) ?? sourceMac;
    return sameBytes(mac, sourceMac) ? { kind: "owner", ip, mac, reply } : undefined;
  }
  if (message[0] !== NEIGHBOR_SOLICITATION || options.has(OPTION_SOURCE_LINK_LAYER_ADDRESS)) return undefined;
  return sameBytes(source, UNSPECIFIED) && sameBytes(destination, solicitedNode(ip))
    ? { kind: "probe", ip, mac: sourceMac }
    : undefined;
}

/**
 * Returns the contents of the options by type, the first of each type; undefined when one has length 0 or
 * does not fit (section 4.6).
 */
function parseOptions(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length;) {
    const length = (bytes[at + 1] ?? 0) * 8;
    if (length === 0 || length > bytes.length - at) return undefined;
    const type = bytes[at] ?? 0;
    if (!options.has(type)) options.set(type, bytes.subarray(at + 2, at + length));
    at += length;
  }
  return options;
}

function isMulticast(ip: Uint8Array): boolean {
  return ip[0] === 0xff;
}
