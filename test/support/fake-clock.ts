/**
 * A clock that moves only when told to. Timers run in order of their due time (ties in the order in which
 * they were set), each with `now()` at the time it is due, unless the process was "paused" by {@link
 * FakeClock.jump}.
 */
import type { Clock, Timer } from "../../src/clock.ts";

interface Pending {
  dueMs: number;
  readonly sequence: number;
  readonly intervalMs: number | undefined;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #nowMs: number;
  readonly #wallOriginMs: number;
  readonly #originMs: number;
  #sequence = 0;
  readonly #pending = new Set<Pending>();

  /** `nowMs` starts away from zero, so that code which takes 0 for "never" shows. */
  constructor(nowMs = 1_000_000, wall = new Date("2026-01-01T00:00:00.000Z")) {
    this.#nowMs = nowMs;
    this.#originMs = nowMs;
    this.#wallOriginMs = wall.getTime();
  }

  now(): number {
    return this.#nowMs;
  }

  wall(): Date {
    return new Date(this.#wallOriginMs + (this.#nowMs - this.#originMs));
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#add(Math.max(0, delayMs), undefined, callback);
  }

  every(intervalMs: number, callback: () => void): Timer {
    if (!(intervalMs > 0)) throw new RangeError(`an interval is positive, not ${intervalMs}`);
    return this.#add(intervalMs, intervalMs, callback);
  }

  alongside(delayMs: number, callback: () => void): Timer {
    return this.after(delayMs, callback);
  }

  /** How many timers are set; a stopped component leaves none. */
  get pendingTimers(): number {
    return this.#pending.size;
  }

  /** Lets `ms` pass and runs every timer that falls due, also those that the callbacks set. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#next(endMs);
      if (next === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      this.#run(next);
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  /**
   * The process was stopped (SIGSTOP, a paused virtual machine) for `ms`: time passes, nothing runs. The
   * timers that fell due meanwhile run late, at the next {@link advance}, with `now()` after the pause.
   */
  jump(ms: number): void {
    this.#nowMs += ms;
  }

  #add(delayMs: number, intervalMs: number | undefined, callback: () => void): Timer {
    const pending: Pending = {
      dueMs: this.#nowMs + delayMs,
      sequence: this.#sequence++,
      intervalMs,
      callback,
    };
    this.#pending.add(pending);
    return { cancel: () => void this.#pending.delete(pending) };
  }

  #next(endMs: number): Pending | undefined {
    let best: Pending | undefined;
    for (const pending of this.#pending) {
      if (pending.dueMs > endMs) continue;
      const earlier =
        best === undefined ||
        pending.dueMs < best.dueMs ||
        (pending.dueMs === best.dueMs && pending.sequence < best.sequence);
      if (earlier) best = pending;
    }
    return best;
  }

  #run(pending: Pending): void {
    if (pending.intervalMs === undefined) {
      this.#pending.delete(pending);
    } else {
      // As setInterval does: runs missed during a pause are dropped, not queued.
      pending.dueMs = this.#nowMs + pending.intervalMs;
    }
    pending.callback();
  }
}
