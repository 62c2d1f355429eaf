/**
 * A node that does not hold the VIP: when does it claim the Lease? A claim is a compare-and-swap on the
 * record that this node has seen. vacancy.ts says from when the Lease may be claimed, and claim-order.ts when
 * it is this node's turn. With proof of the holder's death a node claims before the Lease has run out.
 */
import type { LeaseWrite } from "../kube/store.ts";
import { askWire, linkCarriesFrames } from "./address-check.ts";
import { candidateAt, claimants, hasFastPath } from "./candidates.ts";
import { ALL_FAULT_MS, claimOrResortTime, claimTime, LIGHT_FAULTS } from "./claim-order.ts";
import { eligible, faultsOf, isTaken } from "./eligibility.ts";
import { UNWRITTEN_HOLD_MS, deadlineAfter, forgetLeftOver, unbindVip, writeTimeoutMs } from "./fence.ts";
import { offeredToUs } from "./handover.ts";
import { ownershipOf } from "./identity.ts";
import type { LeaseView } from "./lease-view.ts";
import { becomeProvisional } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";
import { awaitSilence, isFreeSince } from "./take-over.ts";
import { BALANCER_FAULT, INTERFACE_FAULT, MISMATCH_FAULT, VIP_FAULT } from "./types.ts";
import type { Backup, Provisional } from "./types.ts";
import { serveUnwritten, UNABLE_MS } from "./unwritten.ts";
import { expiry, holderIsDead, vacancy } from "./vacancy.ts";
import type { Vacancy } from "./vacancy.ts";

/**
 * What the wire has answered before it was clear that there is no API server counts for this long. Since then
 * a machine that has the VIP may have come back from behind a cut.
 */
const ASKED_MS = 500;

/** With one of these the VIP serves nobody on this node, or is not the one that clients use. */
const USELESS_FAULTS: readonly string[] = [INTERFACE_FAULT, VIP_FAULT, MISMATCH_FAULT];

/** Returns the role after it. */
export function decideBackup(step: StepBuilder, role: Backup): Backup | Provisional {
  const { settings, facts } = step;
  const { view } = facts.lease;
  if (isTaken(facts)) {
    standBy(step, role, view);
    return role;
  }
  if (view === null || neverWas(view)) {
    const next = decideBootstrap(step, role);
    if (next.kind !== "BACKUP") return next;
  }
  if (view === null || facts.self.namesake !== null) {
    dropLeftOver(step, view);
    return role;
  }
  // A candidate has held the Lease since, so the VIP is not a stranger's any more.
  if (facts.wire.stranger !== null && view.lastHolder !== null) step.setWire({ stranger: null });
  const free = vacancy(settings, view, facts.leftOver.resumeUntilMs !== null);
  if (free.kind !== "ours") dropLeftOver(step, view);
  const provenMs = provenAt(step, view);
  const unwritten = serveUnwritten(step, role, view, free, provenMs);
  if (unwritten !== null) return unwritten;
  if (provenMs !== null && free.kind === "held") {
    const next = takeFrom(step, role, view, provenMs, free);
    if (next !== null) return next;
  }
  if (!mayWrite(step, role)) return role;
  switch (free.kind) {
    case "ours":
      if (isFreeSince(step, view.changedAtMs)) resume(step, role, view);
      return role;
    case "held":
      if (offeredToUs(step, role, view)) {
        claim(step, view, true);
        return role;
      }
      // A claim sent now would wait in a server for etcd, and could come before the holder's own renewal.
      if (facts.lease.read.failingSinceMs !== null) return role;
      return claimFrom(step, role, view, expiry(free, facts.lease.read.goodSinceMs), free);
    case "free":
      return claimFrom(step, role, view, free.sinceMs, free);
  }
}

/**
 * Other software has the VIP, and goes first. The VIP that a previous process of this agent has left must not
 * answer beside it, and a Lease that names this node would keep the others waiting later.
 */
function standBy(step: StepBuilder, role: Backup, view: LeaseView | null): void {
  const { facts, settings } = step;
  unbindLeftOver(step);
  awaitSilence(step);
  const record = view?.record ?? null;
  if (record === null || facts.self.namesake !== null || ownershipOf(settings, record) !== "ours") return;
  if (mayWrite(step, role)) step.send({ kind: "release", held: record }, writeTimeoutMs(settings));
}

/** No claim or release of this node is under way, and none has failed a moment ago. */
function mayWrite(step: StepBuilder, { retryAtMs }: Backup): boolean {
  if (step.facts.lease.write !== null) return false;
  if (step.nowMs >= retryAtMs) return true;
  step.wakeAt(retryAtMs);
  return false;
}

