/**
 * The `Status` bodies of kube-apiserver 1.36, word for word: clients parse the reason, people read the
 * message.
 */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [member: string]: Json };
export type JsonObject = { readonly [member: string]: Json };

/** One API resource, e.g. leases of coordination.k8s.io. */
export interface ResourceName {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
}

export interface StoreResponse {
  readonly status: number;
  readonly body: Json;
}

export interface Cause {
  readonly reason: "FieldValueInvalid" | "FieldValueRequired" | "FieldValueTooLong";
  readonly field: string;
  readonly message: string;
}

export function failure(code: number, message: string, reason?: string, details?: JsonObject): StoreResponse {
  const body = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message };
  const rest = { ...(reason === undefined ? {} : { reason }), ...(details === undefined ? {} : { details }) };
  return { status: code, body: { ...body, ...rest, code } };
}

export function badRequest(message: string): StoreResponse {
  return failure(400, message, "BadRequest");
}

export function notFound(resource: ResourceName, name: string): StoreResponse {
  return failure(404, `${qualified(resource)} "${name}" not found`, "NotFound", details(resource, name));
}

export function alreadyExists(resource: ResourceName, name: string): StoreResponse {
  return failure(
    409,
    `${qualified(resource)} "${name}" already exists`,
    "AlreadyExists",
    details(resource, name),
  );
}

export function conflict(resource: ResourceName, name: string, why?: string): StoreResponse {
  const text =
    why ?? "the object has been modified; please apply your changes to the latest version and try again";
  const message = `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${text}`;
  return failure(409, message, "Conflict", details(resource, name));
}

/**
 * What every JSON Patch gets that cannot be applied, a failed `test` among them: the answer does not tell
 * which.
 */
export function patchRejected(): StoreResponse {
  return failure(422, "the server rejected our request due to an error in our request", "Invalid", {});
}

/** @param kind what is invalid, as the server names it: `Lease.coordination.k8s.io` */
export function invalid(
  kind: string,
  name: string,
  causes: readonly Cause[],
  about: JsonObject,
): StoreResponse {
  const texts = causes.map(({ field, message }) => `${field}: ${message}`);
  const list = texts.length === 1 ? (texts[0] ?? "") : `[${texts.join(", ")}]`;
  const bodies = causes.map(({ reason, field, message }) => ({ reason, message, field }));
  return failure(422, `${kind} "${name}" is invalid: ${list}`, "Invalid", { ...about, causes: bodies });
}

export function details(resource: ResourceName, name: string): JsonObject {
  return { name, ...(resource.group === "" ? {} : { group: resource.group }), kind: resource.plural };
}

/** `leases.coordination.k8s.io`; the core group has no suffix. */
export function qualified(resource: ResourceName): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The same value, whatever the order of an object's members. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (isObject(a)) {
    if (!isObject(b)) return false;
    const names = Object.keys(a);
    return (
      names.length === Object.keys(b).length &&
      names.every((name) => Object.hasOwn(b, name) && sameJson(a[name], b[name]))
    );
  }
  if (!isList(a) || !isList(b) || a.length !== b.length) return false;
  return a.every((item, index) => sameJson(item, b[index]));
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

/** "" for anything that is no text. */
export function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}
