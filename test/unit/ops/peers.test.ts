/** What one agent tells of the others: two real ops servers that know each other, and some that do not. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { silentLogger } from "../../../src/log.ts";
import { createPeerDesk } from "../../../src/ops/peers.ts";
import { FLOWS_PATH } from "../../../src/ops/server.ts";
import { followPeer } from "../../../src/peers/ask-peer.ts";
import { peerIdentity } from "../../../src/peers/identity.ts";
import type { PeerIdentity } from "../../../src/peers/identity.ts";
import { createKnownPeers } from "../../../src/peers/known-peers.ts";
import type { KnownPeers } from "../../../src/peers/known-peers.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { exampleStatus } from "./example.ts";
import { startedOps } from "./rig.ts";
import type { OpsRig } from "./rig.ts";

interface Agent extends OpsRig {
  readonly node: string;
  readonly known: KnownPeers;
  readonly key: string;
  readonly identity: PeerIdentity;
}

async function agent(t: TestContext, node: string, decisions = "{}"): Promise<Agent> {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-desk-"));
  const identity = peerIdentity(directory, node, silentLogger);
  const self = { node, key: identity.id };
  const known = createKnownPeers(join(directory, "peers.json"), self, silentLogger);
  const rig = await startedOps(t, {
    status: () => exampleStatus({ agent: { node } }),
    decisions: () => Promise.resolve(decisions),
    page: { node, settings: [], moves: () => [], picture: () => Promise.resolve({}) },
  });
  await rig.ops.meetPeers({ host: "127.0.0.1", port: 0, identity, known });
  t.after(() => rmSync(directory, { recursive: true }));
  return { ...rig, node, known, key: identity.id, identity };
}

function introduce(agents: readonly Agent[]): void {
  const candidates = agents.map(({ node, ops, key }) => ({
    node,
    ip: "127.0.0.1",
    peer: { port: ops.peerPort(), key },
  }));
  for (const { known } of agents) known.observe({ holder: "n1", candidates });
}

describe("through one node", () => {
  test("a person sees the status, the metrics and the decisions of another one", async (t) => {
    const [n1, n2] = [await agent(t, "n1"), await agent(t, "n2", '{"of":"n2"}')];
    assert.deepEqual(await (await n1.get("/peers")).json(), { peers: [] });
    introduce([n1, n2]);
    assert.deepEqual(await (await n1.get("/peers")).json(), {
      peers: [{ node: "n2", address: `127.0.0.1:${n2.ops.peerPort()}` }],
    });
    const status = await n1.get("/peers/n2/status");
    assert.deepEqual([status.status, status.headers.get("content-type")], [200, "application/json"]);
    assert.deepEqual(
      await status.json(),
      JSON.parse(JSON.stringify(exampleStatus({ agent: { node: "n2" } }))),
    );
    const metrics = await n1.get("/peers/n2/metrics");
    assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(await metrics.text(), /^leader_election_master_status/m);
    assert.equal(await (await n1.get("/peers/n2/decisions")).text(), '{"of":"n2"}');
  });

  test("only known peers are asked, and only for what there is", async (t) => {
    const [n1, n2] = [await agent(t, "n1"), await agent(t, "n2")];
    introduce([n1, n2]);
    for (const path of [
      "/peers/n1/status",
      "/peers/n3/status",
      "/peers/127.0.0.1/status",
      "/peers/__proto__/status",
      "/peers/n2/livez",
      "/peers/n2/peers",
      "/peers/n2/peers/n1/status",
      "/peers/n2/../n2/status/x",
      "/peers/n2%2fstatus",
      "/peers//status",
    ])
      assert.equal((await n1.get(path)).status, 404, path);
    assert.equal((await n1.get("/peers/n2/status", { method: "POST" })).status, 405);
  });

  test("a peer that does not answer is said to, with its address, and asked again", async (t) => {
    const [n1, n2] = [await agent(t, "n1"), await agent(t, "n2")];
    introduce([n1, n2]);
    n2.known.observe({ holder: "n2", candidates: [{ node: "n2", ip: "127.0.0.1" }] });
    const refused = await n1.get("/peers/n2/status");
    assert.equal(refused.status, 502);
    assert.match(await refused.text(), /^the agent of n2 at 127\.0\.0\.1:\d+: it closed the connection/);
    introduce([n1, n2]);
    assert.equal((await n1.get("/peers/n2/status")).status, 502);
    n1.clock.advance(1_000);
    assert.equal((await n1.get("/peers/n2/status")).status, 200);
  });

  test("a node that has another address answers there, and no more at the former", async (t) => {
    const [n1, n2] = [await agent(t, "n1"), await agent(t, "n2")];
    introduce([n1, n2]);
    const before = n2.ops.peerPort();
    assert.equal((await n1.get("/peers/n2/status")).status, 200);
    await n2.ops.meetPeers({ host: "127.0.0.1", port: 0, identity: n2.identity, known: n2.known });
    assert.notEqual(n2.ops.peerPort(), before);
    assert.equal(n2.ops.listeners().filter(({ name }) => name === "peers").length, 1);
    n1.clock.advance(1_000);
    assert.equal((await n1.get("/peers/n2/status")).status, 502);
    introduce([n1, n2]);
    n1.clock.advance(1_000);
    assert.equal((await n1.get("/peers/n2/status")).status, 200);
  });

  test("the connections by the VIP are told to peers alone, and not to who asks by the ops port", async (t) => {
    const [n1, n2] = [await agent(t, "n1"), await agent(t, "n2")];
    const { identity, known } = n2;
    const told = Promise.withResolvers<string>();
    await n2.ops.meetPeers({
      host: "127.0.0.1",
      port: 0,
      identity,
      known,
      tellFlows: (send) => send("connections\n"),
    });
    introduce([n1, n2]);
    const peer = n1.known.find("n2") ?? assert.fail();
    const options = { connectMs: 5_000, lifeMs: 60_000, mostBytes: 100, betweenMs: 20 };
    const stream = followPeer(n1.identity, peer, FLOWS_PATH, options, told.resolve, () =>
      told.reject(new Error("the stream ended")),
    );
    assert.equal(await told.promise, "connections");
    stream.close();
    for (const path of [FLOWS_PATH, `/peers/n2${FLOWS_PATH}`])
      assert.equal((await n1.get(path)).status, 404, path);
  });

  test("what is no JSON is not passed on as JSON", async (t) => {
    const [n1, n2] = [await agent(t, "n1"), await agent(t, "n2", "<script>")];
    introduce([n1, n2]);
    const answer = await n1.get("/peers/n2/decisions");
    assert.deepEqual([answer.status, await answer.text()], [502, "n2 did not answer with JSON\n"]);
  });
});

test("an answer is asked for once in half a second, however many people want it", async () => {
  const clock = new FakeClock();
  const asked: string[] = [];
  const peer = { node: "n2", ip: "192.0.2.12", port: 10_085, key: "" };
  const desk = createPeerDesk({
    clock,
    known: { all: () => [peer], find: (node) => (node === "n2" ? peer : undefined) },
    ask: async ({ node }, path) => {
      asked.push(node + path);
      return { kind: "failed", why: "a\u001b[2Jb" };
    },
  });
  const answers = await Promise.all([
    desk.ask("n2", "/status"),
    desk.ask("n2", "/status"),
    desk.ask("n2", "/metrics"),
  ]);
  assert.deepEqual(asked, ["n2/status", "n2/metrics"]);
  assert.deepEqual(answers[0], {
    kind: "failed",
    why: "the agent of n2 at 192.0.2.12:10085: a\\u{1b}[2Jb",
  });
  assert.equal(desk.ask("n3", "/status"), undefined);
  clock.advance(500);
  await desk.ask("n2", "/status");
  assert.equal(asked.length, 3);
});
