import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { sleep } from "../support/lab/clock.ts";
import { BUNDLE, createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import {
  allWell,
  fastPathReady,
  lostOf,
  moveTo,
  servedBy,
  startFastPath,
  watchesSawAll,
} from "./fast-path-cluster.ts";
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
  const macs = cluster
    .others(node)
    .map(({ host }) => host.mac)
    .join(", ");
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

describe("agents of two versions of the fast path", () => {
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
    // The proxy's thread tells its counters at its next heartbeat.
    await cluster.lab.until(
      async () => (await sessionsTo(third, first)) > before,
      5_000,
      `${first.name}'s proxy uses ${third.name}`,
    );
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

/**
 * `leasehold cleanup` on that machine; rejects with what it says on standard error unless its exit status is
 * 0.
 */
function cleanup(
  node: ClusterNode,
  env: Readonly<Record<string, string>> = {},
  ...more: readonly string[]
): Promise<string> {
  const settings = {
    LEASEHOLD_NODE_NAME: node.name,
    LEASEHOLD_KUBECONFIG: node.plane.kubeconfigs.agent,
    LEASEHOLD_ADMIN_KUBECONFIG: "/none",
    ...env,
  };
  return node.host.run([
    "env",
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    process.execPath,
    BUNDLE,
    "cleanup",
    ...more,
  ]);
}

const tables = (node: ClusterNode): Promise<string> => node.host.run(["nft", "list", "tables"]);

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
  await assert.rejects(
    cleanup(leaver, { LEASEHOLD_KUBECONFIG: join(leaver.host.directory, "none") }),
    /could not be taken out of the Lease, and the rules were left/,
  );
  assert.match(await tables(leaver), /netdev leasehold/);
  assert.equal(lostOf(clients), 0);

  assert.match(await cleanup(leaver), /has left the Lease/);
  const forwarded = await watchForwarded(leaver);
  assert.doesNotMatch(await tables(leaver), /leasehold/);
  const rest = cluster.others(leaver);
  await fastPathReady(
    cluster,
    rest.map((node) => node.name),
    rest,
  );
  await allServed(cluster, cluster.client, 60);
  assert.equal(await forwarded.packets(), 0);
  // Nobody is left hanging: all of them were told while the rules were there.
  assert.equal(lostOf(clients), doomed);
  await watchesSawAll(cluster, clients, ticker);
  assert.match(await cleanup(leaver), /does not name/);
  await cleanup(leaver, { LEASEHOLD_KUBECONFIG: "/none" }, "--rules-only");
});

test("cleanup takes nothing away under a wrong name, with a wrong Lease, or beside an agent; and says what to do", async () => {
  const holder = await startFastPath(cluster);
  const [leaver, other] = cluster.others(holder);
  assert.ok(leaver !== undefined && other !== undefined);
  const untouched = async (): Promise<void> => {
    const { metadata } = await cluster.lease();
    for (const node of cluster.nodes)
      assert.ok(
        metadata.annotations?.[`leasehold.dev/candidate.${node.name}`] !== undefined,
        `${node.name} is not in the Lease`,
      );
    assert.match(await tables(leaver), /netdev leasehold/);
  };
  // Beside its own agent, whatever that listens on.
  for (const more of [[], ["--rules-only"]])
    await assert.rejects(
      cleanup(leaver, {}, ...more),
      /an agent runs on this machine. Nothing was changed[^]*Move its manifest out of/,
    );
  await untouched();
  await fastPathReady(cluster);
  leaver.agent?.kill("SIGSTOP");
  await assert.rejects(cleanup(leaver), /an agent runs on this machine/);
  leaver.agent?.kill("SIGCONT");

  await leaver.endAgent();
  const names = cluster.nodes
    .map(({ name }) => name)
    .sort()
    .join(", ");
  await assert.rejects(
    cleanup(leaver, { LEASEHOLD_NODE_NAME: `${leaver.name}.example.com` }),
    new RegExp(
      `does not name ${leaver.name}\\.example\\.com\\. It names ${names}\\. Nothing was changed\\.[^]*LEASEHOLD_NODE_NAME=${leaver.name}`,
    ),
  );
  await assert.rejects(
    cleanup(leaver, { LEASEHOLD_NODE_NAME: other.name }),
    new RegExp(
      `${other.name} is another machine: .* gives it ${other.host.ipv4}[^]*LEASEHOLD_NODE_NAME=${leaver.name}`,
    ),
  );
  await assert.rejects(
    cleanup(leaver, { LEASEHOLD_LEASE_NAME: "another" }),
    /could not be taken out|there is no Lease kube-system\/another/,
  );
  // In a container without --net-host.
  await assert.rejects(
    leaver.host.run(["unshare", "--net", process.execPath, BUNDLE, "cleanup", "--rules-only"]),
    /no interface but loopback[^]*--net-host/,
  );
  await untouched();
  await fastPathReady(
    cluster,
    cluster.nodes.map(({ name }) => name),
    cluster.others(leaver),
  );

  // Out of the Lease, and the rules are there: an earlier run was ended too soon, or the name is wrong.
  // Nobody can tell.
  await cluster.kubectl([
    "annotate",
    "-n",
    "kube-system",
    "lease",
    "leasehold",
    `leasehold.dev/candidate.${leaver.name}-`,
  ]);
  await assert.rejects(
    cleanup(leaver),
    /does not name n\d, nor an address of this machine[^]*The rules were left[^]*--rules-only/,
  );
  assert.match(await tables(leaver), /netdev leasehold/);
  await cleanup(leaver, {}, "--rules-only");
  assert.doesNotMatch(await tables(leaver), /leasehold/);
});

test("cleanup finds an agent that starts while it waits, and the name that the Lease has for this machine", async () => {
  const holder = await startFastPath(cluster);
  const [leaver] = cluster.others(holder);
  assert.ok(leaver !== undefined);
  await leaver.endAgent();
  const cleaning = assert.rejects(
    cleanup(leaver),
    /is in the Lease again|an agent runs on this machine. The rules were left/,
  );
  await cluster.lab.until(
    async () =>
      (await cluster.lease()).metadata.annotations?.[`leasehold.dev/candidate.${leaver.name}`] === undefined,
    10_000,
    "it has left the Lease",
  );
  await leaver.startAgent();
  await cleaning;
  assert.match(await tables(leaver), /netdev leasehold/);
  await fastPathReady(cluster);
  await leaver.endAgent();
  assert.match(
    await cleanup(leaver, { LEASEHOLD_NODE_NAME: "" }),
    new RegExp(`^${leaver.name} has left the Lease`),
  );
});
