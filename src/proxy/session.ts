/** One client's connection. It finds a backend, then carries bytes both ways until both sides have ended. */
import { connect, type Socket } from "node:net";
import type { BackendId } from "../backends/backend.ts";
import type { Clock, Timer } from "../clock.ts";

/** A backend as the proxy's worker knows it, with its counters. */
export interface Target {
  readonly id: BackendId;
  readonly host: string;
  readonly port: number;
  readonly local: boolean;
  active: number;
  sessions: number;
  connectErrors: number;
  bytesIn: number;
  bytesOut: number;
}

/** What a session needs from the proxy that owns it. */
export interface SessionHost {
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  /** Returns the best backend for this client, except those that were already tried. */
  choose(client: Socket, tried: readonly Target[]): Target | undefined;
  attached(session: Session, target: Target): void;
  detached(session: Session, target: Target): void;
  failed(target: Target, reason: string): void;
  /** Called when no backend was found and the client has been reset. */
  refused(): void;
  /** Called once, when nothing of the session is left. */
  ended(session: Session): void;
}

type State =
  | { readonly kind: "connecting"; readonly target: Target; readonly server: Socket; readonly timer: Timer }
  | { readonly kind: "relaying"; readonly target: Target; readonly server: Socket }
  /** The session has no backend: before the first, between two, or after the last. */
  | { readonly kind: "detached" };

const MAX_TRIES = 3;
const KEEPALIVE_MS = 30_000;
/**
 * Bytes that a client may send before the server's first byte and still be moved to another backend. A TLS
 * ClientHello with post-quantum key shares takes less than 2 KiB.
 */
const REPLAY_BYTES = 16_384;
/** Smaller chunks are left to the garbage collector, which they do not burden. */
const RELEASE_FROM = 4096;

/** A session, from the accepted connection to the end of both sides. */
export class Session {
  readonly #host: SessionHost;
  readonly #client: Socket;
  readonly #tried: Target[] = [];
  #state: State = { kind: "detached" };
  /**
   * The client's bytes until the server's first one. undefined: this session can no longer change its
   * backend.
   */
  #replay: Buffer[] | undefined = [];
  #replayBytes = 0;
  #clientEnded = false;
  #clientClosed = false;
  #keptAlive = false;
  /** Chunks that the kernel has not taken yet, for the client and for the server. */
  #waitsForClient: Buffer | undefined;
  #waitsForServer: Buffer | undefined;

