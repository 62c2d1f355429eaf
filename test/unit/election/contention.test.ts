/** Others that claim the VIP on the wire: who gives way, who defends it, and who must be calm for a while. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { penalized } from "../../../src/election/flap-damping.ts";
import { termOf } from "../../../src/election/identity.ts";
import type { Damping, Report } from "../../../src/election/types.ts";
import { candidate, held, Subject } from "./harness.ts";

const STRANGER = "02:00:00:00:00:99";
const OFFER = { version: 1, addresses: ["10.88.0.11"] };
const n1 = candidate("n1", { mac: "02:00:00:00:00:01" });
const n2 = candidate("n2", { mac: "02:00:00:00:00:02" });
const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });

const claimed = (mac: string) => ({ kind: "claimed", mac }) as const;
const conflicts = (subject: Subject): readonly Extract<Report, { kind: "conflict" }>[] =>
  subject.log.flatMap((effect) =>
    effect.kind === "report" && effect.report.kind === "conflict" ? [effect.report] : [],
  );
const defences = (subject: Subject): number => subject.log.filter(({ kind }) => kind === "defend").length;
const urgent = (subject: Subject): number => subject.open.filter((effect) => effect.urgent).length;

describe("a MASTER that hears a stranger", () => {
  test("defends the VIP at RFC 5227's pace, says so, and stays", () => {
    const subject = new Subject().master([n2]);
    for (let n = 0; n < 25; n += 1) {
      subject.to(n * 1_000).hears(claimed(STRANGER));
      if (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", n, [n1, n2]) });
    }
    assert.equal(defences(subject), 3);
    assert.deepEqual(
      conflicts(subject).map(({ mac, outcome }) => [mac, outcome]),
      Array.from({ length: 3 }, () => [STRANGER, "defended"]),
    );
    assert.equal(subject.bound, true);
    assert.equal(subject.state.role.kind, "MASTER");
  });
});

describe("a MASTER that hears another candidate", () => {
  test("renews at all servers at once, and goes on when that succeeds", () => {
    const subject = new Subject().master([n2]).to(300).hears(claimed(n2.mac));
    assert.equal(urgent(subject), 1);
    subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    assert.equal(subject.to(900).state.role.kind, "MASTER");
    assert.equal(subject.state.self.damping, null);
  });

  test("confirmed, says once a second at most that the VIP is here: the other one's word may have been the last that clients heard", () => {
    const subject = new Subject().master([n2]).to(2_000);
    subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    for (const [n, atMs] of [2_100, 2_300, 3_200].entries()) {
      subject.to(atMs).hears(claimed(n2.mac));
      assert.equal(defences(subject), n, "not before the Lease has confirmed it");
      while (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", n + 2, [n1, n2]) });
    }
    assert.equal(defences(subject.to(4_050)), 2);
    assert.equal(defences(subject.to(5_150)), 3, "the last one is answered as well, after a longer pause");
    assert.deepEqual(
      conflicts(subject).map(({ mac, node, outcome }) => [mac, node, outcome]),
      Array.from({ length: 3 }, () => [n2.mac, "n2", "defended"]),
    );
  });

  test("that was the holder a moment ago: the VIP is announced, and nobody alarmed", () => {
    const subject = new Subject().master([n2]).to(300).hears(claimed(n2.mac));
    subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    assert.equal(defences(subject), 1);
    assert.deepEqual(conflicts(subject), []);
  });

  test("while a renewal is under way asks once more when that one is answered", () => {
    const subject = new Subject().master([n2]).to(2_000);
    assert.equal(subject.sent("renew").length, 1);
    subject
      .hears(claimed(n2.mac))
      .to(2_100)
      .answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    assert.equal(urgent(subject), 1);
    subject.answer("renew", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    assert.equal(subject.to(2_800).state.role.kind, "MASTER");
  });

  test("confirmed by the renewal that tells of a person's move-to, hands over and does not defend the VIP against the successor", () => {
    const subject = new Subject().master([n2]).to(2_000);
    subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    subject.to(2_100).hears(claimed(n2.mac));
    const confirmed = held("n1", 2, [n1, n2], { annotations: { "leasehold.dev/move-to": "n2" } });
    subject.answer("renew", { kind: "ok", record: confirmed });
    assert.deepEqual(
      subject.sent("offer").map(({ to }) => to),
      ["n2"],
    );
    assert.deepEqual([defences(subject), conflicts(subject)], [0, []]);
  });

  test("finds that it is another's", () => {
    const subject = new Subject().master([n2]).to(300).hears(claimed(n2.mac));
    subject.answer("renew", { kind: "conflict", record: held("n2", 1, [n1, n2], { leaseTransitions: 4 }) });
    assert.equal(subject.bound, false);
  });

  test("is MASTER as long as its last renewal covers it, then provisional, and lets go at its deadline", () => {
    const subject = new Subject({ base: 120 }).master([n2]).to(300).hears(claimed(n2.mac));
    assert.equal(subject.to(3_499).state.role.kind, "MASTER");
    assert.equal(subject.to(3_500).state.role.kind, "PROVISIONAL");
    assert.equal(subject.bound, true);
    assert.equal(subject.to(3_999).bound, true);
    assert.equal(subject.to(4_000).bound, false);
  });

  test("is confirmed again by a renewal that comes late", () => {
    const subject = new Subject().master([n2]).to(300).hears(claimed(n2.mac)).to(900);
    subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    assert.equal(subject.state.role.kind, "MASTER");
    assert.equal(subject.state.self.damping, null, "the claim took nothing from it");
    assert.equal(subject.to(1_000).bound, true);
  });

  test("defends the VIP when no API server has answered for 500 ms", () => {
    const subject = new Subject().master([n2]).to(2_000);
    subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    subject.to(2_100).hears(claimed(n2.mac));
    assert.equal(defences(subject.to(2_599)), 0);
    assert.equal(defences(subject.to(2_600)), 1);
  });

  test("is charged with trouble when the Lease has given the VIP to the other one, and not before", () => {
    const lost = new Subject().master([n2]).to(300).hears(claimed(n2.mac));
    lost.watches(held("n2", 9, [n1, n2], { leaseTransitions: 4 }));
    assert.equal(lost.state.role.kind, "BACKUP");
    assert.equal(lost.state.self.holdOff, true);
    const late = new Subject({ onApiLoss: "release" }).master([n2]).to(300).hears(claimed(n2.mac)).to(4_100);
    assert.deepEqual([late.state.role.kind, late.state.self.damping], ["BACKUP", null]);
    late.watches(held("n2", 9, [n1, n2], { leaseTransitions: 4 }));
    assert.equal(late.state.self.holdOff, true);
  });

  for (const names of [["n2"], ["n2", "n3"]]) {
    test(`is left alone by frames that a forger sends in the name of ${names.join(" and ")}, with a slow API`, () => {
      const macs = [n1, n2, n3].filter(({ node }) => names.includes(node)).map(({ mac }) => mac);
      const subject = new Subject().master([n2, n3]).to(1_000);
      const fromMs = subject.nowMs;
      let n = 0;
      // What the API answers 700 ms after it was asked.
      for (let atMs = fromMs; atMs < fromMs + 60_000; atMs += 50) {
        subject.to(atMs);
        if (atMs % 200 === 0) subject.hears(claimed(macs[(atMs / 200) % macs.length] ?? ""));
        const due = subject.sent("renew").filter(({ sentAtMs }) => sentAtMs <= atMs - 700);
        for (const _ of due)
          subject.answer("renew", { kind: "ok", record: held("n1", (n += 1), [n1, n2, n3]) });
      }
      const reported = (kind: Report["kind"]): number =>
        subject.log.filter((effect) => effect.kind === "report" && effect.report.kind === kind).length;
      const sent = subject.log.filter((effect) => effect.kind === "write" && effect.write.kind === "renew");
      assert.equal(reported("transition"), 1, "it became MASTER");
      assert.equal(subject.state.self.damping, null);
      assert.ok(sent.length <= 62, `${sent.length} renewals in a minute`);
      assert.ok(n > 40, `${n} answers`);
      const most = 9;
      assert.ok(defences(subject) <= most && defences(subject) >= 6, `${defences(subject)} defences`);
      assert.ok(reported("conflict") <= most);
    });
  }

  test("takes the successor of its own offer for what it is", () => {
    const subject = new Subject({ nopreempt: false }).master([{ ...n2, effective: 200, preempt: true }]);
    const before = urgent(subject);
    subject.hears(claimed(n2.mac));
    assert.equal(urgent(subject), before);
    assert.equal(conflicts(subject).length, 0);
  });
});

describe("a provisional MASTER", () => {
  const tenure = termOf(held("n2", 1));
  const byProof = (base: number): Subject => {
    const self = { ...n1, base, effective: base, fastPath: OFFER };
    const subject = new Subject({ base }).healthy({ fastPath: OFFER }).sees(held("n2", 1, [self, n2, n3]));
    return subject.hears({ kind: "silent", tenure }).to(200);
  };

  test("yields to the holder that the Lease names: it lives", () => {
    const subject = byProof(120).hears(claimed(n2.mac));
    assert.equal(subject.bound, false);
    assert.deepEqual(conflicts(subject), [{ kind: "conflict", mac: n2.mac, node: "n2", outcome: "yielded" }]);
  });

  test("is charged with trouble when the holder that it took for dead renews, and not before", () => {
    const subject = byProof(120).hears(claimed(n2.mac));
    assert.equal(subject.state.self.damping, null, "any host could have sent that frame");
    subject.watches(held("n2", 2, [n1, n2, n3]));
    assert.equal(subject.state.self.holdOff, true);
  });

  test("yields to a stranger", () => {
    assert.equal(byProof(120).hears(claimed(STRANGER)).bound, false);
  });

  test("yields to a better one that is provisional too, and not to a worse one", () => {
    assert.equal(byProof(90).hears(claimed(n3.mac)).bound, false);
    const stays = byProof(120).hears(claimed(n3.mac));
    assert.equal(stays.bound, true);
    assert.equal(defences(stays), 1, "it tells the other one that it is there");
  });

  test("of two exactly one stays, whatever they know of themselves", () => {
    const [better, worse] = [byProof(101), byProof(99)];
    assert.notEqual(better.hears(claimed(n3.mac)).bound, worse.hears(claimed(n3.mac)).bound);
  });
});

describe("a node that brought trouble", () => {
  const seen = held("n2", 1, [n1, n2]);
  const flap = (subject: Subject): Subject => subject.healthy({ faults: ["interface"] }).healthy();
  const released = { "leasehold.dev/released-by": "n2" };

  test("whose link flapped is held off for 10 s, and claims nothing while another candidate may", () => {
    const subject = flap(new Subject().healthy().sees(seen));
    assert.deepEqual(subject.state.self.holdOff, true);
    subject.watches(held("", 2, [n1, candidate("n3", { mac: n3.mac })], { annotations: released }));
    assert.equal(subject.to(3_900).sent("claim").length, 0);
    assert.equal(subject.to(9_900).state.self.holdOff, true);
    assert.equal(subject.to(10_000).state.self.holdOff, false);
  });

  test("claims when the candidates that may have let 4 s pass: they may be dead", () => {
    const subject = flap(new Subject().healthy().sees(seen));
    subject.watches(held("", 2, [n1, candidate("n3", { mac: n3.mac })], { annotations: released }));
    assert.equal(subject.to(4_100).sent("claim").length, 1);
  });

  test("serves all the same when nobody else can", () => {
    const subject = flap(new Subject().healthy().sees(seen));
    subject.watches(held("", 2, [n1], { annotations: released }));
    assert.equal(subject.to(2_000).sent("claim").length, 1);
  });

  test("a link that is slow to come up at boot has not flapped", () => {
    const subject = new Subject().healthy({ faults: ["interface"] }).healthy();
    assert.equal(subject.state.self.damping, null);
  });

  test("the holder's own flapping moves nothing the first time", () => {
    const subject = flap(new Subject().master([n2]));
    assert.equal(subject.state.self.holdOff, true);
    assert.equal(
      subject
        .to(900)
        .sent("offer")
        .filter(({ to }) => to !== null).length,
      1,
      "while the link was bad",
    );
    const alone = flap(new Subject().master());
    assert.equal(alone.state.role.kind, "MASTER");
    assert.equal(alone.sent("candidate").at(-1)?.candidate.faults.includes("unstable"), false);
  });

  test("the holder asks the wire before it binds again, and for 200 ms", () => {
    const subject = new Subject().master([n2]);
    subject.wire = null;
    subject.to(500).healthy({ faults: ["interface"] });
    assert.equal(subject.bound, false);
    flap(subject.to(700));
    assert.deepEqual(
      [subject.bound, subject.log.filter(({ kind }) => kind === "probe")],
      [false, [{ kind: "probe", spread: false, claims: true, questions: 3 }]],
    );
    assert.equal(subject.to(899).bound, false);
    assert.equal(subject.to(900).bound, true);
    assert.equal(flap(new Subject().master()).bound, true, "alone it had not let go");
  });

  test("the holder asks anew when the link was gone again before the wire could answer", () => {
    const subject = new Subject().master([n2]);
    subject.wire = null;
    flap(flap(subject.to(700)).to(750)).to(800);
    assert.equal(subject.log.filter(({ kind }) => kind === "probe").length, 2);
    assert.equal(subject.to(949).bound, false);
    assert.equal(subject.to(950).bound, true);
  });

  test("the holder offers the VIP to the one that has it by then, and stays away until that one holds the Lease", () => {
    const subject = new Subject().master([n3]);
    subject.wire = { owner: n3.mac, prober: null };
    subject.to(500).healthy({ faults: ["interface"] });
    while (subject.sent("offer").length > 0)
      subject.answer("offer", { kind: "no-answer", ambiguous: false, message: "the link is down" });
    subject.to(1_000);
    while (subject.sent("renew").length > 0)
      subject.answer("renew", { kind: "no-answer", ambiguous: true, message: "the link is down" });
    subject.healthy();
    assert.deepEqual([subject.bound, subject.sent("offer").map(({ to }) => to)], [false, ["n3"]]);
    assert.equal(
      subject.to(2_400).sent("renew").length,
      0,
      "n3's claim tests the renewTime that it has seen",
    );
    assert.equal(subject.bound, false);
    subject.watches(held("n3", 2, [n1, n3]));
    assert.deepEqual([subject.bound, subject.state.role.kind], [false, "BACKUP"]);
  });

  test("the holder binds again when that one has let it go", () => {
    const subject = new Subject().master([n3]);
    subject.wire = { owner: n3.mac, prober: null };
    subject
      .to(500)
      .healthy({ faults: ["interface"] })
      .to(1_000)
      .healthy();
    subject.wire = { owner: null, prober: null };
    assert.equal(subject.to(1_900).bound, false);
    assert.equal(subject.to(2_000).bound, true);
  });

  test("a claim that is heard while the holder is away is an answer as well", () => {
    const subject = new Subject().master([n3]);
    subject.wire = null;
    subject
      .to(500)
      .healthy({ faults: ["interface"] })
      .to(1_000)
      .healthy()
      .to(1_100)
      .hears(claimed(n3.mac));
    assert.equal(subject.to(1_500).bound, false);
    assert.equal(subject.state.role.kind, "MASTER");
  });

  test("a holder whose link flaps again hands over in a good moment, though its offers of the bad ones came to nothing", () => {
    const subject = new Subject().master([n2]);
    let n = 0;
    const renewed = (): void => {
      while (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", (n += 1), [n1, n2]) });
    };
    const offers = (): number => subject.sent("offer").filter(({ to }) => to !== null).length;
    for (const atMs of [500, 1_500]) {
      subject.to(atMs).healthy({ faults: ["interface"] });
      while (subject.sent("offer").length > 0)
        subject.answer("offer", { kind: "no-answer", ambiguous: false, message: "the link is down" });
      subject.to(atMs + 500).healthy();
      renewed();
    }
    // Those of the bad moments have been answered.
    assert.equal(offers(), 1);
    assert.equal(subject.bound, true, "make before break: its link is good now");
  });

  test("waits twice as long each time, 10 minutes at most, and begins anew after 10 calm ones", () => {
    let damping: Damping | null = null;
    const waits: number[] = [];
    for (let n = 0; n < 9; n += 1) {
      damping = penalized(damping, n * 1_000);
      waits.push(damping.holdOffUntilMs - n * 1_000);
    }
    assert.deepEqual(waits, [10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 600_000, 600_000, 600_000]);
    assert.equal(penalized(damping, 8_000 + 600_000).level, 0);
  });

  test("never waits less than 10 s nor more than 10 minutes", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 2_000_000 }), { maxLength: 60 }), (gaps) => {
        let damping: Damping | null = null;
        let nowMs = 0;
        for (const gap of gaps) {
          nowMs += gap;
          damping = penalized(damping, nowMs);
          const waitMs = damping.holdOffUntilMs - nowMs;
          if (waitMs < 10_000 || waitMs > 600_000) return false;
        }
        return true;
      }),
    );
  });
});

test("a BACKUP that hears strangers claims nothing sooner nor later, where the VIP has had a holder", () => {
  const subject = new Subject()
    .healthy()
    .sees(held("n2", 1, [n1, n2]))
    .hears(claimed(STRANGER));
  assert.equal(subject.to(9_999).sent("claim").length, 0);
  assert.equal(subject.to(10_000).sent("claim").length, 1);
});
