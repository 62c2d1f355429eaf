/**
 * The rule for nodes that bring trouble, told once more: one that was upset stays away for 10 s, and twice as
 * long each time within 10 minutes.
 */
import type { SimNode } from "./node.ts";

const FIRST_MS = 10_000;
const LONGEST_MS = 600_000;
/** It preempts after three times as long. */
const PREEMPT_FACTOR = 3;
/** By the slowest clock, and until the others can read that it is over. */
const slow = (ms: number): number => ms / 0.95 + 1_500;

export class UpsetRule {
  readonly #seen = new Map<
    SimNode,
    { count: number; level: number; lastMs: number; untilMs: number; shyUntilMs: number }
  >();

  unstable(node: SimNode, nowMs: number): boolean {
    return nowMs < this.#look(node).untilMs;
  }

  /** Where a better node is shy, the VIP stays where it is. */
  shy(node: SimNode, nowMs: number): boolean {
    return nowMs < this.#look(node).shyUntilMs;
  }

  #look(node: SimNode): { readonly untilMs: number; readonly shyUntilMs: number } {
    const seen = this.#seen.get(node) ?? {
      count: 0,
      level: -1,
      lastMs: Number.NEGATIVE_INFINITY,
      untilMs: Number.NEGATIVE_INFINITY,
      shyUntilMs: Number.NEGATIVE_INFINITY,
    };
    if (seen.count === node.upsets.length) return seen;
    for (const atMs of node.upsets.slice(seen.count)) {
      // By a fast clock they are fewer than 10 minutes apart, by a slow one more: the longer wait is assumed.
      seen.level = atMs - seen.lastMs >= LONGEST_MS * 1.06 ? 0 : seen.level + 1;
      seen.lastMs = atMs;
      const wait = (factor: number): number =>
        atMs + slow(Math.min(factor * 2 ** seen.level * FIRST_MS, LONGEST_MS));
      seen.untilMs = Math.max(seen.untilMs, wait(1));
      seen.shyUntilMs = Math.max(seen.shyUntilMs, wait(PREEMPT_FACTOR));
    }
    seen.count = node.upsets.length;
    this.#seen.set(node, seen);
    return seen;
  }
}
