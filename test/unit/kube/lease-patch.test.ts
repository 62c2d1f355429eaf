import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { INSTANCE, OFFER } from "../../../src/kube/record.ts";
import {
  candidate,
  COLLECTION,
  EARLIER,
  held,
  lease,
  NOTE,
  NOW,
  PATH,
  record,
  setUp,
} from "./lease-fixture.ts";

const MERGE = "application/merge-patch+json";
const JSON_PATCH = "application/json-patch+json";
const patch = (...operations: readonly object[]): string => JSON.stringify(operations);
const test_ = (path: string, value: unknown) => ({ op: "test", path, value });
const add = (path: string, value: unknown) => ({ op: "add", path, value });
const drop = (path: string) => [add(path, ""), { op: "remove", path }];
const OFFER_PATH = "/metadata/annotations/leasehold.dev~1offer";
const INSTANCE_PATH = "/metadata/annotations/leasehold.dev~1holder-instance";
const RELEASED_PATH = "/metadata/annotations/leasehold.dev~1released-by";

describe("patches, byte for byte", () => {
  test("a claim tests holder, renewTime, acquireTime and transitions, and clears offer and released-by", async () => {
    const { transport, write } = setUp();
    const body = patch(
      test_("/spec/holderIdentity", "n2"),
      test_("/spec/renewTime", EARLIER),
      test_("/spec/acquireTime", EARLIER),
      test_("/spec/leaseTransitions", 4),
      add("/spec/holderIdentity", "n1"),
      add("/spec/leaseDurationSeconds", 10),
      add("/spec/acquireTime", NOW),
      add("/spec/renewTime", NOW),
      add("/spec/leaseTransitions", 5),
      ...drop(OFFER_PATH),
      ...drop(RELEASED_PATH),
      add(INSTANCE_PATH, "i1"),
    );
    const after = {
      holderIdentity: "n1",
      leaseDurationSeconds: 10,
      acquireTime: NOW,
      renewTime: NOW,
      leaseTransitions: 5,
    };
    transport.expect({
      method: "PATCH",
      path: PATH,
      contentType: JSON_PATCH,
      body,
      reply: { status: 200, body: lease(after, NOTE, "8") },
    });
    const outcome = await write({
      kind: "claim",
      replaces: record(held("n2"), NOTE),
      offered: false,
      instance: "i1",
    });
    assert.deepEqual(outcome, { kind: "ok", record: record(after, NOTE, "8") });
    transport.done();
  });

  test("an offered claim tests the offer as well", async () => {
    const { transport, write } = setUp();
    const operation = JSON.stringify(test_(OFFER_PATH, "n1"));
    transport.expect({
      method: "PATCH",
      reply: (request) => {
        assert.ok(JSON.stringify(request.body).includes(operation));
        return { status: 200, body: lease(held("n1")) };
      },
    });
    await write({
      kind: "claim",
      replaces: record(held("n2"), { [OFFER]: "n1" }),
      offered: true,
      instance: "i1",
    });
    transport.done();
  });

  test("a claim of our own Lease after a restart keeps the transitions; the new acquireTime makes what was sent before fail", async () => {
    const { transport, write } = setUp();
    const body = patch(
      test_("/spec/holderIdentity", "n1"),
      test_("/spec/renewTime", EARLIER),
      test_("/spec/acquireTime", EARLIER),
      test_("/spec/leaseTransitions", 4),
      add("/spec/holderIdentity", "n1"),
      add("/spec/leaseDurationSeconds", 10),
      add("/spec/acquireTime", NOW),
      add("/spec/renewTime", NOW),
      add("/spec/leaseTransitions", 4),
      ...drop(OFFER_PATH),
      ...drop(RELEASED_PATH),
      add(INSTANCE_PATH, "i1"),
    );
    transport.expect({ method: "PATCH", body, reply: { status: 200, body: lease(held("n1")) } });
    await write({
      kind: "claim",
      replaces: record(held("n1"), { ...NOTE, [INSTANCE]: "i1" }),
      offered: false,
      instance: "i1",
    });
    transport.done();
  });

  test("a claim of a Lease that another machine of our name holds is a tenure of its own", async () => {
    const { transport, write } = setUp();
    const operations = [add("/spec/acquireTime", NOW), add("/spec/leaseTransitions", 5)].map((operation) =>
      JSON.stringify(operation),
    );
    transport.expect({
      method: "PATCH",
      reply: (request) => {
        for (const operation of operations) assert.ok(JSON.stringify(request.body).includes(operation));
        return { status: 200, body: lease(held("n1")) };
      },
    });
    await write({
      kind: "claim",
      replaces: record(held("n1"), { [INSTANCE]: "i2" }),
      offered: false,
      instance: "i1",
    });
    transport.done();
  });

  test("the first claim of the shipped Lease tests for null: an absent member passes", async () => {
    const { transport, write } = setUp();
    const body = patch(
      test_("/spec/holderIdentity", null),
      test_("/spec/renewTime", null),
      test_("/spec/acquireTime", null),
      test_("/spec/leaseTransitions", null),
      add("/spec/holderIdentity", "n1"),
      add("/spec/leaseDurationSeconds", 10),
      add("/spec/acquireTime", NOW),
      add("/spec/renewTime", NOW),
      add("/spec/leaseTransitions", 1),
      test_("/metadata/annotations", null),
      add("/metadata/annotations", { [INSTANCE]: "i1" }),
    );
    transport.expect({ method: "PATCH", body, reply: { status: 200, body: lease(held("n1")) } });
    await write({ kind: "claim", replaces: record({}), offered: false, instance: "i1" });
    transport.done();
  });

  test("a renewal tests the tenure, not renewTime, and sets renewTime alone", async () => {
    const { transport, write } = setUp();
    const body = patch(
      test_("/spec/holderIdentity", "n1"),
      test_("/spec/acquireTime", EARLIER),
      test_("/spec/leaseTransitions", 4),
      add("/spec/renewTime", NOW),
    );
    transport.expect({
      method: "PATCH",
      path: PATH,
      contentType: JSON_PATCH,
      body,
      reply: { status: 200, body: lease(held("n1")) },
    });
    await write({ kind: "renew", held: record(held("n1")) });
    transport.done();
  });

  test("a renewal repairs a duration that somebody edited", async () => {
    const { transport, write } = setUp();
    const body = patch(
      test_("/spec/holderIdentity", "n1"),
      test_("/spec/acquireTime", EARLIER),
      test_("/spec/leaseTransitions", 4),
      add("/spec/renewTime", NOW),
      add("/spec/leaseDurationSeconds", 10),
    );
    transport.expect({ method: "PATCH", body, reply: { status: 200, body: lease(held("n1")) } });
    await write({ kind: "renew", held: record(held("n1", { leaseDurationSeconds: 3600 })) });
    transport.done();
  });

  test("an offer touches its annotation only, and so does its withdrawal", async () => {
    const { transport, write } = setUp();
    const tenure = [
      test_("/spec/holderIdentity", "n1"),
      test_("/spec/renewTime", EARLIER),
      test_("/spec/acquireTime", EARLIER),
      test_("/spec/leaseTransitions", 4),
    ];
    transport.expect(
      {
        method: "PATCH",
        body: patch(...tenure, add(OFFER_PATH, "n2")),
        reply: { status: 200, body: lease(held("n1")) },
      },
      {
        method: "PATCH",
        body: patch(...tenure, ...drop(OFFER_PATH)),
        reply: { status: 200, body: lease(held("n1")) },
      },
    );
    await write({ kind: "offer", held: record(held("n1"), NOTE), to: "n2" });
    await write({ kind: "offer", held: record(held("n1"), { [OFFER]: "n2" }), to: null });
    transport.done();
  });

  test("an annotation is never added over a map that came meanwhile", async () => {
    const { transport, write } = setUp();
    const body = patch(
      test_("/spec/holderIdentity", "n1"),
      test_("/spec/renewTime", EARLIER),
      test_("/spec/acquireTime", EARLIER),
      test_("/spec/leaseTransitions", 4),
      test_("/metadata/annotations", null),
      add("/metadata/annotations", { [OFFER]: "n2" }),
    );
    transport.expect({ method: "PATCH", body, reply: { status: 200, body: lease(held("n1")) } });
    await write({ kind: "offer", held: record(held("n1")), to: "n2" });
    transport.done();
  });

  test("a release is written as client-go does, with released-by", async () => {
    const { transport, write } = setUp();
    const body = patch(
      test_("/spec/holderIdentity", "n1"),
      test_("/spec/renewTime", EARLIER),
      test_("/spec/acquireTime", EARLIER),
      test_("/spec/leaseTransitions", 4),
      add("/spec/holderIdentity", ""),
      add("/spec/leaseDurationSeconds", 1),
      add("/spec/acquireTime", NOW),
      add("/spec/renewTime", NOW),
      ...drop(OFFER_PATH),
      add(RELEASED_PATH, "n1"),
    );
    transport.expect({ method: "PATCH", body, reply: { status: 200, body: lease(held("n1")) } });
    await write({ kind: "release", held: record(held("n1"), NOTE) });
    transport.done();
  });

  test("a claim without a Lease creates it", async () => {
    const { transport, write } = setUp();
    const body = JSON.stringify({
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name: "leasehold", namespace: "kube-system", annotations: { [INSTANCE]: "i1" } },
      spec: {
        holderIdentity: "n1",
        leaseDurationSeconds: 10,
        acquireTime: NOW,
        renewTime: NOW,
        leaseTransitions: 0,
      },
    });
    transport.expect({
      method: "POST",
      path: COLLECTION,
      contentType: "application/json",
      body,
      reply: { status: 201, body: lease(held("n1", { renewTime: NOW })) },
    });
    assert.equal((await write({ kind: "claim", replaces: null, offered: false, instance: "i1" })).kind, "ok");
    transport.done();
  });

  test("a candidate is one merge-patched annotation", async () => {
    const { transport, write } = setUp();
    const value =
      '{"base":100,"effective":50,"eligible":true,"state":"BACKUP","faults":[],"preempt":false,"ip":"192.0.2.1",' +
      '"mac":"02:00:00:00:00:01","fastPath":null,"instance":"abc","version":"0.1.0","counter":3}';
    const body = JSON.stringify({ metadata: { annotations: { "leasehold.dev/candidate.n1": value } } });
    transport.expect({
      method: "PATCH",
      path: PATH,
      contentType: MERGE,
      body,
      reply: { status: 200, body: lease(held("n2"), { "leasehold.dev/candidate.n1": value }) },
    });
    assert.equal((await write({ kind: "candidate", candidate: candidate() })).kind, "ok");
    transport.done();
  });
});

describe("renewTime", () => {
  test("differs from write to write while the wall clock stands still, and from the one it replaces", async () => {
    const { transport, write } = setUp();
    const times: unknown[] = [];
    const reply = (request: { readonly body?: unknown }) => {
      assert.ok(Array.isArray(request.body));
      times.push(request.body.find((each) => each.op === "add" && each.path === "/spec/renewTime")?.value);
      return { status: 200, body: lease(held("n1")) };
    };
    transport.expect(...[1, 2, 3].map(() => ({ method: "PATCH", reply }) as const));
    await write({ kind: "renew", held: record(held("n1", { renewTime: NOW })) });
    await write({ kind: "renew", held: record(held("n1", { renewTime: EARLIER })) });
    await write({ kind: "renew", held: record(held("n1", { renewTime: "2026-01-01T00:00:00.000001Z" })) });
    assert.deepEqual(times.map(String), [
      "2026-01-01T00:00:00.000001Z",
      "2026-01-01T00:00:00.000000Z",
      "2026-01-01T00:00:00.000002Z",
    ]);
    transport.done();
  });
});
