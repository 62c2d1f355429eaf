import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createApiClient } from "../../../src/kube/api.ts";
import type { Survey } from "../../../src/kube/store.ts";
import type { RequestReport } from "../../../src/kube/transport.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { A, held, lease, NOT_FOUND, PATH, record, setUp } from "./lease-fixture.ts";
import type { Reply, Step } from "./scripted-transport.ts";
import { pass, ScriptedTransport, settle } from "./scripted-transport.ts";

const B = "192.0.2.2:6443";
const C = "192.0.2.3:6443";
const HANG = { hang: true } as const;
const REFUSED = { fail: "refused", sent: false } as const;
const FORBIDDEN = { status: 403 } as const;
const LEASE = { status: 200, body: lease(held("n1")) } as const;

/** Both requests to one server. */
function asks(server: string, ping: Reply, cached: Reply): readonly Step[] {
  return [
    { server, method: "GET", path: "/livez/ping", reply: ping },
    { server, method: "GET", path: `${PATH}?resourceVersion=0`, reply: cached },
  ];
}

/** The survey of one server, 1 s long. */
async function survey(ping: Reply, cached: Reply): Promise<Survey> {
  const { clock, transport, store } = setUp();
  transport.expect(...asks(A, ping, cached));
  const outcome = store.survey(1000);
  // The transport lives on for a moment, for a survey that is late.
  await pass(clock, 1200);
  transport.done();
  assert.equal(clock.pendingTimers, 0);
  return outcome;
}

describe("one API server is", () => {
  const cases: readonly (readonly [
    why: string,
    state: Survey["servers"][number]["state"],
    ping: Reply,
    cached: Reply,
  ])[] = [
    ["alive when it answers both", "alive", { status: 200, body: "ok" }, LEASE],
    ["alive when it forbids both", "alive", FORBIDDEN, FORBIDDEN],
    ["alive when it is unwell", "alive", { status: 500 }, { status: 503 }],
    ["alive when the cached read hangs", "alive", FORBIDDEN, HANG],
    ["alive when the ping hangs", "alive", HANG, { status: 429 }],
    ["alive when the cached read is reset", "alive", { status: 401 }, { fail: "refused", sent: true }],
    ["refusing when it refuses both", "refusing", REFUSED, REFUSED],
    ["refusing when it resets both", "refusing", { fail: "refused", sent: true }, REFUSED],
    ["silent when it answers neither", "silent", HANG, HANG],
    ["silent when it refuses one and is silent on the other", "silent", REFUSED, HANG],
    [
      "silent when its TLS cannot be trusted",
      "silent",
      { fail: "tls", sent: false },
      { fail: "tls", sent: false },
    ],
    [
      "silent when there are no credentials to ask it with",
      "silent",
      { fail: "credentials", sent: false },
      { fail: "credentials", sent: false },
    ],
  ];
  for (const [why, state, ping, cached] of cases) {
    test(why, async () => assert.deepEqual((await survey(ping, cached)).servers, [{ server: A, state }]));
  }
});

