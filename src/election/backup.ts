/**
 * A node that does not hold the VIP: when does it claim? By compare-and-swap on the record it saw, at once if it is the best
 * candidate, otherwise its rank times 100 ms later, so that a dead better one delays nobody for long. With proof of the holder's death, before its Lease has run out.
 */
import type { Candidate } from "../kube/record.ts";
import { decideBootstrap } from "./bootstrap.ts";
import { askWire, candidateAt } from "./contention.ts";
import { claimants, eligible, faultsOf, lastResorts, peers } from "./facts.ts";
import { deadlineAfter, unbind, writeTimeoutMs } from "./fence.ts";
import { offeredToUs } from "./handover.ts";
import type { LeaseView } from "./lease-view.ts";
import { becomeProvisional } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";
import type { Backup } from "./types.ts";
import { vacancy } from "./vacancy.ts";
import type { Vacancy } from "./vacancy.ts";
import { tenureKey } from "./watch-target.ts";

/** The k-th best candidate waits k times this long. Enough for a write (5 ms) and its echo by watch. */
export const CLAIM_STEP_MS = 100;
/** With nobody eligible for this long, a node whose only fault is its balancer serves all the same. */
export const ALL_FAULT_MS = 2_000;
/**
 * Where reads had failed, whoever holds may have been unable to write as well, and be about to: it gets this long from the first read that succeeds on, before the
 * time in which nobody could have renewed is held against it.
 */
export const READABLE_MS = 1_500;

export function decideBackup(step: StepBuilder, role: Backup): void {
  const { settings, state, nowMs } = step;
  const { view } = state;
  if (view === null || neverWas(view)) decideBootstrap(step);
  if (step.state.role.kind !== "BACKUP") return;
  if (view === null || state.namesake !== null) return dropResumed(step, view);
  // Somebody of ours has had it since: it is not a stranger's any more.
  if (state.stranger !== null && view.lastHolder !== null) step.set({ stranger: null });
  const free = vacancy(settings, view, state.resumeUntilMs !== null);
  if (free.kind !== "ours") dropResumed(step, view);
  const provenMs = provenAt(step, view);
  if (provenMs !== null && free.kind === "held" && takeFrom(step, view, provenMs, free)) return;
  if (state.write !== null) return;
  if (nowMs < role.retryAtMs) return step.wakeAt(role.retryAtMs);
  switch (free.kind) {
    case "ours":
      return resume(step, view);
    case "held":
      if (offeredToUs(step, view)) return claim(step, view, true);
      // A claim sent now would wait in a server for etcd, and could come before the holder's own renewal.
      if (state.readFailing) return;
      return claimFrom(step, view, Math.max(free.freeAtMs, state.readableSinceMs + READABLE_MS), free);
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
  const { resumeUntilMs, adoptableUntilMs } = step.state;
  if (resumeUntilMs === null && adoptableUntilMs === null) return;
  if (view === null) return step.wakeAt(Math.min(resumeUntilMs ?? Number.POSITIVE_INFINITY, adoptableUntilMs ?? Number.POSITIVE_INFINITY));
  unbind(step);
  step.set({ resumeUntilMs: null, adoptableUntilMs: null });
}

/** When the holder that the Lease names was found dead on the wire; null: it was not, or somebody else has the VIP by now. */
function provenAt({ settings, state, nowMs }: StepBuilder, view: LeaseView): number | null {
  const { proof, contender } = state;
  if (proof === null || view.record === null || proof.tenure !== tenureKey(view.record)) return null;
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
  const able = withoutLost(claimants(settings, state, view, nowMs), free, settings.node);
  const atMs = claimTime(step, able, provenMs, free);
  // Not for us to take: what holds without proof may be.
  if (atMs === Number.POSITIVE_INFINITY) return false;
  if (nowMs < atMs) {
    step.wakeAt(atMs);
    return true;
  }
  if (state.self.fastPath !== null && state.self.fastPath !== undefined) {
    const tenure = state.proof?.tenure ?? "";
    becomeProvisional(step, { kind: "proof", tenure }, deadlineAfter(settings, nowMs));
  } else if (state.write === null) claim(step, view, false);
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
  const { settings, nowMs } = step;
  // Asked while others are waited for, so that it costs no time of its own.
  const unheld = free.kind === "free" && view.lastHolder === null && free.why !== "released";
  const wire = unheld && (eligible(step.state) || step.state.stranger !== null) ? askWire(step, false) : "free";
  if (nowMs < freeAtMs) return step.wakeAt(freeAtMs);
  if (wire !== "free") return;
  // Not read before the wire was asked: the answer may have ended the fault of this node.
  const { state } = step;
  const able = withoutLost(claimants(settings, state, view, nowMs), free, settings.node);
  const resort = able.length > 0 ? [] : lastResorts(settings, state, withoutLost(peers(settings, view), free, settings.node), nowMs);
  const atMs = able.length > 0 ? claimTime(step, able, freeAtMs, free) : resortTime(step, resort, freeAtMs);
  if (able.length > 0 && state.allFaultSinceMs !== null) step.set({ allFaultSinceMs: null });
  if (nowMs < atMs) return step.wakeAt(atMs);
  claim(step, view, false);
}

/** The holder whose Lease has run out is no candidate: it has just shown that it cannot renew. If it has our name it is not we. */
function withoutLost(candidates: readonly Candidate[], free: Vacancy, self: string): readonly Candidate[] {
  return free.kind === "held" && free.holder !== self ? candidates.filter((candidate) => candidate.node !== free.holder) : candidates;
}

/** Infinity when this node is not among those who may claim. */
function claimTime(step: StepBuilder, able: readonly Candidate[], freeAtMs: number, free: Vacancy): number {
  const { settings, state } = step;
  const rank = able.findIndex((candidate) => candidate.node === settings.node);
  if (rank < 0) return Number.POSITIVE_INFINITY;
  // Nobody's priority can be read while there is no Lease: VRRP's own skew decides (RFC 9568 section 6.1), the tie goes to whoever is first.
  if (free.kind === "free" && free.why === "absent") {
    return freeAtMs + ((256 - state.self.effective) / 256) * 1_000;
  }
  // Candidates are those whose priority all others can read.
  if (!publishedByAll(step)) return Number.POSITIVE_INFINITY;
  return freeAtMs + rank * CLAIM_STEP_MS;
}

function publishedByAll(step: StepBuilder): boolean {
  const seen = step.state.view?.candidates.get(step.settings.node)?.candidate;
  return seen !== undefined && seen.instance === step.settings.instance && seen.eligible && seen.effective === step.state.self.effective;
}

function resortTime(step: StepBuilder, resort: readonly Candidate[], freeAtMs: number): number {
  const { settings, state, nowMs } = step;
  const since = state.allFaultSinceMs ?? Math.max(freeAtMs, nowMs);
  if (state.allFaultSinceMs === null) step.set({ allFaultSinceMs: since });
  const rank = resort.findIndex((candidate) => candidate.node === settings.node);
  return rank < 0 || !state.self.ready ? Number.POSITIVE_INFINITY : since + ALL_FAULT_MS + rank * CLAIM_STEP_MS;
}

function claim(step: StepBuilder, view: LeaseView, offered: boolean): void {
  step.send({ kind: "claim", replaces: view.record, offered, instance: step.settings.instance }, writeTimeoutMs(step.settings));
}
