/**
 * Lists and ends TCP sockets of this network namespace by sock_diag(7) with SOCK_DESTROY (Linux 4.9,
 * CONFIG_INET_DIAG_DESTROY), as `ss -K` does. The codecs are pure. Layouts: linux/sock_diag.h,
 * linux/inet_diag.h.
 */
import { ipFromBytes, type Family, type IpAddress } from "../net.ts";
import { concatBytes, viewOf } from "./bytes.ts";
import {
  LITTLE_ENDIAN,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  parseAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
} from "./netlink.ts";
import { NETLINK_SOCK_DIAG, openNetlinkSocket } from "./sockets.ts";

const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;
const INET_DIAG_SKV6ONLY = 11;

/** struct inet_diag_sockid has ports, 16 bytes for each address, interface and cookie. */
const SOCKID_LENGTH = 48;
const SOURCE = 4;
const DESTINATION = 20;
/**
 * struct inet_diag_msg has family, state, timer and retransmissions, then the id, then five 32-bit numbers.
 */
const ID_IN_MESSAGE = 4;
const MESSAGE_LENGTH = ID_IN_MESSAGE + SOCKID_LENGTH + 5 * 4;

// From net/tcp_states.h. A mask has the bit 1 << state.
const LISTEN = 10;
const mask = (...states: readonly number[]): number => states.reduce((bits, state) => bits | (1 << state), 0);

/** Bit mask of listeners, for `list`. */
export const TCP_STATE_LISTEN = mask(LISTEN);
/**
 * Bit mask of sockets with a peer, from the first SYN on, for `list`: ESTABLISHED, SYN_SENT, SYN_RECV,
 * FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING. TIME_WAIT is left out, because no process owns such a
 * socket or waits for it.
 */
export const TCP_STATES_CONNECTED = mask(1, 2, 3, 4, 5, 8, 9, 11);

interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

export interface TcpSocket {
  /**
   * Family of the addresses. An AF_INET6 socket that speaks IPv4 (::ffff:192.0.2.1) counts as 4, with plain
   * IPv4 addresses.
   */
  readonly family: Family;
  /** The state's number: 1 is ESTABLISHED, 10 is LISTEN. */
  readonly state: number;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /**
   * Bytes of struct inet_diag_sockid, by which the kernel finds the socket again. They end with a cookie, so
   * that they never mean another socket.
   */
  readonly id: Uint8Array;
  /** True for a listener of family 6 that refuses IPv4. Only listeners have it. */
  readonly v6only?: boolean;
}

export interface SockDiag {
  /**
   * Lists TCP sockets of this network namespace in any of the given states. IPv4-mapped IPv6 sockets are
   * listed as IPv4.
   * @throws {SystemCallError} ENOENT on a kernel without inet_diag and tcp_diag
   */
  list(family: Family, states: number): readonly TcpSocket[];
  /**
   * Lists the TCP listeners on a port, of both families. The kernel leaves out the others, of which a node may
   * have hundreds.
   * @throws {SystemCallError} ENOENT on a kernel without inet_diag and tcp_diag
   */
  listeners(port: number): readonly TcpSocket[];
  /**
   * Ends a socket: its owner gets ECONNABORTED at once, its peer RST. Returns false when it is gone already.
   * @throws {SystemCallError} EPERM without CAP_NET_ADMIN, EOPNOTSUPP on a kernel without
   * CONFIG_INET_DIAG_DESTROY
   */
  destroy(socket: TcpSocket): boolean;
  close(): void;
}

export function openSockDiag(): SockDiag {
  const netlink = openNetlinkSocket(NETLINK_SOCK_DIAG);
  return {
    list(family, states) {
      const of = (socketFamily: number): readonly TcpSocket[] =>
        netlink.collect(dumpTcpSockets(socketFamily, states), "list TCP sockets", (message) => {
          const socket = parseTcpSocket(message);
          return socket?.family === family ? socket : undefined;
        });
      // A dump is of one address family of socket(2). A program that listens on :: (Go's default) has IPv4
      // connections in AF_INET6 sockets.
      return family === 6 ? of(AF_INET6) : [...of(AF_INET), ...of(AF_INET6)];
    },
    listeners: (port) =>
      [AF_INET, AF_INET6].flatMap((socketFamily) =>
        netlink.collect(
          dumpTcpSockets(socketFamily, TCP_STATE_LISTEN, port),
          "list TCP listeners",
          (message) => {
            const socket = parseTcpSocket(message);
            return socket?.local.port === port ? socket : undefined;
          },
        ),
      ),
    destroy(socket) {
      const [fate] = netlink.batch([destroyTcpSocket(socket)], "destroy a TCP socket");
      if (fate?.kind !== "failed") return true;
      if (fate.error.errnoName === "ENOENT") return false;
      throw fate.error;
    },
    close: () => netlink.close(),
  };
}

