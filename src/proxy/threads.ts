/**
 * The proxy as the main thread sees it: several worker threads that listen on one port (SO_REUSEPORT). The
 * kernel spreads connections over them by a hash of their addresses. The threads share nothing but the limit
 * of connections. A thread that dies takes its own sessions with it, and the others accept the connections
 * that come meanwhile.
 *
 * Where the kernel carries the VIP's connections, most nodes' proxies never see a client. So no thread runs
 * there until the first client waits: a thread costs 11 to 20 MiB and two wake-ups a second.
 */
import { createServer } from "node:net";
import type { Timer } from "../clock.ts";
import { compileAsUsual } from "../compile-late.ts";
import type { PendingListener } from "../linux/listener.ts";
import { connectionCountMemory } from "./connection-count.ts";
import { sum } from "./counters.ts";
import { listenFailure, retryMs } from "./listen-failure.ts";
import type { ListenFailure } from "./listen-failure.ts";
import type { ProxyCounters, ProxySettings, ToProxy } from "./messages.ts";
import { ProxyThread, type ProxyThreadDeps } from "./thread.ts";

export interface ProxyThreadsDeps extends Omit<ProxyThreadDeps, "settings" | "share"> {
  readonly settings: ProxySettings;
  readonly workers: number;
  /**
   * Opens the port for clients that wait until the threads run. undefined: the threads run from the start.
   * @throws {Error} when the port cannot be opened
   */
  readonly openPending?: ((port: number) => PendingListener) | undefined;
}

/**
 * Returns how many worker threads to run. On two cores, which the proxy shares with an API server and etcd,
 * two threads carried no more than one, and took more CPU time for it (docs/benchmarks.md). Every thread
 * costs memory, so more than two run only where they are configured.
 */
export function workersFor(cores: number): number {
  return cores < 4 ? 1 : 2;
}

/** The same failure to listen is logged again after this long. */
const REPEAT_MS = 60_000;

/** No thread runs until the port has been free. */
type State =
  | { readonly kind: "idle" }
  | { readonly kind: "waiting"; readonly failure: ListenFailure; readonly timer: Timer }
  /** The port is open, and no client has come yet. */
  | { readonly kind: "asleep"; readonly listener: PendingListener }
  | { readonly kind: "running" }
  | { readonly kind: "stopped" };

/** All worker threads of the proxy. */
export class ProxyThreads {
  readonly #deps: ProxyThreadsDeps;
  #state: State = { kind: "idle" };
  #threads: readonly ProxyThread[] = [];
  #wasListening = false;
  /** The threads may not wait for a first client any more. */
  #awake = false;
  #told: { readonly detail: string; readonly atMs: number } | undefined;

  constructor(deps: ProxyThreadsDeps) {
    this.#deps = deps;
  }

