import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatCandidate } from "../../../src/kube/record-codec.ts";
import { INSTANCE, OFFER, RELEASED_BY } from "../../../src/kube/record.ts";
import {
  A,
  candidate,
  held,
  INVALID,
  lease,
  NOT_FOUND,
  NOTE,
  NOW,
  PATH,
  record,
  setUp,
} from "./lease-fixture.ts";

/** The annotation that {@link candidate} is written as. */
const WRITTEN = { "leasehold.dev/candidate.n1": formatCandidate(candidate()) };

describe("conflicts and ambiguity", () => {
  test("422, and the read names another: a conflict with what was read", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { status: 422, body: INVALID } },
      { method: "GET", path: PATH, reply: { status: 200, body: lease(held("n3"), NOTE, "9") } },
    );
    const outcome = await write({
      kind: "claim",
      replaces: record(held("n2")),
      offered: false,
      instance: "i1",
    });
    assert.deepEqual(outcome, { kind: "conflict", record: record(held("n3"), NOTE, "9") });
    transport.done();
  });

  test("422 though the tests should have passed: goes on with a resourceVersion update that keeps what it does not know", async () => {
    const { transport, write } = setUp();
    const read = { ...lease(held("n2"), { other: "kept", [RELEASED_BY]: "n2" }, "9"), extra: [1] };
    const spec = {
      holderIdentity: "n1",
      leaseDurationSeconds: 10,
      acquireTime: NOW,
      renewTime: NOW,
      leaseTransitions: 5,
    };
    const put = { ...lease(spec, { other: "kept", [INSTANCE]: "i1" }, "9"), extra: [1] };
    transport.expect(
      { method: "PATCH", reply: { status: 422, body: INVALID } },
      { method: "GET", reply: { status: 200, body: read } },
      {
        method: "PUT",
        path: PATH,
        contentType: "application/json",
        reply: (request) => {
          assert.deepEqual(request.body, put);
          return { status: 200, body: lease(spec, { other: "kept" }, "10") };
        },
      },
    );
    const outcome = await write({
      kind: "claim",
      replaces: record(held("n2")),
      offered: false,
      instance: "i1",
    });
    assert.deepEqual(outcome, { kind: "ok", record: record(spec, { other: "kept" }, "10") });
    transport.done();
  });

  test("a stale update (409) is read and tried again, for a candidate's write is no reason to lose the Lease", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { status: 422, body: INVALID } },
      { method: "GET", reply: { status: 200, body: lease(held("n1"), NOTE, "9") } },
      { method: "PUT", reply: { status: 409 } },
      { method: "GET", reply: { status: 200, body: lease(held("n1"), NOTE, "10") } },
      { method: "PUT", reply: { status: 200, body: lease(held("n1", { renewTime: NOW }), NOTE, "11") } },
    );
    assert.equal((await write({ kind: "renew", held: record(held("n1"), NOTE) })).kind, "ok");
    transport.done();
  });

  test("it does not go on for ever", async () => {
    const { transport, write } = setUp();
    const read = { method: "GET", reply: { status: 200, body: lease(held("n1")) } } as const;
    transport.expect({ method: "PATCH", reply: { status: 422, body: INVALID } }, read);
    transport.expect(
      { method: "PUT", reply: { status: 409 } },
      read,
      { method: "PUT", reply: { status: 422, body: INVALID } },
      read,
    );
    const outcome = await write({ kind: "renew", held: record(held("n1")) });
    assert.deepEqual(outcome, { kind: "rejected", status: 422, message: INVALID.message });
    transport.done();
  });

  test("a lost answer, and the read names us with our own renewTime: ours", async () => {
    const { transport, write } = setUp();
    const after = held("n1", { renewTime: NOW, acquireTime: NOW, leaseTransitions: 5 });
    transport.expect(
      { method: "PATCH", reply: { fail: "refused", sent: true } },
      { method: "GET", reply: { status: 200, body: lease(after) } },
    );
    const outcome = await write({
      kind: "claim",
      replaces: record(held("n2")),
      offered: false,
      instance: "i1",
    });
    assert.deepEqual(outcome, { kind: "ok", record: record(after) });
    transport.done();
  });

  test("a lost answer, and the read names another machine of our name: not ours, even at the same microsecond", async () => {
    const { transport, write } = setUp();
    const after = { ...held("n1"), renewTime: NOW };
    transport.expect(
      { method: "PATCH", reply: { fail: "refused", sent: true } },
      { method: "GET", reply: { status: 200, body: lease(after, { [INSTANCE]: "i2" }, "9") } },
    );
    const outcome = await write({
      kind: "claim",
      replaces: record(held("n2")),
      offered: false,
      instance: "i1",
    });
    assert.deepEqual(outcome, { kind: "conflict", record: record(after, { [INSTANCE]: "i2" }, "9") });
    transport.done();
  });

  test("the hedged twin of an applied claim answers 422: the read tells that the claim is ours", async () => {
    const { transport, write } = setUp([A, "192.0.2.2:6443"]);
    const after = held("n1", { renewTime: NOW, acquireTime: NOW, leaseTransitions: 5 });
    transport.expect(
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: "192.0.2.2:6443", method: "PATCH", reply: { status: 422, body: INVALID } },
      { server: "192.0.2.2:6443", method: "GET", reply: { status: 200, body: lease(after) } },
    );
    const outcome = await write(
      { kind: "claim", replaces: record(held("n2")), offered: false, instance: "i1" },
      4000,
      600,
    );
    assert.deepEqual(outcome, { kind: "ok", record: record(after) });
    transport.done();
  });

  test("a lost answer, and the read shows the old record: it may still be applied", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { fail: "refused", sent: true } },
      { method: "GET", reply: { status: 200, body: lease(held("n2")) } },
    );
    const outcome = await write({
      kind: "claim",
      replaces: record(held("n2")),
      offered: false,
      instance: "i1",
    });
    assert.deepEqual(outcome, { kind: "no-answer", ambiguous: true, message: "scripted refused" });
    transport.done();
  });

  test("a lost answer, and another node has the Lease: a conflict", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { fail: "refused", sent: true } },
      { method: "GET", reply: { status: 200, body: lease(held("n3")) } },
    );
    assert.equal((await write({ kind: "renew", held: record(held("n1")) })).kind, "conflict");
    transport.done();
  });

  test("silence until the deadline leaves no time to read: ambiguous", async () => {
    const { transport, write } = setUp();
    transport.expect({ method: "PATCH", reply: { hang: true } });
    const outcome = await write({ kind: "renew", held: record(held("n1")) }, 1000, 1000);
    assert.equal(outcome.kind === "no-answer" && outcome.ambiguous, true);
    transport.done();
  });

  test("refused by everybody: not ambiguous, and nothing is read", async () => {
    const { transport, write } = setUp();
    transport.expect({ method: "PATCH", reply: { fail: "refused", sent: false } });
    const outcome = await write({ kind: "renew", held: record(held("n1")) });
    assert.deepEqual(outcome, { kind: "no-answer", ambiguous: false, message: "scripted refused" });
    transport.done();
  });

  test("a 500 may come from a write that etcd carries out later: it is read", async () => {
    const { transport, write } = setUp();
    transport.expect(
      {
        method: "PATCH",
        reply: { status: 500, body: { kind: "Status", message: "etcdserver: request timed out" } },
      },
      { method: "GET", reply: { status: 200, body: lease(held("n1", { renewTime: NOW })) } },
    );
    assert.equal((await write({ kind: "renew", held: record(held("n1")) })).kind, "ok");
    transport.done();
  });

  test("403 and 429 are refusals with the server's words", async () => {
    const { transport, write } = setUp();
    for (const status of [401, 403, 429]) {
      transport.expect({ method: "PATCH", reply: { status, body: { kind: "Status", message: "no" } } });
      assert.deepEqual(await write({ kind: "renew", held: record(held("n1")) }), {
        kind: "rejected",
        status,
        message: "no",
      });
    }
    transport.done();
  });

  test("no Lease any more: a conflict with nothing", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { status: 404, body: NOT_FOUND } },
      { method: "PATCH", reply: { status: 404, body: NOT_FOUND } },
    );
    assert.deepEqual(await write({ kind: "renew", held: record(held("n1")) }), {
      kind: "conflict",
      record: null,
    });
    assert.deepEqual(await write({ kind: "candidate", candidate: candidate() }), {
      kind: "conflict",
      record: null,
    });
    transport.done();
  });

  test("two create it at once: the slower one gets a conflict with the other's record", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "POST", reply: { status: 409, body: { kind: "Status", reason: "AlreadyExists" } } },
      { method: "GET", reply: { status: 200, body: lease(held("n2")) } },
    );
    const outcome = await write({ kind: "claim", replaces: null, offered: false, instance: "i1" });
    assert.deepEqual(outcome, { kind: "conflict", record: record(held("n2")) });
    transport.done();
  });

  test("its own second try finds the Lease created by the first: ours", async () => {
    const { transport, write } = setUp([A, "192.0.2.2:6443"]);
    transport.expect(
      { method: "POST", reply: { fail: "refused", sent: true } },
      { method: "POST", reply: { status: 409, body: { kind: "Status", reason: "AlreadyExists" } } },
      { method: "GET", reply: { status: 200, body: lease(held("n1", { renewTime: NOW })) } },
    );
    assert.equal((await write({ kind: "claim", replaces: null, offered: false, instance: "i1" })).kind, "ok");
    transport.done();
  });

  test("an offer whose answer was lost is found by its annotation", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { fail: "refused", sent: true } },
      { method: "GET", reply: { status: 200, body: lease(held("n1"), { [OFFER]: "n2" }) } },
    );
    assert.equal((await write({ kind: "offer", held: record(held("n1"), NOTE), to: "n2" })).kind, "ok");
    transport.done();
  });

  test("a candidate's merge patch that meets 409 is sent again", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { status: 409 } },
      { method: "PATCH", reply: { status: 200, body: lease(held("n2"), WRITTEN) } },
    );
    assert.equal((await write({ kind: "candidate", candidate: candidate() })).kind, "ok");
    transport.done();
  });
});

