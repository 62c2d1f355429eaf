/** No API server lets the holder renew its Lease: when it keeps the VIP, when it goes, and that one node has it in the end. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import type { OwnershipTimeline } from "../support/lab/timeline.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { fastPathReady } from "./fast-path-cluster.ts";

let cluster: Cluster;
let ownership: OwnershipSampler;

before(async () => {
  cluster = await createCluster();
  ownership = await cluster.lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  await cluster.lab.heal();
  for (const { etcd, apiServer } of cluster.plane.nodes) {
    for (const program of [etcd, apiServer]) {
      if (!program.running) await program.start();
      program.continue();
    }
  }
  await cluster.plane.ready();
  await cluster.plane.bindAdmins();
  await cluster.reset();
});

function since(fromMs: number): OwnershipTimeline {
  return ownership.timeline(cluster.vip).between(fromMs);
}

/** Only `holder` has had the VIP since then, without a pause. */
function neverMoved(holder: ClusterNode, fromMs: number): void {
  const timeline = since(fromMs);
  assert.deepEqual(timeline.intervals().map(({ holders }) => holders), [[holder.name]], `${timeline.describe()}\n${cluster.history()}`);
}

/** It holds without a Lease for `forMs`, from when it has noticed on. */
async function holdsOn(holder: ClusterNode, forMs: number): Promise<void> {
  await cluster.lab.until(async () => (await holder.state()) === "PROVISIONAL", 8_000, "the holder is provisional");
  const endMs = monotonicMs() + forMs;
  while (monotonicMs() < endMs) {
    // On a loaded machine an agent may answer late; who has the VIP is sampled all the time.
    const [state, ...others] = await Promise.all([holder, ...cluster.others(holder)].map((node) => node.state().catch(() => undefined)));
    if (state !== undefined) assert.equal(state, "PROVISIONAL", cluster.history());
    assert.ok(!others.includes("MASTER") && !others.includes("PROVISIONAL"), cluster.history());
    await sleep(500);
  }
}

/** The others have watched the holder's answers for long enough to know its death. */
function sentinelsReady(holder: ClusterNode): Promise<unknown> {
  return cluster.lab.until(
    async () => (await Promise.all(cluster.others(holder).map(async (node) => (await node.status()).wire?.proof))).every((proof) => proof === "ready"),
    20_000,
    "the sentinels are ready",
  );
}

async function confirmedAgain(holder: ClusterNode): Promise<void> {
  await cluster.lab.until(
    async () => {
      const state = await holder.state();
      if (state !== "MASTER") throw new Error(`${holder.name} is ${state}; ${since(monotonicMs() - 90_000).describe()}\n${cluster.history()}`);
      return true;
    },
    30_000,
    "the holder is confirmed again",
  );
  // The time in which another one would claim, had it been about to.
  await sleep(3_000);
  assert.equal(await cluster.settled(30_000), holder);
}

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
    await holdsOn(holder, 15_000);
    for (const node of cluster.nodes) {
      assert.equal(node.agent?.running, true, `${node.name} is gone`);
      assert.equal((await node.get("/livez")).status, 200, `${node.name} /livez`);
      assert.equal((await node.get("/readyz")).status, 500, `${node.name} /readyz`);
    }
    await up();
    await confirmedAgain(holder);
    neverMoved(holder, fromMs);
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
    await cluster.lab.until(async () => (await cluster.bound()).length === 0, 5_000, "the deadline has passed");
    await sleep(3_000);
    assert.deepEqual(await cluster.bound(), []);
    await up();
    const next = await cluster.settled(30_000);
    assert.deepEqual(await cluster.bound(), [next.name]);
    assert.equal(since(downMs).dualMs(), 0, since(downMs).describe());
  });
});

describe("etcd has no quorum", () => {
  test("two of three members killed: the VIP stays where it is", async () => {
    const holder = await cluster.startAgents();
    const fromMs = monotonicMs();
    const members = cluster.plane.nodes.filter((node) => node.name !== cluster.others(holder)[0]?.name).map(({ etcd }) => etcd);
    for (const etcd of members) await etcd.kill();
    await holdsOn(holder, 8_000);
    for (const etcd of members) await etcd.start();
    await confirmedAgain(holder);
    neverMoved(holder, fromMs);
  });
});

describe("only the holder cannot renew", () => {
  test("cut off from everybody: another one takes over by proof, and the old one lets go at its deadline", async () => {
    const old = await cluster.startAgents();
    await fastPathReady(cluster);
    await sentinelsReady(old);
    const cutMs = monotonicMs();
    const fault = await cluster.lab.isolate(old.host);
    const next = await cluster.successorOf(old);
    const takenMs = monotonicMs() - cutMs;
    assert.ok(takenMs <= 3_000, `another one is MASTER after ${takenMs} ms`);
    await cluster.lab.until(async () => !(await cluster.bound()).includes(old.name), 6_000, "the old one lets go");
    // The renew deadline, and what a loaded machine takes to see it.
    assert.ok(monotonicMs() - cutMs <= 5_000, `after ${monotonicMs() - cutMs} ms`);
    await sleep(2_000);
    await fault.heal();
    assert.equal(await cluster.settled(), next);
    assert.deepEqual(await cluster.bound(), [next.name]);
  });

  test("its credentials are revoked: it lets go, and another one takes over", async () => {
    // The best one, so that it would defend the VIP against the next holder if it still had it.
    const old = cluster.node("n1");
    await old.startAgent({ LEASEHOLD_PRIORITY: "200", LEASEHOLD_KUBECONFIG: old.plane.kubeconfigs.admin });
    await cluster.settled();
    await Promise.all(cluster.others(old).map((node) => node.startAgent()));
    await fastPathReady(cluster);
    assert.equal(await cluster.settled(), old);
    await sentinelsReady(old);
    const fromMs = monotonicMs();
    await cluster.kubectl(["delete", "clusterrolebinding", "kubeadm:cluster-admins"]);
    // Its watch was admitted before that and would go on telling it who holds.
    await old.plane.apiServer.kill();
    const next = await cluster.successorOf(old);
    await sleep(2_000);
    assert.deepEqual(await cluster.bound(), [next.name], since(fromMs).describe());
    assert.ok(since(fromMs).longestDualMs() <= 1_000, since(fromMs).describe());
    assert.ok(since(fromMs).longestGapMs() <= 1_000, since(fromMs).describe());
    await old.plane.apiServer.start();
    await cluster.plane.ready();
    await cluster.plane.bindAdmins();
    await sleep(2_000);
    assert.equal(await cluster.settled(), next);
  });
});
