/**
 * Keeps TLS connections to one API server with one set of credentials, and makes one exchange at a time on
 * each. node:http's own agent is no help in two things: it does not tell whether a request had a connection,
 * and it gives up a connection that is being opened together with the request that it was opened for.
 */
import { Agent, request } from "node:http";
import type { OutgoingHttpHeaders } from "node:http";
import { connect, createSecureContext } from "node:tls";
import type { SecureContext, TLSSocket } from "node:tls";
import type { Clock } from "../clock.ts";
import type { HostPort } from "../net.ts";
import type { ClientCredentials } from "./kubeconfig.ts";

/** A connection attempt may outlive the request it was made for by no more than this. */
const CONNECT_TIMEOUT_MS = 5000;
/** A hung request occupies a connection until its deadline. There are never this many. */
const MAX_CONNECTIONS = 32;
/**
 * Shorter than the 90 s after which Go's HTTP server closes an idle connection, so no request meets a closing
 * connection.
 */
const IDLE_MS = 60_000;
const TCP_KEEPALIVE_MS = 10_000;

/** What is sent. */
export interface Outgoing {
  readonly method: string;
  /** Absolute, with the query. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: string | undefined;
}

/** What happens to a request. Nothing is called after `onEnd`, `onError` or an abort. */
export interface ExchangeHandlers {
  /** A connection is there, and the request goes out now: the server may get it from here on. */
  onSent(): void;
  /** The HTTP status has come. It is 200 or more. */
  onStatus(status: number): void;
  onData(chunk: Buffer): void;
  /** The answer is complete. */
  onEnd(): void;
  onError(error: Error): void;
}

/** A request that has been made. */
export interface Exchange {
  /** Ends it, if it goes on. What waits for a connection is never sent. Idempotent. */
  abort(): void;
}

/** A connection whose handshake is done. node:http asks its agent for one: this agent knows no other. */
interface Connection {
  readonly socket: TLSSocket;
  readonly agent: Agent;
}

/** A request that waits for a connection. */
interface Waiting {
  readonly begin: (connection: Connection) => void;
  readonly fail: (error: Error) => void;
}

/** Connections to one server. They are opened when a request finds none that is idle. */
export class Connections {
  readonly #clock: Pick<Clock, "after">;
  readonly #server: HostPort;
  readonly #used: ClientCredentials;
  #context: SecureContext | undefined;
  readonly #opening = new Set<TLSSocket>();
  readonly #busy = new Set<Connection>();
  /** The one that was used last is the last. */
  readonly #idle: Connection[] = [];
  readonly #waiting: Waiting[] = [];
  #retired = false;

  constructor(clock: Pick<Clock, "after">, server: HostPort, used: ClientCredentials) {
    this.#clock = clock;
    this.#server = server;
    this.#used = used;
  }

