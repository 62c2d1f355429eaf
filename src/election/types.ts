/** The vocabulary of the election machine: settings, facts, events and effects. */
import type { FastPathOffer, LeaseRecord, PeerOffer } from "../kube/record.ts";
import type { LeaseWrite, ReadOutcome, Survey, WriteOutcome } from "../kube/store.ts";
import type { Evidence, Watched } from "../sentinel/evidence.ts";
import type { LeaseView } from "./lease-view.ts";

/** A fault while another machine uses this node's name. */
export const NAMESAKE_FAULT = "duplicate-node-name";
/** A fault of a node that came to a network where a machine that is no candidate has the VIP. */
export const CONFLICT_FAULT = "vip-conflict";
/** A fault of a node whose kernel cannot be given the VIP, or has it from another program already. */
export const VIP_FAULT = "vip";
/** A fault of a node whose balancer has no API server. */
export const BALANCER_FAULT = "balancer";
/**
 * A fault, for a while, of a node whose link has flapped, or which has lost a contested mastership; see
 * flap-damping.ts.
 */
export const UNSTABLE_FAULT = "unstable";
/** A fault of a node that was given other VIPs than most nodes; see vip-agreement.ts. */
export const MISMATCH_FAULT = "vip-mismatch";
/**
 * A fault of a node whose link is dead. A VIP that is bound there is useless, so it goes before anything else
 * is tried.
 */
export const INTERFACE_FAULT = "interface";

export interface ElectionSettings {
  readonly node: string;
  /** A hash of the machine id. It tells two machines of one name apart. */
  readonly instance: string;
  /** The node IP at the start, canonical text. */
  readonly ip: string;
  /** The VIPs that this node was given, canonical text, sorted. */
  readonly vips: readonly string[];
  /** How the other nodes' agents can ask this one; absent while they cannot. */
  readonly peer?: PeerOffer;
  readonly version: string;
  /** The configured priority, 1-254. */
  readonly base: number;
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly renewIntervalMs: number;
  readonly nopreempt: boolean;
  readonly nopreemptStrict: boolean;
  readonly preemptDelayMs: number;
  /** What a node does that cannot get the Lease written; see unwritten.ts. */
  readonly onApiLoss: "auto" | "hold" | "release";
  /** This node is to take the VIP over from other software, and to give it back; see take-over.ts. */
  readonly takeOver: boolean;
}

/** What tracking says of this node. */
export interface SelfFacts {
  /** The effective priority, 1-254. */
  readonly effective: number;
  /** The names of the checks in FAULT. */
  readonly faults: readonly string[];
  /** Every check has reported. */
  readonly ready: boolean;
  /** The MAC of the VIP's interface; "" while it is unknown, and where the link has none. */
  readonly mac: string;
  /** The node IP, canonical text, once it is another than at the start ({@link ElectionSettings.ip}). */
  readonly ip?: string;
  /**
   * null: the fast path is not loaded here. undefined: this is not known yet, so what the Lease says of this
   * node stands.
   */
  readonly fastPath: FastPathOffer | null | undefined;
  /**
   * Other software has the VIP bound on this machine, and this node is to take it over. Without
   * {@link ElectionSettings.takeOver} that is the fault `vip`.
   */
  readonly foreign: boolean;
}

export interface PendingOffer {
  readonly to: string;
  readonly sentAtMs: number;
}

export type HandoverReason = "stop" | "fault" | "move-to" | "preempt";

/**
 * An offer of this node that a candidate may have taken, or may take, without this node's knowing. A renewal
 * that was sent after it and found it gone ends this. The offer names the renewTime that it was made at, so
 * no late copy of it can be carried out any more.
 */
export interface Offered {
  /** When the earliest offer was sent that is not known to have been replaced. */
  readonly sinceMs: number;
  /**
   * The node has waited long enough. It has let the VIP go until it is clear which machine holds the Lease.
   */
  readonly unbound: boolean;
  /** No withdrawal is tried before this. */
  readonly retryAtMs: number;
  /** When another node was first seen to hold the Lease: it has taken an offer. */
  readonly takenAtMs: number | null;
}

/**
 * A hand-over: the holder gives the VIP to another node while it still has it (make before break, ADR 0005).
 */
export interface Handover {
  readonly reason: HandoverReason;
  readonly startedAtMs: number;
  /** The candidates that were offered the Lease. */
  readonly tried: readonly string[];
  readonly offer: PendingOffer | null;
}

