/**
 * Makes one picture of the cluster from what the agents, the kernel, the API and the flight recorder said.
 * Pure. It is what `leasehold status -o json` prints, so the names of its members are public.
 */
import { drainedServers } from "../kube/drain.ts";
import { candidatesIn, changedHolder } from "../kube/record-codec.ts";
import { saysOther } from "../election/take-over.ts";
import { CONFLICT_FAULT, MISMATCH_FAULT, VIP_FAULT } from "../election/types.ts";
import { MOVE_TO, OFFER } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { plainText } from "../kube/plain-text.ts";
import { parseServer } from "../net.ts";
import { duration } from "../recorder/explain.ts";
import type { Recording } from "../recorder/recording.ts";
import type { AgentFacts, CandidateFacts } from "./agent-facts.ts";
import type { Answers } from "./ask.ts";
import { byHand } from "./by-hand.ts";
import type { Gap } from "./by-hand.ts";
import { agentsOf, credentialsHints, diskHints, serverHints } from "./cluster-hints.ts";
import { changedHolderText, machineText } from "./diagnosis.ts";

export interface NodeView {
  readonly node: string;
  /** This is the node that was asked. */
  readonly self: boolean;
  /** The VRRP state. PROVISIONAL is a MASTER without the Lease. */
  readonly state: string;
  readonly base: number;
  readonly effective: number;
  readonly eligible: boolean;
  /** Why it is in this state, or not eligible; "" where nothing is to be said. */
  readonly why: string;
  /** Its kernel has the VIP; null: its kernel was not asked. */
  readonly vipBound: boolean | null;
  /** How long it has been in this state, ms; null where only its agent knows. */
  readonly sinceMs: number | null;
  /** False when its agent is silent; null where that cannot be told. */
  readonly alive: boolean | null;
  /**
   * The machine that is no candidate and that this node heard claim the VIP within the last two minutes; null: it
   * heard none, or only its agent knows.
   */
  readonly stranger: Stranger | null;
  readonly ip: string;
  readonly version: string;
  readonly fastPath: boolean;
  /** Who says so: its own agent, or the Lease. */
  readonly from: "agent" | "lease";
}

export interface Stranger {
  readonly mac: string;
  readonly agoMs: number;
}

export interface MoveView {
  readonly at: string;
  readonly agoMs: number;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
  /** How long clients waited for the VIP at most, ms; null where this node did not take it from another one. */
  readonly waitedMs: number | null;
}

/** A machine that has the VIP, and not by an agent. */
export interface OtherOwner {
  /** It in words: `n1 (02:00:00:00:00:01)` or `the machine 02:00:00:00:00:99`. */
  readonly where: string;
  /** The candidate that runs there; null: the machine is no candidate, or it is not known which it is. */
  readonly node: string | null;
  /** The agents stand by for it (LEASEHOLD_TAKE_OVER). */
  readonly standsBy: boolean;
}

export interface ClusterView {
  readonly at: string;
  readonly node: string;
  readonly vips: readonly {
    readonly address: string;
    readonly boundHere: boolean | null;
    readonly interface: string | null;
  }[];
  readonly lease: {
    readonly namespace: string;
    readonly name: string;
    /** "" when it names none; null: it could not be read. */
    readonly holder: string | null;
    readonly exists: boolean | null;
    /**
     * Milliseconds since the last renewal. From the API it is the difference of two clocks, and from the
     * agent it is measured.
     */
    readonly renewedAgoMs: number | null;
    readonly durationMs: number | null;
    readonly transitions: number | null;
    readonly moveTo: string | null;
    /** The API servers that a person has drained. */
    readonly drained: readonly string[];
    readonly offer: string | null;
    /** Who told: the API, or the agent's memory, `readAgoMs` old. */
    readonly from: "api" | "agent" | null;
    readonly readAgoMs: number | null;
  };
  /** Why a node has the VIP without the Lease; null when none has. */
  readonly provisional: string | null;
  /** The machine that has the VIP while no agent has it; null: an agent has it, or no machine is known. */
  readonly other: OtherOwner | null;
  readonly nodes: readonly NodeView[];
  readonly apiServers: readonly {
    readonly seenBy: string;
    readonly server: string;
    readonly grade: string;
    readonly serving: boolean;
    readonly drained: boolean;
    readonly active: number;
    readonly reason: string;
    readonly sinceMs: number;
  }[];
  /** Changes of role of the node that was asked, the last one first. */
  readonly moves: readonly MoveView[];
  /** What an operator should know besides, each with what to do. */
  readonly warnings: readonly string[];
  /** What gave no usable answer. */
  readonly notAsked: readonly Gap[];
}

