/**
 * Says in sentences why the machine took a decision: what it was told, what it knew, which rule decided, what
 * it did, and what was refused. Pure. The sentences are for people and may change. Programs read the event
 * and the effects.
 */
import { moveTarget } from "../election/candidates.ts";
import { eligible, faultsOf, isTaken } from "../election/eligibility.ts";
import { GIVEN_BACK, waitsFor } from "../election/take-over.ts";
import { TRANSITIONS } from "../election/transitions.ts";
import type { Transition } from "../election/transitions.ts";
import type {
  Effect,
  ElectionEvent,
  ElectionSettings,
  ElectionState,
  Report,
  Role,
} from "../election/types.ts";
import { plainText } from "../kube/plain-text.ts";
import type { LeaseWrite } from "../kube/store.ts";
import { tookUnoffered } from "./moves.ts";
import type { Decision } from "./recorder.ts";
import { reported, ruleOfReport, todo, whose } from "./reports.ts";
import type { Rule } from "./reports.ts";

export interface Explanation {
  /** The event. */
  readonly told: string;
  /** What the machine knew before it, most important first. */
  readonly evidence: readonly string[];
  /** The rule that changed the role, or by which the node met a conflict; null: there was neither. */
  readonly rule: Rule | null;
  /** What the agent did. */
  readonly did: readonly string[];
  /** What the API, another node or a rule did not let happen. */
  readonly refused: readonly string[];
  /** What a person should do about it. */
  readonly todo: readonly string[];
  /** How long clients waited at most for the VIP that this decision took, ms; see {@link waited}. */
  readonly waitedMs: number | null;
}

export function explain(settings: ElectionSettings, decision: Decision): Explanation {
  return {
    told: told(decision),
    evidence: evidence(settings, decision),
    rule: ruleOf(settings, decision),
    did: decision.effects.flatMap(did),
    refused: refused(decision),
    todo: reportsOf(decision).flatMap(todo),
    waitedMs: waited(settings, decision),
  };
}

/**
 * How long clients waited at most, ms, where the decision took the VIP from another node. It is 0 where that node let go
 * after this one had bound the VIP. Otherwise it is the time since that node's last renewal was seen, or its
 * release: it had the VIP then. null where the decision did not take the VIP, or no node is known to have had it.
 */
function waited({ node }: ElectionSettings, { before, event, after, atMs }: Decision): number | null {
  const { view } = before.lease;
  if (before.role.kind !== "BACKUP" || view === null || view.record?.holder === node) return null;
  if (view.lastHolder === null || view.lastHolder === node) return null;
  const { role } = after;
  if (role.kind === "PROVISIONAL") return role.why.kind === "proof" ? atMs - view.changedAtMs : null;
  if (role.kind !== "MASTER") return null;
  const isOffered = event.kind === "written" && event.write.kind === "claim" && event.write.offered;
  return isOffered ? 0 : atMs - view.changedAtMs;
}

