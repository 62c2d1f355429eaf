/**
 * One step being worked out: the state so far, the effects so far, and the next time to look. It decides nothing: the files of the rules
 * say what is set, sent and bound.
 */
import type { LeaseWrite } from "../kube/store.ts";
import type { Effect, ElectionSettings, ElectionState, LeaseState, LeftOver, PublishState, ReadState, Role, SelfState, Step, SurveyState, WireState } from "./types.ts";

export class StepBuilder {
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

  setLease(change: Partial<LeaseState>): void {
    this.set({ lease: { ...this.state.lease, ...change } });
  }

  setRead(change: Partial<ReadState>): void {
    this.setLease({ read: { ...this.state.lease.read, ...change } });
  }

  setSurvey(change: Partial<SurveyState>): void {
    this.setLease({ survey: { ...this.state.lease.survey, ...change } });
  }

  setPublish(change: Partial<PublishState>): void {
    this.setLease({ publish: { ...this.state.lease.publish, ...change } });
  }

  setWire(change: Partial<WireState>): void {
    this.set({ wire: { ...this.state.wire, ...change } });
  }

  setSelf(change: Partial<SelfState>): void {
    this.set({ self: { ...this.state.self, ...change } });
  }

  setLeftOver(change: Partial<LeftOver>): void {
    this.set({ leftOver: { ...this.state.leftOver, ...change } });
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

  /** Says once that the VIP is here. */
  defend(): void {
    this.setWire({ defendedAtMs: this.nowMs });
    this.effect({ kind: "defend" });
  }

  /** Asks who has the VIP. One who is asking already asks anew: what is known of the wire by then may be of a time before the link came back. */
  probe(spread: boolean): void {
    this.setWire({ probingSinceMs: this.nowMs });
    this.effect({ kind: "probe", spread });
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
    this.setLease({ write: id });
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
