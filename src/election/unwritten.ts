/**
 * A node that cannot get the Lease written, for whatever reason: refused credentials, an admission webhook,
 * too many requests, no API server. It serves provisionally while no other machine does (ADR 0014). What ends
 * that is in provisional.ts, and how a holder comes to it in master.ts.
 *
 * The Lease, where it can be read and its holder renews it, forbids it. So does any machine that answers for
 * the VIP.
 */
import { askWire, linkCarriesFrames } from "./address-check.ts";
import { ALL_FAULT_MS, LIGHT_FAULTS } from "./claim-order.ts";
import { faultsOf } from "./eligibility.ts";
import { UNWRITTEN_HOLD_MS } from "./fence.ts";
import type { LeaseView } from "./lease-view.ts";
import { becomeProvisional } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";
import type { Backup, Facts, Provisional } from "./types.ts";
import type { Vacancy } from "./vacancy.ts";

/**
 * A failure that is over by then says nothing: an API server was restarted, or etcd has elected a leader. A
 * claim that no API server has answered for so long counts as one. Where etcd has no quorum, the failure itself
 * would come only after 4 s.
 */
export const UNABLE_MS = 1_000;
/** While a machine has the VIP, or had it lately, the wire is asked this often. */
const ASK_MS = 2_000;

/**
 * A BACKUP serves in four cases at once: it cannot write the Lease, no machine has renewed the Lease for its
 * duration or the holder was found dead, no machine has answered for the VIP for as long, and the wire says
 * now that the VIP is free.
 * @param provenMs when the holder was found dead on the wire; null: it was not
 * @returns null while it is not so
 */
export function serveUnwritten(
  step: StepBuilder,
  role: Backup,
  view: LeaseView,
  free: Vacancy,
  provenMs: number | null,
): Provisional | null {
  const { facts, settings, nowMs } = step;
  const unableMs = unableSince(facts);
  if (unableMs === null || settings.onApiLoss === "release" || facts.stopping !== null) return null;
  if (facts.self.tracking.mac === "" || facts.wire.stranger !== null) return null;
  const faults = faultsOf(facts, role);
  if (!faults.every((fault) => LIGHT_FAULTS.includes(fault))) return null;
  // Whether another node is eligible cannot be read any more. A healthy one goes first.
  const patienceMs = faults.length > 0 ? ALL_FAULT_MS : 0;
  const dueAtMs = Math.max(unableMs + UNABLE_MS, vacantSince(free, provenMs)) + patienceMs;
  if (nowMs < dueAtMs) {
    step.wakeAt(dueAtMs);
    return null;
  }
  // The previous process has left the VIP bound here. To let it go and ask would only cost clients a second.
  const adopts = facts.leftOver.adoptable !== null && free.kind === "ours";
  if (!adopts && !isQuiet(step, role, dueAtMs, provenMs)) return null;
  const { record } = view;
  return becomeProvisional(step, role, { kind: "unwritten", seen: record }, nowMs + UNWRITTEN_HOLD_MS);
}

/** Since when this node has got nothing written, or cannot even read; null: it can, as far as it knows. */
function unableSince({ lease: { read, unwritten } }: Facts): number | null {
  if (read.failingSinceMs === null) return unwritten?.sinceMs ?? null;
  return unwritten === null ? read.failingSinceMs : Math.min(read.failingSinceMs, unwritten.sinceMs);
}

function vacantSince(free: Vacancy, provenMs: number | null): number {
  switch (free.kind) {
    case "ours":
      return Number.NEGATIVE_INFINITY;
    case "held":
      return Math.min(provenMs ?? Number.POSITIVE_INFINITY, free.freeAtMs);
    case "free":
      return free.sinceMs;
  }
}

/**
 * No machine has answered for the VIP for the duration of a Lease, and none does when it is asked now. What
 * the holder answered before it was found dead does not count.
 */
function isQuiet(step: StepBuilder, role: Backup, dueAtMs: number, provenMs: number | null): boolean {
  const { facts, settings, nowMs } = step;
  if (!linkCarriesFrames(step, role)) return false;
  const { answeredAtMs } = facts.wire;
  const wasDead = provenMs !== null && answeredAtMs <= provenMs;
  const quietAtMs = wasDead ? provenMs : answeredAtMs + settings.leaseDurationMs;
  const isOver = nowMs >= quietAtMs;
  if (!isOver) step.wakeAt(quietAtMs);
  const readyMs = Math.max(dueAtMs, quietAtMs);
  const verdict = askWire(step, true, ASK_MS, isOver ? readyMs : dueAtMs, readyMs);
  return isOver && verdict === "free";
}
