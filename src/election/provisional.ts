/**
 * A node that has the VIP bound and does not hold the Lease, because clients need the address before the
 * Lease can be written. There is one rule (ADR 0014): it goes on while no other machine serves. It stops as
 * soon as the Lease names another machine that renews it, or another machine that may hold the Lease is heard
 * to claim the VIP. The reasons differ in how the role begins (backup.ts, unwritten.ts, master.ts) and in
 * what people are told. Everything that prolongs and ends it is here.
 */
import type { Candidate, LeaseRecord } from "../kube/record.ts";
import { lookAround } from "./address-check.ts";
import { nobodyCanClaim } from "./api-loss.ts";
import { candidateAt, selfCandidate } from "./candidates.ts";
import { defendAgainAt, defendVip } from "./contention.ts";
import { faultsOf, isTaken } from "./eligibility.ts";
import { UNWRITTEN_HOLD_MS, forgetLeftOver, holdVip, letGo } from "./fence.ts";
import { dispute } from "./flap-damping.ts";
import { isTermOf, ownershipOf, termOf } from "./identity.ts";
import { NO_ANSWER, RETRY_MS } from "./lease-traffic.ts";
import type { LeaseView } from "./lease-view.ts";
import { compareCandidates } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import { GIVEN_BACK, mayBeOther } from "./take-over.ts";
import { INTERFACE_FAULT } from "./types.ts";
import type { Backup, Facts, Master, Provisional, Report, Why } from "./types.ts";
import { holderIsDead, vacancy } from "./vacancy.ts";

/**
 * A claim or renewal may take this long. It may wait in an API server until etcd is back, and be the first
 * one then.
 */
const WRITE_MS = 2_000;
/**
 * A claim that no API server has answered for so long may be one that none will answer, while another node's
 * was accepted. The other one announces the VIP again 0.8 s after it bound it, and within that second this
 * node has to give way.
 */
const UNDER_WAY_MS = 500;
/** A PROVISIONAL node says this often that it has the VIP. */
const ANNOUNCE_MS = 1_500;

/** The VIP is bound from now until `untilMs`, and longer if the reason is found to last. */
export function becomeProvisional(
  step: StepBuilder,
  role: Backup | Master,
  why: Why,
  untilMs: number,
): Provisional {
  const next: Provisional = { kind: "PROVISIONAL", why, untilMs, retryAtMs: step.nowMs };
  step.become(role, next, reasonFor(step, why));
  forgetLeftOver(step);
  // A process that is restarted now must not take the VIP up. It asks first.
  step.effect({ kind: "forget" });
  holdVip(step, next);
  return next;
}

function reasonFor(step: StepBuilder, why: Why): string {
  const holder = step.facts.lease.view?.record?.holder ?? "the holder";
  switch (why.kind) {
    case "proof":
      return `provisional: ${holder} does not answer on the wire, and this node claims the Lease`;
    case "bootstrap":
      return `provisional: no API server lets this node read the Lease${refusedBecause(step)}, and no machine answers for the VIP`;
    case "api-loss":
      return `provisional: this node cannot renew the Lease (${unwrittenBecause(step)}), and no other machine claims the VIP`;
    case "unwritten":
      return `provisional: this node cannot write the Lease (${unwrittenBecause(step)}), and no machine answers for the VIP`;
    case "contested":
      return "provisional: another candidate claims the VIP, and no API server has confirmed this node";
  }
}

/** That no server answers is no news where none is there yet. That one refuses is for the operator to mend. */
function refusedBecause({ facts: { lease } }: StepBuilder): string {
  const { failure } = lease.read;
  return failure === null || failure === NO_ANSWER ? "" : ` (${failure})`;
}

function unwrittenBecause({ facts: { lease } }: StepBuilder): string {
  return lease.unwritten?.why ?? lease.read.failure ?? NO_ANSWER;
}

