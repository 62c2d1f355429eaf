/**
 * A node that brings trouble waits before it may become holder again: one whose link flaps, or whose mastership another one contested. Each further time
 * doubles the wait, so that a link that flaps every second moves the VIP once and not every second. Pure.
 */

/** How often it was disturbed (less one), and when it is eligible again. */
export interface Unrest {
  readonly level: number;
  readonly lastAtMs: number;
  readonly untilMs: number;
}

const FIRST_MS = 10_000;
const LONGEST_MS = 600_000;

/** min(2^k x 10 s, 10 min); a node that was calm for 10 minutes begins again with 10 s. */
export function disturbed(unrest: Unrest | null, nowMs: number): Unrest {
  const level = unrest === null || nowMs - unrest.lastAtMs >= LONGEST_MS ? 0 : unrest.level + 1;
  return { level, lastAtMs: nowMs, untilMs: nowMs + Math.min(2 ** level * FIRST_MS, LONGEST_MS) };
}
