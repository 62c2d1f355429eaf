/** What the README tells people to type, typed. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { findBinaries } from "../support/control-plane/binaries.ts";
import type { Binaries } from "../support/control-plane/binaries.ts";
import { output } from "../support/control-plane/process.ts";
import { blockOf } from "../support/guide/guide.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";

let cluster: Cluster;
let binaries: Binaries;

before(async () => {
  const found = await findBinaries();
  assert.ok(found.kind === "found");
  binaries = found.binaries;
  cluster = await createCluster();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => cluster.reset());

/** The commands of step 5, as they are printed. */
const STEP_5 = blockOf("README.md", { heading: "Quick start: three kubeadm nodes", step: 5 }).text;

/**
 * Types it on that node, whose /etc/kubernetes is a folder of its own, with `kubeadm.yaml` in the current
 * one.
 */
function type(node: ClusterNode, commands: string): Promise<string> {
  const here = join(node.host.directory, "root");
  mkdirSync(here, { recursive: true });
  const joining = {
    apiVersion: "kubeadm.k8s.io/v1beta4",
    kind: "JoinConfiguration",
    discovery: {
      bootstrapToken: {
        token: "abcdef.0123456789abcdef",
        apiServerEndpoint: `${cluster.vip}:6443`,
        unsafeSkipCAVerification: true,
      },
    },
  };
  writeFileSync(join(here, "kubeadm.yaml"), JSON.stringify(joining));
  const text = commands.replaceAll("/etc/kubernetes", node.plane.etcKubernetes);
  return node.host.run([
    "env",
    `PATH=${dirname(binaries.kubeadm)}:${dirname(binaries.kubectl)}:${process.env["PATH"] ?? ""}`,
    "bash",
    "-c",
    `cd ${here}\n${text}`,
  ]);
}

test(
  "step 5 gives the agent of every control-plane node its own user, again and again, and leaves nothing half done when it fails",
  { timeout: 240_000 },
  async () => {
    const [first] = cluster.nodes;
    assert.ok(first !== undefined);
    const config = join(first.plane.etcKubernetes, "..", "kubeadm.yaml");
    // What `kubeadm init` does, and this cluster has not had.
    await first.host.run([
      binaries.kubeadm,
      "init",
      "phase",
      "upload-config",
      "kubeadm",
      "--config",
      config,
      "--kubeconfig",
      first.plane.kubeconfigs.superAdmin,
    ]);
    const path = (node: ClusterNode): string => join(node.plane.etcKubernetes, "leasehold", "kubeconfig");
    const settings = (node: ClusterNode) => ({
      LEASEHOLD_KUBECONFIG: path(node),
      LEASEHOLD_ADMIN_KUBECONFIG: join(node.plane.etcKubernetes, "admin.conf"),
    });
    for (const node of cluster.nodes) {
      rmSync(path(node), { force: true });
      // As the commands of an earlier version left it on the second and third node.
      if (node !== first) writeFileSync(path(node), "");
    }
    await cluster.startAgents(Object.fromEntries(cluster.nodes.map((node) => [node.name, settings(node)])));
    for (const node of cluster.nodes) {
      const reason = node === first ? "ours is missing" : "is empty: ";
      await cluster.lab.until(
        () =>
          (node.agent?.log() ?? "")
            .split("\n")
            .some((line) => line.includes("The agent uses admin.conf") && line.includes(reason)),
        10_000,
        `${node.name} uses admin.conf and says why`,
      );
      await type(node, STEP_5);
      await cluster.lab.until(
        async () => (await node.status()).credentials.source === path(node),
        10_000,
        `${node.name} uses its own user`,
      );
      assert.equal(statSync(path(node)).mode & 0o777, 0o600);
      // kubeadm's own CA lives for ten years less than a minute longer than a certificate that it issues
      // today.
      const { expiresAt, warning } = (await node.status()).credentials;
      const years = (Date.parse(expiresAt ?? "") - Date.now()) / (365 * 86_400_000);
      assert.ok(years > 9.9 && years <= 10, `it ends in ${years} years`);
      assert.equal(warning, null);
      const made = readFileSync(path(node), "utf8");
      assert.match(
        await output([
          binaries.kubectl,
          "--kubeconfig",
          path(node),
          "config",
          "view",
          "-o",
          "jsonpath={.users[0].name}",
        ]),
        /^leasehold$/,
      );
      await type(node, STEP_5);
      assert.notEqual(readFileSync(path(node), "utf8"), made);
    }
    await cluster.settled();

    // A step that fails leaves the kubeconfig that was there.
    const before = readFileSync(path(first), "utf8");
    await assert.rejects(type(first, STEP_5.replace("kubeadm-config", "kubeadm-confiig")), /kubeadm-confiig/);
    await assert.rejects(type(first, STEP_5.replace("--client-name leasehold", "")), /client-name/);
    assert.equal(readFileSync(path(first), "utf8"), before);
  },
);
