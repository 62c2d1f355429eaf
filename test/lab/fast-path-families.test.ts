import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import { describeAttempts, failures } from "../support/lab/probe.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import {
  allWell,
  fastPathReady,
  heldBy,
  lostOf,
  moveTo,
  servedBy,
  startFastPath,
  watchesSawAll,
} from "./fast-path-cluster.ts";
import { allServed, openClients, openNewConnections, startTicker } from "./watchers.ts";
import type { Clients } from "./watchers.ts";

let cluster: Cluster;

before(async () => {
  // A server that is told to stop goes on serving for this long, as one that drains.
  cluster = await createCluster({
    vips: (lab) => [lab.vip4, lab.vip6],
    apiServerFlags: { "shutdown-delay-duration": "12s" },
  });
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  await cluster.lab.heal();
  for (const { apiServer } of cluster.plane.nodes) {
    if (!apiServer.running) await apiServer.start();
    apiServer.continue();
  }
  await cluster.plane.ready();
  await cluster.reset();
});

/** The holder and the two others, on an IPv6 VIP. */
async function startIpv6(): Promise<{
  readonly vip: string;
  readonly holder: ClusterNode;
  readonly next: ClusterNode;
  readonly third: ClusterNode;
}> {
  const vip = cluster.lab.vip6;
  cluster.settings = { LEASEHOLD_VIP: vip };
  const holder = await startFastPath(cluster);
  const [next, third] = cluster.others(holder);
  if (next === undefined || third === undefined) throw new Error("three nodes");
  return { vip, holder, next, third };
}

for (const [name, pick] of [
  ["IPv6", (_: string, v6: string) => [v6]],
  ["dual stack", (v4: string, v6: string) => [v4, v6]],
] as const) {
  test(`${name}: watches and connections live through moves, there and back, from the wire and from the nodes`, async () => {
    const vips = pick(cluster.lab.vip4, cluster.lab.vip6);
    cluster.settings = { LEASEHOLD_VIP: vips.join(",") };
    const holder = await startFastPath(cluster);
    const [next, third] = cluster.others(holder);
    if (next === undefined || third === undefined) throw new Error("three nodes");
    await using ticker = await startTicker(cluster, third);
    const opened: Clients[] = [];
    for (const vip of vips) {
      opened.push(await openClients(cluster, cluster.client, { vip, watches: 15, requests: 15 }));
      opened.push(await openClients(cluster, third.host, { vip, watches: 5, requests: 5 }));
    }
    try {
      await moveTo(cluster, next);
      await sleep(300);
      await moveTo(cluster, holder);
      await sleep(2_000);
      for (const clients of opened) await allWell(cluster, clients, ticker);
    } finally {
      for (const clients of opened) await clients[Symbol.asyncDispose]();
    }
  });
}

test("IPv6: there and back within 2 s, and a client that believes in the wrong node", async () => {
  const { vip, holder, next, third } = await startIpv6();
  await using ticker = await startTicker(cluster, third);
  await using clients = await openClients(cluster, cluster.client, { vip, watches: 20, requests: 20 });
  const fromMs = monotonicMs();
  await moveTo(cluster, next);
  await moveTo(cluster, holder);
  assert.ok(monotonicMs() < fromMs + 2_000, `it took ${monotonicMs() - fromMs} ms`);
  await cluster.client.run([
    "ip",
    "neigh",
    "replace",
    vip,
    "lladdr",
    next.host.mac,
    "dev",
    "eth0",
    "nud",
    "permanent",
  ]);
  try {
    await allServed(cluster, cluster.client, 60, { host: vip });
    await sleep(1_500);
    await allWell(cluster, clients, ticker);
  } finally {
    await cluster.client.run(["ip", "neigh", "del", vip, "dev", "eth0"]);
  }
});

test("IPv6: an API server is killed, then a node is cut off: only their own clients are told, idle ones too", async () => {
  const { vip, holder, next: killed, third: cut } = await startIpv6();
  await using ticker = await startTicker(cluster, holder);
  await using clients = await openClients(cluster, cluster.client, { vip, watches: 30, requests: 30 });
  const ofKilled = await servedBy(killed, cluster.client);
  const ofCut = await servedBy(cut, cluster.client);
  assert.ok(ofKilled > 0 && ofCut > 0, "somebody is on each");
  await using fresh = await openNewConnections(cluster, cluster.client, { host: vip, intervalMs: 10 });
  await cluster.lab.until(() => fresh.attempts().length >= 20, 10_000, "20 connections");
  await killed.plane.apiServer.kill();
  const goneMs = monotonicMs();
  await cluster.lab.until(
    () => fresh.attempts().filter((attempt) => attempt.sentMs > goneMs).length > 50,
    10_000,
    "50 connections more",
  );
  const attempts = await fresh.stop();
  assert.deepEqual(
    failures(attempts).filter((attempt) => attempt.error === "ECONNREFUSED" || attempt.sentMs > goneMs),
    [],
    describeAttempts(attempts),
  );
  await cluster.lab.until(() => lostOf(clients) >= ofKilled, 5_000, "clients of the killed server are told");
  await sleep(1_000);
  assert.equal(lostOf(clients), ofKilled);
  await killed.plane.apiServer.start();
  await killed.plane.ready();
  // A machine counts once it has answered for three seconds.
  await sleep(3_500);
  const cutMs = monotonicMs();
  await cluster.lab.isolate(cut.host);
  await cluster.lab.until(
    () => lostOf(clients) >= ofKilled + ofCut,
    10_000,
    "clients of the lost node are told",
  );
  const told = clients.watches
    .lost()
    .flatMap(({ closedMs = 0 }) => (closedMs > cutMs ? [Math.round(closedMs - cutMs)] : []));
  // About one, on a machine that has time; the health checks alone would need four.
  assert.ok(
    told.length > 0 && told.every((ms) => ms < 3_500),
    `idle watches were told after ${told.join(", ")} ms`,
  );
  await sleep(1_000);
  assert.equal(lostOf(clients), ofKilled + ofCut);
  await watchesSawAll(cluster, clients, ticker);
});

