/**
 * Reads an agent's `/status` as the commands need it. Pure. Another version of the agent, or another program
 * on its port, may have answered, so every member is checked, and text is made fit for a terminal.
 */
import type { Config } from "../config/config.ts";
import { isNodeName } from "../kube/record-codec.ts";
import type { JsonObject } from "../kube/record-codec.ts";
import { boolean, list as bounded, nullable, number, object, readable, text } from "../ops/strict.ts";
import { MOST_PEERS } from "../peers/known-peers.ts";

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
  /** Sorted; null: its agent is too old to say. */
  readonly vips: readonly string[] | null;
  /** False when its counter has stood still; undefined where one look cannot tell. */
  readonly fresh: boolean | undefined;
}

export interface ApiServerFacts {
  readonly server: string;
  readonly grade: string;
  /** It gets new connections from that node. */
  readonly serving: boolean;
  /** A person has drained it, or it is about to stop, and the agent knows. */
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
    /** Other software has the VIP, and this node stands by for it (LEASEHOLD_TAKE_OVER). */
    readonly taken: boolean;
    /** The machine on which it has the VIP; null: there is none, or the agent does not say. */
    readonly other: { readonly mac: string; readonly node: string | null } | null;
    /** "" when the Lease names none, null while it has not been read. */
    readonly holder: string | null;
    readonly leaseTransitions: number | null;
    /** How long ago this node last read the Lease, ms. */
    readonly readAgoMs: number | null;
    /** How long ago the last accepted renewal was sent, ms; null unless it holds the Lease. */
    readonly renewedAgoMs: number | null;
    /** The machine that last claimed the VIP, with the candidate that it is (null: it is none); null: none did. */
    readonly contender: { readonly mac: string; readonly node: string | null; readonly agoMs: number } | null;
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
  /** The last refusal of the API that is not over, as a sentence without a full stop. */
  readonly refusal: string | null;
  /** What is wrong with the kubeconfigs; null: one is good. */
  readonly credentials: string | null;
  /** Which certificates have ended or end soon, and what to do; null: none does. */
  readonly ending: string | null;
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

/** Most members of a list that are read. */
const MOST = 1_000;

const list = <T>(value: unknown, read: (value: unknown) => T): readonly T[] => bounded(value, read, MOST);

/** Reads the answer; undefined when it is not an agent's status. */
export function parseAgentFacts(answer: string): AgentFacts | undefined {
  return readable(() => agentFacts(object(JSON.parse(answer))));
}

/** Reads an agent's `/peers`; none when it is not such a list. */
export function parsePeerList(
  answer: string,
): readonly { readonly node: string; readonly address: string }[] {
  const peers = readable(() => {
    const read = (one: unknown) => {
      const { node, address } = object(one);
      return { node: text(node), address: text(address) };
    };
    return bounded(object(JSON.parse(answer))["peers"], read, MOST_PEERS);
  });
  // The name becomes a part of a path.
  return peers?.every(({ node }) => isNodeName(node)) === true ? peers : [];
}

/** The requests whose names say too little, in words. */
const REQUESTS: Readonly<Record<string, string>> = {
  candidate: "annotation of its node on the Lease",
  read: "read of the Lease",
  watch: "watch of the Lease",
  renew: "renewal of the Lease",
  claim: "claim of the Lease",
};

function agentFacts(status: JsonObject): AgentFacts {
  const nowMs = number(status["nowMs"]);
  const refusal = nullable(object(status["api"])["lastRefusal"], object);
  return {
    node: text(status["node"]),
    version: text(status["version"]),
    role: text(status["role"]),
    uptimeMs: number(status["uptimeMs"]),
    election: nullable(status["election"], (value) => election(object(value), nowMs)),
    vip: nullable(status["vip"], (value) => vip(object(value))),
    apiServers: list(object(status["balancer"])["backends"], (value) => {
      const { id, grade, serving, drained, active, reason, sinceMs } = object(value);
      return {
        server: text(id),
        grade: text(grade),
        serving: boolean(serving),
        // An agent before drains has no such member.
        drained: drained === true,
        active: number(active),
        reason: text(reason),
        sinceMs: nowMs - number(sinceMs),
      };
    }),
    noBackend: nullable(status["noBackend"], text),
    drained: list(status["drained"] ?? [], text),
    fastPath: nullable(status["fastPath"], (value) => {
      const { mode, reason } = object(value);
      return { mode: text(mode), reason: text(reason) };
    }),
    failing: list(status["checks"], (value) => object(value))
      .filter(({ ok }) => ok === false)
      .map(({ name, weight, detail }) => ({
        name: text(name),
        weight: number(weight),
        detail: text(detail),
      })),
    refusal:
      refusal === null || refusal["over"] === true
        ? null
        : refusalSentence(text(refusal["request"]), number(refusal["status"]), text(refusal["message"])),
    credentials: nullable(object(status["credentials"])["problem"], text),
    // An agent before the warning has no such member.
    ending: nullable(object(status["credentials"])["warning"] ?? null, text),
  };
}

function refusalSentence(name: string, status: number, message: string): string {
  const request = REQUESTS[name] ?? name;
  return status < 300
    ? `LH_LEASE_CHANGED: ${message} (the agent's ${request})`
    : `The API refuses the agent's ${request}: ${status} ${message}`;
}

function election(value: JsonObject, nowMs: number): NonNullable<AgentFacts["election"]> {
  const renewedAtMs = nullable(value["renewedAtMs"], number);
  return {
    state: text(value["state"]),
    confirmed: boolean(value["confirmed"]),
    reason: text(value["reason"]),
    sinceMs: nowMs - number(value["sinceMs"]),
    base: number(value["basePriority"]),
    effective: number(value["effectivePriority"]),
    eligible: boolean(value["eligible"]),
    faults: list(value["faults"], text),
    // An agent before LEASEHOLD_TAKE_OVER has no such member.
    taken: value["taken"] === true,
    other: nullable(value["other"] ?? null, (one) => {
      const { mac, node } = object(one);
      return { mac: text(mac), node: nullable(node, text) };
    }),
    holder: nullable(value["holder"], text),
    leaseTransitions: nullable(value["leaseTransitions"], number),
    readAgoMs: nullable(value["lastReadAgeMs"], number),
    renewedAgoMs: renewedAtMs === null ? null : nowMs - renewedAtMs,
    contender: nullable(value["contender"] ?? null, (one) => {
      const { mac, node, agoMs } = object(one);
      return { mac: text(mac), node: nullable(node, text), agoMs: number(agoMs) };
    }),
    candidates: list(value["candidates"], (one) => {
      const seen = object(one);
      return {
        node: text(seen["node"]),
        state: text(seen["state"]),
        base: number(seen["base"]),
        effective: number(seen["effective"]),
        eligible: boolean(seen["eligible"]),
        faults: list(seen["faults"], text),
        preempt: boolean(seen["preempt"]),
        ip: text(seen["ip"]),
        version: text(seen["version"]),
        fastPath: seen["fastPath"] !== null,
        vips: nullable(seen["vips"] ?? null, (value) => list(value, text)),
        fresh: boolean(seen["fresh"]),
      };
    }),
  };
}

function vip(value: JsonObject): NonNullable<AgentFacts["vip"]> {
  return {
    interface: text(value["interface"]),
    link: text(value["link"]),
    addresses: list(value["addresses"], (one) => {
      const { address, bound } = object(one);
      return { address: text(address), bound: boolean(bound) };
    }),
    foreign: boolean(value["foreign"]),
    failure: nullable(value["failure"], text),
  };
}
