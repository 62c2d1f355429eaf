/**
 * Writes the election's states, events and effects as JSON values, and reads them back as they were. Plain
 * JSON has no infinity, no Map and no bytes, which the machine uses. Pure.
 *
 * An object that stands for something else has one key that begins with "$". So an object of the state whose
 * own first key begins so, which a person may have written as an annotation, is written as a list of its
 * members.
 */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A change: the path to a member, and its new value. */
export type Change = readonly [path: readonly string[], value: Json];

type Members = Readonly<Record<string, unknown>>;

function isMembers(value: unknown): value is Members {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The members that JSON can have: an undefined one is left out, as in JSON. */
const membersOf = (value: Members): [string, unknown][] =>
  Object.entries(value).filter(([, member]) => member !== undefined);

/** @throws {TypeError} for a value that no state, event or effect has, such as a function */
export function toJson(value: unknown): Json {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : { $number: String(value) };
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("hex") };
  if (value instanceof Map) return { $map: [...value].map(([key, member]) => [toJson(key), toJson(member)]) };
  if (!isMembers(value)) throw new TypeError(`a ${typeof value} cannot be recorded`);
  const members = membersOf(value).map(([key, member]): [string, Json] => [key, toJson(member)]);
  return members[0]?.[0].startsWith("$") === true ? { $object: members } : Object.fromEntries(members);
}

/** @throws {TypeError} for what {@link toJson} does not write */
export function fromJson(json: Json): unknown {
  if (json === null || typeof json !== "object") return json;
  if (isList(json)) return json.map(fromJson);
  const [[key, value] = ["", null]] = Object.entries(json);
  switch (key) {
    case "$number":
      if (value === "Infinity") return Number.POSITIVE_INFINITY;
      if (value === "-Infinity") return Number.NEGATIVE_INFINITY;
      if (value === "NaN") return Number.NaN;
      throw new TypeError("a $number is Infinity, -Infinity or NaN");
    case "$bytes":
      if (typeof value !== "string" || !/^(?:[0-9a-f]{2})*$/.test(value))
        throw new TypeError("$bytes are hexadecimal digits");
      return new Uint8Array(Buffer.from(value, "hex"));
    case "$map":
      return new Map(pairs(value).map(([name, member]) => [fromJson(name), fromJson(member)]));
    case "$object":
      return Object.fromEntries(
        pairs(value).map(([name, member]) => {
          if (typeof name !== "string") throw new TypeError("the name of a member is text");
          return [name, fromJson(member)];
        }),
      );
    default:
      if (key.startsWith("$")) throw new TypeError(`${key} means nothing`);
      return Object.fromEntries(Object.entries(json).map(([name, member]) => [name, fromJson(member)]));
  }
}

function pairs(value: Json | undefined): (readonly [Json, Json])[] {
  if (!isList(value)) throw new TypeError("a list of pairs is missing");
  return value.map((pair) => {
    if (!isList(pair)) throw new TypeError("a list of pairs has something else in it");
    const [name, member] = pair;
    if (name === undefined || member === undefined) throw new TypeError("a pair has two members");
    return [name, member];
  });
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

/**
 * Finds what changed between two states. Only plain objects with the same keys are looked into. Anything else
 * that differs is replaced as a whole, so the order of members comes out right too.
 */
export function changesOf(from: unknown, to: unknown, path: readonly string[] = []): readonly Change[] {
  if (Object.is(from, to)) return [];
  if (isMembers(from) && isMembers(to)) {
    const [before, after] = [membersOf(from), membersOf(to)];
    const alike = before.length === after.length && before.every(([key], at) => key === after[at]?.[0]);
    if (alike && before[0]?.[0].startsWith("$") !== true)
      return after.flatMap(([key, member]) => changesOf(from[key], member, [...path, key]));
  }
  return isSameList(from, to) ? [] : [[path, toJson(to)]];
}

/** The machine makes some lists and maps again in each step, with the same members. */
function isSameList(from: unknown, to: unknown): boolean {
  if (Array.isArray(from) && Array.isArray(to))
    return from.length === to.length && from.every((member, at) => Object.is(member, to[at]));
  if (!(from instanceof Map) || !(to instanceof Map) || from.size !== to.size) return false;
  const after = to.entries();
  return [...from].every(([key, member]) => {
    const [name, other] = after.next().value ?? [];
    return Object.is(key, name) && Object.is(member, other);
  });
}

/**
 * Applies changes, and leaves `json` as it is.
 * @throws {TypeError} where a path leads nowhere
 */
export function withChanges(json: Json, changes: readonly Change[]): Json {
  return changes.reduce((state, [path, value]) => replaced(state, path, value), json);
}

function replaced(json: Json, path: readonly string[], value: Json): Json {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (json === null || typeof json !== "object" || isList(json) || !Object.hasOwn(json, key))
    throw new TypeError(`there is no ${key} to change`);
  return Object.fromEntries(
    Object.entries(json).map(([name, member]) => [
      name,
      name === key ? replaced(member, rest, value) : member,
    ]),
  );
}
