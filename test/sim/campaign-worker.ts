/** One thread of a campaign: plays the runs that it is given, one after the other. */
import { parentPort } from "node:worker_threads";
import type { Outcome, Task } from "./campaign.ts";
import { makePlan } from "./plan.ts";
import { loadProduction } from "./production.ts";
import { report, shrink } from "./shrink.ts";
import { coverageOf, fingerprintOf, runPlan } from "./simulation.ts";

if (parentPort === null) throw new Error("campaign-worker.ts is started by campaign.ts");
const port = parentPort;
const production = await loadProduction();

port.on("message", (task: Task) => {
  void (async () => port.postMessage(await play(task)))();
});

async function play(task: Task): Promise<Outcome> {
  const { seed, profile } = task;
  const before = process.threadCpuUsage();
  const plan = makePlan(String(seed), profile);
  const cost = (simulatedMs: number): Pick<Outcome, "seed" | "profile" | "simulatedMs" | "cpuMs"> => {
    const { user, system } = process.threadCpuUsage(before);
    return { seed, profile, simulatedMs, cpuMs: (user + system) / 1_000 };
  };
  switch (task.kind) {
    case "judge": {
      const { violation, simulatedMs, trace } = await runPlan(plan, production);
      return { kind: "judge", ...cost(simulatedMs), violation, trace: task.trace ? trace : [] };
    }
    case "shrink": {
      const failed = await runPlan(plan, production);
      const small = await shrink(failed, production, task.limitMs);
      return { kind: "shrink", ...cost(small.simulatedMs), text: report(small, task.lines) };
    }
    case "fingerprint": {
      const fingerprint = await fingerprintOf(plan, production);
      return { kind: "fingerprint", ...cost(plan.lengthMs), fingerprint };
    }
    case "coverage": {
      const counts = await coverageOf(plan, production);
      return { kind: "coverage", ...cost(plan.lengthMs), counts };
    }
  }
}