describe("a success whose Lease is not what was sent", () => {
  const why = /admission webhook or policy changes the Lease/u;

  test("is a refusal of a claim that now names another holder, and of a renewal", async () => {
    for (const request of [
      { kind: "claim", replaces: record(held("n2")), offered: false, instance: "i1" },
      { kind: "renew", held: record(held("n1")) },
    ] as const) {
      const { transport, write } = setUp();
      transport.expect({
        method: "PATCH",
        reply: { status: 200, body: lease(held("policy", { renewTime: NOW })) },
      });
      const outcome = await write(request);
      assert.ok(outcome.kind === "rejected" && why.test(outcome.message), JSON.stringify(outcome));
      transport.done();
    }
  });

  test("so it is where the candidate's annotation is missing, and where a created Lease is empty", async () => {
    const { transport, write } = setUp();
    transport.expect(
      { method: "PATCH", reply: { status: 200, body: lease(held("n2")) } },
      { method: "POST", reply: { status: 201, body: lease({}) } },
    );
    assert.equal((await write({ kind: "candidate", candidate: candidate() })).kind, "rejected");
    const claim = { kind: "claim", replaces: null, offered: false, instance: "i1" } as const;
    assert.equal((await write(claim)).kind, "rejected");
    transport.done();
  });

  test("is recognized as this node's own write when it is read; another machine's, of the same moment, is not", async () => {
    const { transport, write, store } = setUp();
    const policy = (instance: string, renewTime = NOW) =>
      lease(held("policy", { renewTime }), { [INSTANCE]: instance });
    const reply = (body: unknown) => ({ method: "GET", reply: { status: 200, body } }) as const;
    transport.expect(
      { method: "PATCH", reply: { status: 200, body: policy("i1") } },
      reply(policy("i1")),
      reply(policy("i2")),
      reply(lease(held("policy", { renewTime: NOW }))),
      reply(policy("i1", "2026-01-01T00:00:01.000000Z")),
      reply(lease(held("n2", { renewTime: NOW }), { [INSTANCE]: "i2" })),
      reply(lease(held("n1", { renewTime: NOW }), { [INSTANCE]: "i1" })),
    );
    await write({ kind: "claim", replaces: record(held("n2")), offered: false, instance: "i1" });
    const seen: (boolean | undefined)[] = [];
    for (let reads = 0; reads < 6; reads += 1) {
      const read = await store.read(1_000);
      seen.push(read.kind === "ok" && read.record?.rewritten);
    }
    assert.deepEqual(seen, [true, undefined, undefined, undefined, undefined, undefined]);
    transport.done();
  });

  test("so it is in the answer to a candidate's annotation", async () => {
    const { transport, write } = setUp();
    const note = { ...WRITTEN, [INSTANCE]: "i1" };
    transport.expect(
      { method: "PATCH", reply: { status: 200, body: lease(held("n1", { renewTime: NOW }), note) } },
      { method: "PATCH", reply: { status: 200, body: lease(held("policy", { renewTime: NOW }), note) } },
    );
    await write({ kind: "claim", replaces: record(held("n2")), offered: false, instance: "i1" });
    const outcome = await write({ kind: "candidate", candidate: candidate() });
    assert.ok(outcome.kind === "ok" && outcome.record.rewritten === true, JSON.stringify(outcome));
    transport.done();
  });

  test("labels, other annotations and another duration do not matter", async () => {
    const { transport, write } = setUp();
    const changed = lease(held("n1", { renewTime: NOW, leaseDurationSeconds: 60 }), { policy: "audited" });
    transport.expect({ method: "PATCH", reply: { status: 200, body: changed } });
    assert.equal((await write({ kind: "renew", held: record(held("n1")) })).kind, "ok");
    transport.done();
  });
});