/** A holder that has let the VIP go because its link is, or was, dead; see link-loss.ts. */
export interface LinkLoss {
  /** When the wire was asked which machine has the VIP now; null: the link is still dead. */
  readonly askedAtMs: number | null;
  /** The candidate that has the VIP; null: none is known. */
  readonly owner: string | null;
}

/** A rule is given the role and returns the next one. Every change between them is in transitions.ts. */
export type Role =
  /**
   * The node does not have the VIP. This covers VRRP's INIT, BACKUP and FAULT, which differ in the facts
   * only; see states.ts.
   */
  | {
      readonly kind: "BACKUP";
      /** No claim is sent before this. */
      readonly retryAtMs: number;
      /**
       * Since when the Lease may be claimed, and this node is none of those that claim it; null: it is one.
       */
      readonly unclaimedSinceMs: number | null;
    }
  /** The node holds the Lease, as far as it knows. */
  | {
      readonly kind: "MASTER";
      /** When the last claim or renewal was sent that the API accepted. The fence counts from here. */
      readonly renewedAtMs: number;
      readonly nextRenewAtMs: number;
      readonly handover: Handover | null;
      readonly offered: Offered | null;
      /** After an offer that no candidate took, nothing is offered before this. */
      readonly calmUntilMs: number;
      /**
       * When another candidate was heard to claim the VIP. The API has accepted no renewal that was sent
       * after that. null: no candidate claims the VIP.
       */
      readonly contestedAtMs: number | null;
      /** When such a claim last made this node renew at all API servers at once. */
      readonly urgentAtMs: number;
      readonly linkLoss: LinkLoss | null;
    }
  /** The node has the VIP bound and does not hold the Lease, for a reason that ends; see provisional.ts. */
  | {
      readonly kind: "PROVISIONAL";
      readonly why: Why;
      /** The VIP goes then, unless the reason is found to last. */
      readonly untilMs: number;
      /** No claim or renewal is sent before this. */
      readonly retryAtMs: number;
    }
  /**
   * The agent is stopping, and the VIP is gone. The release of the Lease may be under way until `untilMs`.
   */
  | { readonly kind: "RELEASING"; readonly untilMs: number }
  | { readonly kind: "STOPPED" };

export type Backup = Extract<Role, { kind: "BACKUP" }>;
export type Master = Extract<Role, { kind: "MASTER" }>;
export type Provisional = Extract<Role, { kind: "PROVISIONAL" }>;
export type Releasing = Extract<Role, { kind: "RELEASING" }>;

/** Why a node has the VIP bound and does not hold the Lease. */
export type Why =
  /** The kernel of the holder in `term` is silent, and this node's claim is on its way. */
  | { readonly kind: "proof"; readonly term: string }
  /**
   * No API server lets this node read the Lease yet, and no machine answers for the VIP. `seen`: the Lease as
   * it was first read, if it names another node.
   */
  | { readonly kind: "bootstrap"; readonly seen: LeaseRecord | null }
  /**
   * This node held the Lease, and cannot renew it. `validUntilMs`: the deadline of its last renewal. The role
   * begins a little before.
   */
  | { readonly kind: "api-loss"; readonly validUntilMs: number }
  /**
   * This node cannot get the Lease written, no machine renews it, and no machine answers for the VIP. `seen`:
   * the Lease as it was then; null: there is none.
   */
  | { readonly kind: "unwritten"; readonly seen: LeaseRecord | null }
  /**
   * This node held the Lease, another candidate claims the VIP, and no API server has confirmed this node.
   * `validUntilMs`: the deadline of its last renewal.
   */
  | { readonly kind: "contested"; readonly validUntilMs: number };

/** What the wire has answered to the question which machine has the VIP. */
export interface Probed {
  readonly atMs: number;
  /** When this node began to ask. */
  readonly askedAtMs: number;
  /** The MAC of a machine that has the VIP; null: none has. */
  readonly owner: string | null;
  /** The MAC of a machine that asks for the VIP as this node does; null: none does. */
  readonly prober: string | null;
}

/** `startingSinceMs`: the server refused connections before, and has been silent since then. */
export type SurveyedServer = Survey["servers"][number] & { readonly startingSinceMs: number | null };

