/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443 section 4) echo over raw sockets (raw(7)) asks a machine's kernel, not
 * a process, whether it is there. Nothing here waits: replies stay in the socket until they are drained.
 */
import { ipFromBytes, type Family, type IpAddress } from "../net.ts";
import { int32, viewOf } from "./bytes.ts";
import { internetChecksum } from "./checksum.ts";
import {
  closeSocket,
  openSocket,
  receiveDatagram,
  sendDatagram,
  setSocketOption,
  SystemCallError,
} from "./libc.ts";
import { LITTLE_ENDIAN } from "./netlink.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
/** From linux/icmp.h: a bit that is set blocks that type. */
const SOL_RAW = 255;
const ICMP_FILTER = 1;
/**
 * From linux/icmpv6.h; RFC 3542 section 3.2. The kernel keeps the mask as it is given: a set bit blocks, as
 * with ICMP_FILTER.
 */
const ICMP6_FILTER = 1;

/** ICMP types by address family. */
export const ECHO_TYPES = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
/** Length of type, code, checksum, identifier and sequence. */
export const ECHO_BYTES = 8;
/**
 * Room for some 80 small packets (each is charged with its whole buffer). The kernel gives every raw socket
 * every reply that the machine gets, also replies to other programs' pings. Our replies come first, within a
 * round trip after the socket was emptied.
 */
const RECEIVE_BUFFER_BYTES = 64 * 1024;
/** Most datagrams in one turn. A machine that is flooded with replies must not keep this thread. */
const MOST_AT_ONCE = 256;

export interface EchoReply {
  readonly from: IpAddress;
  readonly identifier: number;
  readonly sequence: number;
}

/** `overrun` is true when more came than one turn may take. Some replies are still in the socket. */
export interface Drained {
  readonly replies: readonly EchoReply[];
  readonly overrun: boolean;
}

export interface Echo {
  /**
   * Sends one request. Returns false when this machine could not send it (no route, no memory, a firewall),
   * which says nothing about the other machine.
   */
  send(to: IpAddress, identifier: number, sequence: number): boolean;
  /** Returns the replies that have come since the last call, also those to other programs. */
  drain(): Drained;
  close(): void;
}

/**
 * Opens the raw sockets, one for each family that the kernel has.
 * @throws {SystemCallError} EPERM without NET_RAW
 */
export function openEcho(): Echo {
  const sockets = new Map<Family, number>([[4, openFamily(4)]]);
  try {
    sockets.set(6, openFamily(6));
  } catch (error) {
    // A kernel without IPv6 (ipv6.disable=1) has no IPv6 peers either.
    if (!(error instanceof SystemCallError && error.errnoName === "EAFNOSUPPORT")) {
      for (const fd of sockets.values()) closeSocket(fd);
      throw error;
    }
  }
  const buffer = new Uint8Array(256);
  /** The families in which somebody was asked. A socket of another family has no answer for this node. */
  const asked = new Set<Family>();
  const sender = new Uint8Array(SOCKADDR_IN6_BYTES);
  return {
    send(to, identifier, sequence) {
      const fd = sockets.get(to.family);
      if (fd === undefined) return false;
      asked.add(to.family);
      try {
        sendDatagram(fd, echoRequest(to.family, identifier, sequence), socketAddress(to));
        return true;
      } catch (error) {
        if (error instanceof SystemCallError) return false;
        throw error;
      }
    },
    drain() {
      const replies: EchoReply[] = [];
      let left = MOST_AT_ONCE;
      for (const [family, fd] of sockets) {
        if (!asked.has(family)) continue;
        for (;;) {
          if (left === 0) return { replies, overrun: true };
          const received = receiveDatagram(fd, buffer, sender);
          if (received.kind === "empty") break;
          left -= 1;
          // It is longer than our replies can be, so it is another program's.
          if (received.kind !== "data") continue;
          const packet = buffer.subarray(0, received.length);
          const reply = family === 4 ? parseReply4(packet) : parseReply6(packet, sender);
          if (reply !== undefined) replies.push(reply);
        }
      }
      return { replies, overrun: false };
    },
    close() {
      for (const fd of sockets.values()) closeSocket(fd);
      sockets.clear();
    },
  };
}

