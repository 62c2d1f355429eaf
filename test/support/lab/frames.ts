/** Reads pcap, ARP (RFC 826) and IPv6 neighbour discovery (RFC 4861) from captured bytes. */

export interface ArpFrame {
  readonly kind: "arp";
  readonly timeMs: number;
  /** Ethernet source and destination. */
  readonly srcMac: string;
  readonly dstMac: string;
  readonly op: "request" | "reply";
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac: string;
  readonly targetIp: string;
  /** Sender and target address are the same (RFC 5944, section 4.6). */
  readonly gratuitous: boolean;
  /** The lab machine with that Ethernet source; undefined for a stranger. */
  readonly node: string | undefined;
}

export interface NdpFrame {
  readonly kind: "ndp";
  readonly timeMs: number;
  readonly srcMac: string;
  readonly dstMac: string;
  readonly op: "solicitation" | "advertisement";
  /** Compressed as RFC 5952 wants it. */
  readonly srcIp: string;
  readonly targetIp: string;
  readonly solicited: boolean;
  readonly override: boolean;
  readonly node: string | undefined;
}

export type NeighbourFrame = ArpFrame | NdpFrame;

const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const NEXT_HEADER_ICMPV6 = 58;

/** undefined for anything that is neither ARP over Ethernet nor neighbour discovery. */
export function parseNeighbourFrame(
  bytes: Buffer,
  timeMs: number,
  nodes: ReadonlyMap<string, string>,
): NeighbourFrame | undefined {
  if (bytes.length < 14) return undefined;
  const dstMac = mac(bytes, 0);
  const srcMac = mac(bytes, 6);
  const type = bytes.readUInt16BE(12);
  const common = { timeMs, srcMac, dstMac, node: nodes.get(srcMac) };

  if (type === ETHERTYPE_ARP) {
    // Hardware type Ethernet, protocol IPv4, lengths 6 and 4, one word.
    if (bytes.length < 42 || bytes.readUInt32BE(14) !== 0x00010800 || bytes.readUInt16BE(18) !== 0x0604)
      return undefined;
    const operation = bytes.readUInt16BE(20);
    if (operation !== 1 && operation !== 2) return undefined;
    const senderIp = ipv4(bytes, 28);
    const targetIp = ipv4(bytes, 38);
    return {
      kind: "arp",
      ...common,
      op: operation === 1 ? "request" : "reply",
      senderMac: mac(bytes, 22),
      senderIp,
      targetMac: mac(bytes, 32),
      targetIp,
      gratuitous: senderIp === targetIp,
    };
  }

  // 14 Ethernet, 40 IPv6, 24 of the message up to its target address.
  if (type === ETHERTYPE_IPV6 && bytes.length >= 78 && bytes[20] === NEXT_HEADER_ICMPV6) {
    const message = bytes[54];
    if (message !== 135 && message !== 136) return undefined;
    const flags = bytes[58] ?? 0;
    return {
      kind: "ndp",
      ...common,
      op: message === 135 ? "solicitation" : "advertisement",
      srcIp: ipv6(bytes, 22),
      targetIp: ipv6(bytes, 62),
      solicited: message === 136 && (flags & 0x40) !== 0,
      override: message === 136 && (flags & 0x20) !== 0,
    };
  }
  return undefined;
}

function mac(bytes: Buffer, at: number): string {
  return [...bytes.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function ipv4(bytes: Buffer, at: number): string {
  return bytes.subarray(at, at + 4).join(".");
}

/** Compressed as RFC 5952 wants it, which is how the kernel and people write it. */
function ipv6(bytes: Buffer, at: number): string {
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(at + index * 2).toString(16));
  // new URL() compresses by the same rules (WHATWG follows RFC 5952).
  return new URL(`http://[${words.join(":")}]/`).hostname.slice(1, -1);
}

const PCAP_LITTLE = 0xa1b2c3d4;
const MAX_FRAME = 262_144;

/** Splits a little-endian pcap stream (microseconds) into frames; keeps what is incomplete. */
export class PcapReader {
  #rest: Buffer = Buffer.alloc(0);
  #started = false;

  /** Frames with their wall-clock time in ms. Throws when the stream is not such a pcap. */
  push(chunk: Buffer): { readonly wallMs: number; readonly bytes: Buffer }[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (!this.#started) {
      if (this.#rest.length < 24) return [];
      if (this.#rest.readUInt32LE(0) !== PCAP_LITTLE) throw new Error("not a little-endian pcap stream");
      this.#rest = this.#rest.subarray(24);
      this.#started = true;
    }
    const frames: { wallMs: number; bytes: Buffer }[] = [];
    while (this.#rest.length >= 16) {
      const length = this.#rest.readUInt32LE(8);
      if (length > MAX_FRAME) throw new Error(`pcap frame of ${length} bytes`);
      if (this.#rest.length < 16 + length) break;
      const wallMs = this.#rest.readUInt32LE(0) * 1000 + this.#rest.readUInt32LE(4) / 1000;
      frames.push({ wallMs, bytes: this.#rest.subarray(16, 16 + length) });
      this.#rest = this.#rest.subarray(16 + length);
    }
    return frames;
  }
}
