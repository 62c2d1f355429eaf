/**
 * One of the proxy's worker threads as the main thread sees it. It is started, started again when it ends,
 * and told the latest list.
 */
import { Worker } from "node:worker_threads";
import type { BackendId } from "../backends/backend.ts";
import type { Clock, Timer } from "../clock.ts";
import { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Subnet } from "../net.ts";
import { ConnectionCount, type ConnectionCountShare } from "./connection-count.ts";
import { noCounters, sum, withoutSessions } from "./counters.ts";
import { listenFailure } from "./listen-failure.ts";
import type { ListenFailure } from "./listen-failure.ts";
import type {
  FromProxy,
  ProxyBackend,
  ProxyCounters,
  ProxySettings,
  ProxyWorkerData,
  ToProxy,
} from "./messages.ts";

export interface ProxyThreadDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: ProxySettings;
  readonly share: ConnectionCountShare;
  /** URL of `worker.ts`, or of the file that the bundle made of it. */
  readonly workerUrl: URL;
  /** Returns the list for a worker that has just started. */
  readonly backends: () => readonly ProxyBackend[];
  /** Returns at which addresses clients are served whatever the settings name. Default: at none. */
  readonly own?: () => readonly Subnet[];
  /** Closes a listening socket that a worker was given and did not take over. */
  readonly closeListener?: ((fd: number) => void) | undefined;
  readonly onConnectFailed: (id: BackendId) => void;
  readonly onChange: () => void;
}

const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 10_000;
/** If a worker has run for this long, its end counts as a new fault and not as the same one again. */
const HEALTHY_MS = 60_000;

type State =
  | { readonly kind: "idle" }
  | { readonly kind: "running"; readonly worker: Worker; readonly sinceMs: number }
  | { readonly kind: "ended"; readonly timer: Timer }
  | { readonly kind: "stopping"; readonly worker: Worker }
  | { readonly kind: "stopped" };

/** A worker thread that is started again when it ends: after 100 ms, then ever later, 10 s at most. */
export class ProxyThread {
  readonly #deps: ProxyThreadDeps;
  #state: State = { kind: "idle" };
  #restartMs = FIRST_RESTART_MS;
  #listening: number | undefined;
  #failure: ListenFailure | undefined;
  #heartbeatMs = Number.NEGATIVE_INFINITY;
  #counters: ProxyCounters = noCounters;
  /** The counts of workers that have ended, because counters never go back. */
  #earlier: ProxyCounters = noCounters;
  #started: PromiseWithResolvers<void> | undefined;
  /** The listening socket that the worker was given and has not yet said that it listens on. */
  #handedOver: number | undefined;

  constructor(deps: ProxyThreadDeps) {
    this.#deps = deps;
  }

  /** The port while the listener accepts, otherwise undefined. */
  get listening(): number | undefined {
    // What was handed over is open, and its clients wait for the worker that is being started.
    return this.#handedOver === undefined ? this.#listening : this.#deps.settings.port;
  }

  /** Why the listener cannot be opened. undefined while it is open or not wanted. */
  get failure(): ListenFailure | undefined {
    return this.#failure;
  }

  heartbeatAgeMs(): number {
    return this.#deps.clock.now() - this.#heartbeatMs;
  }

