/** Plays the deterministic simulation for long: `npm run sim -- --help`. */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { campaign } from "../test/sim/campaign.ts";
import type { Outcome, Task } from "../test/sim/campaign.ts";
import { differences, formatEntries, parseEntries } from "../test/sim/fingerprint-file.ts";
import type { Entry } from "../test/sim/fingerprint-file.ts";
import { loadProduction } from "../test/sim/production.ts";
import { makePlan, PROFILES } from "../test/sim/plan.ts";
import type { Profile } from "../test/sim/plan.ts";
import { report, shrink } from "../test/sim/shrink.ts";
import { fingerprintOf, runSeed } from "../test/sim/simulation.ts";

const HELP = `npm run sim -- [options]

Plays the simulation, one run a seed. Prints each failing seed with its timeline,
shrunk to the faults that it needs. Exit status 1 if any failed.

  --seeds N        how many seeds (100)
  --from S         the first one (1)
  --profile P      one of ${PROFILES.join(", ")};
                   without it each seed has one of them in turn
  --jobs N         threads (one for each CPU: ${availableParallelism()})
  --minutes M      begin no run after so long
  --failures N     print the timelines of so many failing seeds (3)
  --lines N        how much of a timeline (60)
  --no-shrink      print failing seeds as they are
  --trace          print every seed's timeline

Has the behaviour changed? Nothing is judged here; see docs/verification.md.

  --hash FILE      write what the agents did to FILE: a hash a seed over their
                   kernel calls, frames and API requests with the times
  --same-as FILE   compare with such a file, print the seeds that differ; exit
                   status 1 if any. Without --seeds: every seed of the file
  --records        print what is hashed, one record a line
`;

const options = parse();
const started = performance.now();
const cpu = process.cpuUsage();
const elapsedMs = (): number => performance.now() - started;
const enough = (): boolean => elapsedMs() >= options.minutes * 60_000;

// Who reads the records may have seen enough.
process.stdout.on("error", () => process.exit(0));

if (options.help) process.stdout.write(HELP);
else if (options.records) await printRecords();
else if (options.hash !== undefined || options.sameAs !== undefined) await compare();
else await search();

/** Looks for seeds that break an invariant. */
async function search(): Promise<void> {
  const production = await loadProduction();
  const counts = new Map<string, number>();
  let runs = 0;
  let failures = 0;
  let simulatedMs = 0;
  const failed: Outcome[] = [];
  const note = (outcome: Outcome): void => {
    runs += 1;
    simulatedMs += outcome.simulatedMs;
    if (outcome.violation !== undefined) failed.push(outcome);
  };
  if (options.trace) {
    for (const { seed, profile } of tasks("judge")) {
      const result = await runSeed(String(seed), profile, production);
      console.log(result.trace.join("\n"));
      note({ seed, profile, simulatedMs: result.simulatedMs, cpuMs: 0, violation: result.violation });
    }
  } else await campaign(tasks("judge"), options.jobs, enough, note);
  for (const { seed, profile, violation } of failed) {
    if (violation === undefined) continue;
    failures += 1;
    const key = `${violation.invariant} (${profile})`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    if (failures > options.failures) {
      console.log(`seed ${seed} ${profile}: ${violation.invariant}: ${violation.detail}`);
      continue;
    }
    const result = await runSeed(String(seed), profile, production);
    console.log(report(options.shrink ? await shrink(result, production) : result, options.lines), "\n");
  }
  const hours = simulatedMs / 3_600_000;
  console.log(`${runs} runs from seed ${options.from}, ${failures} failed; ${hours.toFixed(1)} simulated hours in ${spent(runs)}`);
  for (const [key, count] of counts) console.log(`  ${count} x ${key}`);
  process.exitCode = failures > 0 ? 1 : 0;
}

