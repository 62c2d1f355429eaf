import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import type { ArpCapture } from "../support/lab/capture.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";
import { allServed } from "./watchers.ts";

let cluster: Cluster;
let arp: ArpCapture;
let ownership: OwnershipSampler;

before(async () => {
  cluster = await createCluster({ vips: (lab) => [lab.vip4, lab.vip6] });
  arp = await cluster.lab.captureArp();
  ownership = await cluster.lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => cluster.reset());

/** The old holder lingers for 200 ms after it has seen the claim. */
const LETTING_GO_MS = 350;

const families: readonly {
  readonly name: string;
  readonly use: (v4: string, v6: string) => readonly string[];
}[] = [
  { name: "IPv4", use: (v4) => [v4] },
  { name: "IPv6", use: (_, v6) => [v6] },
  { name: "dual stack", use: (v4, v6) => [v4, v6] },
];

for (const { name, use } of families) {
  test(`${name}: bound, announced, served, and moved as one`, async () => {
    const { vip4, vip6 } = cluster.lab;
    const vips = use(vip4, vip6);
    const unused = [vip4, vip6].filter((vip) => !vips.includes(vip));
    cluster.settings = { LEASEHOLD_VIP: vips.join(",") };
    const fromMs = monotonicMs();
    const old = await cluster.startAgents();
    for (const vip of vips) {
      assert.deepEqual(await cluster.bound(vip), [old.name], vip);
      assert.deepEqual(arp.announcers(vip, fromMs), [old.name], vip);
    }
    for (const vip of unused) assert.deepEqual(await cluster.bound(vip), [], vip);

    for (const vip of vips)
      await allServed(cluster, cluster.client, 40, {
        host: vip,
        port: 8443,
        timeoutMs: 2_000,
        path: "/readyz",
      });

    const movedMs = monotonicMs();
    await old.endAgent("SIGTERM");
    const next = await cluster.settled();
    // Until its next announcement: at 1 s after it was bound.
    await sleep(1_200);
    for (const vip of vips) {
      assert.deepEqual(await cluster.bound(vip), [next.name], vip);
      // An announcement of the old holder's schedule may be due in the moment in which it hands over; after
      // it has let go it says nothing.
      const taken = arp.announcements(vip, movedMs).find(({ node }) => node === next.name);
      assert.ok(taken !== undefined, `${next.name} did not announce ${vip}`);
      assert.deepEqual(arp.announcers(vip, taken.timeMs + LETTING_GO_MS), [next.name], vip);
      const timeline = ownership.timeline(vip).between(movedMs);
      assert.ok(timeline.longestGapMs() <= 150, `${vip}: ${timeline.describe()}`);
    }
  });
}
