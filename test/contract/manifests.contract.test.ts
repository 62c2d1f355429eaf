/** What `leasehold manifest` prints, as a real API server takes it: `kubectl apply --dry-run=server`. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { V1Pod } from "@kubernetes/client-node";
import { manifest } from "../../src/cli/manifest.ts";
import { silentLogger } from "../../src/log.ts";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { startLoopbackControlPlane } from "../support/control-plane/cluster.ts";
import type { ControlPlane } from "../support/control-plane/cluster.ts";
import { containerOf, environment } from "../support/manifests/kubelet.ts";

const found = await findBinaries();
const skip = found.kind === "found" ? false : `there is no real API server: ${found.reason}`;
let cluster: ControlPlane;
let directory: string;

/**
 * The Prometheus operator's two kinds, as far as the API server has to know them: it must know the names to
 * take an object.
 */
const operatorKinds = (["PodMonitor", "PrometheusRule"] as const).map((kind) => {
  const singular = kind.toLowerCase();
  const schema = {
    openAPIV3Schema: {
      type: "object",
      properties: { spec: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
    },
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${singular}s.monitoring.coreos.com` },
    spec: {
      group: "monitoring.coreos.com",
      scope: "Namespaced",
      names: { kind, singular, plural: `${singular}s` },
      versions: [{ name: "v1", served: true, storage: true, schema }],
    },
  };
});

before(async () => {
  if (found.kind !== "found") return;
  directory = await mkdtemp(join(tmpdir(), "leasehold-manifests-"));
  cluster = await startLoopbackControlPlane({ binaries: found.binaries, dir: directory, log: silentLogger });
  const kubectl =
    (...args: readonly string[]) =>
    (input: string): Promise<string> =>
      cluster.node("n1").kubectl(args, { input });
  await kubectl("apply", "-f", "-")(operatorKinds.map((each) => JSON.stringify(each)).join("\n---\n"));
  await kubectl(
    "wait",
    "--for=condition=Established",
    "--timeout=60s",
    "crd",
    ...operatorKinds.map(({ metadata }) => metadata.name),
  )("");
  await kubectl("create", "namespace", "edge")("");
  // The controller manager makes it, and this control plane has none.
  await kubectl("create", "serviceaccount", "-n", "kube-system", "default")("");
});

after(async () => {
  if (found.kind !== "found") return;
  await cluster[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

function printed(...words: readonly string[]): string {
  const answer = manifest(words, {});
  if (answer.kind === "error") assert.fail(answer.message);
  return answer.text;
}

/** The server's answer, with unknown fields refused. @throws what it refuses, in kubectl's words */
async function taken(yaml: string): Promise<unknown> {
  return JSON.parse(
    await cluster
      .node("n1")
      .kubectl(["apply", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-"], { input: yaml }),
  );
}

function isPod(value: unknown): value is V1Pod {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "Pod";
}

async function pod(...words: readonly string[]): Promise<V1Pod> {
  const answer = await taken(printed(...words));
  assert.ok(isPod(answer));
  return answer;
}

test(
  "a real API server takes every kind, by itself and with other settings",
  { skip, timeout: 120_000 },
  async () => {
    for (const words of [
      ["pod", "--vip", "192.0.2.10"],
      [
        "pod",
        "--vip",
        "192.0.2.10,2001:db8::10",
        "--kubeconfig",
        "/srv/k k/config",
        "--state-dir",
        "/run/a",
        "--data-dir",
        "/srv/a/b",
        "--track-file",
        '/srv/"t"#/weight',
        "--track-exec",
        "'/opt/my checks/run' {x}",
        "--machine-id-file",
        "/srv/id",
      ],
      [
        "pod",
        "--vip",
        "192.0.2.10",
        "--image",
        `registry.example:5000/a/b:1@sha256:${"0".repeat(64)}`,
        "--drain-timeout",
        "1m",
        "--health-port",
        "65535",
        "--ops-address",
        "[::]:1",
      ],
      [
        "pod",
        "--vip",
        "192.0.2.10",
        "--kubeconfig",
        "/etc/leasehold/a/config",
        "--admin-kubeconfig",
        "/etc/leasehold/b/config",
        "--node-name",
        "n1",
      ],
      ["pod", "--vip", "192.0.2.10", "--admin-kubeconfig", "none"],
      ["worker", "--vip", "192.0.2.10"],
      ["worker", "--api-servers", "192.0.2.1", "--kubeconfig", "/srv/k/config", "--algorithm", "local"],
      ["rbac"],
      ["rbac", "--lease-name", "123", "--lease-namespace", "edge"],
      ["worker-rbac"],
      ["monitoring"],
      ["monitoring", "--lease-name", "123", "--lease-namespace", "edge"],
    ])
      await assert.doesNotReject(taken(printed(...words)), words.join(" "));
  },
);

test("a real API server reads each value as it was written", { skip, timeout: 120_000 }, async () => {
  for (const command of [
    `/etc/leasehold/check "a b" # no comment`,
    "/etc/leasehold/check {a: b}, [c]: `d` & * ! | > % @",
    "/etc/leasehold/check $(LEASEHOLD_VIP) $$ $(date) $HOME $",
    "/etc/leasehold/chéck \u0085\u2028\u00a0\u{1f600}\u007f",
    "/etc/leasehold/check a\n  b: c\n---\nx: y\ttab",
    "yes",
    "~",
    "0x10",
  ]) {
    const made = await pod("pod", "--vip", "192.0.2.10", "--track-exec", command);
    assert.equal(environment(made, "n1")["LEASEHOLD_TRACK_EXEC"], command);
  }
  for (const image of ["true", "1", "1e3", "[::1]:5000/x:1"])
    assert.equal(containerOf(await pod("pod", "--vip", "192.0.2.10", "--image", image)).image, image);
});

