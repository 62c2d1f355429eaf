/**
 * Defines the Lease as the election sees it, and what candidates say about themselves in its annotations.
 * Pure: text in, values out. Every byte came over the wire and may have been edited by a person.
 */

export const ANNOTATION_PREFIX = "leasehold.dev/";
/** Prefix of the candidates' annotations. The node's name follows it. */
export const CANDIDATE_PREFIX = `${ANNOTATION_PREFIX}candidate.`;
/** Annotation by which an operator asks for a move of the VIP to a node. */
export const MOVE_TO = `${ANNOTATION_PREFIX}move-to`;
/**
 * Prefix of the annotations by which an operator asks that an API server gets no new connections. Their value
 * is the server (see drain.ts).
 */
export const DRAIN_PREFIX = `${ANNOTATION_PREFIX}drain.`;
/** Annotation with the node to which the holder offers the Lease. */
export const OFFER = `${ANNOTATION_PREFIX}offer`;
/**
 * Annotation with the instance (see {@link Candidate}) of the machine that claimed: two machines may have one
 * name.
 */
export const INSTANCE = `${ANNOTATION_PREFIX}holder-instance`;
/** Annotation with the node that released the Lease. */
export const RELEASED_BY = `${ANNOTATION_PREFIX}released-by`;

/** One version of the Lease. Times stay text: they are only compared for change, never read as times. */
export interface LeaseRecord {
  readonly uid: string;
  readonly resourceVersion: string;
  /** Node name of the holder, "" if the Lease has none. */
  readonly holder: string;
  /** Milliseconds; 0 when absent, or not a positive number of 32 bits. */
  readonly leaseDurationMs: number;
  readonly acquireTime: string | null;
  readonly renewTime: string | null;
  /** null when absent: a JSON Patch `test` for null passes on an absent member. */
  readonly leaseTransitions: number | null;
  readonly annotations: Readonly<Record<string, string>>;
  /**
   * True if the record names another holder, and has the mark ({@link INSTANCE}) and the renewTime that this
   * node has written. No agent has claimed it: every claim writes a mark and a renewTime of its own. So an
   * admission webhook or a person has put that name in.
   */
  readonly rewritten?: true;
}

/** The state of an agent, in VRRP's words as keepalived shows them. */
export type VrrpState = "INIT" | "BACKUP" | "MASTER" | "FAULT";

/**
 * What a node writes to say that packets to the VIP may be forwarded to it: it has the kernel's rules
 * (docs/fast-path.md).
 */
export interface FastPathOffer {
  /** Version of the fast path. Nodes of different versions forward nothing to each other. */
  readonly version: number;
  /** The node's own addresses on the VIP's network, at most one of each family, canonical text. */
  readonly addresses: readonly string[];
  /** The port of the node's API server while it is about to stop. Absent otherwise, and from older agents. */
  readonly stopping?: number;
}

/** What a node writes so that the other nodes' agents can ask its agent (docs/adr/0017). */
export interface PeerOffer {
  /** Port of the agent's listener for its peers, on the candidate's `ip`. */
  readonly port: number;
  /** SHA-256 of the public key that proves who answers there and who asks from there, 64 hex digits. */
  readonly key: string;
}

/** What one agent says about itself: the value of `leasehold.dev/candidate.<node>`, compact JSON. */
export interface Candidate {
  readonly node: string;
  /** Configured priority, 1-254. */
  readonly base: number;
  /** Priority after the tracking weights, 1-254. */
  readonly effective: number;
  /** True if the node may become holder: every check has reported and none is in FAULT. */
  readonly eligible: boolean;
  readonly state: VrrpState;
  /** Names of the checks in FAULT, e.g. ["balancer"]. */
  readonly faults: readonly string[];
  /** True if the node wants to preempt a lower holder: nopreempt is off and the preempt delay is over. */
  readonly preempt: boolean;
  /** Numeric address on the VIP's network, canonical text. */
  readonly ip: string;
  /** MAC of the VIP's interface, aa:bb:cc:dd:ee:ff; "" while unknown. */
  readonly mac: string;
  /** null while the node does not have the kernel's rules. */
  readonly fastPath: FastPathOffer | null;
  /** The VIPs that it serves, canonical text, sorted; null: an older agent, which does not say. */
  readonly vips: readonly string[] | null;
  /** Absent from an older agent, which its peers cannot ask. */
  readonly peer?: PeerOffer;
  /** Hash of the machine id, which tells apart two machines of one name. */
  readonly instance: string;
  /** Version of the agent. */
  readonly version: string;
  /**
   * Counter that the agent raises every 10 s and on every change. If it stops, the peers know that the agent
   * is gone.
   */
  readonly counter: number;
}
