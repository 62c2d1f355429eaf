/** One thread of a campaign: plays the runs that it is given, one after the other. */
import { parentPort } from "node:worker_threads";
import type { Outcome, Task } from "./campaign.ts";
import { makePlan } from "./plan.ts";
import { loadProduction } from "./production.ts";
import { fingerprintOf, runPlan } from "./simulation.ts";

if (parentPort === null) throw new Error("campaign-worker.ts is started by campaign.ts");
const port = parentPort;
const production = await loadProduction();

port.on("message", (task: Task) => {
  void (async () => port.postMessage(await play(task)))();
});

async function play({ seed, profile, kind }: Task): Promise<Outcome> {
  const before = process.threadCpuUsage();
  const plan = makePlan(String(seed), profile);
  const done = (): Pick<Outcome, "seed" | "profile" | "cpuMs"> => {
    const { user, system } = process.threadCpuUsage(before);
    return { seed, profile, cpuMs: (user + system) / 1_000 };
  };
  switch (kind) {
    case "judge": {
      const { violation, simulatedMs } = await runPlan(plan, production);
      return { ...done(), simulatedMs, violation };
    }
    case "fingerprint": {
      const fingerprint = await fingerprintOf(plan, production);
      return { ...done(), simulatedMs: plan.lengthMs, fingerprint };
    }
  }
}
