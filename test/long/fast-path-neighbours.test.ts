/** What test/lab/fast-path-neighbours.test.ts has no time for: rules that have to run out. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createCluster } from "../lab/cluster.ts";
import type { Cluster } from "../lab/cluster.ts";
import { allWell, startFastPath } from "../lab/fast-path-cluster.ts";
import { allServed, openClients, startTicker } from "../lab/watchers.ts";
import { sleep } from "../support/lab/clock.ts";

let cluster: Cluster;

before(async () => {
  cluster = await createCluster();
});
after(async () => cluster[Symbol.asyncDispose]());

test("a worker reaches the API servers with no holder, and by the VIP when its agent has been gone for long", async () => {
  const holder = await startFastPath(cluster);
  const worker = await cluster.lab.node("w1");
  const agent = await cluster.startWorker(worker, {
    LEASEHOLD_VIP: cluster.vip,
    LEASEHOLD_BACKENDS: cluster.nodes.map((node) => node.host.ipv4).join(","),
  });
  await cluster.lab.until(
    async () => (await worker.run(["nft", "list", "tables"])).includes("ip leasehold"),
    15_000,
    "the worker has rules",
  );
  await allServed(cluster, worker);
  const [other] = cluster.others(holder);
  assert.ok(other !== undefined);
  await using ticker = await startTicker(cluster, other);
  await using clients = await openClients(cluster, worker, { watches: 5, requests: 5 });
  agent.kill("SIGKILL");
  await Promise.all(cluster.nodes.map((each) => each.endAgent("SIGKILL")));
  await cluster.lab.until(async () => (await cluster.bound()).length === 0, 10_000, "nobody has the VIP");
  await allServed(cluster, worker);
  await cluster.lab.until(
    async () => !(await worker.run(["nft", "list", "set", "ip", "leasehold", "own"])).includes("elements"),
    40_000,
    "the own rules have timed out",
  );
  await sleep(500);
  await allWell(cluster, clients, ticker);
  await cluster.startAgents();
  await allServed(cluster, worker);
});
