/** The soak's bounds are promises: docs/verification.md shows the very table by which it is judged. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { BOUNDS, CALM, FAULT_KINDS, boundOf, boundOfAll, boundsTable } from "../../soak/bounds.ts";

test("docs/verification.md has the table", () => {
  const page = readFileSync(new URL("../../../docs/verification.md", import.meta.url), "utf8");
  assert.ok(page.includes(boundsTable()), "run `npm run docs`");
});

test("a node without the VIP can lose nothing", () => {
  for (const kind of FAULT_KINDS)
    if (BOUNDS[kind].losesVip)
      assert.equal(boundOf({ kind, hadVip: false, proof: false }).answersMs, CALM.answersMs, kind);
});

test("only a lost VIP may take longer without proof", () => {
  for (const kind of FAULT_KINDS) {
    const { answersMs } = boundOf({ kind, hadVip: true, proof: true });
    const without = boundOf({ kind, hadVip: true, proof: false }).answersMs;
    assert.equal(without > answersMs, BOUNDS[kind].losesVip, kind);
  }
});

test("of several faults the loosest bound holds, rule by rule, and without a fault that of the calm", () => {
  assert.deepEqual(boundOfAll([]), CALM);
  assert.deepEqual(
    boundOfAll([
      { kind: "api-hung", hadVip: true, proof: true },
      { kind: "agent-killed", hadVip: true, proof: true },
    ]),
    { answersMs: 1_000, servesMs: 6_000, twoMs: 4_200 },
  );
});
