/**
 * A node that does not hold the VIP: when does it claim? By compare-and-swap on the record it saw, at once if it is the best
 * candidate, otherwise its rank times 100 ms later, so that a dead better one delays nobody for long. With proof of the holder's death, before its Lease has run out.
 */
import type { Candidate } from "../kube/record.ts";
import { decideBootstrap } from "./bootstrap.ts";
import { askWire, candidateAt } from "./contention.ts";
import type { Draft } from "./draft.ts";
import { claimants, eligible, faultsOf, lastResorts, peers } from "./facts.ts";
import { offeredToUs } from "./handover.ts";
import type { LeaseView } from "./lease-view.ts";
import { becomeProvisional } from "./provisional.ts";
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

export function decideBackup(draft: Draft, role: Backup): void {
  const { settings, state, nowMs } = draft;
  const { view } = state;
  if (view === null || neverWas(view)) decideBootstrap(draft);
  if (draft.state.role.kind !== "BACKUP") return;
  if (view === null || state.namesake !== null) return dropResumed(draft, view);
  // Somebody of ours has had it since: it is not a stranger's any more.
  if (state.stranger !== null && view.lastHolder !== null) draft.set({ stranger: null });
  const free = vacancy(settings, view, state.resumeUntilMs !== null);
  if (free.kind !== "ours") dropResumed(draft, view);
  const provenMs = provenAt(draft, view);
  if (provenMs !== null && free.kind === "held" && takeFrom(draft, view, provenMs, free)) return;
  if (state.write !== null) return;
  if (nowMs < role.retryAtMs) return draft.wakeAt(role.retryAtMs);
  switch (free.kind) {
    case "ours":
      return resume(draft, view);
    case "held":
      if (offeredToUs(draft, view)) return claim(draft, view, true);
      // A claim sent now would wait in a server for etcd, and could come before the holder's own renewal.
      if (state.readFailing) return;
      return claimFrom(draft, view, Math.max(free.freeAtMs, state.readableSinceMs + READABLE_MS), free);
    case "free":
      return claimFrom(draft, view, free.sinceMs, free);
  }
}

/** The API answers, and there is no Lease, nor has there been one. */
function neverWas(view: LeaseView): boolean {
  return view.record === null && view.lastHolder === null;
}

/** The address that a previous process left is ours only as long as the Lease may still name us. */
function dropResumed(draft: Draft, view: LeaseView | null): void {
  const { resumeUntilMs, adoptableUntilMs } = draft.state;
  if (resumeUntilMs === null && adoptableUntilMs === null) return;
  if (view === null) return draft.wakeAt(Math.min(resumeUntilMs ?? Number.POSITIVE_INFINITY, adoptableUntilMs ?? Number.POSITIVE_INFINITY));
  draft.unbind();
  draft.set({ resumeUntilMs: null, adoptableUntilMs: null });
}

/** When the holder that the Lease names was found dead on the wire; null: it was not, or somebody else has the VIP by now. */
function provenAt({ settings, state, nowMs }: Draft, view: LeaseView): number | null {
  const { proof, contender } = state;
  if (proof === null || view.record === null || proof.tenure !== tenureKey(view.record)) return null;
  // A contender that is no holder by the Lease: its claim may be under way, and will be seen.
  const other = contender === null || nowMs >= contender.atMs + settings.renewDeadlineMs ? undefined : candidateAt(state, contender.mac);
  return other !== undefined && other.node !== view.record.holder ? null : proof.atMs;
}

/**
 * Where the data plane makes two holders harmless the VIP is bound at once and claimed beside: the write takes 5 ms, but a second when the dead node had etcd's
 * leader. Elsewhere the answer is waited for. False when this node is not among those who may.
 */
function takeFrom(draft: Draft, view: LeaseView, provenMs: number, free: Extract<Vacancy, { kind: "held" }>): boolean {
  const { settings, state, nowMs } = draft;
  const able = withoutLost(claimants(settings, state, view, nowMs), free, settings.node);
  const atMs = claimTime(draft, able, provenMs, free);
  // Not for us to take: what holds without proof may be.
  if (atMs === Number.POSITIVE_INFINITY) return false;
  if (nowMs < atMs) {
    draft.wakeAt(atMs);
    return true;
  }
  if (state.self.fastPath !== null && state.self.fastPath !== undefined) {
    const tenure = state.proof?.tenure ?? "";
    becomeProvisional(draft, { kind: "proof", tenure }, nowMs + settings.renewDeadlineMs);
  } else if (state.write === null) claim(draft, view, false);
  return true;
}

