/** Draws a snapshot: a pure frame for terminals, plain lines for everything else. */
import { styleText } from "node:util";
import { describeAttempts, longestGap } from "../../test/support/lab/probe.ts";
import type { Attempt } from "../../test/support/lab/probe.ts";
import type { WatchView } from "./cluster.ts";
import { explainFault } from "./explain.ts";
import type { NodeView, Snapshot } from "./observer.ts";

/** The client's last ten seconds, a mark for every quarter of a second. */
const STRIP_MS = 250;
const STRIP_MARKS = 40;
const EVENT_LINES = 8;

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1).padStart(5)} s`;
}

/** Colours a text. {@link styleText} does it for a terminal. */
export type Paint = (style: Style | readonly Style[], text: string) => string;
export type Style = "bold" | "green" | "red" | "cyan" | "yellow" | "gray";

const terminal: Paint = (style, text) => styleText([style].flat(), text);

function stateOf(node: NodeView, paint: Paint): string {
  const text = (node.hasPower ? (node.state ?? "no agent") : "no power").padEnd(9);
  if (node.state === "MASTER" || node.state === "PROVISIONAL") return paint(["bold", "green"], text);
  return paint(node.state === "BACKUP" ? "cyan" : "red", text);
}

/** Why a node is in FAULT, or what its priority has to do with the next move. */
function remarkOf(node: NodeView): string {
  return node.state === "FAULT" ? `  ${explainFault(node)}` : "";
}

/** A mark for each watch, by the API server that answers it. */
function watchRow(watches: readonly WatchView[], paint: Paint): string {
  const marks = {
    alive: paint("green", "\u25cf"),
    silent: paint("yellow", "\u25cb"),
    ended: paint("red", "x"),
  };
  return [...Map.groupBy(watches, ({ server }) => server)]
    .map(([server, those]) => `${server} ${those.map(({ state }) => marks[state]).join("")}`)
    .join("   ");
}

/** Of the probes sent in the last `windowMs`, those that have ended: how many were answered, in per cent. */
function successRate(attempts: readonly Attempt[], nowMs: number, windowMs: number): string {
  const recent = attempts.filter((attempt) => attempt.sentMs > nowMs - windowMs);
  if (recent.length === 0) return "-";
  return `${((recent.filter((attempt) => attempt.ok).length / recent.length) * 100).toFixed(1)} %`;
}

/** A mark for each quarter of a second: all answered, some, none, nothing known. */
function strip(attempts: readonly Attempt[], nowMs: number, paint: Paint): string {
  const cells = Array.from({ length: STRIP_MARKS }, () => ({ ok: 0, failed: 0 }));
  for (const { sentMs, ok } of attempts) {
    const cell = cells[STRIP_MARKS - 1 - Math.floor((nowMs - sentMs) / STRIP_MS)];
    if (cell === undefined) continue;
    if (ok) cell.ok += 1;
    else cell.failed += 1;
  }
  return cells
    .map(({ ok, failed }) => {
      if (ok + failed === 0) return paint("gray", ".");
      if (failed === 0) return paint("green", "█");
      return ok === 0 ? paint("red", "x") : paint("yellow", "▒");
    })
    .join("");
}

/**
 * One screen, without moving the cursor.
 * @param paint how colours are written; default: for a terminal
 */
export function frame(snapshot: Snapshot, footer: string, paint: Paint = terminal): string {
  const { nodes, attempts, events, nowMs, startedMs, endpoint, watches, notes } = snapshot;
  const holder = nodes.find((node) => node.hasVip && node.hasPower);
  const backends = holder?.backends
    .map(({ id, grade }) => `${id} ${paint(grade === "UP" ? "green" : "red", grade)}`)
    .join("   ");
  const gap = longestGap(attempts).ms;
  const [note = ""] = notes;
  return [
    paint("bold", `Leasehold   VIP ${snapshot.vip}   ${seconds(nowMs - startedMs)}`),
    "",
    "node  priority      state     VIP   API server",
    ...nodes.map((node) => {
      const priority = `${node.priority}${node.effectivePriority === undefined || node.effectivePriority === node.priority ? "" : ` -> ${node.effectivePriority}`}`;
      const vip = node.hasVip && node.hasPower ? paint(["bold", "green"], "VIP") : "   ";
      return `${node.name}    ${priority.padEnd(12)}  ${stateOf(node, paint)} ${vip}   ${node.apiServes ? "serves" : paint("red", "stopped")}${remarkOf(node)}`;
    }),
    paint("yellow", note),
    `backends (${holder?.name ?? "no holder"})  ${backends ?? ""}`,
    holder?.fastPath ?? "",
    "",
    endpoint === undefined
      ? "clients: not started yet"
      : `clients -> ${endpoint}  last 2 s: ${successRate(attempts, nowMs, 2000)}   all: ${successRate(attempts, nowMs, Infinity)}   longest gap: ${attempts.length > 0 ? `${gap.toFixed(0)} ms` : "-"}`,
    `${strip(attempts, nowMs, paint)}  ${paint("gray", "new connections, 10 s")}`,
    `watches by server   ${watchRow(watches, paint)}   ${paint("gray", "\u25cf alive  \u25cb hears nothing  x ended")}`,
    "",
    ...Array.from({ length: EVENT_LINES }, (_, index) => {
      const event = events.slice(-EVENT_LINES)[index];
      return event === undefined ? "" : `${paint("gray", seconds(event.atMs - startedMs))}  ${event.text}`;
    }),
    "",
    ...footer.split("\n").map((line) => paint("gray", line)),
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
    show({ events, startedMs, nowMs, attempts, watches }) {
      for (const event of events.slice(printed))
        out.write(`${seconds(event.atMs - startedMs)}  ${event.text}\n`);
      printed = events.length;
      if (nowMs - reportedMs < 5000 || attempts.length === 0) return;
      reportedMs = nowMs;
      const row = watchRow(watches, (_, text) => text);
      out.write(`${seconds(nowMs - startedMs)}  clients: ${describeAttempts(attempts)}; watches: ${row}\n`);
    },
    close() {},
  };
}
