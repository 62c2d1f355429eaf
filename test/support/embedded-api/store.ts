/**
 * The part of the Kubernetes API that Leasehold uses, as a pure state machine: one request in, one answer
 * out; watches are callbacks. No I/O, no clock: the same calls give the same answers, so a simulation can
 * stand on it. `test/contract` proves that it agrees with kube-apiserver.
 */
import { applyJsonPatch, applyMergePatch, PatchFailed } from "./patch.ts";
import type { ResourceType } from "./resources.ts";
import {
  DecodeFailed,
  decodeMetadata,
  ENDPOINT_SLICES,
  EVENTS,
  LEASES,
  validateMetadata,
} from "./resources.ts";
import type { Route } from "./route.ts";
import { parseRoute } from "./route.ts";
import type { Json, JsonObject, StoreResponse } from "./status.ts";
import {
  alreadyExists,
  badRequest,
  conflict,
  details,
  failure,
  invalid,
  isObject,
  notFound,
  patchRejected,
  qualified,
  sameJson,
  textOf,
} from "./status.ts";

export interface StoreRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly contentType?: string | undefined;
  /** The body as text; parsed here, since what is not JSON has an answer of its own. */
  readonly body?: string | undefined;
}

export interface StoreDeps {
  /** For creationTimestamp. */
  readonly wall: () => Date;
  /** A new unique id each time, at least five characters. */
  readonly uid: () => string;
}

export type WatchEventType = "ADDED" | "MODIFIED" | "DELETED" | "ERROR";

export interface WatchEvent {
  readonly type: WatchEventType;
  readonly object: Json;
}

export type WatchOpened =
  /** `replay` came before this call returned; `onEvent` gets what follows until `close()`. */
  | { readonly kind: "open"; readonly replay: readonly WatchEvent[]; close(): void }
  /** `replay` is all there is: the stream ends after it (410 as an ERROR event). */
  | { readonly kind: "over"; readonly replay: readonly WatchEvent[] }
  | { readonly kind: "refused"; readonly response: StoreResponse };

interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  readonly resource: ResourceType;
  readonly object: JsonObject;
}

interface Watcher {
  readonly route: Route;
  readonly since: number;
  readonly onEvent: (event: WatchEvent) => void;
}

const RESOURCES: readonly ResourceType[] = [LEASES, ENDPOINT_SLICES, EVENTS];
const NAMESPACES: ReadonlySet<string> = new Set(["default", "kube-system", "kube-public", "kube-node-lease"]);
/** How many changes a watch can go back; older ones are 410. */
const HISTORY = 1000;
/** Paths whose meaning is kept: clients ask for the same few again and again. */
const ROUTES = 100;

/** Changes an object that is about to be written, as a mutating admission webhook does. */
export type Mutate = (object: JsonObject) => JsonObject;

export class ObjectStore {
  readonly #deps: StoreDeps;
  #mutate: Mutate = (object) => object;
  /** By plural, namespace and name. */
  readonly #objects = new Map<string, { readonly resource: ResourceType; readonly object: JsonObject }>();
  readonly #watchers = new Set<Watcher>();
  readonly #routes = new Map<string, Route | undefined>();
  #history: Change[] = [];
  #version = 1;
  /** Changes up to this version are forgotten. */
  #compacted = 0;

  constructor(deps: StoreDeps) {
    this.#deps = deps;
  }

  handle(request: StoreRequest, mutate: Mutate = (object) => object): StoreResponse {
    this.#mutate = mutate;
    const route = this.#route(request.path);
    if (route === undefined)
      return failure(404, "the server could not find the requested resource", "NotFound", {});
    switch (`${request.method} ${route.name === undefined ? "collection" : "object"}`) {
      case "GET collection":
        return this.#list(route);
      case "GET object":
        return this.#get(route, route.name ?? "");
      case "POST collection":
        return this.#decoding(request, (body) => this.#create(route, body));
      case "PUT object":
        return this.#decoding(request, (body) => this.#update(route, route.name ?? "", body));
      case "PATCH object":
        return this.#patch(route, route.name ?? "", request);
      case "DELETE object":
        return this.#delete(route, route.name ?? "");
      default:
        return failure(
          405,
          "the server does not allow this method on the requested resource",
          "MethodNotAllowed",
          {},
        );
    }
  }

