/**
 * The holder: it becomes MASTER by an accepted write, renews, and lets go when the Lease names another
 * machine. How it gives the VIP to another node is in handover.ts.
 */
import { OFFER } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { linkCarriesFrames } from "./address-check.ts";
import { askAllServers, confirmedBy, decideDefence, defendVip, isUrgent } from "./contention.ts";
import { takeDeparted } from "./departed.ts";
import {
  UNWRITTEN_HOLD_MS,
  deadlineAfter,
  decideBy,
  forgetLeftOver,
  holdVip,
  letGo,
  offerEnd,
  overdueAfter,
  validUntil,
} from "./fence.ts";
import { isTaken } from "./eligibility.ts";
import { decideHandover, linger, withdrawOffer } from "./handover.ts";
import { ownershipOf } from "./identity.ts";
import type { Ownership } from "./identity.ts";
import { trackLink } from "./link-loss.ts";
import { becomeProvisional } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";
import { GIVEN_BACK, findOther, keepAsking } from "./take-over.ts";
import type { Backup, Master, Provisional, Role } from "./types.ts";

/**
 * When the API servers are back, every balancer finds that out by itself, some a health check later than
 * others. A holder that has kept the VIP through it does not hand over for this long because its own balancer
 * is among the later ones.
 */
const API_BACK_CALM_MS = 5_000;

/**
 * The API has accepted a claim or renewal of this node: the node becomes MASTER, or goes on being MASTER.
 * @param sentAtMs when the write was sent: the right to the VIP counts from here, and not from the answer
 * @param record the Lease as this write left it
 */
export function holdLease(step: StepBuilder, role: Role, sentAtMs: number, record: LeaseRecord): Role {
  const { settings, nowMs } = step;
  // The answer is too late to be of use. The record names this node, so as a BACKUP it takes the Lease up
  // again by compare-and-swap.
  if (role.kind === "RELEASING" || role.kind === "STOPPED" || nowMs >= deadlineAfter(settings, sentAtMs))
    return role;
  // Other software came back while the write was under way. The BACKUP releases the Lease.
  if (role.kind === "BACKUP" && isTaken(step.facts)) return role;
  const next =
    role.kind === "MASTER" ? renewed(step, role, sentAtMs, record) : becomeMaster(step, role, sentAtMs);
  forgetLeftOver(step);
  step.setWire({ proof: null, stranger: null });
  if (next.offered?.unbound === true) return next;
  holdVip(step, next);
  // A process that is restarted now must not take up a VIP that is on offer, or that this node has let go. It
  // asks first.
  if (next.offered === null && next.linkLoss === null)
    step.effect({ kind: "remember", renewedAtMs: sentAtMs });
  return next;
}

function renewed(step: StepBuilder, role: Master, sentAtMs: number, record: LeaseRecord): Master {
  const offered = record.annotations[OFFER] === undefined ? null : role.offered;
  const next: Master = {
    ...role,
    renewedAtMs: sentAtMs,
    nextRenewAtMs: renewalAfter(step, sentAtMs),
    offered,
  };
  // A renewal that was under way when another candidate claimed the VIP does not confirm this node against
  // that one.
  if (role.contestedAtMs !== null && sentAtMs < role.contestedAtMs) return askAllServers(step, next);
  return { ...next, contestedAtMs: null };
}

function renewalAfter({ settings, nowMs }: StepBuilder, sentAtMs: number): number {
  return Math.max(sentAtMs + settings.renewIntervalMs, nowMs);
}

function becomeMaster(step: StepBuilder, role: Backup | Provisional, renewedAtMs: number): Master {
  const wasApiLoss = role.kind === "PROVISIONAL" && role.why.kind === "api-loss";
  const next: Master = {
    kind: "MASTER",
    renewedAtMs,
    nextRenewAtMs: renewalAfter(step, renewedAtMs),
    handover: null,
    offered: null,
    calmUntilMs: step.nowMs + (wasApiLoss ? API_BACK_CALM_MS : 0),
    contestedAtMs: null,
    urgentAtMs: Number.NEGATIVE_INFINITY,
    linkLoss: null,
  };
  if (role.kind === "PROVISIONAL") answerClaims(step);
  return step.become(role, next, "this node holds the Lease");
}

/**
 * A node that had the VIP provisionally does not announce it when it becomes MASTER. A claim that it has
 * heard and not answered is answered now. What it said every 1.5 s was no answer, so the next claim is
 * answered at once.
 */
function answerClaims(step: StepBuilder): void {
  const { contender, defendedAtMs } = step.facts.wire;
  if (contender !== null && contender.atMs > defendedAtMs) defendVip(step);
  else step.setWire({ defendedAtMs: Number.NEGATIVE_INFINITY });
}

/**
 * Returns the role after it. The order matters: what ends the role comes first, and what is sent comes last.
 */
