/** The vocabulary of the election machine: settings, facts, events and effects. */
import type { FastPathOffer, LeaseRecord } from "../kube/record.ts";
import type { LeaseWrite, ReadOutcome, Survey, WriteOutcome } from "../kube/store.ts";
import type { Evidence, Watched } from "../sentinel/evidence.ts";
import type { LeaseView } from "./lease-view.ts";

/** Fault reported while another machine uses our node name. */
export const NAMESAKE_FAULT = "duplicate-node-name";
/** Fault of a node that came to a network where another machine has the VIP. */
export const CONFLICT_FAULT = "vip-conflict";
/** Fault of a node whose kernel cannot be given the VIP, or has it from another program already. */
export const VIP_FAULT = "vip";
/** Fault of a node whose balancer has no API server. */
export const BALANCER_FAULT = "balancer";
/** Fault of a node whose link flapped or whose mastership was contested, for a while. */
export const UNSTABLE_FAULT = "unstable";
/** Fault of a dead link, which makes a bound VIP useless: it goes before anything else is tried. */
export const INTERFACE_FAULT = "interface";

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
  /** What a holder does that can renew at no API server; see api-loss.ts. */
  readonly onApiLoss: "auto" | "hold" | "release";
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
  /** When the successor was first seen to have claimed. */
  readonly takenAtMs: number | null;
}

/** A holder that has let the VIP go because its link is, or was, dead; see link-loss.ts. */
export interface LinkLoss {
  /** When the wire was asked who has the VIP now; null: the link is still dead. */
  readonly askedAtMs: number | null;
  /** The candidate that has it. */
  readonly owner: string | null;
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
      /** Since when another candidate has been heard to claim the VIP, and no renewal sent after that has been confirmed; null: nobody. */
      readonly contestedAtMs: number | null;
      readonly linkLoss: LinkLoss | null;
    }
  /** Has the VIP bound without a Lease to show for it, for a reason that ends; see provisional.ts. */
  | {
      readonly kind: "PROVISIONAL";
      readonly why: Why;
      /** The right to the VIP ends then, unless the reason is found to last. */
      readonly untilMs: number;
      /** No claim or renewal is sent before this. */
      readonly retryAtMs: number;
      /** How many of its claims met another write. */
      readonly conflicts: number;
    }
  /** Stopping; the VIP is gone, what is left is to tell the others. */
  | { readonly kind: "RELEASING"; readonly untilMs: number }
  | { readonly kind: "STOPPED" };

export type Backup = Extract<Role, { kind: "BACKUP" }>;
export type Master = Extract<Role, { kind: "MASTER" }>;
export type Provisional = Extract<Role, { kind: "PROVISIONAL" }>;

/** Why a node has the VIP bound without holding the Lease. */
export type Why =
  /** The holder's kernel is silent; our claim is on its way. */
  | { readonly kind: "proof"; readonly tenure: string }
  /** There is no API server yet that would let us, and nobody answers for the VIP. `seen`: the Lease as it was first read, if it names another. */
  | { readonly kind: "bootstrap"; readonly seen: LeaseRecord | null }
  /** We held the Lease, and nobody can write it. `validUntilMs`: the deadline of our last renewal; the role begins a little before. */
  | { readonly kind: "api-loss"; readonly validUntilMs: number }
  /** We held the Lease, another candidate claims the VIP, and no API server has confirmed us. */
  | { readonly kind: "contested" };

/** What was found on the wire before a first claim. */
export interface Probed {
  readonly atMs: number;
  /** MAC of one that has the VIP; null: nobody. */
  readonly owner: string | null;
  /** MAC of one that asked as we did. */
  readonly prober: string | null;
}

/** `startingSinceMs`: it refused before it became silent, and has been silent since then. */
export type SurveyedServer = Survey["servers"][number] & { readonly startingSinceMs: number | null };

