/** After a proof of death that was wrong none is believed for a minute, and for twice as long each time: something here deceives us, and we do not know what. */
const FIRST_MS = 60_000;
const MOST_MS = 3_600_000;
/** So long after the end of a back-off it is forgotten. */
const FORGOTTEN_MS = 3_600_000;

export interface BackOff {
  readonly untilMs: number;
  readonly lengthMs: number;
}

export function afterContradiction(before: BackOff | null, nowMs: number): BackOff {
  const forgotten = before === null || nowMs - before.untilMs >= FORGOTTEN_MS;
  const lengthMs = forgotten ? FIRST_MS : Math.min(MOST_MS, before.lengthMs * 2);
  return { untilMs: nowMs + lengthMs, lengthMs };
}

export function isBackingOff(backOff: BackOff | null, nowMs: number): boolean {
  return backOff !== null && nowMs < backOff.untilMs;
}
