/**
 * Many runs on many threads. Each run is a world of its own, so the threads share nothing, and the order in
 * which they finish means nothing.
 */
import { Worker } from "node:worker_threads";
import type { Counts } from "./coverage.ts";
import type { Profile } from "./plan.ts";
import type { Fingerprint } from "./recorder.ts";
import type { Violation } from "./simulation.ts";

/**
 * `judge`: look for broken invariants. `shrink`: the same for a seed that failed, with what a person needs to
 * see of it. `fingerprint`, `coverage`: record what the agents do, and judge nothing.
 */
export type Task = { readonly seed: number; readonly profile: Profile } & (
  | { readonly kind: "judge"; readonly trace: boolean }
  /** `limitMs`: real time; 0 leaves the plan as it is. `lines`: of the timeline. */
  | { readonly kind: "shrink"; readonly limitMs: number; readonly lines: number }
  | { readonly kind: "fingerprint" }
  | { readonly kind: "coverage" }
);

/** True ms that were simulated, and what that cost in ms of one CPU. */
interface Cost {
  readonly simulatedMs: number;
  readonly cpuMs: number;
}

export type Outcome = { readonly seed: number; readonly profile: Profile } & Cost &
  (
    | { readonly kind: "judge"; readonly violation: Violation | undefined; readonly trace: readonly string[] }
    | { readonly kind: "shrink"; readonly text: string }
    | { readonly kind: "fingerprint"; readonly fingerprint: Fingerprint }
    | { readonly kind: "coverage"; readonly counts: Counts }
  );

/**
 * A run takes seconds, one hour of simulated time included, and a minute on a machine with much other work.
 */
const LIMIT_MS = 15 * 60_000;

/**
 * Plays what `next` gives on `jobs` threads, until it gives nothing more.
 * @param onOutcome is called once for each task, in the order in which they end
 * @throws {Error} naming the seed, when a run throws where no invariant looks, or is not over after a quarter
 *   of an hour
 */
export async function campaign(
  next: () => Task | undefined,
  jobs: number,
  onOutcome: (outcome: Outcome) => void,
): Promise<void> {
  await Promise.all(Array.from({ length: jobs }, () => oneThread(next, onOutcome)));
}

async function oneThread(next: () => Task | undefined, onOutcome: (outcome: Outcome) => void): Promise<void> {
  const worker = new Worker(new URL("./campaign-worker.ts", import.meta.url));
  try {
    for (let task = next(); task !== undefined; task = next()) onOutcome(await run(worker, task));
  } finally {
    await worker.terminate();
  }
}

function run(worker: Worker, task: Task): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      worker.off("message", onMessage).off("error", onError).off("exit", onExit);
      settle();
    };
    const fail = (why: string, cause?: unknown): void =>
      end(() => reject(new Error(`seed ${task.seed}, profile ${task.profile}: ${why}`, { cause })));
    const onMessage = (outcome: Outcome): void => end(() => resolve(outcome));
    const onError = (error: unknown): void =>
      fail(error instanceof Error ? (error.stack ?? error.message) : String(error), error);
    const onExit = (code: number): void => fail(`its thread has exited with ${code}`);
    const timer = setTimeout(() => fail(`not over after ${LIMIT_MS / 60_000} minutes`), LIMIT_MS);
    worker.on("message", onMessage).on("error", onError).on("exit", onExit);
    worker.postMessage(task);
  });
}