/** Where this node is with reading the Lease on a timer. */
export interface ReadState {
  readonly inFlight: boolean;
  readonly nextAtMs: number;
  /** When the answer to the last successful read came; null before the first. */
  readonly okAtMs: number | null;
  /** Since when every read has failed; null: the last one succeeded, or none was answered yet. */
  readonly failingSinceMs: number | null;
  /** Why the last read has failed, as people see it; null: it has not. */
  readonly failure: string | null;
  /** When the first read succeeded after one that had failed. */
  readonly goodSinceMs: number;
}

/** Where this node is with asking every API server what it can do. */
export interface SurveyState {
  readonly inFlight: boolean;
  readonly nextAtMs: number;
  /** The last answer; null before the first. */
  readonly found: { readonly sentAtMs: number; readonly servers: readonly SurveyedServer[] } | null;
}

/** Where this node is with publishing its own annotation. */
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
 * Invariant: `view` goes back to an older record only when a read proves that etcd was restored
 * (lease-view.ts). At most one claim, renewal or release is under way, and `write` is its id.
 *
 * Written by: identity.ts, lease-traffic.ts, step.ts.
 */
export interface LeaseState {
  /** null before the Lease was first seen. */
  readonly view: LeaseView | null;
  /**
   * The id of the claim, renewal or release under way; null: none is. A late answer to an abandoned one is
   * only observed.
   */
  readonly write: number | null;
  readonly offerInFlight: boolean;
  /**
   * The API has answered a write of this node with a status of its own below 500 (401, 403, 422, 429), for
   * the first time at `sinceMs` and for the last time at `lastMs`, and has carried out none since `sinceMs`.
   * Another node may be able to write then. `lastMs` is at most some seconds ago.
   */
  readonly refusal: { readonly status: number; readonly sinceMs: number; readonly lastMs: number } | null;
  /**
   * Since when the API has carried out none of this node's writes, whatever they were; null: the last one was
   * carried out, or met another one. The time begins when the first claim, renewal or release of them is
   * sent. `why` says how the last one ended; null: none has been answered or given up yet.
   */
  readonly unwritten: { readonly sinceMs: number; readonly why: string | null } | null;
  readonly read: ReadState;
  readonly survey: SurveyState;
  readonly publish: PublishState;
}

/**
 * What the sentinel has heard on the VIP's wire, and what this node has said there.
 *
 * Invariant: `proof` is about the term of the record that was seen when it came. While `probingSinceMs` is
 * set, `probed` decides no claim.
 *
 * Written by: address-check.ts, backup.ts, contention.ts, evidence.ts, fence.ts, master.ts, take-over.ts,
 * watch-target.ts.
 */
export interface WireState {
  /** The holder of this term was found dead on the wire. */
  readonly proof: { readonly term: string; readonly atMs: number } | null;
  /**
   * The machine that was last heard to claim the VIP, apart from this node and the holder that the Lease
   * names. `firstMs`: since when that machine has claimed it without a pause of a renew deadline. `sinceMs`:
   * since when candidates have.
   */
  readonly contender: {
    readonly mac: string;
    readonly atMs: number;
    readonly firstMs: number;
    readonly sinceMs: number;
  } | null;
  readonly probed: Probed | null;
  /**
   * When another machine was last heard to have the VIP. What the holder that is watched announces does not
   * count here.
   */
  readonly answeredAtMs: number;
  /**
   * A machine with a lower MAC address asks for the VIP as this node does, and no machine has it. This node
   * gives way to it for a while. `ignored`: that while is over. null: no such machine asks.
   */
  readonly prober: { readonly sinceMs: number; readonly ignored: boolean } | null;
  /** Since when a verdict of the wire is awaited. */
  readonly probingSinceMs: number | null;
  /** Since when other machines are heard on the VIP's link, or were last: it carries frames. null: none was. */
  readonly metAtMs: number | null;
  /** A machine that is no candidate has the VIP. This node came later and does not claim it. */
  readonly stranger: string | null;
  /** The machine that has the VIP by the other software from which this node takes it over. */
  readonly other: string | null;
  /** When this node last defended the VIP, and reported the conflict. */
  readonly defendedAtMs: number;
  /** How long this node waits after that before it defends the VIP against a candidate again, ms. */
  readonly defendPauseMs: number;
  /** What the sentinel was last told to watch; null before the first time. */
  readonly watched: Watched | null;
}

/**
 * What this node knows of itself.
 *
 * Invariant: after each step `holdOff` says whether `damping` holds the node off. While `namesake` is set,
 * this node publishes nothing and claims nothing.
 *
 * Written by: candidates.ts, eligibility.ts, flap-damping.ts, identity.ts,
 * vip-agreement.ts.
 */