/** "0.35 s", "12 s", "3 min", "5 h". A negative duration counts as none. */
export function duration(milliseconds: number): string {
  const ms = Math.max(0, milliseconds);
  if (ms < 10_000) return `${Number((ms / 1_000).toPrecision(2))} s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

const NAMES: Readonly<Record<LeaseWrite["kind"], string>> = {
  claim: "claim of the Lease",
  renew: "renewal of the Lease",
  offer: "offer of the Lease",
  release: "release of the Lease",
  candidate: "annotation of this node",
};

function told({ event, before, atMs }: Decision): string {
  switch (event.kind) {
    case "start":
      return event.found !== null
        ? "The agent started, and found the VIP bound by the process before it."
        : "The agent started.";
    case "left-over-gone":
      return "The kernel removed the VIP that the process before it had left bound.";
    case "watched":
      return event.record === null ? "The Lease was deleted." : `The Lease ${heldBy(event.record.holder)}.`;
    case "read":
      if (event.outcome.kind === "ok")
        return event.outcome.record === null
          ? "The API has no such Lease."
          : `A read of the Lease: it ${heldBy(event.outcome.record.holder)}.`;
      return event.outcome.kind === "rejected"
        ? `The API refused to read the Lease: ${event.outcome.status}.`
        : "No API server answered a read of the Lease.";
    case "written":
      return writtenIn(event, atMs);
    case "surveyed":
      return `The API servers were asked: ${serversIn(event.survey.servers)}.`;
    case "evidence":
      return heard(event.evidence, before);
    case "self": {
      const { effective, faults, ready } = event.facts;
      if (!ready) return "Not every check of this node has reported.";
      return `The checks of this node: effective priority ${effective}${faults.length === 0 ? "" : `, failed: ${faults.join(", ")}`}.`;
    }
    case "servers":
      return event.addresses.length === 0
        ? "The EndpointSlice names no API server."
        : `The EndpointSlice names these API servers: ${event.addresses.map((address) => plainText(address)).join(", ")}.`;
    case "wake":
      return "A time that the election had waited for had come.";
    case "stop":
      return "The agent was told to stop.";
  }
}

const heldBy = (holder: string): string => (holder === "" ? "names no holder" : `names ${plainText(holder)}`);

function serversIn(servers: readonly { readonly server: string; readonly state: string }[]): string {
  // A Map and no object: a recording is a file that may say anything.
  const words: ReadonlyMap<string, string> = new Map([
    ["refusing", "refuses connections"],
    ["silent", "does not answer"],
    ["alive", "answers"],
  ]);
  if (servers.length === 0) return "none is known";
  return servers.map(({ server, state }) => `${server} ${words.get(state) ?? state}`).join(", ");
}

function writtenIn(
  { write, outcome, sentAtMs }: Extract<ElectionEvent, { kind: "written" }>,
  atMs: number,
): string {
  const name = NAMES[write.kind];
  switch (outcome.kind) {
    case "ok":
      return `The API accepted the ${name} after ${duration(atMs - sentAtMs)}.`;
    case "conflict":
      return `The ${name} met another write: ${outcome.record === null ? "the Lease is gone" : `the Lease ${heldBy(outcome.record.holder)}`}.`;
    case "rejected":
      return `The API refused the ${name}: ${outcome.status}.`;
    case "no-answer":
      return `No API server answered the ${name} within ${duration(atMs - sentAtMs)}.`;
  }
}

function heard(
  evidence: Extract<ElectionEvent, { kind: "evidence" }>["evidence"],
  { lease }: ElectionState,
): string {
  switch (evidence.kind) {
    case "silent":
      return `The kernel of the holder ${plainText(lease.view?.record?.holder ?? "")} did not answer for the VIP, and a third host did answer.`;
    case "answering":
      return "The holder that was found silent answers again.";
    case "probed":
      if (evidence.owner !== null) return `The wire was asked: the machine ${evidence.owner} has the VIP.`;
      if (evidence.prober !== null)
        return `The wire was asked: no machine has the VIP, and ${evidence.prober} asks for it as well.`;
      return "The wire was asked: no machine has the VIP.";
    case "claimed":
      return `The machine ${evidence.mac}${whose(nodeAt(lease, evidence.mac))} claimed the VIP on the wire.`;
    case "neighbours":
      return evidence.heard
        ? "Another machine was heard on the VIP's interface."
        : "No other machine is heard on the VIP's interface any more.";
  }
}

/** The candidate with that MAC address; null: the machine is none. */
function nodeAt({ view }: ElectionState["lease"], mac: string): string | null {
  for (const { candidate } of view?.candidates.values() ?? [])
    if (candidate.mac === mac) return candidate.node;
  return null;
}

function evidence(settings: ElectionSettings, { before, atMs }: Decision): readonly string[] {
  const { lease, wire, self, role } = before;
  const { view, read, refusal, survey } = lease;
  const ago = (thenMs: number): string => duration(atMs - thenMs);
  const lines: string[] = [];
  if (wire.proof !== null)
    lines.push(`The holder had been found dead on the wire ${ago(wire.proof.atMs)} before.`);
  if (wire.contender !== null)
    lines.push(
      `The machine ${wire.contender.mac}${whose(nodeAt(lease, wire.contender.mac))} had claimed the VIP on the wire ${ago(wire.contender.atMs)} before.`,
    );
  if (isTaken(before)) lines.push(`Before, ${waitsFor(before)}.`);
  if (wire.stranger !== null)
    lines.push(
      `The machine ${wire.stranger}${whose(nodeAt(lease, wire.stranger))} had the VIP, and not by an agent.`,
    );
  if (view === null) lines.push("This node had not read the Lease yet.");
  else if (view.record === null) lines.push("There was no Lease.");
  else
    lines.push(
      `The Lease ${view.record.holder === "" ? "named no holder" : `named ${plainText(view.record.holder)}`}. Its last renewal had been seen ${ago(view.changedAtMs)} before, and it lasts ${duration(settings.leaseDurationMs)}.`,
    );
  lines.push(...unoffered(settings, before));
  if (role.kind === "MASTER")
    lines.push(
      `The last renewal that the API accepted had been sent ${ago(role.renewedAtMs)} before. The renew deadline is ${duration(settings.renewDeadlineMs)}.`,
    );
  if (read.failingSinceMs !== null)
    lines.push(
      read.okAtMs === null
        ? "No read of the Lease had succeeded yet."
        : `Reads of the Lease failed. The last one had succeeded ${ago(read.okAtMs)} before.`,
    );
  if (refusal !== null)
    lines.push(`The API had refused every write with ${refusal.status} for ${ago(refusal.sinceMs)}.`);
  if (survey.found !== null && (read.failingSinceMs !== null || role.kind === "PROVISIONAL"))
    lines.push(
      `The API servers, asked ${ago(survey.found.sentAtMs)} before: ${serversIn(survey.found.servers)}.`,
    );
  const faults = faultsOf(before, role);
  const priorities = `This node's effective priority was ${self.tracking.effective} of ${settings.base}`;
  if (!self.tracking.ready) lines.push("Not every check of this node had reported.");
  else
    lines.push(
      faults.length === 0 ? `${priorities}, without a fault.` : `${priorities}, FAULT: ${faults.join(", ")}.`,
    );
  const wish = view === null ? "" : moveTarget(view);
  if (wish !== "") lines.push(`A person wanted the VIP on ${plainText(wish)} (annotation move-to).`);
  return lines;
}

