/**
 * From when may the Lease be claimed? This is the only file that reads a Lease for this. What restarts its
 * expiry is noted in lease-view.ts.
 */
import { RELEASED_BY } from "../kube/record.ts";
import { ownershipOf, termOf } from "./identity.ts";
import { freshCandidates } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import type { ElectionSettings, Facts } from "./types.ts";

/**
 * The agents of a new cluster start within moments of each other. The VIP is claimed when no candidate has
 * come or changed for this long.
 */
const SETTLE_MS = 1_000;
/**
 * A candidate whose checks have not reported (INIT) is waited for no longer than this, and neither is a
 * cluster that does not settle.
 */
const SETTLE_LIMIT_MS = 5_000;
/**
 * Where reads have failed, the holder may have been unable to write as well, and be about to write. It gets
 * this long from the first read that succeeds. Only then the time in which no node could have renewed is held
 * against it.
 */
const READABLE_MS = 1_500;

export type Vacancy =
  /** A node holds the Lease, or did. The Lease is free at `freeAtMs` unless the record changes. */
  | { readonly kind: "held"; readonly holder: string; readonly freeAtMs: number }
  /** The Lease names this machine, which may take it up again at once. */
  | { readonly kind: "ours" }
  /** The Lease is free since `sinceMs`, which may lie ahead. */
  | {
      readonly kind: "free";
      readonly sinceMs: number;
      readonly why: "new" | "released" | "emptied" | "absent";
    };

/**
 * @param resumes this process follows one that held the Lease a moment ago: a Lease that names the node is
 * this machine's even if a person has removed the instance
 */
export function vacancy(settings: ElectionSettings, view: LeaseView, resumes: boolean): Vacancy {
  const { record } = view;
  const afterFence = view.changedAtMs + settings.leaseDurationMs;
  // The Lease was deleted, or is not there yet. A holder that this node cannot see may have its VIP bound
  // until its fence has run out. If that holder lives, it creates the Lease again itself, long before.
  if (record === null) return { kind: "free", sinceMs: afterFence, why: "absent" };
  const ownership = ownershipOf(settings, record);
  if (ownership === "ours" || (ownership === "unmarked" && resumes)) return { kind: "ours" };
  if (record.holder !== "") {
    const freeAtMs = view.changedAtMs + Math.max(settings.leaseDurationMs, record.leaseDurationMs);
    return { kind: "held", holder: record.holder, freeAtMs };
  }
  const releasedBy = record.annotations[RELEASED_BY] ?? "";
  if (releasedBy !== "" && (view.lastHolder === null || view.lastHolder === releasedBy)) {
    return { kind: "free", sinceMs: view.changedAtMs, why: "released" };
  }
  // This is the Lease as the manifest ships it: no node has ever held it.
  if (view.lastHolder === null && record.renewTime === null && (record.leaseTransitions ?? 0) === 0) {
    // In a take-over the candidates have waited for the same moment, and clients wait now.
    return { kind: "free", sinceMs: settings.takeOver ? view.changedAtMs : settledAt(view), why: "new" };
  }
  return { kind: "free", sinceMs: afterFence, why: "emptied" };
}

/**
 * The holder that the Lease names was found dead on the wire in this term, and has not answered since. Then the
 * Lease may be claimed before it has run out.
 */
export function holderIsDead({ lease: { view }, wire: { proof } }: Facts): boolean {
  const record = view?.record ?? null;
  return proof !== null && record !== null && proof.term === termOf(record);
}

/**
 * When a held Lease has expired (VRRP: Master_Down_Interval), for a node that can read since
 * `readableSinceMs`.
 */
export function expiry({ freeAtMs }: Extract<Vacancy, { kind: "held" }>, readableSinceMs: number): number {
  return Math.max(freeAtMs, readableSinceMs + READABLE_MS);
}

/** Only a person who has just installed the VIP waits for it: the best node matters more than a second. */
function settledAt(view: LeaseView): number {
  const limitMs = view.changedAtMs + SETTLE_LIMIT_MS;
  const starting = freshCandidates(view).some((candidate) => candidate.state === "INIT");
  return starting ? limitMs : Math.min(limitMs, Math.max(view.changedAtMs, view.candidacyAtMs) + SETTLE_MS);
}
