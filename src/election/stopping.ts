/**
 * An agent that is stopping. A holder first offers the Lease to a candidate (handover.ts). If no candidate
 * takes it, the holder unbinds and then releases the Lease. Every other node withdraws its candidacy. Then
 * the process may exit.
 */
import type { WriteOutcome } from "../kube/store.ts";
import { unbindVip } from "./fence.ts";
import { ownershipOf } from "./identity.ts";
import { abandonWrite, candidacyWritten } from "./lease-traffic.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import type { Backup, Master, Releasing, Role } from "./types.ts";

/** An agent that holds nothing waits this long for its last words to be written. */
const STOP_MS = 1_000;
/** A release may take this long. */
const RELEASE_MS = 1_000;

/** No candidate has taken the Lease: the VIP goes first and the Lease after it, never the other way round. */
export function releaseLease(step: StepBuilder, role: Master, view: LeaseView): Releasing {
  unbindVip(step);
  const ours = view.record?.holder === step.settings.node;
  const untilMs = step.nowMs + (ours ? RELEASE_MS : 0);
  const reason = "the agent is stopping, and no candidate has taken the Lease";
  const next = step.become(role, { kind: "RELEASING", untilMs }, reason);
  abandonWrite(step);
  if (ours && view.record !== null) step.send({ kind: "release", held: view.record }, RELEASE_MS);
  return next;
}

/**
 * A renewal that was under way may have come first. The Lease still names this node then, and this node
 * releases the newer record.
 */
export function releaseAnswered(step: StepBuilder, role: Releasing, outcome: WriteOutcome): Releasing {
  const { settings, nowMs } = step;
  const record = outcome.kind === "conflict" ? outcome.record : null;
  if (record === null || ownershipOf(settings, record) !== "ours" || nowMs >= role.untilMs) {
    return { kind: "RELEASING", untilMs: nowMs };
  }
  step.send({ kind: "release", held: record }, role.untilMs - nowMs);
  return role;
}

/**
 * The last words of a node that holds nothing: it withdraws its candidacy, and finds out what became of a
 * claim under way.
 */
export function stopBackup(step: StepBuilder, role: Backup, sinceMs: number): Role {
  const { write, publish } = step.facts.lease;
  const unfinished = write !== null || publish.inFlight || !candidacyWritten(step, role);
  if (unfinished && step.nowMs < sinceMs + STOP_MS) {
    step.wakeAt(sinceMs + STOP_MS);
    return role;
  }
  unbindVip(step);
  return stopped(step, role);
}

export function stopReleasing(step: StepBuilder, role: Releasing): Role {
  if (step.nowMs >= role.untilMs) return stopped(step, role);
  step.wakeAt(role.untilMs);
  return role;
}

function stopped(step: StepBuilder, role: Backup | Releasing): Role {
  const next = step.become(role, { kind: "STOPPED" }, "the agent has stopped");
  step.effect({ kind: "stopped" });
  return next;
}
