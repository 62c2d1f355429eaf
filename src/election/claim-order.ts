/**
 * Among those who may claim a vacant VIP: when is it this node's turn? The best-ranked candidate claims at once, and the k-th waits k times 100 ms, so that a
 * dead better one delays the others only shortly. VRRP's skew decides where no priority can be read. Where every candidate is in FAULT the last resorts take turns.
 */
import type { Candidate } from "../kube/record.ts";
import { claimants, peers, selfCandidate } from "./candidates.ts";
import type { LeaseView } from "./lease-view.ts";
import { ranked } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import { BALANCER_FAULT, UNSTABLE_FAULT } from "./types.ts";
import type { ElectionSettings, ElectionState } from "./types.ts";
import type { Vacancy } from "./vacancy.ts";

/** The k-th best candidate waits k times this long. Enough for a write (5 ms) and its echo by watch. */
const CLAIM_STEP_MS = 100;
/** With nobody eligible for this long, a node whose only fault is its balancer serves all the same. */
const ALL_FAULT_MS = 2_000;
/** Faults that do not keep a node from serving when every candidate is in FAULT. */
const LIGHT_FAULTS: readonly string[] = [BALANCER_FAULT, UNSTABLE_FAULT];

/** The candidates in the order in which they may claim; this node is among them if it may. */
function claimOrder(step: StepBuilder, view: LeaseView, free: Vacancy): readonly Candidate[] {
  return withoutLost(claimants(step.settings, step.state, view, step.nowMs), free, step.settings.node);
}

/** When it is this node's turn to claim what is free from `freeAtMs` on; Infinity while it is not among those who may. */
export function claimTime(step: StepBuilder, view: LeaseView, freeAtMs: number, free: Vacancy): number {
  return turnOf(step, claimOrder(step, view, free), freeAtMs, free);
}

/** The same, and where no candidate is eligible the last resorts take turns. */
export function claimOrResortTime(step: StepBuilder, view: LeaseView, freeAtMs: number, free: Vacancy): number {
  const { settings, state, nowMs } = step;
  const able = claimOrder(step, view, free);
  if (able.length === 0) return resortTime(step, lastResorts(settings, state, withoutLost(peers(settings, view), free, settings.node), nowMs), freeAtMs);
  const atMs = turnOf(step, able, freeAtMs, free);
  if (state.lease.allFaultSinceMs !== null) step.setLease({ allFaultSinceMs: null });
  return atMs;
}

/** When the best of `able` may claim at `freeAtMs`; Infinity when this node is not one of them. */
function turnOf(step: StepBuilder, able: readonly Candidate[], freeAtMs: number, free: Vacancy): number {
  const { settings, state } = step;
  const rank = able.findIndex((candidate) => candidate.node === settings.node);
  if (rank < 0) return Number.POSITIVE_INFINITY;
  // Nobody's priority can be read while there is no Lease: VRRP's own skew decides (RFC 9568 section 6.1), the tie goes to whoever is first.
  if (free.kind === "free" && free.why === "absent") {
    return freeAtMs + ((256 - state.self.tracking.effective) / 256) * 1_000;
  }
  // Candidates are those whose priority all others can read.
  if (!publishedByAll(step)) return Number.POSITIVE_INFINITY;
  return freeAtMs + rank * CLAIM_STEP_MS;
}

function publishedByAll(step: StepBuilder): boolean {
  const seen = step.state.lease.view?.candidates.get(step.settings.node)?.candidate;
  return seen !== undefined && seen.instance === step.settings.instance && seen.eligible && seen.effective === step.state.self.tracking.effective;
}

/** When nobody is eligible: those that only no API server answers, or that have to prove themselves. Any of them is as good as a healthy one. */
function lastResorts(settings: ElectionSettings, state: ElectionState, others: readonly Candidate[], nowMs: number): readonly Candidate[] {
  if (state.stopping !== null) return [];
  const self = selfCandidate(settings, state, nowMs);
  const all = [...others, self];
  if (all.some((candidate) => candidate.eligible)) return [];
  return ranked(all.filter((candidate) => candidate.faults.length > 0 && candidate.faults.every((fault) => LIGHT_FAULTS.includes(fault))));
}

function resortTime(step: StepBuilder, resort: readonly Candidate[], freeAtMs: number): number {
  const { settings, state, nowMs } = step;
  const since = state.lease.allFaultSinceMs ?? Math.max(freeAtMs, nowMs);
  if (state.lease.allFaultSinceMs === null) step.setLease({ allFaultSinceMs: since });
  const rank = resort.findIndex((candidate) => candidate.node === settings.node);
  return rank < 0 || !state.self.tracking.ready ? Number.POSITIVE_INFINITY : since + ALL_FAULT_MS + rank * CLAIM_STEP_MS;
}

/** The holder whose Lease has run out is no candidate: it has just shown that it cannot renew. If it has our name it is not we. */
function withoutLost(candidates: readonly Candidate[], free: Vacancy, self: string): readonly Candidate[] {
  return free.kind === "held" && free.holder !== self ? candidates.filter((candidate) => candidate.node !== free.holder) : candidates;
}
