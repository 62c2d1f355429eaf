/**
 * Another machine with the VIP: the one that comes later gives way, the one that was there defends it, and
 * people are told. More in test/long.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { ArpCapture } from "../support/lab/capture.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
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
      if (election?.state !== "FAULT" || !election.faults.includes("vip-conflict"))
        throw new Error(`${node.name}: ${election?.state} ${election?.faults.join()}`);
      return true;
    },
    10_000,
    `${node.name} is in FAULT vip-conflict`,
  );
  assert.match(
    (await node.get("/metrics")).body,
    /^leasehold_address_conflicts_total(\{\})? [1-9]/m,
    node.name,
  );
}

describe("a stranger that had the VIP before", () => {
  test("is left alone, and people are told; when it has gone the VIP is served", async () => {
    await stranger.run(["ip", "addr", "add", `${cluster.vip}/32`, "dev", "eth0"]);
    const fromMs = monotonicMs();
    await Promise.all(cluster.nodes.map((node) => node.startAgent()));
    await Promise.all(cluster.nodes.map(refused));
    for (const node of cluster.nodes) {
      assert.ok(
        journal
          .of(node)
          .some(({ msg, err }) => msg === "Address conflict" && err?.code === "LH_VIP_CONFLICT"),
        node.name,
      );
    }
    await cluster.lab.until(
      async () => (await eventsOf(cluster, "VIPConflict")).some((message) => message.includes(stranger.mac)),
      5_000,
      "an Event names the stranger",
    );
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
        metadata: {
          name: "other",
          namespace: "kube-system",
          annotations: { "leasehold.dev/description": "of another cluster" },
        },
      }),
    );
    const fromMs = monotonicMs();
    await foreigner.startAgent({
      LEASEHOLD_LEASE_NAME: "other",
      LEASEHOLD_KUBECONFIG: foreigner.plane.kubeconfigs.superAdmin,
    });
    await refused(foreigner);
    await sleep(2_500);
    assert.deepEqual(await ownership.holders(cluster.vip), [holder.name]);
    assert.deepEqual(
      arp.announcers(cluster.vip, fromMs).filter((name) => name !== holder.name),
      [],
    );
    assert.equal(await cluster.settled(), holder);
    await Promise.all(cluster.nodes.map((node) => node.endAgent()));
    await cluster.lab.until(
      async () => (await foreigner.state()) === "MASTER",
      10_000,
      "the other cluster serves it",
    );
    await cluster.kubectl(["delete", "-n", "kube-system", "lease", "other"]);
  });
});

describe("keepalived", () => {
  test("that still runs keeps the VIP; when it is stopped ours serve", async () => {
    const [first, ...rest] = cluster.nodes;
    assert.ok(first !== undefined);
    const keepalived = await startKeepalived(cluster, first.host);
    const fromMs = monotonicMs();
    const shown = (): Promise<string> => first.host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0"]);
    const before = await shown();
    await Promise.all(cluster.nodes.map((node) => node.startAgent()));
    await cluster.lab.until(
      async () => (await first.status()).election?.faults.join() === "vip",
      10_000,
      "the agent beside it is in FAULT vip",
    );
    const { election, vip } = await first.status();
    assert.equal(election?.state, "FAULT");
    assert.deepEqual(
      [vip?.foreign, vip?.failure],
      [true, `${cluster.vip}/32 was bound on this machine by another program`],
    );
    assert.ok(
      journal
        .of(first)
        .some(
          ({ msg, err }) =>
            msg.startsWith("Another program has the VIP bound on this machine") &&
            err?.code === "LH_VIP_FOREIGN",
        ),
    );
    assert.match((await first.get("/metrics")).body, /^leasehold_fault\{check="vip"\} 1$/m);
    await Promise.all(rest.map(refused));
    // Longer than it takes to ask again, and than an address of ours would live.
    await sleep(5_000);
    assert.equal(await shown(), before);
    assert.deepEqual(
      arp.announcers(cluster.vip, fromMs).filter((name) => name !== first.name),
      [],
    );
    assert.deepEqual(await cluster.bound(), [first.name]);
    await keepalived.terminate();
    const holder = await cluster.settled();
    await cluster.lab.until(
      async () =>
        (await Promise.all(cluster.nodes.map((node) => node.status()))).every(
          (status) => status.election?.eligible,
        ),
      10_000,
      "all take part",
    );
    assert.equal(await cluster.settled(), holder);
    assert.deepEqual(await cluster.bound(), [holder.name]);
  });
});

test("a program that makes the holder's address its own: another node serves, and that address is left alone until it goes", async () => {
  const holder = await cluster.startAgents();
  const shown = (): Promise<string> =>
    holder.host.run(["ip", "-o", "-4", "addr", "show", "dev", "eth0", "to", `${cluster.vip}/32`]);
  await holder.host.run(["ip", "addr", "replace", `${cluster.vip}/32`, "dev", "eth0"]);
  const theirs = await shown();
  assert.match(theirs, /valid_lft forever/);
  await cluster.lab.until(
    async () => (await cluster.lease()).spec["holderIdentity"] !== holder.name,
    10_000,
    "another node holds the Lease",
  );
  await cluster.lab.until(async () => (await holder.state()) === "FAULT", 5_000, "this one is in FAULT");
  assert.deepEqual((await holder.status()).election?.faults, ["vip"]);
  await sleep(1_500);
  assert.equal(await shown(), theirs);
  await holder.host.run(["ip", "addr", "del", `${cluster.vip}/32`, "dev", "eth0"]);
  await cluster.lab.until(
    async () => (await holder.status()).election?.eligible,
    10_000,
    "the node takes part again",
  );
  await cluster.settled();
});
