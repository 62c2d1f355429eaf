import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { INVARIANTS } from "./invariants.ts";
import { ASK_MS, FORCED_MS, OVERLAP_MS } from "./invariants/common.ts";
import { makePlan, PROFILES } from "./plan.ts";
import { loadProduction } from "./production.ts";
import { report, shrink } from "./shrink.ts";
import { runPlan, runSeed } from "./simulation.ts";

/**
 * Of each profile. Fixed seeds, so that a red run is this change's doing; `npm run sim` looks for new ones.
 */
const RUNS = 30;
const SHORT = PROFILES.filter((profile) => profile !== "persistent");

const production = await loadProduction();

describe("the election in virtual time", () => {
  test("one seed gives one timeline, byte for byte", async () => {
    for (const profile of ["chaos", "people"] as const) {
      const first = await runSeed("twice", profile, production);
      const second = await runSeed("twice", profile, production);
      assert.ok(first.trace.length > 50);
      assert.equal(first.trace.join("\n"), second.trace.join("\n"));
      assert.equal(first.events, second.events);
    }
  });

  test("wall clocks that jump by hours change nothing but the times that people read", async () => {
    for (let seed = 1; seed <= 4; seed += 1) {
      const plan = makePlan(`wall-${seed}`, "fence");
      const calm = {
        ...plan,
        nodes: plan.nodes.map((node) => ({ ...node, wallOffsetMs: 0 })),
        faults: plan.faults.filter((fault) => fault.kind !== "wall"),
      };
      const steps = calm.nodes.map(
        (_, node) =>
          ({
            atMs: 20_000 + node * 17_000,
            kind: "wall",
            node,
            byMs: (node % 2 === 0 ? 1 : -1) * 5 * 3_600_000,
          }) as const,
      );
      const jumping = {
        ...calm,
        nodes: calm.nodes.map((node, index) => ({ ...node, wallOffsetMs: index * 7_777_000 })),
        faults: [...calm.faults, ...steps],
      };
      const without = await runPlan(calm, production);
      const withThem = await runPlan(jumping, production);
      const story = (trace: readonly string[]): string =>
        trace.filter((line) => !line.includes(" wall ")).join("\n");
      assert.equal(story(withThem.trace), story(without.trace));
    }
  });

  test("the promises of docs/verification.md are those that are judged, with every LEASEHOLD_ON_API_LOSS", () => {
    const page = readFileSync(new URL("../../docs/verification.md", import.meta.url), "utf8");
    const promises = page.slice(
      page.indexOf("### The two promises"),
      page.indexOf("### Clients find the VIP"),
    );
    for (const words of [
      `| \`LEASEHOLD_LEASE_DURATION\` / 0.95 + ${ASK_MS / 1_000} s | \`servedWhileANodeLives\` |`,
      `| ${OVERLAP_MS / 1_000} s, for the successor of an offer | \`oneConfirmedMaster\` |`,
      `For ${FORCED_MS / 1_000} s after a person wrote the Lease`,
    ])
      assert.ok(promises.includes(words), words);
    for (const [, name = ""] of promises.matchAll(/\| `(\w+)` \|$/gm)) assert.ok(name in INVARIANTS, name);
    const played = new Set(
      Array.from({ length: RUNS }, (_, seed) => makePlan(String(seed + 1), "refused").onApiLoss),
    );
    assert.deepEqual(played, new Set(["auto", "hold", "release"]));
  });

  for (const profile of SHORT) {
    test(`every invariant holds, whatever happens (${profile})`, async (t) => {
      const started = performance.now();
      let simulatedMs = 0;
      for (let seed = 1; seed <= RUNS; seed += 1) {
        const result = await runSeed(String(seed), profile, production);
        simulatedMs += result.simulatedMs;
        if (result.violation !== undefined) assert.fail(`\n${report(await shrink(result, production))}`);
      }
      const hours = simulatedMs / 3_600_000;
      t.diagnostic(
        `seeds 1 to ${RUNS}: ${hours.toFixed(1)} simulated hours, ${(hours / ((performance.now() - started) / 1_000)).toFixed(2)} per second`,
      );
    });
  }

  test("a fault that stays for an hour does not make the VIP wander", async (t) => {
    for (const seed of ["2", "5"]) {
      const result = await runSeed(seed, "persistent", production);
      assert.equal(result.violation, undefined, `\n${report(result)}`);
      t.diagnostic(`seed ${seed}: ${JSON.stringify(result.plan.faults[0])}`);
    }
  });
});
