/**
 * The TCP proxy: one listener, its sessions, and the backends that serve. It runs in a worker thread
 * (`worker.ts`). The main thread tells it which backends serve. Several such threads listen on one port
 * (`threads.ts`).
 */
import { createServer, type Server, type Socket } from "node:net";
import type { BackendId } from "../backends/backend.ts";
import type { Clock, Timer } from "../clock.ts";
import type { Subnet } from "../net.ts";
import { servesAt } from "./addresses.ts";
import type { ConnectionCount } from "./connection-count.ts";
import { retryMs } from "./listen-failure.ts";
import type { FromProxy, ProxyCounters, ProxySettings, ProxyBackend, ToProxy } from "./messages.ts";
import { HEARTBEAT_INTERVAL_MS } from "./messages.ts";
import { pick, slowStartWeight, type BackendChoice } from "./pick.ts";
import { Session, type SessionHost, type Target } from "./session.ts";

/**
 * With no backend left the listener closes after this long, so that a restart of the last backend causes no
 * flapping.
 */
const CLOSE_GRACE_MS = 1000;
/**
 * A backend that just failed a connection comes last for this long. By then the health check, which is told
 * of the failure, has decided.
 */
const SUSPECT_MS = 1000;
/** Most clients that wait to be accepted. */
export const BACKLOG = 4096;
/**
 * A session gets its TCP keepalive within this time. It is little compared with the 30 s until the first
 * probe.
 */
const KEEPALIVE_SWEEP_MS = 5000;

interface Entry extends Target {
  local: boolean;
  readonly held: Set<Session>;
  listed: boolean;
  returnedMs: number | undefined;
  suspectUntilMs: number;
}

type Listener =
  /** Before the first list: other workers have the port, and know where to take a client. */
  | { readonly kind: "idle" }
  | { readonly kind: "closed" }
  | { readonly kind: "opening"; readonly server: Server }
  | { readonly kind: "open"; readonly server: Server }
  /** Another program has the port, or it cannot be opened for another reason. It is tried again, for ever. */
  | { readonly kind: "waiting"; readonly timer: Timer }
  | { readonly kind: "stopped" };

export interface ProxyDeps {
  readonly clock: Clock;
  readonly settings: ProxySettings;
  /** A listening socket to take over, once. undefined: the proxy opens its own. */
  readonly listener?: number | undefined;
  readonly connections: ConnectionCount;
  readonly random: () => number;
  readonly post: (message: FromProxy) => void;
}

/** The proxy of one worker thread. It opens its listener when it gets its first list. */
export class Proxy {
  readonly #deps: ProxyDeps;
  readonly #host: SessionHost;
  readonly #entries = new Map<BackendId, Entry>();
  readonly #sessions = new Set<Session>();
  /** The backends that serve, as a list: every connection chooses from it. */
  #serving: readonly Entry[] = [];
  #listener: Listener = { kind: "idle" };
  /** The listening socket that is still to be taken over. */
  #given: number | undefined;
  #grace: Timer | undefined;
  #turn: number;
  #own: readonly Subnet[] = [];
  #refused = 0;
  /** Attempts in a row that failed to open the port. */
  #listenFailures = 0;
  #onEmpty: (() => void) | undefined;
  readonly #heartbeat: Timer;
  readonly #sweep: Timer;

