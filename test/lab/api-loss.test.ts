/**
 * No API server lets the holder renew its Lease: when it keeps the VIP, when it goes, and that one node has
 * it in the end.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import { ApiLossRig } from "./api-loss-rig.ts";
import type { Cluster } from "./cluster.ts";
import { leadFrom } from "./etcd-leader.ts";
import { fastPathReady } from "./fast-path-cluster.ts";
import { provable } from "./on-the-wire.ts";

let rig: ApiLossRig;
let cluster: Cluster;

before(async () => {
  rig = await ApiLossRig.create();
  cluster = rig.cluster;
});
after(async () => rig[Symbol.asyncDispose]());
afterEach(async () => rig.reset());

describe("all API servers are down", () => {
  const down = async (): Promise<void> => {
    await Promise.all(cluster.plane.nodes.map((node) => node.apiServer.kill()));
  };

  async function up(): Promise<void> {
    await Promise.all(cluster.plane.nodes.map((node) => node.apiServer.start()));
    await cluster.plane.ready();
  }

  test("nothing exits, the VIP stays where it is, and is confirmed when they are back", async () => {
    const holder = await cluster.startAgents();
    const fromMs = monotonicMs();
    await down();
    await rig.holdsOn(holder, 15_000);
    for (const node of cluster.nodes) {
      assert.equal(node.agent?.running, true, `${node.name} is gone`);
      assert.equal((await node.get("/livez")).status, 200, `${node.name} /livez`);
      assert.equal((await node.get("/readyz")).status, 500, `${node.name} /readyz`);
    }
    await up();
    await rig.confirmedAgain(holder);
    rig.neverMoved(holder, fromMs);
  });

  test("LEASEHOLD_ON_API_LOSS=release: the VIP stays until the renew deadline, and is back with them", async () => {
    cluster.settings = { LEASEHOLD_ON_API_LOSS: "release" };
    const holder = await cluster.startAgents();
    const downMs = monotonicMs();
    await down();
    while (monotonicMs() < downMs + 2_500) {
      assert.deepEqual(await cluster.bound(), [holder.name]);
      await sleep(100);
    }
    await cluster.lab.until(
      async () => (await cluster.bound()).length === 0,
      5_000,
      "the deadline has passed",
    );
    await sleep(3_000);
    assert.deepEqual(await cluster.bound(), []);
    await up();
    const next = await cluster.settled(30_000);
    assert.deepEqual(await cluster.bound(), [next.name]);
    assert.equal(rig.since(downMs).dualMs(), 0, rig.since(downMs).describe());
  });
});

describe("etcd has no quorum", () => {
  test("two of three members killed: the VIP stays where it is", async () => {
    const holder = await cluster.startAgents();
    const fromMs = monotonicMs();
    const members = cluster.plane.nodes
      .filter((node) => node.name !== cluster.others(holder)[0]?.name)
      .map(({ etcd }) => etcd);
    for (const etcd of members) await etcd.kill();
    await rig.holdsOn(holder, 8_000);
    for (const etcd of members) await etcd.start();
    await rig.confirmedAgain(holder);
    rig.neverMoved(holder, fromMs);
  });
});

describe("only the holder cannot renew", () => {
  test("cut off from everybody: another one takes over by proof, and the old one lets go at its deadline", async () => {
    const old = await cluster.startAgents();
    await fastPathReady(cluster);
    // The worst case: the claims that are sent before etcd has another leader are lost.
    await leadFrom(cluster, old);
    await provable(cluster, old);
    const cutMs = monotonicMs();
    const fault = await cluster.lab.isolate(old.host);
    let masterMs = Number.POSITIVE_INFINITY;
    const [next, goneMs] = await Promise.all([
      (async () => {
        const found = await cluster.successorOf(old);
        masterMs = monotonicMs() - cutMs;
        return found;
      })(),
      cluster.lab.until(
        async () => ((await cluster.bound()).includes(old.name) ? undefined : monotonicMs() - cutMs),
        6_000,
        "the old one lets go",
      ),
    ]);
    // The renew deadline, and what a loaded machine takes to see it.
    assert.ok(goneMs <= 5_000, `after ${goneMs} ms`);
    // The VIP moves long before the Lease has run out, and so does the Lease.
    assert.ok(masterMs <= 8_000, `after ${masterMs} ms\n${cluster.history()}`);
    // The agent may say that it is MASTER before the next sample of the kernels' addresses.
    await cluster.lab.until(
      async () =>
        rig
          .since(cutMs)
          .intervals()
          .some(({ holders }) => holders.includes(next.name)),
      2_000,
      "a sample shows the VIP on its successor",
    );
    const taken = rig
      .since(cutMs)
      .intervals()
      .find(({ holders }) => holders.some((name) => name !== old.name));
    assert.ok(taken !== undefined && taken.fromMs - cutMs <= 3_000, rig.since(cutMs).describe());
    assert.ok(taken.holders.includes(next.name), "the first one that takes the VIP gets the Lease");
    assert.ok(rig.since(cutMs).longestGapMs() <= 100, rig.since(cutMs).describe());
    await sleep(2_000);
    await fault.heal();
    assert.equal(await cluster.settled(), next);
    assert.deepEqual(await cluster.bound(), [next.name]);
  });
});
