/**
 * Stores the election's Lease in the Kubernetes API. It uses JSON Patches with `test` as compare-and-swap and
 * merge patches for annotations, and it reads the Lease wherever an answer leaves open what has happened.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { ApiClient, CallOutcome } from "./api.ts";
import { edited, isApplied, jsonPatch, leaseChange, markedOtherwise, testsPass } from "./lease-change.ts";
import type { LeaseChange } from "./lease-change.ts";
import { watchLease } from "./lease-watch.ts";
import {
  formatCandidate,
  formatMicroTime,
  isObject,
  leasePath,
  leasesPath,
  parseLease,
  statusMessage,
} from "./record-codec.ts";
import type { JsonObject } from "./record-codec.ts";
import { CANDIDATE_PREFIX, INSTANCE } from "./record.ts";
import type { Candidate, LeaseRecord } from "./record.ts";
import { createRefusals } from "./refusals.ts";
import type { LeaseRequest, RefusalStatus } from "./refusals.ts";
import type { LeaseStore, LeaseWrite, ReadOutcome, Survey, WriteOutcome } from "./store.ts";
import type { ApiRequest, ApiResponse } from "./transport.ts";

/** An update or merge patch that conflicts with another write is tried up to this often, if time permits. */
const MAX_ATTEMPTS = 3;
/** So many renewTimes that this node has written are remembered, to recognize its own writes. */
const OWN_TIMES = 32;
const CHANGED =
  "the API has written something else than was sent: an admission webhook or policy changes the Lease";

export interface LeaseStoreDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly name: string;
  /** This node's name, which is the holderIdentity that we write. */
  readonly node: string;
  /** Lease duration in milliseconds. It is written in whole seconds, rounded up. */
  readonly leaseDurationMs: number;
}

/** A refusal by the API, with the server that refused. */
interface Rejected {
  readonly kind: "rejected";
  readonly status: number;
  readonly message: string;
  readonly from: Pick<ApiResponse, "server" | "user">;
}

type Written = Exclude<WriteOutcome, { kind: "rejected" }> | Rejected;

/** What a read found, with the object as it came, so that a PUT keeps the members that we do not know. */
type Fetched =
  | { readonly kind: "ok"; readonly record: LeaseRecord; readonly lease: JsonObject }
  | { readonly kind: "absent" }
  | { readonly kind: "no-answer"; readonly message: string }
  | Rejected;

/** A {@link LeaseStore} over the API, which also tells what the API refused. */
export interface ApiLeaseStore extends LeaseStore {
  /** Returns what the API last refused, for the status. null if it has refused nothing yet. */
  lastRefusal(): RefusalStatus | null;
}

