/** Plays the deterministic simulation for long: `npm run sim -- --help`. */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { campaign } from "../test/sim/campaign.ts";
import type { Outcome, Task } from "../test/sim/campaign.ts";
import { CoverageTable, formatCoverage, reasonsOfSource } from "../test/sim/coverage.ts";
import { differences, formatEntries, parseEntries } from "../test/sim/fingerprint-file.ts";
import type { Entry } from "../test/sim/fingerprint-file.ts";
import { INVARIANTS } from "../test/sim/invariants.ts";
import { makePlan, profileOf, PROFILES } from "../test/sim/plan.ts";
import type { Profile } from "../test/sim/plan.ts";
import { loadProduction } from "../test/sim/production.ts";
import { ProgressFile } from "../test/sim/progress-file.ts";
import type { Finished, Range } from "../test/sim/progress-file.ts";
import { fingerprintOf } from "../test/sim/simulation.ts";
import { hours, pace, summary } from "../test/sim/summary.ts";

const HELP = `npm run sim -- [options]

Plays the simulation, one run a seed, and looks for broken invariants. Prints
each failing seed with its timeline, shrunk to the faults that it needs, and a
summary by invariant. Exit status 1 if any failed. Ctrl-C ends it early, with
the summary of what has been played.

  --seeds N           how many seeds (100)
  --from S            the first one (1); also as 0xHEX, such as a commit's first digits
  --profile P         one of ${PROFILES.join(", ")};
                      without it each seed has one of them in turn, and one in
                      32 the long persistent
  --jobs N            threads (one for each CPU: ${availableParallelism()})
  --minutes M         begin no run after so long
  --resume FILE       keep in FILE what has been done; go on there if it exists
  --failures N        shrink and print so many failing seeds (3)
  --shrink-seconds T  shrink a seed for so long (60); 0: print it as it is
  --lines N           how much of a timeline (60)
  --trace             print every seed's timeline

Has the behaviour changed? Nothing is judged here; see docs/verification.md.

  --hash FILE         write what the agents did to FILE: a hash a seed over their
                      kernel calls, frames and API requests with the times
  --same-as FILE      compare with such a file, print the seeds that differ; exit
                      status 1 if any. Without --seeds: every seed of the file
  --records           print what is hashed, one record a line

Do the seeds reach everything? Nothing is judged here either.

  --coverage          print how often they reached each change of role, reason
                      and effect of the election, as a table
`;

const PROGRESS_MS = 60_000;

const options = parse();
const startedMs = performance.now();
const cpu = process.cpuUsage();
const elapsedMs = (): number => performance.now() - startedMs;
let interrupted = false;
process.once("SIGINT", () => {
  interrupted = true;
});
// Who reads the records may have seen enough.
process.stdout.on("error", () => process.exit(0));

if (options.help) process.stdout.write(HELP);
else if (options.records) await printRecords();
else if (options.coverage) await cover();
else if (options.hash !== undefined || options.sameAs !== undefined) await compare();
else await search();

/** Looks for seeds that break an invariant. */
async function search(): Promise<void> {
  const progress = options.resume === undefined ? undefined : openProgress(options.resume);
  const range = progress?.range ?? options.range;
  const finished = [...(progress?.finished ?? [])];
  const done = new Set(finished.map(({ seed }) => seed));
  if (done.size > 0) console.log(`${done.size} of ${range.seeds} runs have been played before`);
  const toShrink: Task[] = [];
  let shrunk = 0;
  const seeds = taken(seedsOf(range), ({ seed }) => !done.has(seed));
  const next = (): Task | undefined =>
    toShrink.shift() ?? taskOf(seeds, (one) => ({ ...one, kind: "judge", trace: options.trace }));
  const onOutcome = (outcome: Outcome): void => {
    if (outcome.kind === "shrink") console.log(outcome.text, "\n");
    if (outcome.kind !== "judge") return;
    const { seed, profile, simulatedMs, cpuMs, violation, trace } = outcome;
    const run: Finished = { seed, profile, simulatedMs, cpuMs, broken: violation?.invariant };
    if (options.trace) console.log(trace.join("\n"));
    finished.push(run);
    progress?.add(run);
    if (violation === undefined) return;
    console.log(`seed ${seed}, profile ${profile}: ${violation.invariant}: ${violation.detail}`);
    if (++shrunk <= options.failures)
      toShrink.push({
        kind: "shrink",
        seed,
        profile,
        limitMs: options.shrinkSeconds * 1_000,
        lines: options.lines,
      });
  };
  await withProgress(
    range.seeds - done.size,
    () => ({ played: finished.length - done.size, also: `, ${failuresOf(finished)} failed` }),
    () => campaign(next, options.jobs, onOutcome),
  );
  const failures = failuresOf(finished);
  const early = finished.length < range.seeds ? ` of ${range.seeds}` : "";
  console.log(
    `${finished.length}${early} runs from seed ${range.from}, ${failures} failed; ${hours(finished)} simulated hours; now ${spent(finished.length - done.size)}`,
  );
  for (const line of summary(finished, [...Object.keys(INVARIANTS), "processNeverExits"])) console.log(line);
  process.exitCode = failures > 0 ? 1 : 0;
}

