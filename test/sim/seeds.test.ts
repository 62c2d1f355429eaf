import assert from "node:assert/strict";
import { test } from "node:test";
import { loadProduction } from "./production.ts";
import { report, shrink } from "./shrink.ts";
import { runSeed } from "./simulation.ts";

/** More, and other kinds of faults: `npm run sim`. */
const PROFILES = ["api", "chaos"] as const;
const SEEDS = 12;

for (const profile of PROFILES) {
  test(`${profile}: no invariant is broken with seeds 1 to ${SEEDS}`, async () => {
    const production = await loadProduction();
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const result = await runSeed(String(seed), profile, production);
      if (result.violation !== undefined) assert.fail(report(await shrink(result, production), 60));
    }
  });
}

test("the same seed gives the same timeline, line by line", async () => {
  const production = await loadProduction();
  const [first, second] = [await runSeed("7", "chaos", production), await runSeed("7", "chaos", production)];
  assert.ok(first.trace.length > 10);
  assert.deepEqual(first.trace, second.trace);
});
