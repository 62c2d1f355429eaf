/**
 * Schedules the health checks: each backend is probed at its interval, and at once when something says that
 * it changed.
 */
import { ALONGSIDE_MS, type Clock, type Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Backend, BackendId } from "./backend.ts";
import type { CheckResult } from "./pool.ts";
import { Probe, type CheckTls, type ProbeOutcome } from "./probe.ts";

/** The settings of the health checks. Times are milliseconds. */
export interface HealthSettings {
  readonly checkPath: string;
  readonly checkIntervalMs: number;
  readonly checkTimeoutMs: number;
}

export interface HealthDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: HealthSettings;
  /** Returns the credentials now in force. undefined while there are none. */
  readonly tls: () => CheckTls | undefined;
  readonly onResult: (id: BackendId, result: CheckResult) => void;
}

/**
 * Least time from one signal to the next check. Without it a server that answers and then closes would be
 * probed without pause. The first signal is always followed at once.
 */
const SIGNAL_GAP_MS = 100;

/** The health checks of all backends. */
export class Health {
  readonly #deps: HealthDeps;
  readonly #checkers = new Map<BackendId, Checker>();

  constructor(deps: HealthDeps) {
    this.#deps = deps;
  }

  /** Checks these backends from now on, new ones at once. */
  setBackends(backends: readonly Backend[]): void {
    const ids = new Set(backends.map((backend) => backend.id));
    for (const [id, checker] of this.#checkers) {
      if (ids.has(id)) continue;
      checker.stop();
      this.#checkers.delete(id);
    }
    for (const backend of backends) {
      if (!this.#checkers.has(backend.id)) this.#checkers.set(backend.id, new Checker(this.#deps, backend));
    }
  }

  /** Checks that backend now, because a connection to it failed or its machine came or went. */
  probeNow(id: BackendId): void {
    this.#checkers.get(id)?.signal();
  }

  /** Tells that the credentials have changed. Every check connection is opened again with them, at once. */
  updateTls(): void {
    for (const checker of this.#checkers.values()) checker.updateTls();
  }

  stop(): void {
    this.setBackends([]);
  }
}

type Phase =
  | { readonly kind: "waiting"; readonly timer: Timer }
  /** `again`: something happened since this check began, so its result may be out of date. */
  | { readonly kind: "checking"; again: boolean }
  | { readonly kind: "stopped" };

class Checker {
  readonly #deps: HealthDeps;
  readonly #backend: Backend;
  readonly #probe: Probe;
  #phase: Phase = { kind: "stopped" };
  #startedMs = Number.NEGATIVE_INFINITY;
  #signalledMs = Number.NEGATIVE_INFINITY;
  #warning: ProbeOutcome["warning"];

  constructor(deps: HealthDeps, backend: Backend) {
    this.#deps = deps;
    this.#backend = backend;
    this.#probe = new Probe({
      clock: deps.clock,
      backend,
      path: deps.settings.checkPath,
      timeoutMs: deps.settings.checkTimeoutMs,
      tls: deps.tls,
      onClosed: () => this.signal(),
    });
    this.#run();
  }

  signal(): void {
    switch (this.#phase.kind) {
      case "stopped":
        return;
      case "checking":
        this.#phase.again = true;
        return;
      case "waiting": {
        this.#phase.timer.cancel();
        const nowMs = this.#deps.clock.now();
        const inMs = this.#signalledMs + SIGNAL_GAP_MS - nowMs;
        if (inMs > 0) {
          this.#wait(inMs, () => this.#signalled());
        } else {
          this.#signalled();
        }
      }
    }
  }

  updateTls(): void {
    if (this.#phase.kind === "stopped") return;
    this.#probe.reset();
    this.signal();
  }

  stop(): void {
    if (this.#phase.kind === "waiting") this.#phase.timer.cancel();
    this.#phase = { kind: "stopped" };
    this.#probe.close();
  }

  #signalled(): void {
    this.#signalledMs = this.#deps.clock.now();
    this.#run();
  }

  #wait(ms: number, then: () => void): void {
    this.#phase = { kind: "waiting", timer: this.#deps.clock.after(Math.max(0, ms), then) };
  }

  /** The checks of all backends share a wake-up of this thread, as their answers mostly do. */
  #waitForNext(): void {
    const { clock, settings } = this.#deps;
    const { checkIntervalMs } = settings;
    const ms = this.#startedMs + checkIntervalMs - clock.now();
    const run = (): void => this.#run();
    if (ms <= 0 || checkIntervalMs % ALONGSIDE_MS !== 0) this.#wait(ms, run);
    else this.#phase = { kind: "waiting", timer: clock.alongside(ms, run) };
  }

  #run(): void {
    this.#startedMs = this.#deps.clock.now();
    const phase = { kind: "checking" as const, again: false };
    this.#phase = phase;
    void this.#check(phase);
  }

  async #check(phase: Phase & { readonly kind: "checking" }): Promise<void> {
    const outcome = await this.#probe.check();
    // If the checker was stopped meanwhile, the result is dropped.
    if (this.#phase === phase) this.#finished(outcome, phase.again);
  }

  #finished(outcome: ProbeOutcome, again: boolean): void {
    const durationMs = this.#deps.clock.now() - this.#startedMs;
    if (again) this.#wait(SIGNAL_GAP_MS, () => this.#signalled());
    else this.#waitForNext();
    const answered = outcome.kind === "ready" || outcome.kind === "denied";
    if (answered && outcome.warning !== this.#warning) {
      this.#warning = outcome.warning;
      this.#warn(outcome);
    }
    this.#deps.log.debug(
      { backend: this.#backend.id, result: outcome.kind, reason: outcome.reason, durationMs },
      "Backend checked",
    );
    const { kind, reason, verified = false } = outcome;
    this.#deps.onResult(this.#backend.id, { kind, reason, durationMs, verified });
  }

  #warn(outcome: ProbeOutcome): void {
    const fields = { backend: this.#backend.id, reason: outcome.reason };
    switch (outcome.warning) {
      case "forbidden":
        this.#deps.log.warn(
          {
            ...fields,
            path: this.#deps.settings.checkPath,
            hint: "Apply manifests/rbac.yaml (for workers manifests/worker-rbac.yaml too): the agent's user may then read this path. Until then an API server that would answer 500 counts as ready.",
          },
          "The API server forbids its readiness check, taking it as ready unless it has just started",
        );
        return;
      case "unauthorized":
        this.#deps.log.warn(
          fields,
          "The API server refuses our credentials on its readiness check, taking it as ready unless it has just started",
        );
        return;
      case "unverified":
        this.#deps.log.warn(fields, "No credentials to check the API server with, trying only TCP and TLS");
        return;
      case undefined:
        this.#deps.log.info(fields, "The API server is checked in full again");
    }
  }
}