describe("a survey", () => {
  test("asks every server at once, and is over when all have been heard", async () => {
    const { clock, transport, store } = setUp([A, B, C]);
    transport.expect(
      ...asks(A, { status: 403, afterMs: 300 }, { ...LEASE, afterMs: 200 }),
      ...asks(B, REFUSED, REFUSED),
      ...asks(C, FORBIDDEN, { status: 200, body: lease(held("n3"), {}, "9"), afterMs: 100 }),
    );
    const state: { survey?: Survey } = {};
    void (async () => (state.survey = await store.survey(1000)))();
    await settle();
    assert.deepEqual(new Set(transport.requests.map(({ atMs }) => atMs)).size, 1);
    assert.equal(transport.requests.length, 6);
    await pass(clock, 250);
    assert.equal(state.survey, undefined);
    await pass(clock, 50);
    assert.deepEqual(state.survey, {
      servers: [
        { server: A, state: "alive" },
        { server: B, state: "refusing" },
        { server: C, state: "alive" },
      ],
      records: [record(held("n1")), record(held("n3"), {}, "9")],
    });
    transport.done();
  });

  test("brings records and nothing else: no 404, no refusal, nothing that is no Lease", async () => {
    for (const cached of [
      { status: 404, body: NOT_FOUND },
      { status: 500, body: lease(held("n1")) },
      { status: 200, body: "<html>" },
      HANG,
    ]) {
      assert.deepEqual((await survey(FORBIDDEN, cached)).records, []);
    }
  });

  test("of nobody says nothing, at once", async () => {
    const { store } = setUp([]);
    assert.deepEqual(await store.survey(1000), { servers: [], records: [] });
  });

  test("ends at its deadline whatever the transport does", async () => {
    const clock = new FakeClock();
    const transport = new ScriptedTransport(clock, [A]);
    transport.send = () => new Promise(() => {});
    const outcome = createApiClient({ transport, clock, log: silentLogger }).survey(PATH, 700);
    await pass(clock, 700);
    assert.deepEqual(await outcome, { servers: [{ server: A, state: "silent" }], answers: [] });
  });

  test("of a process that stood still reads first what came meanwhile", async () => {
    const { clock, transport, store } = setUp();
    transport.expect(...asks(A, { ...FORBIDDEN, afterMs: 1050 }, HANG));
    const outcome = store.survey(1000);
    await settle();
    clock.jump(1600);
    await pass(clock, 200);
    assert.deepEqual((await outcome).servers, [{ server: A, state: "alive" }]);
  });

  test("does not reject when the transport fails in a way of its own", async () => {
    const clock = new FakeClock();
    const transport = new ScriptedTransport(clock, [A]);
    transport.send = () => Promise.reject(new TypeError("a bug"));
    const outcome = await createApiClient({ transport, clock, log: silentLogger }).survey(PATH, 700);
    assert.deepEqual(outcome.servers, [{ server: A, state: "silent" }]);
  });

  test("leaves the order of calls as it was, and reports its requests", async () => {
    const clock = new FakeClock();
    const transport = new ScriptedTransport(clock, [A, B]);
    const reports: RequestReport[] = [];
    const api = createApiClient({
      transport,
      clock,
      log: silentLogger,
      onRequest: (report) => reports.push(report),
    });
    transport.expect(...asks(A, HANG, HANG), ...asks(B, FORBIDDEN, LEASE));
    const outcome = api.survey(PATH, 1000);
    await pass(clock, 1200);
    assert.deepEqual(
      (await outcome).servers.map(({ state }) => state),
      ["silent", "alive"],
    );
    assert.deepEqual(
      reports.map(({ server, verb, code }) => `${server} ${verb} ${code}`),
      [`${B} GET 403`, `${B} GET 200`, `${A} GET silent`, `${A} GET silent`],
    );
    transport.expect({ server: A, method: "GET", reply: { status: 200 } });
    void api.call({ method: "GET", path: "/x" }, 1000);
    await settle();
    transport.done();
  });

  test("does not clear the suspicion that calls have of a server", async () => {
    const clock = new FakeClock();
    const transport = new ScriptedTransport(clock, [A, B]);
    const api = createApiClient({ transport, clock, log: silentLogger });
    transport.expect(
      { server: A, method: "GET", reply: HANG },
      { server: B, method: "GET", reply: { status: 200 } },
    );
    void api.call({ method: "GET", path: "/x" }, 1000);
    await pass(clock, 1000);
    transport.expect(...asks(A, FORBIDDEN, LEASE), ...asks(B, FORBIDDEN, LEASE));
    await api.survey(PATH, 1000);
    transport.expect({ server: B, method: "GET", reply: { status: 200 } });
    void api.call({ method: "GET", path: "/x" }, 1000);
    await settle();
    transport.done();
  });
});