/** Creates the store for one Lease. */
export function createLeaseStore(deps: LeaseStoreDeps): ApiLeaseStore {
  const { api, clock, namespace, name, node } = deps;
  const refusals = createRefusals(deps);
  const collection = leasesPath(namespace);
  const path = leasePath(namespace, name);
  const leaseDurationSeconds = Math.max(1, Math.ceil(deps.leaseDurationMs / 1000));
  let lastMicros = 0n;
  let ownTimes: readonly string[] = [];
  let ownInstance: string | null = null;

  /**
   * Two nodes may write in the same millisecond, so the renewTime alone does not tell which one has written a
   * record. The instance does.
   */
  function marked(record: LeaseRecord): LeaseRecord {
    const { holder, renewTime, annotations } = record;
    const isOther = holder !== "" && holder !== node;
    if (!isOther || ownInstance === null || annotations[INSTANCE] !== ownInstance) return record;
    return renewTime !== null && ownTimes.includes(renewTime) ? { ...record, rewritten: true } : record;
  }

  /**
   * This node's write with that renewTime was not carried out. A machine that was cloned has the same
   * instance, and may have written in the same moment.
   */
  function notWritten(renewTime: unknown, found: LeaseRecord): LeaseRecord {
    ownTimes = ownTimes.filter((time) => time !== renewTime);
    const { rewritten: _, ...record } = found;
    return marked(record);
  }

  /**
   * Returns a renewTime that differs from `replaced` and from our last one, even while the wall clock stands
   * still: it tells our writes apart.
   */
  function newRenewTime(replaced: string | null): string {
    let micros = BigInt(clock.wall().getTime()) * 1000n;
    if (micros === lastMicros) micros += 1n;
    lastMicros = formatMicroTime(micros) === replaced ? micros + 1n : micros;
    const text = formatMicroTime(lastMicros);
    ownTimes = [...ownTimes.slice(1 - OWN_TIMES), text];
    return text;
  }

  async function fetchLease(timeoutMs: number, urgent = false): Promise<Fetched> {
    const outcome = await api.call({ method: "GET", path }, timeoutMs, urgent);
    if (outcome.kind === "no-answer") return { kind: "no-answer", message: outcome.message };
    const { status, body, server } = outcome.response;
    if (status === 404 && isNotFound(body)) return { kind: "absent" };
    if (status !== 200) return rejected(outcome.response);
    const record = parseLease(body);
    if (record === undefined || !isObject(body))
      return { kind: "no-answer", message: `${server} sent something that is no Lease` };
    return { kind: "ok", record: marked(record), lease: body };
  }

  async function writeChange(change: LeaseChange, timeoutMs: number, urgent: boolean): Promise<Written> {
    const endMs = clock.now() + timeoutMs;
    let request: ApiRequest = {
      method: "PATCH",
      path,
      contentType: "application/json-patch+json",
      body: jsonPatch(change),
    };
    let mayBeApplied = false;
    for (let attempt = 1; ; attempt++) {
      const outcome = await api.call(request, endMs - clock.now(), urgent);
      mayBeApplied ||= outcome.uncertain;
      const done = written(outcome, (record) => isApplied(change, record));
      if (done !== undefined) return done;
      if (!isDoubtful(outcome, mayBeApplied) || endMs - clock.now() <= 0)
        return failed(outcome, mayBeApplied);

      const read = await fetchLease(endMs - clock.now(), urgent);
      if (read.kind === "absent") return { kind: "conflict", record: null };
      if (read.kind !== "ok") return undecided(outcome, read, mayBeApplied);
      if (isApplied(change, read.record)) return { kind: "ok", record: read.record };
      if (!testsPass(change, read.record)) {
        const { record } = read;
        return {
          kind: "conflict",
          record: mayBeApplied ? record : notWritten(change.spec["renewTime"], record),
        };
      }
      // No other write has changed what we test. So nothing has arrived, or the patch cannot apply here (its
      // parent is missing, RFC 6902 section 4.1), or it conflicted with the write of an annotation. The next
      // try is a PUT with a resourceVersion.
      if (!isAnswer(outcome, 409, 422) || attempt >= MAX_ATTEMPTS || endMs - clock.now() <= 0) {
        return failed(outcome, mayBeApplied);
      }
      request = { method: "PUT", path, contentType: "application/json", body: edited(change, read.lease) };
    }
  }

  async function create(instance: string, now: string, timeoutMs: number, urgent: boolean): Promise<Written> {
    const endMs = clock.now() + timeoutMs;
    const request: ApiRequest = {
      method: "POST",
      path: collection,
      contentType: "application/json",
      body: {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name, namespace, annotations: { [INSTANCE]: instance } },
        spec: {
          holderIdentity: node,
          leaseDurationSeconds,
          acquireTime: now,
          renewTime: now,
          leaseTransitions: 0,
        },
      },
    };
    const isOurs = (record: LeaseRecord): boolean =>
      record.holder === node && record.renewTime === now && !markedOtherwise(record, instance);
    const outcome = await api.call(request, timeoutMs, urgent);
    // There is nothing to be found yet: the API does not serve this namespace, or this resource.
    const done = isAnswer(outcome, 404) ? undefined : written(outcome, isOurs);
    if (done !== undefined) return done;
    if (!isAnswer(outcome, 409) && !outcome.uncertain) return failed(outcome, false);
    if (endMs - clock.now() <= 0) return failed(outcome, outcome.uncertain);
    const read = await fetchLease(endMs - clock.now(), urgent);
    // "It exists already", and it does not: no other node has written it, so this is a refusal.
    if (read.kind === "absent") return failed(outcome, outcome.uncertain);
    if (read.kind !== "ok") return undecided(outcome, read, outcome.uncertain);
    if (isOurs(read.record)) return { kind: "ok", record: read.record };
    return { kind: "conflict", record: outcome.uncertain ? read.record : notWritten(now, read.record) };
  }

  async function annotate(candidate: Candidate, timeoutMs: number, urgent: boolean): Promise<Written> {
    const endMs = clock.now() + timeoutMs;
    const key = `${CANDIDATE_PREFIX}${candidate.node}`;
    const annotations = { [key]: formatCandidate(candidate) };
    const request: ApiRequest = {
      method: "PATCH",
      path,
      contentType: "application/merge-patch+json",
      body: { metadata: { annotations } },
    };
    for (let attempt = 1; ; attempt++) {
      const outcome = await api.call(request, endMs - clock.now(), urgent);
      const done = written(outcome, (record) => record.annotations[key] === annotations[key]);
      if (done !== undefined) return done;
      // The server itself retries a patch that conflicts with another write. It answers 409 only after
      // several conflicts in a row.
      const again = isAnswer(outcome, 409) && attempt < MAX_ATTEMPTS && endMs - clock.now() > 0;
      if (!again) return failed(outcome, outcome.uncertain);
    }
  }

  async function read(timeoutMs: number): Promise<ReadOutcome> {
    const fetched = await fetchLease(timeoutMs);
    if (fetched.kind === "no-answer") return fetched;
    if (fetched.kind === "rejected") return refused("read", fetched);
    refusals.taken("read");
    return { kind: "ok", record: fetched.kind === "absent" ? null : fetched.record };
  }

  function refused(
    request: LeaseRequest,
    { status, message, from }: Rejected,
  ): { kind: "rejected"; status: number; message: string } {
    refusals.refused({ request, status, message, ...from });
    return { kind: "rejected", status, message };
  }

  function send(write: LeaseWrite, timeoutMs: number, urgent: boolean): Promise<Written> {
    if (write.kind === "candidate") return annotate(write.candidate, timeoutMs, urgent);
    if (write.kind === "claim") {
      const { replaces, offered, instance } = write;
      ownInstance = instance;
      const now = newRenewTime(replaces?.renewTime ?? null);
      if (replaces === null) return create(instance, now, timeoutMs, urgent);
      return writeChange(
        leaseChange({ kind: "claim", replaces, offered, instance }, { node, leaseDurationSeconds, now }),
        timeoutMs,
        urgent,
      );
    }
    const now = newRenewTime(write.held.renewTime);
    return writeChange(leaseChange(write, { node, leaseDurationSeconds, now }), timeoutMs, urgent);
  }

  async function survey(timeoutMs: number): Promise<Survey> {
    const { servers, answers } = await api.survey(path, timeoutMs);
    return {
      servers,
      records: answers
        .flatMap(({ status, body }) => (status === 200 ? (parseLease(body) ?? []) : []))
        .map((record) => marked(record)),
    };
  }

  return {
    read,
    survey,

    async write(write, timeoutMs, urgent = false) {
      const outcome = await send(write, timeoutMs, urgent);
      if (outcome.kind === "rejected") return refused(write.kind, outcome);
      // A conflict was found by a read, which does not show whether the API accepts a write.
      if (outcome.kind === "ok") refusals.taken(write.kind);
      if (outcome.kind === "no-answer" || outcome.record === null) return outcome;
      return { ...outcome, record: marked(outcome.record) };
    },

    lastRefusal: () => refusals.last(),

    watch(onRecord) {
      return watchLease({ ...deps, collection, readLease: read, refusals }, (record) =>
        onRecord(record === null ? null : marked(record)),
      );
    },
  };
}