/** Writes fingerprints, or holds them against those of another version. */
async function compare(): Promise<void> {
  const then = options.sameAs === undefined ? undefined : read(options.sameAs);
  const now: Entry[] = [];
  const wanted =
    then !== undefined && !options.rangeGiven
      ? then.map(({ seed, profile }) => ({
          seed,
          profile: profileNamed(profile) ?? fail(`${options.sameAs}: no such profile: ${profile}`),
        }))
      : [...seedsOf(options.range)];
  const seeds = wanted.values();
  const next = (): Task | undefined => taskOf(seeds, (one) => ({ ...one, kind: "fingerprint" }));
  const onOutcome = (outcome: Outcome): void => {
    if (outcome.kind === "fingerprint")
      now.push({ profile: outcome.profile, seed: outcome.seed, fingerprint: outcome.fingerprint });
  };
  await withProgress(
    wanted.length,
    () => ({ played: now.length }),
    () => campaign(next, options.jobs, onOutcome),
  );
  if (options.hash !== undefined) writeFileSync(options.hash, formatEntries(now));
  const different = then === undefined ? [] : differences(then, now);
  for (const line of different) console.log(line);
  const verdict = then === undefined ? "" : `, ${different.length} of them not as in ${options.sameAs}`;
  const early = now.length < wanted.length ? ` of ${wanted.length}` : "";
  console.log(`${now.length}${early} runs${verdict}; ${spent(now.length)}`);
  process.exitCode = different.length > 0 || early !== "" ? 1 : 0;
}

/** Counts what the election reaches. */
async function cover(): Promise<void> {
  const table = new CoverageTable(reasonsOfSource());
  let runs = 0;
  const seeds = seedsOf(options.range);
  const next = (): Task | undefined => taskOf(seeds, (one) => ({ ...one, kind: "coverage" }));
  const onOutcome = (outcome: Outcome): void => {
    if (outcome.kind !== "coverage") return;
    runs += 1;
    table.add(outcome.counts);
  };
  await withProgress(
    options.range.seeds,
    () => ({ played: runs }),
    () => campaign(next, options.jobs, onOutcome),
  );
  console.log(formatCoverage(table.rows(), runs));
  process.stderr.write(`${spent(runs)}\n`);
}

async function printRecords(): Promise<void> {
  const production = await loadProduction();
  for (const { seed, profile } of seedsOf(options.range)) {
    await fingerprintOf(makePlan(String(seed), profile), production, (line) =>
      process.stdout.write(`${line}\n`),
    );
  }
}

function failuresOf(finished: readonly Finished[]): number {
  return finished.filter(({ broken }) => broken !== undefined).length;
}

interface Seed {
  readonly seed: number;
  readonly profile: Profile;
}

function* seedsOf({ from, seeds, profile }: Range): Generator<Seed, undefined> {
  for (let seed = from; seed < from + seeds; seed += 1) yield { seed, profile: profile ?? profileOf(seed) };
}

function* taken(seeds: Iterable<Seed>, wanted: (seed: Seed) => boolean): Generator<Seed, undefined> {
  for (const seed of seeds) if (wanted(seed)) yield seed;
}

