import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { sleep } from "../support/lab/clock.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { allWell, fastPathReady, moveTo, startFastPath } from "./fast-path-cluster.ts";
import { allServed, openClients, startTicker } from "./watchers.ts";

let cluster: Cluster;

before(async () => {
  cluster = await createCluster();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  await cluster.reset();
  for (const node of cluster.nodes) await node.host.run(["nft", "flush", "ruleset"]);
});

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");

async function onAllNodes(argv: readonly string[], input: string): Promise<void> {
  for (const node of cluster.nodes) await node.host.run(argv, { input });
}

function other(node: ClusterNode): ClusterNode {
  const [found] = cluster.others(node);
  assert.ok(found !== undefined);
  return found;
}

/** Wire clients and every node's own, through two moves and back. */
async function playMoves(): Promise<void> {
  const holder = await startFastPath(cluster);
  await using ticker = await startTicker(cluster, other(holder));
  await using clients = await openClients(cluster, cluster.client, { watches: 15, requests: 15 });
  for (const next of [...cluster.others(holder), holder]) {
    await moveTo(cluster, next);
    await sleep(300);
  }
  for (const node of cluster.nodes) await allServed(cluster, node.host);
  await allServed(cluster, cluster.client);
  await sleep(1_500);
  await allWell(cluster, clients, ticker);
}

describe("beside", () => {
  test("kube-proxy in iptables mode", async () => {
    await onAllNodes(["iptables-restore", "--noflush"], fixture("kube-proxy.iptables"));
    await playMoves();
    assert.match(
      await (cluster.nodes[0] ?? assert.fail()).host.run(["iptables-save"]),
      /KUBE-SVC-NPX46M4PTMTKRN6Y/,
    );
  });

  test("kube-proxy in nftables mode", async () => {
    await onAllNodes(["nft", "-f", "-"], fixture("kube-proxy.nft"));
    await playMoves();
  });

  test("a host firewall that drops by default", async () => {
    await onAllNodes(["nft", "-f", "-"], HOST_FIREWALL);
    await playMoves();
  });
});

const HOST_FIREWALL = `
table inet firewall {
  chain input { type filter hook input priority 0; policy drop;
    iifname "lo" accept
    ct state established,related accept
    ct state invalid drop
    meta l4proto { icmp, ipv6-icmp } accept
    tcp dport { 6443, 2379, 2380 } accept
  }
  chain forward { type filter hook forward priority 0; policy drop; }
}
`;

describe("clients that are no node's own", () => {
  test("a pod on a control-plane node, with the VIP and without any holder", async () => {
    const holder = await startFastPath(cluster);
    const node = other(holder);
    const pod = await cluster.lab.client("pod");
    await pod.run(["ip", "link", "set", "eth0", "down"]);
    await node.host.run([
      "ip",
      "link",
      "add",
      "cali0",
      "type",
      "veth",
      "peer",
      "name",
      "eth1",
      "netns",
      pod.namespace,
    ]);
    await node.host.run(["ip", "-batch", "-"], {
      input: "link set cali0 up\naddr add 10.244.1.1/24 dev cali0\n",
    });
    await pod.run(["ip", "-batch", "-"], {
      input: "link set eth1 up\naddr add 10.244.1.2/24 dev eth1\nroute add default via 10.244.1.1\n",
    });
    await allServed(cluster, pod);
    await using ticker = await startTicker(cluster, holder);
    await using clients = await openClients(cluster, pod, { watches: 5, requests: 5 });
    await moveTo(cluster, node);
    await sleep(500);
    await moveTo(cluster, holder);
    await Promise.all(cluster.nodes.map((each) => each.endAgent("SIGKILL")));
    await cluster.lab.until(async () => (await cluster.bound()).length === 0, 10_000, "nobody has the VIP");
    await allServed(cluster, pod);
    await sleep(1_000);
    await allWell(cluster, clients, ticker);
    await node.host.run(["ip", "link", "del", "cali0"]);
  });
});

describe("the network", () => {
  test("drops what a node sends in the VIP's name: it gets no new connections, and the holder says so", async () => {
    const victim = cluster.nodes[2];
    assert.ok(victim !== undefined);
    await cluster.lab.drop({ from: victim.name, match: `ip saddr ${cluster.vip}` });
    const rest = cluster.others(victim);
    const [holder] = rest;
    assert.ok(holder !== undefined);
    await cluster.startAgentsAfter(holder, { [victim.name]: { LEASEHOLD_PRIORITY: "50" } });
    await fastPathReady(
      cluster,
      rest.map((node) => node.name),
      rest,
    );
    const { fastPath } = await holder.status();
    assert.equal(fastPath?.nodes.find((node) => node.node === victim.name)?.unheard, true);
    assert.match(holder.agent?.log() ?? "", /do not arrive/);
    await allServed(cluster, cluster.client);
    await cluster.lab.heal();
    await fastPathReady(cluster, undefined, rest);
  });

  test("has a narrower link on the way: every node learns the path's MTU, though the router tells the VIP", async () => {
    await startFastPath(cluster);
    const router = await cluster.lab.node("r1");
    const far = await cluster.lab.client("far");
    await far.run(["ip", "link", "set", "eth0", "down"]);
    await router.run([
      "ip",
      "link",
      "add",
      "far0",
      "type",
      "veth",
      "peer",
      "name",
      "eth1",
      "netns",
      far.namespace,
    ]);
    await router.run(["ip", "-batch", "-"], {
      input: "link set far0 mtu 1300 up\naddr add 10.99.0.1/24 dev far0\n",
    });
    await far.run(["ip", "-batch", "-"], {
      input: "link set eth1 up\naddr add 10.99.0.2/24 dev eth1\nroute add default via 10.99.0.1\n",
    });
    for (const { host } of cluster.nodes)
      await host.run(["ip", "route", "add", "10.99.0.0/24", "via", router.ipv4]);
    // A server's certificate alone is longer than the link is wide.
    await allServed(cluster, far);
    for (const { host } of cluster.nodes)
      assert.match(await host.run(["ip", "route", "get", "10.99.0.2"]), /mtu 1300/, host.name);
  });

  test("is reached by a bridge of the node's own", async () => {
    for (const { host } of cluster.nodes) {
      const commands = [
        "link add br0 type bridge stp_state 0 forward_delay 0",
        `link set br0 address ${host.mac} up`,
        `addr del ${host.ipv4}/24 dev eth0`,
        `addr add ${host.ipv4}/24 dev br0`,
        "link set eth0 master br0",
      ];
      await host.run(["ip", "-batch", "-"], { input: `${commands.join("\n")}\n` });
    }
    await cluster.plane.ready();
    await playMoves();
    assert.equal((await (cluster.nodes[0] ?? assert.fail()).status()).vip?.interface, "br0");
  });
});
