/** Another machine with the VIP: whoever comes later gives way, whoever was there defends it, and people are told. More in test/long. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { ArpCapture } from "../support/lab/capture.ts";
import { Fetcher } from "../support/lab/fetcher.ts";
import type { Host } from "../support/lab/host.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import { ClusterNode, createCluster } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";
import { Journal } from "./journal.ts";
import { endStrangers, eventsOf, startKeepalived } from "./strangers.ts";

let cluster: Cluster;
let stranger: Host;
/** Of another cluster, whose Lease lies on the same API servers under another name. */
let foreigner: ClusterNode;
let arp: ArpCapture;
let ownership: OwnershipSampler;
let journal: Journal;

before(async () => {
  cluster = await createCluster();
  const { lab } = cluster;
  stranger = await lab.client("stranger");
  const host = await lab.node("n4");
  foreigner = new ClusterNode(host, cluster.node("n1").plane, lab.own(new Fetcher(host)), () => ({
    LEASEHOLD_VIP: cluster.vip,
    LEASEHOLD_BACKENDS: cluster.nodes.map((node) => `${node.host.ipv4}:6443`).join(","),
  }));
  arp = await lab.captureArp();
  ownership = await lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());
beforeEach(() => {
  journal = new Journal(cluster);
});
afterEach(async () => {
  await Promise.all([foreigner.endAgent(), endStrangers(cluster)]);
  await stranger.run(["sh", "-c", `ip addr del ${cluster.vip}/32 dev eth0 2>/dev/null; true`]);
  await cluster.reset();
});

/** It has said so in its status, its log, its metrics. */
async function refused(node: ClusterNode): Promise<void> {
  await cluster.lab.until(
    async () => {
      const { election } = await node.status();
      if (election?.state !== "FAULT" || !election.faults.includes("vip-conflict")) throw new Error(`${node.name}: ${election?.state} ${election?.faults.join()}`);
      return true;
    },
    10_000,
    `${node.name} is in FAULT vip-conflict`,
  );
  assert.match((await node.get("/metrics")).body, /^leasehold_address_conflicts_total(\{\})? [1-9]/m, node.name);
}

describe("a stranger that had the VIP before", () => {
  test("is left alone, and people are told; when it has gone the VIP is served", async () => {
    await stranger.run(["ip", "addr", "add", `${cluster.vip}/32`, "dev", "eth0"]);
    const fromMs = monotonicMs();
    await Promise.all(cluster.nodes.map((node) => node.startAgent()));
    await Promise.all(cluster.nodes.map(refused));
    for (const node of cluster.nodes) {
      assert.ok(journal.of(node).some(({ msg, err }) => msg === "Address conflict" && err?.code === "LH_VIP_CONFLICT"), node.name);
    }
    await cluster.lab.until(async () => (await eventsOf(cluster, "VIPConflict")).some((message) => message.includes(stranger.mac)), 5_000, "an Event names the stranger");
    // Longer than it takes to ask again.
    await sleep(2_500);
    assert.deepEqual(arp.announcers(cluster.vip, fromMs), []);
    assert.deepEqual(await ownership.holders(cluster.vip), [stranger.name]);
    await stranger.run(["ip", "addr", "del", `${cluster.vip}/32`, "dev", "eth0"]);
    const holder = await cluster.settled();
    assert.deepEqual(await ownership.holders(cluster.vip), [holder.name]);
  });
});

describe("two clusters with one VIP", () => {
  test("the one that comes later claims nothing until the first has gone", async () => {
    const holder = await cluster.startAgents();
    await cluster.kubectl(
      ["apply", "-f", "-"],
      JSON.stringify({
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name: "other", namespace: "kube-system", annotations: { "leasehold.dev/description": "of another cluster" } },
      }),
    );
    const fromMs = monotonicMs();
    await foreigner.startAgent({ LEASEHOLD_LEASE_NAME: "other", LEASEHOLD_KUBECONFIG: foreigner.plane.kubeconfigs.superAdmin });
    await refused(foreigner);
    await sleep(2_500);
    assert.deepEqual(await ownership.holders(cluster.vip), [holder.name]);
    assert.deepEqual(arp.announcers(cluster.vip, fromMs).filter((name) => name !== holder.name), []);
    assert.equal(await cluster.settled(), holder);
    await Promise.all(cluster.nodes.map((node) => node.endAgent()));
    await cluster.lab.until(async () => (await foreigner.state()) === "MASTER", 10_000, "the other cluster serves it");
    await cluster.kubectl(["delete", "-n", "kube-system", "lease", "other"]);
  });
});

describe("keepalived", () => {
  test("that still runs keeps the VIP; when it is stopped ours serve", async () => {
    const [first, ...rest] = cluster.nodes;
    assert.ok(first !== undefined);
    const keepalived = await startKeepalived(cluster, first.host);
    const fromMs = monotonicMs();
    await Promise.all(cluster.nodes.map((node) => node.startAgent()));
    const exit = await first.agent?.exited;
    assert.equal(exit?.code, 2);
    assert.ok(first.agent?.log().includes("LH_ADDRESS_OWNER"));
    await Promise.all(rest.map(refused));
    assert.deepEqual(arp.announcers(cluster.vip, fromMs).filter((name) => name !== first.name), []);
    assert.deepEqual(await cluster.bound(), [first.name]);
    await keepalived.terminate();
    const holder = await cluster.settled();
    await first.startAgent();
    assert.equal(await cluster.settled(), holder);
    assert.deepEqual(await cluster.bound(), [holder.name]);
  });

});
