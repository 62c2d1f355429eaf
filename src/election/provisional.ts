/**
 * A node that has the VIP bound and no Lease to show for it, because the address matters more than the paper: the holder is dead and the write takes long; there is
 * no API server yet; nobody can write at all; or another one claims it. Each reason ends, and each node with a better one is given way to.
 */
import type { Draft } from "./draft.ts";
import { faultsOf, INTERFACE_FAULT } from "./facts.ts";
import { heldUntil } from "./hold.ts";
import { tenureOf } from "./tenure.ts";
import type { Role, Why } from "./types.ts";
import { tenureKey } from "./watch-target.ts";

/** Between two claims or renewals that were not answered well. */
const RETRY_MS = 500;
/** A renewal or claim of a node that holds on is given this long; it may wait in a server until etcd is back, and be the first then. */
const WRITE_MS = 2_000;
/** At bootstrap nothing but our own life keeps the VIP: so the kernel takes it soon after. */
export const BOOTSTRAP_HOLD_MS = 3_000;
/** A claim by proof may meet a renewal that the dead holder sent before its end, and is tried again; a holder that lives renews again and again. */
const MOST_CONFLICTS = 2;

type Provisional = Extract<Role, { kind: "PROVISIONAL" }>;

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
  prolong(draft, role);
  const now = draft.state.role;
  if (now.kind !== "PROVISIONAL") return;
  draft.wakeAt(now.untilMs);
  if (state.write !== null) return;
  if (nowMs < now.retryAtMs) return draft.wakeAt(now.retryAtMs);
  const { view } = state;
  if (view === null) return;
  draft.set({ role: { ...now, retryAtMs: nowMs + RETRY_MS } });
  if (view.record !== null && tenureOf(settings, view.record) === "ours") {
    return draft.send({ kind: "renew", held: view.record }, WRITE_MS, now.why.kind === "contested");
  }
  draft.send({ kind: "claim", replaces: view.record, offered: false, instance: settings.instance }, now.why.kind === "proof" ? settings.renewDeadlineMs : WRITE_MS);
}

/** Why it is over; null: it is not. */
function endOf(draft: Draft, role: Provisional): string | null {
  const { state, settings } = draft;
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
      const { why } = role;
      if (why.kind !== "proof" || record === null || tenureKey(record) !== why.tenure) return `${record?.holder ?? "another node"} holds the Lease`;
      if (state.proof === null) return `${record.holder} answers after all`;
      return role.conflicts > MOST_CONFLICTS ? `${record.holder} renews its Lease` : null;
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

function letGo(draft: Draft, reason: string): void {
  draft.unbind();
  draft.set({ proof: null });
  draft.become({ kind: "BACKUP", retryAtMs: draft.nowMs }, reason);
}
