/**
 * A seed is only worth printing if it plays the same faults again, and if they leave a cluster that can
 * serve.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FAULT_KINDS } from "../../soak/bounds.ts";
import type { FaultKind } from "../../soak/bounds.ts";
import { NODES, describeEpisode, episodes, lengthOf, steadyNode } from "../../soak/plan.ts";
import type { Episode } from "../../soak/plan.ts";

const SEEDS = Array.from({ length: 60 }, (_, index) => index * 7_919);
const MANY = 150;

function first(seed: number, count = MANY, kinds?: readonly FaultKind[]): readonly Episode[] {
  const all: Episode[] = [];
  for (const episode of episodes(seed, kinds)) {
    all.push(episode);
    if (all.length === count) break;
  }
  return all;
}

const everyEpisode = (check: (episode: Episode, seed: number) => void): void => {
  for (const seed of SEEDS) for (const episode of first(seed)) check(episode, seed);
};

test("the same seed gives the same plan, and another seed another one", () => {
  assert.deepEqual(first(42), first(42));
  assert.notDeepEqual(first(42), first(43));
});

test("every kind comes once before any comes again", () => {
  for (const seed of SEEDS) {
    const kinds = first(seed, 2 * FAULT_KINDS.length).map(({ faults }) => faults[0]?.kind);
    assert.deepEqual(new Set(kinds.slice(0, FAULT_KINDS.length)), new Set(FAULT_KINDS));
    assert.deepEqual(new Set(kinds.slice(FAULT_KINDS.length)), new Set(FAULT_KINDS));
  }
});

test("only the wanted kinds begin an episode", () => {
  const kinds = new Set(first(1, 20, ["vip-moved", "api-hung"]).map(({ faults }) => faults[0]?.kind));
  assert.deepEqual(kinds, new Set(["api-hung", "vip-moved"]));
});

describe("in every episode", () => {
  test("there are one or two faults, on two nodes, and the healthy node has none", () => {
    let two = 0;
    everyEpisode(({ faults, healthy }) => {
      assert.ok(faults.length === 1 || faults.length === 2);
      if (faults.length === 2) two += 1;
      const struck = faults.flatMap(({ node, other }) => [node, ...(other === undefined ? [] : [other])]);
      assert.equal(new Set(struck).size, struck.length);
      assert.ok(NODES.includes(healthy) && !struck.includes(healthy));
    });
    assert.ok(two > 1_000, `only ${two} of ${SEEDS.length * MANY} episodes have two faults`);
  });

  test("etcd keeps its quorum, unless the loss of it is the fault", () => {
    const takesMember: readonly FaultKind[] = [
      "node-lost",
      "link-down",
      "link-flapping",
      "node-isolated",
      "link-cut",
      "etcd-killed",
      "etcd-hung",
      "etcd-refused",
    ];
    everyEpisode(({ faults }) => {
      assert.ok(faults.filter(({ kind }) => takesMember.includes(kind)).length <= 1);
    });
  });

  test("nothing else happens while all API servers or the quorum are gone", () => {
    everyEpisode(({ faults }) => {
      const alone = faults.some(({ kind }) => kind === "apis-down" || kind === "quorum-lost");
      assert.ok(!alone || faults.length === 1);
    });
  });

  test("nothing ends the steady node's agent", () => {
    const ends: readonly FaultKind[] = [
      "agent-stopped",
      "agent-restarted",
      "agent-killed",
      "agent-upgraded",
      "node-lost",
    ];
    everyEpisode(({ faults }, seed) => {
      for (const { kind, node } of faults) assert.ok(!ends.includes(kind) || node !== steadyNode(seed));
    });
  });

  test("the second fault begins while the first one lasts, and nothing lasts longer than 14 s", () => {
    everyEpisode((episode) => {
      const [one, other] = episode.faults;
      assert.equal(one?.afterMs, 0);
      if (other !== undefined) assert.ok(other.afterMs <= one.forMs);
      for (const { forMs } of episode.faults) assert.ok(forMs >= 0 && forMs <= 14_000);
      assert.ok(lengthOf(episode) <= 28_000);
    });
  });

  test("a move has a node to come from", () => {
    everyEpisode(({ faults: [fault], holder }) => {
      if (fault?.kind === "vip-moved") assert.notEqual(holder, fault.node);
    });
  });

  test("only a cut and a lost quorum have a second node, and only a step has hours", () => {
    everyEpisode(({ faults }) => {
      for (const { kind, other, stepHours } of faults) {
        assert.equal(other !== undefined, kind === "link-cut" || kind === "quorum-lost");
        assert.equal(stepHours !== 0, kind === "clock-stepped");
      }
    });
  });
});

test("every node has every fault that it may have", () => {
  const seen = new Set<string>();
  everyEpisode(({ faults }) => {
    for (const { kind, node } of faults) seen.add(`${kind} ${node}`);
  });
  assert.equal(seen.size, FAULT_KINDS.length * NODES.length);
});

test("an episode in words", () => {
  const fault = { other: undefined, oneWay: false, stepHours: 0, afterMs: 0 } as const;
  const text = describeEpisode({
    index: 0,
    holder: "n1",
    healthy: "n3",
    calmMs: 0,
    faults: [
      { ...fault, kind: "node-lost", node: "n1", forMs: 8_000 },
      { ...fault, kind: "clock-stepped", node: "n2", stepHours: -5, afterMs: 3_200, forMs: 5_100 },
    ],
  });
  assert.equal(
    text,
    "node-lost n1 for 8.0 s, 3.2 s later clock-stepped n2 by -5 h for 5.1 s (the VIP on n1)",
  );
});