/** Returns the role after it. */
export function decideProvisional(step: StepBuilder, role: Provisional): Backup | Provisional {
  const { facts, nowMs } = step;
  const ended = endOf(step, role);
  if (ended !== null) return letGo(step, role, ended);
  if (isTaken(facts)) return letGo(step, role, GIVEN_BACK);
  if (yieldsToStranger(step, role)) return yieldTo(step, role, facts.wire.contender?.mac ?? "");
  const next = prolong(step, noteFirstSeen(step, role));
  step.wakeAt(next.untilMs);
  announceAgain(step);
  const { view, write } = facts.lease;
  if (write !== null) return next;
  if (nowMs < next.retryAtMs) {
    step.wakeAt(next.retryAtMs);
    return next;
  }
  if (view === null) return next;
  const freeAtMs = freeAt(step, next, view);
  if (nowMs < freeAtMs) {
    step.wakeAt(freeAtMs);
    return next;
  }
  writeLease(step, next, view.record);
  return { ...next, retryAtMs: nowMs + RETRY_MS };
}

/** Renews the Lease if it names this node, and claims it otherwise. */
function writeLease(step: StepBuilder, { why }: Provisional, record: LeaseRecord | null): void {
  const { settings } = step;
  if (record !== null && ownershipOf(settings, record) === "ours") {
    return step.send({ kind: "renew", held: record }, WRITE_MS, why.kind === "contested");
  }
  step.send({ kind: "claim", replaces: record, offered: false, instance: settings.instance }, WRITE_MS);
}

/**
 * When the Lease may be written. A Lease that names another node is claimed when it has run out, and that of
 * a dead holder at once. That holds for as long as the holder is silent, also when this node's first claims
 * have come to nothing. Where a person has emptied or deleted the Lease of another node, that node has its
 * right until its fence has run out, and writes the Lease again.
 */
function freeAt({ settings, facts }: StepBuilder, { why }: Provisional, view: LeaseView): number {
  const free = vacancy(settings, view, true);
  const atOnce = Number.NEGATIVE_INFINITY;
  const { lastHolder } = view;
  switch (free.kind) {
    case "ours":
      return atOnce;
    case "held":
      // The others take these writes for the renewals of a holder, and leave the VIP to this node.
      return view.record?.rewritten === true || holderIsDead(facts) ? atOnce : free.freeAtMs;
    case "free": {
      if (lastHolder === null || lastHolder === settings.node) return atOnce;
      const isDead = why.kind === "proof" && isTermOf(why.term, lastHolder);
      return isDead ? atOnce : free.sinceMs;
    }
  }
}

/**
 * After a power failure of the whole cluster, the Lease that comes back with etcd names the previous holder,
 * which may never come back. While no machine renews it, no machine holds the VIP by it: this node has asked
 * the wire.
 */
function noteFirstSeen(step: StepBuilder, role: Provisional): Provisional {
  const record = step.facts.lease.view?.record ?? null;
  if (role.why.kind !== "bootstrap" || role.why.seen !== null || record === null) return role;
  const ownership = ownershipOf(step.settings, record);
  if (ownership !== "another" && ownership !== "namesake") return role;
  announceNow(step);
  return { ...role, why: { kind: "bootstrap", seen: record } };
}

/**
 * A cut may have healed: a machine may hear this node that could not hear it before. If it has the VIP as
 * well, it answers. To wait for the next announcement, or for that machine's next renewal, would take longer.
 *
 * The agent of a holder answers a stranger's announcement once in ten seconds (RFC 5227 section 2.4), and
 * this node may be a stranger to it. The kernel of a machine that has the VIP answers every question. So this
 * node also asks.
 */
export function announceNow(step: StepBuilder): void {
  defendVip(step);
  lookAround(step);
}

/**
 * Only the wire tells other nodes of this one, and this one of them. Another node may have taken the VIP
 * where it could not hear the first announcement: behind a port that spanning tree opened late, or on the
 * other side of a cut.
 */
function announceAgain(step: StepBuilder): void {
  const { facts, nowMs } = step;
  const atMs = Math.max(facts.sinceMs, facts.wire.defendedAtMs) + ANNOUNCE_MS;
  if (nowMs < atMs) return step.wakeAt(atMs);
  announceNow(step);
  step.wakeAt(nowMs + ANNOUNCE_MS);
}

