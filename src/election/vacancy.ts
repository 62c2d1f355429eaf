/**
 * Is the VIP free to claim, and from when? Pure; the one place that reads a Lease for this.
 */
import { RELEASED_BY } from "../kube/record.ts";
import { ownershipOf } from "./identity.ts";
import { freshCandidates } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import type { ElectionSettings } from "./types.ts";

/** A new cluster's agents start within moments of each other: the VIP is claimed when for this long no candidate came or changed. */
export const SETTLE_MS = 1_000;
/** But a candidate whose checks have not spoken (INIT) is waited for no longer than this, nor is a restless cluster. */
export const SETTLE_LIMIT_MS = 5_000;

/**
 * Where reads had failed, whoever holds may have been unable to write as well, and be about to: it gets this long from the first read that succeeds on, before the
 * time in which nobody could have renewed is held against it.
 */
const READABLE_MS = 1_500;

export type Vacancy =
  /** Somebody holds it, or did; free at `freeAtMs` unless the record changes. */
  | { readonly kind: "held"; readonly holder: string; readonly freeAtMs: number }
  /** It names us: we may take it up again at once. */
  | { readonly kind: "ours" }
  /** Free since `sinceMs` (which may lie ahead). */
  | { readonly kind: "free"; readonly sinceMs: number; readonly why: "new" | "released" | "emptied" | "absent" };

/** @param resumes this process follows one that held it a moment ago: a Lease that names the node is ours even if somebody removed the mark */
export function vacancy(settings: ElectionSettings, view: LeaseView, resumes: boolean): Vacancy {
  const { record } = view;
  const afterFence = view.changedAtMs + settings.leaseDurationMs;
  // Deleted, or not there yet. A holder that we cannot see may have its VIP bound until its fence has run out; if it lives it
  // creates the Lease again itself, long before.
  if (record === null) return { kind: "free", sinceMs: afterFence, why: "absent" };
  const tenure = ownershipOf(settings, record);
  if (tenure === "ours" || (tenure === "unmarked" && resumes)) return { kind: "ours" };
  if (record.holder !== "") {
    const freeAtMs = view.changedAtMs + Math.max(settings.leaseDurationMs, record.leaseDurationMs);
    return { kind: "held", holder: record.holder, freeAtMs };
  }
  const releasedBy = record.annotations[RELEASED_BY] ?? "";
  if (releasedBy !== "" && (view.lastHolder === null || view.lastHolder === releasedBy)) {
    return { kind: "free", sinceMs: view.changedAtMs, why: "released" };
  }
  // The Lease as the manifest ships it: nobody has ever held it.
  if (view.lastHolder === null && record.renewTime === null && (record.leaseTransitions ?? 0) === 0) {
    return { kind: "free", sinceMs: settledAt(view), why: "new" };
  }
  return { kind: "free", sinceMs: afterFence, why: "emptied" };
}

/** Nobody waits for this VIP but a person who has just installed it: the best node matters more than a second. */
function settledAt(view: LeaseView): number {
  const limitMs = view.changedAtMs + SETTLE_LIMIT_MS;
  const starting = freshCandidates(view).some((candidate) => candidate.state === "INIT");
  return starting ? limitMs : Math.min(limitMs, Math.max(view.changedAtMs, view.candidacyAtMs) + SETTLE_MS);
}

/** When a held Lease has expired (VRRP: Master_Down_Interval), for a node that can read since `readableSinceMs`. */
export function expiry({ freeAtMs }: Extract<Vacancy, { kind: "held" }>, readableSinceMs: number): number {
  return Math.max(freeAtMs, readableSinceMs + READABLE_MS);
}
