import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { BalanceAlgorithm } from "../../../src/config/config.ts";
import { pick, slowStartWeight, type BackendChoice, type Draw } from "../../../src/proxy/pick.ts";

const algorithms: readonly BalanceAlgorithm[] = ["leastconn", "roundrobin", "random", "source", "local"];

const candidates = fc.uniqueArray(
  fc.record({
    id: fc.integer({ min: 1, max: 254 }).map((n) => `10.0.0.${n}:6443`),
    local: fc.constant(false),
    active: fc.nat(1000),
    weight: fc.double({ min: 0.1, max: 1, noNaN: true }),
  }),
  { selector: (candidate) => candidate.id, minLength: 1, maxLength: 9 },
);
const draws = fc.record({
  source: fc.ipV4(),
  turn: fc.nat(),
  random: fc.double({ min: 0, max: 0.999_999, noNaN: true }).map((value) => () => value),
});

/** A generator with a seed (mulberry32): spreads are checked without chance. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function equals(count: number): readonly (BackendChoice & { active: number })[] {
  return Array.from({ length: count }, (_, i) => ({
    id: `10.0.0.${i + 1}:6443`,
    local: i === 1,
    active: 0,
    weight: 1,
  }));
}

function spread(
  algorithm: BalanceAlgorithm,
  list: readonly BackendChoice[],
  times: number,
): Map<string, number> {
  const random = seeded(7);
  const counts = new Map<string, number>();
  for (let turn = 0; turn < times; turn++) {
    const id = pick(algorithm, list, { source: `10.9.${turn >> 8}.${turn & 255}`, turn, random })?.id ?? "";
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

describe("every algorithm", () => {
  for (const algorithm of algorithms) {
    test(`${algorithm} picks one of the candidates, none only if there is none`, () => {
      const draw: Draw = { source: "192.0.2.1", turn: 0, random: () => 0 };
      assert.equal(pick(algorithm, [], draw), undefined);
      fc.assert(
        fc.property(candidates, draws, (list, draw) => {
          const picked = pick(algorithm, list, draw);
          assert.ok(picked !== undefined && list.includes(picked));
        }),
      );
    });

    if (algorithm !== "local") {
      test(`${algorithm} leaves no equal candidate without connections`, () => {
        const counts = spread(algorithm, equals(3), 3000);
        for (const count of counts.values()) assert.ok(count > 800, JSON.stringify([...counts]));
        assert.equal(counts.size, 3);
      });
    }
  }
});

describe("least connections", () => {
  test("picks the least loaded for its weight", () => {
    fc.assert(
      fc.property(candidates, draws, (list, draw) => {
        const picked = pick("leastconn", list, draw);
        assert.ok(picked !== undefined);
        const load = (candidate: BackendChoice): number => (candidate.active + 1) / candidate.weight;
        for (const other of list) assert.ok(load(picked) <= load(other));
      }),
    );
  });

  test("fills up a server that came back step by step", () => {
    const list = [
      { id: "a", local: false, active: 100, weight: 1 },
      { id: "b", local: false, active: 0, weight: 0.1 },
    ];
    for (let turn = 0; turn < 20; turn++) {
      const picked = pick("leastconn", list, { source: "", turn, random: () => 0 });
      if (picked !== undefined) picked.active++;
    }
    assert.ok((list[1]?.active ?? 0) <= 12, "a tenth of its share, not the whole herd");
    assert.ok((list[1]?.active ?? 0) >= 9);
  });
});

describe("source", () => {
  test("sends a client to the same backend, also after another one has gone", () => {
    fc.assert(
      fc.property(candidates, draws, draws, (list, draw, other) => {
        const picked = pick("source", list, draw);
        assert.equal(pick("source", list.toReversed(), { ...other, source: draw.source }), picked);
        for (const gone of list) {
          if (gone === picked) continue;
          assert.equal(
            pick(
              "source",
              list.filter((candidate) => candidate !== gone),
              draw,
            ),
            picked,
          );
        }
      }),
    );
  });
});

describe("local", () => {
  test("takes the local one whatever its load, and another one without it", () => {
    const list = equals(3).map((candidate) => ({ ...candidate, active: candidate.local ? 999 : 0 }));
    const draw: Draw = { source: "", turn: 0, random: () => 0 };
    assert.equal(pick("local", list, draw)?.local, true);
    assert.notEqual(
      pick(
        "local",
        list.filter((candidate) => !candidate.local),
        draw,
      ),
      undefined,
    );
  });
});

describe("slow start", () => {
  test("rises to the whole share and never to none", () => {
    assert.equal(slowStartWeight(undefined, 10_000), 1);
    assert.equal(slowStartWeight(0, 10_000), 0.1);
    assert.equal(slowStartWeight(5000, 10_000), 0.5);
    assert.equal(slowStartWeight(10_000, 10_000), 1);
    assert.equal(slowStartWeight(60_000, 10_000), 1);
    assert.equal(slowStartWeight(0, 0), 1);
  });

  test("gives a returning server its share of the turns with round robin", () => {
    const [first, second] = equals(2);
    assert.ok(first !== undefined && second !== undefined);
    const counts = spread("roundrobin", [first, { ...second, weight: 0.1 }], 2000);
    const share = (counts.get(second.id) ?? 0) / 2000;
    assert.ok(share > 0.03 && share < 0.08, String(share));
  });
});
