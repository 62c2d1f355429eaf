/**
 * Others on the wire: what it means that somebody was heard, who gives way to whom, and when a VIP must not be claimed because another machine
 * has it. Two holders do no harm on the fast path, but they must not last; and a machine that is none of ours is never fought with.
 */
import type { Candidate } from "../kube/record.ts";
import type { Evidence } from "../sentinel/evidence.ts";
import { selfCandidate, VIP_FAULT } from "./facts.ts";
import { unbind } from "./fence.ts";
import { compareCandidates } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionState, Master, Provisional } from "./types.ts";
import { disturbed } from "./unrest.ts";
import { tenureKey } from "./watch-target.ts";

/** RFC 5227 section 2.4: DEFEND_INTERVAL. */
const DEFEND_MS = 10_000;
/** Between candidates one of the two gives way soon, so that no fight comes of it. */
const DEFEND_OURS_MS = 1_000;
/** So long after a hand-over the old holder's announcements may still come. */
const LAST_WORDS_MS = 1_000;
/** A verdict of the wire counts for so long: the claim that it is for comes within seconds. */
const PROBED_FRESH_MS = 10_000;
/** After a verdict against us. */
const PROBE_AGAIN_MS = 2_000;
/** Without a verdict for so long, the wire has no say: a link without ARP, or none. */
const NO_VERDICT_MS = 5_000;

export function applyEvidence(step: StepBuilder, evidence: Evidence): void {
  const { state, nowMs } = step;
  switch (evidence.kind) {
    case "silent":
      return foundSilent(step, evidence.tenure);
    case "answering":
      if (state.proof?.tenure === evidence.tenure) step.set({ proof: null });
      return;
    case "probed":
      return step.set({ probingSinceMs: null, probed: { atMs: nowMs, owner: evidence.owner, prober: evidence.prober } });
    case "claimed":
      return heardClaim(step, evidence.mac);
    case "neighbours":
      if (evidence.heard) step.set({ met: true });
      return;
  }
}

function foundSilent(step: StepBuilder, tenure: string): void {
  const record = step.state.view?.record ?? null;
  // News of a tenure that has ended meanwhile.
  if (record === null || tenureKey(record) !== tenure) return;
  step.set({ proof: { tenure, atMs: step.nowMs } });
  step.effect({ kind: "report", report: { kind: "proof", holder: record.holder } });
}

function heardClaim(step: StepBuilder, mac: string): void {
  const { role, probed } = step.state;
  step.set({ contender: { mac, atMs: step.nowMs } });
  // Whatever it answered before, this is what the wire says now.
  if (probed !== null) step.set({ probed: { atMs: step.nowMs, owner: mac, prober: null } });
  switch (role.kind) {
    case "MASTER":
      return contestMaster(step, role, mac);
    case "PROVISIONAL":
      return contestProvisional(step, role, mac);
    case "BACKUP":
    case "RELEASING":
    case "STOPPED":
      return;
  }
}

/** A candidate's claim is settled by the Lease, at once; with a stranger there is nothing to settle: the VIP is defended, and people are told. */
function contestMaster(step: StepBuilder, role: Master, mac: string): void {
  const { state, nowMs } = step;
  if (candidateAt(state, mac) === undefined) return;
  // A successor that we have offered it to; or the one before us, whose last words are late.
  if (role.handover !== null || role.contestedAtMs !== null || role.away !== null) return;
  step.set({ role: { ...role, contestedAtMs: nowMs, nextRenewAtMs: nowMs } });
}

/**
 * Who heard another one's claim has to hear that it was not true: the last of several too, and it need not have been its agent that spoke (keepalived on the same
 * machine will not take it back). A stranger is answered at once and not more often than every 10 s; a candidate once the Lease has confirmed us against it.
 */
export function defend(step: StepBuilder, role: Master): void {
  const { state, nowMs } = step;
  const { contender, defendedAtMs } = state;
  // What was heard before we became holder was answered by our first announcement.
  if (contender === null || contender.atMs <= defendedAtMs || contender.atMs < state.sinceMs) return;
  const other = candidateAt(state, contender.mac);
  if (other !== undefined && (role.contestedAtMs !== null || role.handover !== null)) return;
  const atMs = defendedAtMs + (other === undefined ? DEFEND_MS : DEFEND_OURS_MS);
  if (nowMs < atMs) return step.wakeAt(atMs);
  step.defend();
  // The last words of the one before us are no news.
  if (other !== undefined && nowMs < state.sinceMs + LAST_WORDS_MS) return;
  step.effect({ kind: "report", report: { kind: "conflict", mac: contender.mac, node: other?.node ?? null, outcome: "defended" } });
}

/**
 * Yields to a stranger and to whom the Lease names; of two that have nothing to show the better stays. At bootstrap nothing is known of anybody: we yield, and
 * ask the wire again after a random time.
 */
