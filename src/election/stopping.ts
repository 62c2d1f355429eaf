/**
 * An agent that is stopping. A holder first offers the Lease to a candidate (handover.ts). If no candidate takes it, the holder unbinds and then releases the
 * Lease. Every other node withdraws its candidacy. Then the process may exit.
 */
import type { WriteOutcome } from "../kube/store.ts";
import { unbindVip } from "./fence.ts";
import { ownershipOf } from "./identity.ts";
import { candidacyWritten } from "./lease-traffic.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import type { Role } from "./types.ts";

/** A stopping agent that is not holder waits this long for its last words to be written. */
const STOP_MS = 1_000;
/** The last words of a stopping holder may take this long. */
const RELEASE_MS = 1_000;

/** A holder that no candidate has taken the Lease from: the VIP goes first, and the Lease after it, never the other way round. */
export function releaseLease(step: StepBuilder, view: LeaseView): void {
  unbindVip(step);
  const ours = view.record?.holder === step.settings.node;
  step.become({ kind: "RELEASING", untilMs: step.nowMs + (ours ? RELEASE_MS : 0) }, "released");
  step.setLease({ write: null });
  if (ours && view.record !== null) step.send({ kind: "release", held: view.record }, RELEASE_MS);
}

/** A renewal that was under way may have come first: the Lease still names us, so release what it made of it. */
export function releaseAnswered(step: StepBuilder, untilMs: number, outcome: WriteOutcome): void {
  if (outcome.kind === "conflict" && outcome.record !== null && ownershipOf(step.settings, outcome.record) === "ours" && step.nowMs < untilMs) {
    step.send({ kind: "release", held: outcome.record }, untilMs - step.nowMs);
  } else step.set({ role: { kind: "RELEASING", untilMs: step.nowMs } });
}

/** The last words of a node that holds nothing: it withdraws its candidacy, and finds out what became of a claim under way. */
export function stopBackup(step: StepBuilder, sinceMs: number): void {
  const { write } = step.state.lease;
  const { inFlight: publishInFlight } = step.state.lease.publish;
  if ((write !== null || publishInFlight || !candidacyWritten(step)) && step.nowMs < sinceMs + STOP_MS) return step.wakeAt(sinceMs + STOP_MS);
  unbindVip(step);
  stopped(step);
}

export function stopReleasing(step: StepBuilder, role: Extract<Role, { kind: "RELEASING" }>): void {
  if (step.nowMs < role.untilMs) return step.wakeAt(role.untilMs);
  stopped(step);
}

function stopped(step: StepBuilder): void {
  step.become({ kind: "STOPPED" }, "stopped");
  step.effect({ kind: "stopped" });
}
