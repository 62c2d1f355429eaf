/**
 * The resources that Leasehold uses, decoded and validated as kube-apiserver does: unknown members are
 * dropped, null is absent, a wrong type is a decoding error, a wrong value a list of causes.
 */
import type { Cause, Json, JsonObject, ResourceName } from "./status.ts";
import { isObject, textOf } from "./status.ts";

/** Go's own words for it differ in detail; clients see the status and the reason. */
export class DecodeFailed extends Error {}

export interface ResourceType extends ResourceName {
  /** Everything but apiVersion, kind and metadata, in canonical form. @throws DecodeFailed */
  readonly decode: (object: JsonObject) => JsonObject;
  readonly validate: (object: JsonObject) => readonly Cause[];
}

export const LEASES: ResourceType = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  decode: (object) => ({ spec: decodeLeaseSpec(object["spec"]) }),
  validate: (object) => (isObject(object["spec"]) ? validateLeaseSpec(object["spec"]) : []),
};

export const ENDPOINT_SLICES: ResourceType = {
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
  kind: "EndpointSlice",
  decode: withoutHead,
  validate: () => [],
};

export const EVENTS: ResourceType = {
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
  kind: "Event",
  decode: (object) => {
    const eventTime = optionalText(object, "eventTime");
    const rest = withoutHead(object);
    return eventTime === undefined ? rest : { ...rest, eventTime: microTime(eventTime) };
  },
  validate: validateEvent,
};

function withoutHead(object: JsonObject): JsonObject {
  const { apiVersion: _version, kind: _kind, metadata: _metadata, ...rest } = object;
  return rest;
}

function optionalText(object: JsonObject, member: string): string | undefined {
  const value = object[member] ?? undefined;
  if (value === undefined || typeof value === "string") return value;
  throw new DecodeFailed(`json: cannot unmarshal ${typeof value} into field ${member} of type string`);
}

function int32(object: JsonObject, member: string): number | undefined {
  const value = object[member] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) < 2 ** 31) return value;
  throw new DecodeFailed(`json: cannot unmarshal ${typeof value} into field ${member} of type int32`);
}

/**
 * Texts that {@link microTime} would give back as they are: each time in a Lease comes back with every write
 * that leaves it alone.
 */
const settled = new Set<string>();
const MOST_SETTLED = 64;

/** Exactly six digits come in, UTC goes out. */
function microTime(text: string): string {
  if (settled.has(text)) return text;
  const [, seconds, fraction, zone] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{6})(Z|[+-]\d\d:\d\d)$/.exec(text) ?? [];
  const time = Date.parse(`${seconds}${zone}`);
  if (Number.isNaN(time))
    throw new DecodeFailed(`parsing time "${text}" as "2006-01-02T15:04:05.000000Z07:00"`);
  const utc = new Date(time).toISOString().replace(".000Z", `${fraction}Z`);
  if (settled.size >= MOST_SETTLED) settled.clear();
  settled.add(utc);
  return utc;
}

function decodeLeaseSpec(spec: Json | undefined): JsonObject {
  if (spec === undefined || spec === null) return {};
  if (!isObject(spec)) throw new DecodeFailed("json: cannot unmarshal into field spec of type LeaseSpec");
  const acquireTime = optionalText(spec, "acquireTime");
  const renewTime = optionalText(spec, "renewTime");
  return present({
    holderIdentity: optionalText(spec, "holderIdentity"),
    leaseDurationSeconds: int32(spec, "leaseDurationSeconds"),
    acquireTime: acquireTime === undefined ? undefined : microTime(acquireTime),
    renewTime: renewTime === undefined ? undefined : microTime(renewTime),
    leaseTransitions: int32(spec, "leaseTransitions"),
  });
}

