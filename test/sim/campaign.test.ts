import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { campaign } from "./campaign.ts";
import type { Outcome, Task } from "./campaign.ts";
import { CoverageTable, formatCoverage, reasonsOf, reasonsOfSource } from "./coverage.ts";
import { makePlan } from "./plan.ts";
import { loadProduction } from "./production.ts";
import { ProgressFile } from "./progress-file.ts";
import type { Finished, Range } from "./progress-file.ts";
import { scenarioPlan, SCENARIOS } from "./scenarios.ts";
import { shrink } from "./shrink.ts";
import { coverageOf, runPlan } from "./simulation.ts";
import { pace, summary } from "./summary.ts";

const folder = mkdtempSync(join(tmpdir(), "leasehold-campaign-"));
after(() => rmSync(folder, { recursive: true }));

const sim = (
  ...args: string[]
): { readonly status: number | null; readonly stdout: string; readonly stderr: string } =>
  spawnSync(process.execPath, [fileURLToPath(new URL("../../scripts/sim.ts", import.meta.url)), ...args], {
    cwd: folder,
    encoding: "utf8",
    timeout: 120_000,
  });

const RANGE: Range = { from: 1, seeds: 3, profile: "people" };
const run = (seed: number, broken?: string): Finished => ({
  seed,
  profile: "people",
  simulatedMs: 60_000,
  cpuMs: 200,
  broken,
});

describe("a campaign", () => {
  test("plays each task once, on several threads, with the result that one thread has", async () => {
    const play = async (jobs: number): Promise<readonly Outcome[]> => {
      const tasks: Task[] = [1, 2, 3].map((seed) => ({ kind: "fingerprint", seed, profile: "people" }));
      const outcomes: Outcome[] = [];
      await campaign(
        () => tasks.shift(),
        jobs,
        (outcome) => outcomes.push(outcome),
      );
      return outcomes.toSorted((a, b) => a.seed - b.seed);
    };
    const hashes = (outcomes: readonly Outcome[]): readonly string[] =>
      outcomes.map((outcome) => (outcome.kind === "fingerprint" ? outcome.fingerprint.hash : ""));
    const alone = hashes(await play(1));
    assert.equal(new Set(alone).size, 3);
    assert.deepEqual(hashes(await play(2)), alone);
  });

  test("plays no more than the first run where shrinking has no time", async () => {
    const production = await loadProduction();
    const plan = makePlan("shrink", "people");
    const result = await runPlan(plan, production);
    const failed = { ...result, violation: { invariant: "none of ours", detail: "", atMs: plan.lengthMs } };
    assert.equal(await shrink(failed, production, 0), failed);
  });
});

describe("the progress of a search", () => {
  test("is found again, and a last line that was cut off is not", () => {
    const file = join(folder, "progress");
    const first = new ProgressFile(file, RANGE, RANGE, "v1");
    first.add(run(1));
    first.add(run(2, "boundInTime"));
    appendFileSync(file, "people 3 600");
    const again = new ProgressFile(file, undefined, { from: 9, seeds: 9, profile: undefined }, "v1");
    assert.deepEqual(again.range, RANGE);
    assert.deepEqual(again.finished, [run(1), run(2, "boundInTime")]);
    again.add(run(3));
    assert.deepEqual(
      new ProgressFile(file, RANGE, RANGE, "v1").finished.map(({ seed }) => seed),
      [1, 2, 3],
    );
  });

  test("of other seeds, of other code, or no progress at all is refused", () => {
    const file = join(folder, "other");
    new ProgressFile(file, RANGE, RANGE, "v1").add(run(1));
    assert.throws(() => new ProgressFile(file, { ...RANGE, seeds: 4 }, RANGE, "v1"), /other seeds/);
    assert.throws(() => new ProgressFile(file, RANGE, RANGE, "v2"), /code has changed/);
    writeFileSync(file, "hello\n");
    assert.throws(() => new ProgressFile(file, RANGE, RANGE, "v1"), /no progress/);
  });
});