/** Milliseconds by which the clocks of two nodes may differ before a renewal of the other one looks old. */
const CLOCKS_MS = 5_000;
/** Milliseconds for which a stranger that has claimed the VIP is told of. */
const STRANGER_MS = 120_000;
/** Most moves that are shown. */
const MOST_MOVES = 5;

/** The reason of a state that nothing has changed since the agent's start. It explains nothing for long. */
const STARTED = "the agent has started";

export function clusterView(answers: Answers): ClusterView {
  const { at, config, agent, recording } = answers;
  const local = agent.kind === "ok" ? agent.value : undefined;
  const record = answers.lease.kind === "ok" ? answers.lease.value : null;
  const candidates = candidatesOf(local, record);
  const lease = leaseOf(answers, local, record);
  const other = otherOwnerOf(agentsOf(answers), candidates, lease.holder);
  const nodes = nodesOf(answers, local, candidates, other);
  const here = nodes.find(({ self }) => self);
  return {
    at: at.toISOString(),
    node: local?.node ?? config.nodeName,
    vips: vipsOf(answers, local),
    lease,
    provisional: nodes.find(({ state }) => state === "PROVISIONAL")?.why ?? null,
    other,
    nodes,
    apiServers: agentsOf(answers).flatMap(({ node, apiServers }) =>
      apiServers.map((server) => ({ seenBy: node, ...server })),
    ),
    moves: recording.kind === "ok" ? movesOf(recording.value, at) : [],
    warnings: [
      ...expiryOf(lease),
      ...warningsOf(local, here, record, other),
      ...credentialsHints(answers),
      ...serverHints(answers, nodes),
      ...diskHints(answers),
      ...drainsOf(local, lease.drained, candidates),
    ],
    notAsked: byHand(answers, local),
  };
}

/**
 * Which machine has the VIP while no agent has it, as the agents say, the asked one first. Where none can be asked,
 * the Lease tells of a candidate on whose machine other software has it.
 */
function otherOwnerOf(
  agents: readonly AgentFacts[],
  candidates: readonly CandidateFacts[],
  holder: string | null,
): OtherOwner | null {
  const say = agents.flatMap((one) => (one.election === null ? [] : [{ ...one, election: one.election }]));
  if (say.some(({ election: { state } }) => state === "MASTER" || state === "PROVISIONAL")) return null;
  const waits = say.find(({ election }) => election.taken);
  if (waits !== undefined) {
    const { node, mac } = waits.election.other ?? {
      node: waits.vip?.foreign === true ? waits.node : null,
      mac: "",
    };
    return owner(node, mac, true);
  }
  // An agent that was not asked may have it.
  if (holder !== null && holder !== "") return null;
  const refuses = say.find(({ election: { faults } }) => faults.includes(CONFLICT_FAULT))?.election.contender;
  if (refuses?.node === null) return owner(null, refuses.mac, false);
  const beside = say.find(({ vip }) => vip?.foreign === true);
  if (beside !== undefined) return owner(beside.node, "", false);
  const told = candidates.find((one) => one.fresh !== false && saysOther(one));
  return told === undefined ? null : owner(told.node, "", true);
}

function owner(node: string | null, mac: string, standsBy: boolean): OtherOwner {
  return { where: machineText(node, mac), node, standsBy };
}

/** Says who has the VIP while no agent has it: a sentence without a full stop. */
export function otherOwnerText({ where, node, standsBy }: OtherOwner): string {
  if (standsBy) return `other software on ${where} has the VIP, and the agents stand by for it`;
  return node === null
    ? `${where} has the VIP, which is no candidate, and no agent has it`
    : `another program on ${where} has the VIP, and no agent has it`;
}

