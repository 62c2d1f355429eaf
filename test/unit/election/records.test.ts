/** Each record of the state says which files write it. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";

const ELECTION = new URL("../../../src/election/", import.meta.url);
const sources = readdirSync(ELECTION).map((file) => ({
  file,
  text: readFileSync(new URL(file, ELECTION), "utf8"),
}));
const types = sources.find(({ file }) => file === "types.ts")?.text ?? "";

describe("the records of the state", () => {
  for (const [record, setters] of [
    ["LeaseState", /\.set(?:Lease|Read|Survey|Publish)\(/],
    ["WireState", /\.setWire\(/],
    ["SelfState", /\.setSelf\(/],
    ["LeftOver", /\.setLeftOver\(/],
  ] as const) {
    test(`${record} has an invariant, and is written by the files that it names`, () => {
      const doc =
        new RegExp(`/\\*\\*((?:(?!\\*/)[\\s\\S])*)\\*/\\nexport interface ${record} `).exec(types)?.[1] ??
        assert.fail("no docstring");
      assert.match(doc, /Invariant: /);
      const named = /Written by: ([\s\S]+?\.ts)\./.exec(doc)?.[1]?.split(/,[\s*]+/) ?? [];
      const writing = sources
        .filter(({ text }) => setters.test(text.replaceAll(/^\s*\*.*$/gm, "")))
        .map(({ file }) => file);
      assert.deepEqual(named, writing.toSorted());
    });
  }
});
