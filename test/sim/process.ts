/**
 * One machine's time and one process on it. The machine's clock runs up to 5 % fast or slow and its wall
 * clock jumps; the process may be frozen (SIGSTOP, swapping, a garbage collection, a hypervisor that runs
 * others), also in the middle of a system call.
 */
import type { Clock, Timer } from "../../src/clock.ts";
import type { Random } from "./random.ts";
import type { Planned, Scheduler } from "./scheduler.ts";

/** The machine's clocks: they go on whatever happens to processes. */
export class MachineClock {
  readonly #scheduler: Scheduler;
  readonly #originMs: number;
  /** Local milliseconds per true millisecond. */
  readonly rate: number;
  #wallMs: number;
  /**
   * How long this machine has been suspended in all, what is still to come of it included: the kernel's and
   * Node's timers do not count that time.
   */
  suspendedMs = 0;
  /** When it went on, or will. */
  resumedMs = Number.NEGATIVE_INFINITY;

  constructor(scheduler: Scheduler, rate: number, originMs: number, wallMs: number) {
    this.#scheduler = scheduler;
    this.rate = rate;
    this.#originMs = originMs;
    this.#wallMs = wallMs;
  }

  /** CLOCK_BOOTTIME of this machine at a true time. */
  bootMs(trueMs: number): number {
    return this.#originMs + trueMs * this.rate;
  }

