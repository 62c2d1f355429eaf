/**
 * The page's table of the cluster: what `leasehold status` shows, made from the answers that the agent has.
 * Pure. The agent gets it as a function, because the commands are on a floor above it.
 */
import type { Config } from "../config/config.ts";
import { plainText } from "../kube/plain-text.ts";
import type { PictureInput } from "../ops/page.ts";
import type { PeerAnswer } from "../peers/ask-peer.ts";
import { parseAgentFacts } from "./agent-facts.ts";
import type { AgentFacts } from "./agent-facts.ts";
import type { Asking } from "./ask.ts";
import { clusterView } from "./cluster-view.ts";
import type { ClusterView } from "./cluster-view.ts";

/** A part of the picture that is another node's word, or the lack of it. */
interface Missing {
  readonly node: string;
  readonly why: string;
}

export interface PagePicture extends Pick<
  ClusterView,
  "at" | "node" | "lease" | "other" | "nodes" | "apiServers" | "warnings"
> {
  readonly vips: readonly string[];
  readonly version: string;
  readonly uptimeMs: number | null;
  readonly missing: readonly Missing[];
}

const NOT_ASKED = { kind: "failed", where: "", why: "" } as const;

/** Returns the cluster as `node` and its peers tell of it. */
export function pagePicture(config: Config, { at, node, statuses, places }: PictureInput): PagePicture {
  const asked = new Map([...statuses].map(([name, told]) => [name, factsOf(name, told, places)] as const));
  const own = asked.get(node) ?? NOT_ASKED;
  const view = clusterView({
    at,
    // Without its own word the node is named all the same.
    config: { ...config, nodeName: node },
    agent: own,
    peers: new Map([...asked].filter(([name]) => name !== node)),
    kernel: NOT_ASKED,
    lease: NOT_ASKED,
    servers: [],
    recording: NOT_ASKED,
    disks: [],
  });
  const facts = own.kind === "ok" ? own.value : undefined;
  return {
    at: view.at,
    node: view.node,
    vips: view.vips.map(({ address }) => address),
    version: facts?.version ?? "",
    uptimeMs: facts?.uptimeMs ?? null,
    lease: view.lease,
    other: view.other,
    nodes: view.nodes,
    apiServers: view.apiServers,
    warnings: view.warnings,
    missing: [...asked].flatMap(([name, one]) =>
      one.kind === "failed" ? [{ node: name, why: one.why }] : [],
    ),
  };
}

function factsOf(node: string, told: PeerAnswer, places: ReadonlyMap<string, string>): Asking<AgentFacts> {
  const where = `the agent of ${node} at ${places.get(node) ?? "this node"}`;
  if (told.kind === "failed") return { kind: "failed", where, why: plainText(told.why) };
  const value = parseAgentFacts(told.text);
  return value === undefined || value.node !== node
    ? { kind: "failed", where, why: `${where}: its answer is not of an agent of this version` }
    : { kind: "ok", value };
}
