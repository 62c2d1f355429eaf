/** Draws a snapshot: a pure frame for terminals, plain lines for everything else. */
import { styleText } from "node:util";
import { describeAttempts, longestGap } from "../../test/support/lab/probe.ts";
import type { Attempt } from "../../test/support/lab/probe.ts";
import type { NodeView, Snapshot } from "./observer.ts";

/** The client's last ten seconds, a mark for every quarter of a second. */
const STRIP_MS = 250;
const STRIP_MARKS = 40;
const EVENT_LINES = 8;

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1).padStart(5)} s`;
}

function stateOf(node: NodeView): string {
  const text = (node.state ?? "no agent").padEnd(9);
  if (node.state === "MASTER") return styleText(["bold", "green"], text);
  return styleText(node.state === "BACKUP" ? "cyan" : "red", text);
}

/** Of the probes sent in the last `windowMs`, those that have ended: how many were answered, in per cent. */
function successRate(attempts: readonly Attempt[], nowMs: number, windowMs: number): string {
  const recent = attempts.filter((attempt) => attempt.sentMs > nowMs - windowMs);
  if (recent.length === 0) return "-";
  return `${((recent.filter((attempt) => attempt.ok).length / recent.length) * 100).toFixed(1)} %`;
}

/** A mark for each quarter of a second: all answered, some, none, nothing known. */
function strip(attempts: readonly Attempt[], nowMs: number): string {
  const cells = Array.from({ length: STRIP_MARKS }, () => ({ ok: 0, failed: 0 }));
  for (const { sentMs, ok } of attempts) {
    const cell = cells[STRIP_MARKS - 1 - Math.floor((nowMs - sentMs) / STRIP_MS)];
    if (cell === undefined) continue;
    if (ok) cell.ok += 1;
    else cell.failed += 1;
  }
  return cells
    .map(({ ok, failed }) => {
      if (ok + failed === 0) return styleText("gray", ".");
      if (failed === 0) return styleText("green", "█");
      return ok === 0 ? styleText("red", "x") : styleText("yellow", "▒");
    })
    .join("");
}

/** One screen, without moving the cursor. */
export function frame(snapshot: Snapshot, footer: string): string {
  const { nodes, attempts, events, nowMs, startedMs } = snapshot;
  const holder = nodes.find((node) => node.hasVip);
  const backends = holder?.backends
    .map(({ id, grade }) => `${id} ${styleText(grade === "UP" ? "green" : "red", grade)}`)
    .join("   ");
  const gap = longestGap(attempts).ms;
  return [
    styleText("bold", `Leasehold   VIP ${snapshot.vip}   ${seconds(nowMs - startedMs)}`),
    "",
    "node  priority      state     VIP   API server",
    ...nodes.map((node) => {
      const priority = `${node.priority}${node.effectivePriority === undefined || node.effectivePriority === node.priority ? "" : ` -> ${node.effectivePriority}`}`;
      const vip = node.hasVip ? styleText(["bold", "green"], "VIP") : "   ";
      return `${node.name}    ${priority.padEnd(12)}  ${stateOf(node)} ${vip}   ${node.apiServes ? "serves" : styleText("red", "stopped")}`;
    }),
    "",
    `backends (${holder?.name ?? "no holder"})  ${backends ?? ""}`,
    holder?.fastPath ?? "",
    "",
    `client -> ${snapshot.endpoint}  last 2 s: ${successRate(attempts, nowMs, 2000)}   all: ${successRate(attempts, nowMs, Infinity)}   longest gap: ${Number.isFinite(gap) ? `${gap.toFixed(0)} ms` : "-"}`,
    `${strip(attempts, nowMs)}  ${styleText("gray", "10 s")}`,
    "",
    ...Array.from({ length: EVENT_LINES }, (_, index) => {
      const event = events.slice(-EVENT_LINES)[index];
      return event === undefined
        ? ""
        : `${styleText("gray", seconds(event.atMs - startedMs))}  ${event.text}`;
    }),
    "",
    styleText("gray", footer),
  ].join("\n");
}

export interface View {
  show(snapshot: Snapshot): void;
  /** Leaves the last picture standing. */
  close(): void;
}

/** Redraws in place. */
export function liveView(out: NodeJS.WriteStream, footer: string): View {
  out.write("\x1b[?25l\x1b[2J");
  return {
    show(snapshot) {
      // Clearing each line to its end instead of the screen keeps the picture from flickering.
      out.write(`\x1b[H${frame(snapshot, footer).replaceAll("\n", "\x1b[K\r\n")}\x1b[K\x1b[J`);
    },
    close() {
      out.write("\x1b[?25h\n");
    },
  };
}

/** Each event once, and every five seconds what the client sees. */
export function plainView(out: NodeJS.WritableStream): View {
  let printed = 0;
  let reportedMs = 0;
  return {
    show({ events, startedMs, nowMs, attempts }) {
      for (const event of events.slice(printed))
        out.write(`${seconds(event.atMs - startedMs)}  ${event.text}\n`);
      printed = events.length;
      if (nowMs - reportedMs < 5000) return;
      reportedMs = nowMs;
      out.write(`${seconds(nowMs - startedMs)}  client: ${describeAttempts(attempts)}\n`);
    },
    close() {},
  };
}
