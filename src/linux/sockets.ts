/** Netlink and AF_PACKET sockets over `libc.ts`. Everything here is synchronous and never waits. */
import { LeaseholdError } from "../errors.ts";
import {
  bindSocket,
  closeSocket,
  onReadable,
  openSocket,
  receiveDatagram,
  sendDatagram,
  setSocketOption,
  SystemCallError,
} from "./libc.ts";
import { concatBytes, viewOf } from "./bytes.ts";
import {
  LITTLE_ENDIAN,
  NLM_F_DUMP_INTR,
  classifyReply,
  encodeMessage,
  parseMessages,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink.ts";

const AF_NETLINK = 16;
const AF_PACKET = 17;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;

/** The kernel fills dumps in pieces of at most 32 KiB (netlink_dump), whatever the buffer; one longer message gets a piece of its own. */
const BUFFER_BYTES = 128 * 1024;
/** A dump that a concurrent change interrupts is made again this often. */
const DUMP_TRIES = 5;

/** struct sockaddr_nl; port 0 means the kernel as destination, and "choose one" for bind. */
function netlinkAddress(groups: number): Uint8Array {
  const address = new Uint8Array(12);
  viewOf(address).setUint16(0, AF_NETLINK, LITTLE_ENDIAN);
  viewOf(address).setUint32(8, groups, LITTLE_ENDIAN);
  return address;
}

/** What became of one message of a batch. */
export type Acknowledgement =
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly error: SystemCallError };

export interface RouteSocket {
  /**
   * Sends all requests in one datagram and gives each one's fate, in order. The kernel works on them within the call, one after the other; an
   * error does not stop the next. Requests carry NLM_F_ACK. @throws {LeaseholdError} LH_NATIVE when the exchange itself fails
   */
  batch(requests: readonly NetlinkRequest[], what: string): readonly Acknowledgement[];
  /** The data that a request (a dump or a single get) brings. @throws {SystemCallError} with the kernel's answer */
  query(request: NetlinkRequest, what: string): readonly NetlinkMessage[];
  close(): void;
}

/** A NETLINK_ROUTE socket for requests. rtnetlink answers within sendto, so its answers can be read at once, without waiting. */
export function openRouteSocket(): RouteSocket {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  const kernel = netlinkAddress(0);
  const buffer = new Uint8Array(BUFFER_BYTES);
  const on = new Uint8Array(Int32Array.of(1).buffer);
  let sequence = 0;
  try {
    bindSocket(fd, kernel);
    // The kernel's own words with an error ("IPv6 is disabled on this device"), and no copy of the request.
    setSocketOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, on);
    setSocketOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, on);
  } catch (error) {
    closeSocket(fd);
    throw error;
  }

  /** One datagram's messages that answer us; those to an exchange that failed half-way are dropped by sequence. */
  function receive(first: number, last: number, what: string): readonly NetlinkMessage[] {
    const received = receiveDatagram(fd, buffer);
    if (received.kind !== "data") throw protocolError(what, `the answer is ${received.kind}`);
    // A copy: parsed messages point into it and outlive the next datagram.
    const messages = parseMessages(buffer.slice(0, received.length));
    if (messages === undefined) throw protocolError(what, "the answer is malformed");
    return messages.filter((message) => message.sequence >= first && message.sequence <= last);
  }

  function send(requests: readonly NetlinkRequest[]): { first: number; last: number } {
    // Sequence numbers are 32 bits wide; start again long before the end, between two exchanges.
    if (sequence > 0x7fff_0000) sequence = 0;
    const first = sequence + 1;
    sendDatagram(fd, concatBytes(requests.map((request) => encodeMessage(request, ++sequence))), kernel);
    return { first, last: sequence };
  }

  function queryOnce(request: NetlinkRequest, what: string): readonly NetlinkMessage[] | "interrupted" {
    const { first, last } = send([request]);
    const data: NetlinkMessage[] = [];
    let interrupted = false;
    const multipart = (request.flags & 0x300) === 0x300;
    for (;;) {
      for (const message of receive(first, last, what)) {
        const reply = classifyReply(message);
        interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
        switch (reply.kind) {
          case "data":
            data.push(message);
            if (!multipart) return data;
            break;
          case "done":
          case "ack":
            if (reply.errno !== 0) throw new SystemCallError(what, reply.errno, reply.kind === "ack" ? reply.text : undefined);
            return interrupted ? "interrupted" : data;
          case "malformed":
            throw protocolError(what, "the answer is malformed");
        }
      }
    }
  }

  return {
    batch(requests, what) {
      const { first, last } = send(requests);
      const fates = new Map<number, Acknowledgement>();
      while (fates.size < requests.length) {
        for (const message of receive(first, last, what)) {
          const reply = classifyReply(message);
          if (reply.kind !== "ack") continue;
          const failed = reply.errno !== 0;
          fates.set(
            message.sequence - first,
            failed ? { kind: "failed", error: new SystemCallError(what, reply.errno, reply.text) } : { kind: "done" },
          );
        }
      }
      return requests.map((_, index) => {
        const fate = fates.get(index);
        if (fate === undefined) throw protocolError(what, "an acknowledgement is missing");
        return fate;
      });
    },
    query(request, what) {
      for (let i = 0; i < DUMP_TRIES; i++) {
        const result = queryOnce(request, what);
        if (result !== "interrupted") return result;
      }
      throw protocolError(what, `interrupted by changes ${DUMP_TRIES} times`);
    },
    close: () => closeSocket(fd),
  };
}

function protocolError(what: string, detail: string): LeaseholdError {
  return new LeaseholdError("LH_NATIVE", `${what}: netlink: ${detail}`);
}

/**
 * Calls back when the kernel reports a change to one of the multicast `groups`, the caller's own changes included (IPv6 does not tell whose they
 * are). Messages are counted, not read: whoever listens looks at the state, so that lost ones (ENOBUFS) are just another change.
 *
 * libuv polls the descriptor (see `onReadable`), so a lost link is known within a millisecond and an idle node is never woken; draining on a
 * timer would cost ten wake-ups a second for an answer after 100 ms.
 */
export function subscribe(groups: number, callback: () => void): { close(): void } {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  // What does not fit is cut off, nobody reads it.
  const buffer = new Uint8Array(16);
  try {
    bindSocket(fd, netlinkAddress(groups));
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  const poll = onReadable(fd, () => {
    let changed = false;
    while (receiveDatagram(fd, buffer).kind !== "empty") changed = true;
    if (changed) callback();
  });
  let open = true;
  return {
    close() {
      if (!open) return;
      open = false;
      poll.close();
      closeSocket(fd);
    },
  };
}

export interface PacketSocket {
  /** Sends one whole Ethernet frame out of a link. @throws {SystemCallError} ENETDOWN, ENXIO (no such link) */
  send(linkIndex: number, frame: Uint8Array): void;
  close(): void;
}

/** A raw packet socket that sends only: with protocol 0 it is given no packet at all (packet(7)). */
export function openPacketSocket(): PacketSocket {
  const fd = openSocket(AF_PACKET, SOCK_RAW, 0);
  return {
    send(linkIndex, frame) {
      // struct sockaddr_ll: family, protocol (network order, from the frame), index; the rest is not looked at with SOCK_RAW.
      const address = new Uint8Array(20);
      const view = viewOf(address);
      view.setUint16(0, AF_PACKET, LITTLE_ENDIAN);
      address.set(frame.subarray(12, 14), 2);
      view.setInt32(4, linkIndex, LITTLE_ENDIAN);
      sendDatagram(fd, frame, address);
    },
    close: () => closeSocket(fd),
  };
}
