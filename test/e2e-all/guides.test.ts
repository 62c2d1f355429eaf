/**
 * What the guides tell people to do with a cluster that they have: on one kubeadm cluster, one after the
 * other.
 */
import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { createMachines } from "../support/e2e/cluster.ts";
import type { Machines } from "../support/e2e/cluster.ts";
import { CGROUP_V1, replaced } from "../support/e2e/kubeadm.ts";
import type { Replacement } from "../support/e2e/kubeadm.ts";
import type { Machine } from "../support/e2e/node.ts";
import { imageOfVersion } from "../support/e2e/other-image.ts";
import {
  bringImage,
  KUBEADM_LIMIT_MS,
  look,
  makeCluster,
  ownCredentials,
  PATIENCE_MS,
  placeManifest,
  settled,
} from "../support/e2e/quick-start.ts";
import { parts, Stopwatch } from "../support/e2e/story.ts";
import { uninstall } from "../support/e2e/uninstall.ts";
import { askedFor, blockOf, commandsOf } from "../support/guide/guide.ts";
import { untyped } from "../support/guide/played.ts";
import { describeAttempts, longestGap, longestPauseMs } from "../support/lab/probe.ts";

const UPGRADE = "docs/guides/upgrade.md";
const REPLACE = "docs/guides/replace-a-node.md";
const OUT = "Take the old node out";
const IN = "Bring the new node in";
/** No move of an upgrade has a gap. Two cores for three nodes may be busy for a second or two. */
const PLANNED_GAP_MS = 4_000;
const watch = new Stopwatch();
let machines: Machines;
let nodes: readonly Machine[] = [];

before(async () => {
  machines = await createMachines();
  nodes = await Promise.all(["n1", "n2", "n3"].map((name, index) => machines.add(name, index + 1)));
  await makeCluster(machines, nodes);
  watch.lap("a cluster of three nodes");
});
after(async () => {
  await machines?.[Symbol.asyncDispose]();
  watch.lap("everything is removed");
});

