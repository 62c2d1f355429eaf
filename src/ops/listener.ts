/**
 * One HTTP port that goes on answering, whatever else connects to it. A port that is taken is tried again,
 * because the VIP must not fall with it. Each connection has one request and one answer. When there are too
 * many connections, one of the client that has the most is closed: the one that has waited longest without a
 * complete request. A probe sends its request as it connects, so idle connections, half requests and slow
 * readers never cost it its place.
 */
import { constants } from "node:crypto";
import type { X509Certificate } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { Clock, Timer } from "../clock.ts";
import { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { hostPort, plainAddress } from "../net.ts";
import type { PeerIdentity } from "../peers/identity.ts";
import { listenCode, listenReason } from "../proxy/listen-failure.ts";
import { sourceOf } from "./sources.ts";
import type { ListenerStatus } from "./status.ts";

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer that goes on until either side ends it, in ten minutes at most. */
export interface Stream {
  readonly type: string;
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Begins to send. It must not throw.
   * @param ended aborts when no more is wanted
   */
  readonly begin: (send: (chunk: string) => void, ended: AbortSignal) => void;
}

export interface ListenerDeps {
  readonly name: ListenerStatus["name"];
  /** Numeric address to listen on. */
  readonly host: string;
  /** Port to listen on. 0 means any free port, see {@link Listener.port}. */
  readonly port: number;
  /** Answers a request whose body has been read and dropped. */
  readonly answer: (request: IncomingMessage) => Promise<Answer | Stream>;
  readonly log: Logger;
  readonly clock: Clock;
  /** Most connections at one time, {@link MAX_CONNECTIONS} by default. */
  readonly maxConnections?: number;
  /** TLS; absent: plain HTTP for everybody who reaches the port. */
  readonly tls?: ListenerTls;
}

/** TLS with a key of our own, which no authority has signed. The client may show a certificate. */
export interface ListenerTls {
  readonly identity: PeerIdentity;
  /** Says whether a connection speaks TLS. Others speak plain HTTP. Default: all do. */
  readonly covers?: (socket: Socket) => boolean;
  /**
   * Says whether a client with this numeric address may begin TLS. A handshake takes a millisecond of the
   * thread that renews the Lease, so strangers must not be able to ask for many. Default: 50 a second may, 20
   * of them from one source.
   */
  readonly hasAddress?: (ip: string) => boolean;
  /**
   * Says whether the client with this numeric address is no stranger. Then only the limit for one source counts,
   * and its address is a source of its own. Default: all are strangers.
   */
  readonly isKnown?: (ip: string) => boolean;
  /** Says whether a client with this certificate may make a request. Default: every one may. */
  readonly admits?: (certificate: X509Certificate | undefined) => boolean;
}

/** The connections of one source, oldest first. */
interface Source {
  readonly asking: Set<Socket>;
  readonly answering: Set<Socket>;
}

export interface Listener {
  /**
   * Resolves after the first try, whether or not it succeeded. The port is tried again until {@link stop}.
   */
  start(): Promise<void>;
  /** Stops listening. Answers under way get half a second. Idempotent. */
  stop(): Promise<void>;
  status(): ListenerStatus;
  /** The port in use; 0 while there is none. */
  port(): number;
}

/**
 * Probes, a scraper and a person or two need four. The rest is room for the time between a probe's connection
 * and its request, in which others may connect. A scan of the port must not cost the agent more file
 * descriptors than this.
 */
export const MAX_CONNECTIONS = 512;
/**
 * Most connections that wait to be accepted. The kernel takes the smaller of this and net.core.somaxconn
 * (listen(2)).
 */
const BACKLOG = 4_096;
const REQUEST_TIMEOUT_MS = 5_000;
/** Milliseconds from the first packet to the last, for clients that send or read a byte at a time. */
const CONNECTION_LIFE_MS = 10_000;
/** Most handshakes that strangers may begin in a second. */
const MOST_HANDSHAKES = 50;
/** Most handshakes that one source may begin in a second. A page with all its files and peers takes some ten. */
const MOST_HANDSHAKES_OF_ONE = 20;
const STREAM_LIFE_MS = 600_000;
/** Most bytes of a stream that wait for a reader. One that does not read loses its stream. */
const MAX_UNREAD_BYTES = 1_024 * 1_024;
const MAX_HEADER_BYTES = 8 * 1_024;
const MAX_BODY_BYTES = 256 * 1_024;
const STOP_GRACE_MS = 500;
const FIRST_RETRY_MS = 500;
/**
 * Most milliseconds between two tries. The kubelet restarts a container after eight probes, 10 s apart, and a
 * port that is free again must be taken long before.
 */
const LONGEST_RETRY_MS = 5_000;

const FIXED_HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** Reads a request's body up to the limit. Returns false when it is too long or the client has left. */
async function isRead(request: IncomingMessage): Promise<boolean> {
  let bytes = 0;
  try {
    // Leaving the loop early destroys the request, and the connection with it.
    for await (const chunk of request) {
      bytes += Buffer.byteLength(chunk);
      if (bytes > MAX_BODY_BYTES) return false;
    }
    return true;
  } catch {
    return false;
  }
}

const otherEnd = ({ remoteAddress = "", remotePort = 0 }: Socket): string =>
  hostPort(remoteAddress, remotePort);

function tlsOptions({ identity }: ListenerTls) {
  return {
    key: identity.key,
    cert: identity.cert,
    requestCert: true,
    // Who may ask is decided by {@link ListenerTls.admits} or by the answer itself, and not by an authority.
    rejectUnauthorized: false,
    minVersion: "TLSv1.3" as const,
    handshakeTimeout: REQUEST_TIMEOUT_MS,
    // Every connection proves its key again, so a key that is no longer known cannot resume a session.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

export function createListener(deps: ListenerDeps): Listener {
  const { name, log, clock, maxConnections = MAX_CONNECTIONS } = deps;
  const address = hostPort(deps.host, deps.port);
  /**
   * Connections without a complete request, and those that are being answered, oldest first as a Set keeps
   * them.
   */
  const asking = new Set<Socket>();
  const answering = new Set<Socket>();
  /** The same, by source. A source without connections has no entry. */
  const sources = new Map<string, Source>();
  const sourceOfSocket = new WeakMap<Socket, Source>();
  /** When each connection ends. */
  const lives = new WeakMap<Socket, Timer>();
  let failure: NodeJS.ErrnoException | undefined;
  let retry: Timer | undefined;
  let retryMs = FIRST_RETRY_MS;
  let stopping: Promise<void> | undefined;

  const server: Server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
    },
    (request, response) => {
      respond(request, response).catch((error: unknown) => {
        log.error(
          { err: error, listener: name, path: request.url },
          "The agent failed to answer an HTTP request",
        );
        response.destroy();
      });
    },
  );
  /** Connections of this listener that speak TLS, by their other end: a request names the stream above it. */
  const underTls = new Map<string, Socket>();
  const tlsServer = deps.tls && createTlsServer(tlsOptions(deps.tls));
  if (tlsServer !== undefined) {
    // Node's own listener begins HTTP on a connection. Here TLS may come before that.
    const begin = server.listeners("connection");
    server.removeAllListeners("connection");
    const beginHttp = (socket: Socket): void =>
      begin.forEach((listener) => void listener.call(server, socket));
    server.on("connection", (socket: Socket) => {
      if (deps.tls?.covers?.(socket) === false) return beginHttp(socket);
      if (!mayBeginTls(socket)) return void socket.destroy();
      const end = otherEnd(socket);
      underTls.set(end, socket);
      socket.once("close", () => {
        if (underTls.get(end) === socket) underTls.delete(end);
      });
      tlsServer.emit("connection", socket);
    });
    tlsServer.on("secureConnection", (socket) => {
      if (deps.tls?.admits?.(socket.getPeerX509Certificate()) === false) socket.destroy();
      else beginHttp(socket);
    });
    tlsServer.on("tlsClientError", (_, socket) => socket.destroy());
  }
  // A connection that is kept alive would be an idle one. Requests after the first in a pipeline are dropped.
  server.maxRequestsPerSocket = 1;
  server.on("connection", admit);

  /** Handshakes that strangers have begun in this second, and that each source has. */
  let strangers = 0;
  const begun = new Map<string, number>();
  let secondMs = Number.NEGATIVE_INFINITY;

  const isKnown = (remoteAddress: string): boolean =>
    deps.tls?.isKnown?.(plainAddress(remoteAddress)) ?? false;

  const nameOf = (remoteAddress: string): string =>
    isKnown(remoteAddress) ? plainAddress(remoteAddress) : sourceOf(remoteAddress);

  function mayBeginTls({ remoteAddress = "" }: Socket): boolean {
    if (deps.tls?.hasAddress !== undefined) return deps.tls.hasAddress(remoteAddress);
    if (clock.now() - secondMs >= 1_000) {
      strangers = 0;
      begun.clear();
      secondMs = clock.now();
    }
    const name = nameOf(remoteAddress);
    const count = begun.get(name) ?? 0;
    if (count >= MOST_HANDSHAKES_OF_ONE) return false;
    if (!isKnown(remoteAddress)) {
      if (strangers >= MOST_HANDSHAKES) return false;
      strangers += 1;
    }
    begun.set(name, count + 1);
    return true;
  }

  function admit(socket: Socket): void {
    const name = nameOf(socket.remoteAddress ?? "");
    const source = sources.get(name) ?? { asking: new Set(), answering: new Set() };
    sources.set(name, source);
    sourceOfSocket.set(socket, source);
    asking.add(socket);
    source.asking.add(socket);
    lives.set(
      socket,
      clock.after(CONNECTION_LIFE_MS, () => socket.destroy()),
    );
    socket.once("close", () => {
      lives.get(socket)?.cancel();
      for (const each of [asking, answering, source.asking, source.answering]) each.delete(socket);
      if (source.asking.size + source.answering.size === 0 && sources.get(name) === source)
        sources.delete(name);
    });
    if (asking.size + answering.size <= maxConnections) return;
    // Clients that do not read their answer get no more than half of the places.
    const kind = answering.size > maxConnections / 2 ? "answering" : "asking";
    let most: ReadonlySet<Socket> = new Set();
    for (const each of sources.values()) if (each[kind].size > most.size) most = each[kind];
    const [oldest] = most;
    oldest?.destroy();
  }

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!(await isRead(request))) {
      request.socket.destroy();
      return;
    }
    const socket = underTls.get(otherEnd(request.socket)) ?? request.socket;
    if (asking.delete(socket)) {
      answering.add(socket);
      const source = sourceOfSocket.get(socket);
      source?.asking.delete(socket);
      source?.answering.add(socket);
    }
    const answer = await deps.answer(request);
    // The client may have left meanwhile. A stream that began now would never hear of it.
    if (response.destroyed || socket.destroyed) return;
    if ("begin" in answer) {
      lives.get(socket)?.cancel();
      lives.set(
        socket,
        clock.after(STREAM_LIFE_MS, () => socket.destroy()),
      );
      stream(answer, request, response);
      return;
    }
    const { status, type, body, headers } = answer;
    response.writeHead(status, {
      "content-type": type,
      "content-length": Buffer.byteLength(body),
      connection: "close",
      ...FIXED_HEADERS,
      ...headers,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  function stream(
    { type, headers, begin }: Stream,
    { method }: IncomingMessage,
    response: ServerResponse,
  ): void {
    response.writeHead(200, { "content-type": type, connection: "close", ...FIXED_HEADERS, ...headers });
    if (method === "HEAD") {
      response.end();
      return;
    }
    const ended = new AbortController();
    response.on("close", () => ended.abort());
    response.flushHeaders();
    begin((chunk) => {
      if (ended.signal.aborted) return;
      response.write(chunk);
      if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
    }, ended.signal);
  }

  /** Tries once. Resolves with undefined when the agent has the port. */
  function listen(): Promise<NodeJS.ErrnoException | undefined> {
    return new Promise((resolve) => {
      const refused = (error: Error): void => {
        server.off("listening", accepted);
        resolve(error);
      };
      const accepted = (): void => {
        server.off("error", refused);
        resolve(undefined);
      };
      server.once("error", refused);
      server.once("listening", accepted);
      server.listen({ host: deps.host, port: deps.port, backlog: BACKLOG, exclusive: true });
    });
  }

  const reason = ({ code = "unknown error", message }: NodeJS.ErrnoException): string =>
    listenReason(code, message, deps.host);

  async function attempt(): Promise<void> {
    const error = await listen();
    if (stopping !== undefined) {
      // The listener was stopped during this try.
      if (error === undefined) server.close();
      return;
    }
    const before = failure;
    failure = error;
    if (error === undefined) {
      server.on("error", (cause) =>
        log.error({ err: cause, listener: name }, "The agent's HTTP port failed"),
      );
      if (before !== undefined)
        log.info({ listener: name, address }, "The agent listens on the HTTP port now");
      return;
    }
    if (before === undefined || before.code !== error.code) {
      const known = new LeaseholdError(
        listenCode(error.code ?? ""),
        `cannot listen on ${address}: ${reason(error)}`,
        { cause: error },
      );
      log.error(
        { err: known, code: known.code, hint: known.hint, listener: name, address },
        "The agent cannot listen on an HTTP port, and tries again",
      );
    }
    retry = clock.after(retryMs, () => void attempt());
    retryMs = Math.min(LONGEST_RETRY_MS, retryMs * 2);
  }

  function close(): Promise<void> {
    retry?.cancel();
    if (!server.listening) return Promise.resolve();
    return new Promise((resolve) => {
      const cut = clock.after(STOP_GRACE_MS, () => {
        for (const socket of answering) socket.destroy();
      });
      server.close(() => {
        cut.cancel();
        resolve();
      });
      for (const socket of asking) socket.destroy();
    });
  }

  return {
    start: attempt,
    stop() {
      stopping ??= close();
      return stopping;
    },
    status: () => ({
      name,
      address,
      listening: server.listening,
      error: failure === undefined ? null : reason(failure),
    }),
    port() {
      const bound = server.address();
      return typeof bound === "object" && bound !== null ? bound.port : 0;
    },
  };
}
