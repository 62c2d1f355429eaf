import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { silentLogger } from "../../../src/log.ts";
import { peerIdentity } from "../../../src/peers/identity.ts";
import { exampleStatus } from "./example.ts";
import { makeOps, startedOps } from "./rig.ts";
import type { OpsRig } from "./rig.ts";

const directory = mkdtempSync(join(tmpdir(), "leasehold-ops-"));
const identity = peerIdentity(directory, "n1", silentLogger);
process.once("exit", () => rmSync(directory, { recursive: true }));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** One request as bytes, for what fetch would not send; the answer up to the end of the connection. */
function raw(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    socket
      .setEncoding("utf8")
      .on("data", (chunk: string) => (answer += chunk))
      .on("end", () => resolve(answer))
      .on("error", reject);
  });
}

describe("the ops server", () => {
  test("answers for one check, and without those that are excluded", async (t) => {
    const { get } = await startedOps(t, {
      status: () => exampleStatus({ balancer: { listening: false, listenFailure: "taken" } }),
    });
    const answer = async (path: string, init?: RequestInit): Promise<string> => {
      const { status, text } = await get(path, init).then(async (one) => ({
        status: one.status,
        text: await one.text(),
      }));
      return `${status} ${text}`;
    };
    assert.equal(await answer("/readyz/election"), "200 ok");
    assert.equal(await answer("/readyz/listener"), "500 internal server error: taken\n");
    assert.equal(await answer("/livez/ping"), "200 ok");
    assert.equal(await answer("/healthz/worker"), "200 ok");
    for (const path of ["/readyz/zebra", "/livez/election", "/readyz/", "/readyz/election/x", "/metrics/x"])
      assert.equal(await answer(path), "404 404 page not found\n", path);
    assert.match(await answer("/readyz/election", { method: "POST" }), /^405 /);
    assert.match(await answer("/readyz?exclude=election"), /^500 \[\+\]election excluded: ok\n/);
    assert.equal(await answer("/readyz?exclude=listener&exclude=ops-port"), "200 ok");
    assert.match(
      await answer("/readyz?verbose&exclude=listener&exclude=x%0Ay"),
      /^200 [^]*no matches for "x\\ny"\nreadyz check passed\n$/,
    );
  });

  test("answers for a check that there is not in this state, and only where there ever is", async (t) => {
    for (const [waiting, answer] of [
      [null, "200 ok"],
      ["no eth0", "500 internal server error: the agent waits for the VIP's interface\n"],
    ] as const) {
      const { get } = await startedOps(t, {
        status: () => exampleStatus({ election: null, vip: null, agent: { waiting } }),
      });
      for (const path of ["/readyz/election", "/readyz/vip"]) {
        const { status, text } = await get(path).then(async (one) => ({
          status: one.status,
          text: await one.text(),
        }));
        assert.equal(`${status} ${text}`, answer, path);
      }
      assert.equal((await get("/readyz/network")).status, waiting === null ? 200 : 500);
      for (const path of ["/livez/election", "/livez/network", "/healthz/vip"])
        assert.equal((await get(path)).status, 404, path);
    }
  });

  test("answers the probes as Kubernetes' components do", async (t) => {
    const { get } = await startedOps(t);
    for (const path of ["/livez", "/readyz", "/healthz"]) {
      const answer = await get(path);
      assert.deepEqual([answer.status, await answer.text()], [200, "ok"]);
    }
    assert.match(
      await (await get("/readyz?verbose")).text(),
      /^\[\+\]election ok\n\[\+\]vip ok\n.*readyz check passed\n$/s,
    );
  });

  test("answers 500 with the failed check when one fails, and stays alive", async (t) => {
    const { get } = await startedOps(t, {
      status: () => exampleStatus({ balancer: { listening: false } }),
    });
    const ready = await get("/readyz");
    assert.equal(ready.status, 500);
    assert.match(await ready.text(), /\[-\]listener failed: port 8443 does not accept connections/);
    assert.equal((await get("/livez")).status, 200);
  });

  test("serves metrics and the status", async (t) => {
    const { get } = await startedOps(t);
    const metrics = await get("/metrics");
    assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(await metrics.text(), /leader_election_master_status\{name="leasehold"\} 1/);
    const status = await get("/status");
    assert.equal(status.headers.get("content-type"), "application/json");
    assert.deepEqual(await status.json(), JSON.parse(JSON.stringify(exampleStatus())));
  });

  test("serves the election's decisions, and makes their text once a second at most", async (t) => {
    let made = 0;
    const { ops, clock, get } = await startedOps(t, {
      decisions: () => Promise.resolve(`{"made":${++made}}`),
    });
    const first = await get("/decisions");
    assert.equal(first.headers.get("content-type"), "application/json");
    assert.deepEqual(
      [await first.text(), await (await get("/decisions")).text()],
      ['{"made":1}', '{"made":1}'],
    );
    clock.advance(1_000);
    assert.equal(await (await get("/decisions")).text(), '{"made":2}');
    assert.equal((await fetch(`http://127.0.0.1:${ops.healthPort()}/decisions`)).status, 404);
  });

  test("refuses other paths and methods with the right words, and answers HEAD without a body", async (t) => {
    const { get } = await startedOps(t);
    assert.equal((await get("/etc/passwd")).status, 404);
    const post = await get("/livez", { method: "POST", body: "x".repeat(100_000) });
    assert.deepEqual([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
    const head = await get("/livez", { method: "HEAD" });
    assert.deepEqual([head.status, head.headers.get("content-length"), await head.text()], [200, "2", ""]);
  });

  test("survives what is not a request", async (t) => {
    const { ops, get } = await startedOps(t);
    assert.match(await raw(ops.port(), "\x16\x03\x01 nonsense\r\n\r\n"), /^HTTP\/1\.1 400/);
    assert.match(
      await raw(ops.port(), "GET http://other/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
      /^HTTP\/1\.1 400/,
    );
    assert.match(
      await raw(ops.port(), `GET / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(20_000)}\r\n\r\n`),
      /^HTTP\/1\.1 431/,
    );
    assert.equal((await get("/livez")).status, 200);
  });

  test("goes on without a port that is taken, and says so at the other one", async (t) => {
    const { ops: first } = await startedOps(t);
    for (const [taken, options] of [
      ["ops", { port: first.port() }],
      ["health", { healthPort: first.healthPort() }],
    ] as const) {
      const { ops: second }: OpsRig = await startedOps(t, {
        status: () => exampleStatus({ agent: { listeners: second.listeners() } }),
        ...options,
      });
      const port = taken === "ops" ? second.healthPort() : second.port();
      const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
      assert.equal(ready.status, 500);
      const address = `127.0.0.1:${taken === "ops" ? first.port() : first.healthPort()}`;
      assert.ok(
        (await ready.text()).includes(
          `[-]${taken}-port failed: cannot listen on ${address}: another program has it`,
        ),
      );
      assert.equal((await fetch(`http://127.0.0.1:${port}/livez`)).status, 200);
    }
  });

  test("stops, more than once, with a connection kept alive", async () => {
    const ops = makeOps();
    await ops.start();
    const url = `http://127.0.0.1:${ops.port()}/livez`;
    await (await fetch(url)).text();
    await Promise.all([ops.stop(), ops.stop()]);
    await assert.rejects(fetch(url));
  });
});

describe("the probes' port", () => {
  test("answers on 127.0.0.1, whatever address the rest is served on, and nothing but the probes", async (t) => {
    for (const host of ["127.0.0.1", "127.0.0.2", "0.0.0.0", "192.0.2.1"]) {
      // One address is no machine's: the probes are served all the same.
      const { ops } = await startedOps(t, {
        host,
        port: host === "192.0.2.1" ? await freePort() : 0,
        remote: { identity, access: { judge: () => Promise.resolve({ kind: "allowed" }) } },
      });
      const get = (path: string) => fetch(`http://127.0.0.1:${ops.healthPort()}${path}`);
      for (const path of ["/livez", "/readyz", "/healthz"]) {
        const answer = await get(path);
        assert.deepEqual([answer.status, await answer.text()], [200, "ok"]);
      }
      for (const path of ["/metrics", "/status", "/"]) assert.equal((await get(path)).status, 404);
    }
  });

  test("and the rest's answer every time, with 1,500 idle connections on each", async (t) => {
    const { ops } = await startedOps(t);
    const idle: Socket[] = [];
    t.after(() => idle.forEach((socket) => socket.destroy()));
    for (const [port, path] of [
      [ops.healthPort(), "/livez"],
      [ops.port(), "/metrics"],
    ] as const) {
      for (let probe = 0; probe < 35; probe++) {
        // 80 were enough once.
        await Promise.all(
          Array.from({ length: 43 }, async () => {
            const socket = connect(port, "127.0.0.1");
            idle.push(socket.on("error", () => {}).resume());
            await once(socket, "connect");
          }),
        );
        assert.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 200);
      }
    }
  });

  test("is another than the rest's", async (t) => {
    const { ops } = await startedOps(t);
    assert.notEqual(ops.port(), ops.healthPort());
    assert.deepEqual(
      ops.listeners().map(({ name, listening, error }) => ({ name, listening, error })),
      [
        { name: "health", listening: true, error: null },
        { name: "ops", listening: true, error: null },
      ],
    );
  });
});
