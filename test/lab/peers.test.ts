/** Agents of real nodes ask each other: with the API, without it, and after a restart without it. */
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ClusterView } from "../../src/cli/cluster-view.ts";
import { BUNDLE } from "./cluster.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

const PEER_PORT = 10_085;

let cluster: EmbeddedCluster;
let holder: EmbeddedNode;

before(async () => {
  cluster = await createEmbeddedCluster();
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  holder = await cluster.holder(30_000);
  await Promise.all(cluster.nodes.map(knowsAll));
});
after(async () => cluster[Symbol.asyncDispose]());

const others = (node: EmbeddedNode): readonly EmbeddedNode[] => cluster.nodes.filter((one) => one !== node);

async function peersOf(node: EmbeddedNode): Promise<readonly string[]> {
  const { body } = await node.get("/peers");
  const { peers }: { readonly peers: readonly { readonly node: string }[] } = JSON.parse(body);
  return peers.map((peer) => peer.node);
}

/** Waits until the node's agent gets answers of all others. */
async function knowsAll(node: EmbeddedNode): Promise<void> {
  await cluster.lab.until(
    async () => {
      const answers = await Promise.all(others(node).map(({ name }) => node.get(`/peers/${name}/status`)));
      const wrong = answers.find(({ status }) => status !== 200);
      if (wrong !== undefined) throw new Error(`${node.name}: ${wrong.body}`);
      return true;
    },
    20_000,
    `${node.name} gets answers of all others`,
  );
}

/** The view in which every node's agent has answered. One may be late on a busy machine. */
function fullView(node: EmbeddedNode): Promise<ClusterView> {
  return cluster.lab.until(
    async () => {
      const asked = await view(node);
      return asked.nodes.length === cluster.nodes.length && asked.nodes.every(({ from }) => from === "agent")
        ? asked
        : Promise.reject(new Error(JSON.stringify(asked.nodes)));
    },
    20_000,
    "every agent answers",
  );
}

async function view(node: EmbeddedNode): Promise<ClusterView> {
  const env = Object.entries(node.commandEnvironment()).map(([name, value]) => `${name}=${value}`);
  return JSON.parse(
    await node.host.run([
      "env",
      ...env,
      "sh",
      "-c",
      '"$@"; true',
      "sh",
      process.execPath,
      BUNDLE,
      "status",
      "-o",
      "json",
    ]),
  );
}

/** What a program on `host` gets at the peers' port of `node`: the end of the words of openssl. */
async function knock(host: EmbeddedNode["host"], node: EmbeddedNode): Promise<string> {
  return host.run([
    "sh",
    "-c",
    `(printf 'GET /status HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'; sleep 1) |
     timeout 5 openssl s_client -quiet -connect ${node.host.ipv4}:${PEER_PORT} 2>&1; true`,
  ]);
}

test("each node's agent answers the two others, and nobody else", async () => {
  for (const node of cluster.nodes) {
    assert.deepEqual(
      await peersOf(node),
      others(node).map(({ name }) => name),
    );
    assert.match(
      await node.host.run(["ss", "-Hltn", `sport = :${PEER_PORT}`]),
      new RegExp(`${node.host.ipv4.replaceAll(".", "\\.")}:${PEER_PORT} `),
    );
    assert.equal(statSync(join(node.host.directory, "lib", "peer-key.pem")).mode & 0o777, 0o600);
  }
  const [n1, n2] = cluster.nodes;
  if (n1 === undefined || n2 === undefined) assert.fail("three nodes");
  const metrics = await n1.get("/peers/n2/metrics");
  assert.match(metrics.body, /^leasehold_build_info\{.*node="?n2|^leasehold_/m);
  const { node } = JSON.parse((await n1.get("/peers/n2/decisions")).body);
  assert.equal(node, "n2");
  // A machine that is no candidate, and a program without a key on a node that is.
  for (const host of [cluster.client, n2.host]) {
    const heard = await knock(host, n1);
    assert.doesNotMatch(heard, /HTTP\/1|"node"/);
  }
});

test("with no API server, and after a restart without one, status has every node's own word", async () => {
  const node = others(holder)[0] ?? holder;
  for (const server of cluster.api.servers) server.stop();
  try {
    const asked = await fullView(node);
    assert.equal(asked.nodes.find(({ node: name }) => name === holder.name)?.vipBound, true);
    assert.equal(new Set(asked.apiServers.map(({ seenBy }) => seenBy)).size, 3);
    assert.ok(
      asked.notAsked.every(({ where }) => where.startsWith("the API")),
      JSON.stringify(asked.notAsked),
    );

    const remembered = readFileSync(join(node.host.directory, "lib", "peers.json"), "utf8");
    await node.endAgent();
    await node.startAgent();
    await knowsAll(node);
    assert.equal(readFileSync(join(node.host.directory, "lib", "peers.json"), "utf8"), remembered);
    await fullView(node);
  } finally {
    for (const server of cluster.api.servers) server.continue();
  }
});

test("an agent that is gone is said to be, with what to type", async () => {
  holder = await cluster.holder(30_000);
  const [node, gone] = others(holder);
  if (node === undefined || gone === undefined) assert.fail("three nodes");
  await gone.endAgent();
  const { notAsked, nodes } = await view(node);
  assert.deepEqual(
    notAsked.map(({ where, type }) => [where, type]),
    [[`the agent of ${gone.name} at ${gone.host.ipv4}:${PEER_PORT}`, [`ssh ${gone.name} leasehold status`]]],
  );
  assert.equal(nodes.find(({ node: name }) => name === gone.name)?.alive, false);
  await gone.startAgent();
  await knowsAll(node);
});

test("a node whose key is another after it was installed again is known by the new one", async () => {
  const [node, again] = others(holder);
  if (node === undefined || again === undefined) assert.fail("three nodes");
  await again.endAgent();
  await again.host.run(["rm", "-r", join(again.host.directory, "lib")]);
  await again.startAgent();
  await knowsAll(node);
  await knowsAll(again);
});

test("a peers' port that is taken is tried again, and the agent goes on", async () => {
  const node = others(holder)[0] ?? holder;
  await node.endAgent();
  const thief = await node.host.spawn([
    process.execPath,
    "-e",
    `require("node:net").createServer().listen(${PEER_PORT}, "0.0.0.0")`,
  ]);
  await cluster.lab.until(
    async () => (await node.host.run(["ss", "-Hltn", `sport = :${PEER_PORT}`])) !== "",
    10_000,
    "the port is taken",
  );
  await node.startAgent();
  const unready = await cluster.lab.until(
    async () => {
      const { body } = await node.get("/readyz");
      return body.includes("[-]peers-port failed") ? body : undefined;
    },
    20_000,
    "readyz names the port",
  );
  assert.match(unready, /peers-port failed: cannot listen on .*:10085: another program has it/);
  await cluster.lab.until(
    async () => (await node.status()).election?.state === "BACKUP",
    20_000,
    "it takes part",
  );
  await thief.terminate();
  await cluster.lab.until(async () => (await node.get("/readyz")).status === 200, 20_000, "it has the port");
  await knowsAll(node);
});
