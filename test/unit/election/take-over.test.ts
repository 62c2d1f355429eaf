/**
 * Other software has the VIP, and this node stands by for it (LEASEHOLD_TAKE_OVER): when it waits, when it
 * claims, and when it gives the VIP back.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ElectionSettings } from "../../../src/election/types.ts";
import { eligible, faultsOf, isTaken, vrrpState } from "../../../src/election/eligibility.ts";
import { termOf } from "../../../src/election/identity.ts";
import { waitsFor } from "../../../src/election/take-over.ts";
import { candidate, held, record, Subject } from "./harness.ts";

const KEEPALIVED = "02:00:00:00:00:99";
const n1 = candidate("n1", { mac: "02:00:00:00:00:01" });
const n2 = candidate("n2", { mac: "02:00:00:00:00:02" });
/** Keepalived runs on n2, and has the VIP there. */
const squatted = { ...n2, eligible: false, faults: ["vip"], counter: 2 };
/** A holder whose kernel refuses the VIP is no such machine. */
const broken = { ...squatted, state: "FAULT" as const };
const claimed = (mac: string) => ({ kind: "claimed", mac }) as const;
const fresh = (): ReturnType<typeof record> => record({ resourceVersion: "5" }, [n1, n2]);

/** Beside keepalived, which answers for the VIP from the beginning. */
function beside(change: Partial<ElectionSettings> = {}, mac = KEEPALIVED): Subject {
  const subject = new Subject({ takeOver: true, ...change });
  subject.wire = { owner: mac, prober: null };
  return subject.healthy().sees(fresh());
}

/** Keepalived is stopped. @returns the Lease as the node sees it once it has said that it is eligible */
function silence(subject: Subject): void {
  subject.wire = null;
  const probes = subject.asked("probe");
  for (let atMs = subject.nowMs; subject.asked("probe") === probes && atMs < 60_000; atMs += 10)
    subject.to(atMs);
  // Three probes, 200 ms apart.
  subject.to(subject.nowMs + 600).hears({ kind: "probed", owner: null, prober: null });
}

const state = (subject: Subject): string => vrrpState(subject.state, subject.state.role);
const isEligible = (subject: Subject): boolean => eligible(subject.state, subject.state.role);

