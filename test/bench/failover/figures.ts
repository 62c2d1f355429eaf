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
  return { gapMs: longestGap(attempts).ms, silenceMs: longestSilenceMs(attempts), pauseMs: longestPauseMs(attempts), unanswered: failures(attempts).length };
}

/** Until the last attempt of all ended: no answer at the end is a silence as well. Infinity of no answer at all. */
function longestSilenceMs(attempts: readonly Attempt[]): number {
  const answersMs = attempts.filter(({ ok }) => ok).map(answeredMs);
  if (answersMs.length === 0) return Infinity;
  const endMs = Math.max(...attempts.map(answeredMs));
  return [...answersMs, endMs].sort((a, b) => a - b).reduce((worst, atMs, index, all) => Math.max(worst, atMs - (all[index - 1] ?? atMs)), 0);
}

function answeredMs({ sentMs, ms }: Attempt): number {
  return sentMs + ms;
}

/** The slowest answer. */
export function slowestMs(attempts: readonly Attempt[]): number {
  return Math.max(0, ...attempts.filter(({ ok }) => ok).map(({ ms }) => ms));
}

/** When `node` lost the address: the last look that found it there, the first that did not. undefined: it kept it, or never had it. */
export function droppedBy(timeline: OwnershipTimeline, node: string): { readonly heldMs: number; readonly goneMs: number } | undefined {
  const last = timeline.samples.findLastIndex(({ holders }) => holders.includes(node));
  const held = timeline.samples[last];
  const gone = timeline.samples[last + 1];
  return held === undefined || gone === undefined ? undefined : { heldMs: held.atMs, goneMs: gone.atMs };
}

/**
 * From the address's end on the dead node to the first answer to what was sent after it. Between two looks it counts from the earlier one: never
 * shorter than it was.
 */
export function answerAfterDropMs(attempts: readonly Attempt[], { heldMs, goneMs }: { readonly heldMs: number; readonly goneMs: number }): number {
  return Math.min(...attempts.filter(({ sentMs, ok }) => ok && sentMs >= goneMs).map(answeredMs)) - heldMs;
}

/** The longest spell with the address on more than one node; Infinity when it had not ended. */
export function longestDualMs(timeline: OwnershipTimeline): number {
  return (timeline.samples.at(-1)?.holders.length ?? 0) > 1 ? Infinity : timeline.longestDualMs();
}
