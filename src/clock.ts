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
  /** Runs `callback` every `intervalMs`; runs that would overlap a late one are dropped, not queued. */
  every(intervalMs: number, callback: () => void): Timer;
}

/** The machine's clock. `bootTimeMs` is CLOCK_BOOTTIME in milliseconds (see `linux/libc.ts`). */
export function systemClock(bootTimeMs: () => number): Clock {
  return {
    now: bootTimeMs,
    wall: () => new Date(),
    after(delayMs, callback) {
      const handle = setTimeout(callback, Math.max(0, delayMs));
      return { cancel: () => clearTimeout(handle) };
    },
    every(intervalMs, callback) {
      const handle = setInterval(callback, intervalMs);
      return { cancel: () => clearInterval(handle) };
    },
  };
}
