/**
 * What the page's charts show: one sample of a status every ten seconds, for an hour. The same reader takes
 * samples of this agent's status and of a peer's, whose bytes are not trusted. Pure.
 */
import type { JsonObject } from "../kube/record-codec.ts";
import type { AgentStatus } from "./status.ts";
import { list as bounded, nullable, number, object, readable, text } from "./strict.ts";

/** What of a status the charts show. It costs no question to the kernel. */
export type ChartedStatus = Pick<AgentStatus, "node" | "election" | "balancer" | "fastPath">;

/** An API server as one node saw it. */
export interface ServerSample {
  readonly server: string;
  readonly grade: string;
  /** Duration of the last check in milliseconds; null before the first one. */
  readonly checkMs: number | null;
  /** Open connections of the node's proxy. */
  readonly active: number;
}

export interface Sample {
  /** Wall-clock milliseconds since 1970. */
  readonly at: number;
  /** The node that the Lease names; "" for none, null while it has not been read. */
  readonly holder: string | null;
  /** State by node, in the words of `leasehold status`, and "" for an agent that is silent. */
  readonly states: readonly (readonly [node: string, state: string])[];
  readonly servers: readonly ServerSample[];
  /** Packets that this node has sent to the fast path's nodes since its rules were loaded. */
  readonly packets: readonly (readonly [node: string, packets: number])[];
}

export interface History {
  /** Takes a sample; one that cannot be read is left out. */
  note(sample: Sample | undefined): void;
  /** The oldest first. */
  samples(): readonly Sample[];
}

export const SAMPLE_MS = 10_000;
const MOST_SAMPLES = 360;
/** Most nodes and most API servers of one sample. */
const MOST = 64;

export function createHistory(most = MOST_SAMPLES): History {
  const samples: Sample[] = [];
  return {
    note(sample) {
      if (sample === undefined) return;
      samples.push(sample);
      if (samples.length > most) samples.shift();
    },
    samples: () => [...samples],
  };
}

const list = <T>(value: unknown, read: (value: unknown) => T): readonly T[] => bounded(value, read, MOST);

/** Reads what the charts need of a status; undefined when it is none. */
export function sampleOf(status: unknown, at: number): Sample | undefined {
  return readable(() => {
    const { node, election, balancer, fastPath } = object(status);
    const seen = nullable(election, object);
    return {
      at,
      holder: seen === null ? null : nullable(seen["holder"], text),
      states: seen === null ? [] : statesOf(text(node), seen),
      servers: list(object(balancer)["backends"], (one) => {
        const backend = object(one);
        return serverSample(backend["id"], backend);
      }),
      packets: list(nullable(fastPath, object)?.["nodes"] ?? [], (one) => {
        const { node: name, packets } = object(one);
        return [text(name), number(packets)] as const;
      }),
    };
  });
}

function serverSample(server: unknown, { grade, checkMs, active }: JsonObject): ServerSample {
  return {
    server: text(server),
    grade: text(grade),
    checkMs: nullable(checkMs, number),
    active: number(active),
  };
}

function statesOf(self: string, election: JsonObject): Sample["states"] {
  const own = [self, text(election["state"])] as const;
  const others = list(election["candidates"], (one) => {
    const { node, state: said, fresh } = object(one);
    return [text(node), fresh === true ? text(said) : ""] as const;
  }).filter(([node]) => node !== self);
  return [own, ...others].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** Reads the samples that a peer has sent. */
export function readSamples(value: unknown): readonly Sample[] {
  return bounded(value, readSample, MOST_SAMPLES);
}

function readSample(value: unknown): Sample {
  const { at, holder, states, servers, packets } = object(value);
  return {
    at: number(at),
    holder: nullable(holder, text),
    states: list(states, (entry) => {
      const [node, state] = pair(entry);
      return [text(node), text(state)] as const;
    }),
    servers: list(servers, (entry) => {
      const sample = object(entry);
      return serverSample(sample["server"], sample);
    }),
    packets: list(packets, (entry) => {
      const [node, count] = pair(entry);
      return [text(node), number(count)] as const;
    }),
  };
}

function pair(value: unknown): readonly [unknown, unknown] {
  const [first, second] = bounded(value, (member) => member, 2);
  return [first, second];
}
