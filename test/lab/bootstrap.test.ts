/**
 * Before there is an API server: `kubeadm init` and two joins in their order, with kubeadm's own files
 * appearing where they do; then the power failure of the whole cluster. etcd is external to kubeadm here, and
 * its members start together, with the first API server.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { Host } from "../support/lab/host.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import { ClientProbe, describeAttempts, failures } from "../support/lab/probe.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";

const OWN = "leasehold/kubeconfig";
const ADMIN = "admin.conf";

let cluster: Cluster;
let ownership: OwnershipSampler;
let first: ClusterNode;
let joining: readonly ClusterNode[];

before(async () => {
  cluster = await createCluster({ until: "files" });
  ownership = await cluster.lab.ownership();
  const [node, ...others] = cluster.nodes;
  assert.ok(node !== undefined);
  first = node;
  joining = others;
});
after(async () => cluster[Symbol.asyncDispose]());

/** Where a node of this test has its /etc/kubernetes: empty until {@link appears}. */
function etc(node: ClusterNode, name: string): string {
  return join(node.host.directory, "etc-kubernetes", name);
}

/** kubeadm, or a person, writes a file on a node. */
function appears(node: ClusterNode, name: string): void {
  mkdirSync(dirname(etc(node, name)), { recursive: true });
  copyFileSync(join(node.plane.etcKubernetes, name), etc(node, name));
}

/** The static pod's manifest names these paths, whether anything is there or not. */
function startAgent(node: ClusterNode) {
  return node.startAgent({
    LEASEHOLD_KUBECONFIG: etc(node, OWN),
    LEASEHOLD_ADMIN_KUBECONFIG: etc(node, ADMIN),
  });
}

/**
 * What a kubeadm on `host` does with the control plane's endpoint: a verified TLS connection and a GET, every
 * 50 ms.
 */
function kubeadm(host: Host, name: string): Promise<ClientProbe> {
  const caFile = join(first.plane.etcKubernetes, "pki", "ca.crt");
  return ClientProbe.start(
    host,
    { host: cluster.vip, port: 6443, intervalMs: 50, timeoutMs: 3_000, path: "/version", tls: { caFile } },
    name,
  );
}

/** Somebody talks on the link: a machine that asks for another one's MAC. */
function talk(about: ClusterNode): Promise<string> {
  return cluster.client.run(["sh", "-c", `ip neigh flush dev eth0; ping -c1 -W1 ${about.host.ipv4}`]);
}

function holdersSince(fromMs: number): readonly (readonly string[])[] {
  return ownership
    .timeline(cluster.vip)
    .between(fromMs)
    .intervals()
    .map(({ holders }) => holders);
}

/**
 * Without an API server its balancer has none: it is no candidate, and would take the VIP of a control plane
 * that nobody serves all the same.
 */
async function waits(node: ClusterNode): Promise<void> {
  const { election } = await node.status();
  assert.deepEqual(
    [election?.state, election?.faults, election?.holder],
    ["FAULT", ["balancer"], null],
    node.name,
  );
}

async function answered(probe: ClientProbe, timeoutMs: number, what: string): Promise<number> {
  return cluster.lab.until(() => probe.attempts().findLast(({ ok }) => ok)?.sentMs, timeoutMs, what);
}

