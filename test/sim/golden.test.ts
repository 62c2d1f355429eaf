import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { goldenFiles } from "./golden.ts";
import { HISTORIES, planOf } from "./histories.ts";
import { loadProduction } from "./production.ts";
import { runPlan } from "./simulation.ts";
import { timelineOf } from "./timeline.ts";

const ROOT = new URL("../../", import.meta.url);
const production = await loadProduction();
const files = await goldenFiles(production);

describe("the golden timelines", () => {
  for (const [path, text] of files) {
    test(`${path} is what the product does (if that is meant: npm run docs)`, () => {
      assert.equal(readFileSync(new URL(path, ROOT), "utf8"), text);
    });
  }

  test("are all in one folder, which has no other file", () => {
    const wanted = Object.keys(HISTORIES).map((name) => `${name}.txt`);
    assert.deepEqual(readdirSync(new URL("golden/", import.meta.url)).toSorted(), wanted.toSorted());
  });

  for (const [name, history] of Object.entries(HISTORIES)) {
    test(`${name} is short, the same each time, and breaks no invariant`, async () => {
      const timeline = files.get(`test/sim/golden/${name}.txt`) ?? "";
      const lines = timeline.trimEnd().split("\n");
      assert.ok(lines.length >= 10 && lines.length <= 31, `${lines.length} lines`);
      for (const line of lines) assert.ok(line.length <= 110, line);
      assert.equal(await timelineOf(history, production), timeline);
      assert.equal((await runPlan(planOf(history), production)).violation, undefined);
    });
  }
});
