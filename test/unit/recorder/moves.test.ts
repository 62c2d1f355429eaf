import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gapMs, unplannedMove } from "../../../src/recorder/moves.ts";
import { recorded } from "../cli/answers.ts";
import { candidate, held, Subject } from "../election/harness.ts";

const OFFER = { version: 1, addresses: ["10.88.0.11"] };
const n1 = candidate("n1");
const n2 = candidate("n2");
const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });

const MOVE_TO_N2 = { "leasehold.dev/move-to": "n2" };

const movesOf = (subject: Subject): readonly string[] =>
  subject.taken.flatMap((taken) => unplannedMove(taken) ?? []);

describe("an unplanned move", () => {
  test("is a take-over from a holder that was found dead", () => {
    const self = candidate("n1", { effective: 120, base: 120, fastPath: OFFER });
    const subject = new Subject({ base: 120 })
      .healthy({ fastPath: OFFER })
      .sees(held("n2", 1, [self, n2, n3]));
    const { acquireTime, leaseTransitions } = held("n2", 1);
    subject.to(300).hears({ kind: "silent", tenure: ["n2", acquireTime, leaseTransitions].join("/") });
    assert.deepEqual(movesOf(subject), ["holder-dead"]);
  });

  test("is a claim of a Lease that has run out", () => {
    const subject = new Subject()
      .healthy()
      .sees(held("n2", 1, [n1, n2]))
      .to(10_000);
    subject.answer("claim", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    assert.deepEqual(movesOf(subject), ["lease-expired"]);
  });

  test("is the loss of the VIP at the renew deadline", () => {
    const subject = new Subject().master([n2]).to(5_000);
    assert.deepEqual(movesOf(subject), ["vip-lost"]);
  });

  test("is another node's claim that this node has not offered", () => {
    const subject = new Subject().master([n2]);
    subject.watches(held("n2", 5, [n1, n2], { leaseTransitions: 4 }));
    assert.deepEqual(movesOf(subject), ["vip-lost"]);
  });

  for (const [what, because, annotations] of [
    ["that a person asked for", (subject: Subject) => subject.watches(wished()), MOVE_TO_N2],
    ["because of a fault", (subject: Subject) => subject.healthy({ faults: ["balancer"] }), {}],
  ] as const) {
    test(`is a loss by proof of death to a third node, while an offer ${what} is out`, () => {
      const subject = offers(because, annotations);
      // n3 has found this node silent, and has seen nothing of the offer to n2.
      subject.watches(held("n3", 9, [n1, n2, third], { leaseTransitions: 4, annotations }));
      assert.deepEqual(movesOf(subject.to(subject.nowMs + 1_000)), ["vip-lost"]);
      const { decisions } = recorded(subject, subject.nowMs);
      const lost = decisions.find(({ from, to }) => from === "MASTER" && to === "BACKUP");
      assert.ok(
        lost?.evidence.includes(
          "The Lease had been offered to n2. n3 took it without an offer, as from a holder that is dead, cut off or cannot renew.",
        ),
        JSON.stringify(lost),
      );
    });
  }

  test("is a hand-over because of a fault", () => {
    assert.deepEqual(movesOf(handedOver((subject) => subject.healthy({ faults: ["balancer"] }))), ["fault"]);
  });
});

describe("the gap of a take-over", () => {
  const PROBING = { intervalMs: 50, misses: 3 };
  const gapsOf = (subject: Subject): readonly number[] =>
    subject.taken.flatMap((taken) => gapMs(taken, unplannedMove(taken), PROBING) ?? []);

  test("counts from the last answer of a holder that was found dead on the wire", () => {
    const self = candidate("n1", { effective: 120, base: 120, fastPath: OFFER });
    const subject = new Subject({ base: 120 })
      .healthy({ fastPath: OFFER })
      .sees(held("n2", 1, [self, n2, n3]));
    const { acquireTime, leaseTransitions } = held("n2", 1);
    subject.to(900).hears({ kind: "silent", tenure: ["n2", acquireTime, leaseTransitions].join("/") });
    assert.deepEqual(gapsOf(subject), [200]);
  });

  test("counts from the last renewal of a Lease that has run out", () => {
    const subject = new Subject()
      .healthy()
      .sees(held("n2", 1, [n1, n2]))
      .to(10_000);
    subject.answer("claim", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    const [gap = 0, ...more] = gapsOf(subject);
    assert.ok(gap >= 10_000 && gap < 11_000, String(gap));
    assert.deepEqual(more, []);
  });

  test("is none in a planned move, in a first claim and in a loss", () => {
    const first = new Subject()
      .healthy()
      .sees(held("", 1, [n1, n2], { renewTime: null, leaseTransitions: 0 }));
    first.to(20_000).answer("claim", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    for (const subject of [first, new Subject().master([n2]).to(5_000)])
      assert.deepEqual(gapsOf(subject), []);
  });
});

describe("a planned move", () => {
  test("is a first claim", () => {
    const subject = new Subject()
      .healthy()
      .sees(held("", 1, [n1, n2], { renewTime: null, leaseTransitions: 0 }));
    subject.to(20_000).answer("claim", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    assert.deepEqual(movesOf(subject), []);
  });

  test("is a claim of a Lease that its holder has released", () => {
    assert.deepEqual(movesOf(new Subject().master([n2])), []);
  });

  test("is a hand-over that a person asked for", () => {
    const moved = handedOver(
      (subject) => subject.watches(held("n1", 7, [n1, n2], { annotations: MOVE_TO_N2 })),
      MOVE_TO_N2,
    );
    assert.deepEqual(movesOf(moved), []);
    assert.doesNotMatch(JSON.stringify(recorded(moved, moved.nowMs)), /without an offer/);
  });

  test("is one whose offer this node sees only in the claim that took it", () => {
    const moved = handedOver((subject) => subject.watches(wished()), MOVE_TO_N2, false);
    assert.deepEqual(movesOf(moved), []);
  });

  test("is one that a clean stop asked for", () => {
    assert.deepEqual(movesOf(handedOver((subject) => subject.event({ kind: "stop" }))), []);
  });
});

/** Alive, and not the one that is offered the VIP. */
const third = { ...n3, effective: 90 };

/** The Lease of n1, which a person wants on n2. */
const wished = () => held("n1", 7, [n1, n2, third], { annotations: MOVE_TO_N2 });

/** A holder that offers the VIP to n2. */
function offers(
  because: (subject: Subject) => void,
  annotations: Readonly<Record<string, string>>,
  isAnswered = true,
): Subject {
  const subject = new Subject().master([n2, third]);
  because(subject);
  const [offer] = subject.sent("offer");
  assert.equal(offer?.to, "n2");
  if (isAnswered)
    subject.answer("offer", {
      kind: "ok",
      record: held("n1", 8, [n1, n2, third], {
        annotations: { ...annotations, "leasehold.dev/offer": "n2" },
      }),
    });
  return subject;
}

/** A holder whose offer n2 takes. */
function handedOver(
  because: (subject: Subject) => void,
  annotations: Readonly<Record<string, string>> = {},
  isAnswered = true,
): Subject {
  const subject = offers(because, annotations, isAnswered);
  subject.watches(held("n2", 9, [n1, n2], { leaseTransitions: 4, annotations }));
  return subject.to(subject.nowMs + 1_000);
}