describe("a node beside other software that has the VIP", () => {
  test("waits as BACKUP, without a fault, and is no candidate", () => {
    const subject = beside().to(60_000);
    assert.deepEqual(
      [state(subject), isEligible(subject), faultsOf(subject.state, subject.state.role)],
      ["BACKUP", false, []],
    );
    assert.deepEqual([subject.sent("claim"), subject.bound], [[], false]);
    assert.match(waitsFor(subject.state), /the machine 02:00:00:00:00:99 has the VIP/);
  });

  test("without LEASEHOLD_TAKE_OVER is in FAULT vip-conflict, as ever", () => {
    const subject = beside({ takeOver: false }).to(3_000);
    assert.deepEqual(faultsOf(subject.state, subject.state.role), ["vip-conflict"]);
  });

  test("asks the wire again soon, all the time", () => {
    const subject = beside().to(5_000);
    const before = subject.asked("probe");
    subject.to(6_000);
    assert.ok(subject.asked("probe") - before >= 6, String(subject.asked("probe") - before));
  });

  test("claims within a second of its silence", () => {
    const subject = beside().to(60_000);
    const atMs = subject.nowMs;
    silence(subject);
    assert.equal(isEligible(subject), true);
    // Its annotation says so by now.
    subject.watches(record({ resourceVersion: "9" }, [{ ...n1, counter: 5 }, n2]));
    assert.equal(subject.sent("claim").length, 1);
    assert.ok(subject.nowMs - atMs <= 850, `${subject.nowMs - atMs} ms`);
  });

  test("does so as well when the Lease is new and the candidates have just come", () => {
    const subject = beside();
    const waiting = [n1, n2].map((one) => ({ ...one, eligible: false, counter: 3 }));
    subject.to(1_000).watches(record({ resourceVersion: "7" }, waiting));
    const atMs = subject.nowMs;
    silence(subject);
    subject.watches(
      record({ resourceVersion: "9" }, [
        { ...n1, counter: 5 },
        { ...n2, counter: 5 },
      ]),
    );
    assert.equal(subject.sent("claim").length, 1);
    assert.ok(subject.nowMs - atMs <= 850, `${subject.nowMs - atMs} ms`);
  });

  test("does not claim while another machine has got the VIP from the first one", () => {
    const subject = beside().to(60_000);
    subject.wire = { owner: "02:00:00:00:00:98", prober: null };
    assert.equal(subject.to(70_000).sent("claim").length, 0);
    assert.match(waitsFor(subject.state), /02:00:00:00:00:98/);
  });

  for (const [name, seen] of [
    ["that was held and has expired", held("n2", 1, [n1, n2])],
    ["that was released", held("", 1, [n1, n2], { annotations: { "leasehold.dev/released-by": "n2" } })],
    ["that names this machine", held("n1", 1, [n1, n2])],
    ["that was emptied", held("", 1, [n1, n2])],
  ] as const) {
    test(`does not claim a Lease ${name} either`, () => {
      const subject = new Subject({ takeOver: true });
      subject.wire = { owner: KEEPALIVED, prober: null };
      assert.equal(subject.healthy().sees(seen).to(60_000).sent("claim").length, 0);
      assert.equal(state(subject), "BACKUP");
    });
  }

  test("stays BACKUP as well where no API server lets it read or write", () => {
    const subject = beside().hears({ kind: "neighbours", heard: true });
    for (let atMs = 500; atMs <= 40_000; atMs += 500)
      subject
        .to(atMs)
        .event({ kind: "read", sentAtMs: atMs, outcome: { kind: "rejected", status: 403, message: "no" } });
    assert.equal(subject.bound, false);
  });

  test("an answer of a candidate's agent is no other software", () => {
    const subject = new Subject({ takeOver: true });
    subject.wire = { owner: n2.mac, prober: null };
    subject
      .healthy()
      .sees(held("n2", 1, [n1, n2]))
      .hears(claimed(n2.mac))
      .to(500);
    assert.equal(isEligible(subject), true);
  });

  test("a machine whose agent left the cluster long after it answered is no other software either", () => {
    const subject = new Subject({ takeOver: true }).healthy();
    subject.sees(held("n2", 1, [n1, n2])).hears(claimed(n2.mac));
    subject.to(9_000).watches(held("n3", 2, [n1], { leaseTransitions: 4 }));
    assert.equal(isEligible(subject), true);
  });
});

/**
 * Its agent was killed as MASTER while keepalived ran beside it, so it has not said whose the address is. Seen
 * with the real keepalived: the node that had been MASTER in between stood by, and the third one did not.
 */
