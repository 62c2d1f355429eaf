/** Which API servers a node may take for starting: they refused its connections, and say nothing now. As the product sees it, by surveys that are at most 2 s apart. */

/** Two surveys are put together if they are no further apart, by the slowest clock. */
const RECENT_MS = 2_000 / 0.95;
const STARTING_MS = 6_000 / 0.95;

/** `unclear`: it may be taken for either. */
type Found = "refusing" | "silent" | "answering" | "unclear";

export class StartingRule {
  /** By node and server: when it last refused, and since when it has answered every question. */
  readonly #refusedMs = new Map<string, number>();
  readonly #answeringSince = new Map<string, number>();

  /** What is true now; says whether the silence of that server may be counted as no silence. */
  look(node: number, server: number, found: Found, nowMs: number): boolean {
    const key = `${node}/${server}`;
    if (found !== "answering") this.#answeringSince.delete(key);
    else if (!this.#answeringSince.has(key)) this.#answeringSince.set(key, nowMs);
    if (found === "refusing") this.#refusedMs.set(key, nowMs);
    // No survey can have missed it, or there was none.
    if (nowMs - (this.#answeringSince.get(key) ?? nowMs) > RECENT_MS) this.#refusedMs.delete(key);
    return nowMs - (this.#refusedMs.get(key) ?? Number.NEGATIVE_INFINITY) < RECENT_MS + STARTING_MS;
  }
}
