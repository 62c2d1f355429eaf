/** The flight recorder in whole clusters: what it keeps, the machine decides again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRecorder, MOST_DECISIONS } from "../../src/recorder/recorder.ts";
import type { Recorder } from "../../src/recorder/recorder.ts";
import { formatRecording, replay } from "../../src/recorder/recording.ts";
import { makePlan, PROFILES } from "./plan.ts";
import { loadProduction } from "./production.ts";
import type { Production } from "./production.ts";
import { fingerprintOf } from "./simulation.ts";

const plain = await loadProduction();

test("every decision of every agent comes out the same when it is taken again from its recording", async () => {
  let decisions = 0;
  let steps = 0;
  for (const profile of PROFILES) {
    const recorders: Recorder[] = [];
    const production: Production = {
      ...plain,
      createElector(deps) {
        const recorder = createRecorder();
        recorders.push(recorder);
        return plain.createElector({
          ...deps,
          onStep(taken) {
            steps += 1;
            recorder.note(taken);
          },
        });
      },
    };
    await fingerprintOf(makePlan("replay", profile), production);
    for (const recorder of recorders) {
      const kept = recorder.decisions();
      assert.ok(kept.length <= MOST_DECISIONS);
      const facts = { node: "n", agent: "0.1.0", cause: "asked", wall: new Date(), nowMs: 1e6 };
      for (const { decision, differences } of replay(formatRecording(facts, recorder.settings(), kept))) {
        decisions += 1;
        assert.deepEqual(differences, [], `${profile}: ${JSON.stringify(decision)}`);
      }
    }
  }
  assert.ok(decisions > 1_000 && decisions < steps / 3, `${decisions} decisions of ${steps} steps`);
});
