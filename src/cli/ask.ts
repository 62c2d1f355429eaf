/**
 * Asks what `status` and `why` show: the agents, this node's kernel, the API and the last recording on disk.
 * This is the only file of these commands that does I/O. It judges nothing, and every answer may be missing.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { recordingsDirectory, recordingsIn } from "../agent/recordings.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { errorMessage } from "../errors.ts";
import { plainText } from "../kube/plain-text.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { readLease } from "../kube/withdraw.ts";
import { readNetwork } from "../linux/links.ts";
import { hostPort } from "../net.ts";
import { parseRecording } from "../recorder/recording.ts";
import type { Recording } from "../recorder/recording.ts";
import { disks } from "./agent-disks.ts";
import type { DiskFacts } from "./agent-disks.ts";
import { candidateHosts, parseAgentFacts, parsePeerList, vipsOf } from "./agent-facts.ts";
import type { AgentFacts } from "./agent-facts.ts";
import { connect } from "./connection.ts";

export type Asking<T> =
  | { readonly kind: "ok"; readonly value: T }
  /** `where` was asked, and this is why it did not answer. */
  | { readonly kind: "failed"; readonly where: string; readonly why: string };

/** What the kernel of this machine says of the VIP. */
export interface KernelFacts {
  readonly addresses: readonly { readonly address: string; readonly interface: string | null }[];
}

export interface Answers {
  /** Wall-clock time of asking. */
  readonly at: Date;
  readonly config: Config;
  readonly agent: Asking<AgentFacts>;
  /** The other nodes' agents that were asked, by node. */
  readonly peers: ReadonlyMap<string, Asking<AgentFacts>>;
  readonly kernel: Asking<KernelFacts>;
  /** null: the API has no such Lease. */
  readonly lease: Asking<LeaseRecord | null>;
  /** The API servers that were asked for the Lease, as `ip:port`. */
  readonly servers: readonly string[];
  readonly recording: Asking<Recording>;
  /** The disks of this node's agent. */
  readonly disks: readonly DiskFacts[];
}

/** Milliseconds that an agent on this machine may take. */
const LOCAL_MS = 2_000;
/** Milliseconds that this node's agent may take to ask another one: it gives up sooner. */
const PEER_MS = 2_500;
/** Most bytes of an answer. A recording has a few MB. */
const MOST_BYTES = 64 * 1024 * 1024;

/** This node's agent; undefined while it cannot be asked. Never rejects. */
export async function askLocal(config: Config): Promise<AgentFacts | undefined> {
  const agent = await askAgent(`${opsUrl(config)}/status`, LOCAL_MS);
  return agent.kind === "ok" ? agent.value : undefined;
}

/**
 * Asks this node's agent, and the others' where they can be asked. Answers by node, also of one that did not answer, with
 * the reason. Never rejects.
 */
export async function askAgents(config: Config): Promise<ReadonlyMap<string, Asking<AgentFacts>>> {
  const agent = await askAgent(`${opsUrl(config)}/status`, LOCAL_MS);
  if (agent.kind === "failed") return new Map([[config.nodeName, agent]]);
  const peers = await askPeers(opsUrl(config));
  return new Map([[agent.value.node, agent], ...peers]);
}

function opsUrl({ opsHost, opsPort }: Config): string {
  return `http://${hostPort(reachable(opsHost), opsPort)}`;
}

/** Asks everything. Never rejects. Takes some 6 s at most. */
export async function askAll(config: Config, clock: Clock): Promise<Answers> {
  const base = opsUrl(config);
  const [agent, recording] = await Promise.all([
    askAgent(`${base}/status`, LOCAL_MS),
    askRecording(`${base}/decisions`, config.dataDir),
  ]);
  const [{ lease, servers }, peers] = await Promise.all([
    askLease(config, clock, candidateHosts(agent.kind === "ok" ? agent.value : undefined)),
    agent.kind === "ok" ? askPeers(base) : new Map<string, Asking<AgentFacts>>(),
  ]);
  const kernel = askKernel(config, agent);
  return { at: clock.wall(), config, agent, peers, kernel, lease, servers, recording, disks: disks(config) };
}

/** The address of loopback where the agent serves this machine's programs, whatever other machines see. */
function reachable(host: string): string {
  if (host.startsWith("127.")) return host;
  return host === "::" || host === "::1" ? "::1" : "127.0.0.1";
}

async function askAgent(url: string, timeoutMs: number): Promise<Asking<AgentFacts>> {
  const where = `the agent at ${url}`;
  const answer = await get(url, timeoutMs);
  if (answer.kind === "failed") return { ...answer, where };
  const value = parseAgentFacts(answer.value);
  return value === undefined
    ? { kind: "failed", where, why: "what answers there is not an agent of this version" }
    : { kind: "ok", value };
}

