/**
 * Which machines the sentinel watches on the VIP's wire: the holder that this node would replace, and the
 * others as witnesses.
 */
import { parseIp } from "../net.ts";
import type { Candidate } from "../kube/record.ts";
import type { Watched, Witness } from "../sentinel/evidence.ts";
import { everyPeer, hasFastPath, peers } from "./candidates.ts";
import { eligible, faultsOf } from "./eligibility.ts";
import { termOf } from "./identity.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import { INTERFACE_FAULT } from "./types.ts";
import type { ElectionSettings, Facts, Role } from "./types.ts";
import { holderIsDead } from "./vacancy.ts";

/** Tells the sentinel what to watch, when that has changed. */
export function decideWatch(step: StepBuilder, role: Role): void {
  const target = watchTarget(step.settings, step.facts, role);
  const { watched, proof } = step.facts.wire;
  // Nobody would notice that the holder answers again.
  if (proof !== null && proof.term !== target.holder?.tenure) step.setWire({ proof: null });
  if (watched !== null && sameTarget(watched, target)) return;
  step.setWire({ watched: target });
  step.effect({ kind: "watch", target });
}

export function watchTarget(settings: ElectionSettings, facts: Facts, role: Role): Watched {
  const { view } = facts.lease;
  const { mac } = facts.self.tracking;
  const pace = hasFastPath(facts) ? "fast" : "slow";
  if (view === null) return { holder: null, witnesses: [], pace };
  const others = peers(settings, view);
  // Also one whose agent has been silent for long: who found it dead would not notice that it answers again.
  const named = view.record?.holder ?? settings.node;
  const holder = named === settings.node ? undefined : view.candidates.get(named)?.candidate;
  // The holder may answer after all. Until then this node may claim its Lease.
  const claims = role.kind === "PROVISIONAL" && holderIsDead(facts);
  const watching = claims || (role.kind === "BACKUP" && mayServe(facts, role));
  const witnesses: Witness[] = [];
  for (const candidate of neighbours(settings, facts, role, view, others)) {
    const witness = watching && candidate === holder ? null : witnessOf(candidate);
    if (witness !== null) witnesses.push(witness);
  }
  const watched =
    watching && view.record !== null && holder !== undefined && holder.mac !== "" && holder.mac !== mac;
  return { holder: watched ? { tenure: termOf(view.record), mac: holder.mac } : null, witnesses, pace };
}

/**
 * Whom this node asks. Without a Lease, or after a long outage, no agent is known to be alive. A node that
 * has taken its link for dead then asks every machine: who asks nobody hears nobody. A good link is not
 * condemned by the silence of machines that may be gone for good.
 */
function neighbours(
  settings: ElectionSettings,
  facts: Facts,
  role: Role,
  view: LeaseView,
  alive: readonly Candidate[],
): readonly Candidate[] {
  const isAlone = alive.length === 0 && faultsOf(facts, role).includes(INTERFACE_FAULT);
  return isAlone ? everyPeer(settings, view) : alive;
}

/**
 * With a fault a node begins to watch nobody. It goes on to watch the holder that it has found dead, because
 * a check that fails for a moment must not cost the proof. On a dead link it would hear nothing.
 */
function mayServe(facts: Facts, role: Role): boolean {
  if (eligible(facts, role)) return true;
  return facts.wire.proof !== null && !faultsOf(facts, role).includes(INTERFACE_FAULT);
}

/**
 * An annotation that is read again unchanged gives the same candidate (lease-view.ts). So its address is
 * parsed once, although every step looks at it.
 */
const knownWitnesses = new WeakMap<Candidate, Witness | null>();

/** null: its address cannot be parsed. */
function witnessOf(candidate: Candidate): Witness | null {
  const known = knownWitnesses.get(candidate);
  if (known !== undefined) return known;
  const address = parseIp(candidate.ip);
  const mac = candidate.mac === "" ? undefined : candidate.mac;
  const witness = address === undefined ? null : { address, mac };
  knownWitnesses.set(candidate, witness);
  return witness;
}

function sameTarget(a: Watched, b: Watched): boolean {
  const sameHolder = a.holder?.tenure === b.holder?.tenure && a.holder?.mac === b.holder?.mac;
  if (a.pace !== b.pace || !sameHolder || a.witnesses.length !== b.witnesses.length) return false;
  return a.witnesses.every((witness, index) => sameWitness(witness, b.witnesses[index]));
}

function sameWitness(a: Witness, b: Witness | undefined): boolean {
  return a === b || (a.address.text === b?.address.text && a.mac === b.mac);
}
