/**
 * Makes a failing plan smaller while it still breaks the same invariant: fewer faults, then nothing after the
 * breach.
 */
import { describeFault } from "./plan.ts";
import type { Production } from "./production.ts";
import { runPlan } from "./simulation.ts";
import type { RunResult } from "./simulation.ts";

/** Runs that one shrinking may cost. */
const MAX_RUNS = 150;

/** @param limitMs begins no further run after so long, real time; what is smallest by then counts */
export async function shrink(
  failed: RunResult,
  production: Production,
  limitMs = Number.POSITIVE_INFINITY,
): Promise<RunResult> {
  const startedMs = performance.now();
  const invariant = failed.violation?.invariant;
  if (invariant === undefined) return failed;
  const before = failed.plan.faults.filter((fault) => fault.atMs <= (failed.violation?.atMs ?? 0));
  let best = failed;
  let size = before.length;
  let start = 0;
  let attempt = before;
  for (let run = 0; run < MAX_RUNS && size >= 1 && performance.now() - startedMs < limitMs; run += 1) {
    const result = await runPlan({ ...best.plan, faults: attempt }, production);
    if (result.violation?.invariant === invariant) best = result;
    else start += size;
    // All, halves, quarters, ... single faults (delta debugging without complements).
    if (run === 0 || start >= best.plan.faults.length) {
      size = size === 1 ? 0 : Math.ceil(size / 2);
      start = 0;
    }
    const [from, end] = [start, start + size];
    attempt = best.plan.faults.filter((_, index) => index < from || index >= end);
  }
  return best;
}

/** What a person needs to see of a failed run. */
export function report(result: RunResult, lines = 60): string {
  const { plan, violation, trace } = result;
  const head = [
    `seed ${plan.seed}, profile ${plan.profile}: ${violation === undefined ? "nothing wrong" : `${violation.invariant}: ${violation.detail} (at ${(violation.atMs / 1_000).toFixed(3)} s)`}`,
    `nodes ${plan.nodes.map((node, index) => `n${index + 1}(${node.base}, x${node.rate.toFixed(3)})`).join(" ")}; nopreempt ${plan.nopreempt}${plan.nopreemptStrict ? " strict" : ""}, preempt delay ${plan.preemptDelayMs} ms, Lease ${plan.lease}`,
    `faults:`,
    ...plan.faults.map((fault) => `  ${describeFault(fault)}`),
    `timeline${trace.length > lines ? ` (last ${lines} of ${trace.length} lines)` : ""}:`,
  ];
  return [...head, ...trace.slice(-lines)].join("\n");
}
