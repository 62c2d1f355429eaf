/** A benchmark's verdict is arithmetic, and nobody would notice a wrong one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { medianRatio, missedGoals, table, takesPart } from "../../bench/report.ts";
import type { Benchmark, Sample } from "../../bench/report.ts";

const sample = (round: number, subject: string, value: number, metric = "rate"): Sample => ({
  round,
  subject,
  metric,
  value,
});
const benchmark: Benchmark = {
  name: "x",
  summary: "",
  defaultRounds: 3,
  subjects: ["anchor", "ours"],
  ours: "ours",
  anchor: "anchor",
  metrics: [
    { name: "rate", unit: "1/s", decimals: 0 },
    { name: "lag", unit: "ms", decimals: 0, goal: { kind: "every-round-at-most", value: 250 } },
    { name: "live", unit: "%", decimals: 1, goal: { kind: "every-round-at-least", value: 100 } },
  ],
  ratioGoals: [
    { metric: "rate", of: "ours", over: "anchor", kind: "at-least", value: 2, judged: true },
    { metric: "rate", of: "ours", over: "anchor", kind: "at-least", value: 5, judged: false },
  ],
  anchorVersion: () => "",
  needs: "nothing",
  run: async () => {},
};
const good = [sample(1, "ours", 100, "lag"), sample(2, "ours", 250, "lag"), sample(1, "ours", 100, "live")];

describe("the report", () => {
  // The machine was three times as fast in round 2: within a round the ratio stays what it is.
  const rates = [
    sample(1, "anchor", 10),
    sample(1, "ours", 20),
    sample(2, "anchor", 30),
    sample(2, "ours", 75),
    sample(3, "anchor", 10),
    sample(3, "ours", 40),
  ];

  test("pairs values of one round before it takes the median", () => {
    assert.equal(medianRatio(rates, "rate", "ours", "anchor"), 2.5);
    assert.equal(medianRatio([...rates, sample(4, "ours", 999)], "rate", "ours", "anchor"), 2.5);
    assert.ok(Number.isNaN(medianRatio([sample(1, "ours", 1)], "rate", "ours", "anchor")));
  });

  test("misses a goal in the one round that was not as it should be, and one that was never measured", () => {
    assert.deepEqual(missedGoals(benchmark, [...rates, ...good]), []);
    assert.deepEqual(missedGoals(benchmark, [...rates, ...good, sample(3, "ours", 251, "lag")]), ["lag"]);
    assert.deepEqual(missedGoals(benchmark, [...rates, sample(1, "ours", 99.8, "live")]), ["lag", "live"]);
    assert.deepEqual(missedGoals(benchmark, good), ["rate: ours / anchor"]);
  });

  test("a median that is met does not excuse a round beyond what is always to be", () => {
    const one: Benchmark = {
      ...benchmark,
      metrics: [{ name: "gap", unit: "ms", decimals: 0, goal: { kind: "at-most", value: 300, always: 500 } }],
      ratioGoals: [],
    };
    const gaps = (...values: readonly number[]): readonly Sample[] =>
      values.map((value, index) => sample(index + 1, "ours", value, "gap"));
    assert.deepEqual(missedGoals(one, gaps(200, 300, 500)), []);
    assert.deepEqual(missedGoals(one, gaps(200, 250, 501)), ["gap"]);
    assert.deepEqual(missedGoals(one, gaps(200, 301, 400)), ["gap"]);
    assert.deepEqual(missedGoals(one, []), ["gap"]);
    assert.match(
      table(one, gaps(200, 250, Infinity)),
      /250 \(200-never\).*<= 300, always <= 500 ms: MISSED$/m,
    );
  });

  test("ours takes part in every round, those beside it in as many as are asked for, which the table says", () => {
    const plan = { rounds: 7, subjects: [], scenarios: [], besideEvery: 3 };
    const rounds = [1, 2, 3, 4, 5, 6, 7];
    assert.deepEqual(
      rounds.filter((round) => takesPart("anchor", "ours", round, plan)),
      [1, 4, 7],
    );
    assert.deepEqual(
      rounds.filter((round) => takesPart("ours", "ours", round, plan)),
      rounds,
    );
    assert.match(
      table(benchmark, [...rates, sample(4, "ours", 40)]),
      /^rate\s+1\/s\s+10 \(10-30\) x3\s+40 \(20-75\)\s/m,
    );
  });

  test("shows goals of ratios below the table, those not judged too", () => {
    const text = table(benchmark, [...rates, ...good]);
    assert.match(text, /^rate: ours \/ anchor\s+2\.50\s+>= 2\s+met$/m);
    assert.match(text, /^rate: ours \/ anchor\s+2\.50\s+\(>= 5\)\s+not met$/m);
    assert.match(text, /^lag\s+ms\s+-\s+175 \(100-250\)\s+-\s+always <= 250 ms: met$/m);
  });
});