function vipsOf({ kernel, config }: Answers, local: AgentFacts | undefined): ClusterView["vips"] {
  if (kernel.kind === "ok")
    return kernel.value.addresses.map(({ address, interface: name }) => ({
      address,
      boundHere: name !== null,
      interface: name,
    }));
  const told = local?.vip?.addresses.map(({ address }) => address) ?? config.vips.map(({ text }) => text);
  return told.map((address) => ({ address, boundHere: null, interface: null }));
}

function leaseOf(
  { config, lease, at }: Answers,
  local: AgentFacts | undefined,
  record: LeaseRecord | null,
): ClusterView["lease"] {
  const names = { namespace: config.leaseNamespace, name: config.leaseName };
  const drained = record === null ? (local?.drained ?? []) : drainedServers(record);
  if (lease.kind === "failed") {
    const election = local?.election ?? null;
    return {
      ...names,
      moveTo: null,
      drained,
      offer: null,
      durationMs: null,
      holder: election?.holder ?? null,
      exists: null,
      renewedAgoMs: election?.renewedAgoMs ?? null,
      transitions: election?.leaseTransitions ?? null,
      from: election === null || election.holder === null ? null : "agent",
      readAgoMs: election?.readAgoMs ?? null,
    };
  }
  const renewedMs = Date.parse(record?.renewTime ?? "");
  return {
    ...names,
    holder: record === null ? "" : plainText(record.holder),
    exists: record !== null,
    renewedAgoMs: Number.isNaN(renewedMs) ? null : at.getTime() - renewedMs,
    durationMs: record?.leaseDurationMs ?? null,
    transitions: record?.leaseTransitions ?? null,
    moveTo: annotation(record, MOVE_TO),
    drained,
    offer: annotation(record, OFFER),
    from: "api",
    readAgoMs: 0,
  };
}

function annotation(record: LeaseRecord | null, key: string): string | null {
  const value = record?.annotations[key] ?? "";
  return value === "" ? null : plainText(value);
}

/** The candidates of the Lease as the API has it now, or else as the agent remembers it. */
function candidatesOf(local: AgentFacts | undefined, record: LeaseRecord | null): readonly CandidateFacts[] {
  const remembered = local?.election?.candidates ?? [];
  if (record === null) return remembered;
  return candidatesIn(record).map((candidate) => ({
    ...candidate,
    fastPath: candidate.fastPath !== null,
    fresh: remembered.find(({ node }) => node === candidate.node)?.fresh,
  }));
}

function nodesOf(
  answers: Answers,
  local: AgentFacts | undefined,
  candidates: readonly CandidateFacts[],
  other: OtherOwner | null,
): readonly NodeView[] {
  const { config, agent, kernel, peers } = answers;
  const selfName = local?.node ?? config.nodeName;
  const asked = new Map(agentsOf(answers).map((facts) => [facts.node, facts]));
  const names = new Set([
    ...candidates.map(({ node }) => node),
    ...[...asked.values()].flatMap(({ node, election }) => (election === null ? [] : [node])),
  ]);
  const boundHere =
    kernel.kind === "ok" && kernel.value.addresses.length > 0
      ? kernel.value.addresses.every((entry) => entry.interface !== null)
      : null;
  return [...names].toSorted().flatMap((node): NodeView[] => {
    const candidate = candidates.find((one) => one.node === node);
    const facts = asked.get(node);
    const self = node === selfName;
    const failed = self ? agent.kind === "failed" : peers.get(node)?.kind === "failed";
    if (facts !== undefined && facts.election !== null)
      return [
        {
          ...fromAgent(facts, facts.election, candidates, self, self ? boundHere : null),
          stranger: other?.standsBy === true ? null : strangerOf(facts.election),
        },
      ];
    if (candidate === undefined) return [];
    const silence =
      candidate.fresh === false ? "its agent is silent" : failed ? "its agent does not answer" : "";
    const told = fromLease(candidate, silence, other);
    return [{ ...told, self, vipBound: self ? boundHere : null, stranger: null }];
  });
}

/** During a take-over the machine that claims the VIP is no stranger: it goes first. */
function strangerOf({ contender }: NonNullable<AgentFacts["election"]>): Stranger | null {
  if (contender === null || contender.node !== null || contender.agoMs >= STRANGER_MS) return null;
  return { mac: contender.mac, agoMs: contender.agoMs };
}

