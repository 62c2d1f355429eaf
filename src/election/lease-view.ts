/**
 * What this agent has seen of the Lease, and when. This file orders the records that come by watch, read and
 * write. It also notes the local times at which they changed, which are the only times that the election
 * reasons about.
 */
import { parseCandidate } from "../kube/record-codec.ts";
import { CANDIDATE_PREFIX, OFFER } from "../kube/record.ts";
import type { Candidate, LeaseRecord } from "../kube/record.ts";

/**
 * A candidate whose counter stood still for this long, while other writes were seen, does not count any more.
 */
export const SILENCE_MS = 30_000;

export interface SeenCandidate {
  /** The annotation as it is written. By it a change is noticed without parsing it again. */
  readonly text: string;
  readonly candidate: Candidate;
  /** When this agent last saw the counter (or the instance) change. */
  readonly aliveAtMs: number;
}

export interface LeaseView {
  /** null: the Lease does not exist. */
  readonly record: LeaseRecord | null;
  /** When the record above was accepted. */
  readonly acceptedAtMs: number;
  /**
   * When holderIdentity, renewTime or leaseTransitions last changed. The expiry of the Lease counts from
   * here.
   */
  readonly changedAtMs: number;
  /** When the record last changed in anything. */
  readonly writtenAtMs: number;
  /** The last holder that was not empty; null when this agent has seen none. */
  readonly lastHolder: string | null;
  /**
   * The last holder whose Lease another node has taken and was not offered, and when that was seen: the
   * holder was dead, cut off, or could not renew. null: there is none, or it holds the Lease again.
   */
  readonly displaced: { readonly node: string; readonly atMs: number } | null;
  /** When the offer took its present value. An old offer is not accepted. */
  readonly offerAtMs: number;
  readonly candidates: ReadonlyMap<string, SeenCandidate>;
  /** When a candidate last came or went, or became eligible or not. */
  readonly candidacyAtMs: number;
}

/** How a record came. `read` is a quorum read that was sent at `sentAtMs`. */
export type Source =
  | { readonly kind: "watch" }
  | { readonly kind: "write" }
  | { readonly kind: "read"; readonly sentAtMs: number };

/** A number of so many digits is exact as a double. */
const EXACT_DIGITS = 15;

const NOBODY: ReadonlyMap<string, SeenCandidate> = new Map();

/** The view after one more record, or the same object when the record is not news. */
export function observe(
  view: LeaseView | null,
  record: LeaseRecord | null,
  source: Source,
  nowMs: number,
): LeaseView {
  if (view !== null && !supersedes(view, record, source)) return view;
  const before = view?.record ?? null;
  // What this node has written, and a webhook has put another name into, is no sign of life of a holder.
  const renewed = record?.rewritten !== true && !sameRenewal(before, record);
  const changed = view === null || renewed;
  const written = view === null || before?.resourceVersion !== record?.resourceVersion;
  const candidates = record === null ? (view?.candidates ?? NOBODY) : observeCandidates(view, record, nowMs);
  const offerBefore = before?.annotations[OFFER];
  const offer = record?.annotations[OFFER];
  return {
    record,
    acceptedAtMs: nowMs,
    changedAtMs: changed ? nowMs : view.changedAtMs,
    writtenAtMs: written ? nowMs : view.writtenAtMs,
    lastHolder: record !== null && record.holder !== "" ? record.holder : (view?.lastHolder ?? null),
    displaced: displacedBy(view, record, nowMs),
    offerAtMs: view === null || offer !== offerBefore ? nowMs : view.offerAtMs,
    candidates,
    candidacyAtMs: view !== null && sameCandidacies(view.candidates, candidates) ? view.candidacyAtMs : nowMs,
  };
}

/**
 * A record with a lower resourceVersion is old, because watches and hedged answers come late. A quorum read
 * that was sent after the newest record had been accepted is the truth even so: etcd was restored from a
 * backup. An absence has no version, so only such a read, or the answer to this node's own write, can tell
 * it.
 */
function supersedes(view: LeaseView, record: LeaseRecord | null, source: Source): boolean {
  if (source.kind === "read" && source.sentAtMs >= view.acceptedAtMs) return true;
  if (record === null) return false;
  if (view.record === null) return source.kind !== "read";
  return version(record) > version(view.record);
}

/**
 * Versions can be compared as numbers since Kubernetes 1.35, and with etcd always. Anything else counts as
 * the oldest version.
 */
function version({ resourceVersion }: LeaseRecord): number | bigint {
  if (!/^\d{1,20}$/.test(resourceVersion)) return -1;
  return resourceVersion.length <= EXACT_DIGITS ? Number(resourceVersion) : BigInt(resourceVersion);
}

/**
 * The Lease has neither been renewed nor changed its holder in between. The expiry of the Lease counts from
 * the last time that it did.
 */
export function sameRenewal(a: LeaseRecord | null, b: LeaseRecord | null): boolean {
  if (a === null || b === null) return a === b;
  return a.holder === b.holder && a.renewTime === b.renewTime && a.leaseTransitions === b.leaseTransitions;
}

function displacedBy(
  view: LeaseView | null,
  record: LeaseRecord | null,
  nowMs: number,
): LeaseView["displaced"] {
  const before = view?.record?.holder ?? "";
  const after = record?.holder ?? "";
  if (before !== "" && after !== "" && before !== after && view?.record?.annotations[OFFER] !== after)
    return { node: before, atMs: nowMs };
  const displaced = view?.displaced ?? null;
  return displaced?.node === after ? null : displaced;
}

function observeCandidates(
  view: LeaseView | null,
  record: LeaseRecord,
  nowMs: number,
): ReadonlyMap<string, SeenCandidate> {
  const before = view?.record?.annotations;
  // Most writes are renewals, which leave the annotations alone.
  if (view !== null && before !== undefined && sameTexts(before, record.annotations)) return view.candidates;
  const seen = new Map<string, SeenCandidate>();
  for (const [key, text] of Object.entries(record.annotations)) {
    if (!key.startsWith(CANDIDATE_PREFIX)) continue;
    const node = key.slice(CANDIDATE_PREFIX.length);
    const known = view?.candidates.get(node);
    if (known?.text === text) {
      seen.set(node, known);
      continue;
    }
    const candidate = parseCandidate(node, text);
    if (candidate === undefined) continue;
    const moved =
      known === undefined ||
      known.candidate.counter !== candidate.counter ||
      known.candidate.instance !== candidate.instance;
    seen.set(node, { text, candidate, aliveAtMs: moved ? nowMs : known.aliveAtMs });
  }
  return seen;
}

function sameTexts(a: LeaseRecord["annotations"], b: LeaseRecord["annotations"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

function sameCandidacies(
  before: ReadonlyMap<string, SeenCandidate>,
  after: ReadonlyMap<string, SeenCandidate>,
): boolean {
  if (before === after) return true;
  if (before.size !== after.size) return false;
  for (const [node, { candidate }] of after) {
    if (before.get(node)?.candidate.eligible !== candidate.eligible) return false;
  }
  return true;
}

/**
 * The candidates whose agents are alive, as far as this node can tell. Silence is held against a candidate
 * only while other writes arrive: when the API servers are down every candidate is silent, and none is gone.
 */
export function freshCandidates(view: LeaseView): readonly Candidate[] {
  const fresh: Candidate[] = [];
  for (const seen of view.candidates.values()) {
    if (isFresh(view, seen)) fresh.push(seen.candidate);
  }
  return fresh;
}

export function isFresh(view: LeaseView, seen: SeenCandidate): boolean {
  return view.writtenAtMs - seen.aliveAtMs < SILENCE_MS;
}