export function decideMaster(step: StepBuilder, role: Master): Role {
  const { view } = step.facts.lease;
  step.wakeAt(deadlineAfter(step.settings, role.renewedAtMs));
  findOther(step);
  if (isTaken(step.facts)) return letGo(step, role, GIVEN_BACK);
  // 1. Does the Lease still name this machine?
  const loss = lossReason(step, role);
  if (loss !== null) return linger(step, role) ?? letGo(step, role, loss);
  if (role.offered?.unbound === false) step.wakeAt(offerEnd(role.offered));
  // 2. Does the link carry frames?
  const linked = trackLink(step, role, view);
  // 3. Should another node have the VIP?
  const handing = view === null ? linked : decideHandover(step, linked, view);
  if (handing.kind !== "MASTER") return handing;
  // 4. Is there an API server that confirms this node?
  const kept = decideApiLoss(step, handing);
  if (kept.kind !== "MASTER") return kept;
  // 5. Does another machine claim the VIP?
  if (kept.linkLoss === null) {
    decideDefence(step, kept);
    keepAsking(step);
  }
  // 6. What is to be written?
  const next = withdrawOffer(step, kept);
  return decideRenewal(step, next);
}

/** Why a node that handed the VIP over lets it go, where the Lease does not name the successor any more. */
export const SUCCESSOR_HAS_IT = "the successor has taken the Lease";

/** Why this machine is not the holder any more; null: it is. */
function lossReason({ settings, facts }: StepBuilder, role: Master): string | null {
  const record = facts.lease.view?.record ?? null;
  const ownership: Ownership = ownershipOf(settings, record);
  switch (ownership) {
    case "nobody":
    case "rewritten":
      // Once the successor has been seen to hold the Lease, this term is over, even if a person empties the
      // Lease while this node lingers.
      return (role.offered?.takenAtMs ?? null) === null ? null : SUCCESSOR_HAS_IT;
    case "namesake":
      return `another machine named ${settings.node} holds the Lease`;
    case "another":
      return `${record?.holder ?? "another node"} holds the Lease`;
    case "ours":
    case "unmarked":
      return null;
  }
}

/**
 * No API server confirms this node: may it keep the VIP beyond the deadline? Not where a candidate may have
 * taken an offer, and not on a link where it could not hear its successor.
 */
function decideApiLoss(step: StepBuilder, role: Master): Master | Provisional | Backup {
  const { settings, facts, nowMs } = step;
  if (role.offered !== null || role.handover !== null || role.linkLoss !== null) return role;
  const validUntilMs = validUntil(settings, role);
  const confirmedByMs = confirmedBy(role);
  if (settings.takeOver && confirmedByMs !== null) {
    // Without an API that candidate cannot say that the other software is on its machine.
    if (nowMs >= confirmedByMs) return letGo(step, role, GIVEN_BACK);
    step.wakeAt(confirmedByMs);
  }
  const decideAtMs = decideBy(settings, validUntilMs);
  if (nowMs < decideAtMs) {
    step.wakeAt(decideAtMs);
    return role;
  }
  if (role.contestedAtMs !== null)
    return becomeProvisional(step, role, { kind: "contested", validUntilMs }, validUntilMs);
  if (settings.onApiLoss === "release" || facts.stopping !== null || !linkCarriesFrames(step, role))
    return role;
  return becomeProvisional(step, role, { kind: "api-loss", validUntilMs }, nowMs + UNWRITTEN_HOLD_MS);
}

/** Returns the role after it: it remembers when it asked all API servers at once. */
function decideRenewal(step: StepBuilder, role: Master): Master {
  const { settings, nowMs } = step;
  const { view, write, offerInFlight } = step.facts.lease;
  // One at a time: an offer names the renewTime that it was made at. An offer takes 1 s at most.
  if (write !== null || offerInFlight || view === null) return role;
  if (nowMs < role.nextRenewAtMs) {
    step.wakeAt(role.nextRenewAtMs);
    return role;
  }
  const timeoutMs = deadlineAfter(settings, role.renewedAtMs) - nowMs;
  if (timeoutMs <= 0) return role;
  // Another node may have the VIP, and its claim tests the renewTime that it has seen. A renewal now would
  // make the claim fail.
  const overdueAtMs = overdueAfter(settings, role.renewedAtMs);
  const waits = role.linkLoss !== null && role.linkLoss.askedAtMs !== null;
  if (waits && nowMs < overdueAtMs) {
    step.wakeAt(overdueAtMs);
    return role;
  }
  const { record } = view;
  if (record !== null && record.holder === settings.node) {
    // A renewal that must not be held up carries nothing else.
    const calm = role.contestedAtMs === null && nowMs < overdueAtMs;
    const departed = calm ? takeDeparted(step, view, record) : [];
    const urgent = isUrgent(step, role);
    step.send(
      departed.length === 0 ? { kind: "renew", held: record } : { kind: "renew", held: record, departed },
      timeoutMs,
      urgent,
    );
    return urgent ? { ...role, urgentAtMs: nowMs } : role;
  }
  // A person has deleted, emptied or changed the Lease. No other node may claim before this node's fence has
  // run out, so it is still this node's to write. Where a webhook changes every write, the store says so.
  const isWebhook = record?.rewritten === true && step.facts.lease.unwritten !== null;
  if (!isWebhook) step.effect({ kind: "report", report: { kind: "recreate" } });
  step.send({ kind: "claim", replaces: record, offered: false, instance: settings.instance }, timeoutMs);
  return role;
}
