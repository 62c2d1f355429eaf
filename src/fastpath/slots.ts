/**
 * Which node takes the new connections of which slot: rendezvous hashing. Every node computes the same table from the same
 * names, whatever order it learnt them in, and a node that comes or goes moves only the slots that are its own. Pure.
 */
import { createHash } from "node:crypto";

/** A packet's slot is `jhash(source address . source port) mod SLOTS`. Part of the data plane's version: all nodes must agree. */
export const SLOTS = 1024;

/** The owner of each slot; empty when nobody takes part. */
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

/** One pseudo-random number for each slot of a name. SHA-256 because it is the same everywhere, not for its strength. */
function weightsOf(name: string): Uint32Array {
  const before = known.get(name);
  if (before !== undefined) return before;
  const weights = new Uint32Array(SLOTS);
  const perDigest = 8;
  for (let block = 0; block < SLOTS / perDigest; block++) {
    const digest = createHash("sha256").update(`leasehold/1/${block}/${name}`).digest();
    for (let i = 0; i < perDigest; i++) weights[block * perDigest + i] = digest.readUInt32BE(i * 4);
  }
  // Names are few; someone who rotates them must not fill the memory.
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(name, weights);
  return weights;
}
