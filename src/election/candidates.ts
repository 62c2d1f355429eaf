/**
 * The candidates as this node sees them, itself among them, and who of them wants to preempt. Preemption is cooperative: a candidate says that it wants to
 * (here), and the holder offers it the Lease (handover.ts).
 */
import type { Candidate, FastPathOffer } from "../kube/record.ts";
import { MOVE_TO } from "../kube/record.ts";
import { eligible, faultsOf, vrrpState } from "./eligibility.ts";
import { freshCandidates } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import { outranks, ranked } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionSettings, ElectionState } from "./types.ts";

/** This node as its annotation describes it; the counter is put in when it is written. */
export function desiredCandidate(step: StepBuilder): Candidate {
  return selfCandidate(step.settings, step.state, step.nowMs);
}

export function selfCandidate(settings: ElectionSettings, state: ElectionState, nowMs: number): Candidate {
  return {
    node: settings.node,
    base: settings.base,
    effective: state.self.tracking.effective,
    eligible: eligible(state),
    state: vrrpState(state),
    faults: faultsOf(state),
    preempt: wantsToPreempt(settings, state, nowMs),
    ip: settings.ip,
    mac: state.self.tracking.mac,
    fastPath: state.self.tracking.fastPath === undefined ? lastOffer(settings, state) : state.self.tracking.fastPath,
    instance: settings.instance,
    version: settings.version,
    counter: state.lease.publish.counter,
  };
}

/** A restarted agent finds its predecessor's rules in the kernel: to withdraw them for a moment would cost its clients their connections. */
function lastOffer(settings: ElectionSettings, state: ElectionState): FastPathOffer | null {
  const own = state.lease.view?.candidates.get(settings.node)?.candidate;
  return own?.instance === settings.instance ? own.fastPath : null;
}

/** Peers that count, from the newest record. */
export function peers(settings: ElectionSettings, view: LeaseView): readonly Candidate[] {
  return freshCandidates(view).filter((candidate) => candidate.node !== settings.node);
}

/** Candidates that may claim, best first, this node among them by its own knowledge. */
export function claimants(settings: ElectionSettings, state: ElectionState, view: LeaseView, nowMs: number): readonly Candidate[] {
  const self = selfCandidate(settings, state, nowMs);
  return ranked([...peers(settings, view), self].filter((candidate) => candidate.eligible));
}

/** The node that a person wants to hold the VIP; "" when nobody said so. */
export function moveTarget(view: LeaseView): string {
  return view.record?.annotations[MOVE_TO] ?? "";
}

function wantsToPreempt(settings: ElectionSettings, state: ElectionState, nowMs: number): boolean {
  if (settings.nopreempt) return false;
  if (settings.preemptDelayMs === 0) return true;
  return state.self.outrankingSinceMs !== null && nowMs - state.self.outrankingSinceMs >= settings.preemptDelayMs;
}

/**
 * The preempt delay runs while a lower holder is seen, and starts over when a better or equal one appears, as keepalived's
 * does. It delays preemption only: a dead holder is replaced at once.
 */
export function trackOutranking(step: StepBuilder): void {
  const { settings, state, nowMs } = step;
  if (settings.nopreempt || settings.preemptDelayMs === 0) return;
  const holder = state.lease.view?.record?.holder ?? "";
  const holding = holder === "" || holder === settings.node ? undefined : state.lease.view?.candidates.get(holder)?.candidate;
  const lower = holding !== undefined && eligible(state) && state.self.tracking.effective > holding.effective;
  if (!lower) {
    if (state.self.outrankingSinceMs !== null) step.setSelf({ outrankingSinceMs: null });
    return;
  }
  const since = state.self.outrankingSinceMs ?? nowMs;
  if (state.self.outrankingSinceMs === null) step.setSelf({ outrankingSinceMs: since });
  if (nowMs < since + settings.preemptDelayMs) step.wakeAt(since + settings.preemptDelayMs);
}

/** Of `able` those to which a healthy holder gives the VIP: they have a higher priority, and want to preempt. */
export function preempting(able: readonly Candidate[], holder: Candidate): readonly Candidate[] {
  return able.filter((candidate) => candidate.preempt && outranks(candidate, holder));
}

/** The candidate whose VIP interface has this MAC address. */
export function candidateAt(state: ElectionState, mac: string): Candidate | undefined {
  for (const { candidate } of state.lease.view?.candidates.values() ?? []) if (candidate.mac === mac) return candidate;
  return undefined;
}
