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
import { run } from "../support/lab/command.ts";
import { describeAttempts, longestGap, longestPauseMs } from "../support/lab/probe.ts";

const UPGRADE = "docs/guides/upgrade.md";
const REPLACE = "docs/guides/replace-a-node.md";
const QUORUM = "docs/guides/quorum-lost.md";
const SYSTEMD = "docs/guides/systemd.md";
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

/** The commands of a unit, as systemd calls them: its own escapes are a shell's here. */
function unitOf(text: string): { before: readonly string[]; start: string; after: readonly string[] } {
  const lines = text.replaceAll(/\\\n\s*/g, "").split("\n");
  const of = (name: string): readonly string[] =>
    lines.filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
  const [start = "", ...more] = of("ExecStart");
  assert.deepEqual([start !== "", more], [true, []]);
  return { before: of("ExecStartPre"), start, after: of("ExecStopPost") };
}

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

/** The guide's name for the node that is replaced, by this one's in what is typed. */
const instead = (lead: string, name: string): readonly Replacement[] =>
  name === "n3" ? [] : [{ text: `${lead}n3`, by: `${lead}${name}`, because: "another node is replaced" }];

async function deleteNode(stays: Machine, name: string): Promise<void> {
  const { text } = blockOf(REPLACE, { heading: OUT, has: "delete node" });
  await stays.type(replaced(text, instead("node ", name)));
}

/** Takes out a node that still runs. */
async function takeOut(stays: Machine, old: Machine): Promise<void> {
  await uninstall(machines, old);
  await old.type(blockOf(REPLACE, { heading: OUT, has: "kubeadm reset" }).text, {
    timeoutMs: KUBEADM_LIMIT_MS,
  });
  await deleteNode(stays, old.name);
}

/** Takes out a node that is gone for good: it can run nothing. */
async function takeOutTheDead(stays: Machine, old: Machine): Promise<void> {
  await old.powerLoss();
  const { text } = blockOf(REPLACE, { heading: OUT, has: "member remove" });
  const printed = await stays.type(replaced(text, instead('"', old.name)), { timeoutMs: PATIENCE_MS });
  assert.match(printed, /^Member +\w+ removed from cluster/m);
  await deleteNode(stays, old.name);
  const forget = replaced(blockOf("README.md", { heading: "Uninstall", has: "leasehold forget" }).text, [
    { text: "forget n4", by: `forget ${old.name}`, because: "another node is gone" },
  ]);
  // The API servers name one that has died for up to a minute more, and the command says so.
  await machines.lab.until(
    async () => {
      const { code, stderr } = await stays.try(forget, { timeoutMs: PATIENCE_MS });
      assert.ok(code === 0 || stderr.includes(`still names the API server of ${old.name}`), stderr);
      return code === 0;
    },
    PATIENCE_MS,
    `${old.name} is forgotten`,
  );
}

