/**
 * Giving the VIP to another node without a gap: the holder offers the Lease, the successor claims and binds, and only then the holder lets go (ADR 0005).
 * Preemption is cooperative: the holder decides, and the others only say who they are. Here are both sides of an offer, and everything that ends one.
 */
import { OFFER } from "../kube/record.ts";
import type { Candidate } from "../kube/record.ts";
import type { LeaseWrite, WriteOutcome } from "../kube/store.ts";
import { moveTarget, peers, preempting, selfCandidate } from "./candidates.ts";
import { eligible, faultsOf } from "./eligibility.ts";
import { holdVip, limitVip, offerEnd, overdueAfter } from "./fence.ts";
import type { LeaseView } from "./lease-view.ts";
import { isAsking } from "./link-loss.ts";
import { ranked } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import { releaseLease } from "./stopping.ts";
import { INTERFACE_FAULT, UNSTABLE_FAULT } from "./types.ts";
import type { Handover, HandoverReason, Master } from "./types.ts";

/** A successor that has not claimed by then is passed over. */
const OFFER_MS = 300;
/** An offer is answered at once or not at all: an old one may come from a holder that died with its VIP bound. */
const OFFER_FRESH_MS = 300;
/** A hand-over that nobody took by then is over: a stopping holder releases, a healthy one stays. */
const HANDOVER_MS = 1_000;
/** A healthy holder whose offer nobody took waits this long before it offers again. */
const CALM_MS = 10_000;
/** One whose link flaps does so sooner. */
const UNSTABLE_CALM_MS = 1_000;
/**
 * A holder that sees its offer taken stays bound this much longer: the watch that tells it may be faster than the answer that lets the successor bind. Its own
 * fence still holds.
 */
export const LINGER_MS = 200;
/** Between two tries to withdraw an offer. */
const WITHDRAW_RETRY_MS = 500;
/** A candidate's side: the holder has just offered the Lease to this node, which may take it. */
export function offeredToUs(step: StepBuilder, view: LeaseView): boolean {
  return (
    view.record?.annotations[OFFER] === step.settings.node &&
    eligible(step.state) &&
    step.nowMs - view.offerAtMs < OFFER_FRESH_MS
  );
}

/** `holder` has taken this node's offer. True while this node stays bound for it. */
export function lingers(step: StepBuilder, role: Master, holder: string): boolean {
  const { handover } = role;
  if (handover?.offer?.to !== holder || role.linkLoss !== null) return false;
  const takenAtMs = handover.takenAtMs ?? step.nowMs;
  step.set({ role: { ...role, handover: { ...handover, takenAtMs } } });
  if (step.nowMs >= takenAtMs + LINGER_MS) return false;
  step.wakeAt(takenAtMs + LINGER_MS);
  return true;
}

/** Returns true when the role has changed. */
export function decideHandover(step: StepBuilder, role: Master, view: LeaseView): boolean {
  const { settings, state, nowMs } = step;
  if (view.record?.holder !== settings.node) return state.stopping === null ? false : giveUp(step, role, view, "stop");
  if (isAsking(role) && state.stopping === null) return false;
  const wish = handoverWish(step, role, view);
  if (wish === null) {
    if (role.handover !== null) endHandover(step, role);
    return false;
  }
  const handover: Handover = role.handover ?? { reason: wish.reason, startedAtMs: nowMs, tried: [], offer: null, takenAtMs: null };
  const overAtMs = handover.startedAtMs + HANDOVER_MS;
  const next = wish.successors.find((candidate) => !handover.tried.includes(candidate.node));
  const offerUntilMs = handover.offer === null ? nowMs : handover.offer.sentAtMs + OFFER_MS;
  if (nowMs < overAtMs && nowMs < offerUntilMs) {
    step.wakeAt(Math.min(offerUntilMs, overAtMs));
    return false;
  }
  if (nowMs >= overAtMs || next === undefined) return giveUp(step, { ...role, handover }, view, wish.reason);
  if (state.lease.offerInFlight || state.lease.write !== null) {
    // The API is slow with our last offer or renewal; sending the next one would only race it.
    step.set({ role: { ...role, handover } });
    step.wakeAt(overAtMs);
    return false;
  }
  const offer = { to: next.node, sentAtMs: nowMs };
  step.set({ role: { ...role, handover: { ...handover, tried: [...handover.tried, next.node], offer } } });
  step.effect({ kind: "report", report: { kind: "handover", reason: wish.reason, to: next.node } });
  sendOffer(step, { kind: "offer", held: view.record, to: next.node });
  step.wakeAt(nowMs + OFFER_MS);
  return false;
}

interface Wish {
  readonly reason: HandoverReason;
  /** Best first. Empty only for `stop`. */
  readonly successors: readonly Candidate[];
}

