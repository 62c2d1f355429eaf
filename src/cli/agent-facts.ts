/**
 * Reads an agent's `/status` as the commands need it. Pure. Another version of the agent, or another program
 * on its port, may have answered, so every member is checked, and text is made fit for a terminal.
 */
import type { Config } from "../config/config.ts";
import { plainText } from "../kube/plain-text.ts";
import { isObject } from "../kube/record-codec.ts";
import type { JsonObject } from "../kube/record-codec.ts";

export interface CandidateFacts {
  readonly node: string;
  readonly state: string;
  readonly base: number;
  readonly effective: number;
  readonly eligible: boolean;
  readonly faults: readonly string[];
  readonly preempt: boolean;
  readonly ip: string;
  readonly version: string;
  readonly fastPath: boolean;
  /** False when its counter has stood still; undefined where one look cannot tell. */
  readonly fresh: boolean | undefined;
}

export interface ApiServerFacts {
  readonly server: string;
  readonly grade: string;
  /** It gets new connections from that node. */
  readonly serving: boolean;
  /** A person has drained it, and the agent knows. */
  readonly drained: boolean;
  /** Connections to it through that node's proxy. Those of the fast path are in no program. */
  readonly active: number;
  readonly reason: string;
  readonly sinceMs: number;
}

export interface AgentFacts {
  readonly node: string;
  readonly version: string;
  readonly role: string;
  readonly uptimeMs: number;
  /** null with role balancer. */
  readonly election: {
    readonly state: string;
    readonly confirmed: boolean;
    readonly reason: string;
    readonly sinceMs: number;
    readonly base: number;
    readonly effective: number;
    readonly eligible: boolean;
    readonly faults: readonly string[];
    /** "" when the Lease names none, null while it has not been read. */
    readonly holder: string | null;
    readonly leaseTransitions: number | null;
    /** How long ago this node last read the Lease, ms. */
    readonly readAgoMs: number | null;
    /** How long ago the last accepted renewal was sent, ms; null unless it holds the Lease. */
    readonly renewedAgoMs: number | null;
    readonly candidates: readonly CandidateFacts[];
  } | null;
  readonly vip: {
    readonly interface: string;
    readonly link: string;
    readonly addresses: readonly { readonly address: string; readonly bound: boolean }[];
    readonly foreign: boolean;
    readonly failure: string | null;
  } | null;
  readonly apiServers: readonly ApiServerFacts[];
  readonly noBackend: string | null;
  /** The API servers that shall get no new connections, as the agent read it in the Lease. */
  readonly drained: readonly string[];
  readonly fastPath: { readonly mode: string; readonly reason: string } | null;
  /** The checks that fail, with what they found. */
  readonly failing: readonly { readonly name: string; readonly weight: number; readonly detail: string }[];
  /** The last refusal of the API that is not over. */
  readonly refusal: string | null;
  readonly credentials: string | null;
}

/** Where the API servers of the candidates are that the agent knows; none while it cannot be asked. */
export const candidateHosts = (facts: AgentFacts | undefined): readonly string[] =>
  facts?.election?.candidates.map(({ ip }) => ip) ?? [];

/** The VIPs of the command's settings, or else those of the agent, as text. */
export function vipsOf({ vips }: Pick<Config, "vips">, facts: AgentFacts | undefined): readonly string[] {
  return vips.length > 0
    ? vips.map(({ text }) => text)
    : (facts?.vip?.addresses ?? []).map(({ address }) => address);
}

/** The answer is not an agent's status. */
class Unreadable extends Error {}

