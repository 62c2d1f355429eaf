/** Writes the picture of the cluster for people, as kubectl writes tables. Pure. */
import { duration } from "../recorder/explain.ts";
import { isExpired, otherOwnerText } from "./cluster-view.ts";
import type { ClusterView, NodeView } from "./cluster-view.ts";

type Row = readonly string[];

/** Columns as wide as their longest cell, three blanks apart, and none at the end of a line. */
export function table(head: Row, rows: readonly Row[]): string {
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]?.length ?? 0)));
  return [head, ...rows]
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd((widths[at] ?? 0) + 3))
          .join("")
          .trimEnd()}\n`,
    )
    .join("");
}

const yesNo = (value: boolean | null): string => (value === null ? "?" : value ? "yes" : "no");

export function statusText(view: ClusterView, wide: boolean): string {
  const sections = [
    head(view),
    nodes(view, wide),
    servers(view),
    moves(view),
    bullets("Look at:", view.warnings),
    gaps(view),
  ];
  return sections.filter((section) => section !== "").join("\n");
}

function head(view: ClusterView): string {
  const vips = view.vips.map(({ address, boundHere, interface: name }) => {
    if (boundHere === null) return `${address} (this kernel could not be asked)`;
    return `${address} ${boundHere ? `bound on ${name} of ${view.node}` : `not bound on ${view.node}`}`;
  });
  return `VIP:    ${vips.length === 0 ? "unknown: set LEASEHOLD_VIP" : vips.join(", ")}\nLease:  ${leaseLine(view)}\n`;
}

function leaseLine({ lease, provisional, other }: ClusterView): string {
  const name = `${lease.namespace}/${lease.name}`;
  const who = provisional ?? (other === null ? null : otherOwnerText(other));
  const more = who === null ? "" : `\n        ${who}`;
  if (lease.from === null) return `${name} could not be read${more}`;
  if (lease.exists === false) return `${name} does not exist${more}`;
  const parts = [lease.holder === "" || lease.holder === null ? "no holder" : `held by ${lease.holder}`];
  if (lease.renewedAgoMs !== null)
    parts.push(
      lease.renewedAgoMs < -1_000
        ? `renewed ${duration(-lease.renewedAgoMs)} from now by the holder's clock, which differs from this one`
        : `renewed ${duration(lease.renewedAgoMs)} ago`,
    );
  if (lease.durationMs !== null) parts.push(`lasts ${duration(lease.durationMs)}`);
  if (lease.transitions !== null) parts.push(`${lease.transitions} transitions`);
  if (lease.moveTo !== null) parts.push(`pinned to ${lease.moveTo}`);
  if (lease.drained.length > 0) parts.push(`drained: ${lease.drained.join(" ")}`);
  if (lease.offer !== null) parts.push(`offered to ${lease.offer}`);
  if (lease.from === "agent")
    parts.push(
      `as the agent read it ${lease.readAgoMs === null ? "" : `${duration(lease.readAgoMs)} ago`}`.trimEnd(),
    );
  return `${name} ${parts.join(", ")}${more}`;
}

function nodes(view: ClusterView, wide: boolean): string {
  if (view.nodes.length === 0) return "No node is known.\n";
  const head = ["NODE", "STATE", "PRIORITY", "ELIGIBLE", "VIP"];
  const more = wide ? ["IP", "VERSION", "FAST-PATH", "TOLD-BY"] : [];
  const cells = (one: NodeView): Row => [
    `${one.node}${one.self ? "*" : ""}`,
    // What a silent node said of itself is old, and its MASTER is no second one.
    one.alive === false ? `was ${one.state}` : one.state,
    `${one.effective}/${one.base}`,
    yesNo(one.alive === false && one.eligible ? null : one.eligible),
    one.vipBound === null ? "-" : one.vipBound ? "bound" : "no",
    ...(wide ? [one.ip, one.version, yesNo(one.fastPath), one.from] : []),
    one.why,
  ];
  return table([...head, ...more, "WHY"], view.nodes.map(cells));
}

function servers({ apiServers }: ClusterView): string {
  if (apiServers.length === 0) return "";
  return table(
    ["API-SERVER", "SEEN-BY", "GRADE", "SINCE", "ANSWER"],
    apiServers.map(({ server, seenBy, grade, drained, sinceMs, reason }) => [
      server,
      seenBy,
      // As kubectl writes Ready,SchedulingDisabled.
      drained ? `${grade},drained` : grade,
      duration(sinceMs),
      reason,
    ]),
  );
}

function moves({ moves, node }: ClusterView): string {
  if (moves.length === 0) return "";
  return table(
    ["AGO", "TIME", `ROLE-OF-${node.toUpperCase()}`, "CLIENTS-WAITED", "REASON"],
    moves.map(({ agoMs, at, from, to, reason, waitedMs }) => [
      duration(agoMs),
      at,
      `${from} -> ${to}`,
      waitedMs === null ? "-" : waitedMs === 0 ? "no" : `at most ${duration(waitedMs)}`,
      reason,
    ]),
  );
}

function bullets(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : `${title}\n${lines.map((line) => `  * ${line}\n`).join("")}`;
}

export function gaps({ notAsked }: Pick<ClusterView, "notAsked">): string {
  if (notAsked.length === 0) return "";
  const lines = notAsked.map(
    ({ where, why, missing, type }) =>
      `  * ${where}: ${why}\n    ${missing}\n${type.map((command) => `      ${command}\n`).join("")}`,
  );
  return `No usable answer came from these. Each has what is missing without it, and what to type:\n${lines.join("")}`;
}

/** The exit status of `leasehold status`. */
export function statusExit({ lease, nodes }: ClusterView): 0 | 1 | 3 {
  if (lease.from === null && nodes.every(({ from }) => from !== "agent")) return 1;
  const holds = nodes.some(
    ({ node, state, vipBound }) => node === lease.holder && state === "MASTER" && vipBound !== false,
  );
  return holds && !isExpired(lease) && nodes.every(({ state }) => state !== "PROVISIONAL") ? 0 : 3;
}
