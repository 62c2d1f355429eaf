/**
 * A node that has the VIP bound and no Lease to show for it, because the address matters more than the paper: the holder is dead and the write takes long; there is
 * no API server yet; nobody can write at all; or another one claims it. Each reason ends, and each node with a better one is given way to.
 */
import type { LeaseRecord } from "../kube/record.ts";
import { yieldToStranger } from "./contention.ts";
import { faultsOf, INTERFACE_FAULT } from "./facts.ts";
import { decideBy, hold, letGo, writeTimeoutMs } from "./fence.ts";
import { heldUntil } from "./hold.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import { tenureOf } from "./tenure.ts";
import type { Provisional, Why } from "./types.ts";
import { RETRY_MS } from "./upkeep.ts";
import { vacancy } from "./vacancy.ts";
import { tenureKey } from "./watch-target.ts";

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
  step.set({ resumeUntilMs: null, adoptableUntilMs: null, allFaultSinceMs: null });
  // Not for a process that comes after this one: it must ask first.
  step.effect({ kind: "forget" });
  hold(step);
}

function reasonOf(step: StepBuilder, why: Why): string {
  switch (why.kind) {
    case "proof":
      return `provisional: ${step.state.view?.record?.holder ?? "the holder"} does not answer on the wire, claiming`;
    case "bootstrap":
      return "provisional: no API server lets us read the Lease yet, and nobody answers for the VIP";
    case "hold":
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
  if (state.write !== null) return;
  if (nowMs < now.retryAtMs) return step.wakeAt(now.retryAtMs);
  const { view } = state;
  if (view === null) return;
  const freeAtMs = freeAt(step, now, view);
  if (nowMs < freeAtMs) return step.wakeAt(freeAtMs);
  step.set({ role: { ...now, retryAtMs: nowMs + RETRY_MS } });
  if (view.record !== null && tenureOf(settings, view.record) === "ours") {
    return step.send({ kind: "renew", held: view.record }, WRITE_MS, now.why.kind === "contested");
  }
  step.send({ kind: "claim", replaces: view.record, offered: false, instance: settings.instance }, now.why.kind === "proof" ? writeTimeoutMs(settings) : WRITE_MS);
}

/**
 * After a power failure of the whole cluster the Lease that comes back with etcd names the holder of before, which may never come back. As long as nobody renews it,
 * nobody holds the VIP by it: we had asked the wire.
 */
function noteFirstSeen(step: StepBuilder, role: Provisional): Provisional {
  const record = step.state.view?.record ?? null;
  if (role.why.kind !== "bootstrap" || role.why.seen !== null || record === null || tenureOf(step.settings, record) !== "another") return role;
  const noted: Provisional = { ...role, why: { kind: "bootstrap", seen: record } };
  step.set({ role: noted });
  return noted;
}

function sameRenewal(a: LeaseRecord | null, b: LeaseRecord | null): boolean {
  return a !== null && b !== null && a.renewTime === b.renewTime && tenureKey(a) === tenureKey(b);
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
  const atMs = Math.max(state.sinceMs, state.defendedAtMs) + SPEAK_UP_MS;
  if (nowMs < atMs) return step.wakeAt(atMs);
  step.defend();
  step.wakeAt(nowMs + SPEAK_UP_MS);
}

/** Why it is over; null: it is not. */
function endOf({ state, settings }: StepBuilder, { why, conflicts }: Provisional): string | null {
  const record = state.view?.record ?? null;
  if (faultsOf(state).includes(INTERFACE_FAULT)) return "the VIP's link is dead";
  if (state.namesake !== null) return "another machine has our name";
  switch (tenureOf(settings, record)) {
    case "nobody":
    case "ours":
    case "unmarked":
      return null;
    case "namesake":
      return `another machine named ${settings.node} holds the Lease`;
    case "another": {
      if (why.kind === "bootstrap" && sameRenewal(why.seen ?? record, record)) return null;
      if (why.kind !== "proof" || record === null || tenureKey(record) !== why.tenure) return `${record?.holder ?? "another node"} holds the Lease`;
      if (state.proof === null) return `${record.holder} answers after all`;
      return conflicts > MOST_CONFLICTS ? `${record.holder} renews its Lease` : null;
    }
  }
}

function prolong(step: StepBuilder, role: Provisional): void {
  const { state, settings, nowMs } = step;
  switch (role.why.kind) {
    case "bootstrap": {
      if (nowMs < role.untilMs - BOOTSTRAP_HOLD_MS / 2) return step.wakeAt(role.untilMs - BOOTSTRAP_HOLD_MS / 2);
      step.set({ role: { ...role, untilMs: nowMs + BOOTSTRAP_HOLD_MS } });
      return hold(step);
    }
    case "proof":
    case "contested":
    case "hold": {
      // In time for the deadline, whatever else happens until then.
      const atMs = decideBy(settings, role.untilMs);
      if (nowMs < atMs) step.wakeAt(atMs);
      const untilMs = heldUntil(settings, state, nowMs);
      if (untilMs === null || untilMs <= role.untilMs) return;
      step.set({ role: { ...role, untilMs } });
      return hold(step);
    }
  }
}

function end(step: StepBuilder, reason: string): void {
  step.set({ proof: null });
  letGo(step, reason);
}
