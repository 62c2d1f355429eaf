/** Makes a failing plan smaller while it still breaks the same invariant: fewer faults, then nothing after the breach. */
import type { Fault, Plan } from "./plan.ts";
import { describeFault } from "./plan.ts";
import type { Production } from "./production.ts";
import { runPlan } from "./simulation.ts";
import type { RunResult } from "./simulation.ts";

/** Runs that one shrinking may cost. */
const MAX_RUNS = 150;

export async function shrink(failed: RunResult, production: Production): Promise<RunResult> {
  const invariant = failed.violation?.invariant;
  if (invariant === undefined) return failed;
  let best = failed;
  let runs = 0;
  const accepts = async (faults: readonly Fault[]): Promise<boolean> => {
    runs += 1;
    const result = await runPlan({ ...best.plan, faults }, production);
    if (result.violation?.invariant !== invariant) return false;
    best = result;
    return true;
  };
  await accepts(best.plan.faults.filter((fault) => fault.atMs <= (failed.violation?.atMs ?? 0)));
  // Halves, quarters, ... single faults (delta debugging without complements).
  for (let size = Math.ceil(best.plan.faults.length / 2); size >= 1 && runs < MAX_RUNS; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < best.plan.faults.length && runs < MAX_RUNS; ) {
      const faults = best.plan.faults.filter((_, index) => index < start || index >= start + size);
      if (!(await accepts(faults))) start += size;
    }
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
