/** Many runs on many threads. Each run is a world of its own, so the threads share nothing, and the order in which they finish means nothing. */
import { Worker } from "node:worker_threads";
import type { Profile } from "./plan.ts";
import type { Fingerprint } from "./recorder.ts";
import type { Violation } from "./simulation.ts";

/** `judge`: look for broken invariants. `fingerprint`: record what the agents do, and judge nothing. */
export interface Task {
  readonly kind: "judge" | "fingerprint";
  readonly seed: number;
  readonly profile: Profile;
}

export interface Outcome {
  readonly seed: number;
  readonly profile: Profile;
  /** True ms that were simulated. */
  readonly simulatedMs: number;
  /** What the run cost, ms of one CPU. */
  readonly cpuMs: number;
  readonly violation?: Violation | undefined;
  readonly fingerprint?: Fingerprint;
}

/**
 * Plays `tasks` on `jobs` threads, and resolves when all are done, or `enough` said so and those under way have ended.
 * @param onOutcome is called once for each run, in the order in which they end
 */
export async function campaign(tasks: Iterable<Task>, jobs: number, enough: () => boolean, onOutcome: (outcome: Outcome) => void): Promise<void> {
  const queue = tasks[Symbol.iterator]();
  await Promise.all(Array.from({ length: jobs }, () => oneThread(queue, enough, onOutcome)));
}

function oneThread(queue: Iterator<Task>, enough: () => boolean, onOutcome: (outcome: Outcome) => void): Promise<void> {
  const worker = new Worker(new URL("./campaign-worker.ts", import.meta.url));
  return new Promise((resolve, reject) => {
    const next = (): void => {
      const task = enough() ? undefined : queue.next().value;
      if (task !== undefined) return worker.postMessage(task);
      void worker.terminate();
      resolve();
    };
    worker.on("error", reject);
    worker.on("message", (outcome: Outcome) => {
      onOutcome(outcome);
      next();
    });
    next();
  });
}