/** Why, and to whom, the holder should give way; null: stay. */
function handoverWish(step: StepBuilder, role: Master, view: LeaseView): Wish | null {
  const { settings, state, nowMs } = step;
  const able = ranked(peers(settings, view).filter((candidate) => candidate.eligible));
  if (state.stopping !== null) return { reason: "stop", successors: able };
  if (able.length === 0) return null;
  const { linkLoss } = role;
  if (linkLoss !== null && linkLoss.owner !== null) {
    const owner = able.filter((candidate) => candidate.node === linkLoss.owner);
    return owner.length > 0 ? { reason: "fault", successors: owner } : null;
  }
  // Where renewals fail an offer fails as well, and what the others said of themselves is old: without API servers every balancer is in FAULT. A dead link is
  // given up all the same.
  const late = nowMs >= overdueAfter(settings, role.renewedAtMs);
  if (late && role.handover === null && !faultsOf(state).includes(INTERFACE_FAULT)) return null;
  if (faultsOf(state).length > 0) {
    // Strict VRRP: a backup with nopreempt accepts any advertisement, so the holder is not displaced.
    return settings.nopreemptStrict ? null : calm(step, role, { reason: "fault", successors: able });
  }
  const target = moveTarget(view);
  if (target === settings.node) return null;
  const wished = able.filter((candidate) => candidate.node === target);
  if (wished.length > 0) return calm(step, role, { reason: "move-to", successors: wished });
  const self = selfCandidate(settings, state, nowMs);
  const better = preempting(able, self);
  return better.length > 0 ? calm(step, role, { reason: "preempt", successors: better }) : null;
}

/** After an offer that nobody took, not again at once. */
function calm(step: StepBuilder, role: Master, wish: Wish): Wish | null {
  // A link that comes and goes has lost offers in its bad moments, and has to use the good ones.
  const untilMs = faultsOf(step.state).includes(UNSTABLE_FAULT) ? role.calmUntilMs - CALM_MS + UNSTABLE_CALM_MS : role.calmUntilMs;
  if (role.handover !== null || step.nowMs >= untilMs) return wish;
  step.wakeAt(untilMs);
  return null;
}

function giveUp(step: StepBuilder, role: Master, view: LeaseView, reason: HandoverReason): boolean {
  if (reason !== "stop") {
    endHandover(step, role);
    return false;
  }
  releaseLease(step, view);
  return true;
}

/** Stay, bind again if we had let go, and find out at once that nobody has taken the offer. */
function endHandover(step: StepBuilder, role: Master): void {
  const { nowMs } = step;
  step.set({ role: { ...role, handover: null, calmUntilMs: nowMs + CALM_MS, nextRenewAtMs: nowMs } });
  step.effect({ kind: "report", report: { kind: "handover", reason: role.handover?.reason ?? "preempt", to: null } });
  if (role.offered?.unbound !== true) holdVip(step);
}

/**
 * Withdraws an offer that nobody took, so that a late successor's claim fails. Also one that we do not know of, from a person or a late copy of a request:
 * whoever sees it first may take it, at any time.
 */
export function withdrawOffer(step: StepBuilder): void {
  const { state, settings, nowMs } = step;
  const { role } = state;
  const { view } = state.lease;
  if (role.kind !== "MASTER" || role.handover !== null) return;
  if (view?.record?.holder !== settings.node || view.record.annotations[OFFER] === undefined) return;
  if (state.lease.offerInFlight || state.lease.write !== null) return;
  const offered = role.offered ?? { sinceMs: nowMs, unbound: false, retryAtMs: nowMs };
  if (nowMs < offered.retryAtMs) return step.wakeAt(offered.retryAtMs);
  step.wakeAt(offerEnd(offered));
  step.set({ role: { ...role, offered: { ...offered, retryAtMs: nowMs + WITHDRAW_RETRY_MS } } });
  if (role.offered === null) limitVip(step);
  sendOffer(step, { kind: "offer", held: view.record, to: null });
}

/** The first offer of a MASTER limits how long it stays bound, before the offer is written. */
function sendOffer(step: StepBuilder, write: Extract<LeaseWrite, { kind: "offer" }>): void {
  const { role } = step.state;
  step.setLease({ offerInFlight: true });
  if (write.to !== null && role.kind === "MASTER") {
    const first = role.offered === null;
    if (first) step.set({ role: { ...role, offered: { sinceMs: step.nowMs, unbound: false, retryAtMs: step.nowMs } } });
    if (first) step.effect({ kind: "forget" });
    if (role.offered?.unbound !== true) limitVip(step);
  }
  step.sendBeside(write, HANDOVER_MS);
}

export function offerAnswered(step: StepBuilder, write: Extract<LeaseWrite, { kind: "offer" }>, sentAtMs: number, outcome: WriteOutcome): void {
  const { role } = step.state;
  if (role.kind !== "MASTER") return;
  if (outcome.kind === "ok" && write.to === null) {
    // The renewal that shows it gone may come at once.
    step.set({ role: { ...role, nextRenewAtMs: step.nowMs } });
  } else if (outcome.kind === "ok" && role.offered?.unbound === false) {
    // It has replaced every earlier one, untaken.
    step.set({ role: { ...role, offered: { ...role.offered, sinceMs: sentAtMs } } });
    holdVip(step);
  } else if (outcome.kind === "conflict" && role.handover !== null && outcome.record?.holder === step.settings.node) {
    // It met our own late renewal, or a person's edit: that candidate has not been asked yet.
    const tried = role.handover.tried.filter((node) => node !== write.to);
    step.set({ role: { ...role, handover: { ...role.handover, tried, offer: null } } });
  } else if (outcome.kind === "no-answer" && !outcome.ambiguous && write.to !== null) neverOffered(step, role);
}

/** The first offer of a hand-over reached no API server at all: nobody can have taken it, and our right to the VIP is what it was. */
function neverOffered(step: StepBuilder, role: Master): void {
  const { handover, offered } = role;
  if (handover === null || handover.reason === "stop" || role.linkLoss !== null || handover.tried.length > 1) return;
  if (offered === null || offered.unbound || offered.sinceMs < handover.startedAtMs) return;
  endHandover(step, { ...role, offered: null });
}
