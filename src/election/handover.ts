/**
 * Giving the VIP to another node without a gap: the holder offers the Lease, the successor claims it and
 * binds, and only then the holder lets go (ADR 0005). Both sides of an offer are here, and everything that
 * ends one. How long an offered VIP stays bound is in fence.ts.
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
import type { Backup, Handover, HandoverReason, Master, Offered, Releasing } from "./types.ts";

/** A successor that has not claimed by then is passed over. */
const OFFER_MS = 300;
/**
 * An offer is answered at once or not at all: an old one may come from a holder that died with its VIP bound.
 */
const OFFER_FRESH_MS = 300;
/**
 * A holder that has let the VIP go with its link has nothing to lose by an offer that stands. When no
 * candidate took a short one, one whose watch is silent sees this in its next read, which comes within 2 s.
 */
const LINK_LOSS_OFFER_MS = 2_500;
/**
 * A hand-over is over after this long. If no candidate took the Lease, a stopping holder releases it, and any
 * other holder stays.
 */
const HANDOVER_MS = 1_000;
/** The same for a holder that has let the VIP go with its link: two candidates in turn. */
const LINK_LOSS_HANDOVER_MS = 6_000;
/** A healthy holder whose offer no candidate took waits this long before it offers again. */
const CALM_MS = 10_000;
/** A holder whose link flaps, or has lost its carrier, waits only this long. */
const SHORT_CALM_MS = 1_000;
/**
 * A holder that sees its offer taken stays bound this much longer. The watch that tells it may be faster than
 * the answer that lets the successor bind. The holder's own fence still holds.
 */
export const LINGER_MS = 200;
/**
 * A holder whose Lease was taken, because it was dead on the wire or did not renew, is not offered it back
 * before this time is over. It may be alone on the VIP's link and reach the API by another one. Until it has
 * found that out, it says that it is eligible: it asks each of its neighbours once, one in a second.
 */
const DISPLACED_MS = 15_000;
/** The time between two tries to withdraw an offer. */
const WITHDRAW_RETRY_MS = 500;

/** A candidate's side: the holder has just offered the Lease to this node, which may take it. */
export function offeredToUs({ settings, facts, nowMs }: StepBuilder, role: Backup, view: LeaseView): boolean {
  const named = view.record?.annotations[OFFER] === settings.node;
  return named && eligible(facts, role) && nowMs - view.offerAtMs < OFFER_FRESH_MS;
}

/**
 * The Lease names another node. While an offer of this node may be out, also one that it is withdrawing, that
 * node has taken it, and this node lingers: the role to linger in, or null.
 */
export function linger(step: StepBuilder, role: Master): Master | null {
  const { offered } = role;
  if (offered?.unbound !== false || role.linkLoss !== null) return null;
  const takenAtMs = offered.takenAtMs ?? step.nowMs;
  if (step.nowMs >= takenAtMs + LINGER_MS) return null;
  step.wakeAt(takenAtMs + LINGER_MS);
  return { ...role, offered: { ...offered, takenAtMs } };
}

/** Begins, continues or ends a hand-over. Returns the role after it. */
export function decideHandover(step: StepBuilder, role: Master, view: LeaseView): Master | Releasing {
  const { settings, facts, nowMs } = step;
  const stopping = facts.stopping !== null;
  if (view.record?.holder !== settings.node) return stopping ? releaseLease(step, role, view) : role;
  if (isAsking(role) && !stopping) return role;
  const wish = handoverWish(step, role, view);
  if (wish === null) return role.handover === null ? role : endHandover(step, role);
  const handover: Handover = role.handover ?? {
    reason: wish.reason,
    startedAtMs: nowMs,
    tried: [],
    offer: null,
  };
  // Every candidate was offered the Lease for a moment first. A node that stops has no time for more.
  const isLost = role.linkLoss !== null && !stopping && handover.startedAtMs < role.calmUntilMs;
  const offerMs = isLost ? LINK_LOSS_OFFER_MS : OFFER_MS;
  const overAtMs = handover.startedAtMs + (isLost ? LINK_LOSS_HANDOVER_MS : HANDOVER_MS);
  const next = wish.successors.find((candidate) => !handover.tried.includes(candidate.node));
  const offerUntilMs = handover.offer === null ? nowMs : handover.offer.sentAtMs + offerMs;
  if (nowMs < overAtMs && nowMs < offerUntilMs) {
    step.wakeAt(Math.min(offerUntilMs, overAtMs));
    return role;
  }
  if (nowMs >= overAtMs || next === undefined) {
    return wish.reason === "stop" ? releaseLease(step, role, view) : endHandover(step, { ...role, handover });
  }
  if (facts.lease.offerInFlight || facts.lease.write !== null) {
    // The API is slow with the last offer or renewal. The next offer would only race with it.
    step.wakeAt(overAtMs);
    return { ...role, handover };
  }
  const offer = { to: next.node, sentAtMs: nowMs };
  const offering: Master = {
    ...role,
    handover: { ...handover, tried: [...handover.tried, next.node], offer },
  };
  step.effect({ kind: "report", report: { kind: "handover", reason: wish.reason, to: next.node } });
  step.wakeAt(nowMs + offerMs);
  return sendOffer(step, offering, { kind: "offer", held: view.record, to: next.node });
}