  /** `GET collection?watch=true`, as {@link StoreRequest.path}. */
  watch(path: string, onEvent: (event: WatchEvent) => void): WatchOpened {
    const route = parseRoute(path, RESOURCES);
    if (route === undefined) {
      return {
        kind: "refused",
        response: failure(404, "the server could not find the requested resource", "NotFound", {}),
      };
    }
    if (route.refusal !== undefined) return { kind: "refused", response: route.refusal };
    const since = route.resourceVersion ?? 0;
    let replay: readonly WatchEvent[];
    if (since === 0) {
      replay = this.#matching(route).map((object) => ({ type: "ADDED", object }));
    } else if (since < this.#compacted) {
      const message = `too old resource version: ${since} (${this.#compacted})`;
      return { kind: "over", replay: [{ type: "ERROR", object: failure(410, message, "Expired").body }] };
    } else {
      replay = this.#history
        .filter((change) => change.version > since && matches(route, change))
        .map(eventOf);
    }
    const watcher: Watcher = { route, since, onEvent };
    this.#watchers.add(watcher);
    return { kind: "open", replay, close: () => this.#watchers.delete(watcher) };
  }

  /**
   * Forgets the history: a watch from any earlier resourceVersion gets 410, as after etcd's compaction or a
   * restart.
   */
  compact(): void {
    this.#history = [];
    this.#compacted = this.#version;
  }

  #list(route: Route): StoreResponse {
    if (route.refusal !== undefined) return route.refusal;
    const tooNew = this.#tooNew(route);
    if (tooNew !== undefined) return tooNew;
    const { group, version, kind } = route.resource;
    const items = this.#matching(route).map(({ apiVersion: _version, kind: _kind, ...item }) => item);
    const metadata = { resourceVersion: String(this.#version) };
    return { status: 200, body: { kind: `${kind}List`, apiVersion: `${group}/${version}`, metadata, items } };
  }

  #get(route: Route, name: string): StoreResponse {
    if (route.refusal !== undefined) return route.refusal;
    const tooNew = this.#tooNew(route);
    if (tooNew !== undefined) return tooNew;
    const found = this.#find(route, name);
    return found === undefined ? notFound(route.resource, name) : { status: 200, body: found };
  }

  #route(path: string): Route | undefined {
    const known = this.#routes.get(path);
    if (known !== undefined) return known;
    const route = parseRoute(path, RESOURCES);
    if (this.#routes.size >= ROUTES) this.#routes.clear();
    this.#routes.set(path, route);
    return route;
  }

  #tooNew({ resourceVersion }: Route): StoreResponse | undefined {
    if (resourceVersion === undefined || resourceVersion <= this.#version) return undefined;
    const message = `Timeout: Too large resource version: ${resourceVersion}, current: ${this.#version}`;
    const causes = [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }];
    return failure(504, message, "Timeout", { causes, retryAfterSeconds: 1 });
  }

