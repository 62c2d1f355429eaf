import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { refusalText } from "../../../src/kube/refusal-text.ts";
import { createRefusals } from "../../../src/kube/refusals.ts";
import type { Refusal } from "../../../src/kube/refusals.ts";
import { silentLogger } from "../../../src/log.ts";
import type { LogFields } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { A, held, lease, PATH, record, setUp as storeSetUp } from "./lease-fixture.ts";

const DENIED: Refusal = {
  request: "renew",
  status: 403,
  message: "admission webhook denied it",
  server: "192.0.2.1:6443",
  user: "leasehold",
};

function setUp() {
  const clock = new FakeClock();
  const lines: [level: string, fields: LogFields][] = [];
  const at = (level: string) => (fields: LogFields) => void lines.push([level, fields]);
  const refusals = createRefusals({ clock, log: { ...silentLogger, warn: at("warn"), info: at("info") } });
  return { clock, lines, refusals };
}

describe("refusals", () => {
  test("a lasting one is told at once, and then every 30 s with the count", () => {
    const { clock, lines, refusals } = setUp();
    for (let second = 0; second < 61; second++) {
      refusals.refused(DENIED);
      clock.advance(1000);
    }
    const meaning = refusalText(DENIED);
    assert.match(meaning, /^403 on the Lease for user leasehold: /);
    assert.deepEqual(lines, [
      ["warn", { ...DENIED, count: 1, meaning }],
      ["warn", { ...DENIED, count: 30, meaning }],
      ["warn", { ...DENIED, count: 30, meaning }],
    ]);
    assert.deepEqual(refusals.last(), { ...DENIED, atMs: clock.now() - 1000, count: 61, over: false });
  });

  test("another reason is told at once; a number in the answer makes no other reason", () => {
    const { lines, refusals } = setUp();
    refusals.refused(DENIED);
    refusals.refused({ ...DENIED, status: 500, message: "etcdserver: request timed out after 1200 ms" });
    refusals.refused({ ...DENIED, status: 500, message: "etcdserver: request timed out after 1301 ms" });
    refusals.refused({ ...DENIED, request: "candidate" });
    assert.equal(lines.length, 3);
  });

  test("its end is told, once, and only where its beginning was", () => {
    const { clock, lines, refusals } = setUp();
    refusals.taken("renew");
    for (let second = 0; second < 20; second++) {
      // A webhook that is there every other time.
      refusals.refused(DENIED);
      refusals.taken("renew");
      clock.advance(1000);
    }
    assert.deepEqual(
      lines.map(([level]) => level),
      ["warn", "info"],
    );
    assert.equal(refusals.last()?.over, true);
  });

  test("a claim that is taken ends the refusal of renewals, a candidate's write and a read do not", () => {
    const { lines, refusals } = setUp();
    refusals.refused(DENIED);
    refusals.taken("candidate");
    refusals.taken("read");
    assert.equal(refusals.last()?.over, false);
    refusals.taken("claim");
    assert.deepEqual([lines.length, refusals.last()?.over], [2, true]);
  });

  test("a server that words each answer anew does not flood the log", () => {
    const { clock, lines, refusals } = setUp();
    for (let i = 0; i < 600; i++) {
      refusals.refused({
        ...DENIED,
        message: `denied by ${"abcdefghij"[i % 10]}${"klmnopqrst"[Math.floor(i / 10) % 10]}${"uvwxyz"[Math.floor(i / 100)]}`,
      });
      clock.advance(100);
    }
    assert.ok(lines.length <= 16, String(lines.length));
    assert.ok(lines.length >= 9, "and later ones are told when there is room");
  });
});

describe("what of the store's requests is a refusal", () => {
  test("a read that is answered 403, a create that is, and a conflict that is none", async () => {
    const { transport, store, write } = storeSetUp([A]);
    const forbidden = { status: 403, body: { kind: "Status", message: "leases is forbidden" } };
    transport.expect({ method: "GET", path: PATH, reply: forbidden });
    assert.deepEqual(await store.read(4000), {
      kind: "rejected",
      status: 403,
      message: "leases is forbidden",
    });
    assert.equal(store.lastRefusal()?.request, "read");
    transport.expect({ method: "POST", reply: forbidden });
    await write({ kind: "claim", replaces: null, offered: false, instance: "i1" });
    assert.equal(store.lastRefusal()?.request, "claim");
    const before = store.lastRefusal();
    transport.expect(
      { method: "PATCH", reply: { status: 422, body: {} } },
      { method: "GET", path: PATH, reply: { status: 200, body: lease(held("n3")) } },
    );
    assert.equal(
      (await write({ kind: "claim", replaces: record(held("n2")), offered: false, instance: "i1" })).kind,
      "conflict",
    );
    assert.deepEqual(store.lastRefusal(), before);
    transport.done();
  });
});