describe("a node beside a candidate's machine that answers for the VIP, and whose agent has ended", () => {
  const ended = { ...n2, state: "MASTER" as const, counter: 9 };
  const released = held("", 2, [n1, ended], { annotations: { "leasehold.dev/released-by": "n3" } });

  for (const [name, seen, freeMs] of [
    ["that was released", released, 0],
    ["that names that candidate and has expired", held("n2", 1, [n1, ended]), 10_000],
    ["that names this machine", held("n1", 1, [n1, ended]), 0],
  ] as const) {
    test(`stands by within two seconds after a Lease is free ${name}`, () => {
      const subject = new Subject({ takeOver: true });
      subject.wire = { owner: n2.mac, prober: null };
      subject
        .healthy()
        .sees(seen)
        .to(freeMs + 900);
      assert.equal(isTaken(subject.state), false, "a machine that hands over may answer for as long");
      subject.to(freeMs + 3_500);
      assert.deepEqual(
        [isTaken(subject.state), state(subject), isEligible(subject)],
        [true, "BACKUP", false],
      );
      assert.match(waitsFor(subject.state), /on n2 \(02:00:00:00:00:02\)/);
      assert.deepEqual([subject.to(60_000).sent("claim"), isTaken(subject.state)], [[], true]);
    });
  }

  test("takes the VIP within a second of its silence", () => {
    const subject = new Subject({ takeOver: true });
    subject.wire = { owner: n2.mac, prober: null };
    subject.healthy().sees(released).to(20_000);
    const atMs = subject.nowMs;
    silence(subject);
    subject.watches(record({ resourceVersion: "9" }, [{ ...n1, counter: 5 }, ended]));
    assert.equal(subject.sent("claim").length, 1);
    assert.ok(subject.nowMs - atMs <= 850, `${subject.nowMs - atMs} ms`);
  });

  test("finds that it is that candidate's agent, as soon as that agent holds the Lease", () => {
    const subject = new Subject({ takeOver: true });
    subject.wire = { owner: n2.mac, prober: null };
    subject
      .healthy()
      .sees(held("n2", 1, [n1, ended]))
      .to(15_000);
    assert.equal(isTaken(subject.state), true);
    subject.watches(held("n2", 2, [n1, { ...ended, counter: 10 }])).to(16_000);
    assert.deepEqual([isTaken(subject.state), isEligible(subject)], [false, true]);
  });

  test("takes no holder for other software whose renewals it cannot read", () => {
    const subject = new Subject({ takeOver: true });
    subject.wire = { owner: n2.mac, prober: null };
    subject.healthy().sees(held("n2", 1, [n1, ended]));
    for (let atMs = 500; atMs <= 40_000; atMs += 500)
      subject.to(atMs).event({ kind: "read", sentAtMs: atMs, outcome: { kind: "no-answer", message: "no" } });
    assert.equal(isTaken(subject.state), false);
  });
});

describe("a node on whose own machine the other software has the VIP", () => {
  const onIt = (): Subject => {
    const subject = new Subject({ takeOver: true });
    return subject.healthy({ foreign: true }).sees(fresh());
  };

  test("waits as BACKUP, is no candidate, and says so by the fault vip, which the others read", () => {
    const subject = onIt().to(60_000);
    assert.deepEqual([state(subject), isEligible(subject), subject.bound], ["BACKUP", false, false]);
    const [said] = subject.sent("candidate").slice(-1);
    assert.deepEqual(
      [said?.candidate.state, said?.candidate.eligible, said?.candidate.faults],
      ["BACKUP", false, ["vip"]],
    );
    assert.match(waitsFor(subject.state), /on this machine/);
  });

  test("asks the wire before it claims when it has gone: another machine may have got the VIP", () => {
    const subject = onIt().to(10_000);
    subject.wire = { owner: squatted.mac, prober: null };
    subject.watches(record({ resourceVersion: "7" }, [n1, squatted]));
    subject.healthy();
    assert.equal(subject.to(20_000).sent("claim").length, 0);
    subject.wire = { owner: null, prober: null };
    subject.to(20_200).watches(record({ resourceVersion: "9" }, [{ ...n1, counter: 9 }, n2]));
    assert.equal(subject.to(20_300).sent("claim").length, 1);
  });

  test("unbinds what a previous process of its own has left, and does not take it up", () => {
    const subject = new Subject({ takeOver: true });
    subject.event({ kind: "start", resume: { renewedAtMs: 0 }, found: { keptMs: 2_000 } });
    assert.equal(subject.bound, true);
    subject.healthy({ foreign: true }).sees(held("n1", 1, [n1, n2]));
    assert.equal(subject.bound, false);
    assert.equal(subject.sent("release").length, 1);
  });
});

