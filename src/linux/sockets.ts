/**
 * Netlink and AF_PACKET sockets over `libc.ts`. Only `pieces` and `commit` let the event loop go on;
 * everything else is synchronous and never waits.
 */
import { LeaseholdError } from "../errors.ts";
import { concatBytes, int32, viewOf } from "./bytes.ts";
import {
  bindSocket,
  closeSocket,
  onReadable,
  openSocket,
  receiveDatagram,
  sendDatagram,
  sendDatagramAside,
  setSocketOption,
  socketAddress,
  SystemCallError,
  type Received,
} from "./libc.ts";
import {
  LITTLE_ENDIAN,
  NLM_F_ACK,
  NLM_F_DUMP,
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
/** linux/netlink.h */
const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_NETFILTER = 12;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/**
 * The kernel fills dumps in pieces of at most 32 KiB (netlink_dump), whatever the buffer. One longer message
 * gets a piece of its own.
 */
const BUFFER_BYTES = 128 * 1024;
/** Number of times that a dump is tried when a concurrent change interrupts it. */
export const DUMP_TRIES = 5;
/** Most pieces of one dump: 64 MiB and more, ten times the longest that is expected. */
const MOST_PIECES = 4_096;

/** Builds a struct sockaddr_nl. Port 0 means the kernel as destination, and "choose one" for bind. */
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

export interface NetlinkSocket {
  /**
   * Sends all requests in one datagram and returns each one's outcome, in order. The kernel handles them
   * within the call, one after the other, and an error does not stop the next. Requests need NLM_F_ACK.
   * @throws {LeaseholdError} LH_NATIVE when the exchange itself fails
   */
  batch(requests: readonly NetlinkRequest[], what: string): readonly Acknowledgement[];
  /**
   * Returns the data that answers a request (a dump or a single get).
   * @throws {SystemCallError} with the kernel's answer
   */
  query(request: NetlinkRequest, what: string): readonly NetlinkMessage[];
  /**
   * Collects what `parse` returns for each message of a long dump as it arrives, without undefined, so that
   * only what is kept takes space. `parse` must copy what it keeps of the payload.
   */
  collect<T>(
    request: NetlinkRequest,
    what: string,
    parse: (message: NetlinkMessage) => T | undefined,
  ): readonly T[];
  /**
   * Gives each message of an answer to `take`, and lets other work of this thread go first (`pause`) after
   * each piece of at most 32 KiB. A single get is one piece. Use the socket for nothing else until this
   * resolves, and never again if it rejects: the kernel may be in the middle of the dump. `take` must copy
   * what it keeps of the payload. Resolves with whether a change interrupted the dump (NLM_F_DUMP_INTR).
   * @throws {SystemCallError} with the kernel's answer
   */
  pieces(
    request: NetlinkRequest,
    what: string,
    take: (message: NetlinkMessage) => void,
    pause: () => Promise<void>,
  ): Promise<"whole" | "interrupted">;
  /**
   * Sends all requests in one datagram, of which the kernel does all or nothing. The kernel may let it wait,
   * and the event loop goes on meanwhile. Requests with NLM_F_ACK must be acknowledged.
   * @throws {SystemCallError} with the first refusal
   */
  commit(requests: readonly NetlinkRequest[], what: string): Promise<void>;
  /** Returns the netlink port of this socket, by which notifications name the sender of a change. */
  port(): number;
  close(): void;
}

/**
 * Creates a buffer for a socket's answers. Several sockets may share one, because its content is used up
 * before anything is waited for. A socket that is used within another's `parse` needs its own.
 */
export function netlinkBuffer(): Uint8Array {
  return new Uint8Array(BUFFER_BYTES);
}

/**
 * Opens a route socket. With `strict` a dump has what the request's header and attributes select, where the
 * kernel can do that (Linux 4.20). Otherwise it has everything.
 */
export function openRouteSocket(checking?: "strict"): NetlinkSocket {
  return openNetlinkSocket(NETLINK_ROUTE, checking);
}

/**
 * Opens a netlink socket for requests. Route, sock_diag and netfilter all answer within sendto
 * (netlink_rcv_skb and nfnetlink_rcv run in the sender's call). The kernel makes the first piece of a dump
 * there, and each next piece at the end of the recv that took the one before (netlink_recvmsg calls
 * netlink_dump). So there is always something to read until the end, without waiting.
 */
export function openNetlinkSocket(
  protocol: number,
  checking?: "strict",
  buffer = netlinkBuffer(),
): NetlinkSocket {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, protocol);
  const kernel = netlinkAddress(0);
  const on = int32(1);
  let sequence = 0;
  try {
    bindSocket(fd, kernel);
    // The kernel adds its own explanation to an error ("IPv6 is disabled on this device"), and no copy of the
    // request.
    setSocketOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, on);
    setSocketOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, on);
    if (checking === "strict") setStrict(fd, on);
  } catch (error) {
    closeSocket(fd);
    throw error;
  }

  /**
   * Returns one datagram's messages that answer us. Answers to an exchange that failed half-way are dropped
   * by sequence. The messages point into the buffer and are valid until the next datagram.
   */
  function receive(first: number, last: number, what: string): readonly NetlinkMessage[] {
    const received = receiveDatagram(fd, buffer);
    if (received.kind !== "data") throw protocolError(what, `the answer is ${received.kind}`);
    const messages = parseMessages(buffer.subarray(0, received.length));
    if (messages === undefined) throw protocolError(what, "the answer is malformed");
    return messages.filter((message) => message.sequence >= first && message.sequence <= last);
  }

  function encode(requests: readonly NetlinkRequest[]): { first: number; last: number; bytes: Uint8Array } {
    // Sequence numbers are 32 bits wide. They start again long before the end, between two exchanges.
    if (sequence > 0x7fff_0000) sequence = 0;
    const first = sequence + 1;
    const bytes = concatBytes(requests.map((request) => encodeMessage(request, ++sequence)));
    return { first, last: sequence, bytes };
  }

  function send(requests: readonly NetlinkRequest[]): { first: number; last: number } {
    const { first, last, bytes } = encode(requests);
    sendDatagram(fd, bytes, kernel);
    return { first, last };
  }

  /** Yields the data of an answer piece by piece, and returns whether it is whole. */
  function* answer(
    request: NetlinkRequest,
    what: string,
  ): Generator<readonly NetlinkMessage[], "whole" | "interrupted"> {
    const { first, last } = send([request]);
    let interrupted = false;
    const multipart = (request.flags & NLM_F_DUMP) === NLM_F_DUMP;
    for (;;) {
      const data: NetlinkMessage[] = [];
      let ended = false;
      for (const message of receive(first, last, what)) {
        if (ended) break;
        const reply = classifyReply(message);
        interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
        switch (reply.kind) {
          case "data":
            data.push(message);
            ended = !multipart;
            break;
          case "done":
          case "ack":
            if (reply.errno !== 0)
              throw new SystemCallError(what, reply.errno, reply.kind === "ack" ? reply.text : undefined);
            ended = true;
            break;
          case "malformed":
            throw protocolError(what, "the answer is malformed");
        }
      }
      yield data;
      if (ended) return interrupted && multipart ? "interrupted" : "whole";
    }
  }

  function collectOnce<T>(
    request: NetlinkRequest,
    what: string,
    parse: (message: NetlinkMessage) => T | undefined,
  ): readonly T[] | "interrupted" {
    const data: T[] = [];
    const pieces = answer(request, what);
    for (;;) {
      const { value, done } = pieces.next();
      if (done === true) return value === "interrupted" ? value : data;
      for (const message of value) {
        const parsed = parse(message);
        if (parsed !== undefined) data.push(parsed);
      }
    }
  }

  function collect<T>(
    request: NetlinkRequest,
    what: string,
    parse: (message: NetlinkMessage) => T | undefined,
  ): readonly T[] {
    for (let i = 0; i < DUMP_TRIES; i++) {
      const result = collectOnce(request, what, parse);
      if (result !== "interrupted") return result;
    }
    throw protocolError(what, `interrupted by changes ${DUMP_TRIES} times`);
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
            failed
              ? { kind: "failed", error: new SystemCallError(what, reply.errno, reply.text) }
              : { kind: "done" },
          );
        }
      }
      return requests.map((_, index) => {
        const fate = fates.get(index);
        if (fate === undefined) throw protocolError(what, "an acknowledgement is missing");
        return fate;
      });
    },
    query: (request, what) =>
      collect(request, what, (message) => ({ ...message, payload: message.payload.slice() })),
    collect,
    async pieces(request, what, take, pause) {
      const pieces = answer(request, what);
      for (let i = 0; i < MOST_PIECES; i++) {
        const { value, done } = pieces.next();
        if (done === true) return value;
        for (const message of value) take(message);
        await pause();
      }
      throw protocolError(what, "the answer has no end");
    },
    async commit(requests, what) {
      const { first, last, bytes } = encode(requests);
      await sendDatagramAside(fd, bytes, kernel);
      // All answers are there when the call has returned: nfnetlink_rcv_batch delivers them at its end.
      const done = new Set<number>();
      for (let i = 0; i <= requests.length; i++) {
        const received = receiveDatagram(fd, buffer);
        if (received.kind === "empty") break;
        const messages =
          received.kind === "data" ? parseMessages(buffer.subarray(0, received.length)) : undefined;
        if (messages === undefined)
          throw protocolError(
            what,
            `the answer is ${received.kind === "data" ? "malformed" : received.kind}`,
          );
        for (const message of messages) {
          const reply = classifyReply(message);
          if (message.sequence < first || message.sequence > last || reply.kind !== "ack") continue;
          if (reply.errno !== 0) throw new SystemCallError(what, reply.errno, reply.text);
          done.add(message.sequence - first);
        }
      }
      const missing = requests.some(
        (request, index) => (request.flags & NLM_F_ACK) !== 0 && !done.has(index),
      );
      if (missing) throw protocolError(what, "an acknowledgement is missing");
    },
    port() {
      const address = netlinkAddress(0);
      socketAddress(fd, address);
      return viewOf(address).getUint32(4, LITTLE_ENDIAN);
    },
    close: () => closeSocket(fd),
  };
}