export interface SelfState {
  readonly tracking: SelfFacts;
  /** The link flapped, or another node took a contested mastership; null: never. */
  readonly damping: Damping | null;
  /**
   * This node let the VIP go to another machine that claimed it, and the Lease has not said yet whether that
   * machine is the holder. `seen`: the Lease as it was then, where it named another node; null: it named this
   * one.
   */
  readonly disputed: { readonly seen: LeaseRecord | null } | null;
  /** The node waits before it may become holder. */
  readonly holdOff: boolean;
  /** The VIP's link has been good before. */
  readonly linkWasGood: boolean;
  /** Since when a lower holder has been seen (preempt delay); null while there is none. */
  readonly outrankingSinceMs: number | null;
  /** Another machine under this node's name. */
  readonly namesake: { readonly instance: string; readonly counter: number; readonly untilMs: number } | null;
  /** Most nodes were given other VIPs than this one; null: they agree, or nothing is known of them. */
  readonly mismatch: VipMismatch | null;
  /** How often another machine has overwritten this node's annotation while this node published it. */
  readonly overwritten: number;
}

export interface VipMismatch {
  /** The VIPs of the others, sorted. */
  readonly vips: readonly string[];
  /** The nodes that were given them, sorted. */
  readonly nodes: readonly string[];
}

/**
 * What the cluster says of its API servers.
 *
 * Written by: departed.ts.
 */
export interface ServersState {
  /** When the cluster last named its API servers. */
  readonly answeredAtMs: number;
  /** Since when every answer has named no API server of a candidate, by the candidate's name. */
  readonly unnamedSinceMs: ReadonlyMap<string, number>;
}

/**
 * What a previous process of this agent has left.
 *
 * Invariant: both are null once this process has the VIP itself, and once the Lease was seen to name another
 * machine.
 *
 * Written by: fence.ts.
 */
export interface LeftOver {
  /** The end of the right to the VIP that the previous process had. */
  readonly resumeUntilMs: number | null;
  /**
   * The VIP is bound here, and it is not known yet whether this node has a right to it. The kernel keeps it a
   * little longer than until `takeUpAtMs`, and at `untilMs` this node removes it. null: the VIP is not bound,
   * or the kernel has removed it.
   */
  readonly adoptable: { readonly takeUpAtMs: number; readonly untilMs: number } | null;
}

/** All that the machine remembers, apart from the role. */
export interface Facts {
  /** Why the node has its role, as people see it. */
  readonly reason: string;
  /** When the role began. */
  readonly sinceMs: number;
  readonly startedAtMs: number;
  readonly stopping: { readonly sinceMs: number } | null;
  /** The id of the next write. */
  readonly nextId: number;
  readonly lease: LeaseState;
  readonly wire: WireState;
  readonly self: SelfState;
  readonly leftOver: LeftOver;
  readonly servers: ServersState;
}

export interface ElectionState extends Facts {
  readonly role: Role;
}

/**
 * A VIP that a previous process has left bound. The kernel keeps it for at least `keptMs`; below 0: it may go
 * at once.
 */
export interface LeftBehind {
  readonly keptMs: number;
}

export type ElectionEvent =
  /**
   * `resume`: the last renewal of a previous process of this agent. `found`: that process has left the VIP
   * bound here.
   */
  | {
      readonly kind: "start";
      readonly resume: { readonly renewedAtMs: number } | null;
      readonly found: LeftBehind | null;
    }
  /** The kernel has removed what a previous process had left bound. */
  | { readonly kind: "left-over-gone" }
  | { readonly kind: "watched"; readonly record: LeaseRecord | null }
  | { readonly kind: "read"; readonly sentAtMs: number; readonly outcome: ReadOutcome }
  | {
      readonly kind: "written";
      readonly id: number;
      readonly write: LeaseWrite;
      readonly sentAtMs: number;
      readonly outcome: WriteOutcome;
    }
  | { readonly kind: "surveyed"; readonly sentAtMs: number; readonly survey: Survey }
  | { readonly kind: "evidence"; readonly evidence: Evidence }
  | { readonly kind: "self"; readonly facts: SelfFacts }
  /** The cluster has named its API servers, by their addresses in canonical text. */
  | { readonly kind: "servers"; readonly addresses: readonly string[] }
  | { readonly kind: "wake" }
  | { readonly kind: "stop" };