/** RBAC is read from a cache that is a moment behind. */
async function answers(ask: () => Promise<string>, pattern: RegExp): Promise<void> {
  let answer = "";
  for (let turn = 0; turn < 100; turn++) {
    answer = await ask();
    if (pattern.test(answer)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.fail(answer);
}

test(
  "an agent may ask /readyz in a cluster that lets no ordinary user ask it",
  { skip, timeout: 120_000 },
  async () => {
    const node = cluster.node("n1");
    const ask = (path: string, ...as: readonly string[]): Promise<string> =>
      node.kubectl(["get", "--raw", path, ...as]).catch((error: unknown) => String(error));
    const agent = ["--as=leasehold", "--as-group=leasehold:agents", "--as-group=system:authenticated"];
    const worker = ["--as=system:node:w1", "--as-group=system:nodes", "--as-group=system:authenticated"];
    // The first two let every user that has signed in read /readyz. The control plane comes with the third.
    await node.kubectl([
      "delete",
      "clusterrolebinding",
      "system:public-info-viewer",
      "system:discovery",
      "leasehold-health",
    ]);
    for (const user of [agent, worker]) await answers(() => ask("/readyz", ...user), /forbidden/i);
    await node.kubectl(["apply", "-f", "-"], { input: printed("rbac") });
    await node.kubectl(["apply", "-f", "-"], { input: printed("worker-rbac") });
    for (const user of [agent, worker]) {
      await answers(() => ask("/readyz", ...user), /^ok$/);
      assert.match(await ask("/metrics", ...user), /forbidden/i);
    }
    // Another path of the health check is a flag, and RBAC follows it.
    await node.kubectl(["apply", "-f", "-"], {
      input: printed("rbac", "--check-path", "/livez?exclude=etcd"),
    });
    await answers(() => ask("/livez?exclude=etcd", ...agent), /^ok$/);
  },
);

test(
  "the agents' user may create their Lease and no other, and everybody else is as free as before",
  { skip, timeout: 120_000 },
  async () => {
    const node = cluster.node("n1");
    await node.kubectl(["apply", "-f", "-"], {
      input: printed("rbac", "--lease-name", "vip", "--lease-namespace", "edge"),
    });
    const lease = (metadata: object, namespace = "edge"): string =>
      JSON.stringify({
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { namespace, ...metadata },
        spec: { holderIdentity: "thief" },
      });
    const create = (what: string, ...as: readonly string[]): Promise<string> =>
      node
        // An ordinary user may not read the schema here, see the test above.
        .kubectl(["create", "--validate=false", "--dry-run=server", "-f", "-", ...as], { input: what })
        .catch((error: unknown) => String(error));
    const group = ["--as-group=leasehold:agents", "--as-group=system:authenticated"];
    const agent = ["--as=leasehold", ...group];
    const denied =
      /forbidden: ValidatingAdmissionPolicy 'leasehold'.*may create the Lease edge\/vip and no other/s;
    await answers(() => create(lease({ name: "other" }), ...agent), denied);
    await answers(() => create(lease({ generateName: "vip" }), ...agent), denied);
    // The Lease is there already, so the policy has let it through.
    assert.match(await create(lease({ name: "vip" }), ...agent), /AlreadyExists/);
    await node.kubectl(["delete", "lease", "-n", "edge", "vip"]);
    assert.match(await create(lease({ name: "vip" }), ...agent), /vip created/);
    // RBAC speaks first: another namespace is not theirs.
    assert.match(await create(lease({ name: "vip" }, "default"), ...agent), /forbidden: User "leasehold"/);
    // Another user of the group, whom somebody has given the right.
    await node.kubectl([
      "create",
      "rolebinding",
      "-n",
      "edge",
      "second",
      "--role=leasehold",
      "--user=leasehold-2",
    ]);
    await answers(() => create(lease({ name: "other" }), "--as=leasehold-2", ...group), denied);
    assert.match(await create(lease({ name: "other" })), /other created/);
  },
);
