/**
 * The Lease as the election sees it, and what candidates say about themselves in its annotations.
 * Pure: text in, values out. Every byte came over the wire and may have been edited by a person.
 */

export const ANNOTATION_PREFIX = "leasehold.dev/";
export const CANDIDATE_PREFIX = `${ANNOTATION_PREFIX}candidate.`;
export const MOVE_TO = `${ANNOTATION_PREFIX}move-to`;
export const OFFER = `${ANNOTATION_PREFIX}offer`;
/** The instance (see {@link Candidate}) of the machine that claimed: a name may be given twice. */
export const INSTANCE = `${ANNOTATION_PREFIX}holder-instance`;
export const RELEASED_BY = `${ANNOTATION_PREFIX}released-by`;

/** One version of the Lease. Times stay text: they are compared for change only, never as times. */
export interface LeaseRecord {
  readonly uid: string;
  readonly resourceVersion: string;
  /** "" when nobody holds it. */
  readonly holder: string;
  /** Milliseconds; 0 when absent or not a positive number. */
  readonly leaseDurationMs: number;
  readonly acquireTime: string | null;
  readonly renewTime: string | null;
  /** null when absent: a JSON Patch `test` for null passes on an absent member. */
  readonly leaseTransitions: number | null;
  readonly annotations: Readonly<Record<string, string>>;
}

export type VrrpState = "INIT" | "BACKUP" | "MASTER" | "FAULT";

/** A node says that packets to the VIP may be forwarded to it: it has the kernel's rules (docs/fast-path.md). */
export interface FastPathOffer {
  /** Of the fast path: nodes of different versions send each other nothing. */
  readonly version: number;
  /** Its own on the VIP's network, at most one of each family, canonical text. */
  readonly addresses: readonly string[];
}

/** What one agent says about itself: the value of `leasehold.dev/candidate.<node>`, compact JSON. */
export interface Candidate {
  readonly node: string;
  /** Configured priority, 1-254. */
  readonly base: number;
  /** After tracking weights, 1-254. */
  readonly effective: number;
  /** May become holder: every check has reported and none is in FAULT. */
  readonly eligible: boolean;
  readonly state: VrrpState;
  /** Names of the checks in FAULT, e.g. ["balancer"]. */
  readonly faults: readonly string[];
  /** Wants to preempt a lower holder: nopreempt is off and the preempt delay is over. */
  readonly preempt: boolean;
  /** Numeric address on the VIP's network, canonical text. */
  readonly ip: string;
  /** MAC of the VIP's interface, aa:bb:cc:dd:ee:ff; "" while unknown. */
  readonly mac: string;
  /** null while it has no such rules. */
  readonly fastPath: FastPathOffer | null;
  /** Hash of the machine id: tells two machines of one name apart. */
  readonly instance: string;
  /** Agent's version. */
  readonly version: string;
  /** Bumped every 10 s and on every change; its silence is how peers tell that an agent is gone. */
  readonly counter: number;
}
