/**
 * What the fast path's scenarios share: the cluster with the fast path up, and what clients must not notice.
 */
import assert from "node:assert/strict";
import { monotonicMs } from "../support/lab/clock.ts";
import type { Host } from "../support/lab/host.ts";
import { seenBy } from "../support/lab/ticker.ts";
import type { Tick, Ticker } from "../support/lab/ticker.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import type { Clients } from "./watchers.ts";

/** Every one of `nodes` sends new connections to each of `takers`, and its own clients' as well. */
export async function fastPathReady(
  cluster: Cluster,
  takers: readonly string[] = cluster.nodes.map((node) => node.name),
  nodes = cluster.nodes,
): Promise<void> {
  await cluster.lab.until(
    async () => {
      for (const node of nodes) {
        const { fastPath } = await node.status();
        const names = fastPath?.nodes.filter((peer) => peer.slots > 0).map((peer) => peer.node) ?? [];
        if (
          fastPath?.mode !== "fast-path" ||
          fastPath.own.length === 0 ||
          names.sort().join(" ") !== [...takers].sort().join(" ")
        ) {
          throw new Error(`${node.name}: ${JSON.stringify(fastPath)}`);
        }
      }
      return true;
    },
    30_000,
    `the fast path leads to ${takers.join(", ")}`,
  );
}

export async function startFastPath(cluster: Cluster): Promise<ClusterNode> {
  const holder = await cluster.startAgents();
  await fastPathReady(cluster);
  return holder;
}

export async function moveTo(cluster: Cluster, next: ClusterNode): Promise<void> {
  await cluster.kubectl([
    "annotate",
    "-n",
    "kube-system",
    "lease",
    "leasehold",
    "--overwrite",
    `leasehold.dev/move-to=${next.name}`,
  ]);
  await cluster.lab.until(async () => (await next.state()) === "MASTER", 10_000, `${next.name} is MASTER`);
}

/**
 * How late an event may be on a machine that does many other things; `npm run bench -- moves` measures it.
 */
const LATE_MS = 1_000;

/** All connections live, and no watch missed an event or had one late. */
export async function allWell(cluster: Cluster, clients: Clients, ticker: Ticker): Promise<void> {
  assert.deepEqual(
    clients.watches.lost().map((each) => each.closedBy),
    [],
    "watches were lost",
  );
  assert.deepEqual(
    clients.requests.lost().map((each) => each.closedBy),
    [],
    "connections were lost",
  );
  await watchesSawAll(cluster, clients, ticker);
}

export async function watchesSawAll(cluster: Cluster, clients: Clients, ticker: Ticker): Promise<void> {
  const due = (): readonly Tick[] => ticker.ticks().filter((tick) => tick.t < monotonicMs() - LATE_MS);
  await cluster.lab.until(() => due().length > 20, 15_000, "enough events were made");
  const ticks = due();
  for (const watch of clients.watches.alive()) {
    const { missed, latestMs, seen } = seenBy(watch, ticks);
    assert.equal(missed, 0, `watch ${watch.id} missed ${missed} of ${ticks.length} events, saw ${seen}`);
    assert.ok(latestMs < LATE_MS, `watch ${watch.id} had an event after ${latestMs} ms`);
  }
}

/** How many have ended. */
export function lostOf({ watches, requests }: Clients): number {
  return watches.lost().length + requests.lost().length;
}

/** Connections of `client` that end at `node`'s API server. */
export async function servedBy(node: ClusterNode, client: Host): Promise<number> {
  return (await sockets(node, client, ["state", "established"])).length;
}

/**
 * The same with those that are being closed, as ss shows them. Whoever closes first stays in TIME-WAIT for a
 * minute, and has nothing left to do.
 */
export function heldBy(node: ClusterNode, client: Host): Promise<readonly string[]> {
  return sockets(node, client, ["state", "connected", "exclude", "time-wait"]);
}

/** Those that the API server ended first, for a minute. */
export function waitedForBy(node: ClusterNode, client: Host): Promise<readonly string[]> {
  return sockets(node, client, ["state", "time-wait"]);
}

async function sockets(
  node: ClusterNode,
  client: Host,
  states: readonly string[],
): Promise<readonly string[]> {
  const lines = (await node.host.run(["ss", "-Htn", ...states, "( sport = :6443 )"])).split("\n");
  return lines.filter(
    (line) =>
      line.includes(` ${client.ipv4}:`) ||
      line.includes(`[::ffff:${client.ipv4}]:`) ||
      line.includes(`[${client.ipv6}]:`),
  );
}
