import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createApiClient } from "../../../src/kube/api.ts";
import type { CallOutcome } from "../../../src/kube/api.ts";
import type { ApiRequest } from "../../../src/kube/transport.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { pass, ScriptedTransport, settle } from "./scripted-transport.ts";

const A = "192.0.2.1:6443";
const B = "192.0.2.2:6443";
const C = "192.0.2.3:6443";
const PATCH: ApiRequest = {
  method: "PATCH",
  path: "/x",
  contentType: "application/json-patch+json",
  body: [],
};

function setUp(servers: readonly string[] = [A, B, C]) {
  const clock = new FakeClock();
  const transport = new ScriptedTransport(clock, servers);
  const api = createApiClient({ transport, clock, log: silentLogger });
  const call = (timeoutMs = 4000) => {
    const state: { outcome?: CallOutcome; atMs?: number } = {};
    const startMs = clock.now();
    void (async () => {
      state.outcome = await api.call(PATCH, timeoutMs, true);
      state.atMs = clock.now() - startMs;
    })();
    return state;
  };
  return { clock, transport, call };
}

describe("an urgent call", () => {
  test("asks every server at once; the first success counts, and no later one is sent anything", async () => {
    const { transport, call, clock } = setUp();
    transport.expect(
      { server: A, method: "PATCH", reply: { hang: true } },
      { server: B, method: "PATCH", reply: { fail: "refused", sent: false } },
      { server: C, method: "PATCH", reply: { status: 200, afterMs: 50 } },
    );
    const state = call();
    await settle();
    assert.deepEqual(
      transport.requests.map(({ server, atMs }) => `${server} ${atMs}`),
      [A, B, C].map((server) => `${server} ${clock.now()}`),
    );
    await pass(clock, 50);
    assert.equal(state.outcome?.kind === "answer" && state.outcome.response.server, C);
    assert.equal(
      state.outcome?.kind === "answer" && state.outcome.uncertain,
      true,
      "the first one may still carry it out",
    );
    await pass(clock, 4000);
    assert.equal(clock.pendingTimers, 0);
    transport.done();
  });

  test("waits for the others when one is unwell, and is over when all have failed", async () => {
    const { transport, call, clock } = setUp([A, B]);
    transport.expect(
      { server: A, method: "PATCH", reply: { status: 503 } },
      { server: B, method: "PATCH", reply: { fail: "refused", sent: false, afterMs: 700 } },
    );
    const state = call();
    await pass(clock, 700);
    assert.equal(state.outcome?.kind === "answer" && state.outcome.response.status, 503);
    assert.equal(state.atMs, 700);
    transport.done();
  });

  test("after its deadline sends nothing", async () => {
    const { transport, call } = setUp([A, B]);
    const state = call(0);
    await settle();
    assert.equal(state.outcome?.kind, "no-answer");
    transport.done();
  });

  test("without a server or credentials is over at once", async () => {
    const none = setUp([]);
    const nobody = none.call();
    const locked = setUp([A, B]);
    const credentials = { fail: "credentials", sent: false } as const;
    locked.transport.expect(
      { server: A, method: "PATCH", reply: credentials },
      { server: B, method: "PATCH", reply: credentials },
    );
    const turnedAway = locked.call();
    await settle();
    assert.equal(nobody.outcome?.kind, "no-answer");
    assert.equal(turnedAway.outcome?.kind === "no-answer" && turnedAway.outcome.reason, "credentials");
    locked.transport.done();
  });
});
