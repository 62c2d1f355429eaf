import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fastPathStatus } from "../../../src/fastpath/status.ts";
import { fastPathNode, macOf, rulesetPlan, wirePlan } from "../../support/fastpath/plans.ts";

describe("the status", () => {
  const input = {
    mode: { kind: "fast-path" },
    restored: 2,
    ports: [6443],
    unheard: new Set([macOf(3)]),
    told: { kicked: 5, destroyed: 6 },
    plan: rulesetPlan({
      wire: wirePlan({
        acceptsNew: ["n1", "n2"],
        inRing: ["n1", "n2"],
        peers: [fastPathNode(2, [4, 6]), fastPathNode(3)],
      }),
    }),
    counters: [
      { family: "netdev", name: "here", packets: 1, bytes: 10 },
      { family: "netdev", name: "to_10_88_0_12", packets: 2, bytes: 20 },
      { family: "netdev", name: "to_fd88__12", packets: 4, bytes: 40 },
      { family: "ip", name: "second_chance", packets: 3, bytes: 0 },
      { family: "ip6", name: "second_chance", packets: 4, bytes: 0 },
      { family: "ip", name: "unknown", packets: 8, bytes: 0 },
      { family: "ip", name: "settling", packets: 9, bytes: 0 },
      { family: "ip", name: "own_10_88_0_12_6443", packets: 11, bytes: 0 },
    ],
  } as const;

  test("tells of each node what goes there, both families together", () => {
    const { nodes } = fastPathStatus(input);
    assert.deepEqual(
      nodes.map(({ node, packets, bytes, walkable, unheard }) => [node, packets, bytes, walkable, unheard]),
      [
        ["n1", 1, 10, true, false],
        ["n2", 6, 60, true, false],
        ["n3", 0, 0, false, true],
      ],
    );
    const [here = 0, there = 0, none] = nodes.map(({ slots }) => slots);
    assert.ok(here > 0 && there > 0 && none === 0 && here + there === 1024);
  });

  test("adds up what both families counted", () => {
    const { secondChances, unknown, settling, kicked, destroyed, restored, own, reason } =
      fastPathStatus(input);
    assert.deepEqual(
      { secondChances, unknown, settling, kicked, destroyed, restored, reason },
      { secondChances: 7, unknown: 8, settling: 9, kicked: 5, destroyed: 6, restored: 2, reason: "" },
    );
    assert.deepEqual(own, [
      { backend: "10.88.0.11:6443", connections: 0 },
      { backend: "10.88.0.12:6443", connections: 11 },
      { backend: "10.88.0.13:6443", connections: 0 },
    ]);
  });

  test("says why it is not the fast path, and knows no nodes before there is a plan", () => {
    const { reason, nodes, own } = fastPathStatus({
      ...input,
      mode: { kind: "off", reason: "no nft" },
      plan: undefined,
    });
    assert.deepEqual([reason, nodes, own], ["no nft", [], []]);
  });
});
