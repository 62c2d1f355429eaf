/**
 * A holder whose link is dead has let the VIP go, and the Lease still names it. When the link is back,
 * another node may have the VIP by proof, with a claim that a slow API keeps waiting. To bind at once would
 * take the VIP away from that node, and the claim would then move it once more. So the holder asks the wire
 * first (RFC 5227 section 2.1), and offers the Lease to the node that has the VIP by then.
 */
import { probeWire } from "./address-check.ts";
import { candidateAt, peers } from "./candidates.ts";
import { faultsOf } from "./eligibility.ts";
import { holdVip, unbindVip } from "./fence.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import { INTERFACE_FAULT } from "./types.ts";
import type { Facts, LinkLoss, Master } from "./types.ts";

/**
 * Kernels answer within microseconds, and a switch port that has just come up drops little. No node serves
 * while the holder waits.
 */
const ANSWER_MS = 200;
/** The node that had the VIP may have let it go by then. */
const ASK_AGAIN_MS = 1_000;

/** Lets the VIP go when the link goes, and takes it back after the link has come back. */
export function trackLink(step: StepBuilder, role: Master, view: LeaseView | null): Master {
  const { linkLoss } = role;
  const dead: Master = { ...role, linkLoss: { askedAtMs: null, owner: null } };
  if (!faultsOf(step.facts, role).includes(INTERFACE_FAULT)) {
    return linkLoss === null ? role : comeBack(step, role, linkLoss);
  }
  if (linkLoss !== null) return linkLoss.askedAtMs === null ? role : dead;
  // A VIP on a dead link serves nobody, and must not come back while a successor has it. Where there is no
  // successor, it may stay.
  if (view === null || !peers(step.settings, view).some((candidate) => candidate.eligible)) return role;
  unbindVip(step);
  return dead;
}

/** It is not clear yet which node has the VIP. Nothing is offered until then, which takes 200 ms at most. */
export function isAsking({ linkLoss }: Master): boolean {
  return linkLoss !== null && linkLoss.askedAtMs !== null && linkLoss.owner === null;
}

function comeBack(step: StepBuilder, role: Master, linkLoss: LinkLoss): Master {
  const { facts, nowMs } = step;
  const { askedAtMs, owner: knownOwner } = linkLoss;
  if (askedAtMs === null || (knownOwner !== null && nowMs >= askedAtMs + ASK_AGAIN_MS)) {
    probeWire(step, false);
    step.wakeAt(nowMs + ANSWER_MS);
    return { ...role, linkLoss: { askedAtMs: nowMs, owner: knownOwner } };
  }
  const owner = heardSince(facts, askedAtMs);
  if (owner !== null) {
    step.wakeAt(askedAtMs + ASK_AGAIN_MS);
    // What became of the offers from the time without a link does not matter any more.
    return owner === knownOwner ? role : { ...role, handover: null, linkLoss: { askedAtMs, owner } };
  }
  if (facts.wire.probingSinceMs !== null && nowMs < askedAtMs + ANSWER_MS) {
    step.wakeAt(askedAtMs + ANSWER_MS);
    return role;
  }
  return takeBack(step, role);
}

function takeBack(step: StepBuilder, role: Master): Master {
  const next: Master = { ...role, linkLoss: null };
  holdVip(step, next);
  return next;
}

/** The candidate that has the VIP. A stranger that has it is defended against, as always. */
function heardSince(facts: Facts, sinceMs: number): string | null {
  const { probed, contender } = facts.wire;
  const macs = [
    ...(probed !== null && probed.atMs >= sinceMs && probed.owner !== null ? [probed.owner] : []),
    ...(contender !== null && contender.atMs >= sinceMs ? [contender.mac] : []),
  ];
  for (const mac of macs) {
    const candidate = candidateAt(facts, mac);
    if (candidate !== undefined) return candidate.node;
  }
  return null;
}
