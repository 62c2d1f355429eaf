import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { HeldConnection } from "../support/lab/hold.ts";
import { describeAttempts, failures } from "../support/lab/probe.ts";
import { seenBy } from "../support/lab/ticker.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import {
  allWell,
  fastPathReady,
  lostOf,
  moveTo,
  servedBy,
  startFastPath,
  waitedForBy,
  watchesSawAll,
} from "./fast-path-cluster.ts";
import { allServed, openClients, openNewConnections, startTicker } from "./watchers.ts";

const FLOOD = fileURLToPath(new URL("children/flood.ts", import.meta.url));

let cluster: Cluster;
/**
 * Machines that a scenario takes off the network; of no other may an agent say that it is gone, however busy
 * this machine is.
 */
const lost = new Set<ClusterNode>();

async function isolate(node: ClusterNode): Promise<void> {
  lost.add(node);
  await cluster.lab.isolate(node.host);
}

/** Lines of earlier scenarios: a node's agents share one log. */
const old = new Set<string>();

/** What the agents said of machines that stopped answering. */
function foundGone(): readonly string[] {
  return cluster.nodes
    .flatMap((node) => node.agent?.log().split("\n") ?? [])
    .filter((line) => line.includes('"machine silent"') && !old.has(line));
}

before(async () => {
  // A server that is told to stop says so on /readyz and goes on serving for this long: what "drain" is in
  // real life.
  cluster = await createCluster({ apiServerFlags: { "shutdown-delay-duration": "12s" } });
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  const found = foundGone();
  const wrong = found.filter((line) => ![...lost].some((node) => line.includes(`"${node.host.ipv4}:6443"`)));
  for (const line of found) old.add(line);
  lost.clear();
  await cluster.lab.heal();
  for (const { apiServer } of cluster.plane.nodes) {
    if (!apiServer.running) await apiServer.start();
    apiServer.continue();
  }
  await cluster.plane.ready();
  await cluster.reset();
  assert.deepEqual(wrong, [], "machines that were there were said to be gone");
});

/** Sends the holder 70,000 packets of connections that do not exist, from the client's machine. */
async function flood(holder: ClusterNode): Promise<void> {
  const { client } = cluster;
  const [index = ""] = (await client.run(["ip", "-o", "link", "show", "eth0"])).split(":");
  await client.run([process.execPath, FLOOD, index, client.mac, holder.host.mac, client.ipv4, cluster.vip], {
    timeoutMs: 60_000,
  });
}

function another(node: ClusterNode): ClusterNode {
  const [other] = cluster.others(node);
  assert.ok(other !== undefined);
  return other;
}

test("the holder forgets a flow soon after its client has ended it, and not that of one that only listens", async () => {
  const holder = await startFastPath(cluster);
  const remembered = async (): Promise<number> =>
    (
      (await holder.host.run(["nft", "list", "set", "netdev", "leasehold", "flows4"])).match(/ expires /g) ??
      []
    ).length;
  await using _ticker = await startTicker(cluster, another(holder));
  await using clients = await openClients(cluster, cluster.client, { watches: 3, requests: 0 });
  {
    await using _leaving = await openClients(cluster, cluster.client, { watches: 6, requests: 6 });
    assert.equal(await remembered(), 15);
  }
  await cluster.lab.until(
    async () => (await remembered()) === 3,
    15_000,
    "only those that listen are remembered",
  );
  await sleep(5_000);
  assert.equal(await remembered(), 3);
  assert.equal(clients.watches.alive().length, 3);
});

