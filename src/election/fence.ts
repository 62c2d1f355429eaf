/**
 * The fence: until when this node may have the VIP bound, and what happens when that time is over. Only this
 * file knows the renew deadline.
 *
 * A right to the VIP counts from before the write was sent that gave it. The kernel removes the address at
 * about the same time by itself (ADR 0007), so the fence also holds where this process is dead or frozen.
 */
import { dispute } from "./flap-damping.ts";
import type { StepBuilder } from "./step.ts";
import type { Backup, ElectionEvent, ElectionSettings, Master, Provisional, Report, Role } from "./types.ts";

/**
 * An offered VIP stays bound for this long while the node does not know whether its offer was taken. The
 * answer that tells may be lost, and the watch may be silent. This keeps two nodes from having the VIP for
 * more than 1 s, also with clocks 5 % apart. It is below 1 s, so that the shortest lifetime the kernel knows
 * covers it without a refresh (ADR 0007).
 */
const OFFER_HOLD_MS = 900;
/**
 * Where no Lease gives a right to the VIP, only the life of this process keeps it bound. The kernel removes
 * it this long after its end.
 */
export const UNWRITTEN_HOLD_MS = 3_000;
/**
 * What a previous process has left bound is taken up this long before the kernel may remove it, if no API
 * server has answered by then.
 */
const TAKE_UP_MS = 300;
/** API servers that work have this long to answer first. */
const FIRST_ANSWER_MS = 200;

/** The end of the right that an accepted claim or renewal gives which was sent at `sentAtMs`. */
export function deadlineAfter(settings: Pick<ElectionSettings, "renewDeadlineMs">, sentAtMs: number): number {
  return sentAtMs + settings.renewDeadlineMs;
}

/** When renewals are overdue: half of the time to the deadline is over. */
export function overdueAfter(settings: ElectionSettings, renewedAtMs: number): number {
  return renewedAtMs + settings.renewDeadlineMs / 2;
}

/**
 * The end of a MASTER's right to the VIP: its renew deadline, or the end of the time that its offer leaves
 * it.
 */
export function validUntil(settings: ElectionSettings, { renewedAtMs, offered }: Master): number {
  const deadlineMs = deadlineAfter(settings, renewedAtMs);
  return offered === null ? deadlineMs : Math.min(deadlineMs, offerEnd(offered));
}

/** When a node must let go that does not know whether its offer was taken. */
export function offerEnd({ sinceMs }: NonNullable<Master["offered"]>): number {
  return sinceMs + OFFER_HOLD_MS;
}

/**
 * A reason to keep the VIP beyond `untilMs` must be known by this time, because at `untilMs` itself the VIP
 * goes.
 */
export function decideBy({ renewDeadlineMs }: ElectionSettings, untilMs: number): number {
  return untilMs - Math.min(500, renewDeadlineMs / 4);
}

/** How long a write may take that is no renewal, ms. A later answer would be of no use. */
export function writeTimeoutMs({ renewDeadlineMs }: ElectionSettings): number {
  return renewDeadlineMs;
}

/**
 * Binds the VIP, or keeps it bound, for as long as this node has a right to it. A holder that has lost its
 * link does not bind it.
 */
export function holdVip(step: StepBuilder, role: Master | Provisional): void {
  if (role.kind === "PROVISIONAL") step.effect({ kind: "hold", untilMs: role.untilMs });
  else if (role.linkLoss === null) step.effect({ kind: "hold", untilMs: validUntil(step.settings, role) });
}

/**
 * An offer is out, or about to be written. The kernel learns now how long the VIP may stay bound, in case
 * this process dies next.
 */
export function limitVip(step: StepBuilder, role: Master): void {
  step.effect({ kind: "limit", untilMs: validUntil(step.settings, role) });
}

export function unbindVip(step: StepBuilder): void {
  step.effect({ kind: "unbind" });
  step.effect({ kind: "forget" });
}

/**
 * The VIP goes first, and then the node is a BACKUP that may claim at once. It waits for no answer.
 * @param reason why, as people see it
 * @param cause a report that explains the change, and comes before it
 */
