/**
 * What the election needs from the Lease. Implemented by `kube/lease-store.ts` over any `ApiTransport`
 * (real API servers, the embedded one, the simulation).
 */
import type { Candidate, LeaseRecord } from "./record.ts";

export type LeaseWrite =
  /**
   * Become holder. Compare-and-swap on what `replaces` says of holderIdentity, renewTime, acquireTime and
   * leaseTransitions (and of the offer, when `offered`). Removes offer and released-by. Where `replaces.holder` is
   * this node already, by the same `instance` (adoption after a restart), acquireTime and leaseTransitions stay; otherwise acquireTime is
   * new and leaseTransitions one more. `replaces: null` creates the Lease.
   */
  | { readonly kind: "claim"; readonly replaces: LeaseRecord | null; readonly offered: boolean; readonly instance: string }
  /** Stay holder. `test`s holderIdentity, acquireTime and leaseTransitions of `held`, not renewTime. */
  | { readonly kind: "renew"; readonly held: LeaseRecord }
  /** Offer the Lease to a candidate, or withdraw the offer (null). `test`s the tenure and renewTime: no late copy outlives the next renewal. */
  | { readonly kind: "offer"; readonly held: LeaseRecord; readonly to: string | null }
  /** Empty the Lease: holder "", duration 1 s, `released-by` this node, no offer. `test`s the tenure and renewTime. */
  | { readonly kind: "release"; readonly held: LeaseRecord }
  /** This node's own annotation, by merge patch: never conflicts, never makes a renewal fail. */
  | { readonly kind: "candidate"; readonly candidate: Candidate };

export type WriteOutcome =
  | { readonly kind: "ok"; readonly record: LeaseRecord }
  /** A `test` failed: `record` is what a read after that said (null: there is no Lease). */
  | { readonly kind: "conflict"; readonly record: LeaseRecord | null }
  /** A server answered and will not do it: 401, 403, 404 without a right to create, 422, 429, 5xx. */
  | { readonly kind: "rejected"; readonly status: number; readonly message: string }
  /** No usable answer before the deadline. `ambiguous`: the write may still have been applied, or be applied later. */
  | { readonly kind: "no-answer"; readonly ambiguous: boolean; readonly message: string };

export type ReadOutcome =
  | { readonly kind: "ok"; readonly record: LeaseRecord | null }
  | { readonly kind: "rejected"; readonly status: number; readonly message: string }
  | { readonly kind: "no-answer"; readonly message: string };

/**
 * `refusing`: reset or refused before an answer. `silent`: no TCP, TLS or HTTP answer in time, or nothing could be sent for want of credentials.
 * `alive`: HTTP answered, with whatever status; whether it can write is not asked.
 */
export type ServerState = "refusing" | "silent" | "alive";

export interface Survey {
  /** The API server list, in its order. Empty where no server is known: that says nothing about anybody. */
  readonly servers: readonly { readonly server: string; readonly state: ServerState }[];
  /**
   * From cached reads that brought one. Each may be older than what is known already: by as long as its server has not heard from etcd, and (kube-apiserver 1.36)
   * for up to 11 s after that is over. So a record is news only by its acquireTime and leaseTransitions, never by being there.
   */
  readonly records: readonly LeaseRecord[];
}

export interface LeaseStore {
  /** A quorum read (no resourceVersion). `null` record: 404. */
  read(timeoutMs: number): Promise<ReadOutcome>;
  /**
   * Sends one write, first to the own node's server, hedged to the next after 500 ms without an answer or at once
   * on an error; none is cancelled before the deadline; the first success counts.
   * @param urgent to all servers at once
   */
  write(write: LeaseWrite, timeoutMs: number, urgent?: boolean): Promise<WriteOutcome>;
  /** Asks every API server at once what is left of it, without etcd. Never rejects; resolves within `timeoutMs`, and not before every server has been heard. */
  survey(timeoutMs: number): Promise<Survey>;
  /**
   * Watches for speed until closed, re-opening by itself with back-off. Silence proves nothing: the elector
   * also reads on a timer. `null`: the Lease was deleted. Records may repeat or come late; the elector orders them.
   */
  watch(onRecord: (record: LeaseRecord | null) => void): { close(): void };
}