/** Brings `node` in, as the guide says, from a node that stays. */
async function bringIn(stays: Machine, node: Machine): Promise<void> {
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
  nodes = [...nodes, node];
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
    const n1 = machines.machine("n1");
    await takeOut(n1, n3);
    nodes = nodes.filter((each) => each !== n3);
    watch.lap("n3 has left");
    await bringIn(n1, await machines.renew(n3));
  });

  part("a node that is gone for good is replaced by a machine with another name and address", async () => {
    const [n1, n2] = [machines.machine("n1"), machines.machine("n2")];
    await takeOutTheDead(n1, n2);
    nodes = nodes.filter((each) => each !== n2);
    watch.lap("n2 has left");
    await bringIn(n1, await machines.add("n4", 4));
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

  part("a unit of systemd runs the agent on a machine whose kubelet runs no static pods", async () => {
    const machine = await machines.add("n6", 6);
    await run(["cp", machines.prepared.leasehold, machine.disk("/root/leasehold.tar")]);
    await machine.type(blockOf(SYSTEMD, { step: 1 }).text, { timeoutMs: PATIENCE_MS });
    const [print = "", start = "", ...more] = commandsOf(blockOf(SYSTEMD, { step: 2 }).text);
    assert.deepEqual(more, []);
    await machine.type(`mkdir -p /etc/systemd/system && ${print}`);
    assert.match(start, /^systemctl daemon-reload && systemctl enable --now leasehold$/);
    const unit = unitOf(await machine.type("cat /etc/systemd/system/leasehold.service"));
    for (const command of unit.before) await machine.try(command.replace(/^-/, ""));
    await machine.type(`${unit.start} >/root/agent.log 2>&1 </dev/null & echo $! >/root/agent.pid`);
    const [journal = "", ready = "", look = "", ...others] = commandsOf(blockOf(SYSTEMD, { step: 3 }).text);
    assert.match(journal, /^journalctl /);
    assert.deepEqual(others, []);
    // It has no kubeconfig: the machine belongs to no cluster.
    await machines.lab.until(
      async () => (await machine.try(ready)).stdout.includes("readyz check failed"),
      PATIENCE_MS,
      "the unit's agent answers",
    );
    assert.match((await machine.try(look)).stdout, /^n6\* /m);
    // As systemd stops it: SIGTERM to ctr, and then what is to be done after the end.
    await machine.type("kill $(cat /root/agent.pid)");
    await machines.lab.until(
      async () => (await machine.type("ctr -n leasehold tasks list --quiet")).trim() === "",
      PATIENCE_MS,
      "the unit's agent has ended",
    );
    for (const command of unit.after) await machine.try(command.replace(/^-/, ""));
    assert.match(machine.read("agent.log"), /"msg":"Stopping"/);
    const [disable = "", clean = "", ...rest] = commandsOf(
      blockOf(SYSTEMD, { has: "leasehold cleanup" }).text,
    );
    assert.match(disable, /^systemctl disable --now leasehold && rm /);
    assert.deepEqual(rest, []);
    // There is no Lease that it could leave, and no rule of it is left that could wait for one.
    const { code, stderr } = await machine.try(clean);
    assert.deepEqual([code, /kubeconfig/.test(stderr)], [1, true], stderr);
    await machine.powerLoss();
    watch.lap("a unit of systemd");
  });

  part("a cluster whose etcd has lost its quorum for good goes on with what is left", async () => {
    const [stays, ...lost] = nodes;
    assert.ok(stays !== undefined);
    const kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
    await stays.type(`${kubectl} -n default create configmap written-before-the-loss`);
    await Promise.all(lost.map((node) => node.powerLoss()));
    await machines.lab.until(
      async () => (await machines.holders()).join() === stays.name,
      PATIENCE_MS,
      "the node that is left has the VIP",
    );
    watch.lap("two of three nodes are gone, and the third has the VIP");
    await stays.type(blockOf(QUORUM, { step: 1 }).text);
    const health = blockOf(QUORUM, { step: 2 }).text;
    await machines.lab.until(
      async () => {
        const { code, stdout } = await stays.try(health);
        return (
          code === 0 &&
          stdout
            .trim()
            .split("\n")
            .filter((line) => line.includes("started")).length === 1
        );
      },
      PATIENCE_MS,
      "etcd has one member",
    );
    const container = await stays.container("etcd");
    await stays.type(blockOf(QUORUM, { step: 3, has: "sed" }).text);
    const [look = "", ready = "", lease = "", ...more] = commandsOf(
      blockOf(QUORUM, { step: 3, has: "get lease" }).text,
    );
    assert.deepEqual(more, []);
    // Until the kubelet has stopped it, the former etcd answers, and the API server says that it is ready.
    await machines.lab.until(
      async () => {
        const shown = await stays.type(look);
        return shown.includes("Running") && !shown.includes(container?.slice(0, 13) ?? "none");
      },
      PATIENCE_MS,
      "etcd runs without the option",
    );
    await machines.lab.until(
      async () => (await stays.try(ready)).stdout.trim() === "ok",
      PATIENCE_MS,
      "the API server is ready",
    );
    nodes = [stays];
    await machines.lab.until(() => stays.isReady(), PATIENCE_MS, `${stays.name} is ready`);
    assert.match(await stays.type(lease), new RegExp(`^leasehold +${stays.name} `, "m"));
    await stays.type(`${kubectl} -n default get configmap written-before-the-loss`);
    watch.lap("etcd is a cluster of one");
    for (const { name } of lost) await stays.type(`${kubectl} delete node ${name}`);
    await bringIn(stays, await machines.add("n7", 7));
    assert.doesNotMatch(await stays.type("cat /etc/kubernetes/manifests/etcd.yaml"), /force-new-cluster/);
    watch.lap("and has its second member again");
  });

  part("everything was typed that this test has to play", async () => {
    assert.deepEqual(untyped("guides", askedFor()), []);
  });
});