describe("a MASTER to which the other software comes back", () => {
  const master = (): Subject => {
    const subject = new Subject({ takeOver: true }).master([n2]);
    subject.to(1_900).answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    while (subject.sent("renew").length > 0)
      subject.answer("renew", { kind: "ok", record: held("n1", 1, [n1, n2]) });
    return subject;
  };

  test("gives the VIP back to a stranger in the same step, does not defend it, and releases the Lease", () => {
    const subject = master().to(1_950);
    subject.wire = { owner: KEEPALIVED, prober: null };
    subject.hears(claimed(KEEPALIVED));
    assert.deepEqual([subject.bound, state(subject), subject.asked("defend")], [false, "BACKUP", 0]);
    assert.equal(subject.sent("release").length, 1);
    subject.answer("release", { kind: "ok", record: held("", 2, [n1, n2]) }).to(60_000);
    assert.deepEqual([subject.bound, subject.sent("claim")], [false, []]);
  });

  test("gives it back to a program on its own machine", () => {
    const subject = master().healthy({ foreign: true });
    assert.deepEqual([subject.bound, state(subject)], [false, "BACKUP"]);
    assert.equal(subject.sent("release").length, 1);
  });

  test("a renewal that was under way does not make it MASTER again", () => {
    const subject = master().to(3_000);
    assert.equal(subject.sent("renew").length, 1);
    subject.wire = { owner: KEEPALIVED, prober: null };
    subject.hears(claimed(KEEPALIVED));
    assert.equal(subject.sent("release").length, 0);
    subject.answer("renew", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    assert.deepEqual([subject.bound, subject.sent("release").length], [false, 1]);
  });

  test("does not answer the claim of a candidate's machine before that candidate can have said whose it is", () => {
    const subject = master().to(2_100);
    subject.wire = { owner: n2.mac, prober: null };
    subject.hears(claimed(n2.mac));
    while (subject.sent("renew").length > 0)
      subject.answer("renew", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    assert.deepEqual([subject.bound, subject.asked("defend")], [true, 0]);
    subject.to(2_200).watches(held("n1", 3, [n1, squatted]));
    assert.deepEqual([subject.bound, subject.asked("defend")], [false, 0]);
  });

  test("gives it to a candidate's machine as soon as that candidate says so, also if its claim was not heard", () => {
    const subject = master().to(1_950);
    subject.wire = { owner: n2.mac, prober: null };
    subject.watches(held("n1", 3, [n1, broken]));
    assert.equal(subject.bound, true);
    subject.watches(held("n1", 4, [n1, { ...squatted, counter: 3 }]));
    assert.equal(subject.bound, false);
    // It has let the VIP go, and its agent was killed before it could say so.
    subject.wire = null;
    subject.to(2_500).hears({ kind: "probed", owner: null, prober: null });
    assert.equal(isEligible(subject.to(5_000)), true);
  });

  test("gives it to the machine of a candidate whose agent has ended, when that machine still answers", () => {
    const ended = { ...n2, eligible: false, state: "INIT" as const, counter: 9 };
    const subject = master().to(1_950);
    subject.watches(held("n1", 3, [n1, ended]));
    subject.wire = { owner: n2.mac, prober: null };
    subject.to(2_000).hears(claimed(n2.mac));
    for (let atMs = 2_050; atMs <= 3_000; atMs += 50) {
      while (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", 3, [n1, ended]) });
      assert.equal(subject.bound, true, `${atMs}`);
      subject.to(atMs);
    }
    subject.to(3_050);
    assert.deepEqual([subject.bound, subject.asked("defend")], [false, 0]);
    while (subject.sent("renew").length > 0)
      subject.answer("renew", { kind: "ok", record: held("n1", 4, [n1, ended]) });
    assert.equal(subject.sent("release").length, 1);
    subject.answer("release", { kind: "ok", record: held("", 5, [n1, ended]) }).to(30_000);
    assert.deepEqual([subject.bound, subject.sent("claim")], [false, []]);
  });

  // Both were seen with the real keepalived: an answer to a question of this node is a claim, and what a killed
  // agent has said of itself stays in the Lease.
  for (const [how, said] of [
    ["was stopped", { ...n2, eligible: false, counter: 9 }],
    ["was killed as MASTER", { ...n2, state: "MASTER" as const, counter: 9 }],
  ] as const)
    test(`gives it to a machine whose agent ${how} and that answers each question`, () => {
      const subject = master().to(1_950);
      subject.watches(held("n1", 3, [n1, said]));
      subject.wire = { owner: n2.mac, prober: null };
      for (let atMs = 2_000; atMs <= 4_000 && subject.bound; atMs += 150) {
        subject.to(atMs).hears(claimed(n2.mac));
        while (subject.sent("renew").length > 0)
          subject.answer("renew", { kind: "ok", record: held("n1", 4, [n1, said]) });
      }
      assert.deepEqual([subject.bound, subject.nowMs >= 3_000, subject.asked("defend")], [false, true, 0]);
      while (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", 5, [n1, said]) });
      subject.answer("release", { kind: "ok", record: held("", 6, [n1, said]) });
      assert.equal(isEligible(subject), false);
      // Its annotation does not change until its agent starts again.
      for (let atMs = subject.nowMs; atMs <= 30_000; atMs += 500) subject.to(atMs).hears(claimed(n2.mac));
      assert.deepEqual([subject.bound, subject.sent("claim"), isEligible(subject)], [false, [], false]);
    });

  test("keeps it when such a machine is silent again: its agent was the holder, and has let go", () => {
    const subject = master().to(2_000).hears(claimed(n2.mac));
    for (let atMs = 2_050; atMs <= 4_000; atMs += 50) {
      while (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", atMs, [n1, n2]) });
      subject.to(atMs);
    }
    assert.equal(subject.bound, true);
  });

  test("finds out by itself when the announcement was lost", () => {
    const subject = master();
    subject.wire = { owner: KEEPALIVED, prober: null };
    for (let n = 3; n <= 9 && subject.bound; n += 1) {
      subject.to(n * 1_000);
      if (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", n, [n1, n2]) });
    }
    assert.equal(subject.bound, false);
  });

  test("keeps it from a stranger without LEASEHOLD_TAKE_OVER", () => {
    const subject = new Subject().master([n2]).to(1_500).hears(claimed(KEEPALIVED));
    assert.equal(subject.bound, true);
  });

  test("keeps it when a candidate that it has heard is removed from the Lease", () => {
    const subject = master().to(1_950).hears(claimed(n2.mac));
    while (subject.sent("renew").length > 0)
      subject.answer("renew", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    subject.to(2_000).watches(held("n1", 3, [n1]));
    assert.equal(subject.bound, true);
  });

  test("gives it to a candidate that claims it while no API server confirms this node", () => {
    const subject = master().to(1_950).hears(claimed(n2.mac));
    assert.deepEqual([subject.to(2_400).bound, subject.to(2_500).bound], [true, false]);
  });

  test("keeps it from a candidate that is none of the other software's", () => {
    const subject = master().to(2_100).hears(claimed(n2.mac));
    assert.equal(subject.bound, true);
  });
});

test("a PROVISIONAL node gives the VIP back without defending it", () => {
  const OFFER = { version: 1, addresses: ["10.88.0.11"] };
  const self = { ...n1, base: 120, effective: 120, fastPath: OFFER };
  const subject = new Subject({ takeOver: true, base: 120 }).healthy({ fastPath: OFFER });
  subject.sees(held("n2", 1, [self, n2])).hears({ kind: "silent", tenure: termOf(held("n2", 1)) });
  subject.to(200);
  assert.deepEqual([subject.state.role.kind, subject.bound], ["PROVISIONAL", true]);
  subject.wire = { owner: KEEPALIVED, prober: null };
  subject.hears(claimed(KEEPALIVED));
  assert.deepEqual([subject.state.role.kind, subject.bound, subject.asked("defend")], ["BACKUP", false, 0]);
  // The claim was under way.
  subject.answer("claim", { kind: "ok", record: held("n1", 2, [self, n2], { leaseTransitions: 4 }) });
  assert.deepEqual([subject.bound, subject.sent("release").length], [false, 1]);
});
