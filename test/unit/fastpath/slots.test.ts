import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { assignSlots, SLOTS } from "../../../src/fastpath/slots.ts";

const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 9 });

describe("slots", () => {
  test("are nobody's when nobody takes part", () => assert.deepEqual(assignSlots([]), []));

  test("are 1024, all the one node's when it is alone", () => {
    assert.equal(SLOTS, 1024, "a part of the fast path's version");
    assert.deepEqual(
      assignSlots(["n1"]),
      Array.from({ length: 1024 }, () => "n1"),
    );
  });

  test("are the same today as in the first release: nodes of one version of the fast path share them", () => {
    assert.equal(
      assignSlots(["n1", "n2", "n3"])
        .slice(0, 12)
        .map((name) => name.slice(1))
        .join(""),
      "133213112131",
    );
  });

  test("are the same whatever the order in which a node learnt the names, and however often", () => {
    fc.assert(
      fc.property(
        names.chain((list) =>
          fc.tuple(
            fc.constant(list),
            fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length }),
          ),
        ),
        ([list, shuffled]) => {
          assert.deepEqual(assignSlots([...shuffled, ...shuffled]), assignSlots(list));
        },
      ),
      { numRuns: 30 },
    );
  });

  test("move only from a node that leaves, and only to one that comes", () => {
    fc.assert(
      fc.property(names, ([leaver = "", ...rest]) => {
        const before = assignSlots([leaver, ...rest]);
        const after = assignSlots(rest);
        if (rest.length === 0) return assert.deepEqual(after, []);
        before.forEach((owner, slot) => assert.equal(after[slot] === owner, owner !== leaver));
      }),
      { numRuns: 30 },
    );
  });

  test("are spread evenly within a fourth of the fair share, for the names that people give", () => {
    for (const list of [
      ["n1", "n2", "n3"],
      ["cp-a", "cp-b", "cp-c", "cp-d", "cp-e"],
      ["master0.example", "master1.example"],
    ]) {
      const slots = assignSlots(list);
      for (const name of list) {
        const share = slots.filter((owner) => owner === name).length / (SLOTS / list.length);
        assert.ok(share > 0.75 && share < 1.25, `${name} of ${list.length}: ${share}`);
      }
    }
  });

  test("of names long forgotten come out as before", () => {
    const before = assignSlots(["n1", "n2"]);
    for (let i = 0; i < 200; i++) assignSlots([`passing-${i}`]);
    assert.deepEqual(assignSlots(["n1", "n2"]), before);
  });
});
