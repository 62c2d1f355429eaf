/**
 * `npm run bench -- NAME [--rounds N] [--beside-every N] [--subjects NAME,..] [--only SCENARIO,..] [--json
 * FILE]`: runs one benchmark, or part of one; prints ours, the programs beside it and the goals. Exit code 1
 * when a goal is missed, 2 for wrong arguments, 69 where it cannot run here. Without a name: the list.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { enterSandbox, insideSandbox } from "../support/sandbox/sandbox.ts";
import { balancer } from "./balancer/balancer.ts";
import { failover } from "./failover/failover.ts";
import { idle } from "./idle/idle.ts";
import { moves } from "./moves/moves.ts";
import { proxy } from "./proxy/proxy.ts";
import { missedGoals, table } from "./report.ts";
import type { Benchmark, Plan, Sample } from "./report.ts";
import { select } from "./selection.ts";
import { upgrade } from "./upgrade/upgrade.ts";

const BENCHMARKS: readonly Benchmark[] = [balancer, failover, idle, moves, proxy, upgrade];
const CANNOT_RUN = 69; // EX_UNAVAILABLE, sysexits.h

process.exit(await main());

async function main(): Promise<number> {
  const asked = parse();
  if (typeof asked === "string") {
    process.stderr.write(`${asked}\n${list()}`);
    return 2;
  }
  const { benchmark } = asked;
  if (benchmark === undefined) {
    process.stdout.write(list());
    return 0;
  }
  const obstacle = await prepare(benchmark);
  if (obstacle !== undefined) {
    process.stderr.write(`${obstacle}\n`);
    return CANNOT_RUN;
  }
  if (benchmark.needs !== "nothing") await enterSandbox();
  return measure(
    benchmark,
    { rounds: asked.rounds ?? benchmark.defaultRounds, besideEvery: asked.besideEvery },
    asked.json,
  );
}

interface Asked {
  /** undefined: show the list. */
  readonly benchmark: Benchmark | undefined;
  readonly rounds: number | undefined;
  readonly besideEvery: number;
  readonly json: string | undefined;
}

/** What was asked for, or what is wrong with it. */
function parse(): string | Asked {
  try {
    const text = { type: "string" } as const;
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { rounds: text, "beside-every": text, json: text, subjects: text, only: text },
    });
    const [name, ...more] = positionals;
    if (more.length > 0) return "one benchmark at a time";
    const whole = BENCHMARKS.find((benchmark) => benchmark.name === name);
    if (name !== undefined && whole === undefined) return `no benchmark ${name}`;
    const benchmark =
      whole === undefined ? undefined : select(whole, { subjects: values.subjects, only: values.only });
    if (typeof benchmark === "string") return benchmark;
    const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
    if (rounds !== undefined && !isCount(rounds)) return "--rounds takes a whole number from 1";
    const besideEvery = Number(values["beside-every"] ?? 1);
    if (!isCount(besideEvery)) return "--beside-every takes a whole number from 1";
    if (values["beside-every"] !== undefined && benchmark !== undefined && benchmark.scenarios === undefined)
      return `a round of ${benchmark.name} is one whole: no --beside-every`;
    return { benchmark, rounds, besideEvery, json: values.json };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value > 0;
}

function list(): string {
  return BENCHMARKS.map(({ name, summary, defaultRounds, subjects, scenarios }) => {
    const parts =
      scenarios === undefined
        ? ""
        : `  --subjects: ${subjects.join(", ")}\n  --only: ${scenarios.join(", ")}\n`;
    return `${name.padEnd(12)} ${summary} (${defaultRounds} rounds)\n${parts}`;
  }).join("");
}

/**
 * What needs the network or the sources, before the sandbox takes them away; answers why it cannot run, in a
 * sentence.
 */
async function prepare(benchmark: Benchmark): Promise<string | undefined> {
  try {
    benchmark.anchorVersion();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  if (benchmark.needs !== "control plane" || insideSandbox()) return undefined;
  const script = fileURLToPath(new URL("../../scripts/build.ts", import.meta.url));
  const built = spawnSync(process.execPath, [script], { encoding: "utf8", timeout: 120_000 });
  if (built.status !== 0) return `the build failed:\n${built.stderr}`;
  const found = await findBinaries((line) => process.stderr.write(`control plane: ${line}\n`));
  return found.kind === "found" ? undefined : found.reason;
}

async function measure(
  benchmark: Benchmark,
  { rounds, besideEvery }: Pick<Plan, "rounds" | "besideEvery">,
  json: string | undefined,
): Promise<number> {
  const beside = benchmark.anchorVersion();
  process.stdout.write(`${benchmark.name}: ${benchmark.summary}; ${rounds} rounds; beside ${beside}\n`);
  const samples: Sample[] = [];
  await benchmark.run(
    { rounds, besideEvery, subjects: benchmark.subjects, scenarios: benchmark.scenarios ?? [] },
    (sample) => {
      samples.push(sample);
      process.stderr.write(
        `round ${sample.round}  ${sample.subject}  ${sample.metric}: ${sample.value.toFixed(2)}\n`,
      );
    },
  );
  process.stdout.write(`${table(benchmark, samples)}\n`);
  const missed = missedGoals(benchmark, samples);
  if (json !== undefined) {
    // Without the machine, raw figures mean nothing to whoever reads them later.
    const machine = {
      cpu: cpus()[0]?.model,
      cpus: cpus().length,
      memoryBytes: totalmem(),
      kernel: release(),
      node: process.versions.node,
    };
    const { name, subjects, scenarios } = benchmark;
    const result = {
      benchmark: name,
      at: new Date().toISOString(),
      rounds,
      besideEvery,
      subjects,
      scenarios,
      machine,
      anchor: beside,
      missed,
      samples,
    };
    writeFileSync(json, `${JSON.stringify(result, null, 2)}\n`);
  }
  return missed.length === 0 ? 0 : 1;
}
