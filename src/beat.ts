/**
 * Periodic work of one thread on one beat: tasks of 50, 100 or 1000 ms run in the same turn of the event loop, because what costs is waking up. A
 * sleeping Node that is woken takes some 0.15 ms of a processor, many times what the tasks themselves take.
 */
import type { Clock, Timer } from "./clock.ts";

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
