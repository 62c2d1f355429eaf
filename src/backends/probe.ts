/**
 * Makes the network part of a health check: `GET /readyz` over a TLS connection that is kept for some seconds. It also says what
 * a failure means. Each instance has one backend and makes one check at a time (see `health.ts`).
 */
import { Agent, request, type IncomingMessage } from "node:http";
import { connect as tcpConnect, type Socket } from "node:net";
import { connect as tlsConnect, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import type { Clock } from "../clock.ts";
import type { Backend } from "./backend.ts";
import type { CheckResult } from "./pool.ts";

/**
 * Credentials of the checks: a client certificate with its key, a token, or both. `servername` is the API
 * server's name in its certificate: usually `kubernetes`, whatever address it is reached by.
 */
export interface CheckTls {
  readonly ca: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** It is sent only to a server that `ca` vouches for. */
  readonly token?: string;
  readonly servername: string;
}

/** What one check found. */
export type ProbeOutcome = Pick<CheckResult, "kind" | "reason" | "verified"> & {
  /** Set if the check passed but an operator should know this. */
  readonly warning?: "unauthorized" | "forbidden" | "unverified";
};

export interface ProbeDeps {
  readonly clock: Clock;
  readonly backend: Backend;
  readonly path: string;
  readonly timeoutMs: number;
  /** Returns the credentials. undefined: there are none yet. */
  readonly tls: () => CheckTls | undefined;
  /** Called when the kept connection ended while no check was under way. */
  readonly onClosed: () => void;
}

/**
 * Milliseconds that one connection is used. A firewall that was closed lets the packets of established connections
 * through (conntrack), and drops those of every client: only a new connection tells what a client gets.
 */
const FRESH_MS = 10_000;
/** /readyz answers "ok". A failing one lists its checks, which takes a few kilobytes. */
const MAX_BODY_BYTES = 65_536;

/**
 * A connection with its TLS handshake done. node:http asks its agent for a connection: this agent knows only
 * this one and opens no other.
 */
interface Connection {
  readonly socket: TLSSocket;
  readonly agent: Agent;
  /** For the requests on this connection. undefined without one, and for a server that was not verified. */
  readonly token: string | undefined;
  /** By the probe's clock. */
  readonly openedAtMs: number;
}

/** `context` holds our credentials. undefined: there are none, so the server is not verified. */
interface Trust {
  readonly context: SecureContext | undefined;
  readonly token?: string | undefined;
  readonly servername: string;
}

/** The check of /readyz that fails from SIGTERM on (apiserver/pkg/server, AddReadyzChecks). */
const SHUTS_DOWN = /^\[-\]shutdown failed/m;

type Opened =
  | { readonly kind: "open"; readonly connection: Connection }
  | { readonly kind: "failed"; readonly outcome: ProbeOutcome };

type Answer =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly reusable: boolean;
      /** The answer says that the server shuts down. */
      readonly stopping: boolean;
    }
  | { readonly kind: "ended"; readonly reason: string }
  | { readonly kind: "timeout" }
  | { readonly kind: "malformed"; readonly reason: string };