/** Says which machine claims the VIP: a sentence without a full stop. */
export function strangerText({ mac, agoMs }: Stranger): string {
  return `The machine ${mac}, which is no candidate, claimed the VIP ${duration(agoMs)} ago`;
}

/** The reason of a node's state in its agent's own words. */
function whyByAgent(
  facts: AgentFacts,
  election: NonNullable<AgentFacts["election"]>,
  candidates: readonly CandidateFacts[],
): string {
  const { state, reason, faults } = election;
  if (faults.length > 0)
    return [`FAULT ${faults.join(", ")}`, detailOf(facts, election, candidates)]
      .filter((part) => part !== "")
      .join(": ");
  return state === "BACKUP" && reason === STARTED ? (facts.refusal ?? "") : reason;
}

function fromAgent(
  facts: AgentFacts,
  election: NonNullable<AgentFacts["election"]>,
  candidates: readonly CandidateFacts[],
  self: boolean,
  boundHere: boolean | null,
): Omit<NodeView, "stranger"> {
  const candidate = candidates.find(({ node }) => node === facts.node);
  const { state, confirmed, base, effective, eligible } = election;
  // Agents of version 0.1.0 and earlier call it MASTER, with `confirmed: false`.
  const provisional = state === "MASTER" && !confirmed;
  return {
    node: facts.node,
    self,
    state: provisional ? "PROVISIONAL" : state,
    base,
    effective,
    eligible,
    why: whyByAgent(facts, election, candidates),
    vipBound:
      boundHere ??
      (facts.vip === null ? null : facts.vip.foreign || facts.vip.addresses.every(({ bound }) => bound)),
    sinceMs: election.sinceMs,
    alive: true,
    ip: candidate?.ip ?? "",
    version: facts.version,
    fastPath: facts.fastPath?.mode === "fast-path",
    from: "agent",
  };
}

function detailOf(
  { node, failing, vip }: AgentFacts,
  { faults, contender }: NonNullable<AgentFacts["election"]>,
  candidates: readonly CandidateFacts[],
): string {
  const found = failing.find(({ name }) => faults.includes(name))?.detail ?? "";
  if (found !== "") return found;
  if (faults.includes(VIP_FAULT)) return vip?.failure ?? "";
  if (faults.includes(MISMATCH_FAULT))
    return mismatch(node, vip?.addresses.map(({ address }) => address) ?? [], candidates);
  return faults.includes(CONFLICT_FAULT) && contender !== null
    ? `${machineText(contender.node, contender.mac)}${contender.node === null ? ", which is no candidate," : ""} had the VIP ${duration(contender.agoMs)} ago`
    : "";
}

/** Which VIPs a node has, and which the others have. */
function mismatch(node: string, own: readonly string[], candidates: readonly CandidateFacts[]): string {
  const key = own.toSorted().join(", ");
  const others = candidates.flatMap(({ node: other, vips }) => {
    const theirs = vips?.toSorted().join(", ") ?? key;
    return other === node || theirs === key ? [] : [`${other} has ${theirs}`];
  });
  return `${node} has ${key}, and ${others.join(", ")}`;
}

/** The reason of a node's state, as far as the Lease alone tells it. */
function whyByLease(candidate: CandidateFacts, other: OtherOwner | null): string {
  const { state, eligible, faults } = candidate;
  if (saysOther(candidate)) return "other software on its machine has the VIP, and it stands by";
  if (faults.length > 0) return `FAULT ${faults.join(", ")}`;
  if (eligible || state === "MASTER") return "";
  return state === "BACKUP" && other?.standsBy === true
    ? "it stands by for other software that has the VIP"
    : "not every check has reported";
}

function fromLease(
  candidate: CandidateFacts,
  silence: string,
  other: OtherOwner | null,
): Omit<NodeView, "self" | "vipBound" | "stranger"> {
  const { node, state, base, effective, eligible, ip, version, fastPath, fresh } = candidate;
  return {
    node,
    state,
    base,
    effective,
    eligible,
    why: silence === "" ? whyByLease(candidate, other) : silence,
    sinceMs: null,
    alive: silence !== "" ? false : (fresh ?? null),
    ip,
    version,
    fastPath,
    from: "lease",
  };
}

