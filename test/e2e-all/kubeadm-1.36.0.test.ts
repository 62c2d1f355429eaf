/**
 * kubeadm 1.36.0, whose `init` waits for the API server at the VIP: the agent binds it before there is a
 * Lease.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMachines } from "../support/e2e/cluster.ts";
import {
  bringImage,
  init,
  look,
  ownCredentials,
  placeManifest,
  settled,
} from "../support/e2e/quick-start.ts";
import { Stopwatch } from "../support/e2e/story.ts";

test("kubeadm 1.36.0 makes a cluster behind the VIP", async () => {
  const watch = new Stopwatch();
  await using machines = await createMachines();
  const { olderKubeadm, programs } = machines.prepared;
  assert.ok(olderKubeadm !== undefined);
  const node = await machines.add("n1", 1, [olderKubeadm]);
  try {
    assert.equal(await node.type("kubeadm version --output short"), "v1.36.0\n");
    await bringImage(machines, [node]);
    await placeManifest(node);
    watch.lap("one machine with kubeadm 1.36.0");
    await init(node, programs.version);
    watch.lap("step 3: kubeadm init, and RBAC");
    await ownCredentials(machines, node);
    await settled(machines, [node]);
    assert.match(await look(node), /^readyz check passed$/m);
  } catch (error) {
    process.stderr.write(`The machine's logs: ${await machines.saveLogs()}\n`);
    throw error;
  }
});
