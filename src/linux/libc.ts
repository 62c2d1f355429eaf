/**
 * The one native file has thin, typed wrappers around the few system calls that Node has no API for (netlink,
 * AF_PACKET, CLOCK_BOOTTIME). No other module sees koffi, a pointer or `errno`. Why koffi:
 * docs/adr/0001-koffi-not-node-netlink.md.
 */
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import koffi from "koffi";
import { LeaseholdError } from "../errors.ts";

/** A failed system call. The code decides by `errnoName` ("ENETDOWN"). People read the message. */
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

/** Returns "EPERM" for 1. A number that the C library does not know is returned as text. */
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

// From linux/filter.h. A struct sock_filter has 8 bytes.
const socketFilter = koffi.struct("sock_fprog", { len: "uint16_t", filter: "const void *" });

// The process's own C library (glibc or musl), to which Node is linked.
const libc = koffi.load(null);
const c = {
  socket: libc.func("int socket(int domain, int type, int protocol)"),
  bind: libc.func("int bind(int fd, const void *address, uint32_t length)"),
  listen: libc.func("int listen(int fd, int backlog)"),
  sendto: libc.func(
    "long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)",
  ),
  recv: libc.func("long recv(int fd, void *buffer, size_t length, int flags)"),
  recvfrom: libc.func(
    "long recvfrom(int fd, void *buffer, size_t length, int flags, void *address, void *addressLength)",
  ),
  setsockopt: libc.func("int setsockopt(int fd, int level, int option, const void *value, uint32_t length)"),
  setFilter: libc.func(
    "int setsockopt(int fd, int level, int option, const sock_fprog *value, uint32_t length)",
  ),
  getsockopt: libc.func("int getsockopt(int fd, int level, int option, void *value, void *length)"),
  getsockname: libc.func("int getsockname(int fd, void *address, void *length)"),
  send: libc.func("long send(int fd, const void *data, size_t length, int flags)"),
  fcntl: libc.func("int fcntl(int fd, int command, ...)"),
  waitpid: libc.func("int waitpid(int pid, void *status, int options)"),
  mkfifo: libc.func("int mkfifo(const char *path, uint32_t mode)"),
  close: libc.func("int close(int fd)"),
  poll: libc.func("int poll(void *fds, unsigned long count, int timeout)"),
  clock_gettime: libc.func("int clock_gettime(int clock, void *time)"),
} satisfies Record<string, (...args: never[]) => unknown>;

const ERRNO = koffi.os.errno;

/** Repeats the call after EINTR, as every caller would have to. */
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

/**
 * Opens a socket that no child process inherits.
 * @throws {SystemCallError} EPERM without the capability
 */
export function openSocket(domain: number, type: number, protocol: number): Fd {
  return check("socket", () => c.socket(domain, type | SOCK_CLOEXEC, protocol));
}

/** Binds a socket. `address` is a `struct sockaddr_*` as bytes. */
export function bindSocket(fd: Fd, address: Uint8Array): void {
  check("bind", () => c.bind(fd, address, address.length));
}

/** Makes a bound stream socket a listener with room for `backlog` connections that nobody has accepted yet. */
export function listenSocket(fd: Fd, backlog: number): void {
  check("listen", () => c.listen(fd, backlog));
}

/** Fills `address`, a `struct sockaddr_*` as bytes, with the address that the socket is bound to. */
export function socketAddress(fd: Fd, address: Uint8Array): void {
  check("getsockname", () => c.getsockname(fd, address, Uint32Array.of(address.length)));
}

/** Sends one datagram without ever waiting. `address` is a `struct sockaddr_*` as bytes. */
export function sendDatagram(fd: Fd, data: Uint8Array, address: Uint8Array): void {
  check("sendto", () => c.sendto(fd, data, data.length, MSG_DONTWAIT, address, address.length));
}

/**
 * Sends one datagram from a thread of libuv's pool, because the kernel may have to wait within the call. The
 * event loop goes on meanwhile. Resolves when the call has returned. Until then `fd` must stay open and
 * `data` must not change.
 * @throws {SystemCallError}
 */
export function sendDatagramAside(fd: Fd, data: Uint8Array, address: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    c.sendto.async(
      fd,
      data,
      data.length,
      MSG_DONTWAIT,
      address,
      address.length,
      (error: unknown, result: unknown) => {
        // This comes before any other call. koffi keeps the errno of a pool thread's call for this callback
        // only.
        const errno = koffi.errno();
        if (error instanceof Error) reject(error);
        else if (Number(result) < 0) reject(new SystemCallError("sendto", errno));
        else resolve();
      },
    );
  });
}

export type Received =
  | { readonly kind: "data"; readonly length: number }
  /** The socket has no datagram now. */
  | { readonly kind: "empty" }
  /** ENOBUFS: the kernel dropped messages, and the caller must ask again for what they told (netlink(7)). */
  | { readonly kind: "overrun" }
  /** The datagram was longer than the buffer, and its end is lost. */
  | { readonly kind: "truncated"; readonly length: number };

const EMPTY: Received = { kind: "empty" };

