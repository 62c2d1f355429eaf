/**
 * A node that does not hold the VIP: when does it claim? By compare-and-swap on the record it saw, at once if it is the best
 * candidate, otherwise its rank times 100 ms later, so that a dead better one delays nobody for long. With proof of the holder's death, before its Lease has run out.
 */
import { askWire } from "./address-check.ts";
import { candidateAt, claimants } from "./candidates.ts";
import { claimOrResortTime, claimTime } from "./claim-order.ts";
import { eligible, faultsOf } from "./eligibility.ts";
import { deadlineAfter, unbindVip, writeTimeoutMs } from "./fence.ts";
import { offeredToUs } from "./handover.ts";
import { termOf } from "./identity.ts";
import type { LeaseView } from "./lease-view.ts";
import { becomeProvisional, BOOTSTRAP_HOLD_MS } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";
import { BALANCER_FAULT } from "./types.ts";
import type { Backup } from "./types.ts";
import { expiry, vacancy } from "./vacancy.ts";
import type { Vacancy } from "./vacancy.ts";

/** On a link where nobody was heard the wire's silence proves nothing: a switch port that spanning tree has not opened yet drops everything for up to 30 s. */
const ALONE_MS = 30_000;


export function decideBackup(step: StepBuilder, role: Backup): void {
  const { settings, state, nowMs } = step;
  const { view } = state.lease;
  if (view === null || neverWas(view)) decideBootstrap(step);
  if (step.state.role.kind !== "BACKUP") return;
  if (view === null || state.self.namesake !== null) return dropResumed(step, view);
  // Somebody of ours has had it since: it is not a stranger's any more.
  if (state.wire.stranger !== null && view.lastHolder !== null) step.setWire({ stranger: null });
  const free = vacancy(settings, view, state.leftOver.resumeUntilMs !== null);
  if (free.kind !== "ours") dropResumed(step, view);
  const provenMs = provenAt(step, view);
  if (provenMs !== null && free.kind === "held" && takeFrom(step, view, provenMs, free)) return;
  if (state.lease.write !== null) return;
  if (nowMs < role.retryAtMs) return step.wakeAt(role.retryAtMs);
  switch (free.kind) {
    case "ours":
      return resume(step, view);
    case "held":
      if (offeredToUs(step, view)) return claim(step, view, true);
      // A claim sent now would wait in a server for etcd, and could come before the holder's own renewal.
      if (state.lease.read.failing) return;
      return claimFrom(step, view, expiry(free, state.lease.read.goodSinceMs), free);
    case "free":
      return claimFrom(step, view, free.sinceMs, free);
  }
}

/** The API answers, and there is no Lease, nor has there been one. */
function neverWas(view: LeaseView): boolean {
  return view.record === null && view.lastHolder === null;
}

/** The address that a previous process left is ours only as long as the Lease may still name us. */
function dropResumed(step: StepBuilder, view: LeaseView | null): void {
  const { resumeUntilMs, adoptableUntilMs } = step.state.leftOver;
  if (resumeUntilMs === null && adoptableUntilMs === null) return;
  if (view === null) return step.wakeAt(Math.min(resumeUntilMs ?? Number.POSITIVE_INFINITY, adoptableUntilMs ?? Number.POSITIVE_INFINITY));
  unbindVip(step);
  step.setLeftOver({ resumeUntilMs: null, adoptableUntilMs: null });
}

/** When the holder that the Lease names was found dead on the wire; null: it was not, or somebody else has the VIP by now. */
function provenAt({ settings, state, nowMs }: StepBuilder, view: LeaseView): number | null {
  const { proof, contender } = state.wire;
  if (proof === null || view.record === null || proof.tenure !== termOf(view.record)) return null;
  // A contender that is no holder by the Lease: its claim may be under way, and will be seen.
  const other = contender === null || nowMs >= deadlineAfter(settings, contender.atMs) ? undefined : candidateAt(state, contender.mac);
  return other !== undefined && other.node !== view.record.holder ? null : proof.atMs;
}

