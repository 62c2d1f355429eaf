import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judgeMove, judgeResign } from "../../../src/cli/wishes.ts";
import { candidate, held } from "../election/harness.ts";

const NONE: ReadonlySet<string> = new Set();
const n1 = candidate("n1", { state: "MASTER" });
const n2 = candidate("n2");
const n3 = candidate("n3", { eligible: false, state: "FAULT", faults: ["balancer"] });
const lease = held("n1", 1, [n1, n2, n3]);

/** keepalived has the VIP on n1's machine (LEASEHOLD_TAKE_OVER). */
const taken = held("", 1, [
  candidate("n1", { eligible: false, faults: ["vip"] }),
  candidate("n2", { eligible: false }),
]);

test("a wish during a take-over is refused, and names the machine that has the VIP", () => {
  for (const [verdict, pattern] of [
    [judgeResign(taken, NONE), /^other software on n1 has the VIP/],
    [judgeMove(taken, "n1", false, NONE), /other software on its machine has the VIP, and it stands by/],
    [judgeMove(taken, "n2", false, NONE), /it stands by for other software that has the VIP/],
  ] as const) {
    assert.ok(verdict.kind === "refused");
    assert.match(verdict.message, pattern);
  }
});

describe("a move", () => {
  test("to an eligible candidate may be stored", () => {
    assert.deepEqual(judgeMove(lease, "n2", false, NONE), { kind: "go", to: "n2", note: "" });
  });

  test("to the holder pins it", () => {
    const verdict = judgeMove(lease, "n1", false, NONE);
    assert.ok(verdict.kind === "go");
    assert.match(verdict.note, /holds the VIP already/);
  });

  for (const [to, silent, pattern] of [
    ["n3", [], /FAULT balancer.*--force/s],
    ["n2", ["n2"], /its agent is silent/],
    ["n9", [], /"n9" is no candidate: the candidates are n1, n2, n3/],
    ["n9\u001b[2J", [], /"n9\\u001b\[2J" is no candidate/],
  ] as const) {
    test(`to ${JSON.stringify(to)} is refused, and says why`, () => {
      const verdict = judgeMove(lease, to, false, new Set(silent));
      assert.ok(verdict.kind === "refused");
      assert.match(verdict.message, pattern);
    });
  }

  test("that is forced is stored for a name that a node can have, and not for another text", () => {
    assert.equal(judgeMove(lease, "n3", true, NONE).kind, "go");
    assert.equal(judgeMove(lease, "n9", true, NONE).kind, "go");
    for (const wrong of ["N9", "n 9", "", "-", "x".repeat(64)])
      assert.equal(judgeMove(lease, wrong, true, NONE).kind, "refused", wrong);
  });
});

describe("a resignation", () => {
  test("is for the best other eligible node", () => {
    const best = candidate("n4", { effective: 200, base: 200 });
    const verdict = judgeResign(held("n1", 1, [n1, n2, n3, best]), NONE);
    assert.deepEqual(verdict, { kind: "go", to: "n4", note: "" });
    const silent = judgeResign(held("n1", 1, [n1, n2, n3, best]), new Set(["n4"]));
    assert.ok(silent.kind === "go" && silent.to === "n2");
  });

  for (const [what, record, pattern] of [
    ["no node holds the Lease", held("", 1, [n1, n2]), /no node holds the Lease/],
    ["no other node is eligible", held("n1", 1, [n1, n3]), /n3: it is in FAULT balancer/],
    ["there is no other node", held("n1", 1, [n1]), /no other candidate/],
    [
      "a person has pinned the VIP",
      held("n1", 1, [n1, n2], { annotations: { "leasehold.dev/move-to": "n1" } }),
      /leasehold unpin/,
    ],
    [
      "the holder would take the VIP back",
      held("n1", 1, [candidate("n1", { effective: 200, preempt: true }), n2]),
      /leasehold move --to n2/,
    ],
  ] as const) {
    test(`is refused when ${what}`, () => {
      const verdict = judgeResign(record, NONE);
      assert.ok(verdict.kind === "refused");
      assert.match(verdict.message, pattern);
    });
  }
});
