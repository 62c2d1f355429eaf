/** Another machine with the VIP: whoever comes later gives way, whoever was there defends it, and people are told. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { ArpCapture } from "../support/lab/capture.ts";
import { Fetcher } from "../support/lab/fetcher.ts";
import type { Host } from "../support/lab/host.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import type { LabProcess } from "../support/lab/process.ts";
import { ClusterNode, createCluster } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";
import { Journal } from "./journal.ts";

const CLAIM = fileURLToPath(new URL("children/claim.ts", import.meta.url));
/** RFC 5227 section 2.4: DEFEND_INTERVAL. */
const DEFEND_MS = 10_000;
/** The last of the announcements that follow a move of the VIP. */
const ANNOUNCED_MS = 5_000;

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
  await Promise.all([foreigner.endAgent("SIGKILL"), ...[stranger, ...cluster.nodes.map(({ host }) => host)].map(endOthers)]);
  await stranger.run(["sh", "-c", `ip addr del ${cluster.vip}/32 dev eth0 2>/dev/null; true`]);
  await cluster.reset();
});

async function endOthers(host: Host): Promise<void> {
  const others = host.processes.filter(({ name, running }) => running && /keepalived|claim/.test(name));
  await Promise.all(others.map((process) => process.terminate()));
}

/** Alone on its router id, so that it is MASTER after three tenths of a second. */
async function startKeepalived(host: Host, priority = 100): Promise<LabProcess> {
  const config = join(host.directory, "keepalived.conf");
  writeFileSync(
    config,
    `
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority ${priority}
    version 3
    advert_int 0.1
    virtual_ipaddress {
        ${cluster.vip}
    }
}
`,
  );
  const pid = (name: string): string => join(host.directory, `${name}.pid`);
  const daemon = await host.spawn(["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", config, "-p", pid("keepalived"), "-r", pid("vrrp")], { name: "keepalived" });
  await cluster.lab.until(async () => (await ownership.holders(cluster.vip)).includes(host.name), 5_000, `keepalived on ${host.name} has the VIP`);
  return daemon;
}

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

async function events(reason: string): Promise<readonly string[]> {
  const list: { readonly items: readonly { readonly reason: string; readonly message: string; readonly involvedObject: { readonly kind: string; readonly name: string } }[] } =
    JSON.parse(await cluster.kubectl(["get", "events", "-n", "kube-system", "-o", "json"]));
  return list.items.filter((each) => each.reason === reason && each.involvedObject.kind === "Lease" && each.involvedObject.name === "leasehold").map(({ message }) => message);
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
    await cluster.lab.until(async () => (await events("VIPConflict")).some((message) => message.includes(stranger.mac)), 5_000, "an Event names the stranger");
    // Longer than it takes to ask again.
    await sleep(2_500);
    assert.deepEqual(arp.announcers(cluster.vip, fromMs), []);
    assert.deepEqual(await ownership.holders(cluster.vip), [stranger.name]);
    await stranger.run(["ip", "addr", "del", `${cluster.vip}/32`, "dev", "eth0"]);
    const holder = await cluster.settled();
    assert.deepEqual(await ownership.holders(cluster.vip), [holder.name]);
  });
});

describe("a stranger that comes to the VIP later", () => {
  test("is told so once in ten seconds, and the VIP stays", async () => {
    const holder = await cluster.startAgents();
    await sleep(ANNOUNCED_MS + 500);
    const fromMs = monotonicMs();
    await using _claiming = await stranger.spawn([process.execPath, CLAIM, cluster.vip, "500"], { name: "claim" });
    await sleep(DEFEND_MS + 3_000);
    assert.equal(await cluster.settled(), holder);
    const claims = arp.announcements(cluster.vip, fromMs).filter(({ node }) => node === stranger.name);
    assert.ok(claims.length >= 20, `${claims.length} claims`);
    // Both forms, one right after the other, make one announcement.
    const requests = arp.announcements(cluster.vip, fromMs).filter((frame) => frame.kind === "arp" && frame.op === "request" && frame.node === holder.name);
    const times = requests.map(({ timeMs }) => Math.round(timeMs - fromMs));
    assert.equal(times.length, 2, times.join());
    assert.ok((times[1] ?? 0) - (times[0] ?? 0) >= DEFEND_MS - 50, times.join());
    assert.deepEqual(ownership.timeline(cluster.vip).between(fromMs).intervals().map(({ holders }) => holders), [[holder.name]]);
    assert.deepEqual(journal.of(holder).filter(({ msg }) => msg === "Address conflict").map(({ outcome }) => outcome), ["defended", "defended"]);
    assert.ok((await events("VIPConflict")).some((message) => message.startsWith(`${holder.name}: `) && message.includes(stranger.mac)));
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
    const keepalived = await startKeepalived(first.host);
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

  test("that is started later, on another node: ours stays, has the last word on the wire, and says so", async () => {
    const holder = await cluster.startAgents();
    const [other] = cluster.others(holder);
    assert.ok(other !== undefined);
    await sleep(ANNOUNCED_MS + 500);
    const fromMs = monotonicMs();
    await startKeepalived(other.host);
    // keepalived announces the VIP when it takes it, and once more after five seconds.
    await sleep(6_500);
    const words = arp.announcements(cluster.vip, fromMs).map(({ node }) => node);
    assert.ok(words.includes(other.name), words.join());
    assert.equal(words.at(-1), holder.name, words.join());
    assert.equal(await cluster.settled(), holder);
    assert.ok((await ownership.holders(cluster.vip)).includes(holder.name));
    const defended = journal.of(holder).filter(({ msg, outcome }) => msg === "Another candidate claims the VIP" && outcome === "defended");
    assert.equal(defended.length, 2);
  });
});
