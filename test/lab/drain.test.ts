/**
 * `leasehold drain` and `undrain` on a node: where new connections go, by the kernel's rules and by the proxy, and that
 * old ones live.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { HeldConnections } from "../support/lab/hold.ts";
import { leasehold } from "./commands.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

/** Enough that each of three servers gets some, of a fair spread: the chance of none is (2/3)^60. */
const MANY = 60;

let cluster: EmbeddedCluster;
let holder: EmbeddedNode;
/** How many groups of connections were opened. */
let opened = 0;

before(async () => {
  cluster = await createEmbeddedCluster();
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  holder = await cluster.holder(30_000);
  await takers(...cluster.nodes);
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  for (const node of cluster.nodes) await leasehold(holder, "undrain", node.name);
  await takers(...cluster.nodes);
});

const serverOf = ({ host }: EmbeddedNode): string => `${host.ipv4}:6443`;
const another = (): EmbeddedNode => cluster.nodes.find((node) => node !== holder) ?? holder;
const names = (nodes: readonly EmbeddedNode[]): readonly string[] => nodes.map(({ name }) => name).toSorted();

/** Waits until every node sends new connections to these and to no other one. */
async function takers(...wanted: readonly EmbeddedNode[]): Promise<void> {
  await cluster.lab.until(
    async () => {
      const found = await Promise.all(
        cluster.nodes.map(async (node) => {
          const { fastPath, balancer } = await node.status();
          assert.equal(fastPath?.mode, "fast-path");
          return [
            fastPath.nodes.filter(({ slots }) => slots > 0).map(({ node: name }) => name),
            balancer.backends.filter(({ serving }) => serving).map(({ id }) => id),
          ].map((list) => list.toSorted());
        }),
      );
      for (const one of found) assert.deepEqual(one, [names(wanted), wanted.map(serverOf).toSorted()]);
      return true;
    },
    20_000,
    `new connections go to ${names(wanted).join(", ")}`,
  );
}

type Counts = ReadonlyMap<string, number>;

/** What carries connections: the kernel's rules for the VIP, and the proxy at the holder's own address. */
const WAYS = {
  "the kernel's rules": {
    address: () => ({ host: cluster.lab.vip4, port: 6443 }),
    /** As each node's kernel has them. */
    counted: async (): Promise<Counts> =>
      new Map(
        await Promise.all(
          cluster.nodes.map(async ({ name, host }) => {
            const lines = await host.run(["ss", "-Htn", "state", "established", "( sport = :6443 )"]);
            return [
              name,
              lines.split("\n").filter((line) => line.includes(cluster.client.ipv4)).length,
            ] as const;
          }),
        ),
      ),
  },
  "the proxy": {
    address: () => ({ host: holder.host.ipv4, port: 8443 }),
    counted: async (): Promise<Counts> => {
      const { balancer } = await holder.status();
      return new Map(
        cluster.nodes.map((node) => [
          node.name,
          balancer.backends.find(({ id }) => id === serverOf(node))?.sessions ?? 0,
        ]),
      );
    },
  },
} as const;

/** Opens connections, and returns how many each node's API server got. */
async function open({ address, counted }: (typeof WAYS)[keyof typeof WAYS]): Promise<{
  readonly held: HeldConnections;
  readonly at: Counts;
}> {
  const before = await counted();
  const options = { ...address(), count: MANY, mode: "listen", tls: {} } as const;
  const held = await HeldConnections.start(cluster.client, options, `hold-${opened++}`);
  let at: Counts = new Map();
  await cluster.lab.until(
    async () => {
      if (held.alive().length < MANY) return false;
      at = new Map([...(await counted())].map(([name, count]) => [name, count - (before.get(name) ?? 0)]));
      return [...at.values()].reduce((sum, count) => sum + count, 0) === MANY;
    },
    10_000,
    `${MANY} connections are open`,
  );
  return { held, at };
}

