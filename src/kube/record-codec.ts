/**
 * Converts Lease JSON and candidate annotations to values and back. Pure, apart from what it remembers of
 * texts. The input was written by another agent, another version of it, or a person with kubectl. So every
 * member is checked, and input that does not fit is ignored as a whole.
 */
import { isMacText } from "../linux/mac.ts";
import { isMachineAddress, parseIp } from "../net.ts";
import { plainText } from "./plain-text.ts";
import { CANDIDATE_PREFIX, INSTANCE } from "./record.ts";
import type { Candidate, FastPathOffer, LeaseRecord, PeerOffer, VrrpState } from "./record.ts";

/** A JSON object whose members are not checked yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Tells whether the value is an object, and neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses the Lease in an API server's answer. undefined if `body` is not a Lease. */
export function parseLease(body: unknown): LeaseRecord | undefined {
  if (!isObject(body) || (body["kind"] !== undefined && body["kind"] !== "Lease")) return undefined;
  const metadata = body["metadata"];
  if (!isObject(metadata)) return undefined;
  const { uid, resourceVersion } = metadata;
  if (typeof uid !== "string" || typeof resourceVersion !== "string" || resourceVersion === "")
    return undefined;
  const spec = isObject(body["spec"]) ? body["spec"] : {};
  return {
    uid,
    resourceVersion,
    holder: text(spec["holderIdentity"]) ?? "",
    leaseDurationMs: positiveSeconds(spec["leaseDurationSeconds"]),
    acquireTime: text(spec["acquireTime"]),
    renewTime: text(spec["renewTime"]),
    leaseTransitions: integer(spec["leaseTransitions"]),
    annotations: stringMap(metadata["annotations"]),
  };
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function integer(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
}

/** The highest value of the API's type `int32`, which a Lease's duration has. */
const MAX_INT32 = 2 ** 31 - 1;

function positiveSeconds(value: unknown): number {
  return typeof value === "number" && value > 0 && value <= MAX_INT32 ? value * 1000 : 0;
}

/** The most annotations of which this file remembers something. */
const MOST_REMEMBERED = 64;

/** Remembers the value, and forgets the oldest one where there are too many. Answers the value. */
function remember<V>(known: Map<string, V>, key: string, value: V): V {
  const [oldest] = known.keys();
  if (oldest !== undefined && known.size >= MOST_REMEMBERED) known.delete(oldest);
  known.set(key, value);
  return value;
}

/** A shorter text is not worth remembering. */
const LONG_TEXT = 64;
const texts = new Map<string, string>();

/**
 * The recorder keeps a thousand records of the Lease, and nearly all of their annotations are equal. So equal
 * texts are one and the same string.
 */
function sameText(value: string): string {
  if (value.length < LONG_TEXT) return value;
  return texts.get(value) ?? remember(texts, value, value);
}

function stringMap(value: unknown): Readonly<Record<string, string>> {
  if (!isObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]): readonly [string, string][] =>
      typeof member === "string" ? [[name, sameText(member)]] : [],
    ),
  );
}

const MAX_CANDIDATE_LENGTH = 2048;
const MAX_FAULTS = 16;
const NODE_NAME = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;
/** Form of check names, instance and version: printable, without surprises in a log or a terminal. */
const WORD = /^[\w.:+-]{1,64}$/;

/** Tells whether the value can be a node's name: a DNS-1123 subdomain of 253 characters at most. */
export function isNodeName(value: unknown): value is string {
  return typeof value === "string" && NODE_NAME.test(value);
}

/** Formats the value of `leasehold.dev/candidate.<node>`. The key holds the node's name. */
export function formatCandidate(candidate: Candidate): string {
  const {
    base,
    effective,
    eligible,
    state,
    faults,
    preempt,
    ip,
    mac,
    fastPath,
    vips,
    peer,
    instance,
    version,
    counter,
  } = candidate;
  return JSON.stringify({
    base,
    effective,
    eligible,
    state,
    faults,
    preempt,
    ip,
    mac,
    fastPath,
    // JSON leaves an undefined member out.
    vips: vips ?? undefined,
    peer,
    instance,
    version,
    counter,
  });
}

const parsed = new Map<string, Candidate>();

/**
 * Parses a candidate's annotation. undefined if any member is missing or out of its range. Unknown members
 * are ignored: a newer agent may have written them.
 *
 * A Lease changes every second, and with each change all candidates are looked at but one has written. So the
 * same text answers the same value again.
 */
export function parseCandidate(node: string, value: string): Candidate | undefined {
  if (!isNodeName(node) || value.length > MAX_CANDIDATE_LENGTH) return undefined;
  const key = `${node} ${value}`;
  const known = parsed.get(key);
  if (known !== undefined) return known;
  const candidate = parseNewCandidate(node, value);
  return candidate === undefined ? undefined : remember(parsed, key, candidate);
}

