/** A soak's result as text. Pure. */
import { MEMORY_FROM_MS, describeSpell } from "./judge.ts";
import type { Evidence, Verdict, Violation } from "./judge.ts";

const AROUND_MS = 5_000;
const MOST_LINES = 80;
/** Spells below this are left out of timelines: a turn or two of the prober. */
const SHORT_MS = 100;

/** Something that happened, for the timeline around a violation. */
export interface Note {
  readonly atMs: number;
  readonly text: string;
}

const seconds = (ms: number): string => (ms / 1_000).toFixed(2);

/** The sums by kind of fault, the agents' memory, and what the machine itself was late. */
export function summary(evidence: Evidence, verdict: Verdict): string {
  const lengthMs = evidence.toMs - evidence.fromMs;
  const rows = verdict.sums.map(
    ({ kind, played, withVip, withoutProof, answersMs, servesMs, twoMs, lost }) => [
      kind,
      ...[played, withVip, withoutProof].map((count) => (kind === "none" ? "" : String(count))),
      seconds(answersMs),
      seconds(servesMs),
      seconds(twoMs),
      String(lost),
    ],
  );
  const judgesMemory = lengthMs >= MEMORY_FROM_MS;
  return [
    `${evidence.episodes.length} episodes in ${(lengthMs / 60_000).toFixed(1)} minutes. Sums over both VIPs, by the fault that began last:`,
    "",
    ...table([
      [
        "fault",
        "played",
        "with the VIP",
        "without proof",
        "no answer, s",
        "no /readyz, s",
        "two answer, s",
        "connections ended",
      ],
      ...rows,
    ]),
    "",
    ...verdict.growth.map(
      ({ node, midKib, endKib }) =>
        `The agent of ${node}, which nothing restarted: ${midKib} KiB at half time, ${endKib} KiB at the end${judgesMemory ? "" : " (too short to judge)"}`,
    ),
    `The prober was not run for ${seconds(verdict.stalledMs)} s in all, ${seconds(verdict.longestStallMs)} s at the longest. ${seconds(verdict.forgivenMs)} s of that were taken off spells that were too long.`,
  ].join("\n");
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  "),
  );
}

/**
 * Each violation with what happened around it, in order of time; those that overlap have one timeline. Times
 * are seconds since the soak began.
 */
export function violationsReport(evidence: Evidence, verdict: Verdict, notes: readonly Note[]): string {
  const groups: Violation[][] = [];
  for (const violation of verdict.violations) {
    const last = groups.at(-1);
    const endMs = Math.max(...(last ?? []).map(({ toMs }) => toMs));
    if (last !== undefined && violation.fromMs <= endMs) last.push(violation);
    else groups.push([violation]);
  }
  const events = [...notes, ...faultNotes(evidence), ...spellNotes(verdict)];
  return groups.map((group) => one(group, evidence.fromMs, events)).join("\n\n");
}

function spellNotes({ spells }: Verdict): readonly Note[] {
  return spells
    .filter(({ countedMs }) => countedMs > SHORT_MS)
    .map((spell) => ({ atMs: spell.fromMs, text: `-- ${describeSpell(spell)}` }));
}

function faultNotes({ episodes }: Evidence): readonly Note[] {
  return episodes.flatMap(({ faults, endMs }) => [
    ...faults.map(({ startMs, kind, node, hadVip, proof }) => ({
      atMs: startMs,
      text: `== ${kind} ${node}${hadVip ? ", which has the VIP" : ""}${proof ? "" : "; no candidate has proof"}`,
    })),
    { atMs: endMs, text: "== the cluster is well again, or the episode was given up" },
  ]);
}

function one(violations: readonly Violation[], originMs: number, events: readonly Note[]): string {
  const at = (ms: number): string => seconds(ms - originMs).padStart(8);
  const fromMs = Math.min(...violations.map((violation) => violation.fromMs)) - AROUND_MS;
  const toMs = Math.max(...violations.map((violation) => violation.toMs)) + AROUND_MS;
  const around = events
    .filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
    .sort((first, second) => first.atMs - second.atMs);
  const left = around.length - MOST_LINES;
  return [
    ...violations.map(({ what, fromMs }) => `BROKEN at ${at(fromMs).trim()} s: ${what}`),
    ...[...new Set(violations.map(({ episode }) => episode))]
      .filter((episode) => episode !== "")
      .map((episode) => `  in the episode: ${episode}`),
    ...around.slice(0, MOST_LINES).map(({ atMs, text }) => `${at(atMs)}  ${text}`),
    ...(left > 0 ? [`          and ${left} lines more, see the journals`] : []),
  ].join("\n");
}
