/**
 * A node that has the VIP bound and no Lease to show for it, because the address matters more than the paper: the holder is dead and the write takes long; there is
 * no API server yet; nobody can write at all; or another one claims it. Each reason ends, and each node with a better one is given way to.
 */
import type { LeaseRecord } from "../kube/record.ts";
import { yieldToStranger } from "./contention.ts";
import type { Draft } from "./draft.ts";
import { faultsOf, INTERFACE_FAULT } from "./facts.ts";
import { heldUntil } from "./hold.ts";
import type { LeaseView } from "./lease-view.ts";
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

export function becomeProvisional(draft: Draft, why: Why, untilMs: number): void {
  draft.become({ kind: "PROVISIONAL", why, untilMs, retryAtMs: draft.nowMs, conflicts: 0 }, reasonOf(draft, why));
  draft.set({ resumeUntilMs: null, adoptableUntilMs: null, allFaultSinceMs: null });
  // Not for a process that comes after this one: it must ask first.
  draft.effect({ kind: "forget" });
  draft.hold();
}

function reasonOf(draft: Draft, why: Why): string {
  switch (why.kind) {
    case "proof":
      return `provisional: ${draft.state.view?.record?.holder ?? "the holder"} does not answer on the wire, claiming`;
    case "bootstrap":
      return "provisional: no API server lets us read the Lease yet, and nobody answers for the VIP";
    case "hold":
      return "provisional: the Lease cannot be renewed, and nobody else can claim it";
    case "contested":
      return "provisional: another node claims the VIP, and no API server has confirmed us";
  }
}

export function decideProvisional(draft: Draft, role: Provisional): void {
  const { state, settings, nowMs } = draft;
  if (state.stopping !== null) return letGo(draft, "stopping");
  const ended = endOf(draft, role);
  if (ended !== null) return letGo(draft, ended);
  if (yieldToStranger(draft, role)) return;
  prolong(draft, noteFirstSeen(draft, role));
  const now = draft.state.role;
  if (now.kind !== "PROVISIONAL") return;
  draft.wakeAt(now.untilMs);
  speakUp(draft);
  if (state.write !== null) return;
  if (nowMs < now.retryAtMs) return draft.wakeAt(now.retryAtMs);
  const { view } = state;
  if (view === null) return;
  const freeAtMs = freeAt(draft, now, view);
  if (nowMs < freeAtMs) return draft.wakeAt(freeAtMs);
  draft.set({ role: { ...now, retryAtMs: nowMs + RETRY_MS } });
  if (view.record !== null && tenureOf(settings, view.record) === "ours") {
    return draft.send({ kind: "renew", held: view.record }, WRITE_MS, now.why.kind === "contested");
  }
  draft.send({ kind: "claim", replaces: view.record, offered: false, instance: settings.instance }, now.why.kind === "proof" ? settings.renewDeadlineMs : WRITE_MS);
}

/**
 * After a power failure of the whole cluster the Lease that comes back with etcd names the holder of before, which may never come back. As long as nobody renews it,
 * nobody holds the VIP by it: we had asked the wire.
 */
function noteFirstSeen(draft: Draft, role: Provisional): Provisional {
  const record = draft.state.view?.record ?? null;
  if (role.why.kind !== "bootstrap" || role.why.seen !== null || record === null || tenureOf(draft.settings, record) !== "another") return role;
  const noted: Provisional = { ...role, why: { kind: "bootstrap", seen: record } };
  draft.set({ role: noted });
  return noted;
}

function sameRenewal(a: LeaseRecord | null, b: LeaseRecord | null): boolean {
  return a !== null && b !== null && a.renewTime === b.renewTime && tenureKey(a) === tenureKey(b);
}

/** A Lease that names another is claimed when it has run out, but for that of a dead holder. */
function freeAt({ settings }: Draft, role: Provisional, view: LeaseView): number {
  const free = vacancy(settings, view, true);
  return role.why.kind !== "proof" && free.kind === "held" ? free.freeAtMs : Number.NEGATIVE_INFINITY;
}

/**
 * Nobody but the wire knows of us. Another one may have taken the VIP where it could not hear our first words: behind a port that spanning tree opened late, on the other
 * side of a cut.
 */
function speakUp(draft: Draft): void {
  const { state, nowMs } = draft;
  const atMs = Math.max(state.sinceMs, state.defendedAtMs) + SPEAK_UP_MS;
  if (nowMs < atMs) return draft.wakeAt(atMs);
  draft.defend();
  draft.wakeAt(nowMs + SPEAK_UP_MS);
}

/** Why it is over; null: it is not. */
function endOf({ state, settings }: Draft, { why, conflicts }: Provisional): string | null {
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

function prolong(draft: Draft, role: Provisional): void {
  const { state, settings, nowMs } = draft;
  switch (role.why.kind) {
    case "bootstrap": {
      if (nowMs < role.untilMs - BOOTSTRAP_HOLD_MS / 2) return draft.wakeAt(role.untilMs - BOOTSTRAP_HOLD_MS / 2);
      draft.set({ role: { ...role, untilMs: nowMs + BOOTSTRAP_HOLD_MS } });
      return draft.hold();
    }
    case "proof":
    case "contested":
    case "hold": {
      // In time for the deadline, whatever else happens until then.
      const atMs = role.untilMs - holdMarginMs(settings.renewDeadlineMs);
      if (nowMs < atMs) draft.wakeAt(atMs);
      const untilMs = heldUntil(settings, state, nowMs);
      if (untilMs === null || untilMs <= role.untilMs) return;
      draft.set({ role: { ...role, untilMs } });
      return draft.hold();
    }
  }
}

/** The reason to hold on must be known before the deadline: at the deadline itself the VIP goes. */
export function holdMarginMs(renewDeadlineMs: number): number {
  return Math.min(500, renewDeadlineMs / 4);
}

export function letGo(draft: Draft, reason: string): void {
  draft.unbind();
  draft.set({ proof: null });
  draft.become({ kind: "BACKUP", retryAtMs: draft.nowMs }, reason);
}
