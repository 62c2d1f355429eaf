/**
 * May this node become holder? Here are its faults, and the VRRP state that people see. src/tracking/ says
 * which checks fail, and which of them have weight 0.
 */
import type { VrrpState } from "../kube/record.ts";
import { isHeldOff, noteLink } from "./flap-damping.ts";
import type { StepBuilder } from "./step.ts";
import { CONFLICT_FAULT, MISMATCH_FAULT, NAMESAKE_FAULT, UNSTABLE_FAULT } from "./types.ts";
import type { Facts, Role, SelfFacts } from "./types.ts";

/** Tracking has news of this node. */
export function learnTracking(step: StepBuilder, tracking: SelfFacts): void {
  noteLink(step, tracking);
  step.setSelf({ tracking });
}

/** The names of the failed checks, and the election's own faults. */
export function faultsOf(facts: Facts, role: Role): readonly string[] {
  const { faults } = facts.self.tracking;
  const own = [
    ...(facts.self.namesake === null ? [] : [NAMESAKE_FAULT]),
    ...(facts.self.mismatch === null ? [] : [MISMATCH_FAULT]),
    ...(facts.wire.stranger === null ? [] : [CONFLICT_FAULT]),
    ...(isHeldOff(facts, role) ? [UNSTABLE_FAULT] : []),
  ];
  return own.length === 0 ? faults : [...faults, ...own];
}

/** Other software has the VIP from which this node is to take it over, here or on another machine. */
export function isTaken({ self, wire }: Pick<Facts, "self" | "wire">): boolean {
  return self.tracking.foreign || wire.other !== null;
}

/**
 * This node may become holder. Every check must have reported: a node that knows nothing of itself is no
 * candidate. Neither is a node that waits for other software to let the VIP go.
 */
export function eligible(facts: Facts, role: Role): boolean {
  if (facts.stopping !== null || isTaken(facts)) return false;
  return facts.self.tracking.ready && faultsOf(facts, role).length === 0;
}

/** The VRRP state, as a candidate's annotation on the Lease has it. states.ts has what people see. */
export function vrrpState(facts: Facts, role: Role): VrrpState {
  switch (role.kind) {
    case "MASTER":
    case "PROVISIONAL":
      return "MASTER";
    case "STOPPED":
    case "RELEASING":
      return "INIT";
    case "BACKUP":
      if (faultsOf(facts, role).length > 0) return "FAULT";
      if (!facts.self.tracking.ready) return "INIT";
      // A node that cannot read the Lease yet, and hears another machine serve, is a BACKUP.
      if (facts.lease.view !== null || isTaken(facts)) return "BACKUP";
      return (facts.wire.probed?.owner ?? null) === null ? "INIT" : "BACKUP";
  }
}
