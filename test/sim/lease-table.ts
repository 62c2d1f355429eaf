/**
 * The one Lease in etcd, with its history for watches. What a request does to it is decided by the object store
 * below; this file keeps what came before and after, for watches, people and invariants.
 */
import type { LeaseRecord } from "../../src/kube/record.ts";
import { parseLease } from "../../src/kube/record-codec.ts";
import type { ApiRequest } from "../../src/kube/transport.ts";
import { ObjectStore } from "./object-store.ts";

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

export class LeaseTable {
  #store = new ObjectStore();
  readonly #history: HistoryEvent[] = [];
  #compactedTo = 0;
  #snapshot: ObjectStore | undefined;
  #record: LeaseRecord | null = null;

  get record(): LeaseRecord | null {
    return this.#record;
  }

  get historyEnd(): number {
    return this.#history.length;
  }

  handle(request: ApiRequest): { readonly response: { readonly status: number; readonly body: unknown }; readonly change: Change } {
    const before = this.#record;
    const response = this.#store.handle(request);
    if (request.method === "GET") return { response, change: { before, after: before, changed: false } };
    return { response, change: this.#note(before) };
  }

  /** `kubectl delete lease`. */
  remove(): Change {
    const before = this.#record;
    this.#store.remove(LEASE_PATH);
    return this.#note(before);
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
    const index = this.#history.findIndex((event) => event.version > version);
    return index < 0 ? this.#history.length : index;
  }

  compact(): void {
    this.#compactedTo = this.#store.version;
  }

  takeSnapshot(): void {
    this.#snapshot = this.#store.clone();
  }

  /** etcd restored from a backup: an older Lease, and resourceVersions begin again where they were then. */
  restore(): boolean {
    if (this.#snapshot === undefined) return false;
    this.#store = this.#snapshot.clone();
    this.#record = this.#read();
    this.#history.length = 0;
    this.#compactedTo = this.#store.version;
    return true;
  }

  #note(before: LeaseRecord | null): Change {
    const object = this.#store.get(LEASE_PATH);
    this.#record = this.#read();
    const after = this.#record;
    const changed = before?.resourceVersion !== after?.resourceVersion || before?.uid !== after?.uid;
    if (changed) {
      const type = before === null ? "ADDED" : after === null ? "DELETED" : "MODIFIED";
      this.#history.push({ type, object: object ?? this.#history.at(-1)?.object, version: this.#store.version });
    }
    return { before, after, changed };
  }

  #read(): LeaseRecord | null {
    const object = this.#store.get(LEASE_PATH);
    return object === undefined ? null : (parseLease(object) ?? null);
  }
}
