/**
 * What the rules in the kernel do when no agent refreshes them any more: with a short time instead of the
 * hour, and without agents.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { timedElements } from "../../src/fastpath/loader.ts";
import { IDLE_TIMEOUT_S, OWN_TIMEOUT_S, ruleset } from "../../src/fastpath/ruleset.ts";
import type { RulesetPlan } from "../../src/fastpath/tables.ts";
import { removal, renewed, transaction } from "../../src/fastpath/transaction.ts";
import { CLIENT, textIn } from "../support/fastpath/clusters.ts";
import { fastPathNode, rulesetPlan, VIP4, VIP6, wirePlan } from "../support/fastpath/plans.ts";
import { sleep } from "../support/lab/clock.ts";
import type { Host } from "../support/lab/host.ts";
import { createLab } from "../support/lab/lab.ts";
import type { Lab } from "../support/lab/lab.ts";

const child = (name: string): string => fileURLToPath(new URL(`children/${name}.ts`, import.meta.url));
const FAMILIES = [4, 6] as const;
/** Instead of an hour. */
const IDLE_S = 2;
const NUMBERS = [1, 2, 3] as const;

let lab: Lab;
let client: Host;
const nodes: Host[] = [];

function planOf(n: number): RulesetPlan {
  const self = fastPathNode(n, FAMILIES);
  const peers = NUMBERS.filter((other) => other !== n).map((other) => fastPathNode(other, FAMILIES));
  // The listener below has one address, as an API server with --bind-address.
  return rulesetPlan({ wire: wirePlan({ self, peers, listener: undefined }, FAMILIES), own: [] }, FAMILIES);
}

const host = (n: number): Host => nodes[n - 1] ?? assert.fail(`no n${n}`);

/**
 * Agents run on these nodes from now on, and on no others. A node with an agent gets its elements for an
 * hour, so that no slow machine makes it idle. A node without one has them for as long as the set says.
 */
async function agentsOn(...numbers: readonly number[]): Promise<void> {
  const lasting = (n: number) => (element: string) =>
    numbers.includes(n) ? `${element} timeout 1h` : element;
  await Promise.all(
    NUMBERS.map((n) =>
      host(n).run(["nft", "-f", "-"], {
        input: timedElements(planOf(n))
          .flatMap(({ family, set, elements }) => {
            const [add = "", remove = ""] = renewed(family, set, elements);
            const [last = ""] = renewed(family, set, elements.map(lasting(n)));
            return [add, remove, last];
          })
          .map((line) => `${line}\n`)
          .join(""),
      }),
    ),
  );
}

async function vipsOn(n: number): Promise<number> {
  const sets = await Promise.all(
    [
      ["netdev", "vips4"],
      ["netdev", "vips6"],
      ["ip", "vips"],
      ["ip6", "vips"],
    ].map(([family = "", set = ""]) => host(n).run(["nft", "list", "set", family, "leasehold", set])),
  );
  return sets.filter((text) => text.includes("elements = {")).length;
}

const idle = (n: number): Promise<unknown> =>
  lab.until(async () => (await vipsOn(n)) === 0, 15_000, `n${n} is idle`);

