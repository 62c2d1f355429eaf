/** The vocabulary of the election machine: settings, facts, events and effects. */
import type { FastPathOffer, LeaseRecord } from "../kube/record.ts";
import type { LeaseWrite, ReadOutcome, WriteOutcome } from "../kube/store.ts";
import type { LeaseView } from "./lease-view.ts";

export interface ElectionSettings {
  readonly node: string;
  /** Hash of the machine id. */
  readonly instance: string;
  /** Node IP, canonical text. */
  readonly ip: string;
  readonly version: string;
  /** Configured priority, 1-254. */
  readonly base: number;
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly renewIntervalMs: number;
  readonly nopreempt: boolean;
  readonly nopreemptStrict: boolean;
  readonly preemptDelayMs: number;
}

/** What tracking says of this node. */
export interface SelfFacts {
  /** Effective priority, 1-254. */
  readonly effective: number;
  /** Names of checks in FAULT. */
  readonly faults: readonly string[];
  /** Every check has given its first verdict. */
  readonly ready: boolean;
  /** MAC of the VIP's interface, "" while unknown. */
  readonly mac: string;
  /** null: the kernel's data plane is not loaded here. undefined: not known yet, so what the Lease says of us stands. */
  readonly fastPath: FastPathOffer | null | undefined;
}

export interface PendingOffer {
  readonly to: string;
  readonly sentAtMs: number;
}

export type HandoverReason = "stop" | "fault" | "move-to" | "preempt";

/**
 * An offer of ours that may have been taken, or may be, without our knowing. Cleared by a renewal that was sent after it and
 * found it gone: the offer names the renewTime it was made at, so no late copy of it can be carried out any more.
 */
export interface Offered {
  /** When the earliest offer was sent that is not known to have been replaced. */
  readonly sinceMs: number;
  /** We have waited long enough: the VIP is let go until it is clear whose it is. */
  readonly unbound: boolean;
  /** No withdrawal is tried before this. */
  readonly retryAtMs: number;
}

/** Giving the VIP to a better node while still holding it (make before break, ADR 0005). */
export interface Handover {
  readonly reason: HandoverReason;
  readonly startedAtMs: number;
  readonly tried: readonly string[];
  readonly offer: PendingOffer | null;
  /** The VIP has been let go already: its link is dead. */
  readonly unbound: boolean;
  /** When the successor was first seen to have claimed. */
  readonly takenAtMs: number | null;
}

/**
 * BACKUP covers VRRP's INIT, BACKUP and FAULT: they differ in what `vrrpState` says of the facts, not in what
 * the agent remembers.
 */
export type Role =
  | { readonly kind: "BACKUP"; readonly retryAtMs: number }
  | {
      readonly kind: "MASTER";
      /** Send time of the last successful claim or renewal: the fence counts from here. */
      readonly renewedAtMs: number;
      readonly nextRenewAtMs: number;
      readonly handover: Handover | null;
      readonly offered: Offered | null;
      /** No preemption or move is tried before this, after one that nobody took. */
      readonly calmUntilMs: number;
    }
  /** Stopping; the VIP is gone, what is left is to tell the others. */
  | { readonly kind: "RELEASING"; readonly untilMs: number }
  | { readonly kind: "STOPPED" };

export interface ElectionState {
  readonly role: Role;
  readonly reason: string;
  readonly sinceMs: number;
  readonly view: LeaseView | null;
  readonly self: SelfFacts;
  readonly stopping: { readonly sinceMs: number } | null;
  /** The right to the VIP that a previous process of this agent left us; null once used or void. */
  readonly resumeUntilMs: number | null;
  /** Id of the claim, renewal or release under way, one at a time; late answers of abandoned ones are only observed. */
  readonly write: number | null;
  readonly nextId: number;
  readonly offerInFlight: boolean;
  readonly readInFlight: boolean;
  readonly readAtMs: number;
  /** When the answer to the last successful read came; null before the first. */
  readonly readOkAtMs: number | null;
  readonly publishInFlight: boolean;
  readonly publishedAtMs: number;
  /** What was last written of ourselves, without the counter. */
  readonly published: string;
  readonly counter: number;
  /** Since when a lower holder has been seen (preempt delay); null while there is none. */
  readonly outrankingSinceMs: number | null;
  /** Another machine under our name. */
  readonly namesake: { readonly instance: string; readonly counter: number; readonly untilMs: number } | null;
  /** Since when the VIP is vacant and no candidate is eligible. */
  readonly allFaultSinceMs: number | null;
}

export type ElectionEvent =
  | { readonly kind: "start"; readonly resume: { readonly renewedAtMs: number } | null }
  | { readonly kind: "watched"; readonly record: LeaseRecord | null }
  | { readonly kind: "read"; readonly sentAtMs: number; readonly outcome: ReadOutcome }
  | { readonly kind: "written"; readonly id: number; readonly write: LeaseWrite; readonly sentAtMs: number; readonly outcome: WriteOutcome }
  | { readonly kind: "self"; readonly facts: SelfFacts }
  | { readonly kind: "wake" }
  | { readonly kind: "stop" };

export type Effect =
  | { readonly kind: "read" }
  | { readonly kind: "write"; readonly id: number; readonly write: LeaseWrite; readonly timeoutMs: number }
  /** Bind, or keep bound, until then. */
  | { readonly kind: "hold"; readonly untilMs: number }
  /** Keep bound until then at most, and let the kernel know now: an offer is about to be written. */
  | { readonly kind: "limit"; readonly untilMs: number }
  | { readonly kind: "unbind" }
  /** Tell the neighbours anew where the VIP is, if it is held. */
  | { readonly kind: "announce" }
  | { readonly kind: "remember"; readonly renewedAtMs: number }
  | { readonly kind: "forget" }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "stopped" };

export type Report =
  | { readonly kind: "transition"; readonly from: Role["kind"]; readonly to: Role["kind"]; readonly reason: string }
  | { readonly kind: "handover"; readonly reason: HandoverReason; readonly to: string | null }
  | { readonly kind: "namesake"; readonly instance: string }
  | { readonly kind: "recreate" };

export interface Step {
  readonly state: ElectionState;
  readonly effects: readonly Effect[];
  /** Call again with `wake` at this time at the latest; Infinity: nothing is pending. */
  readonly wakeAtMs: number;
}