export function letGo(step: StepBuilder, role: Master | Provisional, reason: string, cause?: Report): Backup {
  unbindVip(step);
  if (role.kind === "PROVISIONAL") step.setWire({ proof: null });
  if (isContested(role)) dispute(step, null);
  if (cause !== undefined) step.effect({ kind: "report", report: cause });
  return step.become(role, { kind: "BACKUP", retryAtMs: step.nowMs, unclaimedSinceMs: null }, reason);
}

/** Another candidate has claimed the VIP, and no renewal that was sent after that was accepted. */
function isContested(role: Master | Provisional): boolean {
  return role.kind === "MASTER" ? role.contestedAtMs !== null : role.why.kind === "contested";
}

/**
 * What has run out while this process was not looking goes first, before the event of this step is believed
 * (invariants 3 and 4).
 */
export function enforceFence(step: StepBuilder, role: Role): Role {
  const next = enforceRole(step, role);
  enforceLeftOver(step);
  return next;
}

function enforceRole(step: StepBuilder, role: Role): Role {
  const { settings, nowMs } = step;
  if (role.kind === "MASTER" && nowMs >= deadlineAfter(settings, role.renewedAtMs)) {
    const why = settings.onApiLoss === "release" ? " (LEASEHOLD_ON_API_LOSS=release)" : "";
    return letGo(step, role, `this node could not renew the Lease before the renew deadline${why}`);
  }
  if (role.kind === "MASTER" && role.offered?.unbound === false && nowMs >= offerEnd(role.offered)) {
    unbindVip(step);
    return { ...role, offered: { ...role.offered, unbound: true } };
  }
  if (role.kind === "PROVISIONAL" && nowMs >= role.untilMs) {
    return letGo(step, role, "this node has no reason any more to keep the VIP");
  }
  return role;
}

function enforceLeftOver(step: StepBuilder): void {
  const { resumeUntilMs, adoptable } = step.facts.leftOver;
  if (resumeUntilMs !== null && step.nowMs >= resumeUntilMs) {
    unbindVip(step);
    step.setLeftOver({ resumeUntilMs: null });
  }
  if (adoptable !== null && step.nowMs >= adoptable.untilMs) {
    unbindVip(step);
    step.setLeftOver({ adoptable: null });
  }
}

/**
 * A process that was restarted before its deadline keeps the VIP while it asks whether the Lease still names
 * this node.
 */
export function adoptLeftOver(
  step: StepBuilder,
  { resume, found }: Extract<ElectionEvent, { kind: "start" }>,
): void {
  // It is not refreshed meanwhile, so the kernel removes it if this node does not take it up.
  if (found !== null) {
    const takeUpAtMs = step.nowMs + Math.max(found.keptMs - TAKE_UP_MS, FIRST_ANSWER_MS);
    step.setLeftOver({
      adoptable: {
        takeUpAtMs: found.keptMs < 0 ? Number.POSITIVE_INFINITY : takeUpAtMs,
        untilMs: step.nowMs + UNWRITTEN_HOLD_MS,
      },
    });
  }
  if (resume === null) return;
  const untilMs = deadlineAfter(step.settings, resume.renewedAtMs);
  if (resume.renewedAtMs > step.nowMs || step.nowMs >= untilMs) return;
  step.setLeftOver({ resumeUntilMs: untilMs });
  step.effect({ kind: "hold", untilMs });
}

/**
 * The kernel has removed what a previous process had left bound. Of several VIPs it removes one after the
 * other, and what is left of them goes now.
 */
export function dropAdoptable(step: StepBuilder): void {
  const { resumeUntilMs, adoptable } = step.facts.leftOver;
  if (adoptable !== null && resumeUntilMs === null) unbindVip(step);
  step.setLeftOver({ adoptable: null });
}

/** What the previous process left is this process's own now, or is gone. */
export function forgetLeftOver(step: StepBuilder): void {
  step.setLeftOver({ resumeUntilMs: null, adoptable: null });
}
