/**
 * Time, as a parameter. Everything above `linux/` measures with {@link Clock.now}; only
 * times that people or the API server read (`renewTime`, logs) come from {@link Clock.wall}.
 */

export interface Timer {
  /** Idempotent. After it returns, the callback does not run any more. */
  cancel(): void;
}

export interface Clock {
  /**
   * Monotonic milliseconds, fractional, from an arbitrary origin of this machine.
   * The real one reads CLOCK_BOOTTIME, which goes on while the machine is suspended: a
   * virtual machine that was paused finds its deadlines passed (CLOCK_MONOTONIC would not).
   */
  now(): number;
  /** Wall-clock time; may jump. Never compared with another node's, nor used for a deadline. */
  wall(): Date;
  /** Runs `callback` once, not before `delayMs` have passed. */
  after(delayMs: number, callback: () => void): Timer;
  /** Runs `callback` every `intervalMs`, up to 10 ms sooner after a late run (see {@link Beat}); runs that would overlap a late one are dropped, not queued. */
  every(intervalMs: number, callback: () => void): Timer;
}

/** An interval is kept to the coarsest of these that divides it. */
const GRIDS_MS = [100, 50] as const;
/** Timers count whole milliseconds, and the loop may be busy: a run that is this much late does not cost the next one its place on the grid. */
export const EARLY_MS = 10;
/** What is due within this runs now: it would wake us again at once. */
const SOON_MS = 2;

interface Task {
  readonly intervalMs: number;
  readonly gridMs: number;
  readonly callback: () => void;
  dueMs: number;
}

/**
 * Periodic work of one thread on one beat: tasks of 50, 100 or 1000 ms run in the same turn of the event loop, because what costs is waking up. A
 * sleeping Node that is woken takes some 0.15 ms of a processor, many times what the tasks themselves take.
 */
export interface Beat {
  /** undefined for an interval that fits no grid. */
  every(intervalMs: number, callback: () => void): Timer | undefined;
}

/** @param after as Clock.after */
export function createBeat({ now, after }: Pick<Clock, "now" | "after">): Beat {
  const originMs = now();
  const tasks = new Set<Task>();
  let timer: Timer | undefined;
  let armedMs = Number.POSITIVE_INFINITY;

  /** The first place on the grid for which the interval is over, but for {@link EARLY_MS}. */
  function nextDue(intervalMs: number, gridMs: number, nowMs: number): number {
    return originMs + Math.ceil((nowMs + intervalMs - EARLY_MS - originMs) / gridMs) * gridMs;
  }

  function arm(): void {
    const dueMs = Math.min(...[...tasks].map((task) => task.dueMs));
    if (timer !== undefined && armedMs === dueMs) return;
    timer?.cancel();
    armedMs = dueMs;
    timer = tasks.size === 0 ? undefined : after(Math.ceil(dueMs - now()), run);
  }

  function run(): void {
    timer = undefined;
    const nowMs = now();
    try {
      // A set's iteration passes by those that another one cancels; whom another one starts is not due yet.
      for (const task of tasks) {
        if (task.dueMs > nowMs + SOON_MS) continue;
        task.dueMs = nextDue(task.intervalMs, task.gridMs, nowMs);
        task.callback();
      }
    } finally {
      arm();
    }
  }

  return {
    every(intervalMs, callback) {
      const gridMs = GRIDS_MS.find((grid) => intervalMs > 0 && intervalMs % grid === 0);
      if (gridMs === undefined) return undefined;
      const task: Task = { intervalMs, gridMs, callback, dueMs: nextDue(intervalMs, gridMs, now()) };
      tasks.add(task);
      arm();
      return {
        cancel() {
          if (tasks.delete(task)) arm();
        },
      };
    },
  };
}

/** The machine's clock. `bootTimeMs` is CLOCK_BOOTTIME in milliseconds (see `linux/libc.ts`). */
export function systemClock(bootTimeMs: () => number): Clock {
  const after: Clock["after"] = (delayMs, callback) => {
    const handle = setTimeout(callback, Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  };
  const beat = createBeat({ now: bootTimeMs, after });
  return {
    now: bootTimeMs,
    wall: () => new Date(),
    after,
    every(intervalMs, callback) {
      const timer = beat.every(intervalMs, callback);
      if (timer !== undefined) return timer;
      const handle = setInterval(callback, intervalMs);
      return { cancel: () => clearInterval(handle) };
    },
  };
}
