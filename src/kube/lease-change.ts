/**
 * Describes a write of the Lease as a value: what must be true of the record, and what changes. Three things
 * are derived from it: the JSON Patch (the normal way), the edited object (for when a patch cannot apply),
 * and the verdict on a record that was read after an unclear outcome. Pure.
 */
import { drainsThatEnd } from "./drain.ts";
import { isObject } from "./record-codec.ts";
import type { JsonObject } from "./record-codec.ts";
import { CANDIDATE_PREFIX, INSTANCE, OFFER, RELEASED_BY } from "./record.ts";
import type { LeaseRecord } from "./record.ts";
import type { Departed, LeaseWrite } from "./store.ts";

/** A change of the Lease: what is tested and what is set. */
export interface LeaseChange {
  /** The record that the tests were taken from. */
  readonly from: LeaseRecord;
  readonly tests: {
    readonly holder: string;
    readonly acquireTime: string | null;
    readonly leaseTransitions: number | null;
    /** undefined: not tested. */
    readonly renewTime?: string | null;
    readonly offer?: string;
  };
  /** Members of `spec` to set. */
  readonly spec: Readonly<Record<string, string | number>>;
  /** Annotations to set, or to remove (null). */
  readonly annotations: Readonly<Record<string, string | null>>;
  /** Annotations to remove, each only while it has this text. One that has changed stays. Default: none. */
  readonly forgets?: Readonly<Record<string, string>>;
}

/** One operation of a JSON Patch (RFC 6902). */
export interface PatchOperation {
  readonly op: "test" | "add" | "remove";
  readonly path: string;
  readonly value?: unknown;
}

/** What a write needs in addition to the record. */
export interface WriteContext {
  readonly node: string;
  readonly leaseDurationSeconds: number;
  /** MicroTime of this write. It differs from the one that it replaces. */
  readonly now: string;
}

/** leaseTransitions is an int32 in the API. */
const MAX_TRANSITIONS = 2 ** 31 - 1;

/** A write that changes a Lease which exists. */
export type ChangingWrite =
  | {
      readonly kind: "claim";
      readonly replaces: LeaseRecord;
      readonly offered: boolean;
      readonly instance: string;
    }
  | Extract<LeaseWrite, { kind: "renew" | "offer" | "release" }>;