function movesOf({ decisions, writtenAt }: Recording, at: Date): readonly MoveView[] {
  const behindMs = Math.max(0, at.getTime() - Date.parse(writtenAt)) || 0;
  return decisions
    .filter(({ from, to }) => from !== to)
    .slice(-MOST_MOVES)
    .toReversed()
    .map((one) => ({
      at: plainText(one.at),
      agoMs: one.agoMs + behindMs,
      from: plainText(one.from),
      to: plainText(one.to),
      reason: plainText(one.reason),
      waitedMs: one.waitedMs,
    }));
}

/** True where the Lease was not renewed for so long that no clock explains it. */
export function isExpired({ renewedAgoMs, durationMs }: ClusterView["lease"]): boolean {
  return renewedAgoMs !== null && durationMs !== null && renewedAgoMs > durationMs + CLOCKS_MS;
}

function expiryOf(lease: ClusterView["lease"]): readonly string[] {
  if (lease.holder === null || lease.holder === "" || !isExpired(lease)) return [];
  return [
    `${lease.holder} has not renewed the Lease for ${duration(lease.renewedAgoMs ?? 0)}, and no node has claimed it: no agent can write it, or the clocks of the nodes differ.`,
  ];
}

function warningsOf(
  local: AgentFacts | undefined,
  here: NodeView | undefined,
  record: LeaseRecord | null,
  other: OtherOwner | null,
): readonly string[] {
  const warnings: string[] = [];
  const holder = record?.holder ?? local?.election?.holder ?? "";
  if (other?.standsBy === true)
    warnings.push(
      `A take-over is under way: ${otherOwnerText(other)}. They take it within a second of its silence: step 3 of docs/guides/take-over.md stops it.`,
    );
  else if (here !== undefined && here.vipBound !== null) {
    const holds = here.state === "MASTER" || here.state === "PROVISIONAL";
    if (local?.vip?.foreign === true)
      warnings.push(
        "Another program has the VIP bound on this machine: see LH_VIP_FOREIGN in docs/operations.md.",
      );
    else if (here.vipBound && !holds)
      warnings.push(
        `This kernel has the VIP bound, and ${here.node} is ${here.state}. No running agent refreshes it, or a person bound it: the kernel removes an agent's address within 3 s.`,
      );
    else if (!here.vipBound && holds && holder === here.node)
      warnings.push(
        `${here.node} holds the Lease, and its kernel does not have the VIP bound: look at the agent's log.`,
      );
  }
  const changed = record === null ? null : changedHolder(record);
  if (changed !== null) warnings.push(changedHolderText(changed));
  const wish = annotation(record, MOVE_TO);
  if (wish !== null)
    warnings.push(
      `A person wants the VIP on ${wish}. It stays there while that node is fit: \`leasehold unpin\` ends that.`,
    );
  if (local === undefined) return warnings;
  const stranger = here?.stranger ?? null;
  if (stranger !== null)
    warnings.push(`${strangerText(stranger)}: see LH_VIP_CONFLICT in docs/operations.md.`);
  const { noBackend, refusal, fastPath } = local;
  if (noBackend !== null) warnings.push(`No API server to balance to: ${noBackend}`);
  if (refusal !== null) warnings.push(refusal);
  if (fastPath !== null && fastPath.mode !== "fast-path" && fastPath.mode !== "starting")
    warnings.push(`No fast path (${fastPath.mode}): ${fastPath.reason}`);
  return warnings;
}

/** One sentence for each API server that a person has drained. */
function drainsOf(
  local: AgentFacts | undefined,
  drained: readonly string[],
  candidates: readonly CandidateFacts[],
): readonly string[] {
  return drained.map((server) => {
    const node = candidates.find(({ ip }) => parseServer(server)?.host === ip)?.node;
    const name = node === undefined ? server : `${server} (${node})`;
    const seen = local?.apiServers.find((one) => one.server === server);
    if (local !== undefined && seen === undefined)
      return `The API server ${name} is drained, and ${local.node} knows no such server: \`leasehold undrain ${server}\` ends that.`;
    return seen?.serving === true && seen.drained
      ? `The API server ${name} is drained, and gets connections all the same, because no other one is UP.`
      : `The API server ${name} is drained: it gets no new connections until \`leasehold undrain ${node ?? server}\`.`;
  });
}
