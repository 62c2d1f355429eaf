/** The holder: it becomes MASTER by an accepted write, renews, and lets go when another is named. How it gives way to another node is in handover.ts. */
import { OFFER } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { mayKeepUntil } from "./api-loss.ts";
import { decideDefence } from "./contention.ts";
import { deadlineAfter, decideBy, holdVip, letGo, offerEnd, overdueAfter, validUntil } from "./fence.ts";
import { penalize } from "./flap-damping.ts";
import { decideHandover, lingers, withdrawOffer } from "./handover.ts";
import { ownershipOf } from "./identity.ts";
import type { Ownership } from "./identity.ts";
import { trackLink } from "./link-loss.ts";
import { becomeProvisional } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";
import type { Master } from "./types.ts";

/** Another candidate claims the VIP: a renewal at all API servers at once has this long to confirm us. */
export const CONTESTED_MS = 500;
/**
 * When the API servers are back, every balancer finds that out by itself, some a health check later than others. A holder that kept the VIP through it does
 * not hand over for this long because its own balancer is among the later ones.
 */
const HELD_CALM_MS = 5_000;

/**
 * The API has accepted a claim or renewal of this node: it is MASTER, or goes on being MASTER.
 * @param sentAtMs when the write was sent: its right to the VIP counts from here, and not from the answer
 * @param record the Lease as this write left it
 */
export function holdLease(step: StepBuilder, sentAtMs: number, record: LeaseRecord): void {
  const { settings, nowMs } = step;
  const { role } = step.state;
  // Too late to be of use: the record names us, so BACKUP takes it up again by compare-and-swap.
  if (role.kind === "RELEASING" || role.kind === "STOPPED" || nowMs >= deadlineAfter(settings, sentAtMs)) return;
  const nextMs = Math.max(sentAtMs + settings.renewIntervalMs, nowMs);
  const offered = role.kind === "MASTER" && record.annotations[OFFER] !== undefined ? role.offered : null;
  if (role.kind === "MASTER") {
    const contestedAtMs = role.contestedAtMs !== null && sentAtMs >= role.contestedAtMs ? null : role.contestedAtMs;
    // One that was under way when another claimed the VIP does not confirm us against that one.
    step.set({ role: { ...role, renewedAtMs: sentAtMs, nextRenewAtMs: contestedAtMs === null ? nextMs : nowMs, offered, contestedAtMs } });
  } else {
    const calmUntilMs = role.kind === "PROVISIONAL" && role.why.kind === "api-loss" ? nowMs + HELD_CALM_MS : nowMs;
    step.become(
      { kind: "MASTER", renewedAtMs: sentAtMs, nextRenewAtMs: nextMs, handover: null, offered: null, calmUntilMs, contestedAtMs: null, linkLoss: null },
      "holds the Lease",
    );
  }
  step.setLeftOver({ resumeUntilMs: null, adoptableUntilMs: null });
  step.setLease({ allFaultSinceMs: null });
  step.setWire({ proof: null, stranger: null });
  if (offered?.unbound === true) return;
  holdVip(step);
  // An offered VIP is no inheritance: a process restarted now must ask first.
  if (offered === null && !(role.kind === "MASTER" && role.linkLoss !== null)) step.effect({ kind: "remember", renewedAtMs: sentAtMs });
}

export function decideMaster(step: StepBuilder, role: Master): void {
  const { settings, state } = step;
  const { view } = state.lease;
  step.wakeAt(deadlineAfter(settings, role.renewedAtMs));
  const holder = view?.record?.holder ?? "";
  const { handover } = role;
  // Once the successor has been seen to hold it, this tenure is over, even if somebody empties the Lease in the moments that we linger.
  const succeeded = handover !== null && handover.takenAtMs !== null;
  const tenure = ownershipOf(settings, view?.record ?? null);
  if (tenure === "namesake" || tenure === "another" || (tenure === "nobody" && succeeded)) {
    if (lingers(step, role, holder)) return;
    return letGo(step, lossReason(tenure, holder));
  }
  if (role.offered?.unbound === false) step.wakeAt(offerEnd(role.offered));
  trackLink(step, role, view);
  const now = step.state.role;
  if (now.kind !== "MASTER") return;
  if (view !== null && decideHandover(step, now, view)) return;
  if (decideLoss(step)) return;
  if (now.linkLoss === null) decideDefence(step, now);
  withdrawOffer(step);
  decideRenewal(step);
}

/**
 * No renewal for too long: is there a reason to keep the VIP beyond the deadline? Not where an offer may have been taken. Returns true when the role has changed.
 */
function decideLoss(step: StepBuilder): boolean {
  const { settings, state, nowMs } = step;
  const { role } = state;
  if (role.kind !== "MASTER" || role.offered !== null || role.handover !== null || role.linkLoss !== null) return false;
  const validUntilMs = validUntil(settings, role);
  if (role.contestedAtMs !== null && nowMs >= role.contestedAtMs + CONTESTED_MS) {
    penalize(step);
    becomeProvisional(step, { kind: "contested" }, validUntilMs);
    return true;
  }
  if (role.contestedAtMs !== null) step.wakeAt(role.contestedAtMs + CONTESTED_MS);
  const lateAtMs = decideBy(settings, validUntilMs);
  if (nowMs < lateAtMs) {
    step.wakeAt(lateAtMs);
    return false;
  }
  const untilMs = mayKeepUntil(settings, state, nowMs);
  if (untilMs === null || untilMs <= validUntilMs) return false;
  becomeProvisional(step, { kind: "api-loss", validUntilMs }, untilMs);
  return true;
}

function lossReason(tenure: Ownership, holder: string): string {
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

function decideRenewal(step: StepBuilder): void {
  const { settings, state, nowMs } = step;
  const { role } = state;
  const { view, write } = state.lease;
  // One at a time: an offer names the renewTime that it was made at. It takes 1 s at most.
  if (role.kind !== "MASTER" || write !== null || state.lease.offerInFlight || view === null) return;
  if (nowMs < role.nextRenewAtMs) return step.wakeAt(role.nextRenewAtMs);
  const timeoutMs = deadlineAfter(settings, role.renewedAtMs) - nowMs;
  if (timeoutMs <= 0) return;
  // The claim of the one that has the VIP tests the renewTime that it saw.
  const overdueAtMs = overdueAfter(settings, role.renewedAtMs);
  if (role.linkLoss !== null && role.linkLoss.askedAtMs !== null && nowMs < overdueAtMs) return step.wakeAt(overdueAtMs);
  const { record } = view;
  if (record !== null && record.holder === settings.node) return step.send({ kind: "renew", held: record }, timeoutMs, role.contestedAtMs !== null);
  // Somebody deleted or emptied it. Nobody else may claim before our fence has run out, so it is still ours to write.
  step.effect({ kind: "report", report: { kind: "recreate" } });
  step.send({ kind: "claim", replaces: record, offered: false, instance: settings.instance }, timeoutMs);
}