/**
 * The other nodes' agents, which this node's agent asks for us: it knows their keys, also while no API server
 * answers. An agent that knows none, or is too old to ask, has no peers.
 */
async function askPeers(base: string): Promise<ReadonlyMap<string, Asking<AgentFacts>>> {
  const listed = await get(`${base}/peers`, LOCAL_MS);
  const peers = listed.kind === "ok" ? parsePeerList(listed.value) : [];
  const asked = peers.map(async ({ node, address }) => {
    const where = `the agent of ${node} at ${address}`;
    const answer = await askAgent(`${base}/peers/${node}/status`, PEER_MS);
    return [
      node,
      answer.kind === "ok" ? answer : { ...answer, where, why: withoutPlace(answer.why, where) },
    ] as const;
  });
  return new Map(await Promise.all(asked));
}

/** The agent's words name the peer, as the line before them does. */
const withoutPlace = (why: string, where: string): string => why.replace(`${where}: `, "");

function askKernel(config: Config, agent: Asking<AgentFacts>): Asking<KernelFacts> {
  const wanted = vipsOf(config, agent.kind === "ok" ? agent.value : undefined);
  try {
    const { links, addresses } = readNetwork();
    return {
      kind: "ok",
      value: {
        addresses: wanted.map((address) => {
          const entry = addresses.find((one) => one.address.text === address);
          const link = links.find(({ index }) => index === entry?.linkIndex);
          return { address, interface: entry === undefined ? null : (link?.name ?? `#${entry.linkIndex}`) };
        }),
      },
    };
  } catch (error) {
    return { kind: "failed", where: "this node's kernel", why: errorMessage(error) };
  }
}

async function askLease(
  config: Config,
  clock: Clock,
  candidates: readonly string[],
): Promise<Pick<Answers, "lease" | "servers">> {
  await using connection = connect(config, clock, candidates);
  await connection.ready;
  const read = await readLease(connection.lease);
  const servers = connection.servers();
  if (read.kind === "lease") return { lease: { kind: "ok", value: read.record }, servers };
  if (read.kind === "unknown") return { lease: { kind: "ok", value: null }, servers };
  const problem = connection.problem();
  const lease = {
    kind: "failed",
    where: `the API (${servers.join(", ") || "no API server is known"})`,
    why: problem === null ? read.message : `${read.message}. ${problem}`,
  } as const;
  return { lease, servers };
}

/** The agent's decisions, or the last file of them while it cannot be asked. */
async function askRecording(url: string, dataDir: string): Promise<Asking<Recording>> {
  const answer = await get(url, LOCAL_MS);
  if (answer.kind === "ok") {
    const read = readRecording(`the flight recorder at ${url}`, () => answer.value);
    if (read.kind === "ok") return read;
  }
  const directory = recordingsDirectory(dataDir);
  return readRecording(`the recordings in ${directory}`, () => {
    const last = recordingsIn(readdirSync(directory)).at(-1);
    if (last === undefined) throw new Error("there is none");
    return bounded(join(directory, last));
  });
}

/** Reads a recording from a file that a person named. */
export function askFile(path: string): Asking<Recording> {
  return readRecording(path, () => bounded(path));
}

function bounded(path: string): string {
  if (statSync(path).size > MOST_BYTES) throw new Error("it is too large for a recording");
  return readFileSync(path, "utf8");
}

function readRecording(where: string, text: () => string): Asking<Recording> {
  try {
    return { kind: "ok", value: parseRecording(text()) };
  } catch (error) {
    return { kind: "failed", where, why: errorMessage(error) };
  }
}

function get(url: string, timeoutMs: number): Promise<Asking<string>> {
  return new Promise((resolve) => {
    const fail = (why: string): void => resolve({ kind: "failed", where: url, why });
    const sent = request(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > MOST_BYTES) response.destroy(new Error("the answer is too long"));
      });
      response.on("error", (error) => fail(error.message));
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        if (response.statusCode === 200) resolve({ kind: "ok", value: text });
        // The agent says in words what a peer did not do.
        else
          fail(response.statusCode === 502 ? plainText(text.trim()) : `it answered ${response.statusCode}`);
      });
    });
    sent.on("error", (error) =>
      fail(
        error.name === "AbortError" || error.name === "TimeoutError"
          ? `no answer in ${timeoutMs} ms`
          : error.message,
      ),
    );
    sent.end();
  });
}
