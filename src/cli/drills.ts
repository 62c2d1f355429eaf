/** Decides whether the cluster is well enough for `leasehold drill`, and writes its report. Pure. */
import type { LeaseRecord } from "../kube/record.ts";
import { duration } from "../recorder/explain.ts";
import { otherOwnerText } from "./cluster-view.ts";
import type { ClusterView } from "./cluster-view.ts";
import { gapText } from "./gaps.ts";
import type { Seen } from "./gaps.ts";
import { statusExit, table } from "./render-status.ts";
import { judgeMove, judgeResign } from "./wishes.ts";

export type DrillVerdict =
  | { readonly kind: "go"; readonly from: string; readonly to: string }
  /** Every reason, not only the first one. */
  | { readonly kind: "refused"; readonly reasons: readonly string[] };

/**
 * @param record the Lease as the API has it; null: it could not be read
 * @param to the node that shall have the VIP in between; undefined: the best one
 */
export function judgeDrill(
  view: ClusterView,
  record: LeaseRecord | null,
  to: string | undefined,
): DrillVerdict {
  const reasons: string[] = [];
  const { lease, nodes, apiServers, node: self } = view;
  const silent = new Set(nodes.filter(({ alive }) => alive === false).map(({ node }) => node));
  if (!nodes.some(({ from }) => from === "agent"))
    reasons.push(`no agent answers on ${self}. Run the drill on a node whose agent runs.`);
  if (lease.from !== "api" || record === null)
    reasons.push("the API does not say what the Lease is, so no wish can be stored.");
  else if (statusExit(view) !== 0)
    reasons.push(
      lease.holder === "" || lease.holder === null
        ? `${view.other === null ? "no node holds the VIP" : otherOwnerText(view.other)}.`
        : `${lease.holder} does not hold both the VIP and the Lease: \`leasehold status\` says more.`,
    );
  for (const { node, alive, eligible, state, why } of nodes) {
    if (alive === false) reasons.push(`the agent of ${node} is silent.`);
    else if (state === "FAULT" || (!eligible && node === lease.holder))
      reasons.push(`${node} could not take the VIP: it is in ${why === "" ? state : why}.`);
  }
  for (const { server, seenBy, grade, reason } of apiServers)
    if (grade !== "UP") reasons.push(`${seenBy} finds the API server ${server} ${grade} (${reason}).`);
  if (record === null) return { kind: "refused", reasons };
  const resign = judgeResign(record, silent);
  if (resign.kind === "refused") reasons.push(resign.message);
  const verdict = to === undefined ? resign : judgeMove(record, to, false, silent);
  if (to !== undefined && verdict.kind === "refused") reasons.push(verdict.message);
  if (verdict.kind === "go" && verdict.to === record.holder)
    reasons.push(`${verdict.to} holds the VIP already.`);
  return reasons.length > 0 || verdict.kind === "refused"
    ? { kind: "refused", reasons: [...new Set(reasons)] }
    : { kind: "go", from: record.holder, to: verdict.to };
}

/** One move of a drill. */
export interface DrillMove {
  readonly from: string;
  readonly to: string;
  /** Milliseconds from the wish until the Lease named the new holder; null: it did not happen in time. */
  readonly tookMs: number | null;
  readonly seen: readonly Seen[];
}

/** What `leasehold drill -o json` prints: the names of its members are public. */
export interface DrillReport {
  /** The node on which the probes ran. */
  readonly node: string;
  readonly moves: readonly DrillMove[];
  /** The wish was removed from the Lease. */
  readonly cleaned: boolean;
}

export function drillText({ node, moves, cleaned }: DrillReport): string {
  const rows = moves.flatMap(({ from, to, seen }) =>
    seen.map(({ probe, sent, answered, gaps, longestWaitMs }) => [
      `${from} -> ${to}`,
      probe,
      String(sent),
      String(answered),
      String(gaps.length),
      duration(longestWaitMs),
    ]),
  );
  const gaps = moves.flatMap(({ from, to, seen }) =>
    seen.flatMap((one) => one.gaps.map((gap) => `  ${from} -> ${to}, ${one.probe}: ${gapText(gap)}\n`)),
  );
  const took = moves.map(({ from, to, tookMs }) =>
    tookMs === null
      ? `${from} -> ${to}: ${to} did not hold the VIP in time. \`leasehold why ${to}\` says why.\n`
      : `${from} -> ${to}: ${to} held the Lease ${duration(tookMs)} after the wish.\n`,
  );
  const path = moves.some(({ from, to }) => from === node || to === node)
    ? `${node} had the VIP itself for a part of the time. A drill from a third node says more.\n`
    : "";
  return [
    took.join(""),
    table(["MOVE", `PROBE-FROM-${node.toUpperCase()}`, "SENT", "ANSWERED", "GAPS", "LONGEST-WAIT"], rows),
    gaps.length === 0 ? "No gap: every attempt was answered at once.\n" : `Every gap:\n${gaps.join("")}`,
    path,
    cleaned ? "The wish was removed from the Lease, so nothing pins the VIP.\n" : "",
  ]
    .filter((section) => section !== "")
    .join("\n");
}
