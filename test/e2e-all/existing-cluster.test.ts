/** A kubeadm cluster whose endpoint is its first node gets a VIP, and then another VIP, by the guides. */
import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { createMachines, VIP } from "../support/e2e/cluster.ts";
import type { Machines } from "../support/e2e/cluster.ts";
import { replaced } from "../support/e2e/kubeadm.ts";
import type { Replacement } from "../support/e2e/kubeadm.ts";
import type { Machine } from "../support/e2e/node.ts";
import {
  bringImage,
  init,
  join,
  look,
  ownCredentials,
  PATIENCE_MS,
  placeManifest,
  settled,
} from "../support/e2e/quick-start.ts";
import { parts, Stopwatch } from "../support/e2e/story.ts";
import { askedFor, blockOf } from "../support/guide/guide.ts";
import { untyped } from "../support/guide/played.ts";

const EXISTING = "docs/guides/existing-cluster.md";
const CHANGE = "docs/guides/change-the-vip.md";
const NEW_VIP = "192.0.2.20";
const FIRST: Replacement = { text: VIP, by: "192.0.2.11", because: "a cluster that has no VIP yet" };
const watch = new Stopwatch();
let machines: Machines;
let nodes: readonly Machine[] = [];
let first: Machine;

before(async () => {
  machines = await createMachines();
  nodes = await Promise.all(["n1", "n2"].map((name, index) => machines.add(name, index + 1)));
  first = machines.machine("n1");
  await bringImage(machines, nodes);
  const words = await init(first, machines.prepared.programs.version, [FIRST]);
  for (const node of nodes.slice(1)) await join(node, words, [FIRST]);
  watch.lap("a cluster of two nodes without a VIP");
});
after(async () => {
  await machines?.[Symbol.asyncDispose]();
  watch.lap("everything is removed");
});

/** Steps 2 to 6 of the guide. */
async function changeEndpoint(to: readonly Replacement[]): Promise<void> {
  const step = (number: number): string => replacedWhere(blockOf(EXISTING, { step: number }).text, to);
  await first.type(step(2));
  for (const node of nodes)
    await machines.lab.until(
      async () => (await node.type(step(3))).trim().endsWith("ok"),
      PATIENCE_MS,
      `${node.name} has its certificate`,
    );
  await trusted(step(4));
  for (const node of nodes) await node.type(step(5));
  await first.type(step(6));
}

/** Applies what there is to replace: not every step names the VIP. */
function replacedWhere(text: string, replacements: readonly Replacement[]): string {
  return replaced(
    text,
    replacements.filter((each) => text.includes(each.text)),
  );
}

/** Twenty requests in a row are answered by an API server whose certificate names the VIP. */
async function trusted(request: string): Promise<void> {
  await machines.lab.until(
    async () => {
      for (let turn = 0; turn < 20; turn++) if ((await first.type(request)).trim() !== "ok") return false;
      return true;
    },
    PATIENCE_MS,
    "every API server's certificate names the VIP",
  );
}

async function changeManifest(step: number): Promise<void> {
  const ready = blockOf(CHANGE, { step: 1, has: "readyz" }).text;
  for (const node of nodes) {
    const before = await node.container("leasehold");
    await node.type(blockOf(CHANGE, { step, has: "umask" }).text);
    await machines.lab.until(
      async () => {
        const now = await node.container("leasehold");
        if (now === undefined || now === before) return false;
        const answer = await node.type(ready);
        const failed = [...answer.matchAll(/^\[-\](\S+)/gm)].map(([, check]) => check);
        return (
          /^readyz check (?:passed|failed)$/m.test(answer) && failed.every((check) => check === "election")
        );
      },
      PATIENCE_MS,
      `${node.name} answers with the other setting`,
    );
  }
  for (const node of nodes)
    await machines.lab.until(
      async () => (await node.type(ready)).includes("check passed"),
      PATIENCE_MS,
      `${node.name} agrees with the others`,
    );
}

describe("a cluster that is there already", () => {
  const part = parts(() => machines);

  part("gets a VIP", async () => {
    for (const node of nodes) await placeManifest(node);
    await first.type(blockOf(EXISTING, { step: 1 }).text);
    for (const node of nodes) await ownCredentials(machines, node);
    await settled(machines, nodes);
    watch.lap("the agents run");
    await changeEndpoint([]);
    watch.lap("the cluster's endpoint is the VIP");
    for (const node of nodes) {
      const shown = await node.type("kubectl --kubeconfig /etc/kubernetes/admin.conf cluster-info");
      assert.match(shown, /192\.0\.2\.10:6443/);
      assert.match(await look(node), /^readyz check passed$/m);
    }
  });

  part("gets another VIP", async () => {
    await changeManifest(1);
    watch.lap("both addresses");
    await changeEndpoint([{ text: VIP, by: NEW_VIP, because: "the guide says so" }]);
    watch.lap("the cluster's endpoint is the new VIP");
    await changeManifest(3);
    await settled(machines, nodes);
    for (const node of nodes) {
      const shown = await node.type("kubectl --kubeconfig /etc/kubernetes/admin.conf cluster-info");
      assert.match(shown, /192\.0\.2\.20:6443/);
    }
    assert.deepEqual(await machines.holders(VIP), []);
    assert.equal((await machines.holders(NEW_VIP)).length, 1);
    watch.lap("the new address alone");
  });

  part("everything was typed that this test has to play", async () => {
    assert.deepEqual(untyped("existing-cluster", askedFor()), []);
  });
});
