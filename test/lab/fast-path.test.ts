import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import { seenBy } from "../support/lab/ticker.ts";
import type { Ticker } from "../support/lab/ticker.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { openClients, startTicker } from "./watchers.ts";
import type { Clients } from "./watchers.ts";

let cluster: Cluster;

before(async () => {
  cluster = await createCluster();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => cluster.reset());

/** Every node knows of the others' rules and sends them connections. */
async function fastPathReady(size = cluster.nodes.length): Promise<void> {
  await cluster.lab.until(
    async () => {
      for (const node of cluster.nodes) {
        const { fastPath } = await node.status();
        if (fastPath?.mode !== "fast-path") throw new Error(`${node.name}: ${JSON.stringify(fastPath)}`);
        const takers = fastPath.nodes.filter((peer) => peer.slots > 0);
        if (takers.length !== size || fastPath.own.length !== size) throw new Error(`${node.name}: ${JSON.stringify(fastPath)}`);
      }
      return true;
    },
    30_000,
    "the fast path is up everywhere",
  );
}

async function start(): Promise<ClusterNode> {
  const holder = await cluster.startAgents();
  await fastPathReady();
  return holder;
}

/** All connections live, and no watch missed an event or had one late. */
function allWell(clients: Clients, ticker: Ticker, latestMs = 250): void {
  const ticks = ticker.ticks().filter((tick) => tick.t < monotonicMs() - 1_000);
  assert.deepEqual(clients.watches.lost(), [], "watches were lost");
  assert.deepEqual(clients.requests.lost(), [], "connections were lost");
  assert.ok(ticks.length > 10, `only ${ticks.length} events were made`);
  for (const watch of clients.watches.all()) {
    const { missed, latestMs: late, seen } = seenBy(watch, ticks);
    assert.equal(missed, 0, `watch ${watch.id} missed ${missed} of ${ticks.length} events, saw ${seen}`);
    assert.ok(late < latestMs, `watch ${watch.id} had an event after ${late} ms`);
  }
}

describe("a move of the VIP", () => {
  test("planned, three times round: every listening watch and every connection lives", async () => {
    const first = await start();
    const [ticking] = cluster.others(first);
    assert.ok(ticking !== undefined);
    await using ticker = await startTicker(cluster, ticking);
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    await sleep(1_000);
    let holder = first;
    for (let round = 0; round < 3; round++) {
      const next = cluster.others(holder)[round % 2];
      assert.ok(next !== undefined);
      await cluster.kubectl(["annotate", "-n", "kube-system", "lease", "leasehold", "--overwrite", `leasehold.dev/move-to=${next.name}`]);
      await cluster.lab.until(async () => (await next.state()) === "MASTER", 10_000, `${next.name} is MASTER`);
      holder = next;
      await sleep(1_000);
    }
    await sleep(1_000);
    allWell(clients, ticker);
  });
});
