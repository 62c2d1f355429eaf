/**
 * When is it this node's turn to claim a vacant VIP? The best-ranked candidate claims at once, and the k-th
 * waits k times 100 ms, so that a dead better one delays the others only shortly. Where no priority can be
 * read, VRRP's skew decides. Where every candidate is in FAULT, or none that may claim does so, the last
 * resorts take turns.
 */
import type { Candidate } from "../kube/record.ts";
import { claimants, peers, selfCandidate } from "./candidates.ts";
import type { LeaseView } from "./lease-view.ts";
import { ranked } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import { BALANCER_FAULT, UNSTABLE_FAULT } from "./types.ts";
import type { Backup } from "./types.ts";
import type { Vacancy } from "./vacancy.ts";

/** The k-th best candidate waits k times this long. It is enough for a write (5 ms) and its echo by watch. */
const CLAIM_STEP_MS = 100;
/** When no candidate has been eligible for this long, a node serves that only has light faults. */
export const ALL_FAULT_MS = 2_000;
/**
 * So does it when the eligible candidates have let this much time pass. They may have died with the holder,
 * or have seen the Lease only since they were restarted.
 */
const NOT_CLAIMED_MS = 4_000;
/** These faults do not keep a node from serving when every candidate is in FAULT. */
export const LIGHT_FAULTS: readonly string[] = [BALANCER_FAULT, UNSTABLE_FAULT];

/**
 * When it is this node's turn to claim what is free from `freeAtMs` on; Infinity while it is not among those
 * who may.
 */
export function claimTime(
  step: StepBuilder,
  role: Backup,
  view: LeaseView,
  freeAtMs: number,
  free: Vacancy,
): number {
  return turnOf(step, claimOrder(step, role, view, free), freeAtMs, free);
}

/**
 * The same, and where no candidate is eligible, or none claims, the last resorts take turns.
 * @returns the time, and the role with `unclaimedSinceMs` as it is now
 */
export function claimOrResortTime(
  step: StepBuilder,
  role: Backup,
  view: LeaseView,
  freeAtMs: number,
  free: Vacancy,
): { readonly role: Backup; readonly atMs: number } {
  const able = claimOrder(step, role, view, free);
  if (able.some(({ node }) => node === step.settings.node))
    return { role: { ...role, unclaimedSinceMs: null }, atMs: turnOf(step, able, freeAtMs, free) };
  const known = role.unclaimedSinceMs ?? Number.NEGATIVE_INFINITY;
  const sinceMs = known < freeAtMs ? Math.max(freeAtMs, step.nowMs) : known;
  const patienceMs = able.length > 0 ? NOT_CLAIMED_MS : ALL_FAULT_MS;
  const atMs = resortTime(step, lastResorts(step, role, view, free), sinceMs + patienceMs);
  return { role: { ...role, unclaimedSinceMs: sinceMs }, atMs };
}

/** The candidates that may claim, in their order. */
function claimOrder(step: StepBuilder, role: Backup, view: LeaseView, free: Vacancy): readonly Candidate[] {
  return withoutLost(claimants(step, role, view), free, step.settings.node);
}

/** When this node may claim as one of `able`; Infinity when it is not one of them. */
function turnOf(
  { settings, facts }: StepBuilder,
  able: readonly Candidate[],
  freeAtMs: number,
  free: Vacancy,
): number {
  const rank = able.findIndex((candidate) => candidate.node === settings.node);
  if (rank < 0) return Number.POSITIVE_INFINITY;
  const { effective } = facts.self.tracking;
  // While there is no Lease, no priority of another node can be read. VRRP's own skew decides (RFC 9568
  // section 6.1), and of equals the first.
  if (free.kind === "free" && free.why === "absent") return freeAtMs + ((256 - effective) / 256) * 1_000;
  // A candidate is a node whose priority all others can read.
  const own = facts.lease.view?.candidates.get(settings.node)?.candidate;
  const ours = own !== undefined && own.instance === settings.instance;
  return ours && own.eligible && own.effective === effective
    ? freeAtMs + rank * CLAIM_STEP_MS
    : Number.POSITIVE_INFINITY;
}

/**
 * The nodes with only light faults, best first. Such a node finds no API server, or has to prove itself. It
 * is as good as a healthy one when no healthy one claims.
 */
function lastResorts(step: StepBuilder, role: Backup, view: LeaseView, free: Vacancy): readonly Candidate[] {
  const { settings, facts } = step;
  if (facts.stopping !== null) return [];
  const all = [...withoutLost(peers(settings, view), free, settings.node), selfCandidate(step, role)];
  return ranked(
    all.filter(({ faults }) => faults.length > 0 && faults.every((fault) => LIGHT_FAULTS.includes(fault))),
  );
}

function resortTime({ settings, facts }: StepBuilder, resorts: readonly Candidate[], fromMs: number): number {
  const rank = resorts.findIndex((candidate) => candidate.node === settings.node);
  if (rank < 0 || !facts.self.tracking.ready) return Number.POSITIVE_INFINITY;
  return fromMs + rank * CLAIM_STEP_MS;
}

/**
 * The holder whose Lease has run out is no candidate: it has just shown that it cannot renew. Where the Lease
 * names this node, the holder was another machine of its name.
 */
function withoutLost(candidates: readonly Candidate[], free: Vacancy, self: string): readonly Candidate[] {
  if (free.kind !== "held" || free.holder === self) return candidates;
  return candidates.filter((candidate) => candidate.node !== free.holder);
}
