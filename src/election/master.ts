/**
 * The holder: renews, gives way to a better node without a gap, and lets go when another is named.
 * Preemption is cooperative: the holder decides, the others only say who they are.
 */
import { OFFER } from "../kube/record.ts";
import type { Candidate } from "../kube/record.ts";
import type { LeaseWrite, WriteOutcome } from "../kube/store.ts";
import { isAsking, trackLink } from "./away.ts";
import { defend } from "./contention.ts";
import type { Draft } from "./draft.ts";
import { faultsOf, INTERFACE_FAULT, moveTarget, peers, selfCandidate, UNSTABLE_FAULT } from "./facts.ts";
import { heldUntil } from "./hold.ts";
import type { LeaseView } from "./lease-view.ts";
import { becomeProvisional, holdMarginMs } from "./provisional.ts";
import { outranks, ranked } from "./ranking.ts";
import { OFFER_HOLD_MS, rightUntil } from "./right.ts";
import { tenureOf } from "./tenure.ts";
import type { Tenure } from "./tenure.ts";
import type { Handover, HandoverReason, Master } from "./types.ts";
import { disturbed } from "./unrest.ts";

/** A successor that has not claimed by then is passed over. */
export const OFFER_MS = 300;
/** A hand-over that nobody took by then is over: a stopping holder releases, a healthy one stays. */
export const HANDOVER_MS = 1_000;
/** One whose link flaps does so sooner. */
const UNSTABLE_CALM_MS = 1_000;
/** A healthy holder whose offer nobody took waits this long before it offers again. */
export const CALM_MS = 10_000;
/**
 * A holder that sees its offer taken stays bound this much longer: the watch that tells it may be faster than the answer that lets the successor bind. Its own
 * fence still holds.
 */
export const LINGER_MS = 200;
/** Another candidate claims the VIP: a renewal at all API servers at once has this long to confirm us. */
export const CONTESTED_MS = 500;
/** Between two tries to withdraw an offer. */
const RETRY_MS = 500;
/** The last words of a stopping holder may take this long. */
const RELEASE_MS = 1_000;

export function decideMaster(draft: Draft, role: Master): void {
  const { settings, state, nowMs } = draft;
  const { view } = state;
  draft.wakeAt(role.renewedAtMs + settings.renewDeadlineMs);
  const holder = view?.record?.holder ?? "";
  const { handover } = role;
  // Once the successor has been seen to hold it, this tenure is over, even if somebody empties the Lease in the moments that we linger.
  const succeeded = handover !== null && handover.takenAtMs !== null;
  const tenure = tenureOf(settings, view?.record ?? null);
  if (tenure === "namesake" || tenure === "another" || (tenure === "nobody" && succeeded)) {
    if (handover?.offer?.to === holder && role.away === null) {
      const takenAtMs = handover.takenAtMs ?? nowMs;
      draft.set({ role: { ...role, handover: { ...handover, takenAtMs } } });
      if (nowMs < takenAtMs + LINGER_MS) return draft.wakeAt(takenAtMs + LINGER_MS);
    }
    draft.unbind();
    return draft.become({ kind: "BACKUP", retryAtMs: nowMs }, lossReason(tenure, holder));
  }
  if (role.offered?.unbound === false) draft.wakeAt(role.offered.sinceMs + OFFER_HOLD_MS);
  trackLink(draft, role, view);
  const now = draft.state.role;
  if (now.kind !== "MASTER") return;
  if (view !== null && decideHandover(draft, now, view)) return;
  if (decideLoss(draft)) return;
  if (now.away === null) defend(draft, now);
  withdrawOffer(draft);
  decideRenewal(draft);
}

/**
 * No renewal for too long: is there a reason to keep the VIP beyond the deadline? Not where an offer may have been taken. Returns true when the role has changed.
 */
function decideLoss(draft: Draft): boolean {
  const { settings, state, nowMs } = draft;
  const { role } = state;
  if (role.kind !== "MASTER" || role.offered !== null || role.handover !== null || role.away !== null) return false;
  const rightUntilMs = rightUntil(settings, role);
  if (role.contestedAtMs !== null && nowMs >= role.contestedAtMs + CONTESTED_MS) {
    draft.set({ unrest: disturbed(state.unrest, nowMs) });
    becomeProvisional(draft, { kind: "contested" }, rightUntilMs);
    return true;
  }
  if (role.contestedAtMs !== null) draft.wakeAt(role.contestedAtMs + CONTESTED_MS);
  const lateAtMs = rightUntilMs - holdMarginMs(settings.renewDeadlineMs);
  if (nowMs < lateAtMs) {
    draft.wakeAt(lateAtMs);
    return false;
  }
  const untilMs = heldUntil(settings, state, nowMs);
  if (untilMs === null || untilMs <= rightUntilMs) return false;
  becomeProvisional(draft, { kind: "hold", rightUntilMs }, untilMs);
  return true;
}

