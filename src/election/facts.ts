/** What follows from the facts about this node and its peers: eligibility, state, candidacy, namesakes. */
import type { Candidate, FastPathOffer, VrrpState } from "../kube/record.ts";
import { MOVE_TO } from "../kube/record.ts";
import { freshCandidates, SILENCE_MS } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import { ranked } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionSettings, ElectionState } from "./types.ts";

/** Fault reported while another machine uses our node name. */
export const NAMESAKE_FAULT = "duplicate-node-name";
/** So often one insists on one's name against another machine that insists as well. Some late copies of what it said once are no insisting. */
const OVERWRITTEN_LIMIT = 10;
/** Fault of a node that came to a network where another machine has the VIP. */
export const CONFLICT_FAULT = "vip-conflict";
/** Fault of a node whose kernel cannot be given the VIP, or has it from another program already. */
export const VIP_FAULT = "vip";
/** Fault of a node whose link flapped or whose mastership was contested, for a while; see unrest.ts. */
export const UNSTABLE_FAULT = "unstable";
/** Fault of a dead link, which makes a bound VIP useless: it goes before anything else is tried. */
export const INTERFACE_FAULT = "interface";
/** Fault of a node whose balancer has no API server. */
export const BALANCER_FAULT = "balancer";
/** Faults that do not keep a node from serving when every candidate is in FAULT. */
const LIGHT_FAULTS: readonly string[] = [BALANCER_FAULT, UNSTABLE_FAULT];

export function isHolder(state: ElectionState): boolean {
  return state.role.kind === "MASTER";
}

export function faultsOf(state: ElectionState): readonly string[] {
  const ours = [
    ...(state.namesake === null ? [] : [NAMESAKE_FAULT]),
    ...(state.stranger === null ? [] : [CONFLICT_FAULT]),
    ...(isUnstable(state) ? [UNSTABLE_FAULT] : []),
  ];
  return ours.length === 0 ? state.self.faults : [...state.self.faults, ...ours];
}

/** It keeps a node from becoming holder. A holder keeps the VIP the first time, as moving it is what this is to prevent; not where trouble comes again and again. */
function isUnstable({ unstable, role, unrest }: ElectionState): boolean {
  switch (role.kind) {
    case "BACKUP":
      return unstable;
    case "MASTER":
      return unstable && unrest !== null && unrest.level > 0;
    case "PROVISIONAL":
    case "RELEASING":
    case "STOPPED":
      return false;
  }
}

/** May become holder. Every check must have spoken: a node that knows nothing of itself is no candidate. */
export function eligible(state: ElectionState): boolean {
  return state.stopping === null && state.self.ready && faultsOf(state).length === 0;
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
      if (!state.self.ready) return "INIT";
      // It cannot read the Lease yet, and sees another one serve.
      return state.view === null && (state.probed?.owner ?? null) === null ? "INIT" : "BACKUP";
  }
}

/** This node as its annotation describes it; the counter is put in when it is written. */
export function desiredCandidate(step: StepBuilder): Candidate {
  return selfCandidate(step.settings, step.state, step.nowMs);
}

export function selfCandidate(settings: ElectionSettings, state: ElectionState, nowMs: number): Candidate {
  return {
    node: settings.node,
    base: settings.base,
    effective: state.self.effective,
    eligible: eligible(state),
    state: vrrpState(state),
    faults: faultsOf(state),
    preempt: wantsToPreempt(settings, state, nowMs),
    ip: settings.ip,
    mac: state.self.mac,
    fastPath: state.self.fastPath === undefined ? lastOffer(settings, state) : state.self.fastPath,
    instance: settings.instance,
    version: settings.version,
    counter: state.counter,
  };
}