  constructor(deps: ProxyDeps) {
    this.#deps = deps;
    this.#given = deps.listener;
    // If all workers began with the first backend, they would give it one connection each.
    this.#turn = deps.connections.slot;
    this.#host = {
      clock: deps.clock,
      connectTimeoutMs: deps.settings.connectTimeoutMs,
      choose: (client, tried) => this.#choose(client, tried),
      attached: (session, target) => {
        target.active++;
        this.#entries.get(target.id)?.held.add(session);
      },
      detached: (session, target) => {
        target.active--;
        const entry = this.#entries.get(target.id);
        entry?.held.delete(session);
        if (entry !== undefined) this.#dropIfGone(entry);
      },
      failed: (target, reason) => this.#failed(target, reason),
      refused: () => this.#refused++,
      ended: (session) => {
        this.#sessions.delete(session);
        deps.connections.set(this.#sessions.size);
        if (this.#sessions.size === 0) this.#onEmpty?.();
      },
    };
    this.#heartbeat = deps.clock.every(HEARTBEAT_INTERVAL_MS, () =>
      deps.post({ kind: "heartbeat", counters: this.counters() }),
    );
    this.#sweep = deps.clock.every(KEEPALIVE_SWEEP_MS, () => {
      for (const session of this.#sessions) session.keepAlive();
    });
  }

  /**
   * Handles a message from the main thread.
   * @param stopped called after a `stop`, once everything has ended
   */
  handle(message: ToProxy, stopped: () => void): void {
    switch (message.kind) {
      case "backends":
        this.#own = message.own ?? [];
        this.#setBackends(message.backends);
        return;
      case "close-sessions":
        for (const session of this.#entries.get(message.id)?.held ?? []) session.leave();
        return;
      case "stop":
        this.#stop(message.drainMs, stopped);
        return;
    }
  }

  counters(): ProxyCounters {
    const backends = [...this.#entries.values()].map(
      ({ id, active, sessions, connectErrors, bytesIn, bytesOut }) => ({
        id,
        active,
        sessions,
        connectErrors,
        bytesIn,
        bytesOut,
      }),
    );
    return { connections: this.#sessions.size, refused: this.#refused, backends };
  }

  #setBackends(backends: readonly ProxyBackend[]): void {
    const nowMs = this.#deps.clock.now();
    for (const entry of this.#entries.values()) entry.listed = false;
    const serving: Entry[] = [];
    for (const backend of backends) {
      const entry = this.#entries.get(backend.id) ?? newEntry(backend);
      entry.listed = true;
      entry.local = backend.local;
      entry.returnedMs = backend.returnedAgoMs === undefined ? undefined : nowMs - backend.returnedAgoMs;
      this.#entries.set(backend.id, entry);
      if (backend.serving) serving.push(entry);
    }
    this.#serving = serving;
    for (const entry of this.#entries.values()) this.#dropIfGone(entry);
    // The listener opens for an empty list too: that the port can be opened is worth knowing at the start.
    if (this.#listener.kind === "idle") this.#open();
    if (this.#serving.length > 0) {
      this.#grace?.cancel();
      this.#grace = undefined;
      if (this.#listener.kind === "closed") this.#open();
    } else if (this.#grace === undefined && this.#listener.kind !== "stopped") {
      this.#grace = this.#deps.clock.after(CLOSE_GRACE_MS, () => this.#close());
    }
  }

  #choose(client: Socket, tried: readonly Target[]): Target | undefined {
    const nowMs = this.#deps.clock.now();
    const { algorithm, slowStartMs } = this.#deps.settings;
    const candidates: (BackendChoice & { readonly entry: Entry })[] = [];
    let suspects = 0;
    for (const entry of this.#serving) {
      if (tried.includes(entry)) continue;
      if (entry.suspectUntilMs > nowMs) suspects++;
      const since = entry.returnedMs === undefined ? undefined : nowMs - entry.returnedMs;
      const weight = slowStartWeight(since, slowStartMs);
      candidates.push({ id: entry.id, local: entry.local, active: entry.active, weight, entry });
    }
    const fit =
      suspects === 0 || suspects === candidates.length
        ? candidates
        : candidates.filter(({ entry }) => entry.suspectUntilMs <= nowMs);
    // The address costs a system call; only one algorithm asks for it.
    const source = algorithm === "source" ? (client.remoteAddress ?? "") : "";
    return pick(algorithm, fit, { source, turn: this.#turn++, random: this.#deps.random })?.entry;
  }

  #failed(target: Target, reason: string): void {
    target.connectErrors++;
    const entry = this.#entries.get(target.id);
    if (entry !== undefined) entry.suspectUntilMs = this.#deps.clock.now() + SUSPECT_MS;
    this.#deps.post({ kind: "connect-failed", id: target.id, reason });
  }

  #accept(client: Socket): void {
    const { addresses, maxConnections } = this.#deps.settings;
    if (
      !servesAt(addresses && [...addresses, ...this.#own], client.localAddress ?? "") ||
      this.#deps.connections.total() >= maxConnections ||
      this.#serving.length === 0
    ) {
      this.#refused++;
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    this.#sessions.add(new Session(this.#host, client));
    this.#deps.connections.set(this.#sessions.size);
  }

  #open(host = "::"): void {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) =>
      this.#accept(client),
    );
    this.#listener = { kind: "opening", server };
    server.once("listening", () => {
      if (this.#listener.kind !== "opening" || this.#listener.server !== server) return;
      this.#listener = { kind: "open", server };
      this.#listenFailures = 0;
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : this.#deps.settings.port;
      this.#deps.post({ kind: "listening", port });
    });
    server.on("error", (error: NodeJS.ErrnoException) => {
      const code = error.code ?? "UNKNOWN";
      if (this.#listener.kind === "open") {
        // There are no file descriptors or no memory for one more connection. The listener itself goes on.
        this.#deps.post({ kind: "accept-failed", code });
        return;
      }
      if (this.#listener.kind !== "opening" || this.#listener.server !== server) return;
      // A kernel without IPv6 (ipv6.disable=1) has no `::` to listen on.
      if (host === "::" && (code === "EAFNOSUPPORT" || code === "EADDRNOTAVAIL")) {
        this.#open("0.0.0.0");
        return;
      }
      this.#deps.post({ kind: "listen-failed", code, message: error.message });
      const timer = this.#deps.clock.after(retryMs(++this.#listenFailures), () => this.#open());
      this.#listener = { kind: "waiting", timer };
    });
    const { port } = this.#deps.settings;
    const fd = this.#given;
    this.#given = undefined;
    if (fd === undefined) server.listen({ host, port, backlog: BACKLOG, reusePort: true });
    else server.listen({ fd, backlog: BACKLOG });
  }

  #close(): void {
    this.#grace = undefined;
    switch (this.#listener.kind) {
      case "opening":
      case "open":
        // The server stops listening now. Connections that the kernel had accepted for us are reset, the
        // others go on.
        this.#listener.server.close();
        break;
      case "waiting":
        this.#listener.timer.cancel();
        this.#listenFailures = 0;
        break;
      case "idle":
      case "closed":
      case "stopped":
        return;
    }
    this.#listener = { kind: "closed" };
    this.#deps.post({ kind: "closed" });
  }

  #stop(drainMs: number, stopped: () => void): void {
    this.#grace?.cancel();
    this.#close();
    this.#listener = { kind: "stopped" };
    const finish = (): void => {
      deadline.cancel();
      this.#onEmpty = undefined;
      this.#heartbeat.cancel();
      this.#sweep.cancel();
      for (const session of this.#sessions) session.finish();
      stopped();
    };
    const deadline = this.#deps.clock.after(drainMs, finish);
    this.#onEmpty = finish;
    if (this.#sessions.size === 0) finish();
  }

  #dropIfGone(entry: Entry): void {
    if (!entry.listed && entry.active === 0) this.#entries.delete(entry.id);
  }
}

function newEntry({ id, host, port, local }: ProxyBackend): Entry {
  return {
    id,
    host,
    port,
    local,
    active: 0,
    sessions: 0,
    connectErrors: 0,
    bytesIn: 0,
    bytesOut: 0,
    held: new Set(),
    listed: true,
    returnedMs: undefined,
    suspectUntilMs: Number.NEGATIVE_INFINITY,
  };
}