describe("the summary of a search", () => {
  test("names what was broken, how often and by which seeds, and counts what held", () => {
    const lines = summary(
      [run(3, "boundInTime"), run(1), run(2, "boundInTime")],
      ["boundInTime", "noFlapping"],
    );
    assert.deepEqual(lines.slice(0, 2), [
      "  boundInTime: broken in 2 runs: people 2, people 3",
      "  1 of 2 invariants held in all runs: noFlapping",
    ]);
    assert.match(
      lines[2] ?? "",
      /people: 3 runs, 0.1 simulated hours, CPU seconds a run: median 0.20, mean 0.20/,
    );
  });
});

test("a search says how fast it is and how long it will take", () => {
  assert.equal(pace(600, 99_400, 60_000), "10.00 runs a second, about 166 minutes left");
  assert.equal(pace(0, 10, 60_000), "none finished yet");
});

describe("coverage", () => {
  test("knows every reason that the source gives, and the text of a run's reason again", async () => {
    const reasons = reasonsOf(
      [
        'draft.become(role, "stopped");',
        'return `${holder ?? "the holder"} holds the Lease`;',
        'log.warn({}, "said to the log alone");',
        '  // "a comment of three words"',
      ].join("\n"),
    );
    assert.deepEqual(
      reasons.map(({ text }) => text),
      ["<...> holds the Lease", "stopped"],
    );
    assert.match("n1 holds the Lease", reasons[0]?.pattern ?? /^$/);
    assert.match("the holder holds the Lease", reasons[0]?.pattern ?? /^$/);

    const table = new CoverageTable(reasonsOfSource());
    table.add(await coverageOf(scenarioPlan(SCENARIOS.stopWithNobodyToTakeIt, "1"), await loadProduction()));
    const reached = table
      .rows()
      .filter(({ times }) => times > 0)
      .map(({ what }) => what);
    assert.deepEqual(
      table.rows().filter(({ isKnown }) => !isKnown),
      [],
      "what a run reaches is in the table",
    );
    for (const what of [
      "role: BACKUP to MASTER: the API accepts its claim",
      "role: MASTER to RELEASING: it is stopping, and no candidate has taken its offer",
      "reason: the agent is stopping, and no candidate has taken the Lease",
      "effect: write: release",
      "effect: stopped",
    ])
      assert.ok(reached.includes(what), what);
  });

  test("says what was never reached, and what nobody knew of", () => {
    const table = new CoverageTable([]);
    table.add({ "role: STOPPED to MASTER": 2, "effect: hold": 3 });
    const text = formatCoverage(table.rows(), 1);
    assert.match(text, /^\| effect: hold +\| +3 \| +1 \|$/m);
    assert.match(text, /^Never reached in 1 runs: role: BACKUP to MASTER: the API accepts its claim; /m);
    assert.match(
      text,
      /^Reached, and not in the table of test\/sim\/coverage.ts: role: STOPPED to MASTER\.$/m,
    );
  });
});

describe("npm run sim", () => {
  test("goes on where it was interrupted, and tells of the failure that it found before", () => {
    const file = join(folder, "search");
    assert.equal(sim("--profile", "people", "--seeds", "2", "--resume", file).status, 0);
    const text = readFileSync(file, "utf8");
    const [head = "", one = ""] = text.split("\n");
    assert.equal(text.trimEnd().split("\n").length, 3);
    writeFileSync(file, `${head}\n${one.replace("held", "boundInTime")}\n`);
    const again = sim("--resume", file);
    assert.equal(again.status, 1, again.stderr);
    assert.match(again.stdout, /^1 of 2 runs have been played before$/m);
    assert.match(again.stdout, /^2 runs from seed 1, 1 failed/m);
    assert.match(again.stdout, /^ {2}boundInTime: broken in 1 runs: people [12]$/m);
  });

  test("begins at a number that is written as a commit's first digits", () => {
    const file = join(folder, "hex");
    const { status, stdout } = sim("--from", "0x0009525A", "--seeds", "1", "--resume", file);
    assert.equal(status, 0);
    assert.match(stdout, /^1 runs from seed 610906, 0 failed/m);
    assert.match(readFileSync(file, "utf8"), /^\w+ 610906 /m);
  });

  for (const args of [
    ["--seeds", "many"],
    ["--from", "9525549f"],
    ["--jobs", "0"],
    ["--profile", "none"],
    ["--unknown"],
  ]) {
    test(`refuses ${args.join(" ")}`, () => {
      const { status, stderr } = sim(...args);
      assert.equal(status, 2);
      assert.match(stderr, /--help/);
    });
  }
});
