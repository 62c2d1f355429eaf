import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createApiClient } from "../../../src/kube/api.ts";
import type { CallOutcome } from "../../../src/kube/api.ts";
import type { ApiRequest, RequestReport } from "../../../src/kube/transport.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { pass, ScriptedTransport, settle } from "./scripted-transport.ts";

const A = "192.0.2.1:6443";
const B = "192.0.2.2:6443";
const C = "192.0.2.3:6443";
const GET: ApiRequest = { method: "GET", path: "/x" };
const PATCH: ApiRequest = {
  method: "PATCH",
  path: "/x",
  contentType: "application/json-patch+json",
  body: [],
};

function setUp(servers: readonly string[] = [A, B, C]) {
  const clock = new FakeClock();
  const transport = new ScriptedTransport(clock, servers);
  const reports: RequestReport[] = [];
  const api = createApiClient({
    transport,
    clock,
    log: silentLogger,
    onRequest: (report) => reports.push(report),
  });
  const call = (request: ApiRequest, timeoutMs = 4000) => {
    const state: { outcome?: CallOutcome; atMs?: number } = {};
    const startMs = clock.now();
    void (async () => {
      state.outcome = await api.call(request, timeoutMs);
      state.atMs = clock.now() - startMs;
    })();
    return state;
  };
  return { clock, transport, api, call, reports };
}

