/**
 * What the two watchers that send ICMP echoes have in common: the sentinel, which watches the VIP's holder,
 * and the host liveness check, which watches the machines of the API servers. Pure.
 *
 * Both must never conclude that a living host is dead because this node failed: its process was stopped, its
 * link was cut, it was late to read, or a firewall drops echoes. So a host counts only after it has answered
 * steadily, a late turn proves nothing, and silence from all hosts together is this node's own fault.
 */

/** The score at which a host's silence begins to count. Each answer in time adds 1. */
export const CALIBRATED = 20;
/**
 * What a missed answer takes from the score. A host that loses one echo in five therefore never gets
 * calibrated.
 */
export const MISS_COSTS = 4;
/** Echoes this many turns old still show that a host is alive. */
const RECENT_TURNS = 8;
/**
 * The number of turns in a row without any answer from anybody after which this node itself is at fault.
 * Links, neighbour entries and switches take a while to come back.
 */
const BLIND_TURNS = 3;
/** Sequence numbers of echoes have 16 bits (RFC 792, RFC 4443 section 4.1). */
const SEQUENCE_MASK = 0xffff;

/** Answers the score after an answer in time: at most {@link CALIBRATED}. */
export function scoreAfterAnswer(score: number): number {
  return Math.min(CALIBRATED, score + 1);
}

/** Answers the score after a miss, at least 0. @param cost is what the miss takes from it */
export function scoreAfterMiss(score: number, cost: number = MISS_COSTS): number {
  return Math.max(0, score - cost);
}

/** True once the host has answered steadily for long enough. */
export function isCalibrated(score: number): boolean {
  return score >= CALIBRATED;
}

/** True when misses have used up the score. The host has to be calibrated again. */
export function isUsedUp(score: number): boolean {
  return score <= 0;
}

/** Answers the sequence number of the next turn's echoes. */
export function nextSequence(sequence: number): number {
  return (sequence + 1) & SEQUENCE_MASK;
}

/** Answers the number of turns from the turn of sequence `then` to that of `now`, 0 to 65535. */
export function turnsSince(now: number, then: number): number {
  return (now - then) & SEQUENCE_MASK;
}

/**
 * Says how old the echo is that a reply with `sequence` answers: `now` is this turn's echo, `lately` is a
 * recent one, null is one that shows nothing any more.
 */
export function ageOfEcho(current: number, sequence: number): "now" | "lately" | null {
  const turns = turnsSince(current, sequence);
  if (turns === 0) return "now";
  return turns < RECENT_TURNS ? "lately" : null;
}

/**
 * True when a turn ended later than it should have. This process, or the whole machine with its queues, stood
 * still, so the turn proves nothing.
 */
export function isLateTurn(turn: {
  readonly startedMs: number;
  readonly nowMs: number;
  readonly lengthMs: number;
  /** Milliseconds that a turn may be late and still count. */
  readonly toleranceMs: number;
}): boolean {
  return turn.nowMs - turn.startedMs > turn.lengthMs + turn.toleranceMs;
}

/** True when this node has heard nobody for so many turns in a row that its own link must be at fault. */
export function isBlindFor(turns: number): boolean {
  return turns >= BLIND_TURNS;
}