  /** Parses the body of a POST or PUT and answers what does not decode. */
  #decoding({ body = "" }: StoreRequest, proceed: (body: JsonObject) => StoreResponse): StoreResponse {
    try {
      const parsed = parseJson(body);
      if (!isObject(parsed)) throw new DecodeFailed("the object provided is unrecognized");
      return proceed(parsed);
    } catch (error) {
      if (error instanceof DecodeFailed) return badRequest(error.message);
      throw error;
    }
  }

  #create(route: Route, body: JsonObject): StoreResponse {
    const { resource, namespace } = route;
    const { metadata, content } = decode(resource, this.#mutate(body));
    if (metadata["namespace"] !== undefined && metadata["namespace"] !== namespace) {
      return badRequest(
        "the namespace of the provided object does not match the namespace sent on the request",
      );
    }
    if (!NAMESPACES.has(namespace)) {
      return failure(404, `namespaces "${namespace}" not found`, "NotFound", {
        name: namespace,
        kind: "namespaces",
      });
    }
    const { generateName } = metadata;
    const prefix =
      typeof generateName === "string" ? { name: `${generateName}${this.#deps.uid().slice(0, 5)}` } : {};
    const named = { ...prefix, ...metadata, namespace };
    const refusal = validate(resource, named, content);
    if (refusal !== undefined) return refusal;
    const name = textOf(named["name"]);
    if (this.#find(route, name) !== undefined) return alreadyExists(resource, name);
    if (metadata["resourceVersion"] !== undefined) {
      return failure(500, "resourceVersion should not be set on objects to be created");
    }
    const creationTimestamp = this.#deps
      .wall()
      .toISOString()
      .replace(/\.\d+Z$/, "Z");
    const stored = { ...named, uid: this.#deps.uid(), creationTimestamp };
    return { status: 201, body: this.#write("ADDED", resource, stored, content) };
  }

  #update(route: Route, name: string, body: JsonObject): StoreResponse {
    const { resource } = route;
    const { metadata } = decode(resource, body);
    const mismatch = nameMismatch(metadata, name);
    if (mismatch !== undefined) return mismatch;
    const current = this.#find(route, name);
    if (metadata["resourceVersion"] === undefined && metadata["uid"] === undefined) {
      const cause = {
        reason: "FieldValueInvalid",
        field: "metadata.resourceVersion",
        message: "Invalid value: 0: must be specified for an update",
      } as const;
      return invalid(qualified(resource), name, [cause], details(resource, name));
    }
    // A Lease may be created by an update, as its strategy allows, even with a resourceVersion.
    if (current === undefined) {
      return this.#create(route, {
        ...body,
        metadata: { ...metadata, name, resourceVersion: null, uid: null },
      });
    }
    return this.#replace(route, name, current, body);
  }

  #patch(route: Route, name: string, { contentType, body = "" }: StoreRequest): StoreResponse {
    const json = contentType === "application/json-patch+json";
    if (!json && contentType !== "application/merge-patch+json") {
      return failure(415, "415: Unsupported Media Type", "UnsupportedMediaType", {});
    }
    const current = this.#find(route, name);
    if (current === undefined) return notFound(route.resource, name);
    try {
      const patch = parseJson(body);
      if (json ? !Array.isArray(patch) : !isObject(patch)) throw new DecodeFailed("json: cannot unmarshal");
      const patched = Array.isArray(patch) ? applyJsonPatch(current, patch) : applyMergePatch(current, patch);
      if (!isObject(patched)) throw new PatchFailed("unreachable: an object merged with an object is one");
      return this.#replacePatched(route, name, current, patched);
    } catch (error) {
      if (error instanceof PatchFailed) return patchRejected();
      if (error instanceof DecodeFailed) return badRequest(`error decoding patch: ${error.message}`);
      throw error;
    }
  }

  /** What a patch makes of an object is invalid where the same in a PUT is a bad request. */
  #replacePatched(route: Route, name: string, current: JsonObject, patched: JsonObject): StoreResponse {
    try {
      return this.#replace(route, name, current, patched);
    } catch (error) {
      if (!(error instanceof DecodeFailed)) throw error;
      const message = `Invalid value: ${JSON.stringify(JSON.stringify(patched))}: ${error.message}`;
      return invalid("", "", [{ reason: "FieldValueInvalid", field: "patch", message }], {});
    }
  }

  #replace(route: Route, name: string, current: JsonObject, body: JsonObject): StoreResponse {
    const { resource } = route;
    const { metadata, content } = decode(resource, this.#mutate(body));
    const old = isObject(current["metadata"]) ? current["metadata"] : {};
    const mismatch = nameMismatch(metadata, name);
    if (mismatch !== undefined) return mismatch;
    const { resourceVersion, uid = old["uid"] ?? "" } = metadata;
    if (typeof resourceVersion === "string" && !/^\d+$/.test(resourceVersion)) {
      return failure(500, `strconv.ParseUint: parsing ${JSON.stringify(resourceVersion)}: invalid syntax`);
    }
    if (resourceVersion !== undefined && resourceVersion !== old["resourceVersion"])
      return conflict(resource, name);
    if (uid !== old["uid"]) {
      if (resourceVersion === undefined)
        return conflict(resource, name, "Precondition failed: UID in precondition");
      const cause = {
        reason: "FieldValueInvalid",
        field: "metadata.uid",
        message: `Invalid value: ${JSON.stringify(uid)}: field is immutable`,
      } as const;
      return invalid(`${resource.kind}.${resource.group}`, name, [cause], {
        name,
        group: resource.group,
        kind: resource.kind,
      });
    }
    const kept = { ...metadata, name, namespace: route.namespace };
    const refusal = validate(resource, kept, content);
    if (refusal !== undefined) return refusal;
    const stored = { ...kept, uid, creationTimestamp: old["creationTimestamp"] ?? null };
    const same = {
      ...head(resource),
      metadata: { ...stored, resourceVersion: old["resourceVersion"] ?? "" },
      ...content,
    };
    // A write that changes nothing is none: same resourceVersion, no watch event.
    if (sameJson(same, current)) return { status: 200, body: current };
    return { status: 200, body: this.#write("MODIFIED", resource, stored, content) };
  }

  #delete(route: Route, name: string): StoreResponse {
    const { resource } = route;
    const current = this.#find(route, name);
    if (current === undefined) return notFound(resource, name);
    const metadata = isObject(current["metadata"]) ? current["metadata"] : {};
    const uid = metadata["uid"] ?? "";
    this.#write("DELETED", resource, metadata, decode(resource, current).content);
    return {
      status: 200,
      body: {
        kind: "Status",
        apiVersion: "v1",
        metadata: {},
        status: "Success",
        details: { ...details(resource, name), uid },
      },
    };
  }

  #write(
    type: Change["type"],
    resource: ResourceType,
    metadata: JsonObject,
    content: JsonObject,
  ): JsonObject {
    const version = ++this.#version;
    const object = {
      ...head(resource),
      metadata: { ...metadata, resourceVersion: String(version) },
      ...content,
    };
    const key = keyOf(resource, textOf(metadata["namespace"]), textOf(metadata["name"]));
    if (type === "DELETED") this.#objects.delete(key);
    else this.#objects.set(key, { resource, object });
    const change: Change = { type, version, resource, object };
    this.#history.push(change);
    if (this.#history.length > HISTORY) this.#compacted = this.#history.shift()?.version ?? this.#compacted;
    for (const watcher of this.#watchers) {
      if (version > watcher.since && matches(watcher.route, change)) watcher.onEvent(eventOf(change));
    }
    return object;
  }

  #find(route: Route, name: string): JsonObject | undefined {
    return this.#objects.get(keyOf(route.resource, route.namespace, name))?.object;
  }

  #matching(route: Route): readonly JsonObject[] {
    return [...this.#objects.values()].filter((entry) => matches(route, entry)).map(({ object }) => object);
  }
}

