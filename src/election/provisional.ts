/**
 * A node that has the VIP bound and no Lease to show for it, because the address matters more than the paper: the holder is dead and the write takes long; there is
 * no API server yet; nobody can write at all; or another one claims it. Each reason ends, and each node with a better one is given way to.
 */
import type { LeaseRecord } from "../kube/record.ts";
import { mayKeepUntil } from "./api-loss.ts";
import { candidateAt, selfCandidate } from "./candidates.ts";
import { defendAgainAt } from "./contention.ts";
import { faultsOf } from "./eligibility.ts";
import { decideBy, holdVip, letGo, unbindVip, writeTimeoutMs } from "./fence.ts";
import { penalize } from "./flap-damping.ts";
import { ownershipOf, termOf } from "./identity.ts";
import { RETRY_MS } from "./lease-traffic.ts";
import type { LeaseView } from "./lease-view.ts";
import { compareCandidates } from "./ranking.ts";
import type { StepBuilder } from "./step.ts";
import { INTERFACE_FAULT } from "./types.ts";
import type { Provisional, Why } from "./types.ts";
import { vacancy } from "./vacancy.ts";

/** A renewal or claim of a node that holds on is given this long; it may wait in a server until etcd is back, and be the first then. */
const WRITE_MS = 2_000;
/** So often a node without a Lease says that it has the VIP. */
const SPEAK_UP_MS = 1_500;
/** At bootstrap nothing but our own life keeps the VIP: so the kernel takes it soon after. */
export const BOOTSTRAP_HOLD_MS = 3_000;
/** A claim by proof may meet a renewal that the dead holder sent before its end, and is tried again; a holder that lives renews again and again. */
const MOST_CONFLICTS = 2;

export function becomeProvisional(step: StepBuilder, why: Why, untilMs: number): void {
  step.become({ kind: "PROVISIONAL", why, untilMs, retryAtMs: step.nowMs, conflicts: 0 }, reasonOf(step, why));
  step.setLeftOver({ resumeUntilMs: null, adoptableUntilMs: null });
  step.setLease({ allFaultSinceMs: null });
  // Not for a process that comes after this one: it must ask first.
  step.effect({ kind: "forget" });
  holdVip(step);
}

function reasonOf(step: StepBuilder, why: Why): string {
  switch (why.kind) {
    case "proof":
      return `provisional: ${step.state.lease.view?.record?.holder ?? "the holder"} does not answer on the wire, claiming`;
    case "bootstrap":
      return "provisional: no API server lets us read the Lease yet, and nobody answers for the VIP";
    case "api-loss":
      return "provisional: the Lease cannot be renewed, and nobody else can claim it";
    case "contested":
      return "provisional: another node claims the VIP, and no API server has confirmed us";
  }
}

export function decideProvisional(step: StepBuilder, role: Provisional): void {
  const { state, settings, nowMs } = step;
  if (state.stopping !== null) return end(step, "stopping");
  const ended = endOf(step, role);
  if (ended !== null) return end(step, ended);
  if (yieldToStranger(step, role)) return;
  prolong(step, noteFirstSeen(step, role));
  const now = step.state.role;
  if (now.kind !== "PROVISIONAL") return;
  step.wakeAt(now.untilMs);
  speakUp(step);
  if (state.lease.write !== null) return;
  if (nowMs < now.retryAtMs) return step.wakeAt(now.retryAtMs);
  const { view } = state.lease;
  if (view === null) return;
  const freeAtMs = freeAt(step, now, view);
  if (nowMs < freeAtMs) return step.wakeAt(freeAtMs);
  step.set({ role: { ...now, retryAtMs: nowMs + RETRY_MS } });
  if (view.record !== null && ownershipOf(settings, view.record) === "ours") {
    return step.send({ kind: "renew", held: view.record }, WRITE_MS, now.why.kind === "contested");
  }
  step.send({ kind: "claim", replaces: view.record, offered: false, instance: settings.instance }, now.why.kind === "proof" ? writeTimeoutMs(settings) : WRITE_MS);
}

/**
 * After a power failure of the whole cluster the Lease that comes back with etcd names the holder of before, which may never come back. As long as nobody renews it,
 * nobody holds the VIP by it: we had asked the wire.
 */
function noteFirstSeen(step: StepBuilder, role: Provisional): Provisional {
  const record = step.state.lease.view?.record ?? null;
  if (role.why.kind !== "bootstrap" || role.why.seen !== null || record === null || ownershipOf(step.settings, record) !== "another") return role;
  const noted: Provisional = { ...role, why: { kind: "bootstrap", seen: record } };
  step.set({ role: noted });
  return noted;
}

/** A Lease that names another is claimed when it has run out, but for that of a dead holder. */
function freeAt({ settings }: StepBuilder, role: Provisional, view: LeaseView): number {
  const free = vacancy(settings, view, true);
  return role.why.kind !== "proof" && free.kind === "held" ? free.freeAtMs : Number.NEGATIVE_INFINITY;
}

/**
 * Nobody but the wire knows of us. Another one may have taken the VIP where it could not hear our first words: behind a port that spanning tree opened late, on the other
 * side of a cut.
 */