function lossReason(tenure: Tenure, holder: string): string {
  switch (tenure) {
    case "nobody":
      return "the successor has had the Lease";
    case "namesake":
      return `another machine named ${holder} holds the Lease`;
    case "another":
    case "ours":
    case "unmarked":
      return `${holder} holds the Lease`;
  }
}

function decideRenewal(draft: Draft): void {
  const { settings, state, nowMs } = draft;
  const { role, view, write } = state;
  // One at a time: an offer names the renewTime that it was made at. It takes 1 s at most.
  if (role.kind !== "MASTER" || write !== null || state.offerInFlight || view === null) return;
  if (nowMs < role.nextRenewAtMs) return draft.wakeAt(role.nextRenewAtMs);
  const timeoutMs = role.renewedAtMs + settings.renewDeadlineMs - nowMs;
  if (timeoutMs <= 0) return;
  // The claim of the one that has the VIP tests the renewTime that it saw.
  const spareMs = timeoutMs - settings.renewDeadlineMs / 2;
  if (role.away !== null && role.away.askedAtMs !== null && spareMs > 0) return draft.wakeAt(nowMs + spareMs);
  const { record } = view;
  if (record !== null && record.holder === settings.node) return draft.send({ kind: "renew", held: record }, timeoutMs, role.contestedAtMs !== null);
  // Somebody deleted or emptied it. Nobody else may claim before our fence has run out, so it is still ours to write.
  draft.effect({ kind: "report", report: { kind: "recreate" } });
  draft.send({ kind: "claim", replaces: record, offered: false, instance: settings.instance }, timeoutMs);
}

/** Returns true when the role has changed. */
function decideHandover(draft: Draft, role: Master, view: LeaseView): boolean {
  const { settings, state, nowMs } = draft;
  if (view.record?.holder !== settings.node) return state.stopping === null ? false : giveUp(draft, role, view, "stop");
  if (isAsking(role) && state.stopping === null) return false;
  const wish = handoverWish(draft, role, view);
  if (wish === null) {
    if (role.handover !== null) endHandover(draft, role);
    return false;
  }
  const handover: Handover = role.handover ?? { reason: wish.reason, startedAtMs: nowMs, tried: [], offer: null, takenAtMs: null };
  const overAtMs = handover.startedAtMs + HANDOVER_MS;
  const next = wish.successors.find((candidate) => !handover.tried.includes(candidate.node));
  const offerUntilMs = handover.offer === null ? nowMs : handover.offer.sentAtMs + OFFER_MS;
  if (nowMs < overAtMs && nowMs < offerUntilMs) {
    draft.wakeAt(Math.min(offerUntilMs, overAtMs));
    return false;
  }
  if (nowMs >= overAtMs || next === undefined) return giveUp(draft, { ...role, handover }, view, wish.reason);
  if (state.offerInFlight || state.write !== null) {
    // The API is slow with our last offer or renewal; sending the next one would only race it.
    draft.set({ role: { ...role, handover } });
    draft.wakeAt(overAtMs);
    return false;
  }
  const offer = { to: next.node, sentAtMs: nowMs };
  draft.set({ role: { ...role, handover: { ...handover, tried: [...handover.tried, next.node], offer } } });
  draft.effect({ kind: "report", report: { kind: "handover", reason: wish.reason, to: next.node } });
  draft.sendOffer({ kind: "offer", held: view.record, to: next.node }, HANDOVER_MS);
  draft.wakeAt(nowMs + OFFER_MS);
  return false;
}

interface Wish {
  readonly reason: HandoverReason;
  /** Best first. Empty only for `stop`. */
  readonly successors: readonly Candidate[];
}

/** Why, and to whom, the holder should give way; null: stay. */
function handoverWish(draft: Draft, role: Master, view: LeaseView): Wish | null {
  const { settings, state, nowMs } = draft;
  const able = ranked(peers(settings, view).filter((candidate) => candidate.eligible));
  if (state.stopping !== null) return { reason: "stop", successors: able };
  if (able.length === 0) return null;
  const { away } = role;
  if (away !== null && away.owner !== null) {
    const owner = able.filter((candidate) => candidate.node === away.owner);
    return owner.length > 0 ? { reason: "fault", successors: owner } : null;
  }
  // Where renewals fail an offer fails as well, and what the others said of themselves is old: without API servers every balancer is in FAULT. A dead link is
  // given up all the same.
  const late = nowMs >= role.renewedAtMs + settings.renewDeadlineMs / 2;
  if (late && role.handover === null && !faultsOf(state).includes(INTERFACE_FAULT)) return null;
  if (faultsOf(state).length > 0) {
    // Strict VRRP: a backup with nopreempt accepts any advertisement, so the holder is not displaced.
    return settings.nopreemptStrict ? null : calm(draft, role, { reason: "fault", successors: able });
  }
  const target = moveTarget(view);
  if (target === settings.node) return null;
  const wished = able.filter((candidate) => candidate.node === target);
  if (wished.length > 0) return calm(draft, role, { reason: "move-to", successors: wished });
  const self = selfCandidate(settings, state, nowMs);
  const better = able.filter((candidate) => candidate.preempt && outranks(candidate, self));
  return better.length > 0 ? calm(draft, role, { reason: "preempt", successors: better }) : null;
}