interface Wish {
  readonly reason: HandoverReason;
  /** Best first. Empty only for `stop`. */
  readonly successors: readonly Candidate[];
}

/** Why, and to which candidates, the holder should give the VIP; null: it stays. */
function handoverWish(step: StepBuilder, role: Master, view: LeaseView): Wish | null {
  const { settings, facts, nowMs } = step;
  const able = ranked(peers(settings, view).filter((candidate) => candidate.eligible));
  const sound = withoutDisplaced(step, view, able);
  const soundFirst = [...sound, ...able.filter((candidate) => !sound.includes(candidate))];
  if (facts.stopping !== null) return { reason: "stop", successors: soundFirst };
  if (able.length === 0) return null;
  const owner = role.linkLoss?.owner ?? null;
  if (owner !== null) {
    const successors = able.filter((candidate) => candidate.node === owner);
    return successors.length > 0 ? { reason: "fault", successors } : null;
  }
  // Where renewals fail an offer fails as well, and what the others have said of themselves is old: without
  // API servers every balancer is in FAULT. A holder with a dead link tries all the same.
  const faults = faultsOf(facts, role);
  const overdue = nowMs >= overdueAfter(settings, role.renewedAtMs);
  if (overdue && role.handover === null && !faults.includes(INTERFACE_FAULT)) return null;
  if (faults.length > 0) {
    // Strict VRRP: a backup with nopreempt accepts any advertisement, so the holder is not displaced.
    if (settings.nopreemptStrict) return null;
    // With a dead link it is this node that is cut off, and not the holder that it has replaced.
    const successors = faults.includes(INTERFACE_FAULT) ? soundFirst : sound;
    return successors.length > 0 ? unlessCalm(step, role, { reason: "fault", successors }) : null;
  }
  const target = moveTarget(view);
  if (target === settings.node) return null;
  const wished = sound.filter((candidate) => candidate.node === target);
  if (wished.length > 0) return unlessCalm(step, role, { reason: "move-to", successors: wished });
  const better = preempting(able, selfCandidate(step, role));
  // The VIP moves once, to the best, and not first to another one.
  if (better[0] !== undefined && !sound.includes(better[0])) return null;
  const successors = better.filter((candidate) => sound.includes(candidate));
  return successors.length > 0 ? unlessCalm(step, role, { reason: "preempt", successors }) : null;
}

/** The candidates apart from a holder whose Lease was taken a moment ago. */
function withoutDisplaced(
  step: StepBuilder,
  { displaced }: LeaseView,
  able: readonly Candidate[],
): readonly Candidate[] {
  if (displaced === null || step.nowMs >= displaced.atMs + DISPLACED_MS) return able;
  step.wakeAt(displaced.atMs + DISPLACED_MS);
  return able.filter((candidate) => candidate.node !== displaced.node);
}

/** After an offer that no candidate took, the holder does not offer again at once. */
function unlessCalm(step: StepBuilder, role: Master, wish: Wish): Wish | null {
  // A link that comes and goes has lost offers in its bad moments, and has to use the good ones.
  const isShort = role.linkLoss !== null || faultsOf(step.facts, role).includes(UNSTABLE_FAULT);
  const untilMs = isShort ? role.calmUntilMs - CALM_MS + SHORT_CALM_MS : role.calmUntilMs;
  if (role.handover !== null || step.nowMs >= untilMs) return wish;
  step.wakeAt(untilMs);
  return null;
}

