import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { sleep } from "../support/lab/clock.ts";
import { BUNDLE, createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { allWell, fastPathReady, lostOf, moveTo, servedBy, startFastPath, watchesSawAll } from "./fast-path-cluster.ts";
import { bundleOfAnotherVersion } from "./other-version.ts";
import { allServed, openClients, startTicker } from "./watchers.ts";

let cluster: Cluster;
let another: string;

before(async () => {
  cluster = await createCluster();
  another = bundleOfAnotherVersion(cluster);
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  await cluster.reset();
  for (const node of cluster.nodes) await node.host.run(["nft", "flush", "ruleset"]);
});

function three(): readonly [ClusterNode, ClusterNode, ClusterNode] {
  const [first, second, third] = cluster.nodes;
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  return [first, second, third];
}

const names = (...nodes: readonly ClusterNode[]): readonly string[] => nodes.map((node) => node.name);

/** Counts what `node` gets for the VIP from other nodes, beside the product's own rules and before them. */
async function watchForwarded(node: ClusterNode): Promise<{ packets(): Promise<number> }> {
  const macs = cluster.others(node).map(({ host }) => host.mac).join(", ");
  await node.host.run(["nft", "-f", "-"], {
    input: [
      "add table netdev lab",
      `add chain netdev lab ingress { type filter hook ingress device "eth0" priority -10; }`,
      `add rule netdev lab ingress ip daddr ${cluster.vip} tcp dport { 6443, 8443 } ether saddr { ${macs} } counter`,
    ].join("\n"),
  });
  return {
    async packets() {
      const text = await node.host.run(["nft", "list", "table", "netdev", "lab"]);
      const found = /counter packets (\d+)/.exec(text)?.[1];
      assert.ok(found !== undefined, text);
      return Number(found);
    },
  };
}

describe("agents of two versions of the data plane", () => {
  test("forward nothing to one another; the one that is upgraded joins, under load, and nothing is lost", async () => {
    const [first, second, third] = three();
    third.bundle = another;
    await cluster.startAgentsAfter(first, { [third.name]: { LEASEHOLD_PRIORITY: "50" } });
    await fastPathReady(cluster, names(first, second), [first, second]);
    await fastPathReady(cluster, names(third), [third]);
    const forwarded = await Promise.all(cluster.nodes.map(watchForwarded));
    const counts = (): Promise<number[]> => Promise.all(forwarded.map((counter) => counter.packets()));
    await using ticker = await startTicker(cluster, first);
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    await using own = await openClients(cluster, third.host, { watches: 5, requests: 5 });
    assert.equal(await servedBy(third, cluster.client), 0);
    // The proxies know no versions.
    const before = await sessionsTo(third, first);
    await allServed(cluster, cluster.client, 40, { host: first.host.ipv4, port: 8443 });
    assert.ok((await sessionsTo(third, first)) > before, `${first.name}'s proxy does not use ${third.name}`);
    const [toFirst = 0, toSecond = 0, toThird = 0] = await counts();
    assert.equal(toThird, 0, `${third.name} got packets of another version`);
    assert.ok(toFirst + toSecond > 0, "the others are no fast path among themselves either");

    await third.endAgent();
    third.bundle = BUNDLE;
    await third.startAgent();
    await fastPathReady(cluster);
    await moveTo(cluster, third);
    await allServed(cluster, cluster.client, 60);
    await moveTo(cluster, first);
    await sleep(2_500);
    await allWell(cluster, clients, ticker);
    await allWell(cluster, own, ticker);
    assert.ok(((await counts())[2] ?? 0) > 0, `${third.name} takes no part after its upgrade`);
  });

  test("a member that becomes of another version is sent nothing from then on: its clients are told, all others live", async () => {
    const [first, second, third] = three();
    await cluster.startAgentsAfter(first, { [third.name]: { LEASEHOLD_PRIORITY: "50" } });
    await fastPathReady(cluster);
    await using ticker = await startTicker(cluster, first);
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    const doomed = await servedBy(third, cluster.client);
    assert.ok(doomed > 0, "nobody was served by it");
    await third.endAgent();
    await sleep(1_000);
    assert.equal(lostOf(clients), 0, "its rules went with its agent");
    third.bundle = another;
    await third.startAgent({ LEASEHOLD_PRIORITY: "50" });
    await fastPathReady(cluster, names(first, second), [first, second]);
    await fastPathReady(cluster, names(third), [third]);
    const forwarded = await watchForwarded(third);
    await cluster.lab.until(() => lostOf(clients) >= doomed, 15_000, "its clients are told");
    await allServed(cluster, cluster.client, 60);
    assert.equal(lostOf(clients), doomed);
    assert.equal(await forwarded.packets(), 0);
    await watchesSawAll(cluster, clients, ticker);
  });
});

/** Sessions that `by`'s proxy has ever opened to `node`'s API server. */
async function sessionsTo(node: ClusterNode, by: ClusterNode): Promise<number> {
  const { balancer } = await by.status();
  return balancer.backends.find(({ host }) => host === node.host.ipv4)?.sessions ?? 0;
}

test("a node that is cleaned up leaves the Lease first: nobody sends it anything when its rules are gone", async () => {
  const holder = await startFastPath(cluster);
  const [leaver] = cluster.others(holder);
  assert.ok(leaver !== undefined);
  await using ticker = await startTicker(cluster, holder);
  await using clients = await openClients(cluster, cluster.client, { watches: 20, requests: 20 });
  const doomed = await servedBy(leaver, cluster.client);
  assert.ok(doomed > 0, "nobody was served by it");
  await leaver.endAgent();
  // Without credentials it can tell nobody, so it takes nothing away.
  const cleanup = (kubeconfig: string, ...more: readonly string[]): Promise<string> =>
    leaver.host.run(["env", `LEASEHOLD_NODE_NAME=${leaver.name}`, `LEASEHOLD_KUBECONFIG=${kubeconfig}`, "LEASEHOLD_ADMIN_KUBECONFIG=/none", process.execPath, BUNDLE, "cleanup", ...more]);
  await assert.rejects(cleanup(join(leaver.host.directory, "none")), /could not be taken out of the Lease, and the rules were left/);
  assert.match(await leaver.host.run(["nft", "list", "tables"]), /netdev leasehold/);
  assert.equal(lostOf(clients), 0);

  assert.match(await cleanup(leaver.plane.kubeconfigs.agent), /has left the Lease/);
  const forwarded = await watchForwarded(leaver);
  assert.doesNotMatch(await leaver.host.run(["nft", "list", "tables"]), /leasehold/);
  const rest = cluster.others(leaver);
  await fastPathReady(cluster, rest.map((node) => node.name), rest);
  await allServed(cluster, cluster.client, 60);
  assert.equal(await forwarded.packets(), 0);
  // Nobody is left hanging: all of them were told while the rules were there.
  assert.equal(lostOf(clients), doomed);
  await watchesSawAll(cluster, clients, ticker);
  assert.match(await cleanup(leaver.plane.kubeconfigs.agent), /does not name/);
  await cleanup("/none", "--rules-only");
});
