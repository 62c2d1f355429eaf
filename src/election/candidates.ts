/**
 * The candidates as this node sees them, itself among them, and which of them preempt. Preemption is
 * cooperative: a candidate says that it wants to preempt, and the holder offers it the Lease (handover.ts).
 */
import type { Candidate, FastPathOffer } from "../kube/record.ts";
import { MOVE_TO } from "../kube/record.ts";
import { eligible, faultsOf, vrrpState } from "./eligibility.ts";
import { isShy } from "./flap-damping.ts";
import { freshCandidates } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import { compareCandidates, outranks, ranked } from "./ranking.ts";
import type { Ranked } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import { VIP_FAULT } from "./types.ts";
import type { ElectionSettings, Facts, Role } from "./types.ts";

/** This node as its annotation describes it. The counter is put in when the annotation is written. */
export function selfCandidate({ settings, facts, nowMs }: StepBuilder, role: Role): Candidate {
  const { effective, mac, fastPath } = facts.self.tracking;
  return {
    node: settings.node,
    base: settings.base,
    effective,
    eligible: eligible(facts, role),
    state: vrrpState(facts, role),
    // The others tell by this fault whose machine has the VIP by other software.
    faults: facts.self.tracking.foreign ? [...faultsOf(facts, role), VIP_FAULT] : faultsOf(facts, role),
    preempt: wantsToPreempt(settings, facts, nowMs),
    ip: ownIp(settings, facts),
    mac,
    fastPath: fastPath === undefined ? lastFastPath(settings, facts) : fastPath,
    vips: settings.vips,
    ...(settings.peer === undefined ? {} : { peer: settings.peer }),
    instance: settings.instance,
    version: settings.version,
    counter: facts.lease.publish.counter,
  };
}

/** The fast path is loaded here, so two holders do no harm for a while. */
export function hasFastPath({ self: { tracking } }: Facts): boolean {
  return tracking.fastPath !== null && tracking.fastPath !== undefined;
}

/** This node's address on the VIP's network, canonical text. */
export function ownIp(settings: ElectionSettings, { self: { tracking } }: Facts): string {
  return tracking.ip ?? settings.ip;
}

/**
 * What the previous process of this agent said of the fast path. A restarted agent finds its predecessor's
 * rules in the kernel. To withdraw them for a moment would cost its clients their connections.
 */
function lastFastPath(settings: ElectionSettings, facts: Facts): FastPathOffer | null {
  const own = facts.lease.view?.candidates.get(settings.node)?.candidate;
  return own?.instance === settings.instance ? own.fastPath : null;
}

/** The other candidates whose agents are alive, by the newest record. */
export function peers(settings: ElectionSettings, view: LeaseView): readonly Candidate[] {
  return freshCandidates(view).filter((candidate) => candidate.node !== settings.node);
}

/** The same, and those of whose agents nothing was heard lately. */
export function everyPeer(settings: ElectionSettings, view: LeaseView): readonly Candidate[] {
  return [...view.candidates.values()]
    .map(({ candidate }) => candidate)
    .filter((candidate) => candidate.node !== settings.node);
}

/** The candidates that may claim, best first. This node is among them by what it knows of itself. */
export function claimants(step: StepBuilder, role: Role, view: LeaseView): readonly Candidate[] {
  return ranked(
    [...peers(step.settings, view), selfCandidate(step, role)].filter((candidate) => candidate.eligible),
  );
}

/** The node that a person wants to hold the VIP; "" when no person has said so. */
export function moveTarget(view: LeaseView): string {
  return view.record?.annotations[MOVE_TO] ?? "";
}

function wantsToPreempt(settings: ElectionSettings, facts: Facts, nowMs: number): boolean {
  if (settings.nopreempt || isShy(facts, nowMs)) return false;
  if (settings.preemptDelayMs === 0) return true;
  const { outrankingSinceMs } = facts.self;
  return outrankingSinceMs !== null && nowMs >= outrankingSinceMs + preemptDelay(settings, facts);
}

/**
 * Several better nodes wait at the same time, and their clocks differ by up to 10 %. The best one must be the
 * first, or the VIP would go to each of them in turn. So a node waits an eighth longer for each better
 * candidate.
 */
function preemptDelay(settings: ElectionSettings, facts: Facts): number {
  const { view } = facts.lease;
  const { preemptDelayMs, node } = settings;
  const self = { node, ip: ownIp(settings, facts), effective: facts.self.tracking.effective };
  const better = view === null ? [] : peers(settings, view).filter((one) => isBetter(one, self));
  return preemptDelayMs * (1 + better.length / 8);
}

function isBetter(candidate: Candidate, than: Ranked): boolean {
  return candidate.eligible && compareCandidates(candidate, than) < 0;
}

/**
 * The preempt delay runs while this node sees a lower holder. It starts over when a better or equal holder
 * appears, as keepalived's does. It delays preemption only: a dead holder is replaced at once.
 */
export function trackOutranking(step: StepBuilder, role: Role): void {
  const { settings, facts, nowMs } = step;
  if (settings.nopreempt || settings.preemptDelayMs === 0) return;
  const { view } = facts.lease;
  const { outrankingSinceMs, tracking } = facts.self;
  const name = view?.record?.holder ?? "";
  const holder = name === "" || name === settings.node ? undefined : view?.candidates.get(name)?.candidate;
  if (holder === undefined || !eligible(facts, role) || tracking.effective <= holder.effective) {
    if (outrankingSinceMs !== null) step.setSelf({ outrankingSinceMs: null });
    return;
  }
  const sinceMs = outrankingSinceMs ?? nowMs;
  if (outrankingSinceMs === null) step.setSelf({ outrankingSinceMs: sinceMs });
  const dueAtMs = sinceMs + preemptDelay(settings, facts);
  if (nowMs < dueAtMs) step.wakeAt(dueAtMs);
}

/**
 * Those of `able` to which a healthy holder gives the VIP: they have a higher priority, and want to preempt.
 */
export function preempting(able: readonly Candidate[], holder: Candidate): readonly Candidate[] {
  return able.filter((candidate) => candidate.preempt && outranks(candidate, holder));
}

/** The candidate whose VIP interface has this MAC address; undefined: the machine is a stranger. */
export function candidateAt({ lease: { view } }: Facts, mac: string): Candidate | undefined {
  for (const { candidate } of view?.candidates.values() ?? []) if (candidate.mac === mac) return candidate;
  return undefined;
}