  wallAt(trueMs: number): Date {
    return new Date(Math.floor(this.#wallMs + trueMs * this.rate));
  }

  stepWall(byMs: number): void {
    this.#wallMs += byMs;
  }

  /** True time after `localMs` of this machine from `fromTrueMs`. */
  trueAfter(fromTrueMs: number, localMs: number): number {
    return fromTrueMs + localMs / this.rate;
  }

  get trueNowMs(): number {
    return this.#scheduler.nowMs;
  }

  get suspended(): boolean {
    return this.#scheduler.nowMs < this.resumedMs;
  }

  /**
   * The machine stops, its kernel included; CLOCK_BOOTTIME and the wall clock are found advanced afterwards.
   */
  suspend(forMs: number): void {
    this.suspendedMs += forMs;
    this.resumedMs = this.#scheduler.nowMs + forMs;
  }
}

type Life =
  | { readonly kind: "running" }
  | { readonly kind: "paused"; readonly untilMs: number }
  | { readonly kind: "dead" };

class ProcessTimer implements Timer {
  readonly callback: () => void;
  readonly quiet: boolean;
  /** True time; what the machine is suspended from now on comes on top of it. */
  dueMs = 0;
  /** How long the machine had been suspended when the time above was worked out. */
  suspendedMs = 0;
  planned: Planned | undefined;
  cancelled = false;

  constructor(callback: () => void, quiet: boolean) {
    this.callback = callback;
    this.quiet = quiet;
  }

  cancel(): void {
    this.cancelled = true;
    if (this.planned !== undefined) this.planned.cancelled = true;
  }
}

export class SimProcess implements Clock {
  readonly #scheduler: Scheduler;
  readonly #machine: MachineClock;
  readonly #random: Random;
  readonly #onRun: () => void;
  readonly #onThrow: (error: unknown) => void;
  #life: Life = { kind: "running" };
  /** Callbacks that came due while the process was frozen; they run late, in order. */
  #backlog: (() => void)[] = [];
  #thawedMs = Number.NEGATIVE_INFINITY;
  /** Something came of a callback of {@link quiet}. */
  #stirred = false;
  /** How far this process is ahead of the world: it was frozen within the callback that runs now. */
  #leadMs = 0;

  constructor(
    scheduler: Scheduler,
    machine: MachineClock,
    random: Random,
    onRun: () => void,
    onThrow: (error: unknown) => void,
  ) {
    this.#scheduler = scheduler;
    this.#machine = machine;
    this.#random = random;
    this.#onRun = onRun;
    this.#onThrow = onThrow;
  }

  get running(): boolean {
    return this.#life.kind === "running";
  }

  /** It has just thawed, and what came due meanwhile has not all run yet. */
  get catchingUp(): boolean {
    return this.#thawedMs === this.#scheduler.nowMs;
  }

  get alive(): boolean {
    return this.#life.kind !== "dead";
  }

  /** True time as this process lives it. Later than the world's while it is frozen within a call. */
  get trueMs(): number {
    return this.#scheduler.nowMs + this.#leadMs;
  }

  now(): number {
    return this.#machine.bootMs(this.trueMs);
  }

  wall(): Date {
    return this.#machine.wallAt(this.trueMs);
  }

  after(delayMs: number, callback: () => void): Timer {
    const timer = new ProcessTimer(callback, false);
    this.#arm(timer, delayMs, () => this.#due(timer));
    return timer;
  }

  alongside(delayMs: number, callback: () => void): Timer {
    return this.after(delayMs, callback);
  }

  every(intervalMs: number, callback: () => void): Timer {
    return this.#every(intervalMs, callback, false);
  }

  /**
   * The same clock for something that wakes up many times in a second, mostly for nothing, and calls {@link
   * stir} when it is not for nothing.
   */
  quiet(): Clock {
    return {
      now: () => this.now(),
      wall: () => this.wall(),
      after: (delayMs, callback) => this.after(delayMs, callback),
      alongside: (delayMs, callback) => this.after(delayMs, callback),
      every: (ms, callback) => this.#every(ms, callback, true),
    };
  }

  stir(): void {
    this.#stirred = true;
  }

  /** Runs `callback` in this process: now, when it thaws, or never when it is dead. */
  deliver(callback: () => void): void {
    switch (this.#life.kind) {
      case "dead":
        return;
      case "paused":
        this.#backlog.push(callback);
        return;
      case "running":
        return this.#run(callback);
    }
  }

  /** Freezes the process. Longer of two pauses wins. */
  pause(untilMs: number): void {
    if (this.#life.kind === "dead") return;
    if (this.#life.kind === "paused" && this.#life.untilMs >= untilMs) return;
    this.#life = { kind: "paused", untilMs };
    this.#scheduler.at(untilMs, () => this.#thaw());
  }

  /** The process is frozen inside the call that it is in; the rest of the callback runs `forMs` later. */
  stall(forMs: number): void {
    this.#leadMs += forMs;
  }

  /** SIGKILL: nothing of it runs any more. */
  kill(): void {
    this.#life = { kind: "dead" };
    this.#backlog = [];
  }

  /**
   * Called when the microtasks of the last callback have run: a stall within it becomes an ordinary pause for
   * everything else.
   */
  settleStall(): void {
    if (this.#leadMs === 0) return;
    const untilMs = this.trueMs;
    this.#leadMs = 0;
    this.pause(untilMs);
  }

  #every(intervalMs: number, callback: () => void, quiet: boolean): Timer {
    const again = (): void => {
      this.#arm(timer, intervalMs, due);
      callback();
    };
    const timer = new ProcessTimer(again, quiet);
    const due = (): void => this.#due(timer);
    this.#arm(timer, intervalMs, due);
    return timer;
  }

  #arm(timer: ProcessTimer, delayMs: number, due: () => void): void {
    // Node's timers are late by a fraction of a millisecond, or by what runs before them; never early.
    const lateMs = this.#random.between(0, 2);
    timer.dueMs = this.#machine.trueAfter(this.trueMs, Math.max(0, delayMs)) + lateMs;
    timer.suspendedMs = this.#machine.suspendedMs;
    timer.planned = this.#scheduler.at(timer.dueMs, due);
  }

  #due(timer: ProcessTimer): void {
    const { suspendedMs } = this.#machine;
    if (suspendedMs > timer.suspendedMs) {
      timer.dueMs += suspendedMs - timer.suspendedMs;
      timer.suspendedMs = suspendedMs;
      timer.planned = this.#scheduler.at(timer.dueMs, () => this.#due(timer));
      return;
    }
    if (timer.quiet && this.running && !timer.cancelled) return this.#runQuietly(timer.callback);
    this.deliver(() => {
      if (!timer.cancelled) timer.callback();
    });
  }

  #thaw(): void {
    if (this.#life.kind !== "paused" || this.#life.untilMs > this.#scheduler.nowMs) return;
    this.#life = { kind: "running" };
    this.#thawedMs = this.#scheduler.nowMs;
    const backlog = this.#backlog;
    this.#backlog = [];
    // Each in an event of its own, so that promises settle in between; those not yet run are caught by the
    // next pause.
    for (const callback of backlog) this.#scheduler.after(0, () => this.deliver(callback));
  }

  #runQuietly(callback: () => void): void {
    this.#stirred = false;
    try {
      callback();
    } catch (error) {
      this.#onThrow(error);
    }
    if (this.#stirred) this.#onRun();
    else this.#scheduler.nothingHappened();
  }

  #run(callback: () => void): void {
    this.#onRun();
    try {
      callback();
    } catch (error) {
      this.#onThrow(error);
    }
  }
}