/** Why a node lets the VIP go when its agent stops. */
export const AGENT_STOPS = "the agent is stopping";

/** Why this node must let go; null: it may go on. */
function endOf({ facts, settings }: StepBuilder, role: Provisional): string | null {
  const { why } = role;
  const record = facts.lease.view?.record ?? null;
  if (facts.stopping !== null) return AGENT_STOPS;
  if (faultsOf(facts, role).includes(INTERFACE_FAULT)) return "the VIP's link is dead";
  if (facts.self.namesake !== null) return "another machine has this node's name";
  const ownership = ownershipOf(settings, record);
  switch (ownership) {
    case "nobody":
    case "ours":
    case "unmarked":
    case "rewritten":
      return null;
    // A webhook may have put this node's name into what another machine wrote.
    case "namesake":
    case "another": {
      const isOld = why.kind === "bootstrap" || (why.kind === "unwritten" && why.seen !== null);
      if (isOld && record !== null && unchangedSince(why.seen ?? record, record)) return null;
      if (ownership === "namesake") return `another machine named ${settings.node} holds the Lease`;
      const holder = record?.holder ?? "another node";
      if (why.kind !== "proof" || record === null || termOf(record) !== why.term)
        return `${holder} holds the Lease`;
      // A claim may meet a renewal that the dead holder sent before its end. It is tried again.
      return facts.wire.proof === null ? `${holder} answers on the wire after all` : null;
    }
  }
}

/** No machine has renewed or claimed the Lease since. */
function unchangedSince(seen: LeaseRecord, record: LeaseRecord): boolean {
  return seen.renewTime === record.renewTime && termOf(seen) === termOf(record);
}

/**
 * Moves the end of the role, while no other machine serves. With the deadline of its claim or of its last
 * renewal, a node loses what it had over another claimant.
 */
function prolong(step: StepBuilder, role: Provisional): Provisional {
  const { facts, settings, nowMs } = step;
  const atMs = role.untilMs - UNWRITTEN_HOLD_MS / 2;
  if (nowMs < atMs) {
    step.wakeAt(atMs);
    return role;
  }
  const { why } = role;
  if (why.kind === "bootstrap") return extend(step, role, nowMs + UNWRITTEN_HOLD_MS);
  if (settings.onApiLoss === "release") return role;
  const lasting = afterDeadline(step, why);
  if (lasting.kind !== why.kind) {
    // Another candidate was heard to claim the VIP, and may hold the Lease. Later claims are judged as they
    // come.
    const { contender } = facts.wire;
    const heard = why.kind === "contested" || (contender !== null && contender.atMs >= facts.sinceMs);
    if (heard && !rankDecides(step, lasting)) return role;
    step.set({ reason: reasonFor(step, lasting) });
  }
  return extend(step, { ...role, why: lasting }, nowMs + UNWRITTEN_HOLD_MS);
}

/**
 * This node is better than the other one by what the Lease last said of both. What has changed since, the
 * other one cannot know, and both would stay.
 */
function ranksAbove(step: StepBuilder, role: Provisional, other: Candidate): boolean {
  const said = step.facts.lease.view?.candidates.get(step.settings.node)?.candidate;
  return compareCandidates(said ?? selfCandidate(step, role), other) < 0;
}

/** The reason as it is when the right of a claim or renewal, on which it rested, is over. */
function afterDeadline({ facts }: StepBuilder, why: Why): Why {
  switch (why.kind) {
    case "proof":
      return { kind: "unwritten", seen: facts.lease.view?.record ?? null };
    case "contested":
      return { kind: "api-loss", validUntilMs: why.validUntilMs };
    case "bootstrap":
    case "api-loss":
    case "unwritten":
      return why;
  }
}

/**
 * Of this node and another candidate that claims the VIP, the better one stays. That is so where the other
 * one cannot have the Lease, or where this node has as much to show. Elsewhere the other one may hold it.
 */