/**
 * The holder stays. It binds again if it had let go, and finds out at once that no candidate has taken the
 * offer.
 */
function endHandover(step: StepBuilder, role: Master): Master {
  const { nowMs } = step;
  const next: Master = { ...role, handover: null, calmUntilMs: nowMs + CALM_MS, nextRenewAtMs: nowMs };
  step.effect({
    kind: "report",
    report: { kind: "handover", reason: role.handover?.reason ?? "preempt", to: null },
  });
  if (role.offered?.unbound !== true) holdVip(step, next);
  return next;
}

/**
 * Withdraws an offer that no candidate took, so that the claim of a late successor fails. It also withdraws
 * an offer that this node has not made: a person, or a late copy of a request, may have written it, and the
 * candidate that sees it may take it at any time.
 */
export function withdrawOffer(step: StepBuilder, role: Master): Master {
  const { facts, settings, nowMs } = step;
  const { view, offerInFlight, write } = facts.lease;
  if (role.handover !== null || offerInFlight || write !== null) return role;
  if (view?.record?.holder !== settings.node || view.record.annotations[OFFER] === undefined) return role;
  const offered = role.offered ?? offeredAt(nowMs);
  if (nowMs < offered.retryAtMs) {
    step.wakeAt(offered.retryAtMs);
    return role;
  }
  step.wakeAt(offerEnd(offered));
  const next: Master = { ...role, offered: { ...offered, retryAtMs: nowMs + WITHDRAW_RETRY_MS } };
  if (role.offered === null) limitVip(step, next);
  return sendOffer(step, next, { kind: "offer", held: view.record, to: null });
}

/**
 * Sends an offer, or withdraws one (`to` null). The first offer limits how long the VIP stays bound, before
 * it is written.
 */
function sendOffer(step: StepBuilder, role: Master, write: Extract<LeaseWrite, { kind: "offer" }>): Master {
  const offered = { ...(role.offered ?? offeredAt(step.nowMs)), takenAtMs: null };
  const next: Master = { ...role, offered };
  if (write.to !== null && role.offered === null) step.effect({ kind: "forget" });
  if (write.to !== null && !offered.unbound) limitVip(step, next);
  step.sendBeside(write, HANDOVER_MS);
  return next;
}

function offeredAt(nowMs: number): Offered {
  return { sinceMs: nowMs, unbound: false, retryAtMs: nowMs, takenAtMs: null };
}

/** The API has answered an offer of this node. Returns the role after it. */
export function offerAnswered(
  step: StepBuilder,
  role: Master,
  write: Extract<LeaseWrite, { kind: "offer" }>,
  sentAtMs: number,
  outcome: WriteOutcome,
): Master {
  const { handover, offered } = role;
  // The renewal that shows that the offer is gone may come at once.
  if (outcome.kind === "ok" && write.to === null) return { ...role, nextRenewAtMs: step.nowMs };
  if (outcome.kind === "ok" && offered?.unbound === false) {
    // It has replaced every earlier offer, and no candidate had taken those.
    const next: Master = { ...role, offered: { ...offered, sinceMs: sentAtMs } };
    holdVip(step, next);
    return next;
  }
  if (outcome.kind === "conflict" && handover !== null && outcome.record?.holder === step.settings.node) {
    // It met this node's own late renewal, or a person's edit. That candidate has not been asked yet.
    const tried = handover.tried.filter((node) => node !== write.to);
    return { ...role, handover: { ...handover, tried, offer: null } };
  }
  const unsent = outcome.kind === "no-answer" && !outcome.ambiguous && write.to !== null;
  return unsent && wasFirstOffer(role) ? endHandover(step, { ...role, offered: null }) : role;
}

/**
 * When the first offer of a hand-over has reached no API server, no candidate can have taken it, and the
 * right to the VIP is what it was.
 */
function wasFirstOffer({ handover, offered, linkLoss }: Master): boolean {
  if (handover === null || handover.reason === "stop" || linkLoss !== null || handover.tried.length > 1)
    return false;
  return offered !== null && !offered.unbound && offered.sinceMs >= handover.startedAtMs;
}
