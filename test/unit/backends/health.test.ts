import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import type { BackendId } from "../../../src/backends/backend.ts";
import { Health } from "../../../src/backends/health.ts";
import type { CheckResult } from "../../../src/backends/pool.ts";
import { Probe, type CheckTls, type ProbeOutcome } from "../../../src/backends/probe.ts";
import type { Clock } from "../../../src/clock.ts";
import { silentLogger, type LogFields, type Logger } from "../../../src/log.ts";
import {
  checkTls,
  startApiServer,
  type ApiServer,
  type Behaviour,
} from "../../support/backends/api-server.ts";
import { backendAt, freePort } from "../../support/backends/servers.ts";
import { clock, until } from "../../support/proxy/fixture.ts";

const TIMEOUT_MS = 1_000;

function probeAt(t: TestContext, port: number, tls: () => CheckTls | undefined = () => checkTls): Probe {
  const probe = new Probe({
    clock,
    backend: backendAt(port),
    path: "/readyz",
    timeoutMs: TIMEOUT_MS,
    tls,
    onClosed: () => {},
  });
  t.after(() => probe.close());
  return probe;
}

async function apiServer(t: TestContext, behaviour: Behaviour, stranger = false): Promise<ApiServer> {
  const server = await startApiServer(behaviour, 0, stranger);
  t.after(() => server.close());
  return server;
}

