/**
 * Which API servers a node takes for starting: they refused its connections, and say nothing now. As the
 * product sees it, by surveys that are at most 2 s apart.
 */

/** Two surveys are put together if they are no further apart. */
const RECENT_MS = 2_000;
const STARTING_MS = 6_000;
/**
 * Down for so long it was found refusing: surveys begin half a deadline after the last renewal, and there is
 * one a second.
 */
const FOUND_MS = 4_500;

/** `unclear`: it may be taken for either. */
export type Found = "refusing" | "silent" | "answering" | "unclear";

/** Is the silence of that server taken for no silence? */
export interface Starting {
  readonly maybe: boolean;
  readonly surely: boolean;
}

const NOT_STARTING: Starting = { maybe: false, surely: false };
const MOST_SERVERS = 100;

export class StartingRule {
  /**
   * By node and server: when it last refused, and since when; and since when it has answered every question.
   */
  readonly #refusedMs = new Map<number, number>();
  readonly #refusingSince = new Map<number, number>();
  readonly #answeringSince = new Map<number, number>();

  /** What is true now. @param looks the node runs, so that it can find it out */
  look(node: number, server: number, found: Found, looks: boolean, nowMs: number): Starting {
    const key = node * MOST_SERVERS + server;
    if (found !== "answering") this.#answeringSince.delete(key);
    else if (!this.#answeringSince.has(key)) this.#answeringSince.set(key, nowMs);
    if (found === "refusing") this.#refusedMs.set(key, nowMs);
    if (found === "answering" || found === "unclear" || !looks) this.#refusingSince.delete(key);
    else if (found === "refusing" && !this.#refusingSince.has(key)) this.#refusingSince.set(key, nowMs);
    // No survey can have missed it, or there was none.
    if (nowMs - (this.#answeringSince.get(key) ?? nowMs) > RECENT_MS / 0.95) this.#refusedMs.delete(key);
    const refusedMs = this.#refusedMs.get(key) ?? Number.NEGATIVE_INFINITY;
    if (refusedMs === Number.NEGATIVE_INFINITY) return NOT_STARTING;
    const known = refusedMs - (this.#refusingSince.get(key) ?? Number.POSITIVE_INFINITY) > FOUND_MS;
    return {
      maybe: nowMs - refusedMs < (RECENT_MS + STARTING_MS) / 0.95,
      surely: known && nowMs - refusedMs < STARTING_MS / 1.05 - 200,
    };
  }
}