  /**
   * Starts the session.
   * @param client an accepted connection, paused, with half-open allowed
   */
  constructor(host: SessionHost, client: Socket) {
    this.#host = host;
    this.#client = client;
    client.setNoDelay(true);
    client.on("data", (chunk: Buffer) => this.#fromClient(chunk));
    client.on("end", () => this.#clientEnd());
    client.on("drain", () => this.#clientDrained());
    client.on("error", () => this.#clientFailed());
    client.on("close", () => this.#clientClose());
    // A "data" listener makes the socket flow, but there is no place for its bytes before a backend is found.
    client.pause();
    this.#next();
  }

  /**
   * Leaves a backend that is DOWN. A client that has had no byte from it gets another backend. Other clients
   * are reset.
   */
  leave(): void {
    switch (this.#state.kind) {
      case "detached":
        return;
      case "connecting":
      case "relaying":
        this.#serverFailed(this.#state.server, "down");
    }
  }

  /**
   * Turns on TCP keepalive, once. That costs four system calls a socket, so sessions that end at once should
   * not pay it: the proxy calls this for all sessions at intervals.
   */
  keepAlive(): void {
    if (this.#keptAlive || this.#state.kind !== "relaying") return;
    this.#keptAlive = true;
    this.#client.setKeepAlive(true, KEEPALIVE_MS);
    this.#state.server.setKeepAlive(true, KEEPALIVE_MS);
  }

  /** Ends both sides in order (FIN), without waiting for them to end theirs. */
  finish(): void {
    this.#dropServer((server) => server.destroy());
    this.#client.destroy();
  }

  #next(): void {
    const target =
      this.#tried.length < MAX_TRIES && !this.#clientClosed
        ? this.#host.choose(this.#client, this.#tried)
        : undefined;
    if (target === undefined) {
      if (!this.#clientClosed) this.#host.refused();
      this.#client.resetAndDestroy();
      return;
    }
    this.#tried.push(target);
    this.#host.attached(this, target);
    const server = connect({
      host: target.host,
      port: target.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    const timer = this.#host.clock.after(this.#host.connectTimeoutMs, () =>
      this.#serverFailed(server, "timeout"),
    );
    this.#state = { kind: "connecting", target, server, timer };
    server.on("connect", () => this.#connected(server));
    server.on("data", (chunk: Buffer) => this.#fromServer(chunk));
    server.on("end", () => this.#serverEnd(server));
    server.on("drain", () => this.#serverDrained(server));
    server.on("error", (error: NodeJS.ErrnoException) =>
      this.#serverFailed(server, error.code ?? error.message),
    );
    server.on("close", () => this.#serverClosed(server));
  }

  #connected(server: Socket): void {
    if (this.#state.kind !== "connecting" || this.#state.server !== server) return;
    const { target, timer } = this.#state;
    timer.cancel();
    target.sessions++;
    this.#state = { kind: "relaying", target, server };
    for (const chunk of this.#replay ?? []) server.write(chunk);
    if (this.#clientEnded) server.end();
    else this.#client.resume();
  }

  #fromClient(chunk: Buffer): void {
    if (this.#state.kind !== "relaying") return;
    const { server, target } = this.#state;
    target.bytesIn += chunk.length;
    if (this.#replay !== undefined) {
      this.#replayBytes += chunk.length;
      if (this.#replayBytes <= REPLAY_BYTES) this.#replay.push(chunk);
      else this.#replay = undefined;
    }
    const ready = server.write(chunk);
    if (!ready) this.#client.pause();
    if (this.#replay !== undefined) return;
    if (ready) releaseWritten(chunk, server);
    else this.#waitsForServer = chunk;
  }

  #fromServer(chunk: Buffer): void {
    if (this.#state.kind !== "relaying") return;
    this.#replay = undefined;
    this.#state.target.bytesOut += chunk.length;
    if (this.#client.write(chunk)) {
      releaseWritten(chunk, this.#client);
    } else {
      this.#state.server.pause();
      this.#waitsForClient = chunk;
    }
  }

  #clientDrained(): void {
    if (this.#waitsForClient !== undefined) releaseWritten(this.#waitsForClient, this.#client);
    this.#waitsForClient = undefined;
    if (this.#state.kind === "relaying") this.#state.server.resume();
  }

  #serverDrained(server: Socket): void {
    if (this.#waitsForServer !== undefined) releaseWritten(this.#waitsForServer, server);
    this.#waitsForServer = undefined;
    this.#client.resume();
  }

  #clientEnd(): void {
    this.#clientEnded = true;
    if (this.#state.kind === "relaying") endOrClose(this.#state.server);
  }

  #clientFailed(): void {
    // If the client reset its connection, the server's is reset too: an orderly end would say that all bytes
    // have come.
    this.#dropServer((server) => (server.connecting ? server.destroy() : server.resetAndDestroy()));
  }

  #clientClose(): void {
    this.#clientClosed = true;
    if (this.#state.kind === "detached") this.#host.ended(this);
    else if (this.#state.server.connecting) this.#dropServer((server) => server.destroy());
  }

  /**
   * Handles the failure of a backend. Before the backend's first byte the next one is tried. After it the
   * client must know.
   */
  #serverFailed(server: Socket, reason: string): void {
    if (this.#state.kind === "detached" || this.#state.server !== server) return;
    const { target } = this.#state;
    const canMove = this.#replay !== undefined;
    if (canMove) this.#host.failed(target, reason);
    this.#dropServer((socket) => (socket.connecting ? socket.destroy() : socket.resetAndDestroy()));
    if (canMove) {
      this.#client.pause();
      this.#next();
    } else {
      this.#client.resetAndDestroy();
    }
  }

  /**
   * Handles an orderly end of the server. It is the server's answer, even an empty one, so no other backend
   * is tried after it.
   */
  #serverEnd(server: Socket): void {
    if (this.#state.kind === "detached" || this.#state.server !== server) return;
    this.#replay = undefined;
    endOrClose(this.#client);
  }

  /**
   * Handles a server connection that was closed in order, both ways. Bytes still on their way to the client
   * go on by themselves.
   */
  #serverClosed(server: Socket): void {
    if (this.#state.kind === "detached" || this.#state.server !== server) return;
    this.#dropServer(() => {});
  }

  #dropServer(end: (server: Socket) => void): void {
    if (this.#state.kind === "detached") return;
    const { server, target } = this.#state;
    if (this.#state.kind === "connecting") this.#state.timer.cancel();
    this.#state = { kind: "detached" };
    this.#host.detached(this, target);
    end(server);
    if (this.#clientClosed) this.#host.ended(this);
  }
}

/**
 * Frees a chunk at once after the kernel has taken it. Each chunk that was read is 64 KiB outside the heap.
 * If chunks are left to the garbage collector, they make it run all the time, which took a fifth of the CPU
 * time of a transfer.
 */
function releaseWritten(chunk: Buffer, to: Socket): void {
  if (chunk.length < RELEASE_FROM || to.writableLength > 0) return;
  const { buffer } = chunk;
  // Only a buffer that the chunk fills is not shared with other code.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === chunk.length) buffer.transfer(0);
}

/**
 * Ends our direction. If the other direction has ended, close() sends the FIN too, which saves a system call
 * and a callback compared with shutdown() first.
 */
function endOrClose(socket: Socket): void {
  if (socket.readableEnded && socket.writableLength === 0) socket.destroy();
  else socket.end();
}