function setStrict(fd: number, on: Uint8Array): void {
  try {
    setSocketOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, on);
  } catch (error) {
    if (!(error instanceof SystemCallError && error.errnoName === "ENOPROTOOPT")) throw error;
  }
}

function protocolError(what: string, detail: string): LeaseholdError {
  return new LeaseholdError("LH_NATIVE", `${what}: netlink: ${detail}`);
}

/**
 * Calls back when the kernel reports a change to one of the multicast `groups`, the caller's own changes
 * included (IPv6 does not tell whose they are). Messages are counted, not read. The listener looks at the
 * state, so that lost messages (ENOBUFS) are just another change.
 *
 * libuv polls the descriptor (see `onReadable`), so a lost link is known within a millisecond and an idle
 * node is never woken. Draining on a timer would cost ten wake-ups a second for an answer after 100 ms.
 */
export function subscribe(groups: number, callback: () => void): { close(): void } {
  // A message that does not fit is cut off, because no one reads it.
  return listen(
    NETLINK_ROUTE,
    groups,
    new Uint8Array(16),
    () => {},
    (receive) => {
      let changed = false;
      while (receive().kind !== "empty") changed = true;
      if (changed) callback();
    },
  );
}

/**
 * Calls back with the messages of the groups. "lost" means that the kernel dropped some, or sent some that
 * cannot be read, and the listener must look at the state. Messages point into a buffer and are valid until
 * the callback returns.
 */
