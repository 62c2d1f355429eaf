import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Table } from "../../../src/fastpath/tables.ts";
import { renewed, removal, transaction } from "../../../src/fastpath/transaction.ts";

const ip: Table = {
  family: "ip",
  sets: [{ name: "own", spec: "type ipv4_addr; flags timeout;" }],
  counters: ["hits"],
  chains: [
    { name: "pre", hook: "type nat hook prerouting priority -101;", rules: ["goto b", "accept"] },
    { name: "b", rules: ["drop"] },
  ],
};
const netdev: Table = {
  family: "netdev",
  sets: [],
  counters: [],
  chains: [
    { name: "ingress", hook: "type filter hook ingress device eth0 priority 0;", rules: ["goto mine"] },
    { name: "mine", rules: ["accept"] },
  ],
};

const linesOf = (script: string): readonly string[] => script.split("\n").slice(0, -1);
/** Each of these comes after the one before it. */
function inOrder(lines: readonly string[], ...wanted: readonly string[]): void {
  let from = 0;
  for (const line of wanted) {
    const at = lines.indexOf(line, from);
    assert.ok(at >= 0, `"${line}" is not where it should be in\n${lines.join("\n")}`);
    from = at + 1;
  }
}

describe("a transaction", () => {
  test("makes everything before what refers to it", () => {
    assert.deepEqual(linesOf(transaction([ip], [], [])).slice(4), [
      "add table ip leasehold",
      "flush table ip leasehold",
      "add set ip leasehold own { type ipv4_addr; flags timeout; }",
      "add counter ip leasehold hits",
      "add chain ip leasehold pre { type nat hook prerouting priority -101; }",
      "add chain ip leasehold b",
      "add rule ip leasehold pre goto b",
      "add rule ip leasehold pre accept",
      "add rule ip leasehold b drop",
    ]);
  });

  test("takes tables away that are not wanted any more, also where they never were", () => {
    assert.deepEqual(linesOf(transaction([ip], [], [])).slice(0, 4), [
      "add table netdev leasehold",
      "delete table netdev leasehold",
      "add table ip6 leasehold",
      "delete table ip6 leasehold",
    ]);
  });

  test("empties a chain before it goes, and lets it go after its references have", () => {
    const lines = linesOf(
      transaction(
        [ip],
        [
          { family: "ip", name: "pre" },
          { family: "ip", name: "old" },
          { family: "ip6", name: "old6" },
        ],
        [],
      ),
    );
    inOrder(
      lines,
      "flush table ip leasehold",
      "add rule ip leasehold b drop",
      "add chain ip leasehold old",
      "delete chain ip leasehold old",
    );
    assert.ok(!lines.some((line) => line.includes("old6") || line === "delete chain ip leasehold pre"));
  });

  test("replaces all rules even when nobody could tell which chains there are", () => {
    // An old rule that stayed in front of the new ones would decide.
    inOrder(
      linesOf(transaction([ip], [], [])),
      "flush table ip leasehold",
      "add rule ip leasehold pre goto b",
    );
  });

  test("binds an ingress chain to its interface anew: a link that was replaced has lost it", () => {
    // Added first and without a hook: so it does not matter whether it is there, which nobody may have been
    // able to tell.
    const remade = [
      "add chain netdev leasehold ingress",
      "delete chain netdev leasehold ingress",
      "add chain netdev leasehold ingress { type filter hook ingress device eth0 priority 0; }",
    ];
    for (const present of [
      [],
      [
        { family: "netdev", name: "ingress" },
        { family: "netdev", name: "mine" },
      ] as const,
    ]) {
      const lines = linesOf(transaction([netdev], present, []));
      inOrder(lines, "flush table netdev leasehold", ...remade);
      assert.ok(!lines.includes("delete chain netdev leasehold mine"));
    }
  });

  test("ends with the elements whose time starts again, and empties a set that is to have none", () => {
    const lines = linesOf(
      transaction(
        [ip],
        [],
        [
          { family: "ip", set: "own", elements: ["10.0.0.1", "10.0.0.2"] },
          { family: "ip", set: "settling", elements: [] },
        ],
      ),
    );
    assert.deepEqual(lines.slice(-4), [
      ...renewed("ip", "own", ["10.0.0.1", "10.0.0.2"]),
      "flush set ip leasehold settling",
    ]);
  });
});

test("an element is deleted between two adds: only that starts its time anew, and there is always something to delete", () => {
  assert.deepEqual(
    renewed("ip6", "own", ["fd00::1"]),
    ["add", "delete", "add"].map((verb) => `${verb} element ip6 leasehold own { fd00::1 }`),
  );
  assert.deepEqual(renewed("ip6", "own", []), ["flush set ip6 leasehold own"]);
});

test("the removal takes all three tables, there or not", () => {
  assert.deepEqual(
    linesOf(removal()),
    ["netdev", "ip", "ip6"].flatMap((family) => [
      `add table ${family} leasehold`,
      `delete table ${family} leasehold`,
    ]),
  );
});
