/**
 * Another machine claims the VIP of a MASTER. The Lease decides between two candidates. A machine that is no
 * candidate is a stranger: the MASTER announces the VIP again, tells people, and does not fight. What a
 * PROVISIONAL node does is in provisional.ts.
 */
import type { Candidate } from "../kube/record.ts";
import { candidateAt } from "./candidates.ts";
import type { StepBuilder } from "./step.ts";
import { mayBeOther } from "./take-over.ts";
import type { Facts, Master } from "./types.ts";

/** RFC 5227 section 2.4: DEFEND_INTERVAL. */
const DEFEND_MS = 10_000;
/**
 * Between candidates one of the two gives way soon, so the first answers may come more often. Where the claims
 * go on, each pause is twice as long as the one before, up to RFC 5227's.
 */
const DEFEND_CANDIDATE_MS = 1_000;
/** A claim makes the holder renew at all API servers at once, but not more often than this. */
const URGENT_MS = 1_000;
/**
 * A holder against which a candidate claims the VIP asks the Lease before it answers. It waits this long for
 * an API server that is slow. Its last renewal covers it meanwhile, so it is the holder.
 */
const ASK_LEASE_MS = 500;
/** The announcements of the previous holder may still come this long after a hand-over. */
const LAST_WORDS_MS = 1_000;

/**
 * This node has heard another machine claim the VIP. The Lease is asked at once which of two candidates holds
 * it.
 */
export function contestMaster(step: StepBuilder, role: Master, mac: string): Master {
  if (candidateAt(step.facts, mac) === undefined) return role;
  // The claim comes from a successor that this node has offered the Lease to, or from the previous holder,
  // whose last words are late.
  if (mayBeSuccessor(role) || role.contestedAtMs !== null || role.linkLoss !== null) return role;
  return askAllServers(step, { ...role, contestedAtMs: step.nowMs });
}

/** An offer of this node may be out, also one that it is withdrawing. */
function mayBeSuccessor({ handover, offered }: Master): boolean {
  return handover !== null || offered !== null;
}

/** The next renewal goes to all API servers at once, as soon as the last such one is a second ago. */
export function askAllServers(step: StepBuilder, role: Master): Master {
  const atMs = Math.max(step.nowMs, role.urgentAtMs + URGENT_MS);
  return { ...role, nextRenewAtMs: Math.min(role.nextRenewAtMs, atMs) };
}

/** When the Lease should have confirmed this node against a candidate that claims the VIP; null: none does. */
export function confirmedBy({ contestedAtMs, urgentAtMs }: Master): number | null {
  if (contestedAtMs === null) return null;
  const askedAtMs =
    urgentAtMs >= contestedAtMs ? urgentAtMs : Math.max(contestedAtMs, urgentAtMs + URGENT_MS);
  return askedAtMs + ASK_LEASE_MS;
}

/** A renewal that is sent now goes to all API servers at once. */
export function isUrgent({ nowMs }: StepBuilder, { contestedAtMs, urgentAtMs }: Master): boolean {
  return contestedAtMs !== null && nowMs >= urgentAtMs + URGENT_MS;
}

/**
 * A machine that has heard a false claim must hear the truth after it, also after the last of several claims.
 * The program that claimed need not be the other node's agent: keepalived on the same machine does not take
 * its claim back. A stranger is answered at once, and not more often than every 10 s. A candidate is answered
 * once the Lease has confirmed this node against it, or has not answered for 500 ms. As long as its last
 * renewal covers this node, a claim on the wire takes nothing from it: any host can forge one.
 */
export function decideDefence(step: StepBuilder, role: Master): void {
  const { facts, nowMs } = step;
  const { contender, defendedAtMs } = facts.wire;
  // What was heard before this node became holder was answered by its first announcement.
  if (contender === null || contender.atMs <= defendedAtMs || contender.atMs < facts.sinceMs) return;
  const other = candidateAt(facts, contender.mac);
  if (other !== undefined && mayBeSuccessor(role)) return;
  if (mayBeOther(step, contender.atMs)) return;
  const askedUntilMs = (role.contestedAtMs ?? Number.NEGATIVE_INFINITY) + ASK_LEASE_MS;
  const atMs = Math.max(defendAgainAt(facts, other), other === undefined ? nowMs : askedUntilMs);
  if (nowMs < atMs) return step.wakeAt(atMs);
  const pauseMs = nowMs - defendedAtMs < 2 * DEFEND_MS ? 2 * facts.wire.defendPauseMs : 0;
  step.setWire({ defendPauseMs: Math.min(Math.max(pauseMs, DEFEND_CANDIDATE_MS), DEFEND_MS) });
  defendVip(step);
  // The last words of the previous holder are no news.
  if (other !== undefined && nowMs < facts.sinceMs + LAST_WORDS_MS) return;
  const node = other?.node ?? null;
  step.effect({
    kind: "report",
    report: { kind: "conflict", mac: contender.mac, node, outcome: "defended" },
  });
}

/**
 * When the VIP may be defended again. @param other the candidate that claims it; undefined: a stranger does
 */
export function defendAgainAt({ wire }: Facts, other: Candidate | undefined): number {
  return (
    wire.defendedAtMs + (other === undefined ? DEFEND_MS : Math.max(wire.defendPauseMs, DEFEND_CANDIDATE_MS))
  );
}

/** Says once that the VIP is here. */
export function defendVip(step: StepBuilder): void {
  step.setWire({ defendedAtMs: step.nowMs });
  step.effect({ kind: "defend" });
}
