import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { sleep } from "../support/lab/clock.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";
import { allWell, moveTo, servedBy, startFastPath, watchesSawAll } from "./fast-path-cluster.ts";
import { openClients, startTicker } from "./watchers.ts";
import type { Clients } from "./watchers.ts";

let cluster: Cluster;

before(async () => {
  cluster = await createCluster({ vips: (lab) => [lab.vip4, lab.vip6] });
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  await cluster.lab.heal();
  for (const { apiServer } of cluster.plane.nodes) if (!apiServer.running) await apiServer.start();
  await cluster.plane.ready();
  await cluster.reset();
});

for (const [name, pick] of [
  ["IPv6", (_: string, v6: string) => [v6]],
  ["dual stack", (v4: string, v6: string) => [v4, v6]],
] as const) {
  test(`${name}: watches and connections live through moves, there and back, from the wire and from the nodes`, async () => {
    const vips = pick(cluster.lab.vip4, cluster.lab.vip6);
    cluster.settings = { LEASEHOLD_VIP: vips.join(",") };
    const holder = await startFastPath(cluster);
    const [next, third] = cluster.others(holder);
    if (next === undefined || third === undefined) throw new Error("three nodes");
    await using ticker = await startTicker(cluster, third);
    const opened: Clients[] = [];
    for (const vip of vips) {
      opened.push(await openClients(cluster, cluster.client, { vip, watches: 15, requests: 15 }));
      opened.push(await openClients(cluster, third.host, { vip, watches: 5, requests: 5 }));
    }
    try {
      await moveTo(cluster, next);
      await sleep(300);
      await moveTo(cluster, holder);
      await sleep(2_000);
      for (const clients of opened) await allWell(cluster, clients, ticker);
    } finally {
      for (const clients of opened) await clients[Symbol.asyncDispose]();
    }
  });
}

test("IPv6: an API server is killed, then a node is cut off: only their own clients are told, idle ones too", async () => {
  const vip = cluster.lab.vip6;
  cluster.settings = { LEASEHOLD_VIP: vip };
  const holder = await startFastPath(cluster);
  const [killed, cut] = cluster.others(holder);
  if (killed === undefined || cut === undefined) throw new Error("three nodes");
  await using ticker = await startTicker(cluster, holder);
  await using clients = await openClients(cluster, cluster.client, { vip, watches: 30, requests: 30 });
  const lost = (): number => clients.watches.lost().length + clients.requests.lost().length;
  const ofKilled = await servedBy(killed, cluster.client);
  const ofCut = await servedBy(cut, cluster.client);
  assert.ok(ofKilled > 0 && ofCut > 0, "somebody is on each");
  await killed.plane.apiServer.kill();
  await cluster.lab.until(() => lost() >= ofKilled, 5_000, "clients of the killed server are told");
  await sleep(1_000);
  assert.equal(lost(), ofKilled);
  await killed.plane.apiServer.start();
  await killed.plane.ready();
  await sleep(2_500);
  await cluster.lab.isolate(cut.host);
  await cluster.lab.until(() => lost() >= ofKilled + ofCut, 10_000, "clients of the lost node are told");
  await sleep(1_000);
  assert.equal(lost(), ofKilled + ofCut);
  await watchesSawAll(cluster, clients, ticker);
});
