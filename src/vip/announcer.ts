/**
 * Decides when to announce: 0, 0.25, 1, 2 and 5 s after the VIP was bound, then at a long interval for
 * switches that forget.
 */
import type { Clock, Timer } from "../clock.ts";

/**
 * The first announcement reaches most neighbours. The others reach neighbours that missed it (a switch port
 * was still learning, a queue was full), and neighbours that heard the old holder's last announcement after
 * ours. keepalived sends five frames at once and five more after 5 s, but the frames of a burst are lost
 * together.
 */
const SCHEDULE_MS = [0, 250, 1000, 2000, 5000];

export interface AnnouncerDeps {
  readonly clock: Clock;
  /** Milliseconds between two announcements after the schedule. */
  readonly refreshMs: number;
  readonly send: () => void;
}

export interface Announcer {
  /** Restarts the schedule. The first announcement is sent before this returns. */
  start(): void;
  stop(): void;
}

export function createAnnouncer(deps: AnnouncerDeps): Announcer {
  const { clock, refreshMs, send } = deps;
  let timer: Timer | undefined;

  function arm(startMs: number, step: number): void {
    const dueMs = startMs + dueAfter(step);
    timer = clock.after(dueMs - clock.now(), () => {
      // After a pause several are overdue. One announcement says the same as all of them.
      let next = step + 1;
      while (startMs + dueAfter(next) <= clock.now()) next++;
      arm(startMs, next);
      send();
    });
  }

  function dueAfter(step: number): number {
    const last = SCHEDULE_MS.length - 1;
    return SCHEDULE_MS[step] ?? (SCHEDULE_MS[last] ?? 0) + (step - last) * refreshMs;
  }

  return {
    start() {
      timer?.cancel();
      arm(clock.now(), 1);
      send();
    },
    stop() {
      timer?.cancel();
      timer = undefined;
    },
  };
}
