/**
 * The one Lease in etcd, with its history for watches. What a request does to it is decided by the embedded
 * API's store, which `test/contract` holds against kube-apiserver; this file keeps what came before and
 * after, for watches, people and invariants.
 */
import { parseLease } from "../../src/kube/record-codec.ts";
import type { LeaseRecord } from "../../src/kube/record.ts";
import type { ApiRequest } from "../../src/kube/transport.ts";
import { isObject } from "../support/embedded-api/status.ts";
import { ObjectStore } from "../support/embedded-api/store.ts";

export const COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
export const LEASE_PATH = `${COLLECTION}/leasehold`;

export interface Change {
  readonly before: LeaseRecord | null;
  readonly after: LeaseRecord | null;
  readonly changed: boolean;
}

interface HistoryEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: unknown;
  readonly version: number;
}

interface TableRequest {
  readonly method: ApiRequest["method"] | "DELETE";
  readonly path: string;
  readonly contentType?: ApiRequest["contentType"];
  readonly body?: unknown;
  /** An admission webhook puts this name into `spec.holderIdentity`. */
  readonly holder?: string;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export class LeaseTable {
  #store = this.#newStore();
  /** Every write so far: a backup is a number of them. */
  #log: TableRequest[] = [];
  #uids = 0;
  #history: HistoryEvent[] = [];
  #compactedTo = 0;
  #backup: number | undefined;
  #object: unknown;
  #record: LeaseRecord | null = null;
  /** To whoever reads it; of one version they all get the same. */
  #answer: Answer | undefined;

  get record(): LeaseRecord | null {
    return this.#record;
  }

  /** The answer to whoever reads the Lease. */
  get current(): Answer {
    return this.handle({ method: "GET", path: LEASE_PATH }).response;
  }

  get historyEnd(): number {
    return this.#history.length;
  }

  handle(request: TableRequest): { readonly response: Answer; readonly change: Change } {
    const before = this.#record;
    if (request.method === "GET") {
      const known = request.path === LEASE_PATH ? this.#answer : undefined;
      const response = known ?? this.#store.handle({ method: "GET", path: request.path });
      return { response, change: { before, after: before, changed: false } };
    }
    this.#log.push(request);
    const response = this.#write(request);
    return { response, change: this.#note(before) };
  }

  eventsFrom(index: number): readonly HistoryEvent[] {
    return this.#history.slice(index);
  }

  /** Where in the history a watch from `resourceVersion` begins. */
  watchFrom(resourceVersion: string | null): number | "expired" {
    // Without a version the stream begins with what there is.
    if (resourceVersion === null || resourceVersion === "0") return Math.max(0, this.#history.length - 1);
    const version = Number(resourceVersion);
    if (version < this.#compactedTo) return "expired";
    // Versions only grow, and mostly the last one or two are asked for.
    return this.#history.findLastIndex((event) => event.version <= version) + 1;
  }

  compact(): void {
    this.#compactedTo = this.#version();
  }

  backUp(): void {
    this.#backup = this.#log.length;
  }

  /** etcd restored from the backup: an older Lease, and resourceVersions begin again where they were then. */
  restore(): boolean {
    if (this.#backup === undefined) return false;
    const log = this.#log.slice(0, this.#backup);
    this.#log = log;
    this.#uids = 0;
    this.#store = this.#newStore();
    for (const request of log) this.#write(request);
    this.#history = [];
    this.#look();
    this.#compactedTo = this.#version();
    return true;
  }

  #newStore(): ObjectStore {
    return new ObjectStore({
      wall: () => new Date(Date.UTC(2026, 0, 1)),
      uid: () => `uid-${String((this.#uids += 1)).padStart(6, "0")}`,
    });
  }

  #write(request: TableRequest): Answer {
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    const { method, path, contentType = "application/json", holder } = request;
    if (holder === undefined) return this.#store.handle({ method, path, contentType, body });
    return this.#store.handle({ method, path, contentType, body }, (object) => ({
      ...object,
      spec: { ...(isObject(object["spec"]) ? object["spec"] : {}), holderIdentity: holder },
    }));
  }

  #note(before: LeaseRecord | null): Change {
    const deleted = this.#object;
    this.#look();
    const after = this.#record;
    const changed = before?.resourceVersion !== after?.resourceVersion || before?.uid !== after?.uid;
    if (changed) {
      const type = before === null ? "ADDED" : after === null ? "DELETED" : "MODIFIED";
      this.#history.push({ type, object: this.#object ?? deleted, version: this.#version() });
    }
    return { before, after, changed };
  }

  #look(): void {
    this.#answer = this.#store.handle({ method: "GET", path: LEASE_PATH });
    const { status, body } = this.#answer;
    this.#object = status === 200 ? body : undefined;
    this.#record = status === 200 ? (parseLease(body) ?? null) : null;
  }

  /** The Lease's, or the last one that it had: nothing else is ever written. */
  #version(): number {
    return this.#record === null
      ? (this.#history.at(-1)?.version ?? 0) + 1
      : Number(this.#record.resourceVersion);
  }
}

/** The body of an answer that is no object. */
export function status(code: number, message: string): unknown {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, message };
}
