/**
 * The one native file: thin, typed wrappers around the few system calls that Node has no API for
 * (netlink, AF_PACKET, CLOCK_BOOTTIME). Nothing above it sees koffi, a pointer or `errno`.
 * Why koffi: docs/adr/0001-koffi-not-node-netlink.md.
 */
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import koffi from "koffi";
import { LeaseholdError } from "../errors.ts";

/** A failed system call. `errnoName` is for decisions ("ENETDOWN"), the message for people. */
export class SystemCallError extends LeaseholdError {
  readonly call: string;
  readonly errnoName: string;

  constructor(call: string, errno: number, detail?: string) {
    const name = errnoName(errno);
    const text = detail ?? errnoText(errno);
    super("LH_NATIVE", `${call}: ${name} (${text})`);
    this.call = call;
    this.errnoName = name;
  }
}

/** "EPERM" for 1; a number that the C library does not know is returned as text. */
function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}

function errnoText(errno: number): string {
  try {
    return getSystemErrorMessage(-errno);
  } catch {
    return "unknown error";
  }
}

type Fd = number;

// linux/filter.h; a struct sock_filter is 8 bytes.
const socketFilter = koffi.struct("sock_fprog", { len: "uint16_t", filter: "const void *" });

// The process's own C library, whichever it is (glibc, musl): Node is linked to it.
const libc = koffi.load(null);
const c = {
  socket: libc.func("int socket(int domain, int type, int protocol)"),
  bind: libc.func("int bind(int fd, const void *address, uint32_t length)"),
  sendto: libc.func(
    "long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)",
  ),
  recv: libc.func("long recv(int fd, void *buffer, size_t length, int flags)"),
  recvfrom: libc.func(
    "long recvfrom(int fd, void *buffer, size_t length, int flags, void *address, void *addressLength)",
  ),
  setsockopt: libc.func("int setsockopt(int fd, int level, int option, const void *value, uint32_t length)"),
  setFilter: libc.func("int setsockopt(int fd, int level, int option, const sock_fprog *value, uint32_t length)"),
  getsockopt: libc.func("int getsockopt(int fd, int level, int option, void *value, void *length)"),
  getsockname: libc.func("int getsockname(int fd, void *address, void *length)"),
  close: libc.func("int close(int fd)"),
  clock_gettime: libc.func("int clock_gettime(int clock, void *time)"),
} satisfies Record<string, (...args: never[]) => unknown>;

const ERRNO = koffi.os.errno;

/** Calls once more after EINTR, as every caller would have to. */
function check(call: string, run: () => unknown): number {
  for (;;) {
    const result = Number(run());
    if (result >= 0) return result;
    const errno = koffi.errno();
    if (errno !== ERRNO["EINTR"]) throw new SystemCallError(call, errno);
  }
}

const SOCK_CLOEXEC = 0o2000000;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

/** Opens a socket that no child process inherits. @throws {SystemCallError} EPERM without the capability */
export function openSocket(domain: number, type: number, protocol: number): Fd {
  return check("socket", () => c.socket(domain, type | SOCK_CLOEXEC, protocol));
}

/** `address` is a `struct sockaddr_*` as bytes. */
export function bindSocket(fd: Fd, address: Uint8Array): void {
  check("bind", () => c.bind(fd, address, address.length));
}

/** Fills `address`, a `struct sockaddr_*` as bytes, with what the socket is bound to. */
export function socketAddress(fd: Fd, address: Uint8Array): void {
  check("getsockname", () => c.getsockname(fd, address, Uint32Array.of(address.length)));
}

/** Sends one datagram without ever waiting; `address` is a `struct sockaddr_*` as bytes, or undefined for a bound socket. */
export function sendDatagram(fd: Fd, data: Uint8Array, address: Uint8Array): void {
  check("sendto", () => c.sendto(fd, data, data.length, MSG_DONTWAIT, address, address.length));
}

/**
 * The same from a thread of libuv's pool, for what the kernel may have to wait for within the call: the event
 * loop goes on meanwhile. Resolves when the call has returned. `fd` must stay open and `data` as it is until
 * then. @throws {SystemCallError}
 */