export function subscribeMessages(
  protocol: number,
  groups: number,
  receiveBufferBytes: number,
  callback: (messages: readonly NetlinkMessage[] | "lost") => void,
): { close(): void } {
  const buffer = new Uint8Array(BUFFER_BYTES);
  const prepare = (fd: number): void => {
    try {
      setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, int32(receiveBufferBytes));
    } catch {
      // This needs CAP_NET_ADMIN of the first user namespace. Without it more is lost, and every listener has
      // to cope with loss.
    }
  };
  return listen(protocol, groups, buffer, prepare, (receive, isOpen) => {
    while (isOpen()) {
      const received = receive();
      if (received.kind === "empty") return;
      callback(
        (received.kind === "data" ? parseMessages(buffer.subarray(0, received.length)) : undefined) ?? "lost",
      );
    }
  });
}

/**
 * Opens a socket in multicast `groups`. `drain` reads until it is empty. `prepare` runs before the first
 * message can arrive.
 */
function listen(
  protocol: number,
  groups: number,
  buffer: Uint8Array,
  prepare: (fd: number) => void,
  drain: (receive: () => Received, isOpen: () => boolean) => void,
): { close(): void } {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, protocol);
  try {
    prepare(fd);
    bindSocket(fd, netlinkAddress(groups));
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  let open = true;
  const poll = onReadable(fd, () =>
    drain(
      () => receiveDatagram(fd, buffer),
      () => open,
    ),
  );
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
  /**
   * Sends one whole Ethernet frame out of a link.
   * @throws {SystemCallError} ENETDOWN, ENXIO (no such link)
   */
  send(linkIndex: number, frame: Uint8Array): void;
  close(): void;
}

/**
 * Opens a raw packet socket that is bound to no protocol, so it receives no packet.
 * @throws {SystemCallError} EPERM without NET_RAW
 */
export function openRawPacketSocket(): number {
  return openSocket(AF_PACKET, SOCK_RAW, 0);
}

/**
 * Builds a struct sockaddr_ll: family, protocol (network order), index. Neither bind nor, with SOCK_RAW,
 * sendto looks at the rest.
 */
export function packetAddress(etherType: number, linkIndex: number): Uint8Array {
  const address = new Uint8Array(20);
  const view = viewOf(address);
  view.setUint16(0, AF_PACKET, LITTLE_ENDIAN);
  view.setUint16(2, etherType);
  view.setInt32(4, linkIndex, LITTLE_ENDIAN);
  return address;
}

/** Opens a raw packet socket that only sends: with protocol 0 it receives no packet at all (packet(7)). */
export function openPacketSocket(): PacketSocket {
  const fd = openRawPacketSocket();
  return {
    send(linkIndex, frame) {
      sendDatagram(fd, frame, packetAddress(viewOf(frame).getUint16(12), linkIndex));
    },
    close: () => closeSocket(fd),
  };
}