  /** The port while at least one listener accepts, otherwise undefined. */
  get listening(): number | undefined {
    if (this.#state.kind === "asleep") return this.#state.listener.port;
    return this.#threads.find(({ listening }) => listening !== undefined)?.listening;
  }

  /**
   * Why the port cannot be opened by any worker, or by one of them. undefined if each worker has it or none
   * wants it.
   */
  get failure(): ListenFailure | undefined {
    if (this.#state.kind === "waiting") return this.#state.failure;
    return this.#threads.find(({ failure }) => failure !== undefined)?.failure;
  }

  /**
   * Returns the age of the oldest heartbeat, in milliseconds. A worker that listens and hangs keeps its share
   * of the clients waiting. A dead worker has no share.
   */
  heartbeatAgeMs(): number {
    // No worker hangs, because none has been started.
    if (this.#state.kind === "waiting" || this.#state.kind === "asleep") return 0;
    const accepting = this.#threads.filter(({ listening }) => listening !== undefined);
    const asked = accepting.length > 0 ? accepting : this.#threads;
    return asked.length === 0
      ? Number.POSITIVE_INFINITY
      : Math.max(...asked.map((thread) => thread.heartbeatAgeMs()));
  }

  counters(): ProxyCounters {
    return sum(this.#threads.map((thread) => thread.counters()));
  }

  /**
   * Starts the workers. Resolves once every listener accepts, or once it is known that the port cannot be
   * opened yet. The port is tried for ever.
   */
  start(): Promise<void> {
    return this.#tryPort(1);
  }

  async #tryPort(attempt: number): Promise<void> {
    const { clock, settings } = this.#deps;
    const found = await freeToUs(settings.port);
    if (this.#state.kind === "stopped") return;
    if (typeof found !== "number") {
      const timer = clock.after(retryMs(attempt), () => void this.#tryPort(attempt + 1));
      this.#state = { kind: "waiting", failure: found, timer };
      this.#changed();
      return;
    }
    if (!this.#sleep(found)) await this.#runThreads(found);
  }

  /** Waits for the first client, if the threads need not run at once. Returns false if they have to. */
  #sleep(port: number): boolean {
    const listener = this.#needed() ? undefined : this.#openPending(port);
    if (listener === undefined) return false;
    this.#state = { kind: "asleep", listener };
    listener.onClient(() => this.wake());
    this.#changed();
    return true;
  }

  /** With no backend that serves, the workers close their listeners, and open them again when one does. */
  #needed(): boolean {
    return this.#awake || !this.#deps.backends().some(({ serving }) => serving);
  }

  #openPending(port: number): PendingListener | undefined {
    try {
      return this.#deps.openPending?.(port);
    } catch {
      // The workers try the port again, and say why it cannot be opened.
      return undefined;
    }
  }

  /** Starts the threads if they wait for the first client, and lets them run from the start otherwise. */
  wake(): void {
    this.#awake = true;
    if (this.#state.kind !== "asleep") return;
    const { listener } = this.#state;
    void this.#runThreads(listener.port, listener.release());
  }

  async #runThreads(port: number, listener?: number): Promise<void> {
    this.#state = { kind: "running" };
    compileAsUsual();
    const { settings, workers } = this.#deps;
    const memory = connectionCountMemory(workers);
    this.#threads = Array.from(
      { length: workers },
      (_, slot) =>
        new ProxyThread({
          ...this.#deps,
          settings: { ...settings, port },
          share: { memory, slot },
          onChange: () => this.#changed(),
        }),
    );
    await Promise.all(this.#threads.map((thread, slot) => thread.start(slot === 0 ? listener : undefined)));
  }

  /**
   * Sends a message to all workers. It is lost on a worker that does not run, which gets {@link
   * ProxyThreadDeps.backends} when it starts.
   */
  post(message: ToProxy): void {
    if (this.#state.kind === "asleep" && this.#needed()) this.wake();
    for (const thread of this.#threads) thread.post(message);
  }

  /** Stops accepting, gives sessions `drainMs` to end, then ends the threads. */
  async stop(drainMs: number): Promise<void> {
    if (this.#state.kind === "waiting") this.#state.timer.cancel();
    if (this.#state.kind === "asleep") this.#state.listener.close();
    this.#state = { kind: "stopped" };
    await Promise.all(this.#threads.map((thread) => thread.stop(drainMs)));
  }

  #changed(): void {
    const { listening } = this;
    if ((listening !== undefined) !== this.#wasListening) {
      this.#wasListening = listening !== undefined;
      if (listening === undefined)
        this.#deps.log.info({ port: this.#deps.settings.port }, "The balancer closed its listener");
      else this.#deps.log.info({ port: listening }, "The balancer listens");
    }
    this.#tellFailure();
    this.#deps.onChange();
  }

  #tellFailure(): void {
    const { clock, log } = this.#deps;
    const { failure } = this;
    if (failure === undefined) {
      this.#told = undefined;
      return;
    }
    const nowMs = clock.now();
    if (this.#told?.detail === failure.detail && nowMs - this.#told.atMs < REPEAT_MS) return;
    this.#told = { detail: failure.detail, atMs: nowMs };
    const { error } = failure;
    log.error(
      { code: error.code, err: error, hint: error.hint },
      "The balancer cannot listen on its port, and tries again",
    );
  }
}

/**
 * Listens alone for a moment: with SO_REUSEPORT another agent of this machine would share the port without an
 * error. Returns the port (a free one if `port` is 0), or why it cannot be opened.
 */
function freeToUs(port: number, host = "::"): Promise<number | ListenFailure> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      // A kernel without IPv6 (ipv6.disable=1) has no `::` to listen on.
      if (host === "::" && (error.code === "EAFNOSUPPORT" || error.code === "EADDRNOTAVAIL"))
        resolve(freeToUs(port, "0.0.0.0"));
      else resolve(listenFailure(port, error.code ?? "UNKNOWN", error.message));
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