/**
 * The Lease names us: we were restarted, or a claim that we had given up was applied after all. A fit node takes it up (with
 * a `test` on renewTime: only if nobody has); an unfit one gives it back rather than letting the others wait.
 */
function resume(draft: Draft, view: LeaseView): void {
  const { state } = draft;
  const unfit = faultsOf(state).length > 0 && betterExists(draft, view);
  if (!unfit) return claim(draft, view, false);
  if (view.record === null) return;
  // Unbind, then release: never the other way round.
  dropResumed(draft, view);
  draft.send({ kind: "release", held: view.record }, draft.settings.renewDeadlineMs);
}

function betterExists(draft: Draft, view: LeaseView): boolean {
  return claimants(draft.settings, draft.state, view, draft.nowMs).some((candidate) => candidate.node !== draft.settings.node);
}

function claimFrom(draft: Draft, view: LeaseView, freeAtMs: number, free: Vacancy): void {
  const { settings, state, nowMs } = draft;
  // Asked while others are waited for, so that it costs no time of its own.
  const unheld = free.kind === "free" && view.lastHolder === null && free.why !== "released";
  const wire = unheld && (eligible(state) || state.stranger !== null) ? askWire(draft, false) : "free";
  if (nowMs < freeAtMs) return draft.wakeAt(freeAtMs);
  if (wire !== "free") return;
  const able = withoutLost(claimants(settings, state, view, nowMs), free, settings.node);
  const resort = able.length > 0 ? [] : lastResorts(settings, state, withoutLost(peers(settings, view), free, settings.node), nowMs);
  const atMs = able.length > 0 ? claimTime(draft, able, freeAtMs, free) : resortTime(draft, resort, freeAtMs);
  if (able.length > 0 && state.allFaultSinceMs !== null) draft.set({ allFaultSinceMs: null });
  if (nowMs < atMs) return draft.wakeAt(atMs);
  claim(draft, view, false);
}

/** The holder whose Lease has run out is no candidate: it has just shown that it cannot renew. If it has our name it is not we. */
function withoutLost(candidates: readonly Candidate[], free: Vacancy, self: string): readonly Candidate[] {
  return free.kind === "held" && free.holder !== self ? candidates.filter((candidate) => candidate.node !== free.holder) : candidates;
}

/** Infinity when this node is not among those who may claim. */
function claimTime(draft: Draft, able: readonly Candidate[], freeAtMs: number, free: Vacancy): number {
  const { settings, state } = draft;
  const rank = able.findIndex((candidate) => candidate.node === settings.node);
  if (rank < 0) return Number.POSITIVE_INFINITY;
  // Nobody's priority can be read while there is no Lease: VRRP's own skew decides (RFC 9568 section 6.1), the tie goes to whoever is first.
  if (free.kind === "free" && free.why === "absent") {
    return freeAtMs + ((256 - state.self.effective) / 256) * 1_000;
  }
  // Candidates are those whose priority all others can read.
  if (!publishedByAll(draft)) return Number.POSITIVE_INFINITY;
  return freeAtMs + rank * CLAIM_STEP_MS;
}

function publishedByAll(draft: Draft): boolean {
  const seen = draft.state.view?.candidates.get(draft.settings.node)?.candidate;
  return seen !== undefined && seen.instance === draft.settings.instance && seen.eligible && seen.effective === draft.state.self.effective;
}

function resortTime(draft: Draft, resort: readonly Candidate[], freeAtMs: number): number {
  const { settings, state, nowMs } = draft;
  const since = state.allFaultSinceMs ?? Math.max(freeAtMs, nowMs);
  if (state.allFaultSinceMs === null) draft.set({ allFaultSinceMs: since });
  const rank = resort.findIndex((candidate) => candidate.node === settings.node);
  return rank < 0 || !state.self.ready ? Number.POSITIVE_INFINITY : since + ALL_FAULT_MS + rank * CLAIM_STEP_MS;
}

function claim(draft: Draft, view: LeaseView, offered: boolean): void {
  draft.send({ kind: "claim", replaces: view.record, offered, instance: draft.settings.instance }, draft.settings.renewDeadlineMs);
}
