/**
 * With LEASEHOLD_TAKE_OVER this node stands by for other software that has the VIP (keepalived, kube-vip),
 * and gives the VIP back to it (ADR 0018). The other software knows nothing of the Lease, so the rules rest
 * on what this machine's kernel and the wire say. The other software always goes first: a node waits while
 * it has the VIP, asks the wire before every claim, and lets the VIP go when it comes back.
 *
 * The machine of a candidate may have the VIP by the other software. That candidate says so by the fault
 * `vip`.
 */
import type { Candidate } from "../kube/record.ts";
import { askWire, probeAgainMs, probeWire } from "./address-check.ts";
import { candidateAt } from "./candidates.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import { VIP_FAULT } from "./types.ts";
import type { Facts } from "./types.ts";
import { expiry, vacancy } from "./vacancy.ts";

/** A holder asks this often, in case it did not hear the other software's announcement. */
const LISTEN_MS = 5_000;
/**
 * A claim on the wire counts for this long. By then a candidate on whose machine the other software has the
 * VIP has said so in its annotation.
 */
const HEARD_MS = 3_000;

/** A candidate's machine that answers for so long without its agent has the VIP by other software. */
const CONFIRM_MS = 1_000;

/** Why a node that had the VIP does not have it any more. */
export const GIVEN_BACK = "other software has the VIP, and this node gives it back (LEASEHOLD_TAKE_OVER)";

/**
 * Notes which machine has the VIP by other software. It is believed until the wire says that the VIP is free,
 * or that a candidate's agent has it.
 */
export function trackOther(step: StepBuilder): void {
  const { facts, settings, nowMs } = step;
  if (!settings.takeOver) return;
  const { other, probed } = facts.wire;
  const claim = lastClaim(step);
  const answer = probed !== null && (claim === null || probed.atMs > claim.atMs) ? probed : null;
  const mac = answer === null ? (claim?.mac ?? null) : answer.owner;
  const atMs = answer?.atMs ?? claim?.atMs ?? Number.NEGATIVE_INFINITY;
  if (mac !== null && isOther(step, mac, nowMs - atMs)) return note(step, mac);
  // Only an answer shows that the other software has let go: a candidate may claim beside it.
  if (other !== null && answer !== null && facts.wire.probingSinceMs === null) note(step, null);
}

interface Claim {
  readonly mac: string;
  readonly atMs: number;
}

/**
 * A candidate says by its annotation that other software has the VIP on its machine. Only a node that stands by is
 * BACKUP with that fault.
 */
export const saysOther = ({
  state,
  faults,
}: {
  readonly state: string;
  readonly faults: readonly string[];
}): boolean => state === "BACKUP" && faults.includes(VIP_FAULT);

/**
 * The last claim of the VIP by another machine, within {@link HEARD_MS}: on the wire, or by the annotation of a
 * candidate on whose machine other software has it.
 */
function lastClaim({ facts: { wire, lease }, settings, nowMs }: StepBuilder): Claim | null {
  const said = [...(lease.view?.candidates.values() ?? [])].flatMap(({ candidate, aliveAtMs }) =>
    candidate.node !== settings.node && saysOther(candidate) ? [{ mac: candidate.mac, atMs: aliveAtMs }] : [],
  );
  return [...(wire.contender === null ? [] : [wire.contender]), ...said]
    .filter(({ mac, atMs }) => mac !== "" && nowMs < atMs + HEARD_MS)
    .reduce<Claim | null>((last, one) => (last === null || one.atMs > last.atMs ? one : last), null);
}

/**
 * A machine that was a candidate's when it was heard does not become the other software's when its annotation
 * is removed.
 * @param agoMs when it was heard
 */
function isOther(step: StepBuilder, mac: string, agoMs: number): boolean {
  const { facts } = step;
  // Before the Lease was read, no candidate is known.
  if (facts.lease.view === null) return false;
  const isKnown = mac === facts.wire.other;
  const candidate = candidateAt(facts, mac);
  if (candidate === undefined) return isKnown || agoMs === 0;
  // What a killed agent has said of itself stays in the Lease.
  if (isKnown) return candidate.state !== "MASTER" || !holdsLease(step, facts.lease.view, candidate);
  return candidate.faults.includes(VIP_FAULT) && agoMs < HEARD_MS;
}

