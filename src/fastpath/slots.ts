/**
 * Assigns each slot to the node that takes its new connections, by rendezvous hashing. Every node computes
 * the same table from the same names, in whatever order it learnt them. A node that comes or goes moves only
 * its own slots. Pure.
 */
import { createHash } from "node:crypto";

/**
 * The number of slots. A packet's slot is `jhash(source address . source port) mod SLOTS`. All nodes must
 * agree, so it belongs to the fast path's version.
 */
export const SLOTS = 1024;

/** Answers the owner of each slot by the slot's number; empty without names. */
export function assignSlots(names: readonly string[]): readonly string[] {
  const unique = [...new Set(names)].sort();
  if (unique.length === 0) return [];
  const weights = unique.map((name) => ({ name, weights: weightsOf(name) }));
  return Array.from({ length: SLOTS }, (_, slot) => {
    let best = weights[0];
    for (const candidate of weights) {
      if (best === undefined || (candidate.weights[slot] ?? 0) > (best.weights[slot] ?? 0)) best = candidate;
    }
    return best?.name ?? "";
  });
}

const known = new Map<string, Uint32Array>();
const MOST_KNOWN = 64;

/**
 * Answers one pseudo-random number for each slot of a name. SHA-256 is used because it is the same
 * everywhere, not for its strength.
 */
function weightsOf(name: string): Uint32Array {
  const before = known.get(name);
  if (before !== undefined) return before;
  const weights = new Uint32Array(SLOTS);
  const perDigest = 8;
  for (let block = 0; block < SLOTS / perDigest; block++) {
    const digest = createHash("sha256").update(`leasehold/1/${block}/${name}`).digest();
    for (let i = 0; i < perDigest; i++) weights[block * perDigest + i] = digest.readUInt32BE(i * 4);
  }
  // Names are few. A cluster that rotates them must not fill the memory.
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(name, weights);
  return weights;
}
