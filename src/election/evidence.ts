/** What the sentinel has heard on the wire becomes a fact, or is passed on to the rules of the role. */
import type { Evidence } from "../sentinel/evidence.ts";
import { contestMaster } from "./contention.ts";
import { termOf } from "./identity.ts";
import { contestProvisional } from "./provisional.ts";
import type { StepBuilder } from "./step.ts";

export function applyEvidence(step: StepBuilder, evidence: Evidence): void {
  const { state, nowMs } = step;
  switch (evidence.kind) {
    case "silent":
      return foundSilent(step, evidence.tenure);
    case "answering":
      if (state.wire.proof?.tenure === evidence.tenure) step.setWire({ proof: null });
      return;
    case "probed":
      return step.setWire({ probingSinceMs: null, probed: { atMs: nowMs, owner: evidence.owner, prober: evidence.prober } });
    case "claimed":
      return heardClaim(step, evidence.mac);
    case "neighbours":
      if (evidence.heard) step.setWire({ met: true });
      return;
  }
}

function foundSilent(step: StepBuilder, tenure: string): void {
  const record = step.state.lease.view?.record ?? null;
  // News of a tenure that has ended meanwhile.
  if (record === null || termOf(record) !== tenure) return;
  step.setWire({ proof: { tenure, atMs: step.nowMs } });
  step.effect({ kind: "report", report: { kind: "proof", holder: record.holder } });
}

function heardClaim(step: StepBuilder, mac: string): void {
  const { role } = step.state;
  const { probed } = step.state.wire;
  step.setWire({ contender: { mac, atMs: step.nowMs } });
  // Whatever it answered before, this is what the wire says now.
  if (probed !== null) step.setWire({ probed: { atMs: step.nowMs, owner: mac, prober: null } });
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