/** Reads the answer; undefined when it is not an agent's status. */
export function parseAgentFacts(text: string): AgentFacts | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return agentFacts(object(value));
  } catch (error) {
    if (error instanceof Unreadable || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const NODE_NAME = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;
/** Most peers that are asked. */
const MOST_PEERS = 64;

/** Reads an agent's `/peers`; none when it is not such a list. */
export function parsePeerList(text: string): readonly { readonly node: string; readonly address: string }[] {
  try {
    const value: unknown = JSON.parse(text);
    return list(object(value)["peers"], (one) => {
      const { node, address } = object(one);
      // The name becomes a part of a path.
      if (!NODE_NAME.test(string(node))) throw new Unreadable();
      return { node: string(node), address: string(address) };
    }).slice(0, MOST_PEERS);
  } catch (error) {
    if (error instanceof Unreadable || error instanceof SyntaxError) return [];
    throw error;
  }
}

function agentFacts(status: JsonObject): AgentFacts {
  const nowMs = number(status["nowMs"]);
  const refusal = nullable(object(status["api"])["lastRefusal"], object);
  return {
    node: string(status["node"]),
    version: string(status["version"]),
    role: string(status["role"]),
    uptimeMs: number(status["uptimeMs"]),
    election: nullable(status["election"], (value) => election(object(value), nowMs)),
    vip: nullable(status["vip"], (value) => vip(object(value))),
    apiServers: list(object(status["balancer"])["backends"], (value) => {
      const { id, grade, serving, drained, active, reason, sinceMs } = object(value);
      return {
        server: string(id),
        grade: string(grade),
        serving: boolean(serving),
        // An agent before drains has no such member.
        drained: drained === true,
        active: number(active),
        reason: string(reason),
        sinceMs: nowMs - number(sinceMs),
      };
    }),
    noBackend: nullable(status["noBackend"], string),
    drained: list(status["drained"] ?? [], string),
    fastPath: nullable(status["fastPath"], (value) => {
      const { mode, reason } = object(value);
      return { mode: string(mode), reason: string(reason) };
    }),
    failing: list(status["checks"], (value) => object(value))
      .filter(({ ok }) => ok === false)
      .map(({ name, weight, detail }) => ({
        name: string(name),
        weight: number(weight),
        detail: string(detail),
      })),
    refusal:
      refusal === null || refusal["over"] === true
        ? null
        : `${string(refusal["request"])}: ${number(refusal["status"])} ${string(refusal["message"])}`,
    credentials: nullable(object(status["credentials"])["problem"], string),
  };
}

function election(value: JsonObject, nowMs: number): NonNullable<AgentFacts["election"]> {
  const renewedAtMs = nullable(value["renewedAtMs"], number);
  return {
    state: string(value["state"]),
    confirmed: boolean(value["confirmed"]),
    reason: string(value["reason"]),
    sinceMs: nowMs - number(value["sinceMs"]),
    base: number(value["basePriority"]),
    effective: number(value["effectivePriority"]),
    eligible: boolean(value["eligible"]),
    faults: list(value["faults"], string),
    holder: nullable(value["holder"], string),
    leaseTransitions: nullable(value["leaseTransitions"], number),
    readAgoMs: nullable(value["lastReadAgeMs"], number),
    renewedAgoMs: renewedAtMs === null ? null : nowMs - renewedAtMs,
    candidates: list(value["candidates"], (one) => {
      const seen = object(one);
      return {
        node: string(seen["node"]),
        state: string(seen["state"]),
        base: number(seen["base"]),
        effective: number(seen["effective"]),
        eligible: boolean(seen["eligible"]),
        faults: list(seen["faults"], string),
        preempt: boolean(seen["preempt"]),
        ip: string(seen["ip"]),
        version: string(seen["version"]),
        fastPath: seen["fastPath"] !== null,
        fresh: boolean(seen["fresh"]),
      };
    }),
  };
}

function vip(value: JsonObject): NonNullable<AgentFacts["vip"]> {
  return {
    interface: string(value["interface"]),
    link: string(value["link"]),
    addresses: list(value["addresses"], (one) => {
      const { address, bound } = object(one);
      return { address: string(address), bound: boolean(bound) };
    }),
    foreign: boolean(value["foreign"]),
    failure: nullable(value["failure"], string),
  };
}

function object(value: unknown): JsonObject {
  if (!isObject(value)) throw new Unreadable();
  return value;
}

function string(value: unknown): string {
  if (typeof value !== "string") throw new Unreadable();
  return plainText(value);
}

function number(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Unreadable();
  return value;
}

function boolean(value: unknown): boolean {
  if (typeof value !== "boolean") throw new Unreadable();
  return value;
}

function nullable<T>(value: unknown, read: (value: unknown) => T): T | null {
  return value === null ? null : read(value);
}

/** Most members of a list that are read. */
const MOST = 1_000;

function list<T>(value: unknown, read: (value: unknown) => T): readonly T[] {
  if (!Array.isArray(value)) throw new Unreadable();
  return value.slice(0, MOST).map(read);
}