/**
 * Says whether one of the `listeners` on a port has every address of the family. A listener on :: has those of
 * IPv4 too, unless it is for IPv6 only.
 */
export function hasWildcard(listeners: readonly TcpSocket[], family: Family): boolean {
  return listeners.some(
    (socket) =>
      socket.local.address.bytes.every((byte) => byte === 0) &&
      (socket.family === family || (family === 4 && socket.v6only !== true)),
  );
}

/**
 * Builds the request for a dump. `socketFamily` is the AF_ of socket(2), not that of the addresses. With a
 * `port` the dump has the sockets on that port of this machine (inet_diag compares `idiag_sport`, 0 is any).
 */
export function dumpTcpSockets(socketFamily: number, states: number, port = 0): NetlinkRequest {
  const id = new Uint8Array(SOCKID_LENGTH);
  viewOf(id).setUint16(0, port);
  return {
    type: SOCK_DIAG_BY_FAMILY,
    flags: NLM_F_REQUEST | NLM_F_DUMP,
    payload: requestV2(socketFamily, states, id),
  };
}

/**
 * Builds the request that ends a socket. The kernel looks it up by its addresses (inet_diag_find_one_icsk),
 * then compares the cookie. It takes a pair of mapped addresses under AF_INET6 for the IPv4 pair that they
 * are, so the request uses the family in which the id was given.
 */
export function destroyTcpSocket(socket: TcpSocket): NetlinkRequest {
  const socketFamily = socket.family === 6 || isMapped(addressAt(socket.id, SOURCE)) ? AF_INET6 : AF_INET;
  return {
    type: SOCK_DESTROY,
    flags: NLM_F_REQUEST | NLM_F_ACK,
    payload: requestV2(socketFamily, ~0, socket.id),
  };
}

/** Builds a struct inet_diag_req_v2. */
function requestV2(socketFamily: number, states: number, id: Uint8Array): Uint8Array {
  const head = Uint8Array.of(socketFamily, IPPROTO_TCP, 0, 0, 0, 0, 0, 0);
  viewOf(head).setUint32(4, states >>> 0, LITTLE_ENDIAN);
  return concatBytes([head, id]);
}

/** Parses a socket; undefined for any other message, and for a malformed one. */
export function parseTcpSocket(message: NetlinkMessage): TcpSocket | undefined {
  const { payload } = message;
  if (message.type !== SOCK_DIAG_BY_FAMILY || payload.length < MESSAGE_LENGTH) return undefined;
  const socketFamily = payload[0];
  if (socketFamily !== AF_INET && socketFamily !== AF_INET6) return undefined;
  const id = payload.slice(ID_IN_MESSAGE, ID_IN_MESSAGE + SOCKID_LENGTH);
  // Ports and addresses are in network order.
  const view = viewOf(id);
  const mapped = socketFamily === AF_INET6 && isMapped(addressAt(id, SOURCE));
  const family: Family = socketFamily === AF_INET || mapped ? 4 : 6;
  const address = (offset: number): IpAddress => {
    const bytes = addressAt(id, offset);
    if (family === 6) return ipFromBytes(bytes);
    return ipFromBytes(mapped ? bytes.subarray(12) : bytes.subarray(0, 4));
  };
  const state = payload[1] ?? 0;
  const socket: TcpSocket = {
    family,
    state,
    local: { address: address(SOURCE), port: view.getUint16(0) },
    remote: { address: address(DESTINATION), port: view.getUint16(2) },
    id,
  };
  if (state !== LISTEN || family === 4) return socket;
  return {
    ...socket,
    v6only: parseAttributes(payload.subarray(MESSAGE_LENGTH))?.get(INET_DIAG_SKV6ONLY)?.[0] === 1,
  };
}

function addressAt(id: Uint8Array, offset: number): Uint8Array {
  return id.subarray(offset, offset + 16);
}

/**
 * True for ::ffff:0:0/96 (RFC 4291 section 2.5.5.2). An IPv4 socket's id has its address in the first four
 * bytes and zeroes after it.
 */
function isMapped(address: Uint8Array): boolean {
  return address[10] === 0xff && address[11] === 0xff && address.subarray(0, 10).every((byte) => byte === 0);
}
