/**
 * The rule for nodes that bring trouble, told once more: one that was upset stays away for 10 s, and twice as
 * long each time within 10 minutes.
 */
import type { SimNode } from "./node.ts";

const FIRST_MS = 10_000;
const LONGEST_MS = 600_000;
/** By the slowest clock, and until the others can read that it is over. */
const slow = (ms: number): number => ms / 0.95 + 1_500;

export class UpsetRule {
  readonly #seen = new Map<SimNode, { count: number; level: number; lastMs: number; untilMs: number }>();

  unstable(node: SimNode, nowMs: number): boolean {
    if (node.upsets.length === 0) return false;
    const seen = this.#seen.get(node) ?? {
      count: 0,
      level: -1,
      lastMs: Number.NEGATIVE_INFINITY,
      untilMs: Number.NEGATIVE_INFINITY,
    };
    if (seen.count === node.upsets.length) return nowMs < seen.untilMs;
    for (const atMs of node.upsets.slice(seen.count)) {
      // By a fast clock they are fewer than 10 minutes apart, by a slow one more: the longer wait is assumed.
      seen.level = atMs - seen.lastMs >= LONGEST_MS * 1.06 ? 0 : seen.level + 1;
      seen.lastMs = atMs;
      seen.untilMs = Math.max(seen.untilMs, atMs + slow(Math.min(2 ** seen.level * FIRST_MS, LONGEST_MS)));
    }
    seen.count = node.upsets.length;
    this.#seen.set(node, seen);
    return nowMs < seen.untilMs;
  }
}
