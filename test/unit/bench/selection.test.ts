/** A partial run must say nothing of what it left out, and refuse what it cannot leave out. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { missedGoals, table } from "../../bench/report.ts";
import type { Benchmark, Sample } from "../../bench/report.ts";
import { select } from "../../bench/selection.ts";

const whole: Benchmark = {
  name: "x",
  summary: "",
  defaultRounds: 3,
  subjects: ["anchor", "other", "ours"],
  ours: "ours",
  anchor: "anchor",
  scenarios: ["planned stop", "node lost"],
  metrics: [
    {
      name: "gap, planned stop",
      unit: "ms",
      decimals: 0,
      goal: { kind: "every-round-at-most", value: 20 },
      scenario: "planned stop",
    },
    {
      name: "gap, node lost",
      unit: "ms",
      decimals: 0,
      goal: { kind: "at-most", value: 300, always: 500 },
      scenario: "node lost",
    },
  ],
  ratioGoals: [
    { metric: "gap, node lost", of: "ours", over: "anchor", kind: "at-most", value: 1, judged: true },
  ],
  anchorVersion: () => "",
  needs: "nothing",
  run: async () => {},
};
const ours: Sample = { round: 1, subject: "ours", metric: "gap, planned stop", value: 5 };

function selected(subjects: string | undefined, only: string | undefined): Benchmark {
  const found = select(whole, { subjects, only });
  if (typeof found === "string") assert.fail(found);
  return found;
}

function refusal(benchmark: Benchmark, subjects: string | undefined, only: string | undefined): string {
  const found = select(benchmark, { subjects, only });
  return typeof found === "string" ? found : assert.fail("it was accepted");
}

describe("a selection", () => {
  test("of nothing is the benchmark itself, also of one whose rounds are one whole", () => {
    const { scenarios: _, ...rest } = whole;
    assert.equal(select(rest, { subjects: undefined, only: undefined }), rest);
  });

  test("has no column, row or goal of what is left out", () => {
    const part = selected("ours", "planned stop");
    assert.deepEqual(missedGoals(part, [ours]), []);
    assert.doesNotMatch(table(part, [ours]), /node lost|other/);
    // The whole one was not measured whole.
    assert.deepEqual(missedGoals(whole, [ours]), ["gap, node lost", "gap, node lost: ours / anchor"]);
  });

  test("keeps the benchmark's order, whatever order and spaces it is given in", () => {
    const part = selected(" ours,anchor", "node lost, planned stop");
    assert.deepEqual(part.subjects, ["anchor", "ours"]);
    assert.deepEqual(part.scenarios, ["planned stop", "node lost"]);
    assert.equal(part.ratioGoals?.length, 1);
  });

  test("without ours misses nothing", () => {
    assert.deepEqual(missedGoals(selected("anchor", undefined), []), []);
  });

  test("refuses names that are not there, empty ones too, and parts of a whole", () => {
    assert.match(refusal(whole, "anchr", undefined), /no subject "anchr"; there are: anchor, other, ours/);
    assert.match(refusal(whole, undefined, "planned stop,"), /no scenario ""/);
    const { scenarios: _, ...rest } = whole;
    assert.match(refusal(rest, "ours", undefined), /one whole/);
  });
});
