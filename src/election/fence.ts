/**
 * The fence: until when this node may have the VIP bound, and what happens when that time is over. Only this file knows the renew deadline.
 *
 * A right to the VIP counts from before the write was sent that gave it. The kernel removes the address at about the same time by itself (ADR 0007), so
 * the fence also holds where this process is dead or frozen.
 */
import type { StepBuilder } from "./step.ts";
import type { ElectionSettings, Master } from "./types.ts";

/**
 * An offered VIP stays bound for this long while the node does not know whether its offer was taken. The answer that tells may be lost, and the watch may be
 * silent. This keeps two nodes from having the VIP for more than 1 s, also with clocks 5 % apart. It is below 1 s, so that the shortest lifetime the kernel
 * knows covers it without a refresh (ADR 0007).
 */
export const OFFER_HOLD_MS = 900;

/** The end of the right that an accepted claim or renewal gives which was sent at `sentAtMs`. */
export function deadlineAfter(settings: Pick<ElectionSettings, "renewDeadlineMs">, sentAtMs: number): number {
  return sentAtMs + settings.renewDeadlineMs;
}

/** When renewals are overdue: half of the time to the deadline is over. */
export function overdueAfter(settings: ElectionSettings, renewedAtMs: number): number {
  return renewedAtMs + settings.renewDeadlineMs / 2;
}

/** The end of a MASTER's right to the VIP: its renew deadline, or the end of the time that its offer leaves it. */
export function validUntil(settings: ElectionSettings, { renewedAtMs, offered }: Master): number {
  const deadlineMs = deadlineAfter(settings, renewedAtMs);
  return offered === null ? deadlineMs : Math.min(deadlineMs, offerEnd(offered));
}

/** When a node must let go that does not know whether its offer was taken. */
export function offerEnd({ sinceMs }: NonNullable<Master["offered"]>): number {
  return sinceMs + OFFER_HOLD_MS;
}

/** A reason to keep the VIP beyond `untilMs` must be known by this time, because at `untilMs` itself the VIP goes. */
export function decideBy({ renewDeadlineMs }: ElectionSettings, untilMs: number): number {
  return untilMs - Math.min(500, renewDeadlineMs / 4);
}

/** How long a write may take that is no renewal, ms. A later answer would be of no use. */
export function writeTimeoutMs({ renewDeadlineMs }: ElectionSettings): number {
  return renewDeadlineMs;
}

/** Binds the VIP, or keeps it bound, for as long as this node has a right to it. */
export function holdVip(step: StepBuilder): void {
  const { role } = step.state;
  if (role.kind === "MASTER" && role.linkLoss === null) step.effect({ kind: "hold", untilMs: validUntil(step.settings, role) });
  if (role.kind === "PROVISIONAL") step.effect({ kind: "hold", untilMs: role.untilMs });
}

/** An offer is out, or about to be written. The kernel learns now how long the VIP may stay bound, in case this process dies next. */
export function limitVip(step: StepBuilder): void {
  const { role } = step.state;
  if (role.kind === "MASTER") step.effect({ kind: "limit", untilMs: validUntil(step.settings, role) });
}

export function unbindVip(step: StepBuilder): void {
  step.effect({ kind: "unbind" });
  step.effect({ kind: "forget" });
}

/** The node has the VIP no more, and is a BACKUP that may claim at once. */
export function letGo(step: StepBuilder, reason: string): void {
  unbindVip(step);
  step.become({ kind: "BACKUP", retryAtMs: step.nowMs }, reason);
}

/** Whatever has run out while this process was not looking goes first, before the event of this step is believed (invariants 3 and 4). */
export function enforceFence(step: StepBuilder): void {
  const { role } = step.state;
  const { resumeUntilMs, adoptableUntilMs } = step.state.leftOver;
  const { settings, nowMs } = step;
  if (role.kind === "MASTER" && nowMs >= deadlineAfter(settings, role.renewedAtMs)) {
    letGo(step, "the Lease could not be renewed before the deadline");
  }
  if (role.kind === "MASTER" && role.offered?.unbound === false && nowMs >= offerEnd(role.offered)) {
    unbindVip(step);
    step.set({ role: { ...role, offered: { ...role.offered, unbound: true } } });
  }
  if (role.kind === "PROVISIONAL" && nowMs >= role.untilMs) {
    step.setWire({ proof: null });
    letGo(step, "nothing shows any more that the VIP may be kept");
  }
  if (resumeUntilMs !== null && nowMs >= resumeUntilMs) {
    unbindVip(step);
    step.setLeftOver({ resumeUntilMs: null });
  }
  if (adoptableUntilMs !== null && nowMs >= adoptableUntilMs) {
    unbindVip(step);
    step.setLeftOver({ adoptableUntilMs: null });
  }
}
