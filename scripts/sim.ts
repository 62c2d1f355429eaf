/**
 * Runs the deterministic simulation long:
 * `npm run sim -- [--seeds N] [--from S] [--profile P] [--minutes M] [--trace]`. Prints each failing seed with its shrunken timeline; exit 1 if any.
 */
import { parseArgs } from "node:util";
import { loadProduction } from "../test/sim/production.ts";
import { PROFILES } from "../test/sim/plan.ts";
import type { Profile } from "../test/sim/plan.ts";
import { report, shrink } from "../test/sim/shrink.ts";
import { runSeed } from "../test/sim/simulation.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    from: { type: "string", default: "1" },
    profile: { type: "string" },
    minutes: { type: "string", default: "1e9" },
    lines: { type: "string", default: "60" },
    failures: { type: "string", default: "3" },
    trace: { type: "boolean", default: false },
    "no-shrink": { type: "boolean", default: false },
  },
});

const production = await loadProduction();
const started = performance.now();
const first = Number(values.from);
let runs = 0;
let simulatedMs = 0;
let failures = 0;
const cpu = process.cpuUsage();
const elapsedMs = (): number => performance.now() - started;
const counts = new Map<string, number>();

for (let seed = first; seed < first + Number(values.seeds) && elapsedMs() < Number(values.minutes) * 60_000; seed += 1) {
  const profile = profileOf(seed);
  const result = await runSeed(String(seed), profile, production);
  runs += 1;
  simulatedMs += result.simulatedMs;
  if (values.trace) console.log(result.trace.join("\n"));
  if (result.violation === undefined) continue;
  failures += 1;
  const key = `${result.violation.invariant} (${profile})`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
  if (failures > Number(values.failures)) {
    console.log(`seed ${seed} ${profile}: ${result.violation.invariant}: ${result.violation.detail}`);
    continue;
  }
  const small = values["no-shrink"] ? result : await shrink(result, production);
  console.log(report(small, Number(values.lines)), "\n");
}

const hours = simulatedMs / 3_600_000;
// Of a machine that has other work as well, the CPU's seconds say more than the clock's.
const used = process.cpuUsage(cpu);
const cpuSeconds = (used.user + used.system) / 1e6;
console.log(
  `${runs} runs from seed ${first}, ${failures} failed; ${hours.toFixed(1)} simulated hours in ${(elapsedMs() / 1_000).toFixed(0)} s (${(hours / (elapsedMs() / 1_000)).toFixed(2)} h/s, ${(hours / cpuSeconds).toFixed(2)} h per CPU second)`,
);
for (const [key, count] of counts) console.log(`  ${count} x ${key}`);
process.exitCode = failures > 0 ? 1 : 0;

function profileOf(seed: number): Profile {
  const wanted = PROFILES.find((profile) => profile === values.profile);
  if (values.profile !== undefined && wanted === undefined) throw new RangeError(`no such profile; there are ${PROFILES.join(", ")}`);
  return wanted ?? PROFILES[seed % PROFILES.length] ?? "chaos";
}