test("IPv6: an API server drains, returns, and hangs: only what it had when it went is lost", async () => {
  const { vip, holder, next: victim, third } = await startIpv6();
  await using ticker = await startTicker(cluster, holder);
  await using clients = await openClients(cluster, cluster.client, { vip, watches: 20, requests: 20 });
  const old = await servedBy(victim, cluster.client);
  assert.ok(old > 0, "nobody was served by it");
  const stopping = victim.plane.apiServer.terminate(30_000);
  await fastPathReady(cluster, [holder.name, third.name]);
  await using fresh = await openClients(cluster, cluster.client, { vip, watches: 15, requests: 15 });
  assert.equal(await servedBy(victim, cluster.client), old, "it got new connections");
  await allWell(cluster, clients, ticker);
  // It would wait half a minute more for its watches.
  await victim.plane.apiServer.kill();
  await stopping;
  await victim.plane.apiServer.start();
  await victim.plane.ready();
  await fastPathReady(cluster);
  await using newest = await openClients(cluster, cluster.client, { vip, watches: 15, requests: 15 });
  await allWell(cluster, fresh, ticker);
  assert.equal(lostOf(clients), old);
  const hung = await servedBy(victim, cluster.client);
  assert.ok(hung > 0, "its slots did not come back");
  victim.plane.apiServer.stop();
  await cluster.lab.until(() => lostOf(newest) >= hung, 20_000, "the sessions of the hung server are ended");
  await sleep(500);
  assert.equal(lostOf(newest), hung);
  for (const each of [...newest.watches.lost(), ...newest.requests.lost()])
    assert.equal(each.closedBy, "ECONNRESET");
  for (const each of [clients, fresh, newest]) await watchesSawAll(cluster, each, ticker);
});

test("closing after slots have moved, IPv4 and IPv6: FIN is answered by FIN, whoever sends it first, and no server keeps a socket", async () => {
  const vips = cluster.vips;
  const holder = await startFastPath(cluster);
  const [victim, third] = cluster.others(holder);
  if (victim === undefined || third === undefined) throw new Error("three nodes");
  const opened = new Map<string, Clients>();
  try {
    for (const vip of vips) {
      for (const finish of ["half-close", "server-closes", "reset"] as const) {
        // A server that is asked over a watch's connection does not listen.
        const watches = finish === "server-closes" ? 0 : 12;
        opened.set(
          `${vip} ${finish}`,
          await openClients(cluster, cluster.client, { vip, watches, requests: 12, finish }),
        );
      }
    }
    const old = await servedBy(victim, cluster.client);
    assert.ok(old > 20, `${old} are served by it`);
    const stopping = victim.plane.apiServer.terminate(30_000);
    await fastPathReady(cluster, [holder.name, third.name]);
    // With the holder elsewhere too, no packet of theirs goes straight to its server.
    await moveTo(cluster, third);
    assert.equal(await servedBy(victim, cluster.client), old, "some were lost before they were closed");
    for (const { watches, requests } of opened.values())
      for (const held of [watches, requests]) held.finish();
    await cluster.lab.until(
      () =>
        [...opened.values()].every(
          ({ watches, requests }) => watches.alive().length + requests.alive().length === 0,
        ),
      5_000,
      "all have ended",
    );
    for (const [what, { watches, requests }] of opened) {
      const ends = new Set([...watches.lost(), ...requests.lost()].map((each) => each.closedBy));
      assert.deepEqual([...ends], [what.endsWith("reset") ? "closed" : "ended"], what);
    }
    for (const node of cluster.nodes) {
      await cluster.lab.until(
        async () => {
          const kept = await heldBy(node, cluster.client);
          if (kept.length > 0) throw new Error(kept.join("\n"));
          return true;
        },
        // Nodes whose members have just changed drop what they do not know for 2 s, and TCP sends again after
        // 0.2, 0.4, 0.8 and 1.6 s.
        10_000,
        `${node.name}'s server has closed them all`,
      );
    }
    assert.equal(victim.plane.apiServer.running, true, "its end closed them");
    await victim.plane.apiServer.kill();
    await stopping;
  } finally {
    for (const clients of opened.values()) await clients[Symbol.asyncDispose]();
  }
});
