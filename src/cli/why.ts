/** `leasehold why`: says in sentences why a node holds the VIP or does not. Pure. */
import { CONFLICT_FAULT, MISMATCH_FAULT, NAMESAKE_FAULT, VIP_FAULT } from "../election/types.ts";
import { ERRORS, whatToDo } from "../errors.ts";
import type { ErrorCode } from "../errors.ts";
import { plainText } from "../kube/plain-text.ts";
import { duration } from "../recorder/explain.ts";
import type { Recording, ToldDecision } from "../recorder/recording.ts";
import { RULES } from "../recorder/reports.ts";
import type { Rule } from "../recorder/reports.ts";
import { capitalized } from "./diagnosis.ts";
import { otherOwnerText, strangerText } from "./cluster-view.ts";
import type { ClusterView, NodeView } from "./cluster-view.ts";

export interface WhyOptions {
  /** undefined: the node that was asked. */
  readonly node: string | undefined;
  readonly all: boolean;
  readonly last: number;
}

/** What `leasehold why -o json` prints: the names of its members are public. */
export interface WhyAnswer {
  readonly node: string;
  /** The answer in sentences, the most important first. */
  readonly now: readonly string[];
  /** Whose flight recorder told; null: there was none. */
  readonly recorder: { readonly node: string; readonly writtenAt: string; readonly cause: string } | null;
  /** The oldest first. */
  readonly decisions: readonly ToldDecision[];
}

export function why(view: ClusterView, recording: Recording | undefined, options: WhyOptions): WhyAnswer {
  const name = options.node ?? view.node;
  return {
    node: name,
    now: [...nowOf(view, name), ...pointer(view, recording, name)],
    recorder:
      recording === undefined
        ? null
        : { node: recording.node, writtenAt: recording.writtenAt, cause: recording.cause },
    decisions: recording === undefined ? [] : chosen(recording, name, options),
  };
}

function nowOf(view: ClusterView, name: string): readonly string[] {
  const node = view.nodes.find((one) => one.node === name);
  const holder = view.nodes.find((one) => one.node === view.lease.holder);
  if (node === undefined && view.lease.from === null)
    return [`Neither an agent nor the API could be asked, so nothing is known of ${name} now.`];
  if (node === undefined) {
    const names = view.nodes.map((one) => one.node).join(", ");
    return [
      `${name} is no candidate, so it cannot hold the VIP: ${names === "" ? "no candidate is known" : `the candidates are ${names}`}. A node becomes one when its agent reaches the API for the first time.`,
    ];
  }
  // What a silent node said of itself is old, and another one may hold the Lease by now.
  const wasHolder = node.alive === false && view.lease.from !== null && view.lease.holder !== name;
  if (wasHolder && (node.state === "MASTER" || node.state === "PROVISIONAL"))
    return [...silence(node), ...backup(view, node, undefined)];
  return [...stateText(view, node, holder), ...claimedBeside(node)];
}

function stateText(view: ClusterView, node: NodeView, holder: NodeView | undefined): readonly string[] {
  const name = node.node;
  switch (node.state) {
    case "MASTER": {
      const reason = ["", "this node holds the Lease"].includes(node.why) ? "" : `: ${node.why}`;
      return [
        `${name} holds the VIP and the Lease${since(node)}${reason}.`,
        ...holderSays(view, node),
        ...faultsIn(node.why).flatMap(ruleOf),
      ];
    }
    case "PROVISIONAL":
      return [
        `${name} has the VIP provisionally${since(node)}, without the Lease: ${node.why.replace(/^provisional: /, "")}.`,
        "It holds the Lease as soon as an API server lets it write.",
      ];
    case "FAULT":
      return [
        ...silence(node),
        `${name} cannot hold the VIP: it is in ${node.why.startsWith("FAULT") ? node.why : "FAULT"}.`,
        ...faultsIn(node.why).flatMap(ruleOf),
        `${sectionOf(node.why)} in docs/operations.md says what to do about it. The node takes part again when the fault has gone.`,
      ];
    case "INIT":
      return [
        `${name} cannot hold the VIP yet: ${node.why === "" ? "its agent is starting or stopping" : node.why}.`,
      ];
    default:
      return [...silence(node), ...backup(view, node, holder)];
  }
}