/** The network side of one backend's checks. */
export class Probe {
  readonly #deps: ProbeDeps;
  /**
   * The kept connection: it is open, TLS is done, and there is no request on it unless a check is under way.
   */
  #kept: Connection | undefined;
  /**
   * What the credentials were made into. Node frees a context only in a major garbage collection, and a probe opens
   * a connection every ten seconds.
   */
  #made: { readonly of: CheckTls; readonly context: SecureContext | undefined } | undefined;
  #busy = false;
  #closed = false;
  /** Ends the step that is under way. */
  #abort: (() => void) | undefined;
  /** Counts resets. A connection that was being opened during a reset is used once and not kept. */
  #generation = 0;

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
  }

  /**
   * Makes one check. Never rejects. Takes up to twice the time-out: when an answer is late, TCP and TLS are
   * tried by themselves.
   */
  async check(): Promise<ProbeOutcome> {
    this.#busy = true;
    try {
      return await this.#check();
    } finally {
      this.#busy = false;
    }
  }

  /**
   * Drops the kept connection, so that the next check opens another (new credentials, or the end of the
   * probe).
   */
  reset(): void {
    this.#generation++;
    const kept = this.#kept;
    this.#kept = undefined;
    kept?.socket.destroy();
  }

  /** Closes the probe for good. A check under way ends at once. */
  close(): void {
    this.#closed = true;
    this.reset();
    this.#abort?.();
  }

  async #check(): Promise<ProbeOutcome> {
    const deadlineMs = this.#deps.clock.now() + this.#deps.timeoutMs;
    const isOld = this.#kept !== undefined && this.#deps.clock.now() - this.#kept.openedAtMs >= FRESH_MS;
    if (isOld) this.reset();
    const kept = this.#kept;
    if (kept !== undefined) {
      const answer = await this.#ask(kept, deadlineMs);
      // Only a new connection tells whether the server closed an idle one or is gone.
      if (answer.kind !== "ended") return await this.#judge(answer, false);
      this.reset();
    }
    const trust = this.#trust();
    const generation = this.#generation;
    let opened = await this.#open(trust, deadlineMs);
    // A refusal takes the server out at once, and its clients' connections with it. Up to now it was fit, so one
    // connection that was reset is no refusal yet: a process that has ended refuses the next one too.
    if (isOld && opened.kind === "failed" && opened.outcome.reason === RESET)
      opened = await this.#open(trust, deadlineMs);
    if (opened.kind === "failed") return opened.outcome;
    if (trust.context === undefined) {
      opened.connection.socket.destroy();
      return { kind: "ready", reason: "tls answers, not verified", warning: "unverified" };
    }
    this.#keep(opened.connection, generation);
    const answer = await this.#ask(opened.connection, deadlineMs);
    if (this.#kept !== opened.connection) opened.connection.socket.destroy();
    return await this.#judge(answer, true);
  }

  /** Returns what to trust. Credentials that do not parse, or do not belong together, are as good as none. */
  #trust(): Trust {
    const tls = this.#deps.tls();
    if (tls === undefined) return { context: undefined, servername: "kubernetes" };
    const { token, servername } = tls;
    if (this.#made === undefined || !isSame(this.#made.of, tls))
      this.#made = { of: tls, context: contextOf(tls) };
    const { context } = this.#made;
    return context === undefined ? { context, servername } : { context, token, servername };
  }

  async #judge(answer: Answer, fresh: boolean): Promise<ProbeOutcome> {
    switch (answer.kind) {
      case "status": {
        if (!answer.reusable) this.reset();
        const reason = String(answer.status);
        // A server that is not verified is asked nothing.
        const answered = { reason, verified: true };
        if (answer.status === 200) return { kind: "ready", ...answered };
        if (answer.status === 401) return { kind: "denied", ...answered, warning: "unauthorized" };
        if (answer.status === 403) return { kind: "denied", ...answered, warning: "forbidden" };
        return answer.stopping
          ? { kind: "stopping", ...answered, reason: `${reason} shutdown` }
          : { kind: "not-ready", ...answered };
      }
      case "malformed":
        this.reset();
        return { kind: "not-ready", reason: answer.reason };
      case "ended":
        this.reset();
        return { kind: "refused", reason: answer.reason };
      case "timeout": {
        this.reset();
        if (fresh) return { kind: "slow", reason: "timeout" };
        const generation = this.#generation;
        const trust = this.#trust();
        const again = await this.#open(trust, this.#deps.clock.now() + this.#deps.timeoutMs);
        if (again.kind === "failed") return again.outcome;
        // Without credentials the server is not verified, and no later check may ask it anything.
        if (trust.context !== undefined) this.#keep(again.connection, generation);
        if (this.#kept !== again.connection) again.connection.socket.destroy();
        return { kind: "slow", reason: "timeout" };
      }
    }
  }

  #keep(connection: Connection, generation: number): void {
    if (generation !== this.#generation) return;
    this.#kept = connection;
    connection.socket.once("close", () => {
      if (this.#kept !== connection) return;
      this.#kept = undefined;
      if (!this.#busy) this.#deps.onClosed();
    });
  }

  #open(trust: Trust, deadlineMs: number): Promise<Opened> {
    const { clock, backend } = this.#deps;
    if (this.#closed)
      return Promise.resolve({ kind: "failed", outcome: { kind: "silent", reason: "stopped" } });
    const tcp = tcpConnect({ host: backend.host, port: backend.port, noDelay: true });
    return new Promise((resolve) => {
      let tls: TLSSocket | undefined;
      const fail = (outcome: ProbeOutcome): void => {
        timer.cancel();
        tls?.destroy();
        tcp.destroy();
        resolve({ kind: "failed", outcome });
      };
      const timer = clock.after(deadlineMs - clock.now(), () =>
        fail({ kind: "silent", reason: tls === undefined ? "timeout: tcp" : "timeout: tls" }),
      );
      this.#abort = () => fail({ kind: "silent", reason: "stopped" });
      tcp.on("error", (error: NodeJS.ErrnoException) => fail(failedOpen(error)));
      tcp.once("connect", () => {
        const socket = startTls(tcp, trust);
        tls = socket;
        // This listener stays for the connection's life: without one an error would end the process.
        socket.on("error", (error: NodeJS.ErrnoException) => fail(failedOpen(error)));
        socket.once("secureConnect", () => {
          timer.cancel();
          const agent = new Agent({ keepAlive: true, maxSockets: 1 });
          agent.createConnection = () => socket;
          // A server that failed the verification never gets here: its handshake ends in an error.
          const token = socket.authorized ? trust.token : undefined;
          resolve({ kind: "open", connection: { socket, agent, token, openedAtMs: clock.now() } });
        });
      });
    });
  }

  #ask({ agent, token }: Connection, deadlineMs: number): Promise<Answer> {
    const { clock, backend, path } = this.#deps;
    return new Promise((resolve) => {
      const headers = {
        "user-agent": "leasehold",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      };
      const call = request({ agent, host: backend.host, port: backend.port, path, headers });
      const done = (answer: Answer): void => {
        timer.cancel();
        if (answer.kind !== "status") call.destroy();
        resolve(answer);
      };
      const timer = clock.after(deadlineMs - clock.now(), () => done({ kind: "timeout" }));
      this.#abort = () => done({ kind: "timeout" });
      call.on("error", (error: NodeJS.ErrnoException) => done(failedAsk(error)));
      call.once("response", (response) => readBody(response, done));
      call.end();
    });
  }
}

