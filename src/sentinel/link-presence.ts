/**
 * Whether anybody at all is on this link. A node that hears nobody, though it asks, must not believe that the VIP is free: its cable may end in a switch that
 * still blocks the port (spanning tree: 30 s), or in nothing.
 */
import type { Asked } from "./arp-budget.ts";

const QUIET_MS = 1_000;
const DESERTED_MS = 3_000;
/** Unanswered questions that it takes besides the time. */
const MOST_ASKED = 2;

export interface Neighbours {
  /** Some frame came in. */
  heard(nowMs: number): void;
  /** Often. `provesNothing`: frames were lost. */
  tick(nowMs: number, provesNothing: boolean): void;
  /** See {@link SentinelStatus.neighbours}. */
  state(): boolean | null;
}

export interface NeighboursDeps {
  readonly nowMs: number;
  /** Asks for one neighbour after the other; undefined: none is known. */
  readonly ask: () => Asked | undefined;
  /** So many are asked in turn. */
  readonly known: () => number;
  readonly changed: (heard: boolean) => void;
}

export function createNeighbours({ nowMs, ask, known, changed }: NeighboursDeps): Neighbours {
  let state: boolean | null = null;
  /** Since when we have been asking in vain. */
  let quietMs = nowMs;
  let asked = 0;
  let askedMs: number | undefined;
  let tickMs = nowMs;

  function restart(nowMs: number): void {
    quietMs = nowMs;
    asked = 0;
  }

  return {
    heard(nowMs) {
      restart(nowMs);
      if (state === true) return;
      state = true;
      changed(true);
    },
    tick(nowMs, provesNothing) {
      // After a pause of ours, what came meanwhile may have been lost.
      if (provesNothing || nowMs - tickMs >= QUIET_MS) restart(nowMs);
      tickMs = nowMs;
      if (state === true && asked >= Math.max(MOST_ASKED, known()) && nowMs - quietMs >= DESERTED_MS) {
        state = false;
        // Whoever is told may stop us.
        changed(false);
        return;
      }
      if (state === true && nowMs - quietMs < QUIET_MS) return;
      if (askedMs !== undefined && nowMs - askedMs < QUIET_MS) return;
      const how = ask();
      if (how === undefined || how === "later") return;
      askedMs = nowMs;
      if (how === "sent") asked++;
      // A link that is down is somebody else's finding.
      else restart(nowMs);
    },
    state: () => state,
  };
}
