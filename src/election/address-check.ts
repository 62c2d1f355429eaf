/**
 * Before a node takes the VIP where no machine is known to have had it, it asks the wire. RFC 5227 section
 * 2.1: an address must not be used before that.
 */
import { candidateAt } from "./candidates.ts";
import { faultsOf } from "./eligibility.ts";
import type { StepBuilder } from "./step.ts";
import { INTERFACE_FAULT, VIP_FAULT } from "./types.ts";
import type { Effect, Probed, Role } from "./types.ts";

/** A verdict of the wire counts for this long. The claim that it is for comes within seconds. */
const PROBED_FRESH_MS = 10_000;
/** A verdict of the wire comes so long after the first of its questions, apart from the random second. */
const QUESTIONS_MS = 600;
/** After the verdict "taken" the wire is asked again this much later. */
const PROBE_AGAIN_MS = 2_000;
/**
 * A machine that asks for the VIP has this long to take it. Its three questions take 1.6 s at most. Another
 * one may ask after it, and spanning tree may let it be heard late.
 */
const PROBER_MS = 10_000;
/**
 * During a take-over (take-over.ts) the VIP is to be claimed within a second after the other's silence. With
 * a drain of the socket this makes some five questions a second, a third of what shuts a port with ARP
 * inspection.
 */
const TAKE_OVER_AGAIN_MS = 150;
/** When there is no verdict for this long, the wire has no say: the link has no ARP, or there is no link. */
const NO_VERDICT_MS = 5_000;

/**
 * On a link where no other machine was heard, the silence of the wire proves nothing: a switch port that
 * spanning tree has not opened yet drops everything for up to 30 s.
 */
const ALONE_MS = 30_000;

/**
 * The VIP's link carries frames, as far as this node can tell. What is heard on it, or not heard, counts.
 */
export function linkCarriesFrames(step: StepBuilder, role: Role): boolean {
  const { facts, nowMs } = step;
  if (faultsOf(facts, role).includes(INTERFACE_FAULT)) return false;
  const atMs = facts.startedAtMs + ALONE_MS;
  if (facts.wire.metAtMs !== null || nowMs >= atMs) return true;
  step.wakeAt(atMs);
  return false;
}

/** What the wire says to a node that would take the VIP. */
type Verdict = "free" | "taken" | "unknown";

/**
 * Asks the wire, if that has not been done lately, and says what the wire has answered.
 * @param alone there is no Lease that could decide: another machine that asks for the VIP may count as a
 * claimant too
 * @param freshMs a verdict "free" counts for this long
 * @param sinceMs a verdict "free" from before this time does not count
 * @param readyMs this node waits for something else until then. It does not take the VIP before, and does not ask
 * like one that would
 */
export function askWire(
  step: StepBuilder,
  alone: boolean,
  freshMs = PROBED_FRESH_MS,
  sinceMs = Number.NEGATIVE_INFINITY,
  readyMs = sinceMs,
): Verdict {
  const { nowMs } = step;
  const { probed, probingSinceMs } = step.facts.wire;
  const isReady = nowMs >= readyMs;
  // What this node asked in another role says nothing: it may have had the VIP itself.
  const fromMs = Math.max(readyMs, step.facts.sinceMs);
  if (probingSinceMs !== null && (probingSinceMs >= fromMs || !isReady)) {
    if (nowMs >= probingSinceMs + NO_VERDICT_MS) return alone ? "unknown" : "free";
    step.wakeAt(probingSinceMs + NO_VERDICT_MS);
    return "unknown";
  }
  const taken = probed !== null && (probed.owner !== null || (alone && givesWay(step, probed, readyMs)));
  const outdated =
    probed === null ||
    (!taken && (isFromBefore(step, probed, alone, sinceMs) || probed.atMs < askedOfSomebody(step, probed)));
  const untilMs = outdated ? nowMs : probed.atMs + (taken ? probeAgainMs(step) : freshMs);
  if (nowMs < untilMs) {
    step.wakeAt(untilMs);
    noteStranger(step);
    return taken ? "taken" : "free";
  }
  probeWire(step, alone, isReady);
  step.wakeAt(nowMs + NO_VERDICT_MS);
  return "unknown";
}