test("a Lease that exists already (409), and that a read does not find, is a refusal", async () => {
  const { transport, write } = setUp();
  transport.expect(
    { method: "POST", reply: { status: 409, body: { kind: "Status", reason: "AlreadyExists" } } },
    { method: "GET", reply: { status: 404, body: NOT_FOUND } },
  );
  const outcome = await write({ kind: "claim", replaces: null, offered: false, instance: "i1" });
  assert.deepEqual([outcome.kind, "status" in outcome && outcome.status], ["rejected", 409]);
  transport.done();
});

test("a Lease that cannot be created for want of its namespace (404) is a refusal", async () => {
  const { transport, write } = setUp();
  transport.expect({ method: "POST", reply: { status: 404, body: NOT_FOUND } });
  const outcome = await write({ kind: "claim", replaces: null, offered: false, instance: "i1" });
  assert.deepEqual([outcome.kind, "status" in outcome && outcome.status], ["rejected", 404]);
  transport.done();
});

describe("an urgent renewal", () => {
  const B = "192.0.2.2:6443";

  test("goes to every server at once", async () => {
    const { transport, store } = setUp([A, B]);
    transport.expect(
      { server: A, method: "PATCH", path: PATH, reply: { hang: true } },
      {
        server: B,
        method: "PATCH",
        path: PATH,
        reply: { status: 200, body: lease(held("n1", { renewTime: NOW })) },
      },
    );
    const outcome = await store.write({ kind: "renew", held: record(held("n1")) }, 500, true);
    assert.deepEqual(outcome, { kind: "ok", record: record(held("n1", { renewTime: NOW })) });
    const [first, second] = transport.requests;
    assert.deepEqual(first?.body, second?.body, "one renewal, twice");
    transport.done();
  });

  test("reads at every server at once where its answer leaves open what has happened", async () => {
    const { transport, store } = setUp([A, B]);
    transport.expect(
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: B, method: "PATCH", reply: { status: 409 } },
      { server: A, method: "GET", path: PATH, reply: { hang: true } },
      {
        server: B,
        method: "GET",
        path: PATH,
        reply: { status: 200, body: lease(held("n1", { renewTime: NOW })) },
      },
    );
    assert.equal((await store.write({ kind: "renew", held: record(held("n1")) }, 500, true)).kind, "ok");
    transport.done();
  });
});

describe("reading", () => {
  test("404 of the API is no Lease, 404 of anything else is a refusal", async () => {
    const { transport, store } = setUp();
    transport.expect(
      { method: "GET", path: PATH, reply: { status: 404, body: NOT_FOUND } },
      { method: "GET", path: PATH, reply: { status: 404, body: "404 page not found" } },
      { method: "GET", path: PATH, reply: { status: 200, body: "<html>" } },
    );
    assert.deepEqual(await store.read(1000), { kind: "ok", record: null });
    assert.deepEqual(await store.read(1000), {
      kind: "rejected",
      status: 404,
      message: "404 page not found",
    });
    assert.equal((await store.read(1000)).kind, "no-answer");
    transport.done();
  });
});