/**
 * Opens a socket that receives replies only. A raw ICMPv6 socket would otherwise be given every neighbour
 * solicitation too.
 */
function openFamily(family: Family): number {
  const fd =
    family === 4
      ? openSocket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
      : openSocket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
  try {
    if (family === 4) setSocketOption(fd, SOL_RAW, ICMP_FILTER, blockAllBut(ECHO_TYPES[4].reply, 1));
    else setSocketOption(fd, IPPROTO_ICMPV6, ICMP6_FILTER, blockAllBut(ECHO_TYPES[6].reply, 8));
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, int32(RECEIVE_BUFFER_BYTES));
    // Packets that came between the opening and the filter are not ours. The first drain drops them.
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  return fd;
}

function blockAllBut(type: number, words: number): Uint8Array {
  const mask = new Uint8Array(words * 4).fill(0xff);
  const view = viewOf(mask);
  const at = (type >>> 5) * 4;
  view.setUint32(at, ~(1 << (type & 31)) >>> 0, LITTLE_ENDIAN);
  return mask;
}

/**
 * Builds an echo request. The kernel always fills in the checksum of ICMPv6 (RFC 3542 section 3.1), because
 * it covers a source address that only the kernel knows.
 */
export function echoRequest(family: Family, identifier: number, sequence: number): Uint8Array {
  const request = new Uint8Array(ECHO_BYTES);
  const view = viewOf(request);
  view.setUint8(0, ECHO_TYPES[family].request);
  view.setUint16(4, identifier);
  view.setUint16(6, sequence);
  if (family === 4) view.setUint16(2, internetChecksum([request]));
  return request;
}

/**
 * Parses a packet of a raw IPv4 socket, which gives the whole packet after the kernel has checked it
 * (raw(7)). Returns undefined for anything but a reply.
 */
export function parseReply4(packet: Uint8Array): EchoReply | undefined {
  const versionAndLength = packet[0] ?? 0;
  const headerBytes = (versionAndLength & 0xf) * 4;
  if (versionAndLength >>> 4 !== 4 || headerBytes < 20 || packet[9] !== IPPROTO_ICMP) return undefined;
  return parseEcho(4, packet.subarray(headerBytes), packet.slice(12, 16));
}

/**
 * Parses a message of a raw IPv6 socket, which gives no header (RFC 3542 section 3). The sender is in
 * `sender`, a struct sockaddr_in6. Returns undefined for anything but a reply.
 */
export function parseReply6(message: Uint8Array, sender: Uint8Array): EchoReply | undefined {
  if (sender.length < SOCKADDR_IN6_BYTES || viewOf(sender).getUint16(0, LITTLE_ENDIAN) !== AF_INET6)
    return undefined;
  return parseEcho(6, message, sender.slice(8, 24));
}

function parseEcho(family: Family, message: Uint8Array, from: Uint8Array): EchoReply | undefined {
  if (message.length < ECHO_BYTES || message[0] !== ECHO_TYPES[family].reply || message[1] !== 0)
    return undefined;
  const view = viewOf(message);
  return { from: ipFromBytes(from), identifier: view.getUint16(4), sequence: view.getUint16(6) };
}

const SOCKADDR_IN6_BYTES = 28;

/**
 * Builds a struct sockaddr_in (family, port, address, padding) or sockaddr_in6 (family, port, flow, address,
 * scope).
 */
function socketAddress({ family, bytes }: IpAddress): Uint8Array {
  const address = new Uint8Array(family === 4 ? 16 : SOCKADDR_IN6_BYTES);
  viewOf(address).setUint16(0, family === 4 ? AF_INET : AF_INET6, LITTLE_ENDIAN);
  address.set(bytes, family === 4 ? 4 : 8);
  return address;
}
