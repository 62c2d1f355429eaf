/**
 * Others on the wire: what it means that somebody was heard, who gives way to whom, and when a VIP must not be claimed because another machine
 * has it. Two holders do no harm on the fast path, but they must not last; and a machine that is none of ours is never fought with.
 */
import type { Candidate } from "../kube/record.ts";
import { candidateAt } from "./candidates.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionState, Master } from "./types.ts";

/** RFC 5227 section 2.4: DEFEND_INTERVAL. */
const DEFEND_MS = 10_000;
/** Between candidates one of the two gives way soon, so that no fight comes of it. */
const DEFEND_OURS_MS = 1_000;
/** So long after a hand-over the old holder's announcements may still come. */
const LAST_WORDS_MS = 1_000;
/** A candidate's claim is settled by the Lease, at once; with a stranger there is nothing to settle: the VIP is defended, and people are told. */
export function contestMaster(step: StepBuilder, role: Master, mac: string): void {
  const { state, nowMs } = step;
  if (candidateAt(state, mac) === undefined) return;
  // A successor that we have offered it to; or the one before us, whose last words are late.
  if (role.handover !== null || role.contestedAtMs !== null || role.linkLoss !== null) return;
  step.set({ role: { ...role, contestedAtMs: nowMs, nextRenewAtMs: nowMs } });
}

/**
 * Who heard another one's claim has to hear that it was not true: the last of several too, and it need not have been its agent that spoke (keepalived on the same
 * machine will not take it back). A stranger is answered at once and not more often than every 10 s; a candidate once the Lease has confirmed us against it.
 */
export function decideDefence(step: StepBuilder, role: Master): void {
  const { state, nowMs } = step;
  const { contender, defendedAtMs } = state.wire;
  // What was heard before we became holder was answered by our first announcement.
  if (contender === null || contender.atMs <= defendedAtMs || contender.atMs < state.sinceMs) return;
  const other = candidateAt(state, contender.mac);
  if (other !== undefined && (role.contestedAtMs !== null || role.handover !== null)) return;
  const atMs = defendAgainAt(state, other);
  if (nowMs < atMs) return step.wakeAt(atMs);
  step.defend();
  // The last words of the one before us are no news.
  if (other !== undefined && nowMs < state.sinceMs + LAST_WORDS_MS) return;
  step.effect({ kind: "report", report: { kind: "conflict", mac: contender.mac, node: other?.node ?? null, outcome: "defended" } });
}

/** When the VIP may be defended again. @param other the candidate that claims it; undefined: a stranger does */
export function defendAgainAt({ wire: { defendedAtMs } }: ElectionState, other: Candidate | undefined): number {
  return defendedAtMs + (other === undefined ? DEFEND_MS : DEFEND_OURS_MS);
}