  counters(): ProxyCounters {
    return sum([this.#earlier, this.#counters]);
  }

  /**
   * Starts the worker. `listener` is a listening socket for the worker to take over. Resolves once the listener accepts, or once it is known that it cannot yet: the worker
   * goes on trying, and a worker that ends is started again.
   */
  async start(listener?: number): Promise<void> {
    this.#started = Promise.withResolvers();
    this.#run(listener);
    await this.#started.promise;
  }

  /**
   * Sends a message. It is lost while no worker runs: a worker gets {@link ProxyThreadDeps.backends} when it
   * starts.
   */
  post(message: ToProxy): void {
    if (this.#state.kind === "running") send(this.#state.worker, message);
  }

  /** Stops accepting, gives sessions `drainMs` to end, then ends the thread. */
  async stop(drainMs: number): Promise<void> {
    this.#started?.resolve();
    if (this.#state.kind === "ended") this.#state.timer.cancel();
    if (this.#state.kind !== "running") {
      this.#state = { kind: "stopped" };
      return;
    }
    const { worker } = this.#state;
    this.#state = { kind: "stopping", worker };
    send(worker, { kind: "stop", drainMs });
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    // A worker that hangs must not hold up the agent's own end.
    const deadline = this.#deps.clock.after(drainMs + 1000, () => void worker.terminate());
    await ended;
    deadline.cancel();
    this.#state = { kind: "stopped" };
  }

  #run(listener?: number): void {
    this.#handedOver = listener;
    const { settings, share } = this.#deps;
    const workerData: ProxyWorkerData = { settings, share, listener };
    let worker: Worker;
    try {
      worker = new Worker(this.#deps.workerUrl, { workerData, name: "proxy" });
    } catch (error) {
      // The machine or the container has no process left to start (ERR_WORKER_INIT_FAILED).
      this.#ended("the proxy's worker thread cannot be started", error);
      return;
    }
    this.#state = { kind: "running", worker, sinceMs: this.#deps.clock.now() };
    this.#heartbeatMs = this.#deps.clock.now();
    this.post({ kind: "backends", backends: this.#deps.backends(), own: this.#deps.own?.() ?? [] });
    let cause: unknown;
    worker.on("message", (message: FromProxy) => this.#message(message));
    worker.on("error", (error) => (cause = error));
    worker.on("exit", (code) => this.#exited(worker, code, cause));
  }

  #exited(worker: Worker, code: number, cause: unknown): void {
    const isCurrent = this.#state.kind === "running" && this.#state.worker === worker;
    if (isCurrent) this.#ended(`the proxy's worker thread ended with code ${code}`, cause);
    else this.#forget();
  }

  #forget(): void {
    this.#earlier = withoutSessions(this.counters());
    new ConnectionCount(this.#deps.share).set(0);
    this.#counters = noCounters;
    this.#listening = undefined;
    this.#failure = undefined;
    // Otherwise its clients would wait for a worker that is gone.
    if (this.#handedOver !== undefined) this.#deps.closeListener?.(this.#handedOver);
    this.#handedOver = undefined;
  }

  /** The worker is started again later. */
  #ended(what: string, cause: unknown): void {
    this.#forget();
    const error = new LeaseholdError("LH_WORKER", what, { cause });
    const nowMs = this.#deps.clock.now();
    if (this.#state.kind === "running" && nowMs - this.#state.sinceMs >= HEALTHY_MS)
      this.#restartMs = FIRST_RESTART_MS;
    const inMs = this.#restartMs;
    this.#restartMs = Math.min(LAST_RESTART_MS, this.#restartMs * 2);
    this.#state = { kind: "ended", timer: this.#deps.clock.after(inMs, () => this.#run()) };
    this.#deps.log.error(
      { code: error.code, err: error, restartInMs: inMs },
      "The balancer's worker thread ended, the agent starts it again",
    );
    this.#started?.resolve();
    this.#deps.onChange();
  }

  #message(message: FromProxy): void {
    const { clock, log } = this.#deps;
    switch (message.kind) {
      case "heartbeat":
        this.#heartbeatMs = clock.now();
        this.#counters = message.counters;
        return;
      case "listening":
        this.#handedOver = undefined;
        this.#listening = message.port;
        this.#failure = undefined;
        this.#started?.resolve();
        this.#deps.onChange();
        return;
      case "closed":
        this.#listening = undefined;
        this.#failure = undefined;
        this.#deps.onChange();
        return;
      case "listen-failed":
        this.#failure = listenFailure(this.#deps.settings.port, message.code, message.message);
        this.#started?.resolve();
        this.#deps.onChange();
        return;
      case "connect-failed":
        this.#deps.onConnectFailed(message.id);
        log.debug(
          { backend: message.id, reason: message.reason },
          "A connection to a backend failed, trying another backend",
        );
        return;
      case "accept-failed":
        log.warn({ code: message.code }, "The balancer could not accept a connection");
        return;
    }
  }
}

function send(worker: Worker, message: ToProxy): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  worker.postMessage(message);
}
