/** Were all nodes given the same VIPs? */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatCandidate, parseCandidate } from "../../../src/kube/record-codec.ts";
import { candidate, held, Subject } from "./harness.ts";

const A = ["10.88.0.100"];
const B = ["10.88.0.101"];

/** A node with the VIPs `own`, which sees what the others say of theirs, and n2 as holder. */
function sees(own: readonly string[], others: readonly (readonly string[] | null)[], holder = "n2"): Subject {
  const peers = others.map((vips, index) => candidate(`n${index + 2}`, { vips }));
  return new Subject({ vips: own })
    .healthy()
    .sees(held(holder, 1, [candidate("n1", { vips: own }), ...peers]));
}

const faults = (subject: Subject): readonly string[] =>
  subject.sent("candidate").at(-1)?.candidate.faults ?? [];
const reports = (subject: Subject): readonly unknown[] =>
  subject.log.flatMap((effect) =>
    effect.kind === "report" && effect.report.kind === "vip-mismatch" ? [effect.report] : [],
  );

describe("a node that was given another VIP than most", () => {
  test("is no candidate, and says once which nodes have which", () => {
    const subject = sees(B, [A, A]).to(5_000);
    assert.deepEqual(faults(subject), ["vip-mismatch"]);
    assert.deepEqual(reports(subject), [{ kind: "vip-mismatch", own: B, vips: A, nodes: ["n2", "n3"] }]);
    assert.equal(subject.to(25_000).sent("claim").length, 0);
  });

  test("is one again when the others agree with it", () => {
    const subject = sees(B, [A, A]);
    subject.watches(
      held("n2", 2, [
        candidate("n1", { vips: B }),
        candidate("n2", { vips: B, counter: 2 }),
        candidate("n3", { vips: A }),
      ]),
    );
    subject.answer("candidate", { kind: "ok", record: subject.state.lease.view?.record ?? assert.fail() });
    assert.equal(subject.state.self.mismatch, null);
  });

  test("hands over when it holds: in a rolling change the VIP moves when most have the new one", () => {
    const subject = new Subject({ vips: A }).master([
      candidate("n2", { vips: A }),
      candidate("n3", { vips: B }),
    ]);
    assert.equal(subject.state.self.mismatch, null);
    subject.watches(
      held("n1", 1, [
        candidate("n1", { vips: A }),
        candidate("n2", { vips: B, counter: 2 }),
        candidate("n3", { vips: B, counter: 2 }),
      ]),
    );
    assert.deepEqual(
      subject.sent("offer").map(({ to }) => to),
      ["n3"],
    );
  });

  for (const [name, own, others, holder, differs] of [
    ["most agree with it", A, [A, B], "n2", false],
    ["of two, the holder is right", B, [A], "n2", true],
    ["so is a holder that is this node", B, [A], "n1", false],
    ["of two without a holder, the first in order", B, [A], "", true],
    ["the same, the other way round", A, [B], "", false],
    ["older agents do not say", B, [null, null, null], "n2", false],
  ] as const) {
    test(`${name}: ${differs ? "it differs" : "it is a candidate"}`, () => {
      assert.equal(sees(own, others, holder).state.self.mismatch !== null, differs);
    });
  }

  test("an agent that is starting or stopping does not count, nor one that is gone", () => {
    const leaving = candidate("n2", { vips: A, state: "INIT" });
    const subject = new Subject({ vips: B })
      .healthy()
      .sees(held("n2", 1, [candidate("n1", { vips: B }), leaving]));
    assert.equal(subject.state.self.mismatch, null);
  });
});

describe("the annotation", () => {
  test("says the VIPs, and can be read where it does not", () => {
    const said = candidate("n1", { vips: ["10.88.0.100", "fd00::100"] });
    assert.deepEqual(parseCandidate("n1", formatCandidate(said)), said);
    const silent = candidate("n1", { vips: null });
    assert.equal(formatCandidate(silent).includes("vips"), false);
    assert.deepEqual(parseCandidate("n1", formatCandidate(silent)), silent);
  });

  for (const vips of [
    "x",
    7,
    [],
    ["nonsense"],
    ["10.88.0.100", 1],
    Array.from({ length: 9 }, () => "10.88.0.100"),
    ["010.88.0.1"],
  ]) {
    test(`ignores VIPs that are none: ${JSON.stringify(vips)}`, () => {
      const text = JSON.stringify({ ...JSON.parse(formatCandidate(candidate("n1"))), vips });
      assert.equal(parseCandidate("n1", text)?.vips, null);
    });
  }
});
