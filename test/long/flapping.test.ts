import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createCluster } from "../lab/cluster.ts";
import type { Cluster } from "../lab/cluster.ts";
import { flap, succession } from "../lab/flapping.ts";
import { provable } from "../lab/on-the-wire.ts";
import { monotonicMs } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";

const FLAPPING_MS = 600_000;

let cluster: Cluster;
let ownership: OwnershipSampler;

before(async () => {
  cluster = await createCluster();
  ownership = await cluster.lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());

test("the holder's link flaps every second for ten minutes: the VIP moves twice at most", async (context) => {
  const old = await cluster.startAgents();
  await provable(cluster, old);
  const fromMs = monotonicMs();
  await flap(old, FLAPPING_MS);
  const holders = succession(cluster, ownership, old, fromMs);
  context.diagnostic(holders.join(" -> "));
  assert.ok(holders.length > 1, "it must leave the node whose link flaps");
  assert.ok(holders.length <= 3, `${holders.join(" -> ")}\n${cluster.history()}`);
  assert.notEqual(holders.at(-1), old.name);
});
