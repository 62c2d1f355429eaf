import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { divideDescriptors } from "../../src/agent/descriptors.ts";
import { mostOpenFiles } from "../../src/linux/open-files.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import { Fetcher } from "../support/lab/fetcher.ts";
import { HeldConnections } from "../support/lab/hold.ts";
import { ClientProbe, describeAttempts, failures } from "../support/lab/probe.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";
import { openNewConnections } from "./watchers.ts";

const GIGABYTE = 1 << 30;
const IDLE = 10_000;

let cluster: Cluster;

before(async () => {
  cluster = await createCluster();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => cluster.reset());

const child = (name: string): string => fileURLToPath(new URL(`children/${name}.ts`, import.meta.url));

test("a worker's balancer carries 1 GB each way, unharmed", { timeout: 240_000 }, async () => {
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  const pki = join(node.plane.etcKubernetes, "pki");
  await node.host.spawn(
    [process.execPath, child("bulk-server"), "7443", join(pki, "apiserver.crt"), join(pki, "apiserver.key")],
    { name: "bulk-server" },
  );
  const worker = await cluster.lab.node("w1");
  const agent = await cluster.startWorker(worker, { LEASEHOLD_BACKENDS: `${node.host.ipv4}:7443` });
  await using fetcher = new Fetcher(worker);
  await cluster.lab.until(
    async () => (await fetcher.get("http://127.0.0.1:10081/readyz")).status === 200,
    15_000,
    "the worker's balancer is ready",
  );
  const output = await cluster.client.run(
    [process.execPath, child("bulk-client"), worker.ipv4, "8443", join(pki, "ca.crt"), String(GIGABYTE)],
    { timeoutMs: 200_000 },
  );
  const [made, loaded, sent] = output.trim().split(" ");
  assert.equal(loaded, made);
  assert.equal(sent, made);
  const end = await agent.terminate();
  assert.equal(end.code, 0);
});

/** As many sessions of the proxy as the agent's descriptors allow, which has this process's limits. */
const proxySessions = (): number => divideDescriptors(mostOpenFiles(), IDLE).balancer;

for (const { fastPath, count } of [
  { fastPath: "off", count: proxySessions() },
  { fastPath: "on", count: IDLE },
]) {
  test(
    `${count} idle connections, fast path ${fastPath}: the Lease is renewed on time`,
    { timeout: 180_000 },
    async () => {
      assert.ok(count >= IDLE / 2, `descriptors for ${count} sessions only`);
      cluster.settings = { LEASEHOLD_MAX_CONNECTIONS: String(2 * IDLE), LEASEHOLD_FASTPATH: fastPath };
      const holder = await cluster.startAgents();
      await cluster.lab.until(
        async () => (await holder.status()).fastPath?.mode === (fastPath === "on" ? "fast-path" : "proxy"),
        10_000,
        "the fast path is up",
      );
      await using held = await HeldConnections.start(
        cluster.client,
        { host: cluster.vip, port: 8443, count, mode: "listen" },
        `idle-${fastPath}`,
      );
      await cluster.lab.until(() => held.alive().length === count, 60_000, `${count} connections are open`);
      const endMs = monotonicMs() + 10_000;
      let least = Number.POSITIVE_INFINITY;
      while (monotonicMs() < endMs) {
        const { election, vip } = await holder.status();
        assert.equal(election?.state, "MASTER");
        least = Math.min(least, vip?.validForMs ?? 0);
        await sleep(100);
      }
      const { balancer } = await holder.status();
      // The kernel keeps them from the proxy, or it has them all.
      if (fastPath === "on") assert.equal(balancer.connections, 0);
      else assert.ok(balancer.connections >= count * 0.99, `${balancer.connections} sessions`);
      // Renewed every second with four to spare: half of that gone would be a renewal that came late.
      assert.ok(least > 2_000, `the right to the VIP was once only ${least} ms from its end`);
    },
  );
}

test("no backend left: connections are refused; one again: they are served", async () => {
  await cluster.startAgents();
  await Promise.all(cluster.plane.nodes.map((node) => node.apiServer.kill()));
  const [, other] = cluster.nodes;
  assert.ok(other !== undefined);
  const refused = async (): Promise<boolean> => {
    await using client = await ClientProbe.start(
      cluster.client,
      { host: other.host.ipv4, port: 8443, intervalMs: 20, timeoutMs: 500 },
      `refused-${(serial += 1)}`,
    );
    // The client is a process of its own, which takes long to start on a busy machine.
    await cluster.lab.until(() => client.attempts().length >= 10, 10_000, "the client has tried");
    const attempts = await client.stop();
    return attempts.length > 0 && attempts.every((attempt) => attempt.error === "ECONNREFUSED");
  };
  await cluster.lab.until(refused, 15_000, "the listener is closed");
  await other.plane.apiServer.start();
  await other.plane.ready();
  const served = async (): Promise<boolean> => {
    await using client = await openNewConnections(cluster, cluster.client, {
      host: other.host.ipv4,
      port: 8443,
      timeoutMs: 500,
      path: "/readyz",
    });
    await sleep(500);
    const attempts = await client.stop();
    if (attempts.length < 5 || failures(attempts).length > 0) throw new Error(describeAttempts(attempts));
    return true;
  };
  await cluster.lab.until(served, 15_000, "it is served again");
  await Promise.all(
    cluster.plane.nodes.filter((node) => !node.apiServer.running).map((node) => node.apiServer.start()),
  );
  await cluster.plane.ready();
});
let serial = 0;