/** Packets that n's ingress has spread. */
async function spreadBy(n: number): Promise<number> {
  const text = await host(n).run(["nft", "list", "counters", "netdev"]);
  return [...text.matchAll(/packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
}

async function open(vip: string, count: number, port = 6443): Promise<readonly string[]> {
  const argv = [process.execPath, child("visitor"), "open", vip, String(port), String(count)];
  return JSON.parse(await client.run(argv, { timeoutMs: 60_000 }));
}

const namesIn = (answers: readonly string[]): string => [...new Set(answers)].toSorted().join();

before(async () => {
  lab = await createLab();
  for (const n of NUMBERS) nodes.push(await lab.node(`n${n}`, { ipv4: textIn(n, 4), ipv6: textIn(n, 6) }));
  client = await lab.client("client", { ipv4: CLIENT[4], ipv6: CLIENT[6] });
  for (const n of NUMBERS) {
    const node = host(n);
    for (const family of FAMILIES) {
      const argv = [process.execPath, child("greeter"), textIn(n, family), "6443", `n${n}`];
      const server = await node.spawn(argv, { name: `greeter${family}` });
      await lab.until(async () => Promise.resolve(server.log().includes("ready")), 10_000, "a server");
    }
    const plan = planOf(n);
    await node.run(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    await node.run(["nft", "-f", "-"], {
      input: removal() + transaction(ruleset(plan, IDLE_S), [], timedElements(plan)),
    });
  }
  await host(1).run(["ip", "address", "add", `${VIP4.text}/32`, "dev", "eth0"]);
  await host(1).run(["ip", "address", "add", `${VIP6.text}/128`, "dev", "eth0", "nodad"]);
});
after(async () => lab[Symbol.asyncDispose]());

for (const family of FAMILIES) {
  const vip = family === 4 ? VIP4.text : VIP6.text;

  test(`IPv${family}: a node whose agent has been gone for long serves what the others send, old and new`, async () => {
    await agentsOn(1, 2, 3);
    const stay = [process.execPath, child("visitor"), "stay", vip, "6443", "60"];
    await using visitor = await client.spawn(stay, { name: `visitor${family}` });
    const seen = (): { readonly ended: number; readonly answers: Readonly<Record<string, number>> } => {
      const [line = ""] = visitor.lastLines(1);
      return JSON.parse(line);
    };
    await lab.until(async () => Promise.resolve(visitor.lastLines(1).length > 0), 10_000, "connections");
    assert.equal(Object.keys(seen().answers).toSorted().join(), "n1,n2,n3");

    await agentsOn(1, 3);
    await idle(2);
    assert.equal(await vipsOn(1), 4);
    const before = seen();
    assert.equal(namesIn(await open(vip, 60)), "n1,n2,n3", "new connections go to n2 as before");
    await sleep(1_000);
    const later = seen();
    assert.equal(later.ended, 0);
    assert.ok((later.answers["n2"] ?? 0) > (before.answers["n2"] ?? 0), "old ones on n2 live");

    // A client with a stale neighbour entry: n2 does not spread its packets any more, and routes them to the
    // holder. What the holder gives to n2 does not come about, because n2's conntrack has seen the SYN
    // before.
    const spread = await spreadBy(2);
    await client.run([
      "ip",
      "neigh",
      "replace",
      vip,
      "lladdr",
      host(2).mac,
      "dev",
      "eth0",
      "nud",
      "permanent",
    ]);
    const stale = await open(vip, 6);
    await client.run(["ip", "neigh", "del", vip, "dev", "eth0"]);
    assert.ok(!stale.includes("n2"), JSON.stringify(stale));
    assert.equal(await spreadBy(2), spread);
  });

  test(`IPv${family}: without any agent the rules leave the VIP to another program, and take it again when one is back`, async () => {
    await agentsOn(1, 2, 3);
    assert.equal(namesIn(await open(vip, 60)), "n1,n2,n3");
    // Another program that shall have the VIP, such as HAProxy next to keepalived.
    const argv = [process.execPath, child("greeter"), vip, "6443", "haproxy"];
    await using haproxy = await host(1).spawn(argv, { name: `haproxy${family}` });
    await lab.until(async () => Promise.resolve(haproxy.log().includes("ready")), 10_000, "HAProxy");
    assert.equal(namesIn(await open(vip, 60)), "n1,n2,n3", "the rules are before it");

    await agentsOn();
    for (const n of NUMBERS) await idle(n);
    const spread = await spreadBy(1);
    assert.equal(namesIn(await open(vip, 60)), "haproxy");
    assert.equal(await spreadBy(1), spread);
    // Nothing listens there, and nobody holds the refusal back.
    assert.equal(namesIn(await open(vip, 3, 8443)), "ECONNREFUSED");

    await agentsOn(1, 2, 3);
    assert.equal(namesIn(await open(vip, 60)), "n1,n2,n3");
  });
}

test("an agent's refresh, which is one transaction of netlink, starts the time of every set again", async () => {
  const plan = rulesetPlan({ wire: planOf(3).wire }, FAMILIES);
  const elements = timedElements(plan);
  assert.equal(elements.length, 6);
  await host(3).run(["nft", "-f", "-"], { input: removal() + transaction(ruleset(plan), [], elements) });
  /** Seconds that are left of each. */
  const left = async (): Promise<readonly number[]> =>
    Promise.all(
      elements.map(async ({ family, set }) => {
        const listed = await host(3).run(["nft", "list", "set", family, "leasehold", set]);
        const [, minutes = "0", seconds = "0"] = /expires (?:(\d+)m)?(?:(\d+)s)?/.exec(listed) ?? [];
        return Number(minutes) * 60 + Number(seconds);
      }),
    );
  await sleep(3_000);
  const before = await left();
  await host(3).run([process.execPath, child("refresh")], { input: JSON.stringify(elements) });
  const afterwards = await left();
  for (const [index, { set }] of elements.entries()) {
    const life = set === "own" ? OWN_TIMEOUT_S : IDLE_TIMEOUT_S;
    assert.ok((before[index] ?? 0) <= life - 3 && (before[index] ?? 0) > 0, `${set} had ${before[index]} s`);
    assert.ok((afterwards[index] ?? 0) > (before[index] ?? 0), `${set} has ${afterwards[index]} s`);
  }
});
