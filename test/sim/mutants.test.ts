import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { applied, installMutants, markOf, MUTANTS } from "./mutants.ts";
import { makePlan } from "./plan.ts";
import { loadProduction } from "./production.ts";
import { scenarioPlan } from "./scenarios.ts";
import { runPlan } from "./simulation.ts";

const MAX_SEEDS = 40;

installMutants();

describe("the simulation finds deliberate faults", () => {
  for (const mutant of MUTANTS) {
    test(`a node that ${mutant.name}`, async (t) => {
      const production = await loadProduction(markOf(mutant));
      assert.ok(applied.has(mutant), "the mutant was loaded");
      for (let seed = 1; seed <= MAX_SEEDS; seed += 1) {
        const { shows } = mutant;
        const name = `mutant-${seed}`;
        const plan = typeof shows === "string" ? makePlan(name, shows) : scenarioPlan(shows, name);
        const { violation } = await runPlan(plan, production);
        if (violation === undefined) continue;
        t.diagnostic(`seed ${seed}: ${violation.invariant}: ${violation.detail}`);
        assert.ok(
          mutant.caughtBy.includes(violation.invariant),
          `caught, but as ${violation.invariant}: ${violation.detail}`,
        );
        return;
      }
      assert.fail(`not caught with ${MAX_SEEDS} seeds`);
    });
  }
});
