/** What a client and the kernels saw of one fault, as numbers. Pure. */
import { failures, longestGap, longestPauseMs } from "../../support/lab/probe.ts";
import type { Attempt } from "../../support/lab/probe.ts";
import type { OwnershipTimeline } from "../../support/lab/timeline.ts";

export interface Seen {
  /** The longest distance between the send times of two answered probes. */
  readonly gapMs: number;
  /** The longest time without an answer: packets that waited somewhere and came late leave no gap. */
  readonly silenceMs: number;
  /** The longest time in which the client sent nothing. No gap can be measured finer. */
  readonly pauseMs: number;
  /** Probes without an answer. None: then the gap is the client's pause and nothing else. */
  readonly unanswered: number;
}

export function seen(attempts: readonly Attempt[]): Seen {
  return {
    gapMs: longestGap(attempts).ms,
    silenceMs: longestSilenceMs(attempts),
    pauseMs: longestPauseMs(attempts),
    unanswered: failures(attempts).length,
  };
}

/**
 * Until the last attempt of all ended: no answer at the end is a silence as well. Infinity of no answer at
 * all.
 */
function longestSilenceMs(attempts: readonly Attempt[], sinceMs?: number): number {
  const answersMs = attempts.filter(({ ok }) => ok).map(answeredMs);
  if (answersMs.length === 0) return Infinity;
  const endMs = Math.max(...attempts.map(answeredMs));
  const marks = [...(sinceMs === undefined ? [] : [sinceMs]), ...answersMs, endMs].sort((a, b) => a - b);
  return marks.reduce((worst, atMs, index) => Math.max(worst, atMs - (marks[index - 1] ?? atMs)), 0);
}

function answeredMs({ sentMs, ms }: Attempt): number {
  return sentMs + ms;
}

/** The slowest answer. */
export function slowestMs(attempts: readonly Attempt[]): number {
  return Math.max(0, ...attempts.filter(({ ok }) => ok).map(({ ms }) => ms));
}

/** The last look that found the address on `node`. undefined: it kept it, or never had it. */
export function lastHeldMs(timeline: OwnershipTimeline, node: string): number | undefined {
  const last = timeline.samples.findLastIndex(({ holders }) => holders.includes(node));
  return last === timeline.samples.length - 1 ? undefined : timeline.samples[last]?.atMs;
}

/**
 * The longest time without an answer from `fromMs` on, that moment included, to what was sent after it. Not
 * the time to the first answer: a client that has just learnt where the address was still gets one.
 */
export function silenceAfterMs(attempts: readonly Attempt[], fromMs: number): number {
  return longestSilenceMs(
    attempts.filter(({ sentMs }) => sentMs >= fromMs),
    fromMs,
  );
}

/** The longest spell with the address on more than one node; Infinity when it had not ended. */
export function longestDualMs(timeline: OwnershipTimeline): number {
  return (timeline.samples.at(-1)?.holders.length ?? 0) > 1 ? Infinity : timeline.longestDualMs();
}