/** After an offer that nobody took, not again at once. */
function calm(draft: Draft, role: Master, wish: Wish): Wish | null {
  // A link that comes and goes has lost offers in its bad moments, and has to use the good ones.
  const untilMs = faultsOf(draft.state).includes(UNSTABLE_FAULT) ? role.calmUntilMs - CALM_MS + UNSTABLE_CALM_MS : role.calmUntilMs;
  if (role.handover !== null || draft.nowMs >= untilMs) return wish;
  draft.wakeAt(untilMs);
  return null;
}

function giveUp(draft: Draft, role: Master, view: LeaseView, reason: HandoverReason): boolean {
  if (reason !== "stop") {
    endHandover(draft, role);
    return false;
  }
  draft.unbind();
  const ours = view.record?.holder === draft.settings.node;
  draft.become({ kind: "RELEASING", untilMs: draft.nowMs + (ours ? RELEASE_MS : 0) }, "released");
  draft.set({ write: null });
  if (ours && view.record !== null) draft.send({ kind: "release", held: view.record }, RELEASE_MS);
  return true;
}

/** Stay, bind again if we had let go, and find out at once that nobody has taken the offer. */
function endHandover(draft: Draft, role: Master): void {
  const { nowMs } = draft;
  draft.set({ role: { ...role, handover: null, calmUntilMs: nowMs + CALM_MS, nextRenewAtMs: nowMs } });
  draft.effect({ kind: "report", report: { kind: "handover", reason: role.handover?.reason ?? "preempt", to: null } });
  if (role.offered?.unbound !== true) draft.hold();
}

/**
 * Withdraws an offer that nobody took, so that a late successor's claim fails. Also one that we do not know of, from a person or a late copy of a request:
 * whoever sees it first may take it, at any time.
 */
function withdrawOffer(draft: Draft): void {
  const { state, settings, nowMs } = draft;
  const { role, view } = state;
  if (role.kind !== "MASTER" || role.handover !== null) return;
  if (view?.record?.holder !== settings.node || view.record.annotations[OFFER] === undefined) return;
  if (state.offerInFlight || state.write !== null) return;
  const offered = role.offered ?? { sinceMs: nowMs, unbound: false, retryAtMs: nowMs };
  if (nowMs < offered.retryAtMs) return draft.wakeAt(offered.retryAtMs);
  draft.wakeAt(offered.sinceMs + OFFER_HOLD_MS);
  draft.set({ role: { ...role, offered: { ...offered, retryAtMs: nowMs + RETRY_MS } } });
  if (role.offered === null) draft.limit();
  draft.sendOffer({ kind: "offer", held: view.record, to: null }, HANDOVER_MS);
}

export function offerAnswered(draft: Draft, write: Extract<LeaseWrite, { kind: "offer" }>, sentAtMs: number, outcome: WriteOutcome): void {
  const { role } = draft.state;
  if (role.kind !== "MASTER") return;
  if (outcome.kind === "ok" && write.to === null) {
    // The renewal that shows it gone may come at once.
    draft.set({ role: { ...role, nextRenewAtMs: draft.nowMs } });
  } else if (outcome.kind === "ok" && role.offered?.unbound === false) {
    // It has replaced every earlier one, untaken.
    draft.set({ role: { ...role, offered: { ...role.offered, sinceMs: sentAtMs } } });
    draft.hold();
  } else if (outcome.kind === "conflict" && role.handover !== null && outcome.record?.holder === draft.settings.node) {
    // It met our own late renewal, or a person's edit: that candidate has not been asked yet.
    const tried = role.handover.tried.filter((node) => node !== write.to);
    draft.set({ role: { ...role, handover: { ...role.handover, tried, offer: null } } });
  } else if (outcome.kind === "no-answer" && !outcome.ambiguous && write.to !== null) neverOffered(draft, role);
}

/** The first offer of a hand-over reached no API server at all: nobody can have taken it, and our right to the VIP is what it was. */
function neverOffered(draft: Draft, role: Master): void {
  const { handover, offered } = role;
  if (handover === null || handover.reason === "stop" || role.away !== null || handover.tried.length > 1) return;
  if (offered === null || offered.unbound || offered.sinceMs < handover.startedAtMs) return;
  endHandover(draft, { ...role, offered: null });
}
