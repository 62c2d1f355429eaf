/**
 * What the sentinel hears on the VIP's wire becomes a fact. A claim is also passed on to the rules of the
 * role.
 */
import type { Evidence } from "../sentinel/evidence.ts";
import { candidateAt } from "./candidates.ts";
import { contestMaster } from "./contention.ts";
import { deadlineAfter, overdueAfter } from "./fence.ts";
import { termOf } from "./identity.ts";
import { announceNow, contestProvisional } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";
import type { Master, Role, WireState } from "./types.ts";

/** Returns the role after it. */
export function learnEvidence(step: StepBuilder, role: Role, evidence: Evidence): Role {
  const { facts, nowMs } = step;
  switch (evidence.kind) {
    case "silent":
      foundSilent(step, evidence.tenure);
      return role;
    case "answering":
      if (facts.wire.proof?.term === evidence.tenure) step.setWire({ proof: null });
      return answersAgain(step, role, evidence.tenure);
    case "probed":
      if (role.kind === "BACKUP") noteUnknownOwner(step, evidence.owner);
      step.setWire({
        probingSinceMs: null,
        probed: {
          atMs: nowMs,
          askedAtMs: facts.wire.probingSinceMs ?? nowMs,
          owner: evidence.owner,
          prober: evidence.prober,
        },
      });
      if (evidence.owner !== null) step.setWire({ answeredAtMs: nowMs });
      if (evidence.owner !== null || evidence.prober === null) step.setWire({ prober: null });
      return role;
    case "claimed":
      return heardClaim(step, role, evidence.mac);
    case "neighbours":
      if (!evidence.heard) return role;
      step.setWire({ metAtMs: nowMs });
      if (role.kind === "PROVISIONAL") announceNow(step);
      // This answers no claim, so the next one is answered at once.
      if (role.kind === "MASTER" && hasVip(step, role)) step.effect({ kind: "defend" });
      return role;
  }
}

/**
 * Neighbours may believe that another machine has the VIP, which had it behind the cut that has healed. A
 * holder that has let the VIP go asks first (link-loss.ts). One that has not renewed lately may have been
 * replaced meanwhile.
 */
function hasVip({ settings, nowMs }: StepBuilder, { linkLoss, offered, renewedAtMs }: Master): boolean {
  return linkLoss === null && offered === null && nowMs < overdueAfter(settings, renewedAtMs);
}

function foundSilent(step: StepBuilder, term: string): void {
  const record = step.facts.lease.view?.record ?? null;
  // The term has ended meanwhile.
  if (record === null || termOf(record) !== term) return;
  step.setWire({ proof: { term, atMs: step.nowMs } });
  step.effect({ kind: "report", report: { kind: "proof", holder: record.holder } });
}

/**
 * The holder that was found dead has the VIP after all. Where this node serves without the Lease by now, that
 * is a claim like any other: the sentinel tells no other claim of the machine that it watches as the holder.
 */
function answersAgain(step: StepBuilder, role: Role, term: string): Role {
  const holder = step.facts.wire.watched?.holder ?? null;
  if (role.kind !== "PROVISIONAL" || role.why.kind === "proof" || holder?.tenure !== term) return role;
  return heardClaim(step, role, holder.mac);
}

function contenderAfter({ facts, settings, nowMs }: StepBuilder, mac: string): WireState["contender"] {
  const { contender } = facts.wire;
  const before = contender !== null && nowMs < deadlineAfter(settings, contender.atMs) ? contender : null;
  const goesOn = before !== null && candidateAt(facts, before.mac) !== undefined;
  return {
    mac,
    atMs: nowMs,
    firstMs: before?.mac === mac ? before.firstMs : nowMs,
    sinceMs: goesOn ? before.sinceMs : nowMs,
  };
}

/**
 * Before there is an API server, no Lease tells which machine has the VIP. The operator has to know that one
 * has it, and is told once for each machine.
 */
function noteUnknownOwner(step: StepBuilder, owner: string | null): void {
  const { lease, wire } = step.facts;
  if (lease.view !== null || owner === null || owner === wire.probed?.owner) return;
  step.effect({ kind: "report", report: { kind: "taken", mac: owner } });
}

function heardClaim(step: StepBuilder, role: Role, mac: string): Role {
  if (role.kind === "BACKUP" && step.facts.wire.probed !== null) noteUnknownOwner(step, mac);
  step.setWire({ contender: contenderAfter(step, mac), answeredAtMs: step.nowMs });
  // This is what the wire says now, whatever it has answered before.
  if (step.facts.wire.probed !== null)
    step.setWire({ probed: { atMs: step.nowMs, askedAtMs: step.nowMs, owner: mac, prober: null } });
  switch (role.kind) {
    case "MASTER":
      return contestMaster(step, role, mac);
    case "PROVISIONAL":
      return contestProvisional(step, role, mac);
    case "BACKUP":
    case "RELEASING":
    case "STOPPED":
      return role;
  }
}
