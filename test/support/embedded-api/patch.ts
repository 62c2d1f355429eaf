/**
 * JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) as kube-apiserver applies them, which is more lenient
 * than the RFC in places: `test` for null passes on an absent member, `replace` of an absent member adds it.
 */
import type { Json, JsonObject } from "./status.ts";
import { isObject, sameJson, textOf } from "./status.ts";

/** An operation that cannot be applied; the server does not say which. */
export class PatchFailed extends Error {}

type Container = Map<string, Json> | Json[];

/** @throws PatchFailed when an operation, a `test` among them, fails: nothing of the patch counts then */
export function applyJsonPatch(document: JsonObject, operations: readonly Json[]): JsonObject {
  return operations.reduce<JsonObject>((current, operation) => {
    if (!isObject(operation)) throw new PatchFailed("an operation is an object");
    return applyOne(current, operation);
  }, document);
}

function applyOne(document: JsonObject, operation: JsonObject): JsonObject {
  const path = segments(operation["path"]);
  const value = operation["value"] ?? null;
  switch (textOf(operation["op"])) {
    case "add":
      return change(document, path, (container, key) => insert(container, key, value));
    case "replace":
      return change(document, path, (container, key) => {
        if (Array.isArray(container)) container[index(container, key)] = value;
        else container.set(key, value);
      });
    case "remove":
      return change(document, path, remove);
    case "test":
      if (!sameJson(lookup(document, path) ?? null, value)) throw new PatchFailed("test failed");
      return document;
    case "move": {
      const from = segments(operation["from"]);
      const moved = lookup(document, from);
      if (moved === undefined) throw new PatchFailed("nothing to move");
      return change(change(document, from, remove), path, (container, key) => insert(container, key, moved));
    }
    case "copy": {
      const copied = lookup(document, segments(operation["from"])) ?? null;
      return change(document, path, (container, key) => insert(container, key, copied));
    }
    default:
      throw new PatchFailed("unknown operation");
  }
}

/** RFC 6901. The whole document ("") cannot be addressed here. */
function segments(pointer: Json | undefined): readonly string[] {
  if (typeof pointer !== "string" || !pointer.startsWith("/")) throw new PatchFailed("no JSON pointer");
  return pointer
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** The value at `path`; undefined where the last member is absent. @throws PatchFailed when a parent is */
function lookup(document: Json, path: readonly string[]): Json | undefined {
  const [key = "", ...rest] = path;
  if (Array.isArray(document)) {
    const items: readonly Json[] = document;
    const item = items[index(items, key)];
    return rest.length === 0 || item === undefined ? item : lookup(item, rest);
  }
  if (!isObject(document)) throw new PatchFailed("parent is missing");
  const member = Object.hasOwn(document, key) ? document[key] : undefined;
  return rest.length === 0 ? member : lookup(member ?? null, rest);
}

/** A copy of `document` in which `edit` has changed the container of the last segment. */
function change(
  document: JsonObject,
  path: readonly string[],
  edit: (container: Container, key: string) => void,
): JsonObject {
  const changed = changeAny(document, path, edit);
  if (!isObject(changed)) throw new PatchFailed("unreachable: an object stays one");
  return changed;
}

function changeAny(
  value: Json | undefined,
  path: readonly string[],
  edit: (container: Container, key: string) => void,
): Json {
  const [key = "", ...rest] = path;
  if (Array.isArray(value)) {
    const items: Json[] = [...value];
    if (rest.length === 0) edit(items, key);
    else {
      const at = index(items, key);
      items[at] = changeAny(items[at], rest, edit);
    }
    return items;
  }
  if (!isObject(value)) throw new PatchFailed("parent is missing");
  // A Map, since a member may be called __proto__.
  const members = new Map(Object.entries(value));
  if (rest.length === 0) edit(members, key);
  else members.set(key, changeAny(members.get(key), rest, edit));
  return Object.fromEntries(members);
}

function insert(container: Container, key: string, value: Json): void {
  if (!Array.isArray(container)) container.set(key, value);
  else if (key === "-") container.push(value);
  else
    container.splice(key === String(container.length) ? container.length : index(container, key), 0, value);
}

function remove(container: Container, key: string): void {
  if (Array.isArray(container)) container.splice(index(container, key), 1);
  else if (!container.delete(key)) throw new PatchFailed("nothing to remove");
}

function index(items: readonly Json[], key: string): number {
  const at = /^(0|[1-9]\d*)$/.test(key) ? Number(key) : Number.NaN;
  if (!(at < items.length)) throw new PatchFailed("no such element");
  return at;
}

/** RFC 7386: null removes, objects merge, everything else replaces. */
export function applyMergePatch(document: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const members = new Map(isObject(document) ? Object.entries(document) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name);
    else members.set(name, applyMergePatch(members.get(name), value));
  }
  return Object.fromEntries(members);
}
