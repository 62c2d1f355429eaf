/**
 * May a holder keep the VIP that can renew its Lease at no API server? Only while nobody else can take it: without etcd's quorum no claim succeeds, and to
 * let go would take the VIP from clients that the API servers may still answer. A holder that is cut off from the others must let go: they
 * can claim. The two look alike from a failed write; what tells them apart is whether the servers are there at all. Pure.
 */
import type { ElectionSettings, ElectionState } from "./types.ts";

/** Evidence older than this keeps nothing bound. Counted from before the survey was sent. */
const EVIDENCE_MS = 2_000;

/** Until when the VIP may stay bound, by what is known now; null: no longer than the Lease. */
export function heldUntil(settings: ElectionSettings, state: ElectionState, nowMs: number): number | null {
  switch (settings.onApiLoss) {
    case "release":
      return null;
    case "hold":
      return nowMs + EVIDENCE_MS;
    case "auto": {
      const { survey } = state;
      if (survey === null || nowMs >= survey.sentAtMs + EVIDENCE_MS || !nobodyCanClaim(state, survey.servers)) return null;
      return survey.sentAtMs + EVIDENCE_MS;
    }
  }
}

/**
 * Nobody is silent: all refuse, as a stopped or starting control plane does, or answer without a success. Or a majority is there and cannot write: then no
 * minority that we cannot hear can have a quorum either. An API that refuses us by its own word (403) can write for others.
 */
function nobodyCanClaim(state: ElectionState, servers: NonNullable<ElectionState["survey"]>["servers"]): boolean {
  if (servers.length === 0 || state.writeRefused) return false;
  if (servers.every(({ state: one }) => one !== "silent")) return true;
  const unable = servers.filter(({ state: one }) => one === "alive").length;
  return unable * 2 > servers.length;
}
