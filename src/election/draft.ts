/** One step being worked out: the state so far, the effects so far, and the next time to look. */
import { OFFER } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import type { LeaseWrite } from "../kube/store.ts";
import { rightUntil } from "./right.ts";
import type { Effect, ElectionSettings, ElectionState, Role, Step } from "./types.ts";

/**
 * When the API servers are back, every balancer finds that out by itself, some a health check later than others: a holder that held on through it does not hand
 * over because it is among the later ones.
 */
const HELD_CALM_MS = 5_000;

export class Draft {
  readonly settings: ElectionSettings;
  readonly nowMs: number;
  state: ElectionState;
  readonly #effects: Effect[] = [];
  #wakeAtMs = Number.POSITIVE_INFINITY;

  constructor(settings: ElectionSettings, state: ElectionState, nowMs: number) {
    this.settings = settings;
    this.state = state;
    this.nowMs = nowMs;
  }

  set(change: Partial<ElectionState>): void {
    this.state = { ...this.state, ...change };
  }

  effect(effect: Effect): void {
    this.#effects.push(effect);
  }

  /** Asks to be called again at `atMs` at the latest. */
  wakeAt(atMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, atMs);
  }

  become(role: Role, reason: string): void {
    const from = this.state.role.kind;
    this.set({ role, reason, sinceMs: this.nowMs });
    if (from !== role.kind) {
      this.effect({ kind: "report", report: { kind: "transition", from, to: role.kind, reason } });
    }
  }

  unbind(): void {
    this.effect({ kind: "unbind" });
    this.effect({ kind: "forget" });
  }

  /** A claim or renewal sent at `sentAtMs` was accepted: the right to the VIP counts from before it was sent. */
  renewed(sentAtMs: number, record: LeaseRecord): void {
    const { role } = this.state;
    // Too late to be of use: the record names us, so BACKUP takes it up again by compare-and-swap.
    if (role.kind === "RELEASING" || role.kind === "STOPPED" || this.nowMs >= sentAtMs + this.settings.renewDeadlineMs) return;
    const nextMs = Math.max(sentAtMs + this.settings.renewIntervalMs, this.nowMs);
    const offered = role.kind === "MASTER" && record.annotations[OFFER] !== undefined ? role.offered : null;
    if (role.kind === "MASTER") {
      const contestedAtMs = role.contestedAtMs !== null && sentAtMs >= role.contestedAtMs ? null : role.contestedAtMs;
      // One that was under way when another claimed the VIP does not confirm us against that one.
      this.set({ role: { ...role, renewedAtMs: sentAtMs, nextRenewAtMs: contestedAtMs === null ? nextMs : this.nowMs, offered, contestedAtMs } });
    }
    else {
      const calmUntilMs = role.kind === "PROVISIONAL" && role.why.kind === "hold" ? this.nowMs + HELD_CALM_MS : this.nowMs;
      this.become(
        { kind: "MASTER", renewedAtMs: sentAtMs, nextRenewAtMs: nextMs, handover: null, offered: null, calmUntilMs, contestedAtMs: null, away: null },
        "holds the Lease",
      );
    }
    this.set({ resumeUntilMs: null, adoptableUntilMs: null, allFaultSinceMs: null, proof: null, stranger: null });
    if (offered?.unbound === true) return;
    this.hold();
    // An offered VIP is no inheritance: a process restarted now must ask first.
    if (offered === null && !(role.kind === "MASTER" && role.away !== null)) this.effect({ kind: "remember", renewedAtMs: sentAtMs });
  }

  /** Bound, for as long as there is a right to it. */
  hold(): void {
    const { role } = this.state;
    if (role.kind === "MASTER" && role.away === null) this.effect({ kind: "hold", untilMs: rightUntil(this.settings, role) });
    if (role.kind === "PROVISIONAL") this.effect({ kind: "hold", untilMs: role.untilMs });
  }

  /** Says once that the VIP is here. */
  defend(): void {
    this.set({ defendedAtMs: this.nowMs });
    this.effect({ kind: "defend" });
  }

  /** Asks who has the VIP. One who is asking already asks anew: what is known of the wire by then may be of a time before the link came back. */
  probe(spread: boolean): void {
    this.set({ probingSinceMs: this.nowMs });
    this.effect({ kind: "probe", spread });
  }

  /** An offer is out, or about to be: our word alone keeps the VIP no longer than this, nor does the kernel if we die now. */
  limit(): void {
    const { role } = this.state;
    if (role.kind === "MASTER") this.effect({ kind: "limit", untilMs: rightUntil(this.settings, role) });
  }

  /** When the refused or unanswered claim or renewal may be tried again. */
  retryAt(atMs: number): void {
    const { role } = this.state;
    if (role.kind === "MASTER") this.set({ role: { ...role, nextRenewAtMs: atMs } });
    if (role.kind === "BACKUP") this.set({ role: { ...role, retryAtMs: atMs } });
    if (role.kind === "PROVISIONAL") this.set({ role: { ...role, retryAtMs: atMs } });
  }

  send(write: Extract<LeaseWrite, { kind: "claim" | "renew" | "release" }>, timeoutMs: number, urgent = false): void {
    const id = this.#nextId();
    this.set({ write: id });
    this.effect({ kind: "write", id, write, timeoutMs, urgent });
  }

  /** Sends an offer or this node's annotation. They have no part in the order of claims, renewals and releases. */
  sendBeside(write: Extract<LeaseWrite, { kind: "offer" | "candidate" }>, timeoutMs: number): void {
    this.effect({ kind: "write", id: this.#nextId(), write, timeoutMs, urgent: false });
  }

  finish(): Step {
    return { state: this.state, effects: this.#effects, wakeAtMs: this.#wakeAtMs };
  }

  #nextId(): number {
    const id = this.state.nextId;
    this.set({ nextId: id + 1 });
    return id;
  }
}
