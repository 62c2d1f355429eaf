import { after, afterEach, before, test } from "node:test";
import { sleep } from "../support/lab/clock.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";
import { allWell, moveTo, startFastPath } from "./fast-path-cluster.ts";
import { openClients, startTicker } from "./watchers.ts";
import type { Clients } from "./watchers.ts";

let cluster: Cluster;

before(async () => {
  cluster = await createCluster({ vips: (lab) => [lab.vip4, lab.vip6] });
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => cluster.reset());

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
      for (const clients of opened) allWell(clients, ticker);
    } finally {
      for (const clients of opened) await clients[Symbol.asyncDispose]();
    }
  });
}
