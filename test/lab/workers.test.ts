/**
 * A worker by the README's recipe: manifests/worker.yaml and manifests/worker-rbac.yaml, and nothing but what
 * `kubeadm join` leaves on a worker.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadYaml } from "@kubernetes/client-node";
import type { V1Pod } from "@kubernetes/client-node";
import type { AgentStatus } from "../../src/ops/status.ts";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { output } from "../support/control-plane/process.ts";
import { Fetcher } from "../support/lab/fetcher.ts";
import type { Host } from "../support/lab/host.ts";
import { createCluster, startAgent } from "./cluster.ts";
import type { Cluster } from "./cluster.ts";
import { startFastPath } from "./fast-path-cluster.ts";
import { allServed } from "./watchers.ts";

const manifest = (name: string): string => fileURLToPath(new URL(`../../manifests/${name}`, import.meta.url));
const KUBELET_CONF = "/etc/kubernetes/kubelet.conf";

let cluster: Cluster;

before(async () => {
  cluster = await createCluster();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => cluster.reset());

/** The manifest's settings, where this worker's /etc/kubernetes is a folder of its own. */
function recipe(worker: Host): Record<string, string> {
  const pod = loadYaml<V1Pod>(readFileSync(manifest("worker.yaml"), "utf8"));
  const env = Object.fromEntries(
    (pod.spec?.containers[0]?.env ?? []).map(({ name, value }) => [name, value ?? worker.name]),
  );
  assert.equal(env["LEASEHOLD_KUBECONFIG"], KUBELET_CONF);
  return { ...env, LEASEHOLD_VIP: cluster.vip, LEASEHOLD_KUBECONFIG: join(worker.directory, KUBELET_CONF) };
}

/**
 * What the kubelet has after `kubeadm join`: a kubeconfig that names the VIP, and one file for certificate
 * and key behind a link.
 */
async function joinKubelet(worker: Host): Promise<{ rotate(): Promise<void> }> {
  const found = await findBinaries();
  assert.ok(found.kind === "found");
  const [node] = cluster.plane.nodes;
  assert.ok(node !== undefined);
  const pki = join(worker.directory, "var/lib/kubelet/pki");
  for (const folder of [pki, join(worker.directory, "etc/kubernetes")])
    mkdirSync(folder, { recursive: true });
  const config = join(node.etcKubernetes, "..", "kubeadm.yaml");
  const user = (): Promise<string> =>
    output([
      found.binaries.kubeadm,
      "kubeconfig",
      "user",
      "--config",
      config,
      "--client-name",
      `system:node:${worker.name}`,
      "--org",
      "system:nodes",
    ]);
  const embedded = (text: string, member: string): string =>
    Buffer.from(new RegExp(`${member}-data: (\\S+)`).exec(text)?.[1] ?? "", "base64").toString();
  const link = join(pki, "kubelet-client-current.pem");
  let made = 0;
  async function rotate(): Promise<void> {
    const text = await user();
    const file = join(pki, `kubelet-client-${++made}.pem`);
    writeFileSync(file, embedded(text, "client-certificate") + embedded(text, "client-key"), { mode: 0o600 });
    symlinkSync(file, `${link}.new`);
    renameSync(`${link}.new`, link);
  }
  await rotate();
  const text = (await user())
    .replace(/client-certificate-data: .*/, `client-certificate: ${link}`)
    .replace(/client-key-data: .*/, `client-key: ${link}`);
  writeFileSync(join(worker.directory, KUBELET_CONF), text, { mode: 0o600 });
  return { rotate };
}

test(
  "a worker says what it lacks until it has it, finds the API servers by way of the VIP, and then does not need the VIP",
  { timeout: 240_000 },
  async () => {
    await startFastPath(cluster);
    const worker = await cluster.lab.node("w1");
    const agent = await startAgent(worker, recipe(worker));
    await using fetcher = new Fetcher(worker);
    const readyz = async (): Promise<string> =>
      (await fetcher.get("http://127.0.0.1:10081/readyz?verbose")).body;
    const says = (pattern: RegExp): Promise<unknown> =>
      cluster.lab.until(
        async () => pattern.test(await readyz()) || Promise.reject(new Error(await readyz())),
        20_000,
        `/readyz says ${String(pattern)}`,
      );
    const warnings = (pattern: RegExp): number =>
      agent
        .log()
        .split("\n")
        .filter((line) => line.includes("No API server to send connections to") && pattern.test(line)).length;

    const missing = new RegExp(
      `no API server is known: there are no credentials: \\S*${KUBELET_CONF}: no such file`,
    );
    await says(missing);
    await cluster.lab.until(() => warnings(missing) >= 1, 60_000, "the log says what is missing");

    const kubelet = await joinKubelet(worker);
    const forbidden = new RegExp(
      `${cluster.vip}:6443 answered 403 .*endpointslices.* apply manifests/worker-rbac.yaml`,
    );
    await says(forbidden);
    assert.match((await fetcher.get("http://127.0.0.1:10081/status")).body, forbidden);

    await cluster.kubectl(["apply", "-f", manifest("worker-rbac.yaml")]);
    await says(/backends ok/);
    await cluster.lab.until(
      () => agent.log().includes("An API server takes connections again"),
      15_000,
      "the log says that it is over",
    );
    await cluster.lab.until(
      async () => (await worker.run(["nft", "list", "tables"])).includes("ip leasehold"),
      15_000,
      "the worker has rules",
    );
    await allServed(cluster, worker);

    // It reads in the Lease which servers are drained.
    const [out] = cluster.nodes;
    assert.ok(out !== undefined);
    const drained = `${out.host.ipv4}:6443`;
    const annotate = (change: string): Promise<string> =>
      cluster.kubectl(["annotate", "lease", "-n", "kube-system", "leasehold", change]);
    const serves = (expected: boolean): Promise<unknown> =>
      cluster.lab.until(
        async () => {
          const status: AgentStatus = JSON.parse((await fetcher.get("http://127.0.0.1:10081/status")).body);
          const targets = status.fastPath?.own.map(({ backend }) => backend) ?? [];
          const backend = status.balancer.backends.find(({ id }) => id === drained);
          return backend?.serving === expected && targets.includes(drained) === expected;
        },
        20_000,
        `the worker ${expected ? "sends" : "does not send"} new connections to ${drained}`,
      );
    await annotate(`leasehold.dev/drain.${out.host.ipv4}-6443=${drained}`);
    await serves(false);
    await annotate(`leasehold.dev/drain.${out.host.ipv4}-6443-`);
    await serves(true);

    // The kubelet renews its certificate: the agent takes the new one, without a word of complaint.
    const read = (): number =>
      agent
        .log()
        .split("\n")
        .filter((line) => line.includes('"msg":"The agent read the kubeconfig"')).length;
    const before = read();
    await kubelet.rotate();
    await cluster.lab.until(() => read() > before, 10_000, "the new certificate is read");
    assert.doesNotMatch(agent.log(), /The kubeconfig cannot be used/);
    await says(/backends ok/);

    await Promise.all(cluster.nodes.map((node) => node.endAgent("SIGKILL")));
    await cluster.lab.until(async () => (await cluster.bound()).length === 0, 10_000, "nobody has the VIP");
    await allServed(cluster, worker);
    // A start without a holder: what the last one knew is on disk.
    assert.equal((await agent.terminate()).code, 0);
    await startAgent(worker, recipe(worker));
    await says(/backends ok/);
    await allServed(cluster, worker);
    await cluster.kubectl(["delete", "-f", manifest("worker-rbac.yaml")]);
  },
);