function speakUp(step: StepBuilder): void {
  const { state, nowMs } = step;
  const atMs = Math.max(state.sinceMs, state.wire.defendedAtMs) + SPEAK_UP_MS;
  if (nowMs < atMs) return step.wakeAt(atMs);
  step.defend();
  step.wakeAt(nowMs + SPEAK_UP_MS);
}

/** Why it is over; null: it is not. */
function endOf({ state, settings }: StepBuilder, { why, conflicts }: Provisional): string | null {
  const record = state.lease.view?.record ?? null;
  if (faultsOf(state).includes(INTERFACE_FAULT)) return "the VIP's link is dead";
  if (state.self.namesake !== null) return "another machine has our name";
  switch (ownershipOf(settings, record)) {
    case "nobody":
    case "ours":
    case "unmarked":
      return null;
    case "namesake":
      return `another machine named ${settings.node} holds the Lease`;
    case "another": {
      if (why.kind === "bootstrap" && record !== null && unchangedSince(why.seen ?? record, record)) return null;
      if (why.kind !== "proof" || record === null || termOf(record) !== why.tenure) return `${record?.holder ?? "another node"} holds the Lease`;
      if (state.wire.proof === null) return `${record.holder} answers after all`;
      return conflicts > MOST_CONFLICTS ? `${record.holder} renews its Lease` : null;
    }
  }
}

/** Nobody has renewed or claimed since. */
function unchangedSince(seen: LeaseRecord, record: LeaseRecord): boolean {
  return seen.renewTime === record.renewTime && termOf(seen) === termOf(record);
}

function prolong(step: StepBuilder, role: Provisional): void {
  const { state, settings, nowMs } = step;
  switch (role.why.kind) {
    case "bootstrap": {
      if (nowMs < role.untilMs - BOOTSTRAP_HOLD_MS / 2) return step.wakeAt(role.untilMs - BOOTSTRAP_HOLD_MS / 2);
      step.set({ role: { ...role, untilMs: nowMs + BOOTSTRAP_HOLD_MS } });
      return holdVip(step);
    }
    case "proof":
    case "contested":
    case "api-loss": {
      // In time for the deadline, whatever else happens until then.
      const atMs = decideBy(settings, role.untilMs);
      if (nowMs < atMs) step.wakeAt(atMs);
      const untilMs = mayKeepUntil(settings, state, nowMs);
      if (untilMs === null || untilMs <= role.untilMs) return;
      step.set({ role: { ...role, untilMs } });
      return holdVip(step);
    }
  }
}

/**
 * Yields to a stranger and to whom the Lease names; of two that have nothing to show the better stays. At bootstrap nothing is known of anybody: we yield, and
 * ask the wire again after a random time.
 */
export function contestProvisional(step: StepBuilder, role: Provisional, mac: string): void {
  const { state, settings, nowMs } = step;
  const other = candidateAt(state, mac);
  if (other === undefined && hasRight(step, role)) {
    if (nowMs < defendAgainAt(state, other)) return;
    step.defend();
    return step.effect({ kind: "report", report: { kind: "conflict", mac, node: null, outcome: "defended" } });
  }
  const named = other !== undefined && state.lease.view?.record?.holder === other.node;
  if (other !== undefined && !named && role.why.kind !== "bootstrap") {
    if (compareCandidates(selfCandidate(settings, state, nowMs), other) < 0) {
      // It may not have heard us: it was the later one on a wire that was cut.
      if (nowMs >= defendAgainAt(state, other)) step.defend();
      return;
    }
  }
  yieldTo(step, role, mac);
}

/** Its last renewal still covers it: until then it is a holder like any other, though it has found out that no further one will succeed. */
function hasRight({ nowMs }: StepBuilder, { why }: Provisional): boolean {
  return why.kind === "api-loss" && nowMs < why.validUntilMs;
}

/** A stranger that was defended against while there was a right to the VIP is given way to once there is none. True when that has happened. */
function yieldToStranger(step: StepBuilder, role: Provisional): boolean {
  const { contender } = step.state.wire;
  const { sinceMs } = step.state;
  if (role.why.kind !== "api-loss" || contender === null || contender.atMs < sinceMs || candidateAt(step.state, contender.mac) !== undefined) return false;
  if (hasRight(step, role)) {
    step.wakeAt(role.why.validUntilMs);
    return false;
  }
  yieldTo(step, role, contender.mac);
  return true;
}

function yieldTo(step: StepBuilder, role: Provisional, mac: string): void {
  const { state, nowMs } = step;
  const node = candidateAt(state, mac)?.node ?? null;
  unbindVip(step);
  step.setWire({ proof: null });
  if (role.why.kind !== "bootstrap") penalize(step);
  step.effect({ kind: "report", report: { kind: "conflict", mac, node, outcome: "yielded" } });
  step.become({ kind: "BACKUP", retryAtMs: nowMs }, `${node ?? mac} claims the VIP as well`);
}

function end(step: StepBuilder, reason: string): void {
  step.setWire({ proof: null });
  letGo(step, reason);
}