/**
 * Returns the outcome if the answer alone decides it: the Lease as written, or that there is no Lease. A
 * success whose Lease is not what this node has sent was changed on its way, and gives this node nothing.
 */
function written(
  outcome: CallOutcome,
  isApplied: (record: LeaseRecord) => boolean,
): Extract<Written, { kind: "ok" | "conflict" | "rejected" }> | undefined {
  if (outcome.kind !== "answer") return undefined;
  const { status, body } = outcome.response;
  if (status === 200 || status === 201) {
    const record = parseLease(body);
    if (record === undefined) return undefined;
    return isApplied(record) ? { kind: "ok", record } : { ...rejected(outcome.response), message: CHANGED };
  }
  if (status === 404 && isNotFound(body)) return { kind: "conflict", record: null };
  return undefined;
}

/** Tells whether only a read can show what has become of the write. */
function isDoubtful(outcome: CallOutcome, mayBeApplied: boolean): boolean {
  return mayBeApplied || isAnswer(outcome, 200, 201, 409, 422);
}

function isAnswer(outcome: CallOutcome, ...statuses: readonly number[]): boolean {
  return outcome.kind === "answer" && statuses.includes(outcome.response.status);
}

function failed(outcome: CallOutcome, ambiguous: boolean): Written {
  if (outcome.kind === "no-answer") return { kind: "no-answer", ambiguous, message: outcome.message };
  // A success that we could not parse, or a 5xx of a server that may still carry the write out, is not a
  // refusal.
  if (outcome.response.status < 300)
    return { kind: "no-answer", ambiguous: true, message: "the answer is no Lease" };
  return rejected(outcome.response);
}

function rejected({ status, body, server, user }: ApiResponse): Rejected {
  return {
    kind: "rejected",
    status,
    message: statusMessage(body),
    from: user === undefined ? { server } : { server, user },
  };
}

/** Returns the outcome if neither the answer to the write nor the read after it decides. */
function undecided(
  outcome: CallOutcome,
  read: Exclude<Fetched, { kind: "ok" | "absent" }>,
  mayBeApplied: boolean,
): Written {
  if (isAnswer(outcome, 409, 422) && !mayBeApplied && read.kind === "rejected") return read;
  if (isAnswer(outcome, 409, 422)) {
    return { kind: "no-answer", ambiguous: mayBeApplied, message: `conflict, then ${read.message}` };
  }
  return failed(outcome, mayBeApplied);
}

/** Tells whether this 404 comes from the API itself. Another program on that port may answer 404 as well. */
function isNotFound(body: unknown): boolean {
  return isObject(body) && body["kind"] === "Status" && (body["reason"] ?? "NotFound") === "NotFound";
}
