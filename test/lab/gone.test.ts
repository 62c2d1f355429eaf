/** A node that is gone for good, and that nobody has taken out of the Lease or off the disks. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { formatCandidate } from "../../src/kube/record-codec.ts";
import type { Candidate } from "../../src/kube/record.ts";
import { BUNDLE } from "./cluster.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

const LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold";
/** An address of the lab's network that no machine has. */
const GONE_IP = "10.77.0.99";
const GONE: Candidate = {
  node: "n9",
  base: 100,
  effective: 100,
  eligible: true,
  state: "BACKUP",
  faults: [],
  preempt: false,
  ip: GONE_IP,
  mac: "02:00:00:00:00:99",
  fastPath: { version: 2, addresses: [GONE_IP] },
  instance: "gone",
  vips: null,
  version: "0.1.0",
  counter: 7,
};

let cluster: EmbeddedCluster;

before(async () => {
  cluster = await createEmbeddedCluster();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  await Promise.all(cluster.nodes.map((node) => node.endAgent()));
});

/** What n9 wrote while it lived. */
function leaveBehind(): void {
  const annotations = { "leasehold.dev/candidate.n9": formatCandidate(GONE) };
  const { status } = cluster.api.store.handle({
    method: "PATCH",
    path: LEASE,
    contentType: "application/merge-patch+json",
    body: JSON.stringify({ metadata: { annotations } }),
  });
  assert.equal(status, 200);
}

function file(node: EmbeddedNode, name: string): string {
  return join(node.host.directory, "lib", name);
}

const waitFor = (what: string, condition: () => Promise<boolean>): Promise<unknown> =>
  cluster.lab.until(condition, 20_000, what);

test("an agent that starts does not send packets to it, asks it no more, and `leasehold forget` ends its name", async () => {
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  const holder = await cluster.holder(20_000);
  const [node] = cluster.nodes.filter((each) => each !== holder);
  assert.ok(node !== undefined);
  const members = async (): Promise<readonly string[]> =>
    ((await node.status()).fastPath?.nodes ?? []).map((member) => member.node).toSorted();
  await waitFor("the fast path", async () => (await members()).join() === "n1,n2,n3");
  await node.endAgent();
  leaveBehind();
  mkdirSync(join(node.host.directory, "lib"), { recursive: true });
  const servers = { version: 1, backends: [{ host: "10.77.0.98", port: 6443 }] };
  writeFileSync(file(node, "api-servers.json"), JSON.stringify(servers));

  await node.startAgent();
  await waitFor("the Lease, read", async () => {
    const { election } = await node.status();
    return election?.candidates.some((candidate) => candidate.node === "n9") === true;
  });
  await waitFor("the rules", async () => (await members()).length > 0);
  assert.deepEqual(await members(), ["n1", "n2", "n3"], "n9 has not written since the agent started");
  await waitFor("the cluster's own list", async () => {
    const { apiServers } = await node.status();
    return !apiServers.some((server) => server.startsWith("10.77.0.98"));
  });
  assert.ok((await node.status()).apiServers.some((server) => server.startsWith(GONE_IP)));

  const forget = (name: string): Promise<string> =>
    node.host.run(
      [
        "env",
        `LEASEHOLD_KUBECONFIG=${cluster.api.kubeconfigs.get(node.name)?.agent ?? ""}`,
        "LEASEHOLD_ADMIN_KUBECONFIG=/none",
        `LEASEHOLD_API_SERVERS=${node.host.ipv4}`,
        process.execPath,
        BUNDLE,
        "forget",
        name,
      ],
      { timeoutMs: 60_000 },
    );
  await assert.rejects(forget(holder.name), /holds the Lease/);
  await assert.rejects(forget(node.name), /the cluster still names the API server of/);
  assert.match(await forget("n9"), /n9 was taken out of the Lease.* It names n1, n2, n3 now/);
  await waitFor("every agent", async () => {
    const all = await Promise.all(cluster.nodes.map((each) => each.status()));
    return all.every(
      ({ election, apiServers }) =>
        election?.candidates.length === 3 && !apiServers.some((server) => server.startsWith(GONE_IP)),
    );
  });
  await waitFor("the disk", async () =>
    Promise.resolve(!readFileSync(file(node, "fast-path-peers.json"), "utf8").includes("n9")),
  );
  // It was no more than lost: its agent runs again.
  leaveBehind();
  await waitFor("its return", async () => (await node.status()).election?.candidates.length === 4);
});
