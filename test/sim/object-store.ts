/**
 * What kube-apiserver does with requests for one kind of object, as measured on 1.36: resourceVersion conflicts, JSON Patch (RFC 6902) whose
 * failing `test` or missing parent is a 422, merge patch (RFC 7396). Pure and synchronous.
 */
import type { ApiRequest } from "../../src/kube/transport.ts";
import { isObject } from "../../src/kube/record-codec.ts";

type Json = Record<string, unknown>;
export interface StoreResponse {
  readonly status: number;
  readonly body: unknown;
}

export class ObjectStore {
  readonly #objects = new Map<string, Json>();
  #version = 100;
  #uids = 0;

  get version(): number {
    return this.#version;
  }

  clone(): ObjectStore {
    const copy = new ObjectStore();
    copy.#version = this.#version;
    copy.#uids = this.#uids;
    for (const [path, object] of this.#objects) copy.#objects.set(path, structuredClone(object));
    return copy;
  }

  get(path: string): unknown {
    return this.#objects.get(path);
  }

  remove(path: string): void {
    if (this.#objects.delete(path)) this.#version += 1;
  }

  handle(request: ApiRequest): StoreResponse {
    const path = request.path.split("?")[0] ?? "";
    const present = this.#objects.get(path);
    switch (request.method) {
      case "GET":
        return present === undefined ? failure(404, "NotFound") : { status: 200, body: present };
      case "POST":
        return this.#create(path, request.body);
      case "PUT":
        return present === undefined ? failure(404, "NotFound") : this.#update(path, present, request.body);
      case "PATCH":
        return present === undefined ? failure(404, "NotFound") : this.#patch(path, present, request);
    }
  }

  #create(collection: string, body: unknown): StoreResponse {
    if (!isObject(body) || !isObject(body["metadata"]) || typeof body["metadata"]["name"] !== "string") return failure(400, "BadRequest");
    const path = `${collection}/${body["metadata"]["name"]}`;
    if (this.#objects.has(path)) return failure(409, "AlreadyExists");
    this.#uids += 1;
    const uid = `uid-${this.#uids}`;
    return { status: 201, body: this.#save(path, { ...structuredClone(body), metadata: { ...structuredClone(body["metadata"]), uid } }) };
  }

  #update(path: string, present: Json, body: unknown): StoreResponse {
    if (!isObject(body) || !isObject(body["metadata"])) return failure(400, "BadRequest");
    const version = body["metadata"]["resourceVersion"];
    if (version !== undefined && version !== "" && version !== versionOf(present)) return failure(409, "Conflict");
    return { status: 200, body: this.#save(path, structuredClone(body)) };
  }

  #patch(path: string, present: Json, request: ApiRequest): StoreResponse {
    const draft = copy(present, 3);
    if (request.contentType === "application/merge-patch+json") {
      const merged = mergePatch(draft, request.body);
      return isObject(merged) ? { status: 200, body: this.#save(path, merged) } : failure(400, "BadRequest");
    }
    if (request.contentType !== "application/json-patch+json" || !Array.isArray(request.body)) return failure(415, "UnsupportedMediaType");
    for (const operation of request.body) {
      if (!isObject(operation) || !applyOperation(draft, operation)) return failure(422, "Invalid");
    }
    return { status: 200, body: this.#save(path, draft) };
  }

  #save(path: string, object: Json): Json {
    const present = this.#objects.get(path);
    const metadata: Json = isObject(object["metadata"]) ? { ...object["metadata"] } : {};
    // metav1.ObjectMeta: an empty map is not stored.
    if (isObject(metadata["annotations"]) && Object.keys(metadata["annotations"]).length === 0) delete metadata["annotations"];
    metadata["resourceVersion"] = present === undefined ? "" : versionOf(present);
    const next: Json = { ...object, metadata };
    // A write that changes nothing is not written.
    if (present !== undefined && JSON.stringify(next) === JSON.stringify(present)) return present;
    this.#version += 1;
    metadata["resourceVersion"] = String(this.#version);
    this.#objects.set(path, next);
    return next;
  }
}

/** Stored objects are shared with whoever has read them, and never changed. */
function copy(object: Readonly<Json>, depth: number): Json {
  const result: Json = { ...object };
  if (depth === 1) return result;
  for (const [key, value] of Object.entries(result)) if (isObject(value)) result[key] = copy(value, depth - 1);
  return result;
}

function versionOf(object: Json): unknown {
  return isObject(object["metadata"]) ? object["metadata"]["resourceVersion"] : undefined;
}

function failure(code: number, reason: string): StoreResponse {
  return { status: code, body: { kind: "Status", apiVersion: "v1", status: "Failure", reason, code, message: reason } };
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Json = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** Only what operates on object members: the Lease has no arrays that anybody patches. */
function applyOperation(document: Json, operation: Readonly<Json>): boolean {
  const { op, path, value } = operation;
  if (typeof path !== "string") return false;
  const keys = path.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = keys.pop();
  let parent: unknown = document;
  for (const key of keys) parent = isObject(parent) ? parent[key] : undefined;
  // evanphx/json-patch: a `test` for null passes where the path, or its parent, is absent.
  if (!isRecord(parent) || last === undefined) return op === "test" && value === null;
  switch (op) {
    case "test":
      return JSON.stringify(parent[last] ?? null) === JSON.stringify(value);
    case "add":
      parent[last] = value;
      return true;
    case "remove":
      if (!(last in parent)) return false;
      delete parent[last];
      return true;
    default:
      return false;
  }
}

function isRecord(value: unknown): value is Json {
  return isObject(value);
}