/**
 * Reads one datagram into `buffer` without waiting. `from` receives the sender's `struct sockaddr_*`.
 * @throws {SystemCallError}
 */
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
    // Compared by number, because a socket that is drained on a timer returns EAGAIN dozens of times a
    // second.
    if (errno === ERRNO["EAGAIN"]) return EMPTY;
    if (errno === ERRNO["EINTR"]) continue;
    if (errno === ERRNO["ENOBUFS"]) return { kind: "overrun" };
    throw new SystemCallError("recv", errno);
  }
}

export function setSocketOption(fd: Fd, level: number, option: number, value: Uint8Array): void {
  check("setsockopt", () => c.setsockopt(fd, level, option, value, value.length));
}

/** Fills `value` from its beginning with the option's value. */
export function getSocketOption(fd: Fd, level: number, option: number, value: Uint8Array): void {
  check("getsockopt", () => c.getsockopt(fd, level, option, value, Uint32Array.of(value.length)));
}

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;

/**
 * Attaches a filter to a socket. `program` is an array of `struct sock_filter` as bytes, of which the kernel
 * keeps a copy.
 * @throws {SystemCallError} EINVAL for a program that the kernel does not accept
 */
export function attachFilter(fd: Fd, program: Uint8Array): void {
  const value = { len: program.length / 8, filter: program };
  check("setsockopt", () => c.setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, value, koffi.sizeof(socketFilter)));
}

export function closeSocket(fd: Fd): void {
  check("close", () => c.close(fd));
}

/**
 * Calls back when `fd` becomes readable, and again while it stays readable (level triggered). The callback
 * must read until it is empty. Close the watch before the descriptor.
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
    // libuv ends a poll for good when the socket has a pending error (POLLERR becomes UV_EBADF). A netlink
    // socket has one after each overrun (ENOBUFS), so the poll is started again. Reading clears the error, so
    // this does not spin.
    if (typeof args[0] === "number" && args[0] < 0) handle.start(options, wake);
    // koffi calls straight out of the event loop, outside any of Node's callback scopes. An exception would
    // be lost there, and promises would stay pending. An immediate runs in this same turn of the loop, in a
    // scope.
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

/** From poll.h: struct pollfd has the descriptor (int), the events asked for (short), and those found (short). */
const POLLFD_BYTES = 8;
const POLLIN = 1;

/**
 * Creates a function that asks the kernel once, without waiting, which of these descriptors to read. It answers
 * for each, in their order. A pending error counts, because only reading tells and clears it.
 * @throws {SystemCallError} when called: ENOMEM
 */
export function readiness(fds: readonly Fd[]): () => readonly boolean[] {
  const entries = new Int32Array((fds.length * POLLFD_BYTES) / 4);
  const events = new Int16Array(entries.buffer);
  for (const [index, fd] of fds.entries()) {
    entries[index * 2] = fd;
    events[index * 4 + 2] = POLLIN;
  }
  return () => {
    check("poll", () => c.poll(entries, fds.length, 0));
    return fds.map((_, index) => events[index * 4 + 3] !== 0);
  };
}

const MSG_NOSIGNAL = 0x4000;

/**
 * Sends to a connected socket without waiting. Returns the number of bytes that were taken, 0 when the socket
 * has no room.
 * @throws {SystemCallError}
 */
export function sendNow(fd: Fd, data: Uint8Array): number {
  for (;;) {
    const length = Number(c.send(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (length >= 0) return length;
    const errno = koffi.errno();
    if (errno === ERRNO["EAGAIN"]) return 0;
    if (errno !== ERRNO["EINTR"]) throw new SystemCallError("send", errno);
  }
}

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/**
 * Sets O_NONBLOCK on the open file, which other processes may share.
 * @throws {SystemCallError}
 */
export function setNonBlocking(fd: Fd): void {
  const flags = check("fcntl", () => c.fcntl(fd, F_GETFL, "int", 0));
  check("fcntl", () => c.fcntl(fd, F_SETFL, "int", flags | O_NONBLOCK));
}

/**
 * Makes a named pipe.
 * @param mode permissions, such as 0o600
 * @throws {SystemCallError} EEXIST and others
 */
export function makeFifo(path: string, mode: number): void {
  check("mkfifo", () => c.mkfifo(path, mode));
}

const WNOHANG = 1;

/**
 * Takes note of the end of the child process `pid`, so that the kernel forgets it. It does not wait. Node
 * does this for the children that it has started itself, and must be left to do so.
 * @returns false where the child still runs, or is none
 */
export function reapChild(pid: number): boolean {
  return Number(c.waitpid(pid, null, WNOHANG)) === pid;
}

const CLOCK_BOOTTIME = 7;
const timespec = new BigInt64Array(2);

/**
 * Reads CLOCK_BOOTTIME in milliseconds, with fractions. It is monotonic and counts while the machine is
 * suspended.
 */
export function bootTimeMs(): number {
  check("clock_gettime", () => c.clock_gettime(CLOCK_BOOTTIME, timespec));
  const [seconds = 0n, nanoseconds = 0n] = timespec;
  return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
}
