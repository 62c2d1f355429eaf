import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createProofs } from "../../../src/fastpath/proofs.ts";
import type { Proofs } from "../../../src/fastpath/proofs.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { fastPathNode, macOf } from "../../support/fastpath/plans.ts";
import { backend, dead, peer } from "./facts.ts";

function setUp(enforce = true): { clock: FakeClock; proofs: Proofs; warnings: unknown[] } {
  const clock = new FakeClock();
  const warnings: unknown[] = [];
  return {
    clock,
    warnings,
    proofs: createProofs({
      clock,
      enforce,
      log: { ...silentLogger, warn: (fields) => void warnings.push(fields) },
    }),
  };
}

const nodes = [fastPathNode(2), fastPathNode(3)];
const heardBoth = new Set([macOf(2), macOf(3)]);
const heardOne = new Set([macOf(3)]);

describe("the network check", () => {
  test("means nothing until a peer has had 10 s to learn of us; then a silent one gets no connections, and it is said once", () => {
    const { clock, proofs, warnings } = setUp();
    proofs.observe([peer(2), peer(3)], []);
    for (let s = 0; s < 10; s += 5, clock.advance(5_000)) {
      proofs.heard(heardOne, nodes);
      assert.deepEqual([...proofs.unheard()], []);
    }
    for (let i = 0; i < 3; i++) proofs.heard(heardOne, nodes);
    assert.deepEqual([...proofs.unheard()], [macOf(2)]);
    assert.deepEqual(warnings, [{ peer: "n2", mac: macOf(2), enforced: true }]);
    proofs.heard(heardBoth, nodes);
    assert.deepEqual([...proofs.unheard()], []);
  });

  test("starts anew for a peer that left and came back", () => {
    const { clock, proofs } = setUp();
    proofs.observe([peer(2), peer(3)], []);
    proofs.heard(heardBoth, nodes);
    clock.advance(60_000);
    proofs.observe([peer(3)], []);
    proofs.observe([peer(2), peer(3)], []);
    proofs.heard(heardOne, nodes);
    assert.deepEqual([...proofs.unheard()], []);
  });

  test("keeps its verdict over a peer without an agent: nobody sends probes there", () => {
    for (const before of [heardBoth, heardOne]) {
      const { clock, proofs } = setUp();
      proofs.observe([peer(2), peer(3)], []);
      proofs.heard(before, nodes);
      clock.advance(30_000);
      proofs.heard(before, nodes);
      const verdict = [...proofs.unheard()];
      proofs.observe([peer(2, { fresh: false }), peer(3)], []);
      proofs.heard(heardOne, nodes);
      assert.deepEqual([...proofs.unheard()], verdict);
    }
  });

  test("is said but not obeyed where the fast path is demanded", () => {
    const { clock, proofs, warnings } = setUp(false);
    proofs.observe([peer(2), peer(3)], []);
    proofs.heard(heardOne, nodes);
    clock.advance(20_000);
    proofs.heard(heardOne, nodes);
    assert.deepEqual([...proofs.unheard()], []);
    assert.deepEqual(warnings, [{ peer: "n2", mac: macOf(2), enforced: false }]);
  });
});

describe("a node that was lost with its machine", () => {
  test("is trusted again when it has said something since, not when its API server answers", () => {
    const { proofs } = setUp();
    proofs.observe([peer(2)], [backend(2, dead)]);
    assert.deepEqual([...proofs.unproven()], ["n2"]);
    proofs.observe([peer(2)], [backend(2)]);
    assert.deepEqual([...proofs.unproven()], ["n2"]);
    proofs.observe([peer(2, { said: "a/2" })], [backend(2)]);
    assert.deepEqual([...proofs.unproven()], []);
  });

  test("is one whose machine does not answer; one that refuses has its kernel, and its rules", () => {
    const { proofs } = setUp();
    proofs.observe(
      [peer(2), peer(3)],
      [backend(2, { ...dead, silent: false }), backend(3, { grade: "DRAIN", silent: true })],
    );
    assert.deepEqual([...proofs.unproven()], []);
  });

  test("and that only the disk knew of is not trusted for what the Lease says of it first: that may be older than the loss", () => {
    const { proofs } = setUp();
    proofs.observe([peer(2, { fresh: false, said: "" })], [backend(2, dead)]);
    proofs.observe([peer(2, { said: "a/7" })], [backend(2)]);
    assert.deepEqual([...proofs.unproven()], ["n2"]);
    proofs.observe([peer(2, { said: "a/8" })], [backend(2)]);
    assert.deepEqual([...proofs.unproven()], []);
  });
});