function rankDecides({ facts, settings, nowMs }: StepBuilder, why: Why): boolean {
  switch (why.kind) {
    case "contested":
      return true;
    case "proof":
      // While the claims of both are under way, each has as much to show. Once this node's came to nothing,
      // or where none of its writes has been carried out for longer, the other one's may have been accepted.
      return isUnderWay(facts, nowMs) || settings.onApiLoss === "hold" || nobodyCanClaim(facts, nowMs);
    case "bootstrap":
      return false;
    case "api-loss":
    case "unwritten":
      return settings.onApiLoss === "hold" || nobodyCanClaim(facts, nowMs);
  }
}

function isUnderWay({ lease: { unwritten } }: Facts, nowMs: number): boolean {
  if (unwritten === null) return true;
  return unwritten.why === null && nowMs < unwritten.sinceMs + UNDER_WAY_MS;
}

function extend(step: StepBuilder, role: Provisional, untilMs: number): Provisional {
  const next: Provisional = { ...role, untilMs };
  holdVip(step, next);
  return next;
}

/**
 * This node has heard another machine claim the VIP. It gives way to a stranger, to the node that the Lease
 * names, and to a candidate that may hold the Lease by now. Of two candidates that both have nothing to show,
 * the better one stays. At bootstrap no candidate knows of the other: this node gives way, and asks the wire
 * again after a random time.
 */
export function contestProvisional(step: StepBuilder, role: Provisional, mac: string): Backup | Provisional {
  const { facts, nowMs } = step;
  const other = candidateAt(facts, mac);
  // The other software comes back, or is about to be found on a candidate's machine.
  const isBack = facts.lease.view !== null && mayBeOther(step, nowMs);
  if (isBack && other === undefined) return role;
  const mayDefend = nowMs >= defendAgainAt(facts, other);
  if (other === undefined && hasRight(step, role)) {
    if (!mayDefend) return role;
    defendVip(step);
    step.effect({ kind: "report", report: { kind: "conflict", mac, node: null, outcome: "defended" } });
    return role;
  }
  const named = other !== undefined && facts.lease.view?.record?.holder === other.node;
  // Without an API another candidate cannot say that the other software is on its machine.
  if (other !== undefined && !named && !isBack && rankDecides(step, role.why)) {
    if (ranksAbove(step, role, other)) {
      // The other one may not have heard this node: it was the later one on a wire that was cut.
      if (mayDefend) defendVip(step);
      return role;
    }
  }
  return yieldTo(step, role, mac);
}

/**
 * The last renewal still covers this node. Until then it is a holder like any other, though it has found out
 * that no further renewal will succeed.
 */
function hasRight({ nowMs }: StepBuilder, { why }: Provisional): boolean {
  return why.kind === "api-loss" && nowMs < why.validUntilMs;
}

/**
 * A stranger was defended against while there was a right to the VIP. When there is none any more, this node
 * gives way to it.
 */
function yieldsToStranger(step: StepBuilder, role: Provisional): boolean {
  const {
    sinceMs,
    wire: { contender },
  } = step.facts;
  if (role.why.kind !== "api-loss" || contender === null || contender.atMs < sinceMs) return false;
  if (candidateAt(step.facts, contender.mac) !== undefined) return false;
  if (!hasRight(step, role)) return true;
  step.wakeAt(role.why.validUntilMs);
  return false;
}

function yieldTo(step: StepBuilder, role: Provisional, mac: string): Backup {
  const node = candidateAt(step.facts, mac)?.node ?? null;
  const conflict: Report = { kind: "conflict", mac, node, outcome: "yielded" };
  // To be replaced is how a node ends that cannot renew. It is no sign of trouble to come. One that took the
  // VIP by proof may have been wrong about the holder.
  if (role.why.kind === "proof") dispute(step, step.facts.lease.view?.record ?? null);
  return letGo(step, role, `${node ?? mac} claims the VIP as well`, conflict);
}
