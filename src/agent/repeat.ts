/** Warns again and again while something is wrong, so that a later reader of the log need not search. */
import type { Clock } from "../clock.ts";

const LOOK_MS = 5_000;
/** Number of looks between two warnings, half a minute. */
const REPEAT = 6;

/**
 * Looks every 5 s, warns at the first look that finds something and then every half minute, and tells once
 * when it is over.
 * @param deps.look what is wrong; null: nothing is; undefined: it is too early to say
 */
export function repeatWarning<T>(deps: {
  readonly clock: Pick<Clock, "every">;
  readonly look: () => T | null | undefined;
  readonly warn: (found: T) => void;
  readonly over: () => void;
}): { close(): void } {
  let looks = 0;
  const timer = deps.clock.every(LOOK_MS, () => {
    const found = deps.look();
    if (found === undefined) return;
    if (found === null) {
      if (looks > 0) deps.over();
      looks = 0;
    } else if (looks++ % REPEAT === 0) {
      deps.warn(found);
    }
  });
  return { close: () => timer.cancel() };
}
