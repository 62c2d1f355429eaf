/**
 * `leasehold status`, `why`, `move` and `resign` on a node, next to real agents, with and without what they
 * ask.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ClusterView } from "../../src/cli/cluster-view.ts";
import type { Diagnosis } from "../../src/cli/diagnose.ts";
import type { WhyAnswer } from "../../src/cli/why.ts";
import { BUNDLE } from "./cluster.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

/** An address of the nodes' network that no machine has. */
const FREE = "10.77.0.177";

let cluster: EmbeddedCluster;
let holder: EmbeddedNode;

before(async () => {
  cluster = await createEmbeddedCluster();
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  holder = await cluster.holder(30_000);
});
after(async () => cluster[Symbol.asyncDispose]());

/** Runs a command as the pod's container would, and returns its output with its exit status at the end. */
async function leasehold(
  node: EmbeddedNode,
  ...rest: readonly (string | Readonly<Record<string, string>>)[]
): Promise<{ readonly status: number; readonly out: string }> {
  const words = rest.filter((word) => typeof word === "string");
  const more = rest.filter((word) => typeof word !== "string");
  // Of two values of one variable env takes the last one.
  const env = [node.commandEnvironment(), ...more].flatMap((variables) =>
    Object.entries(variables).map(([name, value]) => `${name}=${value}`),
  );
  const out = await node.host.run([
    "env",
    ...env,
    "sh",
    "-c",
    '"$@" 2>&1; echo "exit $?"',
    "sh",
    process.execPath,
    BUNDLE,
    ...words,
  ]);
  const [, text = "", status = ""] = /^(.*)exit (\d+)\n?$/s.exec(out) ?? [];
  return { status: Number(status), out: text };
}

async function view(node: EmbeddedNode): Promise<ClusterView> {
  return JSON.parse((await leasehold(node, "status", "-o", "json")).out);
}

const another = (): EmbeddedNode => cluster.nodes.find((node) => node !== holder) ?? holder;

describe("on a healthy cluster", () => {
  test("status says which kernel has the VIP, and exits with 0", async () => {
    const { status, out } = await leasehold(holder, "status");
    assert.equal(status, 0, out);
    assert.match(out, new RegExp(`^VIP: +${cluster.lab.vip4} bound on \\w+ of ${holder.name}`));
    assert.match(out, new RegExp(`^${holder.name}\\* +MASTER +100/100 +yes +bound`, "m"));
    const other = await view(another());
    assert.deepEqual(
      [other.lease.holder, other.lease.from, other.vips[0]?.boundHere, other.notAsked],
      [holder.name, "api", false, []],
    );
    assert.equal(other.nodes.length, 3);
  });

  test("why says that the holder holds, and why another node does not", async () => {
    const { status, out } = await leasehold(another(), "why");
    assert.equal(status, 0, out);
    assert.match(out, new RegExp(`does not hold the VIP, because ${holder.name} holds the Lease`));
    const answer: WhyAnswer = JSON.parse((await leasehold(holder, "why", "-o", "json")).out);
    assert.ok(answer.decisions.some(({ to }) => to === "MASTER"));
  });

  test("move --wait and resign move it, with agents that obey", async () => {
    const target = another();
    const moved = await leasehold(holder, "move", "--to", target.name, "--wait");
    assert.equal(moved.status, 0, moved.out);
    assert.match(moved.out, new RegExp(`${target.name} holds the VIP after`));
    assert.equal((await cluster.holder(5_000)).name, target.name);
    assert.equal((await view(holder)).lease.moveTo, target.name);
    assert.equal((await leasehold(holder, "unpin")).status, 0);
    const resigned = await leasehold(target, "resign");
    assert.equal(resigned.status, 0, resigned.out);
    holder = await cluster.holder(5_000);
    assert.notEqual(holder.name, target.name);
    assert.equal((await view(holder)).lease.moveTo, null);
  });
});

describe("with a part that does not answer", () => {
  test("without the agent, status shows the Lease and this kernel, and what to type", async () => {
    const node = another();
    await node.endAgent();
    const { out } = await leasehold(node, "status");
    assert.match(out, new RegExp(`held by ${holder.name}`));
    assert.match(out, new RegExp(`not bound on ${node.name}`));
    assert.match(out, /the agent at http:\/\/127\.0\.0\.1:10081\/status: .*ECONNREFUSED.*\n +crictl ps/);
    await node.startAgent();
    await cluster.lab.until(
      async () => (await node.status()).election?.state === "BACKUP",
      20_000,
      "it is back",
    );
  });

  test("without the API, status shows what the agent knows, and no wish is stored", async () => {
    for (const server of cluster.api.servers) server.stop();
    try {
      const seen = await view(holder);
      assert.equal(seen.lease.from, "agent");
      assert.equal(seen.nodes.length, 3);
      assert.equal(seen.vips[0]?.boundHere !== null, true);
      assert.ok(seen.notAsked.some(({ where }) => where.startsWith("the API (")));
      const moved = await leasehold(holder, "move", "--to", another().name);
      assert.equal(moved.status, 1);
      assert.match(moved.out, /Nothing was changed/);
    } finally {
      for (const server of cluster.api.servers) server.continue();
    }
  });
});

describe("doctor", () => {
  test("finds a healthy node well, with the holder on the wire", async () => {
    // The holder may have let the VIP go while no API server answered.
    holder = await cluster.holder(30_000);
    const { status, out } = await leasehold(another(), "doctor", "-o", "json");
    const { checks }: { readonly checks: readonly Diagnosis[] } = JSON.parse(out);
    const verdicts = new Map(checks.map(({ check, verdict }) => [check, verdict]));
    // The embedded API has no reviews of rights: the real one is asked in the contract.
    for (const check of [
      "agent",
      "interface",
      "address",
      "wire",
      "ports",
      "nft",
      "kubeconfig",
      "certificate",
    ])
      assert.equal(verdicts.get(check), "ok", out);
    assert.match(checks.find(({ check }) => check === "wire")?.found ?? "", new RegExp(`^${holder.name} `));
    assert.equal(status, 0);
  });

  test("finds a VIP that a person has bound, and a machine that is no candidate", async () => {
    const node = another();
    await cluster.client.run(["ip", "address", "add", `${FREE}/32`, "dev", "eth0"]);
    const env = { LEASEHOLD_VIP: FREE };
    const stranger = await leasehold(node, env, "doctor");
    assert.equal(stranger.status, 3, stranger.out);
    assert.match(stranger.out, /^wire +FAIL +the machine [0-9a-f:]{17}, which is no candidate/m);
    await node.host.run(["ip", "address", "add", `${FREE}/32`, "dev", "eth0"]);
    const { status, out } = await leasehold(node, env, "doctor");
    await node.host.run(["ip", "address", "del", `${FREE}/32`, "dev", "eth0"]);
    assert.equal(status, 3, out);
    assert.match(out, /^address +FAIL +bound here, and not by an agent/m);
  });
});