export function sendDatagramAside(fd: Fd, data: Uint8Array, address: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    c.sendto.async(fd, data, data.length, MSG_DONTWAIT, address, address.length, (error: unknown, result: unknown) => {
      // Before anything else of ours may make a call. koffi keeps the errno of a call of the pool for this
      // callback.
      const errno = koffi.errno();
      if (error instanceof Error) reject(error);
      else if (Number(result) < 0) reject(new SystemCallError("sendto", errno));
      else resolve();
    });
  });
}

export type Received =
  | { readonly kind: "data"; readonly length: number }
  /** Nothing there now. */
  | { readonly kind: "empty" }
  /** ENOBUFS: the kernel dropped messages, what they told must be asked again (netlink(7)). */
  | { readonly kind: "overrun" }
  /** The datagram was longer than the buffer; its end is lost. */
  | { readonly kind: "truncated"; readonly length: number };

const EMPTY: Received = { kind: "empty" };

/** Reads one datagram into `buffer` without waiting; into `from` goes the sender's `struct sockaddr_*`. @throws {SystemCallError} */
export function receiveDatagram(fd: Fd, buffer: Uint8Array, from?: Uint8Array): Received {
  const flags = MSG_DONTWAIT | MSG_TRUNC;
  for (;;) {
    const length = Number(
      from === undefined
        ? c.recv(fd, buffer, buffer.length, flags)
        : c.recvfrom(fd, buffer, buffer.length, flags, from, Uint32Array.of(from.length)),
    );
    if (length > buffer.length) return { kind: "truncated", length };
    if (length >= 0) return { kind: "data", length };
    const errno = koffi.errno();
    // By number: a socket that is drained on a timer says EAGAIN dozens of times in a second.
    if (errno === ERRNO["EAGAIN"]) return EMPTY;
    if (errno === ERRNO["EINTR"]) continue;
    if (errno === ERRNO["ENOBUFS"]) return { kind: "overrun" };
    throw new SystemCallError("recv", errno);
  }
}

export function setSocketOption(fd: Fd, level: number, option: number, value: Uint8Array): void {
  check("setsockopt", () => c.setsockopt(fd, level, option, value, value.length));
}

/** Fills `value` from its beginning. */
export function getSocketOption(fd: Fd, level: number, option: number, value: Uint8Array): void {
  check("getsockopt", () => c.getsockopt(fd, level, option, value, Uint32Array.of(value.length)));
}

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;

/** `program` is an array of `struct sock_filter` as bytes, of which the kernel keeps a copy. @throws {SystemCallError} EINVAL for what it does not accept */
export function attachFilter(fd: Fd, program: Uint8Array): void {
  const value = { len: program.length / 8, filter: program };
  check("setsockopt", () => c.setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, value, koffi.sizeof(socketFilter)));
}

export function closeSocket(fd: Fd): void {
  check("close", () => c.close(fd));
}

/**
 * Calls back when `fd` becomes readable, as long as it stays so (level triggered): read until it is empty.
 * Close it before the descriptor.
 */
export function onReadable(fd: Fd, callback: () => void): { close(): void } {
  const options = { readable: true };
  let open = true;
  let scheduled = false;
  const run = (): void => {
    scheduled = false;
    if (open) callback();
  };
  const wake = (...args: readonly unknown[]): void => {
    if (!open) return;
    // libuv ends a poll for good when the socket has a pending error (POLLERR becomes UV_EBADF), and a netlink socket
    // has one after each overrun (ENOBUFS): start it again. Reading clears the error, so this does not spin.
    if (typeof args[0] === "number" && args[0] < 0) handle.start(options, wake);
    // koffi calls straight out of the event loop, outside any of Node's callback scopes: an exception would be lost
    // and promises would stay pending. An immediate runs in this same turn of the loop, in a scope.
    if (!scheduled) setImmediate(run);
    scheduled = true;
  };
  const handle = koffi.node.poll(fd, options, wake);
  return {
    close() {
      if (!open) return;
      open = false;
      handle.close();
    },
  };
}

const CLOCK_BOOTTIME = 7;
const timespec = new BigInt64Array(2);

/** CLOCK_BOOTTIME in milliseconds, fractional: monotonic, and counts while the machine is suspended. */
export function bootTimeMs(): number {
  check("clock_gettime", () => c.clock_gettime(CLOCK_BOOTTIME, timespec));
  const [seconds = 0n, nanoseconds = 0n] = timespec;
  return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
}