describe("call rules", () => {
  test("asks the own server, and nobody else when it answers", async () => {
    const { transport, call, clock } = setUp();
    transport.expect({ server: A, method: "GET", reply: { status: 200, body: "ok" } });
    const state = call(GET);
    await pass(clock, 5000);
    assert.deepEqual(state.outcome, {
      kind: "answer",
      response: { server: A, status: 200, body: "ok" },
      uncertain: false,
    });
    assert.equal(clock.pendingTimers, 0);
    transport.done();
  });

  test("goes to the next server at once when one refuses", async () => {
    const { transport, call } = setUp();
    transport.expect(
      { server: A, method: "GET", reply: { fail: "refused", sent: false } },
      { server: B, method: "GET", reply: { status: 200 } },
    );
    const state = call(GET);
    await settle();
    assert.equal(state.atMs, 0);
    assert.equal(state.outcome?.kind, "answer");
    transport.done();
  });

  test("hedges to the next server after 500 ms, and to the third after another 500", async () => {
    const { transport, call, clock } = setUp();
    transport.expect(
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: B, method: "PATCH", reply: { hang: true } },
      { server: C, method: "PATCH", reply: { status: 200, afterMs: 5 } },
    );
    const state = call(PATCH);
    await pass(clock, 4100);
    assert.deepEqual(
      transport.requests.map(({ atMs }) => atMs - 1_000_000),
      [0, 500, 1000],
    );
    assert.deepEqual(
      transport.requests.map(({ body }) => body),
      [PATCH.body, PATCH.body, PATCH.body],
    );
    assert.equal(state.outcome?.kind === "answer" && state.outcome.response.server, C);
    assert.equal(
      state.outcome?.kind === "answer" && state.outcome.uncertain,
      true,
      "the first two may still be carried out",
    );
    transport.done();
  });

  test("asks once more: a server may be up again, and a write is lost with the etcd leader that it was passed on to", async () => {
    const { transport, call, clock } = setUp();
    transport.expect(
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: B, method: "PATCH", reply: { fail: "refused", sent: false } },
      { server: C, method: "PATCH", reply: { hang: true } },
      { server: B, method: "PATCH", reply: { fail: "refused", sent: false } },
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: C, method: "PATCH", reply: { hang: true } },
    );
    const state = call(PATCH);
    await pass(clock, 4000);
    assert.deepEqual(
      transport.requests.map(({ server, atMs }) => [server, atMs - 1_000_000]),
      [
        [A, 0],
        [B, 500],
        [C, 500],
        [B, 1000],
        [A, 1000],
        [C, 1000],
      ],
    );
    assert.equal(state.outcome?.kind === "no-answer" && state.outcome.uncertain, true);
    transport.done();
  });

  test("and not before a second is over, for a single server may just be slow", async () => {
    const { transport, call, clock } = setUp([A]);
    transport.expect(
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: A, method: "PATCH", reply: { status: 200, afterMs: 5 } },
    );
    const state = call(PATCH);
    await pass(clock, 1500);
    assert.deepEqual(
      transport.requests.map(({ atMs }) => atMs - 1_000_000),
      [0, 1000],
    );
    assert.equal(state.outcome?.kind === "answer" && state.outcome.uncertain, true);
    await pass(clock, 4000);
    assert.equal(clock.pendingTimers, 0);
    transport.done();
  });

  test("a slow server that answers before the hedged one wins: it was not cancelled", async () => {
    const { transport, call, clock } = setUp();
    transport.expect(
      { server: A, method: "PATCH", reply: { status: 200, afterMs: 1900 } },
      { server: B, method: "PATCH", reply: { hang: true } },
      { server: C, method: "PATCH", reply: { hang: true } },
      { server: A, method: "PATCH", reply: { hang: true } },
    );
    const state = call(PATCH);
    await pass(clock, 1900);
    assert.equal(state.outcome?.kind === "answer" && state.outcome.response.server, A);
    assert.equal(state.atMs, 1900);
    transport.done();
  });

  test("remembers a 429 or 5xx, asks the others, and returns it only when nobody does better", async () => {
    const { transport, call } = setUp();
    transport.expect(
      { server: A, method: "PATCH", reply: { status: 429, body: "later" } },
      { server: B, method: "PATCH", reply: { status: 503 } },
      { server: C, method: "PATCH", reply: { fail: "refused", sent: false } },
    );
    const state = call(PATCH);
    await settle();
    assert.deepEqual(state.outcome, {
      kind: "answer",
      response: { server: A, status: 429, body: "later" },
      uncertain: true,
    });

    transport.expect(
      { server: A, method: "PATCH", reply: { status: 500 } },
      { server: B, method: "PATCH", reply: { status: 200 } },
    );
    const second = call(PATCH);
    await settle();
    assert.equal(second.outcome?.kind === "answer" && second.outcome.response.status, 200);
    transport.done();
  });

  test("a server that has just started may say 403 where the others know better", async () => {
    const { transport, call } = setUp();
    transport.expect(
      { server: A, method: "GET", reply: { status: 403 } },
      { server: B, method: "GET", reply: { status: 200 } },
    );
    const state = call(GET);
    await settle();
    assert.equal(state.outcome?.kind === "answer" && state.outcome.response.status, 200);
    transport.done();
  });

  for (const status of [404, 409, 422]) {
    test(`${status} is an answer that no other server is asked to repeat`, async () => {
      const { transport, call } = setUp();
      transport.expect({ server: A, method: "PATCH", reply: { status } });
      const state = call(PATCH);
      await settle();
      assert.deepEqual(state.outcome, {
        kind: "answer",
        response: { server: A, status, body: undefined },
        uncertain: false,
      });
      transport.done();
    });
  }

  test("no answer by the deadline: silent, and uncertain because the request had been sent", async () => {
    const { transport, call, clock } = setUp([A]);
    transport.expect(
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: A, method: "PATCH", reply: { hang: true } },
    );
    const state = call(PATCH, 1500);
    await pass(clock, 1500);
    assert.equal(state.atMs, 1500);
    assert.equal(state.outcome?.kind === "no-answer" && state.outcome.reason, "silent");
    assert.equal(state.outcome?.kind === "no-answer" && state.outcome.uncertain, true);
    transport.done();
  });

  test("everybody refuses: certain that nothing has happened", async () => {
    const { transport, call } = setUp([A, B]);
    transport.expect(
      { server: A, method: "PATCH", reply: { fail: "refused", sent: false } },
      { server: B, method: "PATCH", reply: { fail: "refused", sent: false } },
    );
    const state = call(PATCH);
    await settle();
    assert.deepEqual(state.outcome, {
      kind: "no-answer",
      reason: "refused",
      uncertain: false,
      message: "scripted refused",
    });
    transport.done();
  });

  test("a reset in mid-answer leaves the write uncertain, whoever answers then", async () => {
    const { transport, call } = setUp([A, B]);
    transport.expect(
      { server: A, method: "PATCH", reply: { fail: "refused", sent: true } },
      { server: B, method: "PATCH", reply: { status: 422 } },
    );
    const state = call(PATCH);
    await settle();
    assert.equal(state.outcome?.kind === "answer" && state.outcome.uncertain, true);
    transport.done();
  });

  test("without credentials no second server is bothered", async () => {
    const { transport, call } = setUp();
    transport.expect({ server: A, method: "GET", reply: { fail: "credentials", sent: false } });
    const state = call(GET);
    await settle();
    assert.equal(state.outcome?.kind === "no-answer" && state.outcome.reason, "credentials");
    transport.done();
  });

  test("without a server there is no answer, at once", async () => {
    const { transport, call } = setUp([]);
    const state = call(GET);
    await settle();
    assert.deepEqual(state.outcome, {
      kind: "no-answer",
      reason: "silent",
      uncertain: false,
      message: "no API server is known",
    });
    transport.done();
  });

  test("a silent own server costs half a second once, is asked last for 5 s, then first again", async () => {
    const { transport, call, clock } = setUp([A, B]);
    transport.expect(
      { server: A, method: "GET", reply: { hang: true } },
      { server: B, method: "GET", reply: { status: 200 } },
      { server: B, method: "GET", reply: { status: 200 } },
    );
    call(GET, 1000);
    await pass(clock, 1500);
    const second = call(GET);
    await settle();
    assert.equal(second.atMs, 0);
    await pass(clock, 5000);
    transport.expect({ server: A, method: "GET", reply: { status: 200 } });
    call(GET);
    await settle();
    transport.done();
  });

  test("a server that refuses keeps its place: asking it costs nothing", async () => {
    const { transport, call } = setUp([A, B]);
    for (let i = 0; i < 2; i++) {
      transport.expect(
        { server: A, method: "GET", reply: { fail: "refused", sent: false } },
        { server: B, method: "GET", reply: { status: 200 } },
      );
      call(GET);
      await settle();
    }
    transport.done();
  });

  test("every try is reported, the late ones too", async () => {
    const { transport, call, clock, reports } = setUp([A, B]);
    transport.expect(
      { server: A, method: "GET", reply: { status: 200, afterMs: 2000 } },
      { server: B, method: "GET", reply: { status: 200, afterMs: 50 } },
    );
    call(GET);
    await pass(clock, 3000);
    assert.deepEqual(reports, [
      { server: B, verb: "GET", code: 200, durationMs: 50 },
      { server: A, verb: "GET", code: 200, durationMs: 2000 },
    ]);
  });
});

