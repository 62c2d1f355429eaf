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

const SERVERS = [1, 2, 3].map((n) => addressIn(n, 4).text);

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
    members.observe(lease([1, 2]), SERVERS);
    assert.deepEqual(members.current(), [
      {
        node: "n2",
        fastPath: { version: 2, addresses: ["10.88.0.12"] },
        mac: macOf(2),
        fresh: false,
        served: true,
        said: "a/7",
      },
    ]);
  });

  test("of the first Lease count as alive when they have written since, and later ones at once", (t) => {
    const members = createMembers(fileIn(t), "n1", silentLogger);
    const fresh = (): unknown => members.current()?.map((peer) => [peer.node, peer.fresh]);
    members.observe(lease([1, 2, 4]), SERVERS);
    assert.deepEqual(fresh(), [
      ["n2", false],
      ["n4", false],
    ]);
    const { candidates } = lease([1, 2, 3, 4]);
    const later = candidates.map((each) => (each.node === "n2" ? { ...each, counter: 8 } : each));
    members.observe(lease([], { candidates: later }), SERVERS);
    assert.deepEqual(fresh(), [
      ["n2", true],
      ["n4", false],
      ["n3", true],
    ]);
    members.observe(lease([], { candidates: later.map((each) => ({ ...each, fresh: false })) }), SERVERS);
    assert.deepEqual(fresh(), [
      ["n2", false],
      ["n4", false],
      ["n3", false],
    ]);
  });

  test("are forgotten on disk too when the last other one has left the Lease", (t) => {
    const file = fileIn(t);
    const members = createMembers(file, "n1", silentLogger);
    members.observe(lease([1, 2]), SERVERS);
    assert.equal(readPeers(file, silentLogger).length, 1);
    members.observe(lease([1]), SERVERS);
    assert.deepEqual(readPeers(file, silentLogger), []);
  });

  test("are known to be none where the Lease names this node alone", (t) => {
    const members = createMembers(fileIn(t), "n1", silentLogger);
    members.observe(lease([1]), SERVERS);
    assert.deepEqual(members.current(), []);
    members.observe(undefined, SERVERS);
    assert.equal(members.current(), undefined);
  });

  test("stay while the Lease says nothing: it cannot be read, has no holder, or a person emptied it", (t) => {
    for (const silent of [undefined, lease([1, 2], { holder: null }), lease([])]) {
      const members = createMembers(fileIn(t), "n1", silentLogger);
      members.observe(lease([1, 2, 3]), SERVERS);
      members.observe(silent, SERVERS);
      assert.deepEqual(
        members.current()?.map(({ node }) => node),
        ["n2", "n3"],
      );
    }
  });

  test("keep the order in which they were first seen, also across a restart: a new name comes last", (t) => {
    const file = fileIn(t);
    const members = createMembers(file, "n1", silentLogger);
    members.observe(lease([1, 3]), SERVERS);
    members.observe(lease([1, 2, 3]), SERVERS);
    assert.deepEqual(
      members.current()?.map(({ node }) => node),
      ["n3", "n2"],
    );
    const again = createMembers(file, "n1", silentLogger);
    again.observe(lease([1, 2, 3]), SERVERS);
    assert.deepEqual(
      again.current()?.map(({ node }) => node),
      ["n3", "n2"],
    );
  });

  test("have served once an API server had their address, until they offer another one", (t) => {
    const members = createMembers(fileIn(t), "n1", silentLogger);
    const served = (): unknown => members.current()?.map((peer) => [peer.node, peer.served]);
    members.observe(lease([1, 2, 4]), SERVERS);
    assert.deepEqual(served(), [
      ["n2", true],
      ["n4", false],
    ]);
    members.observe(lease([1, 2, 4]), []);
    assert.deepEqual(served(), [
      ["n2", true],
      ["n4", false],
    ]);
    const { candidates } = lease([1, 2, 4]);
    const moved = candidates.map((each) => ({
      ...each,
      fastPath: { version: 2, addresses: ["10.88.0.77"] },
    }));
    members.observe(lease([], { candidates: moved }), SERVERS);
    assert.deepEqual(served(), [
      ["n2", false],
      ["n4", false],
    ]);
  });

  test("are remembered across a restart, without those that offer nothing usable", (t) => {
    const file = fileIn(t);
    const { candidates } = lease([1, 2, 3, 4]);
    const [self, usable, without, malformed] = candidates;
    assert.ok(self && usable && without && malformed);
    createMembers(file, "n1", silentLogger).observe(
      {
        holder: "n1",
        candidates: [
          self,
          usable,
          { ...without, fastPath: null },
          { ...malformed, fastPath: { version: 2, addresses: ["x"] } },
        ],
      },
      SERVERS,
    );
    const again = createMembers(file, "n1", silentLogger);
    assert.deepEqual(
      again.current()?.map(({ node, fresh, said }) => [node, fresh, said]),
      [["n2", false, ""]],
    );
    again.observe(lease([1, 2, 3]), SERVERS);
    assert.deepEqual(
      readPeers(file, silentLogger).map(({ node }) => node),
      ["n2", "n3"],
      "a change is written",
    );
  });
});