/** The API answers that there is no Lease, and this node has never seen one. */
function neverWas(view: LeaseView): boolean {
  return view.record === null && view.lastHolder === null;
}

/**
 * The address that a previous process has left is this node's only while the Lease may still name this node.
 */
function dropLeftOver(step: StepBuilder, view: LeaseView | null): void {
  if (view !== null) return unbindLeftOver(step);
  const { resumeUntilMs, adoptable } = step.facts.leftOver;
  if (resumeUntilMs === null && adoptable === null) return;
  const { POSITIVE_INFINITY } = Number;
  step.wakeAt(Math.min(resumeUntilMs ?? POSITIVE_INFINITY, adoptable?.untilMs ?? POSITIVE_INFINITY));
}

function unbindLeftOver(step: StepBuilder): void {
  const { resumeUntilMs, adoptable } = step.facts.leftOver;
  if (resumeUntilMs === null && adoptable === null) return;
  unbindVip(step);
  forgetLeftOver(step);
}

/**
 * When the holder that the Lease names was found dead on the wire; null: it was not, or another candidate has
 * the VIP by now.
 */
function provenAt({ settings, facts, nowMs }: StepBuilder, view: LeaseView): number | null {
  const { proof, contender } = facts.wire;
  if (proof === null || view.record === null || !holderIsDead(facts)) return null;
  // A contender that the Lease does not name may have a claim under way, which will be seen within a renew
  // deadline. One that goes on claiming for longer, and never gets the Lease, is a program or a forger that
  // has nothing to do with it.
  const recent = contender !== null && nowMs < deadlineAfter(settings, contender.sinceMs);
  const other = recent ? candidateAt(facts, contender.mac) : undefined;
  return other !== undefined && other.node !== view.record.holder ? null : proof.atMs;
}

/**
 * Another candidate has claimed the VIP since the holder last renewed, and does not get the Lease as far as
 * this node knows. It may serve where the Lease cannot be written, or cannot be read. So this node takes
 * nothing by its old proof while a machine answers for the VIP. Claims that went on while the holder lived
 * and renewed are a forger's.
 */
function mayBeTaken(step: StepBuilder, view: LeaseView, provenMs: number): boolean {
  const { facts, settings } = step;
  const { contender } = facts.wire;
  // The last renewal may be seen late, when the holder has been found dead already.
  if (contender === null || contender.sinceMs < Math.min(view.changedAtMs, provenMs)) return false;
  const other = candidateAt(facts, contender.mac);
  if (other === undefined || other.node === view.record?.holder) return false;
  // Without the fast path this node only claims the Lease. To ask like one that takes the VIP would keep the
  // others from it.
  const sinceMs = deadlineAfter(settings, contender.sinceMs);
  const readyMs = hasFastPath(facts) ? sinceMs : Number.POSITIVE_INFINITY;
  return askWire(step, false, ASKED_MS, sinceMs, readyMs) !== "free";
}

/**
 * The holder is dead. Where the fast path makes two holders harmless, this node binds the VIP at once and
 * claims beside it: the write takes 5 ms, but a second when the dead node had etcd's leader. Elsewhere it
 * waits for the answer to its claim.
 * @returns null when this node is not among those who may take the VIP
 */
function takeFrom(
  step: StepBuilder,
  role: Backup,
  view: LeaseView,
  provenMs: number,
  free: Extract<Vacancy, { kind: "held" }>,
): Backup | Provisional | null {
  const { settings, facts, nowMs } = step;
  const atMs = claimTime(step, role, view, provenMs, free);
  // What is not this node's by proof may still be this node's when the Lease has run out.
  if (atMs === Number.POSITIVE_INFINITY) return null;
  if (nowMs < atMs) {
    step.wakeAt(atMs);
    return role;
  }
  const isFast = hasFastPath(facts);
  if (!isFast && !mayWrite(step, role)) return role;
  if (mayBeTaken(step, view, provenMs)) return null;
  if (isFast) {
    const term = facts.wire.proof?.term ?? "";
    return becomeProvisional(step, role, { kind: "proof", term }, deadlineAfter(settings, nowMs));
  }
  claim(step, view, false);
  return role;
}

/**
 * The Lease names this node: the agent was restarted, or a claim that it had given up was applied after all.
 * The node takes the Lease up (with a `test` on renewTime, so only if no other machine has). With a fault it
 * then hands the VIP over like any holder in FAULT, without a gap. Where the VIP cannot be served here at
 * all, the node gives the Lease back, so that the others do not have to wait.
 */
