/** What probes saw: the gaps in their answers, for a person to read. Pure. */
import { duration } from "../recorder/explain.ts";

/** One try of a probe. */
export interface Attempt {
  /** Monotonic ms. */
  readonly sentMs: number;
  /** Milliseconds until the answer or the failure. */
  readonly ms: number;
  /** Why there was no answer; "" for an answer. */
  readonly error: string;
}

/** Attempts one after the other that failed or waited. */
export interface ClientGap {
  /** Milliseconds from the beginning of the move to the first of these attempts. */
  readonly afterMs: number;
  /** Milliseconds from the first of these attempts to the next one that was answered at once. */
  readonly lastedMs: number;
  readonly attempts: number;
  /** Longest time that one of these attempts waited, ms. */
  readonly longestWaitMs: number;
  /** How they failed, each once; empty where all were answered in the end. */
  readonly errors: readonly string[];
}

export interface Seen {
  readonly probe: string;
  readonly sent: number;
  readonly answered: number;
  /** ms; 0 without an attempt. */
  readonly longestWaitMs: number;
  readonly gaps: readonly ClientGap[];
}

/** An answer that takes longer than this, ms, is part of a gap. A TLS handshake on a busy machine takes less. */
export const SLOW_MS = 250;

/** @param attempts those of one probe in one move, in the order in which they were sent */
export function seen(probe: string, attempts: readonly Attempt[], beganMs: number, endedMs: number): Seen {
  const gaps: ClientGap[] = [];
  let bad: Attempt[] = [];
  const close = (untilMs: number): void => {
    const [first] = bad;
    if (first === undefined) return;
    gaps.push({
      afterMs: first.sentMs - beganMs,
      lastedMs: untilMs - first.sentMs,
      attempts: bad.length,
      longestWaitMs: longest(bad),
      errors: [...new Set(bad.map(({ error }) => error).filter((error) => error !== ""))].toSorted(),
    });
    bad = [];
  };
  for (const attempt of attempts) {
    if (attempt.error !== "" || attempt.ms > SLOW_MS) bad.push(attempt);
    else close(attempt.sentMs);
  }
  close(Math.max(endedMs, bad.at(-1)?.sentMs ?? endedMs));
  return {
    probe,
    sent: attempts.length,
    answered: attempts.filter(({ error }) => error === "").length,
    longestWaitMs: longest(attempts),
    gaps,
  };
}

const longest = (attempts: readonly Attempt[]): number => Math.max(0, ...attempts.map(({ ms }) => ms));

/** One sentence for a gap. */
export function gapText({ afterMs, lastedMs, attempts, longestWaitMs, errors }: ClientGap): string {
  const how = errors.length === 0 ? "answered late" : errors.join(", ");
  return `${duration(lastedMs)} long, ${duration(afterMs)} after the wish: ${attempts} ${attempts === 1 ? "attempt" : "attempts"}, ${how}, the longest waited ${duration(longestWaitMs)}`;
}

/** What clients saw, in one line for each probe. */
export function seenText(all: readonly Seen[]): string {
  return all
    .map(
      ({ probe, sent, answered, longestWaitMs, gaps }) =>
        `  ${probe}: ${answered} of ${sent} answered, the longest waited ${duration(longestWaitMs)}\n${gaps.map((gap) => `    gap: ${gapText(gap)}\n`).join("")}`,
    )
    .join("");
}
