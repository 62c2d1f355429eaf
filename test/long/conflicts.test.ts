/**
 * Others that come to a VIP which is served: watched for as long as it takes to see at what pace it is
 * defended.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { createCluster } from "../lab/cluster.ts";
import type { Cluster } from "../lab/cluster.ts";
import { Journal } from "../lab/journal.ts";
import { endStrangers, eventsOf, startClaims, startKeepalived } from "../lab/strangers.ts";
import type { ArpCapture } from "../support/lab/capture.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { Host } from "../support/lab/host.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";

/** RFC 5227 section 2.4: DEFEND_INTERVAL. */
const DEFEND_MS = 10_000;
/** The last of the announcements that follow a move of the VIP. */
const ANNOUNCED_MS = 5_000;

let cluster: Cluster;
let stranger: Host;
let arp: ArpCapture;
let ownership: OwnershipSampler;
let journal: Journal;

before(async () => {
  cluster = await createCluster();
  stranger = await cluster.lab.client("stranger");
  arp = await cluster.lab.captureArp();
  ownership = await cluster.lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());
beforeEach(() => {
  journal = new Journal(cluster);
});
afterEach(async () => {
  await endStrangers(cluster);
  await cluster.reset();
});

test("a stranger that comes to the VIP later is told so once in ten seconds, and the VIP stays", async () => {
  const holder = await cluster.startAgents();
  await sleep(ANNOUNCED_MS + 500);
  const fromMs = monotonicMs();
  await using _claiming = await startClaims(cluster, stranger, 500);
  await sleep(DEFEND_MS + 3_000);
  assert.equal(await cluster.settled(), holder);
  const claims = arp.announcements(cluster.vip, fromMs).filter(({ node }) => node === stranger.name);
  assert.ok(claims.length >= 20, `${claims.length} claims`);
  // Both forms, one right after the other, make one announcement.
  const requests = arp
    .announcements(cluster.vip, fromMs)
    .filter((frame) => frame.kind === "arp" && frame.op === "request" && frame.node === holder.name);
  const times = requests.map(({ timeMs }) => Math.round(timeMs - fromMs));
  assert.equal(times.length, 2, times.join());
  assert.ok((times[1] ?? 0) - (times[0] ?? 0) >= DEFEND_MS - 50, times.join());
  assert.deepEqual(
    ownership
      .timeline(cluster.vip)
      .between(fromMs)
      .intervals()
      .map(({ holders }) => holders),
    [[holder.name]],
  );
  assert.deepEqual(
    journal
      .of(holder)
      .filter(({ msg }) => msg === "Address conflict")
      .map(({ outcome }) => outcome),
    ["defended", "defended"],
  );
  assert.ok(
    (await eventsOf(cluster, "VIPConflict")).some(
      (message) => message.startsWith(`${holder.name}: `) && message.includes(stranger.mac),
    ),
  );
});

test("keepalived that is started later, on another node: ours stays, has the last word on the wire, and says so", async () => {
  const holder = await cluster.startAgents();
  const [other] = cluster.others(holder);
  assert.ok(other !== undefined);
  await sleep(ANNOUNCED_MS + 500);
  const fromMs = monotonicMs();
  await startKeepalived(cluster, other.host);
  // keepalived announces the VIP when it takes it, and once more after five seconds.
  await sleep(6_500);
  const words = arp.announcements(cluster.vip, fromMs).map(({ node }) => node);
  assert.ok(words.includes(other.name), words.join());
  assert.equal(words.at(-1), holder.name, words.join());
  assert.equal(await holder.state(), "MASTER");
  assert.ok((await ownership.holders(cluster.vip)).includes(holder.name));
  const { election, vip } = await other.status();
  assert.deepEqual([election?.state, election?.faults, vip?.foreign], ["FAULT", ["vip"], true]);
  const defended = journal
    .of(holder)
    .filter(({ msg, outcome }) => msg === "Another candidate claims the VIP" && outcome === "defended");
  assert.equal(defended.length, 2);
});