describe("one check", () => {
  const table: readonly (readonly [string, Behaviour, ProbeOutcome])[] = [
    ["200 is ready", { kind: "status", status: 200 }, { kind: "ready", reason: "200", verified: true }],
    [
      "500 is not ready",
      { kind: "status", status: 500 },
      { kind: "not-ready", reason: "500", verified: true },
    ],
    [
      "500 by the check that fails from SIGTERM on is its end",
      {
        kind: "status",
        status: 500,
        body: "[+]ping ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n",
      },
      { kind: "stopping", reason: "500 shutdown", verified: true },
    ],
    [
      "500 by another check is not, whatever it says",
      { kind: "status", status: 500, body: "[+]shutdown ok\n[-]etcd failed: [-]shutdown failed\n" },
      { kind: "not-ready", reason: "500", verified: true },
    ],
    [
      "429 is not ready",
      { kind: "status", status: 429 },
      { kind: "not-ready", reason: "429", verified: true },
    ],
    [
      "401 is a denial, with a warning",
      { kind: "status", status: 401 },
      { kind: "denied", reason: "401", verified: true, warning: "unauthorized" },
    ],
    [
      "403 is a denial, with a warning",
      { kind: "status", status: 403 },
      { kind: "denied", reason: "403", verified: true, warning: "forbidden" },
    ],
    [
      "an answer that comes too late is slow",
      { kind: "status", status: 200, delayMs: 2000 },
      { kind: "slow", reason: "timeout" },
    ],
    ["no answer over working TLS is slow", { kind: "hang" }, { kind: "slow", reason: "timeout" }],
    [
      "a port that accepts and says nothing is silent",
      { kind: "silent" },
      { kind: "silent", reason: "timeout: tls" },
    ],
    ["a reset at once is a refusal", { kind: "reset" }, { kind: "refused", reason: "reset" }],
    [
      "a TLS alert is silence, not success",
      { kind: "alert" },
      { kind: "silent", reason: "tls: ssl/tls_alert_handshake_failure" },
    ],
    [
      "an answer that is not HTTP is not ready",
      { kind: "garbage" },
      { kind: "not-ready", reason: "http: HPE_INVALID_CONSTANT" },
    ],
    [
      "an endless answer is cut",
      { kind: "flood" },
      { kind: "not-ready", reason: "http: the answer is too long" },
    ],
  ];
  for (const [name, behaviour, expected] of table) {
    test(name, async (t) => {
      const server = await apiServer(t, behaviour);
      assert.deepEqual(await probeAt(t, server.port).check(), expected);
    });
  }

  test("a port where nobody listens is a refusal", async (t) => {
    assert.deepEqual(await probeAt(t, await freePort()).check(), { kind: "refused", reason: "refused" });
  });

  test("a certificate of another CA is not ready: nobody is cut off for it", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 }, true);
    const outcome = await probeAt(t, server.port).check();
    assert.equal(outcome.kind, "not-ready");
    assert.match(outcome.reason, /^tls: /u);
    assert.equal(server.requests, 0, "nothing is asked of a server that was not verified");
  });

  test("no variable of Node's makes a stranger's answer a verified one", async (t) => {
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    t.after(() => delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]);
    const server = await apiServer(t, { kind: "status", status: 200 }, true);
    assert.equal((await probeAt(t, server.port).check()).kind, "not-ready");
    assert.equal(server.requests, 0);
  });

  test("goes over one connection, with our certificate", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    const probe = probeAt(t, server.port);
    for (let i = 0; i < 20; i++) assert.equal((await probe.check()).kind, "ready");
    assert.equal(server.accepted(), 1);
    assert.equal(server.authenticated, 20);
  });

  test("takes another connection every 10 s, because a closed firewall spares the established ones", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    let laterMs = 0;
    const probe = new Probe({
      clock: { ...clock, now: () => clock.now() + laterMs },
      backend: backendAt(server.port),
      path: "/readyz",
      timeoutMs: TIMEOUT_MS,
      tls: () => checkTls,
      onClosed: () => assert.fail("the end of an old connection is no news of the server"),
    });
    t.after(() => probe.close());
    await probe.check();
    const [first] = server.sockets;
    laterMs = 9_000;
    assert.equal((await probe.check()).kind, "ready");
    assert.equal(server.accepted(), 1);
    laterMs = 10_500;
    assert.equal((await probe.check()).kind, "ready");
    assert.equal(server.accepted(), 2);
    await until("the old one is closed", () => first?.destroyed === true);
  });

  test("one connection that is reset takes out no server whose old one worked, two do", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    let laterMs = 0;
    const probe = new Probe({
      clock: { ...clock, now: () => clock.now() + laterMs },
      backend: backendAt(server.port),
      path: "/readyz",
      timeoutMs: TIMEOUT_MS,
      tls: () => checkTls,
      onClosed: () => {},
    });
    t.after(() => probe.close());
    const resets = new Set([2, 4, 5]);
    Object.defineProperty(server, "behaviour", {
      get: (): Behaviour =>
        resets.has(server.accepted()) ? { kind: "reset" } : { kind: "status", status: 200 },
    });
    const found: string[] = [];
    for (; laterMs < 30_000; laterMs += 10_000) found.push((await probe.check()).kind);
    assert.deepEqual([found, server.accepted()], [["ready", "ready", "refused"], 5]);
  });

  test("uses new credentials on a new connection after a reset", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    const probe = probeAt(t, server.port);
    await probe.check();
    probe.reset();
    assert.equal((await probe.check()).kind, "ready");
    assert.equal(server.accepted(), 2);
  });

  test("a kept connection that ends in the middle of a check is no verdict", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    const probe = probeAt(t, server.port);
    await probe.check();
    server.behaviour = { kind: "hang" };
    const pending = probe.check();
    await until("the request has come", () => server.requests === 2);
    server.behaviour = { kind: "status", status: 200 };
    for (const socket of server.sockets) socket.resetAndDestroy();
    assert.deepEqual(await pending, { kind: "ready", reason: "200", verified: true });
  });

  test("a kept connection that stops answering is slow if TLS still works, else silent", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    const probe = probeAt(t, server.port);
    await probe.check();
    server.behaviour = { kind: "hang" };
    assert.deepEqual(await probe.check(), { kind: "slow", reason: "timeout" });
    server.behaviour = { kind: "status", status: 200 };
    assert.deepEqual(
      await probe.check(),
      { kind: "ready", reason: "200", verified: true },
      "over the connection just made",
    );
    assert.equal(server.accepted(), 2);
    server.behaviour = { kind: "hang" };
    const pending = probe.check();
    await until("the request has come", () => server.requests === 4);
    server.behaviour = { kind: "silent" };
    assert.deepEqual(await pending, { kind: "silent", reason: "timeout: tls" });
  });

  test("a connection that was opened without credentials, or before a reset, serves no later check", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    let tls: CheckTls | undefined = checkTls;
    const probe = probeAt(t, server.port, () => tls);
    await probe.check();
    server.behaviour = { kind: "hang" };
    tls = undefined;
    assert.equal((await probe.check()).kind, "slow");
    server.behaviour = { kind: "status", status: 200 };
    assert.equal((await probe.check()).warning, "unverified");
    assert.equal(server.requests, 2, "nothing is asked of a server that was not verified");
    tls = checkTls;
    await probe.check();
    server.behaviour = { kind: "hang" };
    const pending = probe.check();
    await until("TLS is tried by itself", () => server.accepted() === 5);
    probe.reset();
    assert.equal((await pending).kind, "slow");
    probe.close();
    await until("all are closed", () => [...server.sockets].every(({ destroyed }) => destroyed));
  });

  test("with a token asks in full: an API server that answers 500 is not ready", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 500 });
    const { ca, servername } = checkTls;
    const probe = probeAt(t, server.port, () => ({ ca, servername, token: "abc" }));
    assert.deepEqual(await probe.check(), { kind: "not-ready", reason: "500", verified: true });
    server.behaviour = { kind: "status", status: 200 };
    assert.deepEqual(await probe.check(), { kind: "ready", reason: "200", verified: true });
    assert.deepEqual([server.accepted(), server.authenticated], [1, 0]);
    assert.deepEqual(server.authorizations, ["Bearer abc", "Bearer abc"]);
  });

  test("sends a token only to a server that the CA vouches for, under the right name", async (t) => {
    const stranger = await apiServer(t, { kind: "status", status: 200 }, true);
    const { ca, servername } = checkTls;
    const atStranger = probeAt(t, stranger.port, () => ({ ca, servername, token: "abc" }));
    assert.match((await atStranger.check()).reason, /^tls: /u);
    const server = await apiServer(t, { kind: "status", status: 200 });
    const otherName = probeAt(t, server.port, () => ({ ca, servername: "other", token: "abc" }));
    assert.match((await otherName.check()).reason, /^tls: /u);
    const noCa = probeAt(t, server.port, () => ({ ...checkTls, key: "no key", token: "abc" }));
    assert.equal((await noCa.check()).warning, "unverified");
    assert.deepEqual([...stranger.authorizations, ...server.authorizations], []);
  });

  test("without credentials only TCP and TLS are tried", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 500 });
    const without = probeAt(t, server.port, () => undefined);
    assert.deepEqual(await without.check(), {
      kind: "ready",
      reason: "tls answers, not verified",
      warning: "unverified",
    });
    assert.equal(server.requests, 0);
    server.behaviour = { kind: "silent" };
    assert.equal((await without.check()).kind, "silent");
    server.behaviour = { kind: "reset" };
    assert.equal((await without.check()).kind, "refused");
  });

  test("credentials that do not parse are as good as none", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    const broken = probeAt(t, server.port, () => ({ ...checkTls, key: "no key" }));
    assert.equal((await broken.check()).warning, "unverified");
  });

  test("ends at once when the probe is closed", async (t) => {
    const server = await apiServer(t, { kind: "silent" });
    const probe = new Probe({
      clock,
      backend: backendAt(server.port),
      path: "/readyz",
      timeoutMs: 60_000,
      tls: () => checkTls,
      onClosed: () => {},
    });
    const pending = probe.check();
    await until("the connection has come", () => server.accepted() === 1);
    probe.close();
    assert.equal((await pending).reason, "stopped");
  });
});