function validateLeaseSpec(spec: JsonObject): readonly Cause[] {
  const causes: Cause[] = [];
  const { leaseDurationSeconds: duration, leaseTransitions: transitions } = spec;
  const below = (field: string, value: number, limit: string): void => {
    causes.push({
      reason: "FieldValueInvalid",
      field: `spec.${field}`,
      message: `Invalid value: ${value}: must be ${limit}`,
    });
  };
  if (typeof duration === "number" && duration <= 0)
    below("leaseDurationSeconds", duration, "greater than 0");
  if (typeof transitions === "number" && transitions < 0)
    below("leaseTransitions", transitions, "greater than or equal to 0");
  return causes;
}

function validateEvent(object: JsonObject): readonly Cause[] {
  const causes: Cause[] = [];
  const required = (member: string): boolean => typeof object[member] !== "string" || object[member] === "";
  if (required("eventTime"))
    causes.push({ reason: "FieldValueRequired", field: "eventTime", message: "Required value" });
  for (const member of ["reportingController", "reportingInstance", "action", "reason"]) {
    if (required(member))
      causes.push({ reason: "FieldValueRequired", field: member, message: "Required value" });
  }
  if (object["type"] !== "Normal" && object["type"] !== "Warning") {
    const message = `Invalid value: ${JSON.stringify(object["type"] ?? "")}: has invalid value: `;
    causes.push({ reason: "FieldValueInvalid", field: "type", message });
  }
  return causes;
}

/** The part of ObjectMeta that clients may write. @throws DecodeFailed */
export function decodeMetadata(value: Json | undefined): JsonObject {
  const metadata = value ?? {};
  if (!isObject(metadata))
    throw new DecodeFailed("json: cannot unmarshal into field metadata of type ObjectMeta");
  const text = (member: string): string | undefined => {
    const found = optionalText(metadata, member);
    return found === "" ? undefined : found;
  };
  return present({
    name: text("name"),
    generateName: text("generateName"),
    namespace: text("namespace"),
    uid: text("uid"),
    resourceVersion: text("resourceVersion"),
    labels: stringMap(metadata, "labels"),
    annotations: stringMap(metadata, "annotations"),
  });
}

/**
 * An empty map is an absent one: a JSON Patch that removes the last annotation removes the parent of the
 * next.
 */
function stringMap(metadata: JsonObject, member: string): JsonObject | undefined {
  const map = metadata[member] ?? {};
  if (!isObject(map))
    throw new DecodeFailed(`json: cannot unmarshal into field metadata.${member} of type map[string]string`);
  // In Go, null leaves the map's element at its zero value.
  const entries = Object.entries(map).map(([key]) => [key, optionalText(map, key) ?? ""] as const);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED_NAME = /^([a-z0-9.-]{1,253}\/)?(?=.{1,63}$)([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
/** Keys and values together. */
const MAX_ANNOTATIONS_BYTES = 256 * 1024;

export function validateMetadata(metadata: JsonObject): readonly Cause[] {
  const causes: Cause[] = [];
  const name = metadata["name"];
  if (typeof name !== "string") {
    const message = "Required value: name or generateName is required";
    return [{ reason: "FieldValueRequired", field: "metadata.name", message }];
  }
  if (name.length > 253 || !SUBDOMAIN.test(name)) {
    const message = `Invalid value: ${JSON.stringify(name)}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`;
    causes.push({ reason: "FieldValueInvalid", field: "metadata.name", message });
  }
  const annotations = isObject(metadata["annotations"]) ? metadata["annotations"] : {};
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(textOf(value));
    if (QUALIFIED_NAME.test(key)) continue;
    const message = `Invalid value: ${JSON.stringify(key)}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`;
    causes.push({ reason: "FieldValueInvalid", field: "metadata.annotations", message });
  }
  if (bytes > MAX_ANNOTATIONS_BYTES) {
    const message = `Too long: may not be more than ${MAX_ANNOTATIONS_BYTES} bytes`;
    causes.push({ reason: "FieldValueTooLong", field: "metadata.annotations", message });
  }
  return causes;
}

function present(members: Readonly<Record<string, Json | undefined>>): JsonObject {
  const kept: Record<string, Json> = {};
  // The names are those of this file: none is __proto__.
  for (const name in members) {
    const value = members[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}
