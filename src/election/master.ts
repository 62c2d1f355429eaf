/** The holder: it renews, and lets go when another is named. How it gives way to another node is in handover.ts. */
import { trackLink } from "./away.ts";
import { defend } from "./contention.ts";
import type { Draft } from "./draft.ts";
import { decideHandover, lingers, withdrawOffer } from "./handover.ts";
import { heldUntil } from "./hold.ts";
import { becomeProvisional, holdMarginMs } from "./provisional.ts";
import { OFFER_HOLD_MS, rightUntil } from "./right.ts";
import { tenureOf } from "./tenure.ts";
import type { Tenure } from "./tenure.ts";
import type { Master } from "./types.ts";
import { disturbed } from "./unrest.ts";

/** Another candidate claims the VIP: a renewal at all API servers at once has this long to confirm us. */
export const CONTESTED_MS = 500;
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
    if (lingers(draft, role, holder)) return;
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
