/** What an elector tells of itself. It is a part of `/status`, of the metrics and of the health checks. */
import type { Candidate } from "../kube/record.ts";
import type { AgentState } from "./states.ts";

/** The election as it is at the moment when this is asked for. */
export interface ElectionStatus {
  readonly state: AgentState;
  /** The node holds the Lease, which is the state MASTER. */
  readonly confirmed: boolean;
  /** Why the agent is in this state: one sentence that an operator can act on. */
  readonly reason: string;
  readonly sinceMs: number;
  readonly basePriority: number;
  readonly effectivePriority: number;
  readonly eligible: boolean;
  readonly faults: readonly string[];
  /** Other software has the VIP, which this node is to take over. */
  readonly taken: boolean;
  /**
   * The machine on which that other software has the VIP; null: there is none. `node` is null for a machine that
   * is no candidate.
   */
  readonly other: { readonly mac: string; readonly node: string | null } | null;
  /** The node that the Lease names; "" when it names none, null while the Lease has not been read. */
  readonly holder: string | null;
  readonly leaseTransitions: number | null;
  /** When the last accepted renewal was sent, monotonic ms; null unless the node holds the Lease. */
  readonly renewedAtMs: number | null;
  /** How long ago a record last came from the API, ms; null while none has come. */
  readonly lastReadAgeMs: number | null;
  /**
   * The machine that was last heard to claim the VIP, apart from this node and the holder that the Lease
   * named then. `node` is null for a machine that is no candidate.
   */
  readonly contender: { readonly mac: string; readonly node: string | null; readonly agoMs: number } | null;
  readonly candidates: readonly (Candidate & { readonly fresh: boolean })[];
}
