/**
 * The staged incidents of `npm run incident`, played: what the commands say names the cause, and what the runbook says
 * mends it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { findEtcdctl } from "../support/e2e/programs.ts";
import { startCluster } from "../support/incident/cluster.ts";
import { INCIDENTS } from "../support/incident/incidents.ts";
import { isSolved } from "../support/incident/play.ts";
import { PLAYS } from "../support/incident/plays.ts";

const TOLD_MS = 60_000;
const SOLVED_MS = 120_000;

test("each incident has a play", () => {
  assert.deepEqual(INCIDENTS.map(({ name }) => name).toSorted(), Object.keys(PLAYS).toSorted());
});

for (const incident of INCIDENTS) {
  test(incident.name, async () => {
    const play = PLAYS[incident.name];
    assert.ok(play !== undefined);
    const found = await findBinaries();
    assert.ok(found.kind === "found", found.kind === "found" ? "" : found.reason);
    const programs = { binaries: found.binaries, etcdctl: await findEtcdctl(() => {}) };
    await using cluster = await startCluster(programs, incident.options);
    const { lab } = cluster;
    const staged = await incident.stage(cluster);
    assert.equal(await isSolved(staged), false, "it is solved before anybody has done anything");
    const other = cluster.others(staged.node).find((node) => node.pid !== undefined);
    for (const { on, type, says } of play.tells) {
      const node = on === "node" ? staged.node : other;
      assert.ok(node !== undefined);
      let last = "";
      await lab
        .until(
          async () => {
            const { stdout, stderr } = await node.try(type);
            last = `${stdout}${stderr}`;
            return says.test(last);
          },
          TOLD_MS,
          "the words come",
        )
        .catch(() => assert.fail(`${node.name}# ${type}\ndoes not say ${says}:\n${last}`));
    }
    await play.mend(cluster, staged);
    await lab.until(() => isSolved(staged), SOLVED_MS, `${incident.name} is solved`);
  });
}
