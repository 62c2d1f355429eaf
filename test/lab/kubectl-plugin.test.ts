/**
 * `kubectl leasehold` on a workstation, with the real kubectl and real API servers: what it asks of them, and where it asks
 * while the VIP is dead. The lab has no kubelet, so nothing can be run in a pod here.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { manifest } from "../../src/cli/manifest.ts";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { attempt } from "../support/lab/command.ts";
import type { CommandResult } from "../support/lab/command.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";

let cluster: Cluster;
let kubectl: string;
let plugin: string;

before(async () => {
  cluster = await createCluster();
  const found = await findBinaries();
  assert.ok(found.kind === "found");
  ({ kubectl } = found.binaries);
  const printed = manifest(["kubectl-plugin"], {});
  assert.ok(printed.kind === "ok");
  plugin = join(cluster.client.directory, "kubectl-leasehold");
  writeFileSync(plugin, printed.text);
});
after(async () => cluster[Symbol.asyncDispose]());

const cache = (): string => join(cluster.client.directory, "cache");

/** Runs the plugin on the client, whose kubeconfig names the VIP. */
function run(...words: readonly string[]): Promise<CommandResult> {
  const [first] = cluster.plane.nodes;
  assert.ok(first !== undefined);
  const kubeconfig = join(cluster.client.directory, "kubeconfig");
  const text = readFileSync(first.kubeconfigs.superAdmin, "utf8");
  writeFileSync(kubeconfig, text.replace(/server: .*/, `server: https://${cluster.vip}:6443`));
  return attempt(cluster.client.inside(["sh", plugin, ...words]), {
    timeoutMs: 90_000,
    env: {
      KUBECONFIG: kubeconfig,
      KUBECTL: kubectl,
      XDG_CACHE_HOME: cache(),
      HOME: cluster.client.directory,
      PATH: [dirname(kubectl), "/usr/bin", "/bin"].join(":"),
    },
  });
}

test("it remembers the API servers, asks them while the VIP is dead, and says what to type", async () => {
  const servers = cluster.nodes.map(({ host }) => `https://${host.ipv4}:6443`);
  const unknown = await run("status");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /none is remembered in .*Type one of these/);

  await cluster.startAgents();
  const alive = await run("status");
  assert.match(alive.stderr, /no agent's pod runs in kube-system/, alive.stderr);
  const [file = "", ...more] = readdirSync(join(cache(), "leasehold"));
  assert.deepEqual(more, []);
  const remembered = readFileSync(join(cache(), "leasehold", file), "utf8")
    .trim()
    .split("\n");
  assert.deepEqual(remembered.toSorted(), servers.toSorted());

  await Promise.all(cluster.nodes.map((node) => node.endAgent()));
  await cluster.lab.until(async () => (await cluster.bound()).length === 0, 15_000, "no node has the VIP");
  // The rules outlive the agents, so a client that still knows the last holder's MAC address is served.
  await cluster.client.run(["ip", "neighbour", "flush", "all"]);
  const dead = await run("status");
  assert.match(
    dead.stderr,
    new RegExp(`${cluster.vip}:6443 does not answer, asking (?:${remembered.join("|")})`),
    dead.stderr,
  );
  assert.match(dead.stderr, /no agent's pod runs/);
  assert.match((await run("--server", servers[1] ?? "", "status")).stderr, /no agent's pod runs/);

  // A pod that the API takes for running, and that no kubelet has.
  const account = {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default", namespace: "kube-system" },
  };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "leasehold-n1",
      namespace: "kube-system",
      labels: { "app.kubernetes.io/name": "leasehold", "app.kubernetes.io/component": "vip-agent" },
    },
    spec: { nodeName: "n1", containers: [{ name: "leasehold", image: "leasehold" }] },
  };
  await cluster.kubectl(["apply", "-f", "-"], JSON.stringify(account));
  await cluster.kubectl(["apply", "-f", "-"], JSON.stringify(pod));
  await cluster.kubectl([
    "patch",
    "pod",
    "-n",
    "kube-system",
    "leasehold-n1",
    "--subresource=status",
    "-p",
    '{"status":{"phase":"Running"}}',
  ]);
  const lost = await run("status");
  assert.equal(lost.code, 1);
  assert.match(lost.stderr, /no command could be run in any pod of an agent:\n.*leasehold-n1/);
  assert.match(
    (await run("--node", "n2", "status")).stderr,
    /no agent's pod runs on n2.*\n.*leasehold-n1 n1 Running/,
  );
});
