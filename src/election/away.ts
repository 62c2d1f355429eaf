/**
 * A holder whose link is dead has let the VIP go, and the Lease still names it. When the link is back, another one may have the VIP by proof, with a claim that a slow
 * API keeps waiting: to bind at once would take it away from there, and the claim would then move it once more. So the wire is asked first (RFC 5227 section 2.1),
 * and whoever has it by then is offered it.
 */
import { candidateAt } from "./contention.ts";
import { faultsOf, INTERFACE_FAULT, peers } from "./facts.ts";
import { hold, unbind } from "./fence.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import type { Away, ElectionState, Master } from "./types.ts";

/** Kernels answer within microseconds, and a switch port that has just come up drops little. Nobody serves while we wait. */
const ANSWER_MS = 200;
/** Whoever has it may have let it go. */
const ASK_AGAIN_MS = 1_000;

/** Lets the VIP go and takes it back as the link goes and comes. */
export function trackLink(step: StepBuilder, role: Master, view: LeaseView | null): void {
  const { settings, state } = step;
  const { away } = role;
  if (faultsOf(state).includes(INTERFACE_FAULT)) {
    // A VIP on a dead link serves nobody, and must not come back beside the successor's. Where there is none, it is there when the link is.
    if (away === null && (view === null || !peers(settings, view).some((candidate) => candidate.eligible))) return;
    if (away === null) unbind(step);
    if (away === null || away.askedAtMs !== null) setAway(step, role, { askedAtMs: null, owner: null });
    return;
  }
  if (away !== null) comeBack(step, role, away);
}

/** It is not clear yet whose the VIP is; nothing is offered or renewed until then, which takes 200 ms at most. */
export function isAsking({ away }: Master): boolean {
  return away !== null && away.askedAtMs !== null && away.owner === null;
}

function comeBack(step: StepBuilder, role: Master, away: Away): void {
  const { state, nowMs } = step;
  if (away.askedAtMs === null || (away.owner !== null && nowMs >= away.askedAtMs + ASK_AGAIN_MS)) {
    step.probe(false);
    setAway(step, role, { askedAtMs: nowMs, owner: away.owner });
    return step.wakeAt(nowMs + ANSWER_MS);
  }
  const owner = heardSince(state, away.askedAtMs);
  if (owner !== null) {
    // What the offers of the time without a link came to does not matter any more.
    if (owner !== away.owner) setAway(step, { ...role, handover: null }, { ...away, owner });
    return step.wakeAt(away.askedAtMs + ASK_AGAIN_MS);
  }
  if (state.probingSinceMs !== null && nowMs < away.askedAtMs + ANSWER_MS) return step.wakeAt(away.askedAtMs + ANSWER_MS);
  setAway(step, role, null);
  hold(step);
}

/** A candidate that has the VIP. A stranger that does is defended against, as always. */
function heardSince(state: ElectionState, sinceMs: number): string | null {
  const { probed, contender } = state;
  const macs = [
    ...(probed !== null && probed.atMs >= sinceMs && probed.owner !== null ? [probed.owner] : []),
    ...(contender !== null && contender.atMs >= sinceMs ? [contender.mac] : []),
  ];
  for (const mac of macs) {
    const candidate = candidateAt(state, mac);
    if (candidate !== undefined) return candidate.node;
  }
  return null;
}

function setAway(step: StepBuilder, role: Master, away: Away | null): void {
  step.set({ role: { ...role, away } });
}
