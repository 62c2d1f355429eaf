import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loadProduction } from "./production.ts";
import { SCENARIOS, scenarioPlan } from "./scenarios.ts";
import { report } from "./shrink.ts";
import { runPlan } from "./simulation.ts";

const VARIATIONS = 12;

const production = await loadProduction();

describe("what has gone wrong once", () => {
  for (const [key, scenario] of Object.entries(SCENARIOS)) {
    test(`${scenario.name} (${key})`, async () => {
      for (let seed = 1; seed <= VARIATIONS; seed += 1) {
        const result = await runPlan(scenarioPlan(scenario, String(seed)), production);
        assert.equal(result.violation, undefined, `\n${report(result)}`);
      }
    });
  }
});
