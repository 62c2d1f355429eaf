/** The whole balancer: real checks against real TLS servers, the real worker. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test, type TestContext } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import type { BackendStatus } from "../../../src/backends/backend.ts";
import type { HostLiveness, HostLivenessListener } from "../../../src/backends/host-liveness.ts";
import { networks } from "../../../src/config/parsers.ts";
import { LeaseholdError } from "../../../src/errors.ts";
import { silentLogger, type LogFields, type Logger } from "../../../src/log.ts";
import { parseIp, type IpAddress } from "../../../src/net.ts";
import type { Balancer, BalancerDeps, BalancerSettings } from "../../../src/proxy/balancer.ts";
import {
  checkTls,
  startApiServer,
  type ApiServer,
  type Behaviour,
} from "../../support/backends/api-server.ts";
import { authority } from "../../support/backends/pki.ts";
import { backendAt, startServer } from "../../support/backends/servers.ts";
import { outside } from "../../support/outside.ts";
import { exchange, makeBalancer, openClient, readAll, until } from "../../support/proxy/fixture.ts";

const ready: Behaviour = { kind: "status", status: 200 };

async function apiServers(t: TestContext, count: number): Promise<readonly ApiServer[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => startApiServer(ready)));
  t.after(() => Promise.all(servers.map((server) => server.close())));
  return servers;
}

async function balancer(
  t: TestContext,
  servers: readonly ApiServer[],
  changes: Partial<BalancerSettings> = {},
  deps: Partial<BalancerDeps> = {},
): Promise<Balancer> {
  const made = makeBalancer(changes, { tls: () => checkTls, ...deps });
  made.setBackends(servers.map((server) => server.backend));
  t.after(() => made.stop());
  await made.start();
  return made;
}

function status(of: Balancer, server: ApiServer): BackendStatus {
  const found = of.status().backends.find((backend) => backend.id === server.backend.id);
  assert.ok(found !== undefined);
  return found;
}

function gradeIs(of: Balancer, server: ApiServer, grade: BackendStatus["grade"]): () => boolean {
  return () => status(of, server).grade === grade;
}

describe("the balancer", () => {
  test("serves at this node's own address whatever is named, also once that is another one", async (t) => {
    const address = parseIp(outside() ?? "");
    if (address === undefined) return t.skip("this machine has no address but loopback");
    const servers = await apiServers(t, 1);
    const named = networks.parse("127.0.0.0/8");
    assert.ok(named.kind === "ok");
    let own: readonly IpAddress[] = [];
    const made = await balancer(t, servers, { balancerAddresses: named.value }, { own: () => own });
    await until("the server is UP", () => made.working().ok);
    const isServed = (): Promise<boolean> =>
      new Promise((resolve) => {
        const client = connect({ host: address.text, port: made.status().port, ...checkTls });
        client.once("secureConnect", () => resolve(true)).once("error", () => resolve(false));
        t.after(() => client.destroy());
      });
    assert.equal(await isServed(), false);
    own = [address];
    made.setBackends(servers.map((server) => server.backend));
    let served = false;
    // The worker thread learns of it in its own time.
    for (let tries = 0; tries < 1_000 && !served; tries++) served = await isServed();
    assert.ok(served);
  });

  test("works once a backend is checked, and says how each is", async (t) => {
    const [a, b] = await apiServers(t, 2);
    assert.ok(a !== undefined && b !== undefined);
    b.behaviour = { kind: "status", status: 500 };
    const made = makeBalancer({}, { tls: () => checkTls });
    t.after(() => made.stop());
    made.setBackends([a.backend, b.backend]);
    assert.deepEqual(made.working(), { ok: false, detail: "no healthy backend" });
    let changes = 0;
    const unsubscribe = made.onChange(() => changes++);
    await made.start();
    await until("both are checked", () => gradeIs(made, a, "UP")() && gradeIs(made, b, "DRAIN")());
    assert.deepEqual(made.working(), { ok: true, detail: "1 of 2 backends serve" });
    assert.ok(changes >= 3, "two grades and the listener");
    assert.equal(status(made, a).reason, "200");
    assert.equal(status(made, b).reason, "500");
    assert.equal(made.status().listening, true);
    unsubscribe();
    const before = changes;
    b.behaviour = ready;
    await until("the other one is ready", gradeIs(made, b, "UP"));
    assert.equal(changes, before);
  });

  test("a process that dies is DOWN without three more checks, and no client notices", async (t) => {
    const [a, b] = await apiServers(t, 2);
    assert.ok(a !== undefined && b !== undefined);
    const made = await balancer(t, [a, b], { checkIntervalMs: 3_600_000 });
    await until("both are UP", () => gradeIs(made, a, "UP")() && gradeIs(made, b, "UP")());
    await a.close();
    const endings = [];
    for (let i = 0; i < 20; i++) {
      const client = await openClient(made.status().port);
      // A byte that is no TLS: the server that is alive says so with an alert, a dead one would be a reset.
      client.write("no TLS, but an answer follows\r\n\r\n");
      endings.push(await readAll(client));
    }
    await until("it is DOWN", gradeIs(made, a, "DOWN"));
    assert.ok(b.accepted() >= 20);
    assert.ok(endings.every(({ end }) => end !== "ECONNREFUSED"));
  });

  test("old connections live through DRAIN and are reset when it is DOWN, but never the last one's", async (t) => {
    const [a, b] = await apiServers(t, 2);
    assert.ok(a !== undefined && b !== undefined);
    const made = await balancer(t, [a, b]);
    await until("both are UP", () => gradeIs(made, a, "UP")() && gradeIs(made, b, "UP")());
    b.behaviour = { kind: "reset" };
    for (const socket of b.sockets) socket.destroy();
    await until("one is DOWN", gradeIs(made, b, "DOWN"));
    const client = await tlsClient(made.status().port);
    await until("it is counted", () => status(made, a).active === 1);
    let ended: string | undefined;
    client.once("close", () => (ended = "closed"));

    a.behaviour = { kind: "status", status: 500 };
    await until("the other one drains", gradeIs(made, a, "DRAIN"));
    assert.equal(made.working().ok, true, "it serves, as none is UP");
    assert.equal(ended, undefined);

    // New connections are refused now; the old one, to the last backend, stays.
    a.behaviour = { kind: "reset" };
    await until("the last one is DOWN", gradeIs(made, a, "DOWN"));
    assert.deepEqual(made.working(), { ok: false, detail: "no healthy backend" });
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(ended, undefined, "the last one's connections are kept");

    b.behaviour = ready;
    await until("the first one is back", gradeIs(made, b, "UP"));
    await until("now the client is sent there", () => ended !== undefined);
  });

  test("a hung server is drained for new connections and then DOWN", async (t) => {
    const [a, b] = await apiServers(t, 2);
    assert.ok(a !== undefined && b !== undefined);
    const made = await balancer(t, [a, b], { checkTimeoutMs: 50 });
    await until("both are UP", () => gradeIs(made, a, "UP")() && gradeIs(made, b, "UP")());
    a.behaviour = { kind: "hang" };
    await until("it drains while its TLS works", gradeIs(made, a, "DRAIN"));
    a.behaviour = { kind: "silent" };
    await until("and is DOWN without", gradeIs(made, a, "DOWN"));
    a.behaviour = ready;
    await until("and back", gradeIs(made, a, "UP"));
  });

  test("refuses when none is left and serves when one is back", async (t) => {
    const [a] = await apiServers(t, 1);
    assert.ok(a !== undefined);
    const made = await balancer(t, [a]);
    await until("it is UP", gradeIs(made, a, "UP"));
    a.behaviour = { kind: "reset" };
    for (const socket of a.sockets) socket.destroy();
    const port = made.status().port;
    await until("the listener is closed", () => !made.status().listening);
    assert.equal((await exchange(port, "x")).end, "ECONNREFUSED");
    a.behaviour = ready;
    await until("it works again", () => made.working().ok);
  });

  test("has the local one whatever the list says, and takes backends in and out while it runs", async (t) => {
    const [a, b, c] = await apiServers(t, 3);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    const made = await balancer(t, [b], {}, { local: () => ({ ...a.backend, local: true }) });
    await until("both are UP", () => gradeIs(made, a, "UP")() && gradeIs(made, b, "UP")());
    assert.equal(status(made, a).local, true);
    const client = await tlsClient(made.status().port);
    const other = await tlsClient(made.status().port);
    await until("each has one", () => status(made, a).active === 1 && status(made, b).active === 1);
    made.setBackends([c.backend]);
    await until("the new one is UP", gradeIs(made, c, "UP"));
    assert.equal(gradeIs(made, a, "UP")(), true);
    const before = status(made, b).sessions;
    for (let i = 0; i < 6; i++) (await tlsClient(made.status().port)).destroy();
    await until("they are counted", () => status(made, c).sessions >= 3);
    assert.equal(status(made, b).sessions, before, "one that left gets nothing new");
    assert.equal(client.destroyed || other.destroyed, false, "but keeps what it has");
    client.destroy();
    other.destroy();
    await until("and is forgotten with its last session", () => made.status().backends.length === 2);
  });

  test("a CA that no API server goes with: all are DRAIN and say why, and each takes connections, for clients verify for themselves", async (t) => {
    const [a, b] = await apiServers(t, 2);
    assert.ok(a !== undefined && b !== undefined);
    const stale = { ...checkTls, ca: authority("of before").cert };
    const made = await balancer(t, [a, b], {}, { tls: () => stale });
    await until("both are checked", () => [a, b].every((server) => gradeIs(made, server, "DRAIN")()));
    for (const server of [a, b]) {
      assert.match(
        status(made, server).reason,
        /^tls: (self_signed_cert_in_chain|unable_to_verify_leaf_signature)$/u,
      );
      assert.equal(status(made, server).serving, true);
    }
    assert.deepEqual(made.working(), { ok: true, detail: "2 of 2 backends serve" });
    (await tlsClient(made.status().port)).destroy();
  });

  test("a port that is taken: says so with the port, tries on, and serves when it is free", async (t) => {
    const [a] = await apiServers(t, 1);
    assert.ok(a !== undefined);
    const other = await startServer(() => {});
    t.after(() => other.close());
    const errors: LogFields[] = [];
    const log: Logger = { ...silentLogger, error: (fields) => void errors.push(fields) };
    let changes = 0;
    const made = makeBalancer({ balancerPort: other.port }, { tls: () => checkTls, log });
    t.after(() => made.stop());
    made.onChange(() => changes++);
    made.setBackends([a.backend]);
    await made.start();
    const detail = `port ${other.port} cannot be opened: another program has it, \`ss -ltnp\` names it (EADDRINUSE)`;
    assert.deepEqual(made.working(), { ok: false, detail });
    const { listening, port, listenFailure, heartbeatAgeMs } = made.status();
    assert.deepEqual([listening, port, listenFailure, heartbeatAgeMs], [false, other.port, detail, 0]);
    assert.ok(changes > 0);
    assert.deepEqual(
      errors.map((fields) => [fields["code"], fields["err"] instanceof LeaseholdError]),
      [["LH_LISTEN", true]],
    );
    await other.close();
    await until("it has the port", () => made.status().listening);
    await until("it works", () => made.working().ok);
    assert.equal(made.status().listenFailure, null);
    (await tlsClient(other.port)).destroy();
    assert.equal(errors.length, 1, "the same failure is told once");
  });

  test("stopped while it waits for the port, it lets it be", async (t) => {
    const other = await startServer(() => {});
    t.after(() => other.close());
    const made = makeBalancer({ balancerPort: other.port });
    await made.start();
    await made.stop();
    await other.close();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    assert.equal(made.status().listening, false);
    assert.equal((await exchange(other.port, "x")).end, "ECONNREFUSED");
  });

  test("starts its worker again when it dies, later each time, and goes on listening", async (t) => {
    const errors: LogFields[] = [];
    const log: Logger = { ...silentLogger, error: (fields) => void errors.push(fields) };
    const [a] = await apiServers(t, 1);
    assert.ok(a !== undefined);
    const workerUrl = new URL("../../support/proxy/crashing-worker.ts", import.meta.url);
    const made = await balancer(t, [a], {}, { log, workerUrl });
    await until("it died twice", () => errors.length >= 2);
    assert.deepEqual(
      errors.slice(0, 2).map((fields) => [fields["code"], fields["restartInMs"]]),
      [
        ["LH_WORKER", 100],
        ["LH_WORKER", 200],
      ],
    );
    await until("it works again", () => made.working().ok);
    // This worker dies again and again, maybe with a connection under way: what counts is that one is served
    // in between.
    let client: TLSSocket | undefined;
    for (let tries = 0; tries < 50 && client === undefined; tries += 1) {
      await until("it listens", () => made.status().listening);
      client = await tlsClient(made.status().port).catch(() => undefined);
    }
    assert.ok(client !== undefined);
    client.destroy();
  });

  test("a machine that the hosts' liveness check finds gone is DOWN at once, and UP again after its checks", async (t) => {
    const [a, b] = await apiServers(t, 2);
    assert.ok(a !== undefined && b !== undefined);
    let listener: HostLivenessListener | undefined;
    const calls: string[] = [];
    const checks: string[] = [];
    const hostLiveness: HostLiveness = {
      start: (to) => void (listener = to),
      setBackends: (backends) => void calls.push(backends.map(({ id }) => id).join(" ")),
      stop: () => void calls.push("stop"),
    };
    const made = await balancer(
      t,
      [a, b],
      { checkIntervalMs: 60_000 },
      { hostLiveness, onCheck: (id, { kind }) => void checks.push(`${id} ${kind}`) },
    );
    await until("both are checked", () => gradeIs(made, a, "UP")() && gradeIs(made, b, "UP")());
    assert.equal(calls.at(-1), `${a.backend.id} ${b.backend.id}`);
    const grades: string[] = [];
    made.onChange(
      () =>
        void grades.push(
          `${status(made, b).grade} ${status(made, b).reason} ${String(status(made, b).silent)}`,
        ),
    );
    listener?.gone(b.backend.id, 250);
    assert.deepEqual(grades, ["DOWN machine silent true"]);
    // It is checked at once, without waiting for the interval; here it answers.
    await until("it has passed a check", gradeIs(made, b, "DRAIN"));
    listener?.returned(b.backend.id);
    await until("it has passed another", gradeIs(made, b, "UP"));
    assert.deepEqual([status(made, b).gone, status(made, a).gone, status(made, b).silent], [1, 0, false]);
    assert.ok(
      checks.every((check) => check.endsWith(" ready")),
      "a lost machine is no check's result",
    );
    await made.stop();
    assert.equal(calls.at(-1), "stop");
  });

  test("stops while its worker is dead, and leaves nothing that keeps the process alive", async () => {
    const workerUrl = new URL("../../support/proxy/crashing-worker.ts", import.meta.url);
    const made = makeBalancer({}, { workerUrl });
    made.setBackends([backendAt(1)]);
    await made.start();
    await until("the worker is dead", () => !made.status().listening);
    await made.stop();
    const handles = process
      .getActiveResourcesInfo()
      .filter((name) => name === "MessagePort" || name === "Worker");
    assert.deepEqual(handles, []);
  });
});

/** A client in the middle of a TLS session, as kubelets are. */
async function tlsClient(port: number): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port, ca: checkTls.ca, servername: "kubernetes" });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}
