/**
 * Flap damping (RFC 2439): a node that brings trouble waits before it may become holder again. Trouble is a
 * link that flaps, or a contested mastership that the Lease then gives to another node. Each further time
 * doubles the wait, so that a link that flaps every second moves the VIP once and not every second.
 *
 * A claim on the wire alone is no trouble: any host on the segment can forge it.
 */
import type { LeaseRecord } from "../kube/record.ts";
import { ownershipOf, termOf } from "./identity.ts";
import { sameRenewal } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import { INTERFACE_FAULT } from "./types.ts";
import type { Damping, Facts, Role, SelfFacts } from "./types.ts";

/** The shortest wait. */
const FIRST_MS = 10_000;
/** The longest wait. A node without trouble for this long begins again with the shortest one. */
const LONGEST_MS = 600_000;

/**
 * A node preempts only when it was without trouble for this many times as long. It may take a vacant VIP
 * before that. A link that goes down every 15 s, say, would move the VIP at each time that it goes, and at
 * each time that it stays.
 */
const PREEMPT_FACTOR = 3;

/** There was trouble once more. The wait is min(2^level x 10 s, 10 min). */
export function penalized(damping: Damping | null, nowMs: number): Damping {
  const level = damping === null || nowMs - damping.lastAtMs >= LONGEST_MS ? 0 : damping.level + 1;
  return { level, lastAtMs: nowMs, holdOffUntilMs: nowMs + waitMs(level, 1) };
}

function waitMs(level: number, factor: number): number {
  return Math.min(factor * 2 ** level * FIRST_MS, LONGEST_MS);
}

/** Was there trouble so lately that this node does not preempt? */
export function isShy({ self: { damping } }: Facts, nowMs: number): boolean {
  return damping !== null && nowMs < shyUntil(damping);
}

function shyUntil({ level, lastAtMs }: Damping): number {
  return lastAtMs + waitMs(level, PREEMPT_FACTOR);
}

export function penalize(step: StepBuilder): void {
  step.setSelf({ damping: penalized(step.facts.self.damping, step.nowMs) });
}

/** This node lets the VIP go because another machine claims it. @param seen see {@link SelfState.disputed} */
export function dispute(step: StepBuilder, seen: LeaseRecord | null): void {
  step.setSelf({ disputed: { seen } });
}

/**
 * The Lease has decided: trouble is charged when it gave the VIP of this node to another one, or when a holder
 * that this node took for dead has renewed it since. Where several nodes find the holder dead at once, one of
 * them claims the Lease, and the others were right all the same.
 */
export function settleDispute(step: StepBuilder, role: Role): void {
  const { self, lease } = step.facts;
  if (self.disputed === null) return;
  const record = lease.view?.record ?? null;
  const isAnothers = record !== null && ownershipOf(step.settings, record) === "another";
  const { seen } = self.disputed;
  const decided = isAnothers && !sameRenewal(seen, record);
  if (decided && (seen === null || termOf(seen) === termOf(record))) {
    penalize(step);
    settleHoldOff(step);
  }
  if (decided || role.kind === "MASTER") step.setSelf({ disputed: null });
}

/**
 * A link that was good, went bad and is good again has flapped. A link that is slow to come up at boot has
 * not.
 */
export function noteLink(step: StepBuilder, now: SelfFacts): void {
  const { tracking, linkWasGood } = step.facts.self;
  const wasBad = tracking.faults.includes(INTERFACE_FAULT);
  const isBad = now.faults.includes(INTERFACE_FAULT);
  if (wasBad && !isBad && linkWasGood) penalize(step);
  step.setSelf({ linkWasGood: linkWasGood || (now.ready && !isBad) });
}

/** The waits end by the passing of time alone. */
export function settleHoldOff(step: StepBuilder): void {
  const { damping } = step.facts.self;
  const holdOff = damping !== null && step.nowMs < damping.holdOffUntilMs;
  step.setSelf({ holdOff });
  if (holdOff) step.wakeAt(damping.holdOffUntilMs);
  if (damping !== null && step.nowMs < shyUntil(damping)) step.wakeAt(shyUntil(damping));
}

/**
 * The wait keeps a node from becoming holder. A holder keeps the VIP the first time, because a move is what
 * flap damping is to prevent. It gives the VIP away when the trouble comes again.
 */
export function isHeldOff({ self: { holdOff, damping } }: Facts, role: Role): boolean {
  switch (role.kind) {
    case "BACKUP":
      return holdOff;
    case "MASTER":
      return holdOff && damping !== null && damping.level > 0;
    case "PROVISIONAL":
    case "RELEASING":
    case "STOPPED":
      return false;
  }
}