describe("kubeadm's order", () => {
  let boundMs = 0;
  let servedMs = 0;
  let outside: ClientProbe;

  test("before kubeadm init: the first node has the VIP, with no kubeconfig, no etcd and no API server", async () => {
    await startAgent(first);
    await cluster.lab.until(async () => (await first.get("/livez")).status === 200, 5_000, "the agent runs");
    await sleep(500);
    await talk(first);
    await cluster.lab.until(async () => (await cluster.bound()).includes("n1"), 5_000, "n1 has the VIP");
    boundMs = monotonicMs();
    assert.equal(await first.state(), "PROVISIONAL");
    assert.deepEqual(await cluster.bound(), ["n1"]);
    assert.equal((await first.get("/livez")).status, 200);
    assert.equal((await first.status()).credentials.source, "none");
  });

  test("init: the VIP serves the API server while every call with admin.conf is answered 403", async () => {
    appears(first, ADMIN);
    outside = cluster.lab.own(await kubeadm(cluster.client, "kubeadm-init"));
    await sleep(1_000);
    await Promise.all(cluster.plane.nodes.map((node) => node.etcd.start()));
    await first.plane.apiServer.start();
    servedMs = await answered(outside, 30_000, "VIP:6443 answers");
    await first.plane.ready();
    await cluster.lab.until(
      async () => /api_requests_total\{[^}]*code="403"/.test((await first.get("/metrics")).body),
      10_000,
      "403",
    );
    await sleep(4_000);
    assert.equal(await first.state(), "PROVISIONAL");
    assert.deepEqual(holdersSince(boundMs), [["n1"]]);
  });

  test("join: nodes without a kubeconfig hear the VIP answered, and reach it over the wire", async () => {
    await Promise.all(joining.map(startAgent));
    const probes = await Promise.all(joining.map((node) => kubeadm(node.host, "kubeadm-join")));
    // Long enough for several verdicts of the wire.
    await sleep(7_000);
    for (const [index, node] of joining.entries()) {
      const attempts = (await probes[index]?.stop()) ?? [];
      assert.equal(failures(attempts).length, 0, `${node.name}: ${describeAttempts(attempts)}`);
      assert.ok(attempts.length > 50, `${node.name}: ${describeAttempts(attempts)}`);
      await waits(node);
    }
    assert.deepEqual(holdersSince(boundMs), [["n1"]]);
  });

  test("kubeadm's ClusterRoleBinding: admin.conf may, the Lease is made, the VIP is confirmed", async () => {
    await cluster.plane.bindAdmins();
    await cluster.lab.until(async () => (await first.state()) === "MASTER", 10_000, "n1 is confirmed");
    assert.equal((await cluster.lease()).spec["holderIdentity"], "n1");
    assert.match(
      first.agent?.log() ?? "",
      /"level":"warn".*The agent uses admin\.conf in place of its own kubeconfig/,
    );
    assert.equal((await first.status()).credentials.source, etc(first, ADMIN));
  });

  test("rbac.yaml and the agent's own kubeconfig: it changes over, and the VIP does not notice", async () => {
    await cluster.plane.applyRbac();
    appears(first, OWN);
    await cluster.lab.until(
      async () => (await first.status()).credentials.source === etc(first, OWN),
      10_000,
      "its own credentials",
    );
    await cluster.lab.until(
      () => /The agent uses its own kubeconfig again/.test(first.agent?.log() ?? ""),
      5_000,
      "they are taken",
    );
    // A renewal or two with them.
    await sleep(3_000);
    assert.equal(await first.state(), "MASTER");
  });

  test("the joined nodes become BACKUP, one of them while its own API server is down", async () => {
    const [second, third] = joining;
    assert.ok(second !== undefined && third !== undefined);
    // Join writes admin.conf, then starts the API server.
    for (const node of joining) for (const name of [ADMIN, OWN]) appears(node, name);
    const probe = await kubeadm(third.host, "kubeadm-join-late");
    await second.plane.apiServer.start();
    await cluster.lab.until(
      async () => (await second.state()) === "BACKUP" && (await second.status()).election?.holder === "n1",
      30_000,
      "n2 reads the Lease",
    );
    await waits(third);
    assert.deepEqual(holdersSince(boundMs), [["n1"]]);
    await third.plane.apiServer.start();
    await cluster.plane.ready();
    await cluster.lab.until(
      async () =>
        Object.keys((await cluster.lease()).metadata.annotations ?? {}).filter((key) =>
          key.startsWith("leasehold.dev/candidate."),
        ).length === 3,
      15_000,
      "three candidates",
    );
    assert.equal(await cluster.settled(), first);
    const attempts = await probe.stop();
    assert.equal(failures(attempts).length, 0, describeAttempts(attempts));
  });

  test("all that time the VIP was in one place, and whoever reached the API server through it once always did", async () => {
    assert.deepEqual(holdersSince(boundMs), [["n1"]]);
    const attempts = (await outside.stop()).filter(({ sentMs }) => sentMs > servedMs);
    assert.equal(failures(attempts).length, 0, describeAttempts(attempts));
    assert.ok(attempts.length > 100, describeAttempts(attempts));
    for (const node of cluster.nodes) assert.equal(node.agent?.running, true, `${node.name} is gone`);
  });
});

describe("a power failure of the whole cluster", () => {
  let holder: ClusterNode;
  let startedMs = 0;
  let clients: ClientProbe;

  before(async () => {
    await Promise.all([
      ...cluster.nodes.map((node) => node.endAgent("SIGKILL")),
      ...cluster.plane.nodes.flatMap(({ apiServer, etcd }) => [apiServer.kill(), etcd.kill()]),
    ]);
    for (const node of cluster.nodes) await cluster.forget(node);
  });

  test("switched on at one moment, no API server anywhere: one of them has the VIP", async () => {
    startedMs = monotonicMs();
    await Promise.all(cluster.nodes.map(startAgent));
    // Clients that have lost the VIP ask for it: so the link is not silent.
    clients = cluster.lab.own(await kubeadm(cluster.client, "clients"));
    const bound = await cluster.lab.until(
      async () => (await cluster.bound())[0],
      15_000,
      "somebody has the VIP",
    );
    await sleep(5_000);
    const timeline = ownership.timeline(cluster.vip).between(startedMs);
    assert.deepEqual(await cluster.bound(), [bound], timeline.describe());
    assert.ok(timeline.longestDualMs() <= 1_000, timeline.describe());
    holder = cluster.node(bound);
    assert.equal(await holder.state(), "PROVISIONAL");
    for (const node of cluster.others(holder)) await waits(node);
  });

  test("its agent is killed and started again: it finds the VIP bound, and keeps it", async () => {
    const killedMs = monotonicMs();
    await holder.endAgent("SIGKILL");
    await startAgent(holder);
    await cluster.lab.until(
      async () => (await holder.state()) === "PROVISIONAL",
      10_000,
      `${holder.name} has the VIP`,
    );
    await sleep(4_000);
    assert.deepEqual(holdersSince(killedMs), [[holder.name]]);
  });

  test("the control plane comes back: the Lease has the last word, and one node has the VIP", async () => {
    const fromMs = monotonicMs();
    await Promise.all(
      cluster.plane.nodes.flatMap(({ etcd, apiServer }) => [etcd.start(), apiServer.start()]),
    );
    await cluster.plane.ready();
    const master = await cluster.settled(30_000);
    await answered(clients, 10_000, "clients are served again");
    await sleep(2_000);
    const timeline = ownership.timeline(cluster.vip).between(fromMs);
    assert.deepEqual(await cluster.bound(), [master.name], timeline.describe());
    assert.ok(timeline.longestDualMs() <= 1_000, timeline.describe());
    // The Lease, which is older than the power failure, may name another one: then the VIP moves to it, once.
    assert.ok(
      timeline.intervals().filter(({ holders }) => holders.length === 1).length <=
        (master === holder ? 1 : 2),
      timeline.describe(),
    );
  });
});
