import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { ruleset } from "../../src/fastpath/ruleset.ts";
import { OWN_SET } from "../../src/fastpath/tables.ts";
import type { RulesetPlan } from "../../src/fastpath/tables.ts";
import { removal, transaction } from "../../src/fastpath/transaction.ts";
import type { PresentChain } from "../../src/fastpath/transaction.ts";
import { anyPlan, fastPathNode, ip, rulesetPlan, wirePlan } from "../support/fastpath/plans.ts";
import { createLab } from "../support/lab/lab.ts";
import type { Lab } from "../support/lab/lab.ts";

let lab: Lab;
let namespace = "";

before(async () => {
  lab = await createLab();
  const node = await lab.node("n1");
  namespace = node.namespace;
});
after(async () => lab[Symbol.asyncDispose]());

function nft(args: readonly string[], input = ""): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync("ip", ["netns", "exec", namespace, "nft", ...args], {
    input,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

function load(script: string, what: string): void {
  const { status, stderr } = nft(["-f", "-"], script);
  assert.equal(status, 0, `${what}: ${stderr.slice(0, 500)}`);
}

function present(): readonly PresentChain[] {
  const { status, stdout, stderr } = nft(["-j", "list", "chains"]);
  assert.equal(status, 0, stderr);
  const { nftables }: { nftables: readonly { chain?: PresentChain & { table: string } }[] } =
    JSON.parse(stdout);
  return nftables.flatMap(({ chain }) =>
    chain === undefined || chain.table !== "leasehold" ? [] : [{ family: chain.family, name: chain.name }],
  );
}

const replace = (plan: RulesetPlan, what: string, chains = present()): void =>
  load(transaction(ruleset(plan), chains, []), what);

/** Without what the kernel counts. */
const listed = (): string => nft(["-s", "list", "ruleset"]).stdout.replaceAll(/expires \w+/g, "");

const PLANS: readonly (readonly [string, RulesetPlan])[] = [
  ["three nodes, IPv4", rulesetPlan()],
  ["three nodes, IPv6", rulesetPlan({}, [6])],
  ["three nodes, dual-stack", rulesetPlan({}, [4, 6])],
  ["one node", rulesetPlan({ wire: wirePlan({ peers: [], inRing: ["n1"], acceptsNew: ["n1"] }) })],
  ["nobody takes", rulesetPlan({ wire: wirePlan({ acceptsNew: [], deliverTo: 8443 }), own: [] })],
  [
    "own API server DOWN",
    rulesetPlan({ wire: wirePlan({ inRing: ["n2", "n3"], acceptsNew: ["n2", "n3"], deliverTo: 8443 }) }),
  ],
  ["no wildcard listener", rulesetPlan({ wire: wirePlan({ listener: undefined }) })],
  ["no ingress", rulesetPlan({ wire: wirePlan({ hasIngress: false, acceptsNew: [], deliverTo: 8443 }) })],
  ["a worker", rulesetPlan({ wire: undefined }, [4, 6])],
  [
    "64 peers, which no plan has and the rules must bear",
    rulesetPlan({
      wire: wirePlan({
        peers: Array.from({ length: 64 }, (_, index) => ({
          ...fastPathNode(2),
          name: `n${index + 2}`,
          addresses: [ip(`10.88.1.${index + 1}`)],
        })),
      }),
    }),
  ],
  [
    "a peer of one family",
    rulesetPlan(
      { wire: wirePlan({ peers: [fastPathNode(2, [4]), fastPathNode(3, [4, 6])] }, [4, 6]) },
      [4, 6],
    ),
  ],
];

describe("the kernel takes", () => {
  test("the rules of every plan into an empty ruleset, and their removal", () => {
    for (const [name, plan] of PLANS) {
      load(removal(), "removal");
      assert.equal(listed(), "");
      replace(plan, name);
      assert.match(listed(), /table ip6? leasehold/);
    }
    load(removal(), "removal");
    assert.equal(listed(), "");
  });

  test("the change from any plan to any other, which leaves what loading it alone would", () => {
    const alone = PLANS.map(([name, plan]) => {
      load(removal(), "removal");
      replace(plan, name);
      return rulesOf();
    });
    for (const [from, before] of PLANS) {
      for (const [index, [to, plan]] of PLANS.entries()) {
        replace(before, from);
        replace(plan, `${from} -> ${to}`);
        assert.deepEqual(rulesOf(), alone[index], `${from} -> ${to}`);
      }
    }
  });

  test("plans that nobody thought of", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => replace(plan, JSON.stringify(plan.wire))),
      { numRuns: 25 },
    );
  });

  test("a change by one who does not know what chains there are, and no old rule is left in front", () => {
    load(removal(), "removal");
    replace(rulesetPlan(), "before");
    const plan = rulesetPlan({ wire: wirePlan({ deliverTo: 8443 }) });
    replace(plan, "after", []);
    const { stdout } = nft(["list", "chain", "ip", "leasehold", "pre"]);
    assert.equal(stdout.match(/dnat to/g)?.length, 1);
    assert.match(stdout, /dnat to 10\.88\.0\.11:8443/);
  });
});

test("a change keeps what sets and counters hold", () => {
  load(removal(), "removal");
  load(
    transaction(ruleset(rulesetPlan()), present(), [
      { family: "ip", set: OWN_SET, elements: ["10.88.0.100"] },
    ]),
    "first",
  );
  load(
    "add element netdev leasehold flows4 { 02:00:00:00:00:09 . 10.88.0.9 . 40000 . 10.88.0.100 . 6443 }\n",
    "a flow",
  );
  replace(rulesetPlan({ wire: wirePlan({ acceptsNew: ["n1", "n2"] }) }), "second");
  assert.match(nft(["list", "set", "ip", "leasehold", OWN_SET]).stdout, /10\.88\.0\.100/);
  assert.match(nft(["list", "set", "netdev", "leasehold", "flows4"]).stdout, /10\.88\.0\.9 \. 40000/);
});

/** Rules by chain, as the kernel has them; `-j` because the program cannot list jhash maps in words. */
function rulesOf(): Readonly<Record<string, number>> {
  const { status, stdout, stderr } = nft(["-j", "list", "ruleset"]);
  assert.equal(status, 0, stderr);
  const {
    nftables,
  }: {
    nftables: readonly {
      chain?: { family: string; name: string };
      rule?: { family: string; chain: string };
    }[];
  } = JSON.parse(stdout);
  const counts: Record<string, number> = {};
  for (const { chain } of nftables) if (chain !== undefined) counts[`${chain.family} ${chain.name}`] = 0;
  for (const { rule } of nftables)
    if (rule !== undefined)
      counts[`${rule.family} ${rule.chain}`] = (counts[`${rule.family} ${rule.chain}`] ?? 0) + 1;
  return counts;
}