/** Reading the Lease on a timer. */
export interface ReadState {
  readonly inFlight: boolean;
  readonly nextAtMs: number;
  /** When the answer to the last successful read came; null before the first. */
  readonly okAtMs: number | null;
  /** The last read failed. */
  readonly failing: boolean;
  /** When the first read succeeded after one that had failed. */
  readonly goodSinceMs: number;
}

/** Asking every API server what it can do. */
export interface SurveyState {
  readonly inFlight: boolean;
  readonly nextAtMs: number;
  /** The last answer; null before the first. */
  readonly found: { readonly sentAtMs: number; readonly servers: readonly SurveyedServer[] } | null;
}

/** What this node says of itself in its annotation. */
export interface PublishState {
  readonly inFlight: boolean;
  /** When the last annotation was sent. */
  readonly atMs: number;
  /** When the last annotation was sent that the API accepted. */
  readonly okAtMs: number;
  /** The last annotation without its counter; "" when it has to be written again. */
  readonly text: string;
  readonly counter: number;
}

/**
 * What this node knows of the Lease, and what it has asked of the API.
 *
 * Invariant: `view` never goes back to an older record (lease-view.ts). At most one claim, renewal or release is under way, and `write` is its id.
 */
export interface LeaseState {
  /** null before the Lease was first seen. */
  readonly view: LeaseView | null;
  /** Id of the claim, renewal or release under way. A late answer to an abandoned one is only observed. */
  readonly write: number | null;
  readonly offerInFlight: boolean;
  /**
   * The API has answered the last claim, renewal or release with a refusal (401, 403, 422, 429), and since when it has refused all of them. Somebody can write
   * then, and only this node may not.
   */
  readonly refusal: { readonly status: number; readonly sinceMs: number } | null;
  readonly read: ReadState;
  readonly survey: SurveyState;
  readonly publish: PublishState;
  /** Since when the VIP is vacant and no candidate is eligible; null while one is. */
  readonly allFaultSinceMs: number | null;
}

/**
 * What the sentinel has heard on the VIP's wire, and what this node has said there.
 *
 * Invariant: `proof` is about the term of the record that was seen when it came. While `probingSinceMs` is set, no verdict of the wire is believed for a claim.
 */
export interface WireState {
  /** The holder of this term was found dead on the wire. */
  readonly proof: { readonly tenure: string; readonly atMs: number } | null;
  /** The machine that was last heard to claim the VIP, apart from this node and the holder that the Lease names. */
  readonly contender: { readonly mac: string; readonly atMs: number } | null;
  readonly probed: Probed | null;
  /** Since when a verdict of the wire is awaited. */
  readonly probingSinceMs: number | null;
  /** Another machine has been heard on the VIP's link: the link carries frames. */
  readonly met: boolean;
  /** A machine that is no candidate has the VIP. This node came later and does not claim it. */
  readonly stranger: string | null;
  /** When this node last defended the VIP, and reported the conflict. */
  readonly defendedAtMs: number;
  /** What the sentinel was last told to watch; null before the first time. */
  readonly watched: Watched | null;
}

/**
 * What this node knows of itself.
 *
 * Invariant: `holdOff` is true exactly while `damping` holds the node off. While `namesake` is set, this node publishes nothing and claims nothing.
 */
export interface SelfState {
  readonly tracking: SelfFacts;
  /** The link flapped, or the mastership was contested; null: never. */
  readonly damping: Damping | null;
  /** The node must be calm for some time yet before it may become holder. */
  readonly holdOff: boolean;
  /** The VIP's link has been good before. */
  readonly linkWasGood: boolean;
  /** Since when a lower holder has been seen (preempt delay); null while there is none. */
  readonly outrankingSinceMs: number | null;
  /** Another machine under this node's name. */
  readonly namesake: { readonly instance: string; readonly counter: number; readonly untilMs: number } | null;
  /** How often another machine has overwritten this node's annotation while this node published it. */
  readonly overwritten: number;
}

/**
 * What a previous process of this agent has left.
 *
 * Invariant: both are null once this process has the VIP itself, and once the Lease was seen to name another machine.
 */