describe("a move of the VIP", () => {
  test("planned, three times round: every listening watch and every connection lives", async () => {
    let holder = await startFastPath(cluster);
    await using ticker = await startTicker(cluster, another(holder));
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    await sleep(1_000);
    for (let round = 0; round < 3; round++) {
      const next = cluster.others(holder)[round % 2];
      assert.ok(next !== undefined);
      await moveTo(cluster, next);
      holder = next;
      await sleep(1_000);
    }
    await sleep(1_000);
    await allWell(cluster, clients, ticker);
  });

  test("there and back within 2 s", async () => {
    const holder = await startFastPath(cluster);
    await using ticker = await startTicker(cluster, another(holder));
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    const fromMs = monotonicMs();
    await moveTo(cluster, another(holder));
    await moveTo(cluster, holder);
    assert.ok(monotonicMs() < fromMs + 2_000, `it took ${monotonicMs() - fromMs} ms`);
    await sleep(2_500);
    await allWell(cluster, clients, ticker);
  });

  test("a client that believes for ever in the wrong node is served as well", async () => {
    const holder = await startFastPath(cluster);
    const wrong = another(holder);
    await using ticker = await startTicker(cluster, wrong);
    await using clients = await openClients(cluster, cluster.client, { watches: 20, requests: 20 });
    await cluster.client.run([
      "ip",
      "neigh",
      "replace",
      cluster.vip,
      "lladdr",
      wrong.host.mac,
      "dev",
      "eth0",
      "nud",
      "permanent",
    ]);
    try {
      await allServed(cluster, cluster.client, 80);
      await allWell(cluster, clients, ticker);
    } finally {
      await cluster.client.run(["ip", "neigh", "del", cluster.vip, "dev", "eth0"]);
    }
  });
});

describe("a node's own clients", () => {
  test("live through moves, on the old holder too, and with no holder and no agent at all", async () => {
    const holder = await startFastPath(cluster);
    const next = another(holder);
    await using ticker = await startTicker(cluster, next);
    const opened = [];
    for (const node of cluster.nodes)
      opened.push(await openClients(cluster, node.host, { watches: 5, requests: 5 }));
    try {
      await moveTo(cluster, next);
      await sleep(1_000);
      // Those of the old holder that took the VIP as their own address cannot live on; they were told so, and
      // did not hang.
      for (const [index, clients] of opened.entries()) {
        if (cluster.nodes[index] !== holder) await allWell(cluster, clients, ticker);
        else
          assert.ok(
            [...clients.watches.lost(), ...clients.requests.lost()].every(
              (each) => each.closedBy === "ECONNABORTED",
            ),
          );
      }
      const alive = opened.map((clients) => clients.watches.alive().length + clients.requests.alive().length);
      await Promise.all(cluster.nodes.map((node) => node.endAgent("SIGKILL")));
      await cluster.lab.until(
        async () => (await cluster.bound()).length === 0,
        10_000,
        "the kernel has removed the VIP",
      );
      for (const node of cluster.nodes) await allServed(cluster, node.host, 10);
      for (const [index, clients] of opened.entries()) {
        if (cluster.nodes[index] === next) continue;
        assert.equal(
          clients.watches.alive().length + clients.requests.alive().length,
          alive[index],
          `clients of ${cluster.nodes[index]?.name}`,
        );
        await watchesSawAll(cluster, clients, ticker);
      }
    } finally {
      for (const clients of opened) await clients[Symbol.asyncDispose]();
    }
  });

  test("of a node whose agent has been gone for long come by the wire, and are all served: none is given back to its own node", async () => {
    const holder = await startFastPath(cluster);
    const node = another(holder);
    await node.endAgent("SIGKILL");
    // What the kernel does 30 s after the last refresh.
    await node.host.run(["nft", "flush", "set", "ip", "leasehold", "own"]);
    // Longer than an attempt's time-out of 3 s: one that hangs is seen.
    await allServed(cluster, node.host, 160, { intervalMs: 25 });
  });
});

