/** What an elector tells of itself: a part of `/status`, of the metrics and of the health checks. */
import type { Candidate, VrrpState } from "../kube/record.ts";

/** As of the moment it is asked for. */
export interface ElectionStatus {
  readonly state: VrrpState;
  /** Holds the Lease. A MASTER that does not is provisional: it has the VIP for the reason given. */
  readonly confirmed: boolean;
  /** Why the agent is in this state, one sentence an operator can act on. */
  readonly reason: string;
  readonly sinceMs: number;
  readonly basePriority: number;
  readonly effectivePriority: number;
  readonly eligible: boolean;
  readonly faults: readonly string[];
  /** "" when nobody, null while the Lease has not been read. */
  readonly holder: string | null;
  readonly leaseTransitions: number | null;
  /** Monotonic ms of the send time of the last successful renewal; null unless MASTER. */
  readonly renewedAtMs: number | null;
  /** Milliseconds since any record was read from the API. */
  readonly lastReadAgeMs: number | null;
  /** Who was last heard to claim the VIP, apart from this node and the holder that the Lease named then. `node`: null for a machine that is no candidate. */
  readonly contender: { readonly mac: string; readonly node: string | null; readonly agoMs: number } | null;
  readonly candidates: readonly (Candidate & { readonly fresh: boolean })[];
}