/** The faults that have a section of their own in the runbook. LeaseholdFault has the others. */
const FAULTS: readonly { readonly fault: string; readonly section: ErrorCode; readonly rule?: Rule }[] = [
  { fault: MISMATCH_FAULT, section: "LH_VIP_MISMATCH", rule: RULES.mismatch },
  { fault: CONFLICT_FAULT, section: "LH_VIP_CONFLICT", rule: RULES.refused },
  { fault: VIP_FAULT, section: "LH_VIP_FOREIGN" },
  { fault: NAMESAKE_FAULT, section: "LH_DUPLICATE_NODE" },
];

function faultsIn(why: string): readonly string[] {
  return /^FAULT ([a-z, -]+)/.exec(why)?.[1]?.split(", ") ?? [];
}

function sectionOf(why: string): string {
  const [only, ...more] = faultsIn(why);
  const section = more.length > 0 ? undefined : FAULTS.find(({ fault }) => fault === only)?.section;
  return section ?? "LeaseholdFault";
}

/** By which rule of the election the node has that fault, and what to do; none where a check of the node found it. */
function ruleOf(fault: string): readonly string[] {
  const known = FAULTS.find((one) => one.fault === fault);
  return known?.rule === undefined ? [] : [ruleText(known.rule), ERRORS[known.section]];
}

const ruleText = ({ when, file }: Rule): string => `The rule: ${when} (src/election/${file}).`;

/** Which machine claims the VIP beside the holder, by which rule the nodes meet it, and what to do. */
function claimedBeside({ stranger, state, why }: NodeView): readonly string[] {
  // The fault has told of it.
  if (stranger === null || faultsIn(why).includes(CONFLICT_FAULT)) return [];
  return [
    `${strangerText(stranger)}.`,
    ruleText(state === "PROVISIONAL" ? RULES.covered : RULES.defended),
    whatToDo("LH_VIP_CONFLICT"),
  ];
}

const since = ({ sinceMs }: NodeView): string => (sinceMs === null ? "" : `, for ${duration(sinceMs)}`);

function silence({ node, alive }: NodeView): readonly string[] {
  return alive === false ? [`The agent of ${node} is silent, so what the Lease says of it is old.`] : [];
}

function holderSays({ lease, vips }: ClusterView, { node, self }: NodeView): readonly string[] {
  const lines: string[] = [];
  if (lease.renewedAgoMs !== null && lease.renewedAgoMs >= 0)
    lines.push(`Its last renewal is ${duration(lease.renewedAgoMs)} old.`);
  if (lease.moveTo === node) lines.push("A person has pinned the VIP to it: `leasehold unpin` ends that.");
  if (self && vips.some(({ boundHere }) => boundHere === false))
    lines.push("Its kernel does not have the VIP bound.");
  return lines;
}

/** What a node does meanwhile. What a silent agent has said of itself is old. */
function standBy({ node, alive, eligible, why }: NodeView): readonly string[] {
  return alive === false || eligible || why === ""
    ? []
    : [
        `${node} stands by, and may take the VIP within a second of that software's silence: step 3 of docs/guides/take-over.md stops it.`,
      ];
}

/** Why a node that is well does not have the VIP. */
function backup(view: ClusterView, node: NodeView, holder: NodeView | undefined): readonly string[] {
  const { lease, other } = view;
  const name = node.node;
  if (other !== null)
    return [
      `${capitalized(otherOwnerText(other))}.`,
      ...(other.standsBy
        ? standBy(node)
        : [
            ...(node.eligible || node.why === "" ? [] : [`${name} is not eligible: ${node.why}.`]),
            `${other.node === null ? "LH_VIP_CONFLICT" : "LH_VIP_FOREIGN"} in docs/operations.md says what to do about it.`,
          ]),
    ];
  if (lease.from === null)
    return [`${name} is a BACKUP, and neither the API nor an agent could say who holds the Lease.`];
  if (lease.holder === "" || lease.holder === null)
    return [
      `No node holds the Lease.`,
      node.eligible
        ? `${name} is eligible, and claims it when no better candidate does, or as soon as the API accepts its claim.`
        : `${name} is not eligible: ${node.why}.`,
    ];
  if (lease.holder === name)
    return [
      `The Lease names ${name} as its holder, and ${name} says of itself that it is ${node.state}. It has just claimed the Lease, or its agent has ended.`,
    ];
  const lines = [`${name} does not hold the VIP, because ${lease.holder} holds the Lease.`];
  if (lease.renewedAgoMs !== null && lease.durationMs !== null && lease.renewedAgoMs > lease.durationMs)
    lines.push(
      `That Lease was renewed ${duration(lease.renewedAgoMs)} ago and lasts ${duration(lease.durationMs)}: the best eligible node claims it, if the API accepts writes.`,
    );
  if (!node.eligible)
    lines.push(`${name} is not eligible: ${node.why === "" ? "not every check has reported" : node.why}.`);
  if (lease.moveTo === name)
    lines.push(
      node.eligible
        ? `A person wants the VIP on ${name} (move-to), and ${lease.holder} has not handed over yet.`
        : `A person wants the VIP on ${name} (move-to). It moves when ${name} is eligible.`,
    );
  else if (lease.moveTo === lease.holder)
    lines.push(`A person has pinned the VIP to ${lease.holder} (move-to): \`leasehold unpin\` ends that.`);
  else if (holder !== undefined && node.eligible) lines.push(...ranks(node, holder));
  return lines;
}