/** The Lease names the candidate, and as far as this node can read, it has not expired. */
function holdsLease({ facts, settings, nowMs }: StepBuilder, view: LeaseView, { node }: Candidate): boolean {
  if (view.record?.holder !== node) return false;
  const free = vacancy(settings, view, false);
  if (free.kind !== "held" || facts.lease.read.failingSinceMs !== null) return true;
  return nowMs < expiry(free, facts.lease.read.goodSinceMs);
}

function note(step: StepBuilder, mac: string | null): void {
  const { other } = step.facts.wire;
  if (mac === other) return;
  step.setWire({ other: mac });
  const node = mac === null ? null : (candidateAt(step.facts, mac)?.node ?? null);
  step.effect({ kind: "report", report: { kind: "other-owner", mac, node } });
}

/** What a node that stands by waits for, as people see it. */
export function waitsFor(facts: Facts): string {
  const { other } = facts.wire;
  const node = other === null ? undefined : candidateAt(facts, other)?.node;
  const where =
    facts.self.tracking.foreign || other === null
      ? "on this machine"
      : `on ${node === undefined ? `the machine ${other}` : `${node} (${other})`}`;
  return `other software ${where} has the VIP, and this node waits until it lets go (LEASEHOLD_TAKE_OVER)`;
}

/** A BACKUP waits: it asks the wire again and again until the other software is silent. */
export function awaitSilence(step: StepBuilder): void {
  const { other, probed, probingSinceMs } = step.facts.wire;
  if (other === null || probingSinceMs !== null) return;
  const atMs = (probed?.atMs ?? Number.NEGATIVE_INFINITY) + probeAgainMs(step);
  if (step.nowMs < atMs) step.wakeAt(atMs);
  else probeWire(step, false);
}

/**
 * Asks the wire before a claim. True: no machine has had the VIP since `sinceMs`, or this is no take-over.
 *
 * A machine that still answers a second after the Lease is free has the VIP by other software, whatever the
 * candidate there has said of itself: its agent has ended, or was killed, before it could say so.
 * @param sinceMs when the Lease is free for this node
 */
export function isFreeSince(step: StepBuilder, sinceMs: number): boolean {
  if (!step.settings.takeOver) return true;
  const verdict = askWire(step, false, LISTEN_MS, sinceMs);
  const { probed } = step.facts.wire;
  if (verdict === "taken" && probed !== null && probed.owner !== null && probed.atMs >= sinceMs + CONFIRM_MS)
    note(step, probed.owner);
  return verdict === "free";
}

/**
 * A holder has heard a candidate claim the VIP, and that machine answers for it a second later, though the Lease
 * does not name it: its agent has ended, and the other software runs there. What the agent last said of itself
 * does not count, because a killed one says for ever that it is MASTER. In a hand-over the previous holder
 * answers for 0.9 s at most.
 *
 * The second counts from the first claim. Each answer to a question of this node is a claim as well, so the last
 * claim is always a new one.
 */
export function findOther(step: StepBuilder): void {
  const { facts, settings, nowMs } = step;
  const { contender, probed } = facts.wire;
  if (!settings.takeOver || contender === null || contender.atMs < facts.sinceMs) return;
  const candidate = candidateAt(facts, contender.mac);
  if (candidate === undefined || nowMs >= contender.atMs + LISTEN_MS) return;
  const dueAtMs = Math.max(contender.firstMs, facts.sinceMs) + CONFIRM_MS;
  if (nowMs < dueAtMs) return step.wakeAt(dueAtMs);
  askWire(step, false, LISTEN_MS, dueAtMs);
  if (probed === null || probed.atMs < dueAtMs || probed.owner !== contender.mac) return;
  if (facts.lease.view?.record?.holder !== candidate.node) note(step, contender.mac);
}

/** A holder asks the wire from time to time, because an announcement may be lost. */
export function keepAsking(step: StepBuilder): void {
  if (step.settings.takeOver) askWire(step, false, LISTEN_MS);
}

/**
 * True when a claim of a candidate should not be answered yet: the other software on its machine may be the
 * cause, and the candidate is about to say so.
 */
export function mayBeOther(step: StepBuilder, heardAtMs: number): boolean {
  if (!step.settings.takeOver || step.nowMs >= heardAtMs + HEARD_MS) return false;
  step.wakeAt(heardAtMs + HEARD_MS);
  return true;
}
