/**
 * A listening TCP socket whose connections wait in the kernel's accept queue (listen(2)) until somebody takes
 * the descriptor over. Node's own listener accepts at once, so it cannot wait.
 */
import { int32, viewOf } from "./bytes.ts";
import {
  bindSocket,
  closeSocket,
  listenSocket,
  onReadable,
  openSocket,
  setSocketOption,
  socketAddress,
  SystemCallError,
} from "./libc.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

/** A listening socket that nobody accepts from yet. */
export interface PendingListener {
  readonly port: number;
  /** Calls back once, when the first client waits. */
  onClient(callback: () => void): void;
  /** Ends the watch and returns the descriptor. It belongs to the caller from now on. */
  release(): number;
  /** Closes the socket. The clients that wait are reset. */
  close(): void;
}

/**
 * Listens on all addresses, with SO_REUSEPORT, so that others of this process can listen beside it.
 * @param port 0: a free one
 * @param backlog most clients that wait
 * @throws {SystemCallError} EADDRINUSE, EACCES and others of bind(2)
 */
export function openPendingListener(port: number, backlog: number): PendingListener {
  const { fd, bound } = listenOn(port, backlog);
  let watch: { close(): void } | undefined;
  const end = (): void => {
    watch?.close();
    watch = undefined;
  };
  return {
    port: bound,
    onClient(callback) {
      end();
      watch = onReadable(fd, () => {
        end();
        callback();
      });
    },
    release() {
      end();
      return fd;
    },
    close() {
      end();
      closeSocket(fd);
    },
  };
}

function listenOn(port: number, backlog: number): { readonly fd: number; readonly bound: number } {
  try {
    return bound(AF_INET6, port, backlog);
  } catch (error) {
    // A kernel without IPv6 (ipv6.disable=1) has no `::` to listen on.
    const noIpv6 =
      error instanceof SystemCallError &&
      (error.errnoName === "EAFNOSUPPORT" || error.errnoName === "EADDRNOTAVAIL");
    if (!noIpv6) throw error;
    return bound(AF_INET, port, backlog);
  }
}

function bound(
  family: number,
  port: number,
  backlog: number,
): { readonly fd: number; readonly bound: number } {
  const fd = openSocket(family, SOCK_STREAM, 0);
  try {
    const on = int32(1);
    setSocketOption(fd, SOL_SOCKET, SO_REUSEADDR, on);
    setSocketOption(fd, SOL_SOCKET, SO_REUSEPORT, on);
    if (family === AF_INET6) setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, int32(0));
    // A struct sockaddr_in has 16 bytes and a sockaddr_in6 has 28. Both begin with family and port.
    const address = new Uint8Array(family === AF_INET6 ? 28 : 16);
    new Uint16Array(address.buffer, 0, 1)[0] = family;
    viewOf(address).setUint16(2, port);
    bindSocket(fd, address);
    listenSocket(fd, backlog);
    socketAddress(fd, address);
    return { fd, bound: viewOf(address).getUint16(2) };
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
}