function contestProvisional(step: StepBuilder, role: Provisional, mac: string): void {
  const { state, settings, nowMs } = step;
  const other = candidateAt(state, mac);
  if (other === undefined && hasRight(step, role)) {
    if (nowMs < state.defendedAtMs + DEFEND_MS) return;
    step.defend();
    return step.effect({ kind: "report", report: { kind: "conflict", mac, node: null, outcome: "defended" } });
  }
  const named = other !== undefined && state.view?.record?.holder === other.node;
  if (other !== undefined && !named && role.why.kind !== "bootstrap") {
    if (compareCandidates(selfCandidate(settings, state, nowMs), other) < 0) {
      // It may not have heard us: it was the later one on a wire that was cut.
      if (nowMs >= state.defendedAtMs + DEFEND_OURS_MS) step.defend();
      return;
    }
  }
  yieldTo(step, role, mac);
}

/** Its last renewal still covers it: until then it is a holder like any other, though it has found out that no further one will succeed. */
function hasRight({ nowMs }: StepBuilder, { why }: Provisional): boolean {
  return why.kind === "hold" && nowMs < why.rightUntilMs;
}

/** A stranger that was defended against while there was a right to the VIP is given way to once there is none. True when that has happened. */
export function yieldToStranger(step: StepBuilder, role: Provisional): boolean {
  const { contender, sinceMs } = step.state;
  if (role.why.kind !== "hold" || contender === null || contender.atMs < sinceMs || candidateAt(step.state, contender.mac) !== undefined) return false;
  if (hasRight(step, role)) {
    step.wakeAt(role.why.rightUntilMs);
    return false;
  }
  yieldTo(step, role, contender.mac);
  return true;
}

function yieldTo(step: StepBuilder, role: Provisional, mac: string): void {
  const { state, nowMs } = step;
  const node = candidateAt(state, mac)?.node ?? null;
  unbind(step);
  step.set({ proof: null });
  if (role.why.kind !== "bootstrap") step.set({ unrest: disturbed(state.unrest, nowMs) });
  step.effect({ kind: "report", report: { kind: "conflict", mac, node, outcome: "yielded" } });
  step.become({ kind: "BACKUP", retryAtMs: nowMs }, `${node ?? mac} claims the VIP as well`);
}

export function candidateAt(state: ElectionState, mac: string): Candidate | undefined {
  for (const { candidate } of state.view?.candidates.values() ?? []) if (candidate.mac === mac) return candidate;
  return undefined;
}

/** What the wire says to a node that would take the VIP where nobody is known to have had it. */
export type Verdict = "free" | "taken" | "unknown";

/**
 * Asks the wire, if that has not been done lately, and says what it answered (RFC 5227 section 2.1: never use an address before that). `alone`: another that asks as
 * we do may count as a claimant too; with a Lease to settle it it does not.
 */
export function askWire(step: StepBuilder, alone: boolean): Verdict {
  const { probed, probingSinceMs } = step.state;
  const { nowMs } = step;
  if (probingSinceMs !== null) {
    if (nowMs >= probingSinceMs + NO_VERDICT_MS) return alone ? "unknown" : "free";
    step.wakeAt(probingSinceMs + NO_VERDICT_MS);
    return "unknown";
  }
  // Of several that ask at once the lowest MAC goes on. If each gave way to each, a cluster that is switched on as a whole would ask for 15 s, as was measured.
  const taken = probed !== null && (probed.owner !== null || (alone && probed.prober !== null && probed.prober < step.state.self.mac));
  const untilMs = probed === null ? nowMs : probed.atMs + (taken ? PROBE_AGAIN_MS : PROBED_FRESH_MS);
  if (nowMs < untilMs) {
    step.wakeAt(untilMs);
    noteStranger(step);
    return taken ? "taken" : "free";
  }
  step.probe(alone);
  step.wakeAt(nowMs + NO_VERDICT_MS);
  return "unknown";
}

/**
 * Whoever came later gives way: keepalived that still runs, another cluster with the same address. A candidate of ours is no stranger, unless it says that it
 * is not its agent that has the VIP there.
 */
function noteStranger(step: StepBuilder): void {
  const { state } = step;
  const owner = state.probed?.owner ?? null;
  const candidate = owner === null ? undefined : candidateAt(state, owner);
  const ofOurs = candidate !== undefined && !candidate.faults.includes(VIP_FAULT);
  const stranger = owner === null || state.view === null || ofOurs ? null : owner;
  if (stranger === state.stranger) return;
  step.set({ stranger });
  if (stranger === null) return;
  step.effect({ kind: "report", report: { kind: "conflict", mac: stranger, node: candidate?.node ?? null, outcome: "refused" } });
}