describe("an API server", () => {
  test("killed: no new connection to VIP:6443 fails, none of the others' is touched", async () => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    await using ticker = await startTicker(cluster, holder);
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    const doomed = await servedBy(victim, cluster.client);
    await using fresh = await openNewConnections(cluster, cluster.client, { intervalMs: 10 });
    await using second = await openNewConnections(cluster, cluster.client, { intervalMs: 50, port: 8443 });
    await cluster.lab.until(() => fresh.attempts().length >= 20, 10_000, "20 connections");
    await victim.plane.apiServer.kill();
    const goneMs = monotonicMs();
    await cluster.lab.until(
      () => fresh.attempts().filter((attempt) => attempt.sentMs > goneMs).length > 50,
      10_000,
      "50 connections more",
    );
    const attempts = await fresh.stop();
    // Whom it had accepted, or was about to, died with it; nobody was refused, and after its end nobody
    // noticed anything.
    assert.deepEqual(
      failures(attempts).filter((attempt) => attempt.error === "ECONNREFUSED" || attempt.sentMs > goneMs),
      [],
      describeAttempts(attempts),
    );
    assert.equal(lostOf(clients), doomed);
    // On a port that the kernel cannot ask about, a SYN may have to come again.
    assert.deepEqual(
      failures(await second.stop()).filter((attempt) => attempt.error === "ECONNREFUSED"),
      [],
    );
    await watchesSawAll(cluster, clients, ticker);
  });

  test("drained: new connections go elsewhere, old ones live; back again: slots return, old ones live", async () => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    await using ticker = await startTicker(cluster, holder);
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    const old = await servedBy(victim, cluster.client);
    assert.ok(old > 0, "nobody was served by it");
    const stopping = victim.plane.apiServer.terminate(30_000);
    const rest = cluster.nodes.filter((node) => node !== victim).map((node) => node.name);
    await fastPathReady(cluster, rest);
    await sleep(2_000);
    await allWell(cluster, clients, ticker);
    await using fresh = await openClients(cluster, cluster.client, { watches: 10, requests: 10 });
    assert.equal(await servedBy(victim, cluster.client), old);
    await stopping;
    await victim.plane.apiServer.start();
    await victim.plane.ready();
    await fastPathReady(cluster);
    await sleep(1_000);
    await allWell(cluster, fresh, ticker);
    assert.equal(lostOf(clients), old);
    await watchesSawAll(cluster, clients, ticker);
  });

  test("whose manifest has changed gives its slots away while it is UP, and has them again when it is ready", async () => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    await using fresh = await openNewConnections(cluster, cluster.client, { intervalMs: 20 });
    await cluster.lab.until(() => fresh.attempts().length >= 20, 10_000, "20 connections");
    victim.changeManifest("# another version\n");
    await fastPathReady(
      cluster,
      cluster.others(victim).map(({ name }) => name),
    );
    const { balancer } = await victim.status();
    assert.equal(balancer.backends.find(({ local }) => local)?.grade, "UP");
    // No connection is left that could notice it.
    await sleep(500);
    await victim.plane.apiServer.kill();
    await victim.plane.apiServer.start();
    await victim.plane.ready();
    await fastPathReady(cluster);
    const attempts = await fresh.stop();
    assert.deepEqual(failures(attempts), [], describeAttempts(attempts));
  });

  test("hung: once it is DOWN its node ends what it had, and nothing else", async () => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    await using ticker = await startTicker(cluster, holder);
    await using clients = await openClients(cluster, cluster.client, { watches: 20, requests: 20 });
    const doomed = await servedBy(victim, cluster.client);
    victim.plane.apiServer.stop();
    await cluster.lab.until(
      () => lostOf(clients) >= doomed,
      20_000,
      "the sessions of the hung server are ended",
    );
    await sleep(500);
    assert.equal(lostOf(clients), doomed);
    for (const each of [...clients.watches.lost(), ...clients.requests.lost()])
      assert.equal(each.closedBy, "ECONNRESET");
    await watchesSawAll(cluster, clients, ticker);
  });
});