function isSame(a: CheckTls, b: CheckTls): boolean {
  return a.ca === b.ca && a.cert === b.cert && a.key === b.key;
}

/** undefined: the credentials do not parse, or do not belong together. */
function contextOf({ ca, cert, key }: CheckTls): SecureContext | undefined {
  try {
    return createSecureContext({ ca, cert, key });
  } catch {
    return undefined;
  }
}

function readBody(response: IncomingMessage, done: (answer: Answer) => void): void {
  const status = response.statusCode ?? 0;
  let bytes = 0;
  let body = "";
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) done({ kind: "malformed", reason: "http: the answer is too long" });
    else if (status !== 200) body += chunk.toString("latin1");
  });
  response.once("end", () => {
    const closing =
      (response.headers.connection ?? "").toLowerCase() === "close" || response.httpVersion !== "1.1";
    done({ kind: "status", status, reusable: !closing, stopping: SHUTS_DOWN.test(body) });
  });
  response.once("error", () => done({ kind: "ended", reason: RESET }));
}

function startTls(socket: Socket, { context, servername }: Trust): TLSSocket {
  return context === undefined
    ? // This only asks whether the server speaks TLS. Nothing is sent or believed.
      tlsConnect({ socket, servername, rejectUnauthorized: false })
    : // NODE_TLS_REJECT_UNAUTHORIZED=0 would have a stranger's answer count as verified.
      tlsConnect({
        socket,
        servername,
        secureContext: context,
        ALPNProtocols: ["http/1.1"],
        rejectUnauthorized: true,
      });
}

const RESET = "reset";
const ENDED: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused",
  ECONNRESET: RESET,
  EPIPE: RESET,
};

function failedAsk(error: NodeJS.ErrnoException): Answer {
  const code = error.code ?? error.message;
  if (code.startsWith("HPE_")) return { kind: "malformed", reason: `http: ${code}` };
  // TLS 1.3 refuses a client's certificate only after the handshake.
  if (code.startsWith("ERR_SSL_")) return { kind: "malformed", reason: tlsReason(code) };
  return { kind: "ended", reason: ENDED[code] ?? code };
}

function tlsReason(code: string): string {
  return `tls: ${code.replace(/^ERR_SSL_/u, "").toLowerCase()}`;
}

/** Returns what a failure of TCP or TLS says about the server. */
function failedOpen(error: NodeJS.ErrnoException): ProbeOutcome {
  const code = error.code ?? error.message;
  const ended = ENDED[code];
  if (ended !== undefined) return { kind: "refused", reason: ended };
  // The network is unreachable, there is no neighbour (EHOSTUNREACH), or descriptors ran out: the server
  // itself said nothing.
  if (error.syscall !== undefined) return { kind: "silent", reason: code };
  // The server sent an alert, or bytes that are not TLS: clients fail here just as well.
  if (code.startsWith("ERR_SSL_")) return { kind: "silent", reason: tlsReason(code) };
  // The server speaks TLS, but its certificate is not trusted. Perhaps our CA is the stale one, so old
  // connections are kept.
  return { kind: "not-ready", reason: tlsReason(code) };
}
