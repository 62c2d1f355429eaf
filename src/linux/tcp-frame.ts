/**
 * Encodes TCP (RFC 9293) and UDP (RFC 768) packets as whole Ethernet frames, for packets that no socket would
 * send. Pure.
 */
import { viewOf } from "./bytes.ts";
import { internetChecksum } from "./checksum.ts";
import { ipFrame, pseudoHeader, type IpEnds, type MacEnds } from "./ip-header.ts";

/** IANA protocol number, and the offset of the checksum in the header. */
const TCP = { number: 6, checksumAt: 16 } as const;
const UDP = { number: 17, checksumAt: 6 } as const;
/** The header has five 32-bit words and no options. The only flag is ACK. */
const DATA_OFFSET = 5 << 4;
const FLAG_ACK = 0x10;
const TIME_TO_LIVE = 64;
/** The most that both length fields can express, less the larger pair of headers. */
const MAX_PAYLOAD = 0xffff - 28;

export interface FrameEnds extends IpEnds, MacEnds {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/**
 * Builds an ACK that fits no connection: its sequence and acknowledgement numbers are 0. A machine that has
 * the connection finds it out of its window and sends its real position, in a duplicate ACK to the apparent
 * sender (RFC 9293 section 3.10.7.4; RFC 5961 section 5 where the sequence number fits by chance). Nothing
 * else happens. A machine that does not have it answers RST. CTDB and others call it a "tickle": it makes an
 * idle peer send. Connection tracking takes it for invalid, so a client behind a firewall that drops such
 * packets does not get it.
 */
export function strayAck(ends: FrameEnds): Uint8Array {
  const header = new Uint8Array(20);
  header[12] = DATA_OFFSET;
  header[13] = FLAG_ACK;
  // A window of 0 would tell the sender to stop, should the numbers fit.
  viewOf(header).setUint16(14, 0xffff);
  return frame(ends, TCP, header, new Uint8Array(0));
}

/**
 * Builds a UDP packet.
 * @throws {RangeError} when the payload is longer than a packet can be
 */
export function udpFrame(ends: FrameEnds & { readonly payload: Uint8Array }): Uint8Array {
  if (ends.payload.length > MAX_PAYLOAD)
    throw new RangeError(`a payload of ${ends.payload.length} bytes does not fit a packet`);
  const header = new Uint8Array(8);
  viewOf(header).setUint16(4, header.length + ends.payload.length);
  return frame(ends, UDP, header, ends.payload);
}

/** Fills in the ports and the checksum of `header`, and puts the lower layers before it. */
function frame(
  ends: FrameEnds,
  protocol: typeof TCP | typeof UDP,
  header: Uint8Array,
  payload: Uint8Array,
): Uint8Array {
  const view = viewOf(header);
  view.setUint16(0, ends.sourcePort);
  view.setUint16(2, ends.destinationPort);
  const pseudo = pseudoHeader(
    ends.source.bytes,
    ends.destination.bytes,
    protocol.number,
    header.length + payload.length,
  );
  const checksum = internetChecksum([pseudo, header, payload]);
  // In UDP, 0 means that there is no checksum, and 0xffff is the same number in ones' complement (RFC 768).
  // TCP has no such rule.
  view.setUint16(protocol.checksumAt, checksum === 0 && protocol === UDP ? 0xffff : checksum);
  return ipFrame(ends, protocol.number, TIME_TO_LIVE, [header, payload]);
}