/** Steps 2 and 3 of the guide on one node. */
async function changeVersion(node: Machine, to: readonly Replacement[]): Promise<void> {
  const before = await node.container("leasehold");
  await node.type(replaced(blockOf(UPGRADE, { step: 2 }).text, to));
  const [look = "", ready = "", ...more] = commandsOf(blockOf(UPGRADE, { step: 3 }).text);
  assert.deepEqual(
    [more, /# again, until it runs/.test(look), /# again, until the check/.test(ready)],
    [[], true, true],
  );
  const id = before?.slice(0, 13) ?? "";
  await machines.lab.until(
    async () => {
      const shown = await node.type(look);
      return shown.includes("Running") && !shown.includes(id);
    },
    PATIENCE_MS,
    `${node.name} runs the other image`,
  );
  await machines.lab.until(
    async () => (await node.type(ready)).includes("readyz check passed"),
    PATIENCE_MS,
    `${node.name} is ready`,
  );
}

/**
 * Takes `old` out and brings `fresh` in, as the guide says, from a node that stays. `forgotten`: Leasehold is
 * not removed from the old node first.
 */
async function replaceNode(
  stays: Machine,
  old: Machine,
  fresh: () => Promise<Machine>,
  how: "uninstalled" | "forgotten",
): Promise<void> {
  const named: readonly Replacement[] =
    old.name === "n3"
      ? []
      : [{ text: "node n3", by: `node ${old.name}`, because: "another node is replaced" }];
  if (how === "uninstalled") await uninstall(machines, old);
  await old.type(blockOf(REPLACE, { heading: OUT, has: "kubeadm reset" }).text, {
    timeoutMs: KUBEADM_LIMIT_MS,
  });
  await stays.type(replaced(blockOf(REPLACE, { heading: OUT, has: "delete node" }).text, named));
  const node = await fresh();
  if (how === "forgotten") {
    const forget = replaced(blockOf("README.md", { heading: "Uninstall", has: "leasehold forget" }).text, [
      { text: "forget n4", by: `forget ${old.name}`, because: "another node is gone" },
    ]);
    await stays.type(forget, { timeoutMs: PATIENCE_MS });
  }
  watch.lap(`${old.name} has left`);
  const printed = await stays.type(blockOf(REPLACE, { heading: IN, step: 1 }).text, {
    timeoutMs: KUBEADM_LIMIT_MS,
  });
  const join = /^kubeadm join .*--control-plane.*$/m.exec(printed)?.[0];
  assert.ok(join !== undefined, printed);
  await bringImage(machines, [node]);
  await placeManifest(node);
  await node.type(`${join.trim()} --ignore-preflight-errors ${CGROUP_V1.by}`, {
    timeoutMs: KUBEADM_LIMIT_MS,
  });
  await ownCredentials(machines, node);
  nodes = [...nodes.filter((each) => each !== old), node];
  await settled(machines, nodes);
  assert.match(await look(node), /^readyz check passed$/m);
  watch.lap(`${node.name} has joined in its place`);
}

describe("the guides on a kubeadm cluster", () => {
  const part = parts(() => machines);

  part("an upgrade and the way back leave no gap", async () => {
    const archive = await imageOfVersion(machines.prepared.leasehold, machines.lab.directory, "0.2.0");
    for (const node of nodes) await node.type("ctr -n k8s.io images import -", { stdin: archive });
    await using probe = await machines.probe();
    for (const node of nodes) await changeVersion(node, []);
    watch.lap("upgraded");
    const back: Replacement = { text: "leasehold:0.2.0", by: "leasehold:0.1.0", because: "the way back" };
    for (const node of nodes) await changeVersion(node, [back]);
    const attempts = await probe.stop();
    watch.lap(`and back: ${describeAttempts(attempts)}`);
    assert.ok(
      longestGap(attempts).ms < PLANNED_GAP_MS + longestPauseMs(attempts),
      describeAttempts(attempts),
    );
    await settled(machines, nodes);
  });

  part("a node is replaced by a machine with the same name and address", async () => {
    const n3 = machines.machine("n3");
    await replaceNode(machines.machine("n1"), n3, () => machines.renew(n3), "uninstalled");
  });

  part("a node is replaced by a machine with another name and address", async () => {
    const n2 = machines.machine("n2");
    const fresh = async (): Promise<Machine> => {
      await n2.powerLoss();
      return machines.add("n4", 4);
    };
    await replaceNode(machines.machine("n1"), n2, fresh, "forgotten");
  });

  part("a worker reaches the API servers without the holder", async () => {
    const stays = machines.machine("n1");
    const worker = await machines.add("n5", 5);
    await bringImage(machines, [worker]);
    const kubectl = "export KUBECONFIG=/etc/kubernetes/admin.conf";
    await stays.type(
      `${kubectl}\n${blockOf("README.md", { heading: "Workers", has: "manifest worker-rbac" }).text}`,
    );
    const printed = await stays.type("kubeadm token create --print-join-command");
    await worker.type(`${printed.trim()} --ignore-preflight-errors SystemVerification`, {
      timeoutMs: KUBEADM_LIMIT_MS,
    });
    const [place = "", see = "", ...more] = commandsOf(
      blockOf("README.md", { heading: "Workers", has: "manifest worker --vip" }).text,
    );
    assert.deepEqual(more, []);
    await worker.type(place);
    await machines.lab.until(
      async () => (await worker.type(see)).includes("readyz check passed"),
      PATIENCE_MS,
      "the worker's agent is ready",
    );
    const { credentials, balancer } = await worker.status();
    assert.equal(credentials.source, "/etc/kubernetes/kubelet.conf");
    assert.deepEqual(
      balancer.backends.map(({ id }) => id).sort(),
      nodes.map(({ address }) => `${address}:6443`).sort(),
    );
    watch.lap("a worker");
  });

  part("everything was typed that this test has to play", async () => {
    assert.deepEqual(untyped("guides", askedFor()), []);
  });
});
