/**
 * Chooses the backend that takes the next connection. Pure: the random number and the turn come in as
 * parameters.
 */
import type { BackendId } from "../backends/backend.ts";
import type { BalanceAlgorithm } from "../config/config.ts";

/** A backend that may be chosen. */
export interface BackendChoice {
  readonly id: BackendId;
  readonly local: boolean;
  /** Number of sessions that are open or being opened. */
  readonly active: number;
  /** Share of the backend while it starts slowly, 0 < weight <= 1, see {@link slowStartWeight}. */
  readonly weight: number;
}

/** What a choice depends on in addition to the backends. */
export interface Draw {
  /** The client's address. With `source` the same address gets the same backend. */
  readonly source: string;
  /** Counter of connections. */
  readonly turn: number;
  /** Returns a random number from 0 to below 1. */
  readonly random: () => number;
}

/** A returning server gets a tenth of its share from the start, so that it is never left out entirely. */
const LEAST_WEIGHT = 0.1;

/**
 * Returns the share of a backend that came back `sinceMs` ago. It rises in a straight line to 1 over
 * `slowStartMs`, so that an API server with cold caches does not get every client that reconnects. `sinceMs`
 * undefined: it has not been away.
 */
export function slowStartWeight(sinceMs: number | undefined, slowStartMs: number): number {
  if (sinceMs === undefined || slowStartMs <= 0) return 1;
  return Math.min(1, Math.max(LEAST_WEIGHT, sinceMs / slowStartMs));
}

/** Returns the chosen backend. undefined only if there is no candidate. */
export function pick<C extends BackendChoice>(
  algorithm: BalanceAlgorithm,
  candidates: readonly C[],
  draw: Draw,
): C | undefined {
  if (candidates.length <= 1) return candidates[0];
  switch (algorithm) {
    case "leastconn":
      return leastLoaded(candidates, draw);
    case "roundrobin":
      return roundRobin(candidates, draw);
    case "random":
      return twoDraws(candidates, draw);
    case "source":
      return rendezvous(candidates, draw.source);
    case "local":
      return candidates.find((candidate) => candidate.local) ?? leastLoaded(candidates, draw);
  }
}

function load(candidate: BackendChoice): number {
  return (candidate.active + 1) / candidate.weight;
}

/**
 * Returns the backend with the least load. Ties go round, otherwise the first of the list would take every
 * lone connection.
 */
function leastLoaded<C extends BackendChoice>(candidates: readonly C[], draw: Draw): C | undefined {
  let best: C | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[(draw.turn + i) % candidates.length];
    if (candidate === undefined || load(candidate) >= least) continue;
    best = candidate;
    least = load(candidate);
  }
  return best;
}

/** A slowly starting backend lets some of its turns pass to the next. */
function roundRobin<C extends BackendChoice>(candidates: readonly C[], draw: Draw): C | undefined {
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[(draw.turn + i) % candidates.length];
    if (candidate !== undefined && draw.random() < candidate.weight) return candidate;
  }
  return candidates[draw.turn % candidates.length];
}

/**
 * Draws two backends and takes the less loaded one ("power of two choices"). This is nearly as even as least
 * connections, without its herding when counts are stale.
 */
function twoDraws<C extends BackendChoice>(candidates: readonly C[], draw: Draw): C | undefined {
  const first = Math.floor(draw.random() * candidates.length);
  const other = Math.floor(draw.random() * (candidates.length - 1));
  const a = candidates[first];
  const b = candidates[other >= first ? other + 1 : other];
  if (a === undefined || b === undefined) return a ?? b;
  return load(a) <= load(b) ? a : b;
}

/**
 * Returns the backend with the highest hash, so that a backend that comes or goes moves only its own clients.
 */
function rendezvous<C extends BackendChoice>(candidates: readonly C[], source: string): C | undefined {
  let best: C | undefined;
  let highest = -1;
  for (const candidate of candidates) {
    const hash = hash32(`${source}|${candidate.id}`);
    if (hash > highest || (hash === highest && best !== undefined && candidate.id < best.id)) {
      best = candidate;
      highest = hash;
    }
  }
  return best;
}

/**
 * Hashes with FNV-1a and Murmur3's finalizer: FNV alone hardly mixes the last characters, where addresses
 * differ.
 */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