/** Which node took the Lease that was on offer to another one. */
function unoffered({ node }: ElectionSettings, before: ElectionState): readonly string[] {
  const { role } = before;
  const taker = tookUnoffered(before, node);
  if (taker === null || role.kind !== "MASTER") return [];
  const offer = role.handover?.offer ?? null;
  return [
    `The Lease had been offered${offer === null ? "" : ` to ${plainText(offer.to)}`}. ${plainText(taker)} took it without an offer, as from a holder that is dead, cut off or cannot renew.`,
  ];
}

/** The row of the table of transitions by which the role changed, or the rule about what the node reports. */
function ruleOf(settings: ElectionSettings, decision: Decision): Rule | null {
  const from = decision.before.role;
  const to = decision.after.role;
  if (from.kind === to.kind)
    return reportsOf(decision).flatMap((report) => ruleOfReport(report, to.kind) ?? [])[0] ?? null;
  const rows: readonly Transition[] = TRANSITIONS.filter(
    (row) => row.from === from.kind && row.to === to.kind,
  );
  const row = rows.find((one) => fits(one, settings, decision, from, to)) ?? rows[0];
  // One step may change the role twice, and the table has each change on its own.
  return row === undefined
    ? { when: decision.after.reason, file: "machine.ts" }
    : { when: row.when, file: row.file };
}

function reportsOf({ effects }: Decision): readonly Report[] {
  return effects.flatMap((effect) => (effect.kind === "report" ? [effect.report] : []));
}