/** A restarted agent finds its predecessor's rules in the kernel: to withdraw them for a moment would cost its clients their connections. */
function lastOffer(settings: ElectionSettings, state: ElectionState): FastPathOffer | null {
  const own = state.view?.candidates.get(settings.node)?.candidate;
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

/** When nobody is eligible: those that only no API server answers, or that have to prove themselves. Any of them is as good as a healthy one. */
export function lastResorts(settings: ElectionSettings, state: ElectionState, others: readonly Candidate[], nowMs: number): readonly Candidate[] {
  if (state.stopping !== null) return [];
  const self = selfCandidate(settings, state, nowMs);
  const all = [...others, self];
  if (all.some((candidate) => candidate.eligible)) return [];
  return ranked(all.filter((candidate) => candidate.faults.length > 0 && candidate.faults.every((fault) => LIGHT_FAULTS.includes(fault))));
}

/** The node that a person wants to hold the VIP; "" when nobody said so. */
export function moveTarget(view: LeaseView): string {
  return view.record?.annotations[MOVE_TO] ?? "";
}

function wantsToPreempt(settings: ElectionSettings, state: ElectionState, nowMs: number): boolean {
  if (settings.nopreempt) return false;
  if (settings.preemptDelayMs === 0) return true;
  return state.outrankingSinceMs !== null && nowMs - state.outrankingSinceMs >= settings.preemptDelayMs;
}

/**
 * The preempt delay runs while a lower holder is seen, and starts over when a better or equal one appears, as keepalived's
 * does. It delays preemption only: a dead holder is replaced at once.
 */
export function trackOutranking(step: StepBuilder): void {
  const { settings, state, nowMs } = step;
  if (settings.nopreempt || settings.preemptDelayMs === 0) return;
  const holder = state.view?.record?.holder ?? "";
  const holding = holder === "" || holder === settings.node ? undefined : state.view?.candidates.get(holder)?.candidate;
  const lower = holding !== undefined && eligible(state) && state.self.effective > holding.effective;
  if (!lower) {
    if (state.outrankingSinceMs !== null) step.set({ outrankingSinceMs: null });
    return;
  }
  const since = state.outrankingSinceMs ?? nowMs;
  if (state.outrankingSinceMs === null) step.set({ outrankingSinceMs: since });
  if (nowMs < since + settings.preemptDelayMs) step.wakeAt(since + settings.preemptDelayMs);
}

/**
 * Of two machines of one name one serves, and says so under that name. The later one finds the first one's annotation and
 * stands back until its counter has been silent; a machine that was installed anew thus waits once. (That they never both hold is not
 * left to this: see tenure.ts.)
 */
export function trackNamesake(step: StepBuilder, before: LeaseView | null): void {
  const { settings, state, nowMs } = step;
  const own = state.view?.candidates.get(settings.node)?.candidate;
  // Our own words while we are silent are a late copy of what we said before we knew: they prove nothing.
  if (own === undefined || own.instance === settings.instance) return;
  if (before?.candidates.get(settings.node)?.candidate.instance === settings.instance) step.set({ overwritten: state.overwritten + 1 });
  if (state.namesake === null && ownsTheName(step, own.instance)) return step.set({ published: "" });
  if (state.namesake?.instance === own.instance && state.namesake.counter === own.counter) return;
  if (state.namesake === null) step.effect({ kind: "report", report: { kind: "namesake", instance: own.instance } });
  step.set({ overwritten: 0, namesake: { instance: own.instance, counter: own.counter, untilMs: nowMs + SILENCE_MS } });
}

/**
 * We have been heard under this name lately: whoever wrote over it came later and must give way, not we. Two that began at one moment both think so: one
 * must yield, and it is the one whose instance is greater.
 */
function ownsTheName({ settings, state, nowMs }: StepBuilder, other: string): boolean {
  if (nowMs - state.publishedOkAtMs >= SILENCE_MS) return false;
  return state.overwritten < OVERWRITTEN_LIMIT || settings.instance < other;
}

/** The namesake has been silent while we could read: it is gone, the name is ours. */
export function settleNamesake(step: StepBuilder): void {
  const { namesake, readOkAtMs } = step.state;
  if (namesake === null) return;
  // Only a read from after the silence proves it: an API that says nothing is no silence of the namesake's.
  if (readOkAtMs !== null && readOkAtMs >= namesake.untilMs) {
    step.set({ namesake: null, counter: namesake.counter });
  } else if (step.nowMs < namesake.untilMs) step.wakeAt(namesake.untilMs);
}
