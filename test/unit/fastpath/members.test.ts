import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { createMembers } from "../../../src/fastpath/members.ts";
import type { LeaseMembers } from "../../../src/fastpath/members.ts";
import { readPeers } from "../../../src/fastpath/remembered-peers.ts";
import { silentLogger } from "../../../src/log.ts";
import { addressIn, macOf } from "../../support/fastpath/plans.ts";

function fileIn(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-members-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "peers.json");
}

function lease(names: readonly number[], changes: Partial<LeaseMembers> = {}): LeaseMembers {
  const candidates = names.map((n) => ({
    node: `n${n}`,
    fastPath: { version: 2, addresses: [addressIn(n, 4).text] },
    mac: macOf(n),
    fresh: true,
    instance: "a",
    counter: 7,
  }));
  return { holder: "n1", candidates, ...changes };
}

describe("the members", () => {
  test("are the Lease's other candidates, with what tells one write of theirs from another", (t) => {
    const members = createMembers(fileIn(t), "n1", silentLogger);
    assert.equal(members.current(), undefined, "nobody has named any yet");
    members.observe(lease([1, 2]));
    assert.deepEqual(members.current(), [
      {
        node: "n2",
        fastPath: { version: 2, addresses: ["10.88.0.12"] },
        mac: macOf(2),
        fresh: true,
        said: "a/7",
      },
    ]);
  });

  test("are known to be none where the Lease names this node alone", (t) => {
    const members = createMembers(fileIn(t), "n1", silentLogger);
    members.observe(lease([1]));
    assert.deepEqual(members.current(), []);
    members.observe(undefined);
    assert.equal(members.current(), undefined);
  });

  test("stay while the Lease says nothing: it cannot be read, has no holder, or a person emptied it", (t) => {
    for (const silent of [undefined, lease([1, 2], { holder: null }), lease([])]) {
      const members = createMembers(fileIn(t), "n1", silentLogger);
      members.observe(lease([1, 2, 3]));
      members.observe(silent);
      assert.deepEqual(
        members.current()?.map(({ node }) => node),
        ["n2", "n3"],
      );
    }
  });

  test("are remembered across a restart, without those that offer nothing usable", (t) => {
    const file = fileIn(t);
    const { candidates } = lease([1, 2, 3, 4]);
    const [self, usable, without, malformed] = candidates;
    assert.ok(self && usable && without && malformed);
    createMembers(file, "n1", silentLogger).observe({
      holder: "n1",
      candidates: [
        self,
        usable,
        { ...without, fastPath: null },
        { ...malformed, fastPath: { version: 2, addresses: ["x"] } },
      ],
    });
    const again = createMembers(file, "n1", silentLogger);
    assert.deepEqual(
      again.current()?.map(({ node, fresh, said }) => [node, fresh, said]),
      [["n2", false, ""]],
    );
    again.observe(lease([1, 2, 3]));
    assert.deepEqual(
      readPeers(file, silentLogger).map(({ node }) => node),
      ["n2", "n3"],
      "a change is written",
    );
  });
});