function parseNewCandidate(node: string, value: string): Candidate | undefined {
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch {
    return undefined;
  }
  if (!isObject(json)) return undefined;
  const { base, effective, eligible, state, faults, preempt, ip, mac, instance, version, counter } = json;
  if (!isPriority(base) || !isPriority(effective)) return undefined;
  if (typeof eligible !== "boolean" || typeof preempt !== "boolean" || !isVrrpState(state)) return undefined;
  if (!Array.isArray(faults) || faults.length > MAX_FAULTS || !faults.every(isWord)) return undefined;
  // Frames are sent to these two, so they have to be one machine's.
  if (!isMachine(ip)) return undefined;
  if (typeof mac !== "string" || !(mac === "" || isMacText(mac))) return undefined;
  if (!isWord(instance) || !isWord(version)) return undefined;
  if (typeof counter !== "number" || !Number.isSafeInteger(counter) || counter < 0) return undefined;
  const fastPath = parseFastPathOffer(json["fastPath"]);
  const vips = parseVips(json["vips"]);
  const peer = parsePeerOffer(json["peer"]);
  return {
    node,
    base,
    effective,
    eligible,
    state,
    faults,
    preempt,
    ip,
    mac,
    fastPath,
    vips,
    ...(peer === undefined ? {} : { peer }),
    instance,
    version,
    counter,
  };
}

/** The names that the candidate annotations have, in the order of the annotations, whatever their values are. */
export function candidateNames(annotations: LeaseRecord["annotations"]): readonly string[] {
  return Object.keys(annotations)
    .filter((key) => key.startsWith(CANDIDATE_PREFIX))
    .map((key) => key.slice(CANDIDATE_PREFIX.length));
}

/** The candidates of a Lease, without those whose annotation does not fit. */
export function candidatesIn({ annotations }: Pick<LeaseRecord, "annotations">): readonly Candidate[] {
  return candidateNames(annotations).flatMap(
    (node) => parseCandidate(node, annotations[`${CANDIDATE_PREFIX}${node}`] ?? "") ?? [],
  );
}

/**
 * Returns the name that an admission webhook, a policy or a person has put into the Lease in place of
 * `writer`, which has claimed it; null where the Lease names the machine that has claimed it, as far as its
 * marks tell.
 */
export function changedHolder(
  record: Pick<LeaseRecord, "annotations" | "holder">,
): { readonly holder: string; readonly writer: string } | null {
  const { annotations, holder } = record;
  const instance = annotations[INSTANCE];
  const candidates = candidatesIn(record);
  const writer = candidates.find((one) => one.instance === instance);
  if (holder === "" || writer === undefined || writer.node === holder) return null;
  // A machine that got another node name has the same instance under both for a while.
  if (candidates.some((one) => one.node === holder && one.instance === instance)) return null;
  return { holder: plainText(holder), writer: writer.node };
}

/**
 * Parses a candidate's fast path offer. Older agents write none, and nothing else of a candidate depends on
 * it. So an offer that does not fit counts as none.
 */
export function parseFastPathOffer(value: unknown): FastPathOffer | null {
  if (!isObject(value)) return null;
  const { version, addresses, stopping } = value;
  if (typeof version !== "number" || !Number.isSafeInteger(version) || version < 1) return null;
  if (!Array.isArray(addresses) || addresses.length === 0 || addresses.length > 2) return null;
  const texts = addresses.filter(isMachine);
  const families = new Set(texts.map((text) => parseIp(text)?.family));
  return texts.length === addresses.length && families.size === texts.length
    ? { version, addresses: texts, ...(isPort(stopping) ? { stopping } : {}) }
    : null;
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

const KEY = /^[0-9a-f]{64}$/;

/**
 * Parses what a candidate says of its listener for the peers. Older agents say nothing, and the election does
 * not depend on it. So what does not fit counts as nothing.
 */
export function parsePeerOffer(value: unknown): PeerOffer | undefined {
  if (!isObject(value)) return undefined;
  const { port, key } = value;
  return isPort(port) && typeof key === "string" && KEY.test(key) ? { port, key } : undefined;
}

const MAX_VIPS = 8;

/** Absent from an older agent, which agrees with everybody. So does what does not fit. */
function parseVips(value: unknown): readonly string[] | null {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_VIPS) return null;
  const texts = value.filter(
    (text): text is string => typeof text === "string" && parseIp(text)?.text === text,
  );
  return texts.length === value.length ? texts.toSorted() : null;
}

/** The canonical text of an address that one machine may have. */
function isMachine(value: unknown): value is string {
  const address = typeof value === "string" ? parseIp(value) : undefined;
  return address !== undefined && address.text === value && isMachineAddress(address);
}

function isPriority(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 254;
}

function isVrrpState(value: unknown): value is VrrpState {
  return value === "INIT" || value === "BACKUP" || value === "MASTER" || value === "FAULT";
}

function isWord(value: unknown): value is string {
  return typeof value === "string" && WORD.test(value);
}

/**
 * Formats Kubernetes' MicroTime: RFC 3339 with exactly six fractional digits. client-node's V1MicroTime is a
 * Date, which cuts the digits after the third, and so cannot repeat in a `test` what it has read.
 *
 * @param micros microseconds since 1970; years 1970 to 9999
 */
export function formatMicroTime(micros: bigint): string {
  const seconds = new Date(Number(micros / 1000n)).toISOString().slice(0, 19);
  return `${seconds}.${(micros % 1_000_000n).toString().padStart(6, "0")}Z`;
}

/** Returns the API path of a namespace's Leases. */
export function leasesPath(namespace: string): string {
  return `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;
}

/** Returns the API path of one Lease. */
export function leasePath(namespace: string, name: string): string {
  return `${leasesPath(namespace)}/${encodeURIComponent(name)}`;
}

/**
 * Returns the API's message about a refusal, from a Status or from text, bounded and printable. "" if there
 * is none.
 */
export function statusMessage(body: unknown): string {
  const message = isObject(body) ? body["message"] : body;
  return typeof message === "string" ? plainText(message.trim()) : "";
}
