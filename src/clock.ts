/**
 * Time, as a parameter. Everything above `linux/` measures with {@link Clock.now}; only
 * times that people or the API server read (`renewTime`, logs) come from {@link Clock.wall}.
 */
import { createBeat } from "./beat.ts";

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
  /** Runs `callback` every `intervalMs`, up to 10 ms sooner after a late run (see `beat.ts`); runs that would overlap a late one are dropped, not queued. */
  every(intervalMs: number, callback: () => void): Timer;
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