export type Effect =
  | { readonly kind: "read" }
  /** `urgent`: to all API servers at once. */
  | {
      readonly kind: "write";
      readonly id: number;
      readonly write: LeaseWrite;
      readonly timeoutMs: number;
      readonly urgent: boolean;
    }
  /** Ask every API server what it can do. */
  | { readonly kind: "survey" }
  /** Ask the wire so often which machine has the VIP. `claims`: this node would take it now. */
  | {
      readonly kind: "probe";
      readonly spread: boolean;
      readonly claims: boolean;
      readonly questions: 1 | 3;
    }
  /** From now on the sentinel watches these machines on the wire. */
  | { readonly kind: "watch"; readonly target: Watched }
  /** Bind the VIP, or keep it bound, until then. */
  | { readonly kind: "hold"; readonly untilMs: number }
  /**
   * Keep the VIP bound until then at most, and let the kernel know now, because an offer is about to be
   * written.
   */
  | { readonly kind: "limit"; readonly untilMs: number }
  | { readonly kind: "unbind" }
  /** Announce the VIP again with the whole schedule, if it is bound. */
  | { readonly kind: "announce" }
  /** Announce the VIP once, because another machine has just claimed it. */
  | { readonly kind: "defend" }
  /** Keep this renewal for a process that comes after this one. */
  | { readonly kind: "remember"; readonly renewedAtMs: number }
  /** A process that comes after this one has no right to the VIP. */
  | { readonly kind: "forget" }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "stopped" };

export type Report =
  | {
      readonly kind: "transition";
      readonly from: Role["kind"];
      readonly to: Role["kind"];
      readonly reason: string;
    }
  /** `to`: the candidate that is offered the Lease; null: no candidate took it, and the VIP stays here. */
  | { readonly kind: "handover"; readonly reason: HandoverReason; readonly to: string | null }
  | { readonly kind: "namesake"; readonly instance: string }
  /** This node was given other VIPs (`own`) than `nodes`, and is no candidate until they agree. */
  | {
      readonly kind: "vip-mismatch";
      readonly own: readonly string[];
      readonly vips: readonly string[];
      readonly nodes: readonly string[];
    }
  /** A machine has the VIP, and this node has not read the Lease yet, which would tell which one it is. */
  | { readonly kind: "taken"; readonly mac: string }
  /** A person has deleted, emptied or changed the Lease, and the holder writes it again. */
  | { readonly kind: "recreate" }
  | { readonly kind: "proof"; readonly holder: string }
  /**
   * Another machine (`mac`) asks for the VIP as well, by ARP probes or duplicate address detection. `waits`:
   * this node gives way to it. `ignored`: it has asked for too long, and this node goes on.
   */
  | { readonly kind: "prober"; readonly mac: string; readonly outcome: "waits" | "ignored" }
  /** This node has taken nodes that left the cluster out of the Lease. */
  | { readonly kind: "departed"; readonly nodes: readonly string[] }
  /**
   * Another machine has the VIP as well. `refused`: this node came later and does not claim it. `defended`:
   * this node holds it, and says so. `yielded`: this node lets it go.
   */
  | {
      readonly kind: "conflict";
      readonly mac: string;
      readonly node: string | null;
      readonly outcome: "refused" | "defended" | "yielded";
    }
  /**
   * The machine `mac`, which is `node`'s if it is a candidate's, has the VIP by the other software from which
   * this node takes it over; null: no machine has it by other software any more.
   */
  | { readonly kind: "other-owner"; readonly mac: string | null; readonly node: string | null };

export interface Step {
  readonly state: ElectionState;
  readonly effects: readonly Effect[];
  /** Call again with `wake` at this time at the latest; Infinity: nothing is pending. */
  readonly wakeAtMs: number;
}

/** One step as it was taken: all that is needed to take it again. */
export interface StepTaken {
  readonly settings: ElectionSettings;
  readonly before: ElectionState;
  readonly event: ElectionEvent;
  /** Monotonic milliseconds: the `nowMs` of the step. */
  readonly atMs: number;
  readonly next: Step;
}

/** What flap damping knows of this node; see flap-damping.ts. */
export interface Damping {
  /** How often there was trouble in a row, less one. */
  readonly level: number;
  readonly lastAtMs: number;
  /** When the node is eligible again. */
  readonly holdOffUntilMs: number;
}