/** Writes fingerprints, or holds them against those of another version. */
async function compare(): Promise<void> {
  const then = options.sameAs === undefined ? undefined : read(options.sameAs);
  const now: Entry[] = [];
  const wanted = then !== undefined && !options.seedsGiven ? then.map(toTask) : tasks("fingerprint");
  await campaign(wanted, options.jobs, enough, ({ profile, seed, fingerprint }) => {
    if (fingerprint !== undefined) now.push({ profile, seed, fingerprint });
  });
  if (options.hash !== undefined) writeFileSync(options.hash, formatEntries(now));
  const different = then === undefined ? [] : differences(then, now);
  for (const line of different) console.log(line);
  const verdict = then === undefined ? "" : `, ${different.length} of them not as in ${options.sameAs}`;
  console.log(`${now.length} runs${verdict}; ${spent(now.length)}`);
  process.exitCode = different.length > 0 ? 1 : 0;
}

async function printRecords(): Promise<void> {
  const production = await loadProduction();
  for (const { seed, profile } of tasks("fingerprint")) {
    await fingerprintOf(makePlan(String(seed), profile), production, (line) => process.stdout.write(`${line}\n`));
  }
}

/** Of a machine that has other work as well, the CPU's seconds say more than the clock's. */
function spent(runs: number): string {
  const { user, system } = process.cpuUsage(cpu);
  const cpuSeconds = (user + system) / 1e6;
  return `${(elapsedMs() / 1_000).toFixed(0)} s, ${cpuSeconds.toFixed(0)} CPU seconds, ${(cpuSeconds / Math.max(1, runs)).toFixed(3)} a run`;
}

function* tasks(kind: Task["kind"]): Generator<Task, undefined> {
  for (let seed = options.from; seed < options.from + options.seeds; seed += 1) {
    yield { kind, seed, profile: options.profile ?? PROFILES[seed % PROFILES.length] ?? "chaos" };
  }
}

function toTask({ profile, seed }: Entry): Task {
  return { kind: "fingerprint", seed, profile: profileNamed(profile) ?? fail(`${options.sameAs}: no such profile: ${profile}`) };
}

function read(file: string): readonly Entry[] {
  try {
    return parseEntries(readFileSync(file, "utf8"));
  } catch (error) {
    return fail(`--same-as ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function profileNamed(name: string): Profile | undefined {
  return PROFILES.find((profile) => profile === name);
}

function parse() {
  const { values } = arguments_();
  const { profile } = values;
  if (profile !== undefined && profileNamed(profile) === undefined) fail(`--profile ${profile}: there are ${PROFILES.join(", ")}`);
  return {
    help: values.help,
    seeds: number("seeds", values.seeds ?? "100", 1),
    seedsGiven: values.seeds !== undefined || values.from !== undefined || profile !== undefined,
    from: number("from", values.from ?? "1", 0),
    profile: profile === undefined ? undefined : profileNamed(profile),
    jobs: number("jobs", values.jobs ?? String(availableParallelism()), 1),
    minutes: values.minutes === undefined ? Number.POSITIVE_INFINITY : number("minutes", values.minutes, 0),
    failures: number("failures", values.failures, 0),
    lines: number("lines", values.lines, 1),
    shrink: !values["no-shrink"],
    trace: values.trace,
    hash: values.hash,
    sameAs: values["same-as"],
    records: values.records,
  };
}

function arguments_() {
  try {
    return parseArgs({
      options: {
        help: { type: "boolean", default: false },
        seeds: { type: "string" },
        from: { type: "string" },
        profile: { type: "string" },
        jobs: { type: "string" },
        minutes: { type: "string" },
        lines: { type: "string", default: "60" },
        failures: { type: "string", default: "3" },
        trace: { type: "boolean", default: false },
        "no-shrink": { type: "boolean", default: false },
        hash: { type: "string" },
        "same-as": { type: "string" },
        records: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

function number(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < least || (name !== "minutes" && !Number.isInteger(value))) {
    fail(`--${name} ${text}: a number of at least ${least} is needed`);
  }
  return value;
}

function fail(message: string): never {
  process.stderr.write(`${message}\nnpm run sim -- --help says what there is.\n`);
  process.exit(2);
}