interface Watched {
  readonly health: Health;
  readonly results: { readonly id: BackendId; readonly result: CheckResult }[];
  readonly warnings: string[];
}

function watch(
  t: TestContext,
  checkIntervalMs: number,
  tls: () => CheckTls | undefined = () => checkTls,
  by: Clock = clock,
): Watched {
  const results: Watched["results"] = [];
  const warnings: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (_: LogFields, message: string) => void warnings.push(message),
  };
  const health = new Health({
    clock: by,
    log,
    settings: { checkPath: "/readyz", checkIntervalMs, checkTimeoutMs: TIMEOUT_MS },
    tls,
    onResult: (id, result) => void results.push({ id, result }),
  });
  t.after(() => health.stop());
  return { health, results, warnings };
}

describe("the checks' rhythm", () => {
  const HOUR = 3_600_000;

  test("the checks of all backends share a turn, where their interval fits its grid", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    for (const [intervalMs, shares] of [
      [200, true],
      [150, false],
    ] as const) {
      const delays: number[] = [];
      const spy: Clock = {
        ...clock,
        alongside(delayMs, callback) {
          delays.push(delayMs);
          return clock.alongside(delayMs, callback);
        },
      };
      const { health, results } = watch(t, intervalMs, undefined, spy);
      health.setBackends([server.backend]);
      await until("three checks", () => results.length === 3);
      health.stop();
      assert.equal(delays.length, shares ? 3 : 0);
      assert.ok(delays.every((delayMs) => delayMs > 0 && delayMs <= intervalMs));
    }
  });

  test("a process that dies is noticed without waiting for the interval", async (t) => {
    const server = await startApiServer({ kind: "status", status: 200 });
    const { health, results } = watch(t, HOUR);
    health.setBackends([server.backend]);
    await until("the first check", () => results.length === 1);
    await server.close();
    await until("the second check", () => results.length === 2);
    assert.equal(results[1]?.result.kind, "refused");
  });

  test("an idle connection that is closed costs one more check and nothing else", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    const { health, results } = watch(t, HOUR);
    health.setBackends([server.backend]);
    await until("the first check", () => results.length === 1);
    for (const socket of server.sockets) socket.destroy();
    await until("the second check", () => results.length === 2);
    assert.equal(results[1]?.result.kind, "ready");
  });

  test("a server that closes after each answer is not probed without pause", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200, close: true });
    const { health, results } = watch(t, HOUR);
    health.setBackends([server.backend]);
    await until("the first check", () => results.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(server.requests, 1, "an end that was announced is no signal");
  });

  test("never checks a backend twice at a time, however many signals come", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200, delayMs: 30 });
    const { health, results } = watch(t, 1);
    health.setBackends([server.backend]);
    let most = 0;
    for (let i = 0; i < 100; i++) {
      health.probeNow(server.backend.id);
      most = Math.max(most, server.requests - results.length);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.ok(results.length >= 2);
    assert.equal(most, 1);
    assert.equal(server.accepted(), 1);
  });

  test("a hint during a check brings another one after it", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200, delayMs: 30 });
    const { health, results } = watch(t, HOUR);
    health.setBackends([server.backend]);
    health.probeNow(server.backend.id);
    await until("the second check", () => results.length === 2);
  });

  test("warns once about refused credentials, not at every check", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 403 });
    const { health, results, warnings } = watch(t, 1);
    health.setBackends([server.backend]);
    await until("five checks", () => results.length >= 5);
    assert.deepEqual(warnings, [
      "The API server forbids its readiness check, taking it as ready unless it has just started",
    ]);
    server.behaviour = { kind: "status", status: 200 };
    await until("ready without a warning", () => results.at(-1)?.result.reason === "200");
    server.behaviour = { kind: "status", status: 401 };
    await until("refused again", () => results.at(-1)?.result.reason === "401");
    assert.equal(warnings.length, 2);
  });

  test("credentials that arrive are used at once", async (t) => {
    const server = await apiServer(t, { kind: "status", status: 200 });
    const credentials: { now: CheckTls | undefined } = { now: undefined };
    const { health, results } = watch(t, HOUR, () => credentials.now);
    health.setBackends([server.backend]);
    await until("the first check", () => results.length === 1);
    credentials.now = checkTls;
    health.updateTls();
    await until("the second check", () => results.length === 2);
    assert.equal(results[1]?.result.reason, "200");
    assert.deepEqual(
      results.map(({ result }) => result.verified),
      [false, true],
      "without a CA nothing is verified",
    );
  });

  test("an answer of any status is one of a verified server, and a failed TLS is none", async (t) => {
    for (const [status, isStranger] of [
      [401, false],
      [403, false],
      [500, false],
      [200, true],
    ] as const) {
      const server = await apiServer(t, { kind: "status", status }, isStranger);
      const { health, results } = watch(t, HOUR);
      health.setBackends([server.backend]);
      await until("the first check", () => results.length > 0);
      assert.equal(results[0]?.result.verified, !isStranger, `${status} ${isStranger}`);
    }
  });

  test("a backend that is gone from the list is not checked any more", async (t) => {
    const [a, b] = [
      await apiServer(t, { kind: "status", status: 200 }),
      await apiServer(t, { kind: "status", status: 200 }),
    ];
    const { health, results } = watch(t, 5);
    health.setBackends([a.backend, b.backend]);
    await until("both are checked", () => a.requests > 0 && b.requests > 0);
    health.setBackends([b.backend]);
    await until("its connection is closed", () => a.sockets.size === 0);
    const before = a.requests;
    const seen = results.length;
    await until("the other goes on", () => results.length > seen + 5);
    assert.equal(a.requests, before);
  });
});
