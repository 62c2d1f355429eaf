/** `leasehold drill`: moves the VIP to another node and back, with probes of its own, and reports every gap. */
import { pause } from "../clock.ts";
import { unpin, pin } from "../kube/pin.ts";
import { readLease } from "../kube/withdraw.ts";
import { duration } from "../recorder/explain.ts";
import type { Command } from "./args.ts";
import { askAll } from "./ask.ts";
import type { Answers } from "./ask.ts";
import { clusterView } from "./cluster-view.ts";
import { candidateHosts } from "./agent-facts.ts";
import { connect } from "./connection.ts";
import { drillText, judgeDrill } from "./drills.ts";
import type { DrillMove } from "./drills.ts";
import { seen, seenText } from "./gaps.ts";
import { commandConfig } from "./inspect.ts";
import type { CommandDeps } from "./inspect.ts";
import { document } from "./output.ts";
import { startProbes } from "./probes.ts";
import type { VipProbe } from "./probes.ts";
import { failureOf } from "./wish.ts";

type DrillCommand = Extract<Command, { kind: "drill" }>;

const DONE = 0;
const FAILED = 1;
const REFUSED = 3;
/** Milliseconds of probes before the first move, and after each one. */
const BEFORE_MS = 1_000;
const AFTER_MS = 2_000;
const LOOK_MS = 100;

/** Resolves with the exit status. */
export async function drill(command: DrillCommand, deps: CommandDeps): Promise<number> {
  const config = commandConfig(deps);
  if (config === undefined) return 2;
  const { clock, print, printError } = deps;
  const text = command.output === "text";
  const answers = await askAll(config, clock);
  const view = clusterView(answers);
  const verdict = judgeDrill(view, recordOf(answers), command.to);
  if (verdict.kind === "refused") {
    printError(
      `leasehold: refused, because the cluster is not well enough for a drill. Nothing was changed.\n${verdict.reasons.map((reason) => `  * ${reason}\n`).join("")}`,
    );
    return REFUSED;
  }
  const local = answers.agent.kind === "ok" ? answers.agent.value : undefined;
  await using connection = connect(config, clock, candidateHosts(local));
  await connection.ready;
  const { lease } = connection;
  const port = config.vipPorts[0] ?? config.backendPort;
  const all = startProbes(
    view.vips.map(({ address }) => address),
    port,
    command.intervalMs,
    clock,
  );
  const interrupt = new AbortController();
  const forget = deps.onInterrupt?.(() => interrupt.abort());
  const moves: DrillMove[] = [];
  let wished = "";
  try {
    const startedMs = clock.now();
    await pause(clock, BEFORE_MS);
    const probes = all.filter((probe) => worksNow(probe, startedMs));
    if (!probes.some(({ name }) => name.startsWith("new connections"))) {
      printError(
        `leasehold: refused, because the VIP does not answer this machine now. Nothing was changed.\n${seenText(all.map((probe) => seen(probe.name, probe.attempts(startedMs), startedMs, clock.now())))}`,
      );
      return REFUSED;
    }
    for (const probe of all.filter((one) => !probes.includes(one)))
      printError(`leasehold: ${probe.name} does not answer this machine before the drill, and is left out\n`);
    const { from, to } = verdict;
    for (const [old, next] of [
      [from, to],
      [to, from],
    ] as const) {
      if (interrupt.signal.aborted) break;
      const beganMs = clock.now();
      // A write without an answer may have been carried out.
      if (wished === "") wished = next;
      const stored = await pin(lease, next);
      if (stored.kind !== "lease") {
        printError(`leasehold: the wish for ${next} could not be stored: ${failureOf(stored)}\n`);
        break;
      }
      wished = next;
      if (text) print(`${old} -> ${next} ...\n`);
      const tookMs = await holds(next, beganMs);
      if (tookMs !== null && !interrupt.signal.aborted) await pause(clock, AFTER_MS);
      moves.push({
        from: old,
        to: next,
        tookMs,
        seen: probes.map((probe) => seen(probe.name, probe.attempts(beganMs), beganMs, clock.now())),
      });
      if (tookMs === null || interrupt.signal.aborted) break;
    }
  } finally {
    for (const probe of all) probe.stop();
    forget?.();
  }
  const cleaned = wished === "" || (await unpin(lease, wished)).kind === "lease";
  const report = { node: view.node, moves, cleaned };
  print(command.output === "text" ? `\n${drillText(report)}` : document(report, command.output));
  if (interrupt.signal.aborted) printError("leasehold: interrupted\n");
  if (!cleaned) printError("leasehold: the wish may still be in the Lease. Run `leasehold unpin`.\n");
  return cleaned &&
    moves.length === 2 &&
    moves.every(({ tookMs }) => tookMs !== null) &&
    !interrupt.signal.aborted
    ? DONE
    : FAILED;

  /** Resolves with the milliseconds since the wish, or with null when time is over or a person interrupts. */
  async function holds(node: string, beganMs: number): Promise<number | null> {
    while (clock.now() - beganMs < command.timeoutMs && !interrupt.signal.aborted) {
      const read = await readLease(lease);
      if (read.kind === "lease" && read.record.holder === node) return clock.now() - beganMs;
      await pause(clock, LOOK_MS);
    }
    if (!interrupt.signal.aborted)
      printError(`leasehold: ${node} does not hold the VIP after ${duration(command.timeoutMs)}\n`);
    return null;
  }
}

function recordOf({ lease }: Answers) {
  return lease.kind === "ok" ? lease.value : null;
}

/** Most attempts were answered. One that has just begun does not count. */
function worksNow(probe: VipProbe, fromMs: number): boolean {
  const attempts = probe.attempts(fromMs);
  const answered = attempts.filter(({ error }) => error === "").length;
  return attempts.length > 0 && answered > attempts.length / 2;
}
