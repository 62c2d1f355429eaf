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

export class StartingRule {
  /**
   * By node and server: when it last refused, and since when; and since when it has answered every question.
   * NaN: it has not, or does not.
   */
  readonly #refusedMs: Float64Array;
  readonly #refusingSince: Float64Array;
  readonly #answeringSince: Float64Array;
  readonly #servers: number;

  constructor(machines: number, servers: number) {
    this.#servers = servers;
    this.#refusedMs = new Float64Array(machines * servers).fill(Number.NaN);
    this.#refusingSince = new Float64Array(machines * servers).fill(Number.NaN);
    this.#answeringSince = new Float64Array(machines * servers).fill(Number.NaN);
  }

  /** What is true now. @param looks the node runs, so that it can find it out */
  look(node: number, server: number, found: Found, looks: boolean, nowMs: number): Starting {
    const key = node * this.#servers + server;
    const answeringSince = since(this.#answeringSince, key, found === "answering", nowMs);
    if (found === "refusing") this.#refusedMs[key] = nowMs;
    const refusing = found === "refusing" || (found === "silent" && isSet(this.#refusingSince, key));
    const refusingSince = since(this.#refusingSince, key, looks && refusing, nowMs);
    // No survey can have missed it, or there was none.
    if (nowMs - answeringSince > RECENT_MS / 0.95) this.#refusedMs[key] = Number.NaN;
    const refusedMs = this.#refusedMs[key] ?? Number.NaN;
    if (Number.isNaN(refusedMs)) return NOT_STARTING;
    return {
      maybe: nowMs - refusedMs < (RECENT_MS + STARTING_MS) / 0.95,
      surely: refusedMs - refusingSince > FOUND_MS && nowMs - refusedMs < STARTING_MS / 1.05 - 200,
    };
  }
}

function isSet(times: Float64Array, key: number): boolean {
  return !Number.isNaN(times[key] ?? Number.NaN);
}

/** Since when it has been so, this look included; NaN: it is not. */
function since(times: Float64Array, key: number, is: boolean, nowMs: number): number {
  if (!is) times[key] = Number.NaN;
  else if (!isSet(times, key)) times[key] = nowMs;
  return times[key] ?? Number.NaN;
}
