/**
 * One step of the machine while it is being worked out: the facts so far, the effects so far, and the next
 * time to look. It decides nothing. The files of the rules say what is set, sent and bound.
 *
 * The role is not in here. A rule is given the role and returns the next one, so that no rule can act on a
 * role that another rule has changed meanwhile.
 */
import type { LeaseWrite } from "../kube/store.ts";
import type { Next } from "./transitions.ts";
import type {
  Effect,
  ElectionSettings,
  Facts,
  LeaseState,
  LeftOver,
  PublishState,
  ReadState,
  Role,
  SelfState,
  ServersState,
  Step,
  SurveyState,
  WireState,
} from "./types.ts";

export class StepBuilder {
  readonly settings: ElectionSettings;
  readonly nowMs: number;
  facts: Facts;
  readonly #effects: Effect[] = [];
  #wakeAtMs = Number.POSITIVE_INFINITY;

  constructor(settings: ElectionSettings, facts: Facts, nowMs: number) {
    this.settings = settings;
    this.facts = facts;
    this.nowMs = nowMs;
  }

  set(change: Partial<Facts>): void {
    this.facts = { ...this.facts, ...change };
  }

  setLease(change: Partial<LeaseState>): void {
    this.set({ lease: { ...this.facts.lease, ...change } });
  }

  setRead(change: Partial<ReadState>): void {
    this.setLease({ read: { ...this.facts.lease.read, ...change } });
  }

  setSurvey(change: Partial<SurveyState>): void {
    this.setLease({ survey: { ...this.facts.lease.survey, ...change } });
  }

  setPublish(change: Partial<PublishState>): void {
    this.setLease({ publish: { ...this.facts.lease.publish, ...change } });
  }

  setWire(change: Partial<WireState>): void {
    this.set({ wire: { ...this.facts.wire, ...change } });
  }

  setSelf(change: Partial<SelfState>): void {
    this.set({ self: { ...this.facts.self, ...change } });
  }

  setServers(servers: ServersState): void {
    this.set({ servers });
  }

  setLeftOver(change: Partial<LeftOver>): void {
    this.set({ leftOver: { ...this.facts.leftOver, ...change } });
  }

  effect(effect: Effect): void {
    this.#effects.push(effect);
  }

  /** Asks to be called again at `atMs` at the latest. */
  wakeAt(atMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, atMs);
  }

  /**
   * Changes the role, and reports it. The compiler accepts only changes that the table of transitions has.
   * @param reason why, as people see it
   * @returns the new role; the caller has to return it in turn
   */
  become<F extends Role, T extends Extract<Role, { kind: Next<F["kind"]> }>>(
    from: F,
    to: T,
    reason: string,
  ): T {
    this.set({ reason, sinceMs: this.nowMs });
    this.effect({ kind: "report", report: { kind: "transition", from: from.kind, to: to.kind, reason } });
    return to;
  }

  /**
   * Sends a claim, renewal or release. Only one of them is under way at a time. @param urgent to all API
   * servers at once
   */
  send(
    write: Extract<LeaseWrite, { kind: "claim" | "renew" | "release" }>,
    timeoutMs: number,
    urgent = false,
  ): void {
    const id = this.#nextId();
    const unwritten = this.facts.lease.unwritten ?? { sinceMs: this.nowMs, why: null };
    this.setLease({ write: id, unwritten });
    this.effect({ kind: "write", id, write, timeoutMs, urgent });
  }

  /** Sends an offer or this node's annotation. They may be under way beside a claim, renewal or release. */
  sendBeside(write: Extract<LeaseWrite, { kind: "offer" | "candidate" }>, timeoutMs: number): void {
    if (write.kind === "offer") this.setLease({ offerInFlight: true });
    this.effect({ kind: "write", id: this.#nextId(), write, timeoutMs, urgent: false });
  }

  finish(role: Role): Step {
    return { state: { ...this.facts, role }, effects: this.#effects, wakeAtMs: this.#wakeAtMs };
  }

  #nextId(): number {
    const id = this.facts.nextId;
    this.set({ nextId: id + 1 });
    return id;
  }
}
