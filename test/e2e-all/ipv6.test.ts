/** A kubeadm cluster of nodes that have no IPv4 address, by the guide. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMachines } from "../support/e2e/cluster.ts";
import type { Replacement } from "../support/e2e/kubeadm.ts";
import {
  bringImage,
  init,
  join,
  look,
  ownCredentials,
  placeManifest,
  settled,
} from "../support/e2e/quick-start.ts";
import { Stopwatch } from "../support/e2e/story.ts";
import { askedFor, blockOf } from "../support/guide/guide.ts";
import { untyped } from "../support/guide/played.ts";
import { describeAttempts, longestGap, longestPauseMs } from "../support/lab/probe.ts";

const GUIDE = "docs/guides/ipv6.md";
const MANIFEST: Replacement = { text: "192.0.2.10", by: "2001:db8::10", because: "step 1 of the guide" };
const ENDPOINT: Replacement = {
  text: "join 192.0.2.10:6443",
  by: "join '[2001:db8::10]:6443'",
  because: "step 3 of the guide",
};
/** A planned move has no gap. Two cores for two nodes may be busy for a second or two. */
const PLANNED_GAP_MS = 4_000;

test("a cluster of IPv6 alone has its VIP and its fast path, and an agent that stops leaves no gap", async () => {
  const watch = new Stopwatch();
  await using machines = await createMachines(6);
  const nodes = await Promise.all(["n1", "n2"].map((name, index) => machines.add(name, index + 1)));
  const [first, second] = nodes;
  assert.ok(first !== undefined && second !== undefined);
  try {
    assert.doesNotMatch(await first.type("ip -o -4 address show dev eth0"), /inet/);
    await bringImage(machines, nodes);
    await Promise.all(nodes.map((node) => placeManifest(node, [MANIFEST])));
    watch.lap("two machines without IPv4");
    const configuration = blockOf(GUIDE, { step: 2 }).text;
    const words = await init(first, machines.prepared.programs.version, [], configuration);
    watch.lap("step 3: kubeadm init, and RBAC");
    await join(second, words, [ENDPOINT]);
    watch.lap("step 4: kubeadm join");
    await Promise.all(nodes.map((node) => ownCredentials(machines, node)));
    await settled(machines, nodes);
    for (const node of nodes) assert.match(await look(node), /^readyz check passed$/m);
    assert.equal((await machines.holders()).length, 1);
    watch.lap("both nodes are on the fast path");

    const holder = await machines.holder();
    await using probe = await machines.probe();
    await holder.type(
      `crictl --timeout 60s stop --timeout 10 ${(await holder.container("leasehold")) ?? ""}`,
    );
    await settled(machines, nodes);
    const attempts = await probe.stop();
    assert.ok(
      longestGap(attempts).ms < PLANNED_GAP_MS + longestPauseMs(attempts),
      describeAttempts(attempts),
    );
    watch.lap(`the holder's agent is restarted: ${describeAttempts(attempts)}`);
    assert.deepEqual(untyped("ipv6", askedFor()), []);
  } catch (error) {
    process.stderr.write(`The machines' logs: ${await machines.saveLogs()}\n`);
    throw error;
  }
});