describe("watch rules", () => {
  test("watches at the own server, and at the next one after a failure", () => {
    const { transport, api } = setUp();
    const ends: unknown[] = [];
    const open = () => api.watch("/w", 30_000, { onEvent: () => {}, onEnd: (reason) => ends.push(reason) });
    open();
    assert.equal(transport.watches[0]?.server, A);
    transport.watches[0]?.handlers.onEnd({ kind: "error", message: "reset" });
    assert.deepEqual(ends, [{ kind: "error", message: "reset" }]);
    open();
    assert.equal(transport.watches[1]?.server, B);
  });

  test("a stream without events for too long is closed and ends as an error", async () => {
    const { transport, api, clock } = setUp();
    const ends: unknown[] = [];
    const seen: string[] = [];
    api.watch("/w", 1000, { onEvent: (type) => seen.push(type), onEnd: (reason) => ends.push(reason) });
    await pass(clock, 900);
    transport.watches[0]?.handlers.onEvent("BOOKMARK", {});
    await pass(clock, 900);
    assert.deepEqual(ends, []);
    await pass(clock, 100);
    assert.deepEqual(ends, [{ kind: "error", message: "no event for 1000 ms" }]);
    assert.equal(transport.watches[0]?.closed, true);
    transport.watches[0]?.handlers.onEvent("MODIFIED", {});
    assert.deepEqual(seen, ["BOOKMARK"]);
  });

  test("a closed watch says nothing more and leaves no timer", async () => {
    const { transport, api, clock } = setUp();
    const watch = api.watch("/w", 1000, { onEvent: () => assert.fail(), onEnd: () => assert.fail() });
    watch.close();
    watch.close();
    transport.watches[0]?.handlers.onEnd({ kind: "end" });
    await pass(clock, 2000);
    assert.equal(clock.pendingTimers, 0);
    assert.equal(transport.watches[0]?.closed, true);
  });
});
