/**
 * Builds and parses Ethernet and IP headers of packets that no socket would send, and the pseudo-headers that
 * their checksums cover. Pure.
 */
import type { IpAddress } from "../net.ts";
import { concatBytes, viewOf } from "./bytes.ts";
import { internetChecksum } from "./checksum.ts";

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
/** IANA protocol numbers. */
export const ICMP = 1;
export const ICMPV6 = 58;
export const ETHERNET_HEADER_BYTES = 14;
export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;

export interface IpEnds {
  readonly source: IpAddress;
  readonly destination: IpAddress;
}

export interface MacEnds {
  readonly sourceMac: Uint8Array;
  readonly destinationMac: Uint8Array;
}

export function ethernetHeader({ sourceMac, destinationMac }: MacEnds, etherType: number): Uint8Array {
  return concatBytes([destinationMac, sourceMac, Uint8Array.of(etherType >>> 8, etherType & 0xff)]);
}

/**
 * Builds a whole Ethernet frame around `message`, whose checksum is filled in already.
 * @throws {RangeError} when the addresses are of two families
 */
export function ipFrame(
  ends: IpEnds & MacEnds,
  protocol: number,
  timeToLive: number,
  message: readonly Uint8Array[],
): Uint8Array {
  const { source, destination } = ends;
  if (source.family !== destination.family)
    throw new RangeError(`${source.text} and ${destination.text} are of two families`);
  const length = message.reduce((sum, part) => sum + part.length, 0);
  const etherType = source.family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
  const header =
    source.family === 4
      ? ipv4Header(ends, protocol, timeToLive, length)
      : ipv6Header(ends, protocol, timeToLive, length);
  return concatBytes([ethernetHeader(ends, etherType), header, ...message]);
}

/**
 * Builds the pseudo-header of RFC 9293 section 3.1 for IPv4 and of RFC 8200 section 8.1 for IPv6. The order
 * and width of the fields do not change the sum.
 */
export function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  return concatBytes([source, destination, Uint8Array.of(0, protocol, length >>> 8, length & 0xff)]);
}

function ipv4Header(
  { source, destination }: IpEnds,
  protocol: number,
  timeToLive: number,
  length: number,
): Uint8Array {
  const header = concatBytes([new Uint8Array(12), source.bytes, destination.bytes]);
  const view = viewOf(header);
  // Version 4, and a header of five words.
  view.setUint8(0, 0x45);
  view.setUint16(2, header.length + length);
  // Identification 0 is for packets that are never fragmented (RFC 6864 section 4.1), so "don't fragment" is
  // set.
  view.setUint16(6, 0x4000);
  view.setUint8(8, timeToLive);
  view.setUint8(9, protocol);
  view.setUint16(10, internetChecksum([header]));
  return header;
}

function ipv6Header(
  { source, destination }: IpEnds,
  protocol: number,
  hopLimit: number,
  length: number,
): Uint8Array {
  // Version 6, without traffic class or flow label.
  const header = Uint8Array.of(0x60, 0, 0, 0, 0, 0, protocol, hopLimit);
  viewOf(header).setUint16(4, length);
  return concatBytes([header, source.bytes, destination.bytes]);
}

/**
 * An ICMPv6 message as it came, with its checksum verified (RFC 4443 section 2.3). Its bytes point into the
 * frame.
 */
export interface Icmpv6Message {
  readonly sourceMac: Uint8Array;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly hopLimit: number;
  readonly message: Uint8Array;
}

/**
 * Parses an ICMPv6 frame. Returns undefined for anything else, also for a message behind extension headers:
 * the messages that are wanted here never have any.
 */
export function parseIcmpv6(frame: Uint8Array): Icmpv6Message | undefined {
  const messageAt = ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES;
  if (frame.length < messageAt) return undefined;
  const view = viewOf(frame);
  if (view.getUint16(12) !== ETHERTYPE.ipv6 || view.getUint8(14) >>> 4 !== 6 || view.getUint8(20) !== ICMPV6)
    return undefined;
  // Bytes after the packet are the padding of a short frame.
  const message = frame.subarray(messageAt, messageAt + view.getUint16(18));
  if (message.length !== view.getUint16(18)) return undefined;
  const source = frame.subarray(22, 38);
  const destination = frame.subarray(38, 54);
  if (internetChecksum([pseudoHeader(source, destination, ICMPV6, message.length), message]) !== 0)
    return undefined;
  return { sourceMac: frame.subarray(6, 12), source, destination, hopLimit: view.getUint8(21), message };
}
