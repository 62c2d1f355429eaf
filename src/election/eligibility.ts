/**
 * May this node become holder? What is wrong with it, and the VRRP state that people see. Which checks fail, and which of them have weight 0, is said by
 * src/tracking/.
 */
import type { VrrpState } from "../kube/record.ts";
import { isHeldOff } from "./flap-damping.ts";
import { CONFLICT_FAULT, NAMESAKE_FAULT, UNSTABLE_FAULT } from "./types.ts";
import type { ElectionState } from "./types.ts";

export function faultsOf(state: ElectionState): readonly string[] {
  const ours = [
    ...(state.self.namesake === null ? [] : [NAMESAKE_FAULT]),
    ...(state.wire.stranger === null ? [] : [CONFLICT_FAULT]),
    ...(isHeldOff(state) ? [UNSTABLE_FAULT] : []),
  ];
  return ours.length === 0 ? state.self.tracking.faults : [...state.self.tracking.faults, ...ours];
}

/** May become holder. Every check must have spoken: a node that knows nothing of itself is no candidate. */
export function eligible(state: ElectionState): boolean {
  return state.stopping === null && state.self.tracking.ready && faultsOf(state).length === 0;
}

/** The VRRP state that people see. */
export function vrrpState(state: ElectionState): VrrpState {
  switch (state.role.kind) {
    case "MASTER":
    case "PROVISIONAL":
      return "MASTER";
    case "STOPPED":
    case "RELEASING":
      return "INIT";
    case "BACKUP":
      if (faultsOf(state).length > 0) return "FAULT";
      if (!state.self.tracking.ready) return "INIT";
      // It cannot read the Lease yet, and sees another one serve.
      return state.lease.view === null && (state.wire.probed?.owner ?? null) === null ? "INIT" : "BACKUP";
  }
}