/** The next one, unless the time is over or somebody has pressed Ctrl-C. */
function taskOf(seeds: Iterator<Seed, undefined>, make: (seed: Seed) => Task): Task | undefined {
  if (interrupted || elapsedMs() >= options.minutes * 60_000) return undefined;
  const { value } = seeds.next();
  return value === undefined ? undefined : make(value);
}

/** Says every minute how far it is and how fast: on stderr, as it is no result. */
async function withProgress(
  total: number,
  describe: () => { readonly played: number; readonly also?: string },
  run: () => Promise<void>,
): Promise<void> {
  const timer = setInterval(() => {
    const { played, also = "" } = describe();
    const minutes = (elapsedMs() / 60_000).toFixed(0);
    process.stderr.write(
      `${played} of ${total} runs${also} after ${minutes} minutes: ${pace(played, total - played, elapsedMs())}\n`,
    );
  }, PROGRESS_MS);
  try {
    await run();
  } finally {
    clearInterval(timer);
  }
}

/** Of a machine that has other work as well, the CPU's seconds say more than the clock's. */
function spent(runs: number): string {
  const { user, system } = process.cpuUsage(cpu);
  const cpuSeconds = (user + system) / 1e6;
  return `${(elapsedMs() / 1_000).toFixed(0)} s, ${cpuSeconds.toFixed(0)} CPU seconds, ${(cpuSeconds / Math.max(1, runs)).toFixed(3)} a run`;
}

function openProgress(file: string): ProgressFile {
  try {
    return new ProgressFile(file, options.rangeGiven ? options.range : undefined, options.range);
  } catch (error) {
    return fail(`--resume ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function read(file: string): readonly Entry[] {
  try {
    return parseEntries(readFileSync(file, "utf8"));
  } catch (error) {
    return fail(`--same-as ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function profileNamed(name: string | undefined): Profile | undefined {
  return PROFILES.find((profile) => profile === name);
}

function parse() {
  const { values } = words();
  const { profile } = values;
  if (profile !== undefined && profileNamed(profile) === undefined)
    fail(`--profile ${profile}: there are ${PROFILES.join(", ")}`);
  return {
    help: values.help,
    range: {
      from: number("from", values.from ?? "1", 0),
      seeds: number("seeds", values.seeds ?? "100", 1),
      profile: profileNamed(profile),
    },
    rangeGiven: values.seeds !== undefined || values.from !== undefined || profile !== undefined,
    // One timeline after the other.
    jobs: values.trace ? 1 : number("jobs", values.jobs ?? String(availableParallelism()), 1),
    minutes: values.minutes === undefined ? Number.POSITIVE_INFINITY : number("minutes", values.minutes, 0),
    resume: values.resume,
    failures: number("failures", values.failures, 0),
    shrinkSeconds: number("shrink-seconds", values["shrink-seconds"], 0),
    lines: number("lines", values.lines, 1),
    trace: values.trace,
    hash: values.hash,
    sameAs: values["same-as"],
    records: values.records,
    coverage: values.coverage,
  };
}

function words() {
  try {
    return parseArgs({
      options: {
        help: { type: "boolean", default: false },
        seeds: { type: "string" },
        from: { type: "string" },
        profile: { type: "string" },
        jobs: { type: "string" },
        minutes: { type: "string" },
        resume: { type: "string" },
        failures: { type: "string", default: "3" },
        "shrink-seconds": { type: "string", default: "60" },
        lines: { type: "string", default: "60" },
        trace: { type: "boolean", default: false },
        hash: { type: "string" },
        "same-as": { type: "string" },
        records: { type: "boolean", default: false },
        coverage: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

/** A whole number, in decimal or as 0xHEX; --minutes may have a fraction. */
function number(name: string, text: string, least: number): number {
  const value = Number(text);
  if (
    text.trim() === "" ||
    !Number.isFinite(value) ||
    value < least ||
    (name !== "minutes" && !Number.isSafeInteger(value))
  ) {
    fail(`--${name} ${text}: a number of at least ${least} is needed`);
  }
  return value;
}

function fail(message: string): never {
  process.stderr.write(`${message}\nnpm run sim -- --help says what there is.\n`);
  process.exit(2);
}
