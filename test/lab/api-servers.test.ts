import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import { describeAttempts, failures } from "../support/lab/probe.ts";
import type { ClientProbe } from "../support/lab/probe.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { openNewConnections } from "./watchers.ts";

let cluster: Cluster;

before(async () => {
  cluster = await createCluster();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  for (const { etcd, apiServer } of cluster.plane.nodes) {
    for (const program of [etcd, apiServer]) {
      if (!program.running) await program.start();
      program.continue();
    }
  }
  await cluster.plane.ready();
  await cluster.reset();
});

const throughProxyPort = (): Promise<ClientProbe> =>
  openNewConnections(cluster, cluster.client, { port: 8443 });

/** Fails when `holder` is not MASTER at any look, or another node has the VIP. */
async function staysWith(holder: ClusterNode, forMs: number): Promise<void> {
  const endMs = monotonicMs() + forMs;
  while (monotonicMs() < endMs) {
    assert.equal(await holder.state(), "MASTER", cluster.lab.tails(10));
    assert.deepEqual(await cluster.bound(), [holder.name]);
    await sleep(500);
  }
}

describe("the holder's own API server", () => {
  test("killed: the VIP does not move, and after 100 ms no new connection fails", async () => {
    const holder = await cluster.startAgents();
    await using client = await throughProxyPort();
    await sleep(1_000);
    const killedMs = monotonicMs();
    await holder.plane.apiServer.kill();
    await staysWith(holder, 8_000);
    const attempts = await client.stop();
    const late = failures(attempts.filter((attempt) => attempt.sentMs > killedMs + 100));
    assert.equal(late.length, 0, describeAttempts(attempts));
    assert.ok(attempts.length > 100, describeAttempts(attempts));
  });

  test("hung: the VIP stays, renewals go on, and new connections are served again within 6 s", async () => {
    const holder = await cluster.startAgents();
    await using client = await throughProxyPort();
    await sleep(1_000);
    const hungMs = monotonicMs();
    holder.plane.apiServer.stop();
    await staysWith(holder, 14_000);
    const attempts = await client.stop();
    const late = failures(attempts.filter((attempt) => attempt.sentMs > hungMs + 6_000));
    assert.equal(late.length, 0, describeAttempts(attempts));
  });

  test("killed, and a better node wants to preempt: the VIP moves to it", async () => {
    const holder = await cluster.startAgentsAfter(cluster.node("n1"), {
      n1: { LEASEHOLD_PRIORITY: "120" },
      n2: { LEASEHOLD_NOPREEMPT: "false" },
      n3: { LEASEHOLD_NOPREEMPT: "false" },
    });
    assert.equal(holder.name, "n1", cluster.history());
    await holder.plane.apiServer.kill();
    await cluster.lab.until(
      async () => (await cluster.settled()).name !== "n1",
      15_000,
      "a node with an API server takes over",
    );
  });
});

test("credentials that come after the agent: it has the VIP without them, then takes part", async () => {
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  const path = join(node.host.directory, "late", "kubeconfig");
  await node.startAgent({ LEASEHOLD_KUBECONFIG: path });
  await cluster.client.run(["ping", "-c1", "-W1", node.host.ipv4]);
  await cluster.lab.until(
    async () => (await node.state()) === "PROVISIONAL",
    10_000,
    "it has the VIP that nobody else has",
  );
  await node.host.run([
    "sh",
    "-c",
    `mkdir -p ${join(node.host.directory, "late")} && cp ${node.plane.kubeconfigs.agent} ${path}`,
  ]);
  assert.equal(await cluster.settled(), node);
});