describe("a node", () => {
  test("cut off, not the holder, after a flood: its clients are told, idle ones too, within two seconds; all others live", async (context) => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    // Before shares, this filled the set of remembered clients for an hour.
    await flood(holder);
    await using ticker = await startTicker(cluster, holder);
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    const doomed = await servedBy(victim, cluster.client);
    assert.ok(doomed > 0, "nobody was served by it");
    // A machine counts once it has answered for three seconds.
    await sleep(3_500);
    const cutMs = monotonicMs();
    await isolate(victim);
    await cluster.lab.until(() => lostOf(clients) >= doomed, 10_000, "clients of the lost node are told");
    const told = clients.watches
      .lost()
      .map((each) => Math.round((each.closedMs ?? Number.NaN) - cutMs))
      .sort((x, y) => x - y);
    context.diagnostic(`idle watches of the lost node were told after ${told.join(", ")} ms`);
    assert.ok(
      told.every((ms) => ms < 2_000),
      `told after ${told.join(", ")} ms`,
    );
    await sleep(1_000);
    assert.equal(lostOf(clients), doomed);
    await watchesSawAll(cluster, clients, ticker);
  });

  test("cut off again: clients are told too whose port had another connection before, which ended on a node that lives", async () => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    const localPort = 20_000;
    await isolate(victim);
    await fastPathReady(
      cluster,
      cluster.others(victim).map(({ name }) => name),
      cluster.others(victim),
    );
    {
      // Their servers end them, so it is not the clients that have to wait in TIME-WAIT before they use the
      // port again.
      await using earlier = await openClients(cluster, cluster.client, {
        watches: 0,
        requests: 30,
        localPort,
        finish: "server-closes",
      });
      earlier.requests.finish();
      await cluster.lab.until(
        () => earlier.requests.lost().length === 30,
        10_000,
        "the servers have ended them",
      );
    }
    await cluster.lab.heal();
    await fastPathReady(cluster);
    await using ticker = await startTicker(cluster, holder);
    await sleep(6_000); // conntrack has forgotten them, TCP has not for a minute
    const waiting = await Promise.all(cluster.nodes.map((node) => waitedForBy(node, cluster.client)));
    assert.ok(
      waiting.flat().length > 0,
      "no socket in TIME-WAIT that would answer for connections that are not its own",
    );
    await using clients = await openClients(cluster, cluster.client, {
      watches: 15,
      requests: 15,
      localPort,
    });
    const doomed = await servedBy(victim, cluster.client);
    assert.ok(doomed > 0, "nobody was served by it");
    await isolate(victim);
    await cluster.lab.until(() => lostOf(clients) >= doomed, 4_000, "clients of the lost node are told");
    await sleep(1_000);
    assert.equal(lostOf(clients), doomed);
    await watchesSawAll(cluster, clients, ticker);
  });

  test("cut off, the holder: clients of its own API server are told, idle ones too; all others live", async (context) => {
    const holder = await startFastPath(cluster);
    await using ticker = await startTicker(cluster, another(holder));
    await using clients = await openClients(cluster, cluster.client, { watches: 30, requests: 30 });
    const doomed = await servedBy(holder, cluster.client);
    assert.ok(doomed > 0, "nobody was served by it");
    // Its agent tells the others' agents every second who its clients are.
    await sleep(2_500);
    await isolate(holder);
    await cluster.successorOf(holder);
    const movedMs = monotonicMs();
    const silent = (): HeldConnection[] =>
      [...clients.watches.alive(), ...clients.requests.alive()].filter(
        (each) => (each.lines.at(-1)?.atMs ?? 0) < movedMs,
      );
    const lost = (): HeldConnection[] => [...clients.watches.lost(), ...clients.requests.lost()];
    await cluster.lab.until(
      () => clients.watches.lost().length > 0 && lost().length >= doomed,
      6_000,
      `the ${doomed} clients of the lost node's API server are told`,
    );
    const told = lost().map((each) => Math.round((each.closedMs ?? Number.NaN) - movedMs));
    context.diagnostic(`they were told ${Math.max(...told)} ms after the move at the latest`);
    // Without proof of death nobody holds for ten seconds: a server whose segments were not acknowledged tries
    // again in ever longer steps.
    await cluster.lab.until(() => silent().length === 0, 30_000, "all others are served again");
    await sleep(2_000);
    assert.equal(lost().length, doomed);
    const ticks = ticker.ticks().filter((tick) => tick.t < monotonicMs() - 1_000);
    // A server ends the watch (last chunk: "0") of a client that takes no events for too long; the connection
    // lives, and the client watches anew.
    const ended = (watch: HeldConnection): boolean => watch.lines.some(({ text }) => text === "0");
    // The servers have ten seconds of events to send again, and begin with one segment (RFC 5681, 3.1). None
    // of the events may be lost; how late they are is no matter here.
    await cluster.lab.until(
      () => {
        for (const watch of clients.watches.alive().filter((each) => !ended(each))) {
          const { missed, seen } = seenBy(watch, ticks);
          if (missed > 0) throw new Error(`watch ${watch.id} has seen ${seen} events and lacks ${missed}`);
        }
        return true;
      },
      15_000,
      "every watch of a server that lives has every event, or was ended by its server",
    );
  });

  test("cut off and back is found gone once and serves again within seconds", async () => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    await sleep(3_500);
    await isolate(victim);
    await cluster.lab.until(() => foundGone().length === 2, 5_000, "both others find it gone");
    await sleep(2_000);
    await cluster.lab.heal();
    await fastPathReady(cluster);
    assert.equal(foundGone().length, 2);
    for (const node of cluster.others(victim)) {
      const { balancer } = await node.status();
      assert.deepEqual(
        balancer.backends
          .filter((backend) => backend.gone > 0)
          .map((backend) => [backend.host, backend.gone]),
        [[victim.host.ipv4, 1]],
        node.name,
      );
    }
  });

  test("whose processes stand still is not gone: its kernel answers", async () => {
    const holder = await startFastPath(cluster);
    const victim = another(holder);
    await sleep(3_500);
    victim.plane.apiServer.stop();
    victim.agent?.stop();
    await sleep(3_000);
    victim.agent?.cont();
    victim.plane.apiServer.continue();
    assert.deepEqual(foundGone(), []);
  });

  test("gets another MAC address: the others follow, every connection lives", async () => {
    const holder = await startFastPath(cluster);
    const changed = another(holder);
    await using ticker = await startTicker(cluster, holder);
    await using clients = await openClients(cluster, cluster.client, { watches: 20, requests: 20 });
    const mac = "02:00:00:00:03:03";
    await changed.host.run(["ip", "link", "set", "eth0", "address", mac]);
    try {
      await cluster.lab.until(
        async () =>
          (await Promise.all(cluster.others(changed).map((node) => node.status()))).every(
            ({ fastPath }) => fastPath?.nodes.some((node) => node.mac === mac) === true,
          ),
        15_000,
        "the others know its new address",
      );
      await moveTo(cluster, changed);
      await sleep(1_000);
      await moveTo(cluster, holder);
      await sleep(1_500);
      assert.deepEqual(
        [...clients.watches.lost(), ...clients.requests.lost()].map((each) => each.closedBy),
        [],
      );
      const ticks = ticker.ticks().filter((tick) => tick.t < monotonicMs() - 1_000);
      for (const watch of clients.watches.alive())
        assert.equal(seenBy(watch, ticks).missed, 0, `watch ${watch.id}`);
    } finally {
      await changed.host.run(["ip", "link", "set", "eth0", "address", changed.host.mac]);
    }
  });

  test("without rules never gets a packet, and is reached by the others' proxies all the same", async () => {
    const [first, second, third] = cluster.nodes;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    await cluster.startAgentsAfter(first, {
      [third.name]: { LEASEHOLD_FASTPATH: "off", LEASEHOLD_PRIORITY: "50" },
    });
    await fastPathReady(cluster, [first.name, second.name], [first, second]);
    const before = await servedBy(third, cluster.client);
    await using clients = await openClients(cluster, cluster.client, { watches: 10, requests: 10 });
    assert.ok((await servedBy(third, cluster.client)) <= before, "it was sent connections");
    for (const node of [first, second])
      assert.doesNotMatch(
        await node.host.run(["nft", "list", "table", "netdev", "leasehold"]),
        new RegExp(third.host.ipv4.replaceAll(".", "\\.")),
      );
    // Its own VIP:6443 works by its proxy.
    await moveTo(cluster, third);
    await sleep(500);
    await allServed(cluster, cluster.client, 30);
    assert.equal(lostOf(clients), 0);
  });
});