function keyOf(resource: ResourceType, namespace: string, name: string): string {
  return `${resource.plural}/${namespace}/${name}`;
}

function head({ group, version, kind }: ResourceType): {
  readonly kind: string;
  readonly apiVersion: string;
} {
  return { kind, apiVersion: `${group}/${version}` };
}

function eventOf({ type, object }: Change): WatchEvent {
  return { type, object };
}

function matches(
  route: Route,
  { resource, object }: { readonly resource: ResourceType; readonly object: JsonObject },
): boolean {
  const metadata = isObject(object["metadata"]) ? object["metadata"] : {};
  if (resource !== route.resource || metadata["namespace"] !== route.namespace) return false;
  const labels = isObject(metadata["labels"]) ? metadata["labels"] : {};
  return (
    route.fields.every(([field, value]) => metadata[field] === value) &&
    route.labels.every(([key, value]) => labels[key] === value)
  );
}

function nameMismatch(metadata: JsonObject, name: string): StoreResponse | undefined {
  const given = metadata["name"];
  if (given === undefined) return badRequest("name must be provided");
  if (given === name) return undefined;
  return badRequest(`the name of the object (${textOf(given)}) does not match the name on the URL (${name})`);
}

function decode(
  resource: ResourceType,
  body: JsonObject,
): { readonly metadata: JsonObject; readonly content: JsonObject } {
  const { apiVersion, kind } = body;
  // Absent, null and "" are the kind that the path names.
  if ((kind ?? "") !== "" && kind !== resource.kind) {
    throw new DecodeFailed(
      `${textOf(kind)} in version "${textOf(apiVersion)}" cannot be handled as a ${resource.kind}`,
    );
  }
  return { metadata: decodeMetadata(body["metadata"]), content: resource.decode(body) };
}

function validate(
  resource: ResourceType,
  metadata: JsonObject,
  content: JsonObject,
): StoreResponse | undefined {
  const causes = [...validateMetadata(metadata), ...resource.validate(content)];
  if (causes.length === 0) return undefined;
  const name = typeof metadata["name"] === "string" ? metadata["name"] : "";
  const about = { ...(name === "" ? {} : { name }), group: resource.group, kind: resource.kind };
  return invalid(`${resource.kind}.${resource.group}`, name, causes, about);
}

function parseJson(text: string): Json {
  try {
    const parsed: Json = JSON.parse(text);
    return parsed;
  } catch (error) {
    throw new DecodeFailed(error instanceof Error ? error.message : "not JSON");
  }
}