function ranks(node: NodeView, holder: NodeView): readonly string[] {
  if (holder.state === "PROVISIONAL")
    return [
      `${holder.node} has the VIP provisionally: it cannot renew the Lease. An eligible node takes the VIP over when the API accepts its claim.`,
    ];
  const compared = `${node.node} has the effective priority ${node.effective}, and ${holder.node} ${holder.effective}.`;
  if (node.effective > holder.effective)
    return [
      compared,
      `A higher priority displaces a healthy holder only with LEASEHOLD_NOPREEMPT=false, after LEASEHOLD_PREEMPT_DELAY. \`leasehold move --to ${node.node}\` moves the VIP.`,
    ];
  return [compared, "Only a higher priority displaces a healthy holder."];
}

/** What to type for the other node's own recorder. */
function pointer(view: ClusterView, recording: Recording | undefined, name: string): readonly string[] {
  if (recording === undefined) return ["No flight recorder could be read."];
  if (recording.node === name || !view.nodes.some(({ node }) => node === name)) return [];
  return [`The recorder of ${name} itself knows more: run \`leasehold why\` on ${name}.`];
}

function chosen(recording: Recording, name: string, { all, last }: WhyOptions): readonly ToldDecision[] {
  const own = recording.node === name;
  const matters = (one: ToldDecision): boolean =>
    own ? one.from !== one.to || one.refused.length + one.todo.length > 0 : mentions(one, name);
  return recording.decisions.filter((one) => all || matters(one)).slice(-last);
}

/** The decision is about that node. Its name may be a part of another one's: n1 and n10. */
function mentions({ told, did, refused, reason }: ToldDecision, name: string): boolean {
  const words = [told, reason, ...did, ...refused].flatMap((line) => line.split(/[^a-z0-9.-]+/));
  return words.some((word) => word.replace(/\.+$/, "") === name);
}

export function whyText({ now, recorder, decisions }: WhyAnswer): string {
  const told = decisions.map((one) => decisionText(one)).join("\n");
  const title =
    recorder === null
      ? ""
      : decisions.length === 0
        ? `\nThe flight recorder of ${plainText(recorder.node)} has nothing about it.\n`
        : `\nFrom the flight recorder of ${plainText(recorder.node)}${recorder.cause === "asked" ? "" : ` (${plainText(recorder.cause)}, written ${plainText(recorder.writtenAt)})`}, the last one at the end:\n\n`;
  return `${now.join("\n")}\n${title}${told}`;
}

function again({ repeats, lastAgoMs }: ToldDecision): string {
  if (repeats === 0) return "";
  return ` And ${repeats === 1 ? "once" : `${repeats} times`} more, the last time ${duration(lastAgoMs)} ago.`;
}

function decisionText(one: ToldDecision): string {
  const { at, agoMs, from, to, state, told, evidence, rule, did, refused, todo, waitedMs } = one;
  const role = from === to ? to : `${from} -> ${to}`;
  const line = (label: string, text: string): string => `  ${label.padEnd(9)}${plainText(text)}\n`;
  const lines = (label: string, texts: readonly string[]): string =>
    texts.map((text, position) => line(position === 0 ? label : "", text)).join("");
  return [
    `${plainText(at)} (${duration(agoMs)} ago)  ${plainText(role)} (${plainText(state)})\n`,
    line("event", `${told}${again(one)}`),
    lines("knew", evidence),
    rule === null ? "" : line("rule", `${rule.when} (src/election/${rule.file})`),
    lines("did", did),
    lines("refused", refused),
    lines("to do", todo),
    waitedMs === null
      ? ""
      : line(
          "clients",
          waitedMs === 0 ? "They did not wait." : `They waited for ${duration(waitedMs)} at most.`,
        ),
  ].join("");
}
