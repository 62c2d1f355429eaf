/** Proof of death: when may the VIP be taken before its Lease has run out, and by whom? */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { termOf } from "../../../src/election/identity.ts";
import { watchTarget } from "../../../src/election/watch-target.ts";
import { candidate, held, Subject } from "./harness.ts";

const OFFER = { version: 1, addresses: ["10.88.0.11"] };
const n1 = candidate("n1", { mac: "02:00:00:00:00:01", fastPath: OFFER });
const n2 = candidate("n2", { mac: "02:00:00:00:00:02" });
const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });
const all = [n1, n2, n3];
const tenure = termOf(held("n2", 1, all));
const silent = { kind: "silent", tenure } as const;

/** A healthy BACKUP of n2, better than n3. */
function backup(
  change: { readonly fastPath?: boolean; readonly base?: number; readonly onApiLoss?: "release" } = {},
): Subject {
  const base = change.base ?? 120;
  const self = { ...n1, base, effective: base, fastPath: change.fastPath === false ? null : OFFER };
  const subject = new Subject({ base, onApiLoss: change.onApiLoss ?? "auto" }).healthy({
    fastPath: self.fastPath,
  });
  return subject.sees(held("n2", 1, [self, n2, n3]));
}

describe("the holder's kernel is silent", () => {
  test("on the fast path the best candidate binds at once and claims beside", () => {
    const subject = backup().to(300).hears(silent);
    assert.equal(subject.bound, true);
    assert.equal(subject.state.role.kind, "PROVISIONAL");
    assert.deepEqual(
      subject.sent("claim").map(({ replaces }) => replaces?.holder),
      ["n2"],
    );
    subject.answer("claim", { kind: "ok", record: held("n1", 2, all) });
    assert.equal(subject.state.role.kind, "MASTER");
    assert.equal(subject.bound, true);
  });

  test("without it the answer is waited for", () => {
    const subject = backup({ fastPath: false }).to(300).hears(silent);
    assert.equal(subject.bound, false);
    assert.equal(subject.sent("claim").length, 1);
    subject.answer("claim", { kind: "ok", record: held("n1", 2, all) });
    assert.equal(subject.bound, true);
  });

  test("the second best waits 100 ms, and longer for a better one that it hears", () => {
    const subject = backup({ base: 90 }).to(300).hears(silent);
    assert.equal(subject.to(399).bound, false);
    assert.equal(subject.to(400).bound, true);
    const patient = backup({ base: 90 }).to(300).hears(silent);
    patient.to(350).hears({ kind: "claimed", mac: n3.mac });
    assert.equal(patient.to(2_000).bound, false);
    // What it heard came to nothing.
    assert.equal(patient.to(4_400).bound, true);
  });

  test("the dead node itself is no candidate, however good", () => {
    const best = candidate("n2", { mac: n2.mac, effective: 200 });
    const subject = new Subject({ base: 120 })
      .healthy({ fastPath: OFFER })
      .sees(held("n2", 1, [{ ...n1, effective: 120 }, best]));
    subject.hears(silent);
    assert.equal(subject.bound, true);
  });

  test("an answer that comes before our turn withdraws the proof", () => {
    const subject = backup({ base: 90 }).to(300).hears(silent).to(350).hears({ kind: "answering", tenure });
    assert.equal(subject.to(9_000).bound, false);
    assert.equal(subject.sent("claim").length, 0);
  });

  test("proof of another tenure is none", () => {
    const subject = backup().hears({ kind: "silent", tenure: "n3//1" });
    assert.equal(subject.to(3_000).bound, false);
  });

  test("a node that is not eligible takes nothing; where nobody is, it serves when the Lease has run out", () => {
    const subject = backup()
      .healthy({ fastPath: OFFER, faults: ["balancer"] })
      .hears(silent);
    assert.equal(subject.to(9_999).bound, false);
    assert.equal(subject.sent("claim").length, 0);
    const tired = candidate("n3", { mac: n3.mac, eligible: false, faults: ["balancer"] });
    const last = new Subject({ base: 120 })
      .healthy({ fastPath: OFFER, faults: ["balancer"] })
      .sees(held("n2", 1, [n1, n2, tired]))
      .hears(silent);
    assert.equal(last.to(12_000).sent("claim").length, 1);
  });
});

