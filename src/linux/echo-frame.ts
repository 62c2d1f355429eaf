/**
 * Encodes and parses ICMP (RFC 792) and ICMPv6 (RFC 4443 section 4) echo as whole Ethernet frames, for a
 * machine that no route leads to. Pure.
 */
import { viewOf } from "./bytes.ts";
import { internetChecksum } from "./checksum.ts";
import { ECHO_BYTES, ECHO_TYPES, echoRequest } from "./echo.ts";
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE,
  ICMP,
  ICMPV6,
  IPV4_HEADER_BYTES,
  ipFrame,
  parseIcmpv6,
  pseudoHeader,
  type IpEnds,
  type MacEnds,
} from "./ip-header.ts";
import { isOneMachine } from "./mac.ts";

/**
 * Hop limit 1, so that only the machine with that MAC can answer. Nodes of a cluster forward, and a node that
 * has just lost the address would send the request on to the node that has it now. Delivery to the machine's
 * own addresses does not lower the hop limit.
 */
const TIME_TO_LIVE = 1;

export interface EchoFrame {
  readonly identifier: number;
  readonly sequence: number;
}

/**
 * Builds an echo request without data: the answer is as short as it can be, and its length tells it from
 * answers to other programs.
 * @throws {RangeError} for two families
 */
export function echoRequestFrame(ends: IpEnds & MacEnds & EchoFrame): Uint8Array {
  const { source, destination, identifier, sequence } = ends;
  const message = echoRequest(destination.family, identifier, sequence);
  if (destination.family === 4) return ipFrame(ends, ICMP, TIME_TO_LIVE, [message]);
  const pseudo = pseudoHeader(source.bytes, destination.bytes, ICMPV6, message.length);
  viewOf(message).setUint16(2, internetChecksum([pseudo, message]));
  return ipFrame(ends, ICMPV6, TIME_TO_LIVE, [message]);
}

/** A parsed reply. Bytes point into the frame. */
export interface EchoReplyFrame extends EchoFrame {
  readonly ip: Uint8Array;
  readonly sourceMac: Uint8Array;
}

/** Parses an echo reply without data whose checksums are right; undefined for anything else. */
export function parseEchoReplyFrame(frame: Uint8Array): EchoReplyFrame | undefined {
  const parsed =
    frame.length > ETHERNET_HEADER_BYTES && viewOf(frame).getUint16(12) === ETHERTYPE.ipv4
      ? parseFrame4(frame)
      : parseFrame6(frame);
  if (parsed === undefined || !isOneMachine(frame.subarray(6, 12))) return undefined;
  const view = viewOf(parsed.message);
  return {
    ip: parsed.source,
    sourceMac: frame.subarray(6, 12),
    identifier: view.getUint16(4),
    sequence: view.getUint16(6),
  };
}

interface Parsed {
  readonly source: Uint8Array;
  readonly message: Uint8Array;
}

function parseFrame4(frame: Uint8Array): Parsed | undefined {
  const messageAt = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
  // Bytes after the message are the padding of a short frame.
  const header = frame.subarray(ETHERNET_HEADER_BYTES, messageAt);
  const message = frame.subarray(messageAt, messageAt + ECHO_BYTES);
  if (message.length < ECHO_BYTES) return undefined;
  const view = viewOf(header);
  // The tests are of version and length in words (there are no options, as the request had none), total
  // length, flags and fragment offset except "don't fragment", and protocol.
  if (view.getUint8(0) !== 0x45 || view.getUint16(2) !== IPV4_HEADER_BYTES + ECHO_BYTES) return undefined;
  if ((view.getUint16(6) & 0xbfff) !== 0 || view.getUint8(9) !== ICMP) return undefined;
  if (message[0] !== ECHO_TYPES[4].reply || message[1] !== 0) return undefined;
  if (internetChecksum([header]) !== 0 || internetChecksum([message]) !== 0) return undefined;
  return { source: header.subarray(12, 16), message };
}

function parseFrame6(frame: Uint8Array): Parsed | undefined {
  const packet = parseIcmpv6(frame);
  if (
    packet?.message.length !== ECHO_BYTES ||
    packet.message[0] !== ECHO_TYPES[6].reply ||
    packet.message[1] !== 0
  )
    return undefined;
  return packet;
}
