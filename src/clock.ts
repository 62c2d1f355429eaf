/**
 * Time, as a parameter. Everything above `linux/` measures with {@link Clock.now}; only times that people or
 * the API server read (`renewTime`, logs) come from {@link Clock.wall}.
 */

export interface Timer {
  /** Idempotent. After it returns, the callback does not run any more. */
  cancel(): void;
}

export interface Clock {
  /**
   * Monotonic milliseconds, fractional, from an arbitrary origin of this machine. The real one reads
   * CLOCK_BOOTTIME, which goes on while the machine is suspended: a virtual machine that was paused finds its
   * deadlines passed (CLOCK_MONOTONIC would not).
   */
  now(): number;
  /** Wall-clock time; may jump. Never compared with another node's, nor used for a deadline. */
  wall(): Date;
  /** Runs `callback` once, not before `delayMs` have passed. */
  after(delayMs: number, callback: () => void): Timer;
  /**
   * Runs `callback` every `intervalMs`. After a late run the next one may come up to 10 ms sooner, see {@link
   * CoalescedTimers}. A run that would overlap a late one is dropped and not queued.
   */
  every(intervalMs: number, callback: () => void): Timer;
  /**
   * Runs `callback` once, in a turn of the event loop that periodic work has anyway: when `delayMs` have passed,
   * less up to 10 ms, or within the next 100 ms. Work that comes back like this every {@link ALONGSIDE_MS}, or a
   * multiple of it, keeps that interval.
   */
  alongside(delayMs: number, callback: () => void): Timer;
}

/** Resolves once, not before `delayMs` have passed. */
export function pause(clock: Pick<Clock, "after">, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve));
}

/** Milliseconds between two points of a grid. A task uses the coarsest grid that divides its interval. */
const GRIDS_MS = [100, 50] as const;
/** Milliseconds between two turns in which {@link Clock.alongside} runs its work. */
export const ALONGSIDE_MS = GRIDS_MS[0];
/**
 * Milliseconds that a run may be late without costing the next run its place on the grid: timers count whole
 * milliseconds, and the loop may be busy.
 */
export const EARLY_MS = 10;
/** A task that is due within so many milliseconds runs now. It would wake the loop again at once. */
const SOON_MS = 2;

interface Task {
  /** undefined: the task runs once. */
  readonly intervalMs: number | undefined;
  readonly gridMs: number;
  readonly callback: () => void;
  dueMs: number;
}

/**
 * Coalesced timers run the periodic tasks of one thread together: tasks of 50, 100 or 1000 ms share a turn of
 * the event loop. Waking up is what costs: a sleeping Node that is woken takes some 0.15 ms of a processor,
 * many times what the tasks themselves take.
 */
export interface CoalescedTimers {
  /** Runs `callback` every `intervalMs`. Answers undefined for an interval that fits no grid. */
  every(intervalMs: number, callback: () => void): Timer | undefined;
  /** Runs `callback` once. It has the meaning of {@link Clock.alongside}. */
  once(delayMs: number, callback: () => void): Timer;
}

/** Creates timers on the given clock. @param after has the meaning of {@link Clock.after} */
export function createCoalescedTimers({ now, after }: Pick<Clock, "now" | "after">): CoalescedTimers {
  const originMs = now();
  const tasks = new Set<Task>();
  let timer: Timer | undefined;
  let armedMs = Number.POSITIVE_INFINITY;

  /** Answers the first point of the grid at which the interval is over, less {@link EARLY_MS}. */
  function nextDue(intervalMs: number, gridMs: number, nowMs: number): number {
    return originMs + Math.ceil((nowMs + intervalMs - EARLY_MS - originMs) / gridMs) * gridMs;
  }

  function arm(): void {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const task of tasks) dueMs = Math.min(dueMs, task.dueMs);
    if (timer !== undefined && armedMs === dueMs) return;
    timer?.cancel();
    armedMs = dueMs;
    timer = tasks.size === 0 ? undefined : after(Math.ceil(dueMs - now()), run);
  }

  function run(): void {
    timer = undefined;
    const nowMs = now();
    try {
      // The iteration skips a task that another task cancels. A task that another task starts is not due yet.
      for (const task of tasks) {
        if (task.dueMs > nowMs + SOON_MS) continue;
        if (task.intervalMs === undefined) tasks.delete(task);
        else task.dueMs = nextDue(task.intervalMs, task.gridMs, nowMs);
        task.callback();
      }
    } finally {
      arm();
    }
  }

  function start(task: Task): Timer {
    tasks.add(task);
    arm();
    return {
      cancel() {
        if (tasks.delete(task)) arm();
      },
    };
  }

  return {
    every(intervalMs, callback) {
      const gridMs = GRIDS_MS.find((grid) => intervalMs > 0 && intervalMs % grid === 0);
      if (gridMs === undefined) return undefined;
      return start({ intervalMs, gridMs, callback, dueMs: nextDue(intervalMs, gridMs, now()) });
    },
    once(delayMs, callback) {
      // A task that another task starts must not run in the same turn, or it could start itself for ever.
      const dueMs = nextDue(Math.max(delayMs, EARLY_MS + SOON_MS + 1), ALONGSIDE_MS, now());
      return start({ intervalMs: undefined, gridMs: ALONGSIDE_MS, callback, dueMs });
    },
  };
}

/** The machine's clock. `bootTimeMs` is CLOCK_BOOTTIME in milliseconds (see `linux/libc.ts`). */
export function systemClock(bootTimeMs: () => number): Clock {
  const after: Clock["after"] = (delayMs, callback) => {
    const handle = setTimeout(callback, Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  };
  const coalesced = createCoalescedTimers({ now: bootTimeMs, after });
  return {
    now: bootTimeMs,
    wall: () => new Date(),
    after,
    every(intervalMs, callback) {
      const timer = coalesced.every(intervalMs, callback);
      if (timer !== undefined) return timer;
      const handle = setInterval(callback, intervalMs);
      return { cancel: () => clearInterval(handle) };
    },
    alongside: (delayMs, callback) => coalesced.once(delayMs, callback),
  };
}