export interface LeftOver {
  /** The end of the right to the VIP that the previous process had. */
  readonly resumeUntilMs: number | null;
  /** The VIP is bound here until then at least, by the kernel's clock. Whether this node has a right to it is not known yet. null: it was not bound. */
  readonly adoptableUntilMs: number | null;
}

export interface ElectionState {
  readonly role: Role;
  readonly reason: string;
  /** When the role began. */
  readonly sinceMs: number;
  readonly startedAtMs: number;
  readonly stopping: { readonly sinceMs: number } | null;
  /** Of the next write. */
  readonly nextId: number;
  readonly lease: LeaseState;
  readonly wire: WireState;
  readonly self: SelfState;
  readonly leftOver: LeftOver;
}

export type ElectionEvent =
  /** `found`: the VIP is bound here, left by a previous process of this agent. */
  | { readonly kind: "start"; readonly resume: { readonly renewedAtMs: number } | null; readonly found: boolean }
  | { readonly kind: "watched"; readonly record: LeaseRecord | null }
  | { readonly kind: "read"; readonly sentAtMs: number; readonly outcome: ReadOutcome }
  | { readonly kind: "written"; readonly id: number; readonly write: LeaseWrite; readonly sentAtMs: number; readonly outcome: WriteOutcome }
  | { readonly kind: "surveyed"; readonly sentAtMs: number; readonly survey: Survey }
  | { readonly kind: "evidence"; readonly evidence: Evidence }
  | { readonly kind: "self"; readonly facts: SelfFacts }
  | { readonly kind: "wake" }
  | { readonly kind: "stop" };

export type Effect =
  | { readonly kind: "read" }
  /** `urgent`: to all API servers at once. */
  | { readonly kind: "write"; readonly id: number; readonly write: LeaseWrite; readonly timeoutMs: number; readonly urgent: boolean }
  /** Ask every API server what it can do. */
  | { readonly kind: "survey" }
  /** Ask the wire whether anybody has the VIP. */
  | { readonly kind: "probe"; readonly spread: boolean }
  /** From now on the sentinel watches these machines on the wire. */
  | { readonly kind: "watch"; readonly target: Watched }
  /** Bind, or keep bound, until then. */
  | { readonly kind: "hold"; readonly untilMs: number }
  /** Keep bound until then at most, and let the kernel know now: an offer is about to be written. */
  | { readonly kind: "limit"; readonly untilMs: number }
  | { readonly kind: "unbind" }
  /** Tell the neighbours anew where the VIP is, if it is held. */
  | { readonly kind: "announce" }
  /** Tell them once, as somebody else has just told them otherwise. */
  | { readonly kind: "defend" }
  | { readonly kind: "remember"; readonly renewedAtMs: number }
  | { readonly kind: "forget" }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "stopped" };

export type Report =
  | { readonly kind: "transition"; readonly from: Role["kind"]; readonly to: Role["kind"]; readonly reason: string }
  | { readonly kind: "handover"; readonly reason: HandoverReason; readonly to: string | null }
  | { readonly kind: "namesake"; readonly instance: string }
  | { readonly kind: "recreate" }
  | { readonly kind: "proof"; readonly holder: string }
  /** Another machine uses the VIP. `refused`: we came later and do not claim it. `defended`: we hold it, and say so. `yielded`: we let it go. */
  | { readonly kind: "conflict"; readonly mac: string; readonly node: string | null; readonly outcome: "refused" | "defended" | "yielded" };

export interface Step {
  readonly state: ElectionState;
  readonly effects: readonly Effect[];
  /** Call again with `wake` at this time at the latest; Infinity: nothing is pending. */
  readonly wakeAtMs: number;
}

/** What flap damping knows of this node; see flap-damping.ts. */
export interface Damping {
  /** How often there was trouble, less one. */
  readonly level: number;
  readonly lastAtMs: number;
  /** When the node is eligible again. */
  readonly holdOffUntilMs: number;
}
