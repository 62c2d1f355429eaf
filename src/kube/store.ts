/**
 * Defines what the election needs from the Lease. `kube/lease-store.ts` implements it over any `ApiTransport`
 * (real API servers, the embedded one, the simulation).
 */
import type { Candidate, LeaseRecord } from "./record.ts";

/** A node that has left the cluster, with its annotation as it was last seen. */
export interface Departed {
  readonly node: string;
  readonly text: string;
}

/** A write of the Lease. */
export type LeaseWrite =
  /**
   * Makes this node the holder. Compare-and-swap on holderIdentity, renewTime, acquireTime and
   * leaseTransitions of `replaces`, and on the offer when `offered`. Removes offer and released-by.
   * acquireTime is always new. leaseTransitions is one more, with one exception: it stays if
   * `replaces.holder` is this node already, by the same `instance` (adoption after a restart). `replaces:
   * null` creates the Lease.
   */
  | {
      readonly kind: "claim";
      readonly replaces: LeaseRecord | null;
      readonly offered: boolean;
      readonly instance: string;
    }
  /**
   * Renews the Lease of this node. `test`s holderIdentity, acquireTime and leaseTransitions of `held`, but
   * not renewTime. It also removes the annotations of `departed`, each only while it has that text, and the
   * drains of their API servers. An annotation that has changed stays, and the renewal succeeds all the same.
   */
  | { readonly kind: "renew"; readonly held: LeaseRecord; readonly departed?: readonly Departed[] }
  /**
   * Offers the Lease to a candidate, or withdraws the offer (`to: null`). `test`s the term and renewTime, so
   * that no late copy outlives the next renewal.
   */
  | { readonly kind: "offer"; readonly held: LeaseRecord; readonly to: string | null }
  /**
   * Releases the Lease: holder "", duration 1 s, `released-by` this node, no offer. `test`s the term and
   * renewTime.
   */
  | { readonly kind: "release"; readonly held: LeaseRecord }
  /** Writes this node's own annotation by merge patch. It never conflicts and never makes a renewal fail. */
  | { readonly kind: "candidate"; readonly candidate: Candidate };

/** What came of a write. */
export type WriteOutcome =
  | { readonly kind: "ok"; readonly record: LeaseRecord }
  /** A `test` failed. `record` is what a read after it returned (null: there is no Lease). */
  | { readonly kind: "conflict"; readonly record: LeaseRecord | null }
  /** A server answered that it will not do it: 401, 403, 404 without a right to create, 422, 429, 5xx. */
  | { readonly kind: "rejected"; readonly status: number; readonly message: string }
  /**
   * No usable answer came before the deadline. `ambiguous`: the write may have been applied, or may be
   * applied later.
   */
  | { readonly kind: "no-answer"; readonly ambiguous: boolean; readonly message: string };

/** What came of a read. A `null` record means that there is no Lease. */
export type ReadOutcome =
  | { readonly kind: "ok"; readonly record: LeaseRecord | null }
  | { readonly kind: "rejected"; readonly status: number; readonly message: string }
  | { readonly kind: "no-answer"; readonly message: string };

/**
 * State of one API server, as a survey finds it.
 * - `refusing`: it reset or refused the connection before an answer.
 * - `silent`: no TCP, TLS or HTTP answer came in time, or nothing could be sent for want of credentials.
 * - `alive`: it answered HTTP, with any status. Whether it can write is not asked.
 */
export type ServerState = "refusing" | "silent" | "alive";

/** What a survey of the API servers found. */
export interface Survey {
  /**
   * The servers in the order of the API server list. The list is empty if no server is known, which proves
   * nothing about the other nodes.
   */
  readonly servers: readonly { readonly server: string; readonly state: ServerState }[];
  /**
   * Records from the cached reads that returned one. Each may be older than what this node already knows: by
   * as long as its server has not heard from etcd, and (kube-apiserver 1.36) for up to 11 s after that is
   * over. So a record is news only by its acquireTime and leaseTransitions, never because it was returned.
   */
  readonly records: readonly LeaseRecord[];
}

/** The Lease, as the election reads and writes it. */
export interface LeaseStore {
  /** Reads the Lease with a quorum read (no resourceVersion). A `null` record means 404. */
  read(timeoutMs: number): Promise<ReadOutcome>;
  /**
   * Sends one write, first to this node's own server. It is sent to the next server at once after an error,
   * or after 500 ms without an answer. None is cancelled before the deadline, and the first success counts.
   * @param urgent sends to all servers at once
   */
  write(write: LeaseWrite, timeoutMs: number, urgent?: boolean): Promise<WriteOutcome>;
  /**
   * Asks every API server at once what it can still do, without etcd. Never rejects. Resolves within
   * `timeoutMs`, and not before every server has answered, failed or run out of that time.
   */
  survey(timeoutMs: number): Promise<Survey>;
  /**
   * Watches the Lease for speed until closed, and opens the watch again by itself with back-off. Silence
   * proves nothing: the elector also reads on a timer. `null`: the Lease was deleted. Records may repeat or
   * come late, and the elector orders them.
   */
  watch(onRecord: (record: LeaseRecord | null) => void): { close(): void };
}
