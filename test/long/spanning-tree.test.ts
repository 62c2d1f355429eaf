/**
 * A switch port that spanning tree has just been told of drops everything for up to 30 s, with a carrier.
 * Whoever asks there for the VIP hears nothing, and that proves nothing. No control plane: these are machines
 * that have just been switched on.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { startAgent } from "../lab/cluster.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { Host } from "../support/lab/host.ts";
import { createLab } from "../support/lab/lab.ts";
import type { Lab } from "../support/lab/lab.ts";

/** src/election/backup.ts */
const ALONE_MS = 30_000;

let lab: Lab;

beforeEach(async () => {
  lab = await createLab();
});
afterEach(() => lab.stop());

function boot(host: Host) {
  return startAgent(host, {
    LEASEHOLD_VIP: lab.vip4,
    LEASEHOLD_KUBECONFIG: join(host.directory, "kubeconfig"),
  });
}

test("a port that is shut: nothing for 30 s, then the VIP; and no link, no VIP", async () => {
  const [alone, unplugged] = await Promise.all([lab.node("n1"), lab.node("n2")]);
  await lab.isolate(alone);
  await unplugged.link.down();
  const ownership = await lab.ownership();
  const startedMs = monotonicMs();
  await Promise.all([boot(alone), boot(unplugged)]);
  await lab.until(
    async () => (await ownership.holders(lab.vip4)).includes("n1"),
    ALONE_MS + 8_000,
    "the lonely node has the VIP",
  );
  assert.ok(monotonicMs() - startedMs >= ALONE_MS, `after ${monotonicMs() - startedMs} ms already`);
  await sleep(6_000);
  assert.deepEqual(
    ownership
      .timeline(lab.vip4)
      .intervals()
      .map(({ holders }) => holders),
    [[], ["n1"]],
  );
});

test("a port that opens late, where another has the VIP by then: one of them keeps it", async () => {
  const [shut, open, client] = await Promise.all([lab.node("n1"), lab.node("n2"), lab.client("client")]);
  const fault = await lab.isolate(shut);
  const ownership = await lab.ownership();
  await boot(shut);
  await lab.until(
    async () => (await ownership.holders(lab.vip4)).includes("n1"),
    ALONE_MS + 8_000,
    "the lonely node has the VIP",
  );
  await client.run(["ping", "-c1", "-W1", open.ipv4]);
  await boot(open);
  await lab.until(
    async () => (await ownership.holders(lab.vip4)).includes("n2"),
    8_000,
    "the other one has it as well: it cannot know",
  );
  // Its announcements are over.
  await sleep(8_000);
  const healedMs = monotonicMs();
  await fault.heal();
  await client.run(["ping", "-c1", "-W1", shut.ipv4]);
  await lab.until(
    async () => (await ownership.holders(lab.vip4)).length === 1,
    5_000,
    "one of them gives way",
  );
  await sleep(6_000);
  const after = ownership.timeline(lab.vip4).between(healedMs);
  assert.equal((await ownership.holders(lab.vip4)).length, 1, after.describe());
  assert.ok(after.longestGapMs() <= 3_000, after.describe());
});