function resume(step: StepBuilder, role: Backup, view: LeaseView): void {
  const others = claimants(step, role, view).filter((candidate) => candidate.node !== step.settings.node);
  const isUseless = faultsOf(step.facts, role).some((fault) => USELESS_FAULTS.includes(fault));
  if (!isUseless || others.length === 0) return claim(step, view, false);
  if (view.record === null) return;
  // The VIP goes first and the Lease after it, never the other way round.
  dropLeftOver(step, view);
  send(step, { kind: "release", held: view.record });
}

function claimFrom(
  step: StepBuilder,
  role: Backup,
  view: LeaseView,
  freeAtMs: number,
  free: Vacancy,
): Backup {
  const { facts, nowMs } = step;
  // The wire is asked while this node waits for the others, so that it costs no time of its own.
  const neverHeld = free.kind === "free" && view.lastHolder === null && free.why !== "released";
  const wire =
    neverHeld && (eligible(facts, role) || facts.wire.stranger !== null) ? askWire(step, false) : "free";
  if (nowMs < freeAtMs) {
    step.wakeAt(freeAtMs);
    return role;
  }
  // Meanwhile other software may have got the VIP back without a word that this node has heard.
  if (wire !== "free" || !isFreeSince(step, free.kind === "held" ? freeAtMs : view.changedAtMs)) return role;
  const turn = claimOrResortTime(step, role, view, freeAtMs, free);
  if (nowMs < turn.atMs) step.wakeAt(turn.atMs);
  else claim(step, view, false);
  return turn.role;
}

function claim(step: StepBuilder, view: LeaseView, offered: boolean): void {
  send(step, { kind: "claim", replaces: view.record, offered, instance: step.settings.instance });
}

/** If the API does not answer, this node may have to serve without it, long before the write times out. */
function send(step: StepBuilder, write: Extract<LeaseWrite, { kind: "claim" | "release" }>): void {
  step.send(write, writeTimeoutMs(step.settings));
  step.wakeAt(step.nowMs + UNABLE_MS);
}

/**
 * A control plane that is being made, or that comes back from a power failure, needs its address before there
 * is an API server to ask: kubeadm waits for the VIP, and the agent's RBAC waits for kubeadm. So a node that
 * has never seen the Lease, and that no API server lets read it, takes the VIP if no machine on its wire has
 * it. It writes the Lease as soon as that is possible.
 */
function decideBootstrap(step: StepBuilder, role: Backup): Backup | Provisional {
  const { facts, nowMs } = step;
  const { read, refusal } = facts.lease;
  const { namesake, tracking } = facts.self;
  const withoutApi = read.failingSinceMs !== null || refusal !== null;
  if (
    (!withoutApi && !mustAdoptNow(step)) ||
    facts.stopping !== null ||
    namesake !== null ||
    tracking.mac === ""
  )
    return role;
  // Before there is an API server, no balancer works.
  const faults = faultsOf(facts, role).filter((fault) => fault !== BALANCER_FAULT);
  if (!faults.every((fault) => LIGHT_FAULTS.includes(fault))) return role;
  // A node without faults goes first. This one cannot read whether there is one.
  const unreadSinceMs = Math.min(read.failingSinceMs ?? nowMs, refusal?.sinceMs ?? nowMs);
  const vacantSinceMs = Math.max(unreadSinceMs, facts.wire.answeredAtMs);
  const patientUntilMs = vacantSinceMs + (faults.length > 0 && withoutApi ? ALL_FAULT_MS : 0);
  if (nowMs < patientUntilMs) {
    step.wakeAt(patientUntilMs);
    return role;
  }
  // The previous process has left the VIP bound here. To let it go and ask would only cost clients a second.
  const adopts = facts.leftOver.adoptable !== null;
  // Nodes that do not know of each other yet hear each other ask, and so learn that the link carries frames.
  const wire = adopts ? "free" : askWire(step, true, ASKED_MS);
  if (wire !== "free" || (!adopts && !linkCarriesFrames(step, role))) return role;
  return becomeProvisional(step, role, { kind: "bootstrap", seen: null }, nowMs + UNWRITTEN_HOLD_MS);
}

/**
 * The previous process has left the VIP bound here, it is about to go, and no API server has answered at all.
 * A read that is not answered fails only after 4 s, which is too late for that.
 */
function mustAdoptNow(step: StepBuilder): boolean {
  const { leftOver, lease } = step.facts;
  if (leftOver.adoptable === null || lease.view !== null) return false;
  const { takeUpAtMs } = leftOver.adoptable;
  if (step.nowMs >= takeUpAtMs) return true;
  step.wakeAt(takeUpAtMs);
  return false;
}
