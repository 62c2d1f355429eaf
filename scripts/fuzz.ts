/** Gives damaged inputs to every parser of outside bytes: `npm run fuzz -- --help`. */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { fuzzOne, inputOf, report } from "../test/support/fuzz/fuzz.ts";
import type { Failure, Target } from "../test/support/fuzz/fuzz.ts";
import { TARGETS } from "../test/support/fuzz/targets.ts";

const HELP = `npm run fuzz -- [options]

Damages good inputs and gives them to every parser of bytes from outside: frames, the kernel's messages, the
API's answers, annotations, kubeconfigs, certificates, other programs' configurations, recordings, peers'
answers. Prints what a parser threw that it does not document, what took long, and what broke a promise, with
the smallest input and the seed. Exit status 1 if there was any, 2 for wrong options.

  --minutes N    for so long (1)
  --seed S       the same inputs as in another run (random)
  --target NAME  one of: ${TARGETS.map(({ name }) => name).join("; ")}
  --from N       begin with this input (0)
  --count N      read so many inputs of each, however long it takes
`;

interface Task {
  readonly seed: string;
  readonly names: readonly string[];
  readonly from: number;
  readonly count: number;
  readonly endMs: number;
  /** What is read now, for the thread that watches: the target's place in the list, and the input's number. */
  readonly now: SharedArrayBuffer;
}

type Told =
  | { readonly kind: "failure"; readonly text: string }
  | { readonly kind: "end"; readonly inputs: number };

/** A parser that is busy with one input for so long hangs. The longest allowed takes 2 s. */
const HUNG_MS = 60_000;
const MOST_FAILURES = 10;
const PROGRESS_MS = 60_000;

if (isMainThread) process.exitCode = await main();
else await play(workerData);

/** Runs in the thread that may hang. */
async function play({ seed, names, from, count, endMs, now }: Task): Promise<void> {
  const tell = (told: Told): void => parentPort?.postMessage(told);
  const place = new Int32Array(now);
  const targets = TARGETS.filter(({ name }) => names.includes(name));
  let failures = 0;
  let inputs = 0;
  for (let number = from; number < from + count; number++) {
    for (const target of targets) {
      Atomics.store(place, 0, TARGETS.indexOf(target));
      Atomics.store(place, 1, number);
      const failure: Failure | undefined = await fuzzOne(target, seed, number);
      inputs += 1;
      if (failure === undefined) continue;
      failures += 1;
      tell({ kind: "failure", text: report(failure) });
    }
    if (failures >= MOST_FAILURES || Date.now() >= endMs) break;
  }
  tell({ kind: "end", inputs });
}

function main(): Promise<number> | number {
  const options = optionsOf(process.argv.slice(2));
  if (typeof options === "string") {
    process.stderr.write(`fuzz: ${options}\n`);
    return 2;
  }
  if (options === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const { targets, ...rest } = options;
  const task: Task = { ...rest, names: targets.map(({ name }) => name), now: new SharedArrayBuffer(8) };
  console.log(`seed ${task.seed}, ${targets.length} parsers`);
  return watched(task);
}

function watched(task: Task): Promise<number> {
  const place = new Int32Array(task.now);
  const startedMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedMs) / 1_000);
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: task });
    let failures = 0;
    let last = "";
    let sinceMs = performance.now();
    let toldMs = performance.now();
    const timer = setInterval(() => {
      const at = [...place].join(" ");
      if (at !== last) {
        last = at;
        sinceMs = performance.now();
      } else if (performance.now() - sinceMs > HUNG_MS) {
        const target = TARGETS[place[0] ?? 0];
        const number = place[1] ?? 0;
        const input =
          target === undefined ? "" : Buffer.from(inputOf(target, task.seed, number)).toString("base64");
        console.log(`${target?.name}: input ${number} of seed ${task.seed} hangs\n${input}`);
        finish(1);
      }
      if (performance.now() - toldMs < PROGRESS_MS) return;
      toldMs = performance.now();
      console.log(`${seconds()} s: input ${place[1]} of each, ${failures} failures`);
    }, 1_000);
    const finish = (status: number): void => {
      clearInterval(timer);
      void worker.terminate().then(() => resolve(status));
    };
    worker.on("message", (told: Told) => {
      if (told.kind === "failure") {
        failures += 1;
        console.log(`\n${told.text}`);
        return;
      }
      console.log(`${told.inputs} inputs in ${seconds()} s, ${failures} failures, seed ${task.seed}`);
      finish(failures > 0 ? 1 : 0);
    });
    worker.on("error", (error) => {
      clearInterval(timer);
      reject(error);
    });
  });
}

/** Returns what is wrong with them in words; undefined when help is asked for. */
function optionsOf(
  argv: readonly string[],
): (Omit<Task, "names" | "now"> & { readonly targets: readonly Target[] }) | string | undefined {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        minutes: { type: "string" },
        seed: { type: "string" },
        target: { type: "string" },
        from: { type: "string" },
        count: { type: "string" },
        help: { type: "boolean" },
      },
      strict: true,
    }));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  if (values.help === true) return undefined;
  const minutes = Number(values.minutes ?? "1");
  if (!(minutes > 0 && minutes <= 10_000)) return `--minutes is a number above 0, not ${values.minutes}`;
  const [from, count] = [Number(values.from ?? "0"), Number(values.count ?? Number.MAX_SAFE_INTEGER)];
  if (!Number.isSafeInteger(from) || from < 0) return `--from is a whole number, not ${values.from}`;
  if (!Number.isSafeInteger(count) || count < 1)
    return `--count is a whole number above 0, not ${values.count}`;
  const targets = TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
  if (targets.length === 0)
    return `${values.target} is no parser; use one of: ${TARGETS.map(({ name }) => name).join("; ")}`;
  return {
    seed: values.seed ?? randomBytes(4).toString("hex"),
    from,
    count,
    endMs: values.count === undefined ? Date.now() + minutes * 60_000 : Number.POSITIVE_INFINITY,
    targets,
  };
}