  /** Makes one request. Of its handlers only `onSent` may be called before this returns. */
  request(outgoing: Outgoing, handlers: ExchangeHandlers): Exchange {
    let over = false;
    let stop = (): void => {};
    const finish = (tell: () => void): void => {
      if (over) return;
      over = true;
      tell();
    };
    const waiting: Waiting = {
      begin: (connection) => {
        stop = this.#exchange(connection, outgoing, {
          onSent: () => handlers.onSent(),
          onStatus: (status) => void (over || handlers.onStatus(status)),
          onData: (chunk) => void (over || handlers.onData(chunk)),
          onEnd: () => finish(() => handlers.onEnd()),
          onError: (error) => finish(() => handlers.onError(error)),
        });
        // A handler may have aborted it meanwhile.
        if (over) stop();
      },
      fail: (error) => finish(() => handlers.onError(error)),
    };
    const idle = this.#takeIdle();
    if (idle === undefined) {
      this.#waiting.push(waiting);
      this.#openMissing();
    } else {
      waiting.begin(idle);
    }
    return {
      abort: () => {
        over = true;
        const at = this.#waiting.indexOf(waiting);
        // The connection is opened all the same, for the next request.
        if (at !== -1) this.#waiting.splice(at, 1);
        stop();
      },
    };
  }

  /** Lets what goes on come to its end, and closes each connection then. */
  retire(): void {
    this.#retired = true;
    for (const { socket } of this.#idle.splice(0)) socket.destroy();
  }

  /** Ends everything at once. Requests fail with `error`. */
  close(error: Error): void {
    this.retire();
    for (const { fail } of this.#waiting.splice(0)) fail(error);
    for (const socket of this.#opening) socket.destroy(error);
    for (const { socket } of this.#busy) socket.destroy(error);
  }

  /** A connection that the other end has closed is no longer used, though its last event may be still to come. */
  #takeIdle(): Connection | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (isUsable(idle.socket)) return idle;
      idle.socket.destroy();
    }
    return undefined;
  }

  /** Opens a connection for each request that waits for one. */
  #openMissing(): void {
    const room = MAX_CONNECTIONS - this.#opening.size - this.#busy.size - this.#idle.length;
    const missing = Math.min(room, this.#waiting.length - this.#opening.size);
    for (let count = 0; count < missing; count++) this.#open();
  }

  #open(): void {
    const { host, port } = this.#server;
    const { ca, clientCertificate, servername } = this.#used;
    try {
      this.#context ??= createSecureContext({ ca, ...clientCertificate });
    } catch (error) {
      // The kubeconfig was read without this failure, so something else is wrong, such as too little memory.
      const failed = this.#waiting.shift();
      queueMicrotask(() => failed?.fail(asError(error)));
      return;
    }
    const socket = connect({
      host,
      port,
      servername,
      secureContext: this.#context,
      ALPNProtocols: ["http/1.1"],
      // NODE_TLS_REJECT_UNAUTHORIZED=0 would have the token sent to anybody.
      rejectUnauthorized: true,
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    this.#opening.add(socket);
    const timer = this.#clock.after(CONNECT_TIMEOUT_MS, () =>
      socket.destroy(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`)),
    );
    let failure: Error | undefined;
    // This listener stays for the connection's life: without one an error would end the process.
    socket.on("error", (error) => (failure = error));
    socket.once("secureConnect", () => {
      timer.cancel();
      this.#opening.delete(socket);
      this.#opened(socket);
    });
    socket.once("close", () => {
      timer.cancel();
      if (!this.#opening.delete(socket)) return;
      // Another attempt may have served the request that this one was made for.
      if (this.#waiting.length > this.#opening.size)
        this.#waiting.shift()?.fail(failure ?? new Error("the connection was closed before it was open"));
      this.#openMissing();
    });
  }

  #opened(socket: TLSSocket): void {
    // Without `timeout` the agent would take the socket's own one away.
    const agent = new Agent({
      keepAlive: true,
      keepAliveMsecs: TCP_KEEPALIVE_MS,
      maxSockets: 1,
      timeout: IDLE_MS,
    });
    agent.createConnection = () => socket;
    const connection: Connection = { socket, agent };
    socket.setTimeout(IDLE_MS, () => {
      if (this.#idle.includes(connection)) socket.destroy();
    });
    socket.once("close", () => {
      this.#busy.delete(connection);
      const at = this.#idle.indexOf(connection);
      if (at !== -1) this.#idle.splice(at, 1);
      this.#openMissing();
    });
    this.#give(connection);
  }

  /** Gives a connection to the request that has waited longest, or keeps it. */
  #give(connection: Connection): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next.begin(connection);
    else if (this.#retired) connection.socket.destroy();
    else this.#idle.push(connection);
  }

  /** Returns what ends the exchange, and its connection with it. */
  #exchange(connection: Connection, outgoing: Outgoing, handlers: ExchangeHandlers): () => void {
    const { socket, agent } = connection;
    const { method, path, headers, body } = outgoing;
    this.#busy.add(connection);
    handlers.onSent();
    try {
      const call = request({ agent, ...this.#server, method, path, headers });
      call.on("error", (error) => handlers.onError(error));
      call.once("response", (response) => {
        response.on("data", (chunk: Buffer) => handlers.onData(chunk));
        response.once("error", (error) => handlers.onError(error));
        response.once("end", () => {
          const isTaken = call.writableFinished;
          // The agent lets go of the connection in the tick after `end`, or destroys it then, as a `Keep-Alive`
          // of a second or less makes it do. A request that it gets before would wait for ever.
          process.nextTick(() => {
            this.#busy.delete(connection);
            // Not after `Connection: close`, and not while the server has not taken the whole request.
            if (isTaken && isUsable(socket)) this.#give(connection);
            else socket.destroy();
            handlers.onEnd();
          });
        });
        handlers.onStatus(response.statusCode ?? 0);
      });
      call.end(body);
      return () => call.destroy();
    } catch (error) {
      // A header or a path that cannot be sent.
      socket.destroy();
      queueMicrotask(() => handlers.onError(asError(error)));
      return () => {};
    }
  }
}

function isUsable(socket: TLSSocket): boolean {
  return socket.writable && socket.readable;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
