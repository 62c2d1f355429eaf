/**
 * The back-off after a wrong proof of death. No proof is believed for a minute, and each further wrong proof
 * doubles the time, because something on this wire deceives the sentinel and nobody knows what.
 */

const FIRST_BACK_OFF_MS = 60_000;
const MOST_BACK_OFF_MS = 3_600_000;
/** Milliseconds after the end of a back-off until it is forgotten. */
const FORGOTTEN_MS = 3_600_000;

/** A back-off: when it ends, and how long it is in milliseconds. */
export interface BackOff {
  readonly untilMs: number;
  readonly lengthMs: number;
}

/** Answers the back-off that a wrong proof begins. */
export function afterContradiction(before: BackOff | null, nowMs: number): BackOff {
  const forgotten = before === null || nowMs - before.untilMs >= FORGOTTEN_MS;
  const lengthMs = forgotten ? FIRST_BACK_OFF_MS : Math.min(MOST_BACK_OFF_MS, before.lengthMs * 2);
  return { untilMs: nowMs + lengthMs, lengthMs };
}

/** True while no proof is believed. */
export function isBackingOff(backOff: BackOff | null, nowMs: number): boolean {
  return backOff !== null && nowMs < backOff.untilMs;
}