/** Returns the change that a write makes to the record that it names. */
export function leaseChange(write: ChangingWrite, context: WriteContext): LeaseChange {
  const { node, leaseDurationSeconds, now } = context;
  if (write.kind === "claim") return claim(write, context);
  const from = write.held;
  // A renewal tests only the term, because an earlier renewal of ours may have been applied without our
  // knowing. Offers and releases test renewTime too. A copy of one that arrives late, after a renewal or a
  // restart, must not give away the Lease that this node holds by then (issue 4).
  const tests = write.kind === "renew" ? tenure(from) : { ...tenure(from), renewTime: from.renewTime };
  if (write.kind === "offer") return { from, tests, spec: {}, annotations: { [OFFER]: write.to } };
  if (write.kind === "release") {
    // client-go writes a released Lease this way: duration 1 (0 is invalid), both times new.
    const spec = { holderIdentity: "", leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
    return { from, tests, spec, annotations: { [OFFER]: null, [RELEASED_BY]: node } };
  }
  const repair = from.leaseDurationMs !== leaseDurationSeconds * 1000;
  return {
    from,
    tests,
    spec: { renewTime: now, ...(repair ? { leaseDurationSeconds } : {}) },
    annotations: {},
    forgets: forgotten(from, write.departed ?? []),
  };
}

/** The annotations of the nodes that have left, and the drains of their API servers. */
function forgotten(from: LeaseRecord, departed: readonly Departed[]): Readonly<Record<string, string>> {
  if (departed.length === 0) return {};
  const candidates = departed.map(({ node, text }) => [`${CANDIDATE_PREFIX}${node}`, text] as const);
  const drains = drainsThatEnd(
    from,
    departed.map(({ node }) => node),
  );
  return { ...Object.fromEntries(candidates), ...drains };
}

function claim(
  write: Extract<ChangingWrite, { kind: "claim" }>,
  { node, leaseDurationSeconds, now }: WriteContext,
): LeaseChange {
  const { replaces: from, offered, instance } = write;
  // A Lease that another machine of our name held is another term: its renewals must fail from now on.
  const adopts = from.holder === node && from.annotations[INSTANCE] === instance;
  const transitions = from.leaseTransitions ?? 0;
  const next = transitions >= MAX_TRANSITIONS || transitions < 0 ? 1 : transitions + 1;
  return {
    from,
    tests: {
      ...tenure(from),
      renewTime: from.renewTime,
      ...(offered ? { offer: from.annotations[OFFER] ?? "" } : {}),
    },
    spec: {
      holderIdentity: node,
      leaseDurationSeconds,
      // acquireTime is new even if this node adopts its own Lease. An old renewal, delayed and carried out
      // now, would set renewTime back to the value that an old release tests, and that release would then
      // give the Lease away. With a new acquireTime, everything that was sent before the claim fails after
      // it.
      acquireTime: now,
      renewTime: now,
      leaseTransitions: adopts ? transitions : next,
    },
    // These are set whatever `from` holds: an offer made meanwhile must not outlive the term in which it was
    // made.
    annotations: { [OFFER]: null, [RELEASED_BY]: null, [INSTANCE]: instance },
  };
}

function tenure(record: LeaseRecord): LeaseChange["tests"] {
  return {
    holder: record.holder,
    acquireTime: record.acquireTime,
    leaseTransitions: record.leaseTransitions,
  };
}

/**
 * Returns the change as a JSON Patch (RFC 6902): first everything that is tested, then everything that is
 * set.
 */
export function jsonPatch(change: LeaseChange): readonly PatchOperation[] {
  const { from, tests, spec, annotations, forgets = {} } = change;
  const operations: PatchOperation[] = [];
  const test = (path: string, value: unknown): void => void operations.push({ op: "test", path, value });
  test("/spec/holderIdentity", isNeverHeld(from) ? null : tests.holder);
  if (tests.renewTime !== undefined) test("/spec/renewTime", tests.renewTime);
  test("/spec/acquireTime", tests.acquireTime);
  test("/spec/leaseTransitions", tests.leaseTransitions);
  if (tests.offer !== undefined) test(annotationPath(OFFER), tests.offer);
  for (const [key, text] of Object.entries(forgets)) test(annotationPath(key), text);
  for (const [member, value] of Object.entries(spec))
    operations.push({ op: "add", path: `/spec/${member}`, value });
  for (const key of Object.keys(forgets)) operations.push({ op: "remove", path: annotationPath(key) });
  return [...operations, ...annotationOperations(from, annotations)];
}

function annotationOperations(
  from: LeaseRecord,
  annotations: LeaseChange["annotations"],
): readonly PatchOperation[] {
  const entries = Object.entries(annotations);
  if (Object.keys(from.annotations).length === 0) {
    // There is no map to add to or to remove from. The test keeps this patch from erasing a map that was
    // added meanwhile.
    const set = entries.filter((entry): entry is [string, string] => entry[1] !== null);
    if (entries.length === 0) return [];
    const none: PatchOperation = { op: "test", path: "/metadata/annotations", value: null };
    if (set.length === 0) return [none];
    return [none, { op: "add", path: "/metadata/annotations", value: Object.fromEntries(set) }];
  }
  return entries.flatMap(([key, value]): PatchOperation[] => {
    const path = annotationPath(key);
    if (value !== null) return [{ op: "add", path, value }];
    // RFC 6902 section 4.2: `remove` of an absent member fails the whole patch. After an `add` the member
    // cannot be absent.
    return [
      { op: "add", path, value: "" },
      { op: "remove", path },
    ];
  });
}

/** Answers an annotation's JSON pointer. RFC 6901 section 3: "~" is written "~0", and "/" is written "~1". */
export function annotationPath(key: string): string {
  return `/metadata/annotations/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/**
 * Tells whether the Lease is as the manifest ships it, without any holderIdentity. A released Lease has "". A
 * `test` tells the two apart, the record does not. A wrong guess costs one read and one update, nothing else.
 */
function isNeverHeld(record: LeaseRecord): boolean {
  return record.holder === "" && record.acquireTime === null && record.renewTime === null;
}

/**
 * Tells whether every `test` of the change would pass on `record`. Annotations to forget do not count: where
 * one has changed, the update that follows leaves it and makes the rest of the change.
 */
export function testsPass(change: LeaseChange, record: LeaseRecord): boolean {
  const { tests } = change;
  return (
    record.holder === tests.holder &&
    record.acquireTime === tests.acquireTime &&
    record.leaseTransitions === tests.leaseTransitions &&
    (tests.renewTime === undefined || record.renewTime === tests.renewTime) &&
    (tests.offer === undefined || record.annotations[OFFER] === tests.offer)
  );
}

/**
 * Tells whether `record` is the Lease after this change. A record with the holder and the renewTime that we
 * wrote is ours.
 */
export function isApplied(change: LeaseChange, record: LeaseRecord): boolean {
  const { spec, annotations } = change;
  const renewTime = spec["renewTime"];
  if (renewTime !== undefined) {
    const named = record.holder === (spec["holderIdentity"] ?? change.tests.holder);
    return named && record.renewTime === renewTime && !markedOtherwise(record, annotations[INSTANCE]);
  }
  const marked = Object.entries(annotations).every(
    ([key, value]) => (record.annotations[key] ?? null) === value,
  );
  return marked && testsPass(change, record);
}

/**
 * Tells whether another machine of our name has written the record. It may have claimed at the same
 * microsecond by its own clock. A mark that a person removed proves nothing.
 */
export function markedOtherwise(record: LeaseRecord, instance: string | null | undefined): boolean {
  const mark = record.annotations[INSTANCE];
  return mark !== undefined && instance !== null && instance !== undefined && mark !== instance;
}

/** Returns the Lease as read with the change made: the body of a PUT, which its resourceVersion guards. */
export function edited(change: LeaseChange, lease: JsonObject): JsonObject {
  const metadata = isObject(lease["metadata"]) ? lease["metadata"] : {};
  const annotations = { ...(isObject(metadata["annotations"]) ? metadata["annotations"] : {}) };
  for (const [key, value] of Object.entries(change.annotations)) {
    if (value === null) delete annotations[key];
    else annotations[key] = value;
  }
  for (const [key, text] of Object.entries(change.forgets ?? {}))
    if (annotations[key] === text) delete annotations[key];
  const spec = isObject(lease["spec"]) ? lease["spec"] : {};
  return { ...lease, metadata: { ...metadata, annotations }, spec: { ...spec, ...change.spec } };
}
