/** Before a node takes the VIP where no machine is known to have had it, it asks the wire (RFC 5227 section 2.1). */
import { candidateAt } from "./candidates.ts";
import type { StepBuilder } from "./step.ts";
import { VIP_FAULT } from "./types.ts";

/** A verdict of the wire counts for so long: the claim that it is for comes within seconds. */
const PROBED_FRESH_MS = 10_000;
/** After a verdict against us. */
const PROBE_AGAIN_MS = 2_000;
/** Without a verdict for so long, the wire has no say: a link without ARP, or none. */
const NO_VERDICT_MS = 5_000;

/** What the wire says to a node that would take the VIP where nobody is known to have had it. */
export type Verdict = "free" | "taken" | "unknown";

/**
 * Asks the wire, if that has not been done lately, and says what it answered (RFC 5227 section 2.1: never use an address before that). `alone`: another that asks as
 * we do may count as a claimant too; with a Lease to settle it it does not.
 */
export function askWire(step: StepBuilder, alone: boolean): Verdict {
  const { probed, probingSinceMs } = step.state.wire;
  const { nowMs } = step;
  if (probingSinceMs !== null) {
    if (nowMs >= probingSinceMs + NO_VERDICT_MS) return alone ? "unknown" : "free";
    step.wakeAt(probingSinceMs + NO_VERDICT_MS);
    return "unknown";
  }
  // Of several that ask at once the lowest MAC goes on. If each gave way to each, a cluster that is switched on as a whole would ask for 15 s, as was measured.
  const taken = probed !== null && (probed.owner !== null || (alone && probed.prober !== null && probed.prober < step.state.self.tracking.mac));
  const untilMs = probed === null ? nowMs : probed.atMs + (taken ? PROBE_AGAIN_MS : PROBED_FRESH_MS);
  if (nowMs < untilMs) {
    step.wakeAt(untilMs);
    noteStranger(step);
    return taken ? "taken" : "free";
  }
  step.probe(alone);
  step.wakeAt(nowMs + NO_VERDICT_MS);
  return "unknown";
}

/**
 * The machine that came later gives way: keepalived may still run, or another cluster may use the same address. A
 * candidate is no stranger, unless it says that it is not its agent that has the VIP there.
 */
function noteStranger(step: StepBuilder): void {
  const { state } = step;
  const owner = state.wire.probed?.owner ?? null;
  const candidate = owner === null ? undefined : candidateAt(state, owner);
  const isCandidate = candidate !== undefined && !candidate.faults.includes(VIP_FAULT);
  const stranger = owner === null || state.lease.view === null || isCandidate ? null : owner;
  if (stranger === state.wire.stranger) return;
  step.setWire({ stranger });
  if (stranger === null) return;
  step.effect({ kind: "report", report: { kind: "conflict", mac: stranger, node: candidate?.node ?? null, outcome: "refused" } });
}