describe("provisional by proof", () => {
  test("ends when the holder answers after all", () => {
    const subject = backup().hears(silent).hears({ kind: "answering", tenure });
    assert.equal(subject.bound, false);
    assert.equal(subject.state.role.kind, "BACKUP");
  });

  test("ends when another one has the Lease", () => {
    const subject = backup().hears(silent);
    subject.answer("claim", { kind: "conflict", record: held("n3", 5, all, { leaseTransitions: 4 }) });
    assert.equal(subject.bound, false);
  });

  test("outlives one late renewal of the dead holder's, and not a holder that goes on", () => {
    const subject = backup().hears(silent);
    subject.answer("claim", { kind: "conflict", record: held("n2", 2, all) });
    assert.equal(subject.bound, true);
    assert.equal(subject.sent("claim").length, 1, "tried again at once");
    for (let second = 1; second <= 4; second += 1) {
      subject.to(second * 1_000).watches(held("n2", 2 + second, all));
    }
    assert.equal(subject.bound, false);
    assert.equal(subject.state.reason, "n2 holds the Lease");
  });

  test("goes on after the renew deadline when nobody answers the claim, and gives way to a claimant then", () => {
    const subject = backup().to(300).hears(silent).to(30_000);
    assert.equal(subject.bound, true);
    assert.ok(subject.boundUntilMs <= 33_000);
    assert.equal(subject.hears({ kind: "claimed", mac: n3.mac }).bound, false);
  });

  test("gives way after that, too, when the holder answers after all", () => {
    const subject = backup().to(300).hears(silent).to(30_000);
    assert.equal(subject.hears({ kind: "answering", tenure }).bound, false);
    assert.equal(subject.state.reason, "n2 claims the VIP as well");
  });

  test("stays before a worse claimant while its claim is under way, and gives way once that came to nothing", () => {
    const claimed = { kind: "claimed", mac: n3.mac } as const;
    assert.equal(backup().to(300).hears(silent).hears(claimed).bound, true);
    for (const outcome of [
      { kind: "rejected", status: 429, message: "too many requests" },
      { kind: "no-answer", ambiguous: false, message: "no kubeconfig trusts the API servers" },
    ] as const) {
      const refused = backup().to(300).hears(silent);
      refused.answer("claim", outcome);
      assert.equal(refused.bound, true);
      assert.equal(
        refused.hears(claimed).bound,
        false,
        "the API may have accepted the claim of the other one",
      );
    }
  });

  test("claims again when its first claim was lost, long before the Lease has run out", () => {
    const subject = backup().to(300).hears(silent);
    const lost = { kind: "no-answer", ambiguous: true, message: "etcd's leader has died" } as const;
    subject.to(4_300).answer("claim", lost);
    assert.equal(subject.to(4_799).sent("claim").length, 0);
    assert.equal(subject.to(4_800).sent("claim").length, 1);
    assert.equal(subject.bound, true);
    subject.answer("claim", { kind: "ok", record: held("n1", 2, all) });
    assert.equal(subject.state.role.kind, "MASTER");
  });

  test("does not claim again before the Lease has run out, when the holder has answered meanwhile", () => {
    const subject = backup().to(300).hears(silent).to(3_000);
    assert.equal(watchTarget(subject.settings, subject.state, subject.state.role).holder?.tenure, tenure);
    subject.hears({ kind: "answering", tenure });
    subject.to(4_300).answer("claim", { kind: "no-answer", ambiguous: true, message: "no answer" });
    assert.equal(subject.to(9_999).sent("claim").length, 0);
    assert.equal(subject.to(10_000).sent("claim").length, 1);
  });

  test("ends after the renew deadline where `release` is wished", () => {
    const subject = backup({ onApiLoss: "release" }).to(300).hears(silent);
    assert.equal(subject.to(4_299).bound, true);
    assert.equal(subject.to(4_300).bound, false);
  });

  test("stays beyond it while the API servers are there and cannot write", () => {
    const subject = backup().to(300).hears(silent);
    const servers = [
      { server: "a", state: "silent" },
      { server: "b", state: "alive" },
      { server: "c", state: "alive" },
    ] as const;
    for (let atMs = 800; atMs <= 9_800; atMs += 500) {
      subject.to(atMs).event({ kind: "surveyed", sentAtMs: atMs - 20, survey: { servers, records: [] } });
    }
    assert.equal(subject.bound, true);
  });
});

describe("a holder whose Lease was taken", () => {
  test("is not offered it back for 15 s, though it is better and says that it is eligible", () => {
    const better = candidate("n2", { effective: 200, preempt: true });
    const self = candidate("n1", { instance: "i1" });
    const subject = new Subject().healthy().sees(held("n2", 1, [self, better]));
    subject.event({
      kind: "evidence",
      evidence: { kind: "silent", tenure: termOf(held("n2", 1)) },
    });
    subject.to(500).answer("claim", { kind: "ok", record: held("n1", 2, [self, better]) });
    const renewed = (atMs: number): void => {
      subject.to(atMs);
      if (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", atMs / 500 + 2, [self, better]) });
    };
    for (let atMs = 1_000; atMs <= 15_000; atMs += 500) renewed(atMs);
    assert.equal(subject.sent("offer").length, 0);
    for (let atMs = 15_500; atMs <= 16_500; atMs += 500) renewed(atMs);
    assert.equal(subject.sent("offer").at(-1)?.to, "n2");
  });
});

describe("who is watched", () => {
  test("the sentinel is told once, and again when somebody else is to be watched", () => {
    const subject = backup();
    const told = (): readonly (string | undefined)[] =>
      subject.log.flatMap((effect) => (effect.kind === "watch" ? [effect.target.holder?.mac] : []));
    assert.deepEqual(told().at(-1), n2.mac);
    const before = told().length;
    subject.to(500).watches(held("n2", 2, [n1, n2, n3]));
    assert.equal(told().length, before, "a renewal changes nothing");
    subject.watches(held("n3", 3, [n1, n2, n3], { leaseTransitions: 4 }));
    assert.deepEqual(told().slice(before), [n3.mac]);
  });

  test("the holder, by a candidate that could take over; the others are witnesses", () => {
    const subject = backup();
    const target = watchTarget(subject.settings, subject.state, subject.state.role);
    assert.deepEqual(target.holder, { tenure, mac: n2.mac });
    assert.deepEqual(
      target.witnesses.map(({ mac }) => mac),
      [n3.mac],
    );
    assert.equal(target.pace, "fast");
  });

  test("nobody, by a node in FAULT or by the holder itself", () => {
    const faulty = backup().healthy({ faults: ["interface"] });
    assert.equal(watchTarget(faulty.settings, faulty.state, faulty.state.role).holder, null);
    const master = new Subject().master([n2, n3]);
    const target = watchTarget(master.settings, master.state, master.state.role);
    assert.equal(target.holder, null);
    assert.equal(target.witnesses.length, 2);
  });

  test("slowly where a false alarm would cost connections", () => {
    const subject = backup({ fastPath: false });
    assert.equal(watchTarget(subject.settings, subject.state, subject.state.role).pace, "slow");
  });
});