describe("the rules", () => {
  test("are put back at once when somebody flushes the ruleset; connections that were silent meanwhile live", async () => {
    const holder = await startFastPath(cluster);
    await using clients = await openClients(cluster, cluster.client, { watches: 20, requests: 0 });
    for (const node of cluster.nodes) {
      await node.host.run(["nft", "flush", "ruleset"]);
      await cluster.lab.until(
        async () => (await node.host.run(["nft", "list", "tables"])).includes("netdev leasehold"),
        2_000,
        "the rules are back",
      );
    }
    await fastPathReady(cluster);
    for (const node of cluster.nodes) assert.equal((await node.status()).fastPath?.restored, 1, node.name);
    await using ticker = await startTicker(cluster, another(holder));
    await sleep(2_500);
    await allWell(cluster, clients, ticker);
  });

  test("serve on while every other agent is gone", async () => {
    const holder = await startFastPath(cluster);
    await using ticker = await startTicker(cluster, another(holder));
    await using clients = await openClients(cluster, cluster.client, { watches: 10, requests: 10 });
    await Promise.all(cluster.others(holder).map((node) => node.endAgent("SIGKILL")));
    await sleep(12_000);
    await allWell(cluster, clients, ticker);
    for (const node of cluster.nodes)
      assert.match(await node.host.run(["nft", "list", "tables"]), /netdev leasehold/);
  });
});