/**
 * A verdict counts from its last question. Where other machines that ask may count as claimants, it counts
 * from its first one, and only in the role in which it was asked.
 */
function isFromBefore(
  { facts }: StepBuilder,
  { atMs, askedAtMs }: Probed,
  alone: boolean,
  sinceMs: number,
): boolean {
  return alone ? askedAtMs < Math.max(sinceMs, facts.sinceMs) : atMs < sinceMs;
}

/**
 * From when on a verdict "free" counts. What was asked before another machine was heard, behind a cut or a
 * port that spanning tree had not opened, was asked of nobody.
 */
function askedOfSomebody({ facts }: StepBuilder, { askedAtMs }: Probed): number {
  const { metAtMs } = facts.wire;
  return metAtMs !== null && askedAtMs < metAtMs ? metAtMs + QUESTIONS_MS : Number.NEGATIVE_INFINITY;
}

/** How long after the verdict "taken" the wire is asked again. */
export function probeAgainMs({ settings }: StepBuilder): number {
  return settings.takeOver ? TAKE_OVER_AGAIN_MS : PROBE_AGAIN_MS;
}

/**
 * Of several machines that ask at once, the one with the lowest MAC goes on. When each gave way to each, a
 * cluster that was switched on as a whole asked for 15 s, as was measured. A machine that goes on has the VIP
 * soon, and answers. One that only asks, again and again, keeps the VIP from everybody.
 */
function givesWay(step: StepBuilder, probed: Probed, readyMs: number): boolean {
  const { wire, self } = step.facts;
  if (probed.prober === null || probed.prober >= self.tracking.mac) return false;
  const sinceMs = wire.prober?.sinceMs ?? probed.atMs;
  const ignored = step.nowMs >= Math.max(sinceMs, readyMs) + PROBER_MS;
  if (wire.prober?.ignored !== ignored) {
    step.setWire({ prober: { sinceMs, ignored } });
    const outcome = ignored ? "ignored" : "waits";
    step.effect({ kind: "report", report: { kind: "prober", mac: probed.prober, outcome } });
  }
  return !ignored;
}

/**
 * Asks which machine has the VIP. A node that is asking already asks once more, because what it has heard by
 * then may be from a time before its link came back.
 * @param spread after a random time, so that nodes which were switched on together do not all ask at once
 * @param claims this node would take the VIP now
 */
export function probeWire(step: StepBuilder, spread: boolean, claims = true): void {
  ask(step, { spread, claims, questions: 3 });
}

/**
 * A node that has the VIP asks which other machine has it. Once is enough: it asks again soon. Three
 * questions for each of several VIPs would be more ARP frames in a second than a switch allows
 * (sentinel/arp-budget.ts).
 */
export function lookAround(step: StepBuilder): void {
  ask(step, { spread: false, claims: false, questions: 1 });
}

function ask(step: StepBuilder, how: Omit<Extract<Effect, { kind: "probe" }>, "kind">): void {
  step.setWire({ probingSinceMs: step.nowMs });
  step.effect({ kind: "probe", ...how });
}

/**
 * The machine that came later gives way: this node, when keepalived still runs somewhere, or another cluster
 * has the same address. A candidate is no stranger, unless it says that its agent does not have the VIP.
 */
function noteStranger(step: StepBuilder): void {
  const { facts, settings } = step;
  // A node that is to take the VIP over waits for it, see take-over.ts.
  if (settings.takeOver) return;
  const owner = facts.wire.probed?.owner ?? null;
  const candidate = owner === null ? undefined : candidateAt(facts, owner);
  // A candidate in FAULT `vip` says that it is not its agent that has the VIP there.
  const isCandidate = candidate !== undefined && !candidate.faults.includes(VIP_FAULT);
  // Where a candidate has held the Lease before, the owner may be one whose annotation cannot be read.
  const { view } = facts.lease;
  const mayBeUnread = candidate === undefined && view !== null && view.lastHolder !== null;
  const stranger = owner === null || view === null || isCandidate || mayBeUnread ? null : owner;
  if (stranger === facts.wire.stranger) return;
  step.setWire({ stranger });
  if (stranger === null) return;
  const node = candidate?.node ?? null;
  step.effect({ kind: "report", report: { kind: "conflict", mac: stranger, node, outcome: "refused" } });
}
