/**
 * A holder whose link is dead has let the VIP go, and the Lease still names it. When the link is back, another one may have the VIP by proof, with a claim that a slow
 * API keeps waiting: to bind at once would take it away from there, and the claim would then move it once more. So the wire is asked first (RFC 5227 section 2.1),
 * and whoever has it by then is offered it.
 */
import { candidateAt, peers } from "./candidates.ts";
import { faultsOf } from "./eligibility.ts";
import { holdVip, unbindVip } from "./fence.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import { INTERFACE_FAULT } from "./types.ts";
import type { ElectionState, LinkLoss, Master } from "./types.ts";

/** Kernels answer within microseconds, and a switch port that has just come up drops little. Nobody serves while we wait. */
const ANSWER_MS = 200;
/** Whoever has it may have let it go. */
const ASK_AGAIN_MS = 1_000;

/** Lets the VIP go and takes it back as the link goes and comes. */
export function trackLink(step: StepBuilder, role: Master, view: LeaseView | null): void {
  const { settings, state } = step;
  const { linkLoss } = role;
  if (faultsOf(state).includes(INTERFACE_FAULT)) {
    // A VIP on a dead link serves nobody, and must not come back beside the successor's. Where there is none, it is there when the link is.
    if (linkLoss === null && (view === null || !peers(settings, view).some((candidate) => candidate.eligible))) return;
    if (linkLoss === null) unbindVip(step);
    if (linkLoss === null || linkLoss.askedAtMs !== null) setLinkLoss(step, role, { askedAtMs: null, owner: null });
    return;
  }
  if (linkLoss !== null) comeBack(step, role, linkLoss);
}

/** It is not clear yet whose the VIP is; nothing is offered or renewed until then, which takes 200 ms at most. */
export function isAsking({ linkLoss }: Master): boolean {
  return linkLoss !== null && linkLoss.askedAtMs !== null && linkLoss.owner === null;
}

function comeBack(step: StepBuilder, role: Master, linkLoss: LinkLoss): void {
  const { state, nowMs } = step;
  if (linkLoss.askedAtMs === null || (linkLoss.owner !== null && nowMs >= linkLoss.askedAtMs + ASK_AGAIN_MS)) {
    step.probe(false);
    setLinkLoss(step, role, { askedAtMs: nowMs, owner: linkLoss.owner });
    return step.wakeAt(nowMs + ANSWER_MS);
  }
  const owner = heardSince(state, linkLoss.askedAtMs);
  if (owner !== null) {
    // What the offers of the time without a link came to does not matter any more.
    if (owner !== linkLoss.owner) setLinkLoss(step, { ...role, handover: null }, { ...linkLoss, owner });
    return step.wakeAt(linkLoss.askedAtMs + ASK_AGAIN_MS);
  }
  if (state.wire.probingSinceMs !== null && nowMs < linkLoss.askedAtMs + ANSWER_MS) return step.wakeAt(linkLoss.askedAtMs + ANSWER_MS);
  setLinkLoss(step, role, null);
  holdVip(step);
}

/** A candidate that has the VIP. A stranger that does is defended against, as always. */
function heardSince(state: ElectionState, sinceMs: number): string | null {
  const { probed, contender } = state.wire;
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

function setLinkLoss(step: StepBuilder, role: Master, linkLoss: LinkLoss | null): void {
  step.set({ role: { ...role, linkLoss } });
}
