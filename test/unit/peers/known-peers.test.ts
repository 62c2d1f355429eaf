import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import fc from "fast-check";
import { silentLogger } from "../../../src/log.ts";
import { createKnownPeers } from "../../../src/peers/known-peers.ts";
import type { KnownPeers, LeasePeers } from "../../../src/peers/known-peers.ts";

const KEY = (digit: string): string => digit.repeat(64);
const SELF = { node: "n1", key: KEY("1") };

const lease = (...nodes: readonly number[]): LeasePeers => ({
  holder: "n1",
  candidates: nodes.map((number) => ({
    node: `n${number}`,
    ip: `192.0.2.1${number}`,
    peer: { port: 10_085, key: KEY(String(number)) },
  })),
});

function place(t: TestContext): { file: string; open: () => KnownPeers } {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-peers-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "peers.json");
  return { file, open: () => createKnownPeers(file, SELF, silentLogger) };
}

const names = (known: KnownPeers): readonly string[] => known.all().map(({ node }) => node);

describe("the known peers", () => {
  test("are the other candidates that have published a key", (t) => {
    const known = place(t).open();
    assert.deepEqual(known.all(), []);
    const [own, two, three] = lease(1, 3, 2).candidates;
    const older = { node: "n4", ip: "192.0.2.14" };
    known.observe({ holder: "n1", candidates: [own, two, three, older].filter((one) => one !== undefined) });
    assert.deepEqual(known.all(), [
      { node: "n2", ip: "192.0.2.12", port: 10_085, key: KEY("2") },
      { node: "n3", ip: "192.0.2.13", port: 10_085, key: KEY("3") },
    ]);
    assert.deepEqual(
      [known.hasKey(KEY("2")), known.hasKey(KEY("1")), known.hasKey("")],
      [true, false, false],
    );
    assert.deepEqual([known.hasAddress("192.0.2.13"), known.hasAddress("192.0.2.11")], [true, false]);
    assert.deepEqual(
      [known.find("n2")?.ip, known.find("n1"), known.find("")],
      ["192.0.2.12", undefined, undefined],
    );
  });

  test("a copy of this node's own key under another name is no peer", (t) => {
    const known = place(t).open();
    known.observe({
      holder: "",
      candidates: [{ node: "n9", ip: "192.0.2.19", peer: { port: 1, key: SELF.key } }],
    });
    assert.deepEqual(known.all(), []);
  });

  test("are remembered while no API server tells of them, and a Lease that is emptied tells nothing", (t) => {
    const { open } = place(t);
    const known = open();
    known.observe(lease(1, 2, 3));
    known.observe(undefined);
    known.observe({ holder: null, candidates: [] });
    known.observe({ holder: "", candidates: [] });
    assert.deepEqual(names(known), ["n2", "n3"]);
    const restarted = open();
    restarted.observe({ holder: null, candidates: [] });
    assert.deepEqual(names(restarted), ["n2", "n3"]);
    assert.ok(restarted.hasKey(KEY("3")));
  });

  test("a key that the Lease no longer names is not known any more, here and on disk", (t) => {
    const { file, open } = place(t);
    const known = open();
    known.observe(lease(1, 2, 3));
    const [, two] = lease(1, 2).candidates;
    known.observe({
      holder: "n1",
      candidates: [{ ...two, node: "n2", ip: "192.0.2.12", peer: { port: 7, key: KEY("a") } }],
    });
    assert.deepEqual(
      [known.hasKey(KEY("2")), known.hasKey(KEY("3")), known.hasKey(KEY("a"))],
      [false, false, true],
    );
    assert.deepEqual(names(open()), ["n2"]);
    assert.ok(!readFileSync(file, "utf8").includes(KEY("3")));
  });

  test("are bounded, whatever a person has put into the Lease", (t) => {
    const known = place(t).open();
    const candidates = Array.from({ length: 500 }, (_, index) => ({
      node: `x${index}`,
      ip: "192.0.2.1",
      peer: { port: 1, key: KEY("b") },
    }));
    known.observe({ holder: "", candidates });
    assert.equal(known.all().length, 64);
  });

  test("a file that does not fit counts as none", (t) => {
    const { file, open } = place(t);
    const good = { node: "n2", ip: "192.0.2.12", port: 10_085, key: KEY("2") };
    const write = (peer: unknown): void => writeFileSync(file, JSON.stringify({ version: 1, peers: [peer] }));
    write(good);
    assert.deepEqual(open().all(), [good]);
    const damage: readonly object[] = [
      { node: "../n2" },
      { node: 2 },
      { ip: "n2.example" },
      { ip: "192.0.2.012" },
      { port: 0 },
      { key: KEY("G") },
      { key: null },
    ];
    for (const wrong of damage) {
      write({ ...good, ...wrong });
      assert.deepEqual(open().all(), [], JSON.stringify(wrong));
    }
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (content) => {
        writeFileSync(file, content);
        assert.deepEqual(open().all(), []);
      }),
      { numRuns: 50 },
    );
  });
});