describe("a drained API server", () => {
  for (const [name, way] of Object.entries(WAYS)) {
    test(`gets no new connections by ${name}, keeps its old ones, and gets new ones again`, async () => {
      for (const target of [holder, another()]) {
        const old = await open(way);
        const before = old.at.get(target.name) ?? 0;
        assert.ok(before > 0, JSON.stringify([...old.at]));
        const drained = await leasehold(holder, "drain", target.name, "--wait");
        assert.equal(drained.status, 0, drained.out);
        assert.match(
          drained.out,
          new RegExp(`leasehold.dev/drain\\.${target.host.ipv4}-6443=${serverOf(target)}`),
        );
        await takers(...cluster.nodes.filter((node) => node !== target));

        const fresh = await open(way);
        assert.equal(fresh.at.get(target.name), 0, JSON.stringify([...fresh.at]));
        assert.deepEqual(old.held.lost(), []);
        const undrained = await leasehold(holder, "undrain", serverOf(target), "--wait");
        assert.equal(undrained.status, 0, undrained.out);
        await takers(...cluster.nodes);
        const again = await open(way);
        assert.ok((again.at.get(target.name) ?? 0) > 0, JSON.stringify([...again.at]));
        for (const { held } of [old, fresh, again]) await held[Symbol.asyncDispose]();
      }
    });
  }

  test("is shown by status and by the metrics", async () => {
    const target = another();
    assert.equal((await leasehold(holder, "drain", target.host.ipv4, "--wait")).status, 0);
    const { out } = await leasehold(holder, "status");
    assert.match(out, new RegExp(`^${serverOf(target)} +${holder.name} +UP,drained `, "m"));
    assert.match(out, new RegExp(`${serverOf(target)} \\(${target.name}\\) is drained`));
    const { body } = await holder.get("/metrics");
    assert.match(body, new RegExp(`^leasehold_backend_drained\\{backend="${serverOf(target)}"\\} 1$`, "m"));
  });

  test("stays drained across a restart of an agent that cannot read the Lease", async () => {
    const target = another();
    const node = cluster.nodes.find((one) => one !== target && one !== holder) ?? holder;
    assert.equal((await leasehold(holder, "drain", target.name, "--wait")).status, 0);
    await node.endAgent();
    await node.startAgent({ LEASEHOLD_KUBECONFIG: "/none", LEASEHOLD_ADMIN_KUBECONFIG: "/none" });
    try {
      await cluster.lab.until(
        async () => {
          const { drained } = await node.status();
          assert.deepEqual(drained, [serverOf(target)]);
          return true;
        },
        10_000,
        "it remembers",
      );
    } finally {
      await node.endAgent();
      await node.startAgent();
    }
  });
});

describe("a drain is refused", () => {
  test("of the last server that takes connections, and when the agent is down too", async () => {
    const [one, two, last] = cluster.nodes;
    assert.ok(one !== undefined && two !== undefined && last !== undefined);
    for (const node of [one, two])
      assert.equal((await leasehold(holder, "drain", node.name, "--wait")).status, 0);
    const refused = await leasehold(holder, "drain", last.name);
    assert.equal(refused.status, 3, refused.out);
    assert.match(refused.out, /is the last API server that takes new connections/);
    const backup = another();
    await backup.endAgent();
    const alone = await leasehold(backup, "drain", last.name);
    const again = await leasehold(backup, "undrain", two.name);
    await backup.startAgent();
    assert.equal(alone.status, 3, alone.out);
    assert.equal(again.status, 0, again.out);
    await takers(two, last);
  });

  test("of what is no API server, with what there is", async () => {
    for (const word of ["n9", cluster.lab.vip4, ""]) {
      const { status, out } = await leasehold(holder, "drain", word);
      assert.equal(status, word === "" ? 2 : 3, out);
      assert.match(out, word === "" ? /drain needs API_SERVER/ : /the API servers are/);
    }
  });
});
