import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { LeaseRecord } from "../../../src/kube/record.ts";
import { held, lease, NOT_FOUND, NOTE, NOW, PATH, setUp } from "./lease-fixture.ts";
import { pass, settle } from "./scripted-transport.ts";

describe("watching", () => {
  const watchQuery = (path: string | undefined) => new URL(`https://x${path ?? ""}`).searchParams;

  test("reads, watches from there, and resumes at the last version after the stream's normal end", async () => {
    const { transport, store, clock } = setUp();
    const seen: (LeaseRecord | null)[] = [];
    transport.expect({
      method: "GET",
      path: PATH,
      reply: { status: 200, body: lease(held("n2"), NOTE, "7") },
    });
    const watch = store.watch((each) => seen.push(each));
    await settle();
    const query = watchQuery(transport.watches[0]?.path);
    assert.equal(query.get("fieldSelector"), "metadata.name=leasehold");
    assert.equal(query.get("resourceVersion"), "7");
    assert.equal(query.get("allowWatchBookmarks"), "true");
    const seconds = Number(query.get("timeoutSeconds"));
    assert.ok(seconds >= 50 && seconds <= 70);

    const { handlers } = transport.watches[0] ?? assert.fail();
    handlers.onEvent("MODIFIED", lease(held("n2", { renewTime: NOW }), NOTE, "8"));
    handlers.onEvent("MODIFIED", {
      ...lease(held("nx"), NOTE, "9"),
      metadata: { name: "another", uid: "u", resourceVersion: "9" },
    });
    handlers.onEvent("BOOKMARK", { kind: "Lease", metadata: { resourceVersion: "12" } });
    assert.deepEqual(
      seen.map((each) => each?.resourceVersion),
      ["7", "8"],
    );
    await pass(clock, 2000);
    handlers.onEnd({ kind: "end" });
    await pass(clock, 0);
    clock.advance(0);
    await settle();
    assert.equal(watchQuery(transport.watches[1]?.path).get("resourceVersion"), "12");
    watch.close();
    transport.done();
  });

  test("410, as a status or as an ERROR event: reads again", async () => {
    const { transport, store, clock } = setUp();
    const seen: (LeaseRecord | null)[] = [];
    transport.expect({ method: "GET", reply: { status: 200, body: lease(held("n2"), NOTE, "7") } });
    const watch = store.watch((each) => seen.push(each));
    await settle();
    transport.expect({ method: "GET", reply: { status: 200, body: lease(held("n2"), NOTE, "70") } });
    transport.watches[0]?.handlers.onEvent("ERROR", { kind: "Status", code: 410 });
    assert.equal(transport.watches[0]?.closed, true);
    await pass(clock, 300);
    assert.equal(watchQuery(transport.watches[1]?.path).get("resourceVersion"), "70");
    transport.expect({ method: "GET", reply: { status: 404, body: NOT_FOUND } });
    transport.watches[1]?.handlers.onEnd({ kind: "status", status: 410 });
    await pass(clock, 500);
    assert.equal(
      watchQuery(transport.watches[2]?.path).get("resourceVersion"),
      null,
      "no Lease: from whatever comes",
    );
    assert.deepEqual(
      seen.map((each) => each?.resourceVersion ?? null),
      ["7", "70", null],
    );
    watch.close();
    transport.done();
  });

  test("a deletion is told as null", async () => {
    const { transport, store } = setUp();
    const seen: (LeaseRecord | null)[] = [];
    transport.expect({ method: "GET", reply: { status: 200, body: lease(held("n2")) } });
    const watch = store.watch((each) => seen.push(each));
    await settle();
    transport.watches[0]?.handlers.onEvent("DELETED", lease(held("n2"), NOTE, "8"));
    assert.equal(seen[1], null);
    watch.close();
  });

  test("failures are retried with a growing pause of at most 5 s", async () => {
    const { transport, store, clock } = setUp();
    const times: number[] = [];
    for (let i = 0; i < 9; i++) {
      transport.expect({
        method: "GET",
        reply: () => {
          times.push(clock.now());
          return { fail: "refused", sent: false };
        },
      });
    }
    const watch = store.watch(() => assert.fail());
    await pass(clock, 26_000);
    const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    assert.deepEqual(pauses, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    watch.close();
    transport.done();
    assert.equal(clock.pendingTimers, 0);
  });

  test("a closed watch tells nothing and opens nothing", async () => {
    const { transport, store, clock } = setUp();
    transport.expect({ method: "GET", reply: { status: 200, body: lease(held("n2")), afterMs: 100 } });
    store.watch(() => assert.fail()).close();
    await pass(clock, 10_000);
    assert.equal(transport.watches.length, 0);
    transport.done();
  });
});
