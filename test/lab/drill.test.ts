/** `leasehold drill`, and `move` and `resign` with what clients saw, next to real agents. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { DrillReport } from "../../src/cli/drills.ts";
import { leasehold } from "./commands.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

let cluster: EmbeddedCluster;
let holder: EmbeddedNode;

before(async () => {
  cluster = await createEmbeddedCluster();
  await Promise.all(cluster.nodes.map((node) => node.startAgent()));
  holder = await cluster.holder(30_000);
  await healthy();
});
after(async () => cluster[Symbol.asyncDispose]());

const others = (): readonly EmbeddedNode[] => cluster.nodes.filter((node) => node !== holder);
const another = (): EmbeddedNode => others()[0] ?? holder;

/** Every node finds every API server UP, and every agent alive. */
async function healthy(): Promise<void> {
  await cluster.lab.until(
    async () => {
      const all = await Promise.all(cluster.nodes.map((node) => node.status()));
      return all.every(
        ({ balancer, election, fastPath }) =>
          fastPath?.mode === "fast-path" &&
          balancer.backends.length === 3 &&
          balancer.backends.every(({ grade }) => grade === "UP") &&
          election?.candidates.length === 3 &&
          election.candidates.every(({ fresh, eligible }) => fresh && eligible),
      );
    },
    30_000,
    "all is well",
  );
}

const moveTo = async (): Promise<string | undefined> => {
  const { out } = await leasehold(holder, "status", "-o", "json");
  return JSON.parse(out).lease.moveTo;
};

test("a drill moves the VIP there and back, reports what its probes saw, and leaves no wish", async () => {
  const [target, third] = others();
  assert.ok(target !== undefined && third !== undefined);
  const { status, out } = await leasehold(
    third,
    "drill",
    "--to",
    ` ${target.name.toUpperCase()} `,
    "-o",
    "json",
  );
  assert.equal(status, 0, out);
  const report: DrillReport = JSON.parse(out);
  assert.deepEqual(
    report.moves.map(({ from, to }) => [from, to]),
    [
      [holder.name, target.name],
      [target.name, holder.name],
    ],
  );
  assert.deepEqual([report.node, report.cleaned], [third.name, true]);
  for (const { seen, tookMs } of report.moves) {
    assert.ok(tookMs !== null);
    assert.deepEqual(
      seen.map(({ probe }) => probe),
      [
        `new connections to ${cluster.lab.vip4}:6443`,
        `an open connection to ${cluster.lab.vip4}:6443`,
        `the address ${cluster.lab.vip4}`,
      ],
    );
    // How many in how much time depends on what else this machine does.
    for (const one of seen) assert.ok(one.sent > 3 && one.answered > 0, JSON.stringify(one));
  }
  assert.equal((await cluster.holder(5_000)).name, holder.name);
  assert.equal(await moveTo(), null);
});

test("a gap is seen: while nothing has the VIP its address does not answer", async () => {
  const [target, third] = others();
  assert.ok(target !== undefined && third !== undefined);
  // The target cannot bind the VIP's packets in: what is sent to it for the VIP is lost for the whole drill.
  await target.host.run(["nft", "add", "table", "netdev", "lost"]);
  await target.host.run(["nft", "-f", "-"], {
    input: `add chain netdev lost in { type filter hook ingress device "eth0" priority -500; policy accept; }
add rule netdev lost in ip daddr ${cluster.lab.vip4} tcp dport 1 drop
`,
  });
  let done: { readonly status: number; readonly out: string };
  try {
    done = await leasehold(third, "drill", "--to", target.name);
  } finally {
    await target.host.run(["nft", "delete", "table", "netdev", "lost"]);
  }
  const { status, out } = done;
  assert.equal(status, 0, out);
  assert.match(
    out,
    new RegExp(`^  ${holder.name} -> ${target.name}, the address ${cluster.lab.vip4}: .* attempts, `, "m"),
  );
});

describe("a drill is refused, and nothing is changed", () => {
  test("while an agent is silent, an API server is DOWN, or a person has pinned the VIP", async () => {
    await leasehold(holder, "move", "--to", holder.name);
    const server = cluster.api.servers.find(({ name }) => name === another().name);
    server?.stop();
    try {
      await cluster.lab.until(
        async () => (await holder.status()).balancer.backends.some(({ grade }) => grade !== "UP"),
        20_000,
        "an API server is not UP",
      );
      const { status, out } = await leasehold(holder, "drill");
      assert.equal(status, 3, out);
      assert.match(out, /Nothing was changed/);
      assert.match(out, /leasehold unpin/);
      assert.match(out, /finds the API server .*:6443/);
      assert.equal(await moveTo(), holder.name);
    } finally {
      server?.continue();
      await leasehold(holder, "unpin");
      await healthy();
    }
  });
});

test("resign and move --wait say what a client saw; without an agent here no silent node is chosen", async () => {
  const [silent, here] = others();
  assert.ok(silent !== undefined && here !== undefined);
  const moved = await leasehold(here, "move", `--to=${silent.name}`, "--wait");
  assert.equal(moved.status, 0, moved.out);
  assert.match(moved.out, new RegExp(`new connections to ${cluster.lab.vip4}:6443: \\d+ of \\d+ answered`));
  assert.equal((await leasehold(here, "move", "--to", holder.name, "--wait")).status, 0);
  assert.equal((await leasehold(here, "unpin")).status, 0);
  // It is killed, so its annotation stays, and says that it is eligible. Only its silence tells.
  const frozen = silent.agent;
  assert.ok(frozen !== undefined);
  frozen.kill("SIGSTOP");
  await here.endAgent();
  try {
    const refused = await leasehold(here, "move", "--to", silent.name);
    assert.equal(refused.status, 3, refused.out);
    assert.match(refused.out, /waits until they write the Lease/);
    assert.match(refused.out, /its agent is silent/);
  } finally {
    frozen.kill("SIGCONT");
    await here.startAgent();
  }
});