/** Tells apart the rows of the table that lead from and to the same roles. */
function fits(
  { file, when }: Transition,
  settings: ElectionSettings,
  { event, effects, after, atMs }: Decision,
  from: Role,
  to: Role,
): boolean {
  if (to.kind === "PROVISIONAL") {
    switch (to.why.kind) {
      case "proof":
        return when.includes("silent");
      case "bootstrap":
        return when.includes("no API server lets");
      case "api-loss":
        return when.includes("cannot renew");
      case "unwritten":
        return when.includes("cannot write");
      case "contested":
        return when.includes("another candidate claims");
    }
  }
  if (from.kind === "MASTER" && to.kind === "BACKUP") {
    const givesBack = after.reason === GIVEN_BACK;
    if (givesBack || file === "take-over.ts") return givesBack === (file === "take-over.ts");
    return (file === "fence.ts") === atMs >= from.renewedAtMs + settings.renewDeadlineMs;
  }
  if (from.kind === "PROVISIONAL" && to.kind === "BACKUP") {
    const yields = effects.some(
      (effect) =>
        effect.kind === "report" && effect.report.kind === "conflict" && effect.report.outcome === "yielded",
    );
    const gaveWay = yields || (event.kind === "evidence" && event.evidence.kind === "claimed");
    return when.includes("gives way") === gaveWay;
  }
  return true;
}

function did(effect: Effect): readonly string[] {
  switch (effect.kind) {
    case "write":
      return effect.write.kind === "offer" && effect.write.to === null
        ? ["It withdrew the offer of the Lease."]
        : effect.write.kind === "offer"
          ? [`It offered the Lease to ${plainText(effect.write.to ?? "")}.`]
          : [`It sent the ${NAMES[effect.write.kind]}${effect.urgent ? " to all API servers at once" : ""}.`];
    case "survey":
      return ["It asked every API server what it can do."];
    case "probe":
      return ["It asked the wire which machine has the VIP."];
    case "hold":
      return ["It kept or bound the VIP."];
    case "limit":
      return ["It limited how long the VIP stays bound, because of the offer."];
    case "unbind":
      return ["It unbound the VIP."];
    case "announce":
    case "defend":
      return ["It announced the VIP again."];
    case "report":
      return reported(effect.report);
    case "stopped":
      return ["The agent's part in the election ended."];
    case "read":
    case "watch":
    case "remember":
    case "forget":
      return [];
  }
}

function refused({ event, before, effects, after }: Decision): readonly string[] {
  const lines: string[] = [];
  if (event.kind === "written" || event.kind === "read") {
    const { outcome } = event;
    const name = event.kind === "read" ? "read of the Lease" : NAMES[event.write.kind];
    if (outcome.kind === "rejected")
      lines.push(`The API refused the ${name} with ${outcome.status}: ${plainText(outcome.message)}`);
    if (outcome.kind === "no-answer") lines.push(`The ${name} got no answer: ${plainText(outcome.message)}`);
    if (outcome.kind === "conflict") lines.push(`The ${name} was refused, because another write was faster.`);
  }
  for (const effect of effects) {
    if (effect.kind !== "report" || effect.report.kind !== "handover" || effect.report.to !== null) continue;
    lines.push(`No candidate took the offer (${effect.report.reason}), so the VIP stayed.`);
  }
  const { view } = before.lease;
  const wish = view === null ? "" : moveTarget(view);
  if (view !== null && wish !== "" && wish !== view.record?.holder) {
    const seen = view.candidates.get(wish)?.candidate;
    if (seen === undefined) lines.push(`move-to names ${plainText(wish)}, which is no candidate.`);
    else if (!seen.eligible)
      lines.push(`move-to names ${wish}, which is not eligible: ${seen.faults.join(", ") || seen.state}.`);
  }
  const vacant = view?.record?.holder === "";
  if (vacant && after.role.kind === "BACKUP" && !eligible(before, before.role)) {
    const faults = faultsOf(before, before.role);
    lines.push(
      `The Lease was vacant, and this node was not eligible: ${faults.length > 0 ? `FAULT ${faults.join(", ")}` : "not every check had reported"}.`,
    );
  }
  return lines;
}
