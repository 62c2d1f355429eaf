/** Tells an unplanned move of the VIP from one that a person, a priority or a clean stop asked for. Pure. */
import type { ElectionState, StepTaken } from "../election/types.ts";
import { RELEASED_BY } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { turnMs } from "../sentinel/proof-rules.ts";

/** What moved, as a word for the name of a file. */
export type UnplannedMove =
  /** This node took the VIP, because the holder's kernel was silent. */
  | "holder-dead"
  /** This node took the Lease after the holder had let it run out. */
  | "lease-expired"
  /** This node took a Lease that a client other than the agents had deleted or emptied. */
  | "lease-gone"
  /** This node keeps the VIP without a renewal, because it cannot renew the Lease. */
  | "api-loss"
  /** This node took the VIP, because it cannot get the Lease written and no machine had the VIP. */
  | "unwritten"
  /** Another candidate claims the VIP of this node. */
  | "contested"
  /** This node gave the VIP away because of a fault of its own. */
  | "fault"
  /** This node lost the VIP in any other way. */
  | "vip-lost";

/** Returns null where the step moved nothing, or where the move was planned. */
export function unplannedMove({ settings, before, event, next }: StepTaken): UnplannedMove | null {
  const from = before.role;
  const to = next.state.role;
  if (from.kind === to.kind) return null;
  if (to.kind === "PROVISIONAL") {
    // The first holder of a new cluster, or of one that is switched on, takes the VIP from no node.
    if (to.why.kind === "bootstrap") return null;
    return to.why.kind === "proof" ? "holder-dead" : to.why.kind;
  }
  if (to.kind === "MASTER") {
    const claim = event.kind === "written" && event.write.kind === "claim" ? event.write : undefined;
    if (from.kind !== "BACKUP" || claim === undefined || claim.offered) return null;
    return taken(claim.replaces, settings.node, before.lease.view?.lastHolder ?? null);
  }
  return lost(before, settings.node);
}

/**
 * Returns the node that has taken the Lease of this MASTER without an offer, while an offer to another node may be out.
 * It found this node dead on the wire, cut off or unable to renew. null: there is none.
 */
export function tookUnoffered({ role, lease: { view } }: ElectionState, node: string): string | null {
  if (role.kind !== "MASTER" || role.offered === null || view?.displaced?.node !== node) return null;
  // The record with the offer may have been skipped: it was replaced before this node could read it.
  return view.lastHolder === role.handover?.offer?.to ? null : view.lastHolder;
}

/** How the holder is asked whether it lives: the milliseconds between two echoes, and how many may be missed. */
export interface Probing {
  readonly intervalMs: number;
  readonly misses: number;
}

/**
 * For how many milliseconds at most no node had the VIP before this step took it; null where the step took it
 * from no dead or silent holder. It counts from the last sign of life of the old holder that this node saw: an
 * answer on the wire, or a renewal.
 * @param move what {@link unplannedMove} says of the step
 */
export function gapMs(
  step: StepTaken,
  move: ReturnType<typeof unplannedMove>,
  probing: Probing,
): number | null {
  const { before, atMs } = step;
  const { view } = before.lease;
  if (view === null || (move !== "holder-dead" && move !== "lease-expired" && move !== "unwritten"))
    return null;
  const sinceRenewalMs = atMs - view.changedAtMs;
  if (move !== "holder-dead") return Math.max(0, sinceRenewalMs);
  const { proof, watched } = before.wire;
  const intervalMs = turnMs(probing.intervalMs, watched?.pace ?? "fast");
  const sinceAnswerMs = atMs - (proof?.atMs ?? atMs) + intervalMs * (probing.misses + 1);
  return Math.max(0, Math.min(sinceRenewalMs, sinceAnswerMs));
}

function taken(
  replaces: LeaseRecord | null,
  node: string,
  lastHolder: string | null,
): "lease-expired" | "lease-gone" | null {
  if (replaces?.holder === node || lastHolder === null || lastHolder === node) return null;
  if (replaces === null) return "lease-gone";
  if (replaces.holder !== "") return "lease-expired";
  return replaces.annotations[RELEASED_BY] === undefined ? "lease-gone" : null;
}

function lost(before: ElectionState, node: string): "fault" | "vip-lost" | null {
  const { role, stopping } = before;
  if (stopping !== null) return null;
  if (role.kind === "PROVISIONAL") return "vip-lost";
  if (role.kind !== "MASTER") return null;
  const { handover, offered } = role;
  if (offered === null || offered.takenAtMs === null || tookUnoffered(before, node) !== null)
    return "vip-lost";
  return handover?.reason === "fault" ? "fault" : null;
}
