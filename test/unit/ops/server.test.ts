import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import type { AgentStatus } from "../../../src/agent/status.ts";
import { LeaseholdError } from "../../../src/errors.ts";
import { silentLogger } from "../../../src/log.ts";
import { createMetrics } from "../../../src/ops/metrics.ts";
import { createOps } from "../../../src/ops/server.ts";
import type { Ops } from "../../../src/ops/server.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { exampleStatus } from "./example.ts";

function make(status: () => AgentStatus = () => exampleStatus(), port = 0): Ops {
  const metrics = createMetrics({ version: "0.1.0", nodeVersion: process.version, leaseName: "leasehold" });
  return createOps({ host: "127.0.0.1", port, status, metrics, log: silentLogger, clock: new FakeClock() });
}

async function started(t: TestContext, status?: () => AgentStatus): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
  const ops = make(status);
  await ops.start();
  t.after(() => ops.stop());
  return (path, init) => fetch(`http://127.0.0.1:${ops.port()}${path}`, init);
}

/** One request as bytes, for what fetch would not send; the answer up to the end of the connection. */
function raw(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    socket.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk)).on("end", () => resolve(answer)).on("error", reject);
  });
}

describe("the ops server", () => {
  test("answers the probes as Kubernetes' components do", async (t) => {
    const get = await started(t);
    for (const path of ["/livez", "/readyz", "/healthz"]) {
      const answer = await get(path);
      assert.deepEqual([answer.status, await answer.text()], [200, "ok"]);
    }
    assert.match(await (await get("/readyz?verbose")).text(), /^\[\+\]election ok\n\[\+\]vip ok\n.*readyz check passed\n$/s);
  });

  test("answers 500 with the failed check when one fails, and stays alive", async (t) => {
    const get = await started(t, () => exampleStatus({ balancer: { listening: false } }));
    const ready = await get("/readyz");
    assert.equal(ready.status, 500);
    assert.match(await ready.text(), /\[-\]listener failed: port 8443 does not accept connections/);
    assert.equal((await get("/livez")).status, 200);
  });

  test("serves metrics and the status", async (t) => {
    const get = await started(t);
    const metrics = await get("/metrics");
    assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(await metrics.text(), /leader_election_master_status\{name="leasehold"\} 1/);
    const status = await get("/status");
    assert.equal(status.headers.get("content-type"), "application/json");
    assert.deepEqual(await status.json(), JSON.parse(JSON.stringify(exampleStatus())));
  });

  test("refuses other paths and methods with the right words, and answers HEAD without a body", async (t) => {
    const get = await started(t);
    assert.equal((await get("/etc/passwd")).status, 404);
    const post = await get("/livez", { method: "POST", body: "x".repeat(100_000) });
    assert.deepEqual([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
    const head = await get("/livez", { method: "HEAD" });
    assert.deepEqual([head.status, head.headers.get("content-length"), await head.text()], [200, "2", ""]);
  });

  test("survives what is not a request", async (t) => {
    const ops = make();
    await ops.start();
    t.after(() => ops.stop());
    assert.match(await raw(ops.port(), "\x16\x03\x01 nonsense\r\n\r\n"), /^HTTP\/1\.1 400/);
    assert.match(await raw(ops.port(), "GET http://other/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), /^HTTP\/1\.1 400/);
    assert.match(await raw(ops.port(), `GET / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431/);
    assert.equal((await fetch(`http://127.0.0.1:${ops.port()}/livez`)).status, 200);
  });

  test("says which port is taken", async (t) => {
    const first = make();
    await first.start();
    t.after(() => first.stop());
    const second = make(undefined, first.port());
    await assert.rejects(second.start(), (error) => error instanceof LeaseholdError && error.code === "LH_LISTEN" && error.message.includes(`127.0.0.1:${first.port()}`));
    await second.stop();
  });

  test("stops, more than once, with a connection kept alive", async () => {
    const ops = make();
    await ops.start();
    const url = `http://127.0.0.1:${ops.port()}/livez`;
    await (await fetch(url)).text();
    await Promise.all([ops.stop(), ops.stop()]);
    await assert.rejects(fetch(url));
  });
});