/**
 * Where the data plane makes two holders harmless the VIP is bound at once and claimed beside: the write takes 5 ms, but a second when the dead node had etcd's
 * leader. Elsewhere the answer is waited for. False when this node is not among those who may.
 */
function takeFrom(step: StepBuilder, view: LeaseView, provenMs: number, free: Extract<Vacancy, { kind: "held" }>): boolean {
  const { settings, state, nowMs } = step;
  const atMs = claimTime(step, view, provenMs, free);
  // Not for us to take: what holds without proof may be.
  if (atMs === Number.POSITIVE_INFINITY) return false;
  if (nowMs < atMs) {
    step.wakeAt(atMs);
    return true;
  }
  if (state.self.tracking.fastPath !== null && state.self.tracking.fastPath !== undefined) {
    const tenure = state.wire.proof?.tenure ?? "";
    becomeProvisional(step, { kind: "proof", tenure }, deadlineAfter(settings, nowMs));
  } else if (state.lease.write === null) claim(step, view, false);
  return true;
}

/**
 * The Lease names us: we were restarted, or a claim that we had given up was applied after all. A fit node takes it up (with
 * a `test` on renewTime: only if nobody has); an unfit one gives it back rather than letting the others wait.
 */
function resume(step: StepBuilder, view: LeaseView): void {
  const { state } = step;
  const unfit = faultsOf(state).length > 0 && betterExists(step, view);
  if (!unfit) return claim(step, view, false);
  if (view.record === null) return;
  // Unbind, then release: never the other way round.
  dropResumed(step, view);
  step.send({ kind: "release", held: view.record }, writeTimeoutMs(step.settings));
}

function betterExists(step: StepBuilder, view: LeaseView): boolean {
  return claimants(step.settings, step.state, view, step.nowMs).some((candidate) => candidate.node !== step.settings.node);
}

function claimFrom(step: StepBuilder, view: LeaseView, freeAtMs: number, free: Vacancy): void {
  const { state, nowMs } = step;
  // Asked while others are waited for, so that it costs no time of its own.
  const unheld = free.kind === "free" && view.lastHolder === null && free.why !== "released";
  const wire = unheld && (eligible(state) || state.wire.stranger !== null) ? askWire(step, false) : "free";
  if (nowMs < freeAtMs) return step.wakeAt(freeAtMs);
  if (wire !== "free") return;
  const atMs = claimOrResortTime(step, view, freeAtMs, free);
  if (nowMs < atMs) return step.wakeAt(atMs);
  claim(step, view, false);
}

function claim(step: StepBuilder, view: LeaseView, offered: boolean): void {
  step.send({ kind: "claim", replaces: view.record, offered, instance: step.settings.instance }, writeTimeoutMs(step.settings));
}

/**
 * A control plane that is being made, or that comes back from a power failure, needs its address before there is an API server to ask: kubeadm waits for the
 * VIP, the agent's RBAC waits for kubeadm. So a node that has never seen the Lease, and that no API server lets read it, takes the VIP if nobody on
 * its wire has it, and says so to the Lease as soon as there is one.
 */
function decideBootstrap(step: StepBuilder): void {
  const { state, nowMs } = step;
  if (!(state.lease.read.failing || state.lease.refusal !== null) || state.stopping !== null || state.self.namesake !== null || state.self.tracking.mac === "") return;
  // Before the first API server no balancer works.
  if (faultsOf(state).some((fault) => fault !== BALANCER_FAULT)) return;
  // It is bound here already, by the process before this one: to let it go and ask would only cost clients a second.
  if (state.leftOver.adoptableUntilMs !== null) return becomeProvisional(step, { kind: "bootstrap", seen: null }, nowMs + BOOTSTRAP_HOLD_MS);
  if (!state.wire.met && nowMs < state.startedAtMs + ALONE_MS) return step.wakeAt(state.startedAtMs + ALONE_MS);
  if (askWire(step, true) === "free") becomeProvisional(step, { kind: "bootstrap", seen: null }, nowMs + BOOTSTRAP_HOLD_MS);
}
