import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { initialState, step } from "../../../src/election/machine.ts";
import type { Effect } from "../../../src/election/types.ts";
import type { Candidate } from "../../../src/kube/record.ts";
import { candidate, held, record, SETTINGS, Subject } from "./harness.ts";

const released = { "leasehold.dev/released-by": "n2" };
const n1 = candidate("n1");
const n2 = candidate("n2");

describe("claiming", () => {
  test("the best-ranked candidate of a released Lease claims at once", () => {
    const subject = new Subject({ base: 120 })
      .healthy()
      .sees(held("n2", 1, [candidate("n1", { effective: 120 }), n2]));
    subject.watches(
      held("", 2, [candidate("n1", { effective: 120 }), candidate("n3")], { annotations: released }),
    );
    assert.equal(subject.sent("claim").length, 1);
  });

  test("the second best waits 100 ms for the best", () => {
    const peers = [n1, candidate("n3")];
    const subject = new Subject().healthy().sees(held("n2", 1, peers));
    subject.watches(held("", 2, peers, { annotations: released }));
    assert.equal(subject.to(99).sent("claim").length, 0);
    assert.equal(subject.to(100).sent("claim").length, 1);
  });

  test("a tie goes to the higher node address", () => {
    const peers = [n1, candidate("n3", { ip: "10.88.0.9" })];
    const subject = new Subject().healthy().sees(held("n2", 1, peers));
    subject.watches(held("", 2, peers, { annotations: released }));
    assert.equal(subject.sent("claim").length, 1);
  });

  test("a new Lease is claimed only after the others had a second to say who they are", () => {
    const subject = new Subject().healthy().sees(record({}, [n1]));
    assert.equal(subject.to(999).sent("claim").length, 0);
    assert.equal(subject.to(1_000).sent("claim").length, 1);
  });

  test("a node whose checks have not all reported claims nothing", () => {
    const subject = new Subject().healthy({ ready: false }).sees(record({}, [n1]));
    assert.equal(subject.to(30_000).sent("claim").length, 0);
  });

  test("a node whose priority nobody can read yet claims nothing", () => {
    const subject = new Subject().healthy().sees(record({}, []));
    assert.equal(subject.to(5_000).sent("claim").length, 0);
    assert.ok(subject.sent("candidate").length > 0);
  });

  test("a held Lease is claimed when nothing changed for the longer of both durations", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2], { leaseDurationMs: 12_000 }));
    assert.equal(subject.to(11_999).sent("claim").length, 0);
    assert.equal(subject.to(12_000).sent("claim").length, 1);
  });

  test("a change of annotations alone does not keep a dead holder's Lease alive", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
    subject
      .to(5_000)
      .watches(held("n2", 1, [n1, n2, candidate("n3", { eligible: false })], { resourceVersion: "105" }));
    assert.equal(subject.to(10_000).sent("claim").length, 1);
  });

  test("a renewal by the holder starts the wait anew, whatever time it wrote", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
    subject.to(5_000).watches(held("n2", 2, [n1, n2], { renewTime: "1970-01-01T00:00:00.000000Z" }));
    assert.equal(subject.to(14_999).sent("claim").length, 0);
    assert.equal(subject.to(15_000).sent("claim").length, 1);
  });

  test("an older record that comes late changes nothing", () => {
    const subject = new Subject().healthy().sees(held("n2", 9, [n1, n2]));
    subject.watches(held("", 2, [n1, n2], { annotations: released }));
    assert.equal(subject.to(5_000).sent("claim").length, 0);
  });

  test("a quorum read is believed even with an older version: etcd was restored", () => {
    const subject = new Subject().healthy().sees(held("n2", 9, [n1, n2]));
    subject.to(1_000).sees(held("", 2, [n1], { annotations: released }));
    assert.equal(subject.sent("claim").length, 1);
  });

  test("a Lease emptied by a person is no vacancy until the last holder's fence has run out", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
    subject.watches(held("", 2, [n1]));
    assert.equal(subject.to(9_999).sent("claim").length, 0);
    assert.equal(subject.to(10_000).sent("claim").length, 1);
  });

  test("a Lease deleted by a person is not created by a follower until the fence has run out", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
    subject.to(100).sees(null);
    assert.equal(subject.to(10_099).sent("claim").length, 0);
    subject.to(12_000);
    assert.deepEqual(
      subject.sent("claim").map((write) => write.replaces),
      [null],
    );
  });

  test("a refused claim is followed by another look, not by a bind", () => {
    const subject = new Subject()
      .healthy()
      .sees(held("n2", 1, [n1, n2]))
      .to(10_000);
    subject.answer("claim", { kind: "conflict", record: held("n3", 5, [n1, n2]) });
    assert.equal(subject.bound, false);
    assert.equal(subject.to(20_100).sent("claim").length, 1);
  });

  test("a claim that is refused without any other record is tried again after half a second, and not in a loop", () => {
    const same = held("n2", 1, [n1, n2]);
    const subject = new Subject().healthy().sees(same).to(10_000);
    subject.answer("claim", { kind: "conflict", record: same });
    assert.equal(subject.to(10_499).sent("claim").length, 0);
    assert.equal(subject.to(10_500).sent("claim").length, 1);
  });

  test("when every candidate is in FAULT, one whose only fault is its balancer serves after 2 s", () => {
    const faulty = candidate("n1", { eligible: false, faults: ["balancer"] });
    const subject = new Subject()
      .healthy({ faults: ["balancer"] })
      .sees(held("n2", 1, [faulty, candidate("n3", { eligible: false, faults: ["interface"] })]));
    subject.watches(
      held("", 2, [faulty, candidate("n3", { eligible: false, faults: ["interface"] })], {
        annotations: released,
      }),
    );
    assert.equal(subject.to(1_999).sent("claim").length, 0);
    assert.equal(subject.to(2_000).sent("claim").length, 1);
  });
});

describe("holding", () => {
  test("the right to the VIP counts from before the claim was sent", () => {
    const subject = new Subject()
      .healthy()
      .sees(held("n2", 1, [n1, n2]))
      .to(10_000);
    subject.nowMs = 10_700;
    subject.answer("claim", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    assert.equal(subject.boundUntilMs, 14_000);
  });

  test("a claim answered after the deadline binds nothing", () => {
    const subject = new Subject()
      .healthy()
      .sees(held("n2", 1, [n1, n2]))
      .to(10_000);
    subject.nowMs = 14_001;
    subject.answer("claim", { kind: "ok", record: held("n1", 2, [n1, n2]) });
    assert.equal(subject.bound, false);
  });

  test("the holder renews every second, one renewal at a time", () => {
    const subject = new Subject().master();
    const start = subject.nowMs;
    subject.to(start + 3_500);
    assert.equal(subject.sent("renew").length, 1);
    subject.answer("renew", { kind: "ok", record: held("n1", 4, [n1]) });
    subject.to(start + 3_600);
    assert.equal(subject.sent("renew").length, 1);
  });

  test("at the renew deadline the VIP goes, without waiting for the renewal under way", () => {
    const subject = new Subject().master();
    const start = subject.nowMs;
    assert.equal(subject.to(start + 3_999).bound, true);
    assert.equal(subject.to(start + 4_000).bound, false);
  });

  test("an agent that was frozen past the deadline unbinds before anything else", () => {
    const subject = new Subject().master();
    subject.nowMs += 60_000;
    const before = subject.log.length;
    subject.event({ kind: "wake" });
    assert.equal(subject.log[before]?.kind, "unbind");
  });

  test("an agent that was frozen past the deadline with an offer out is a BACKUP at once, and stays one", () => {
    const subject = new Subject().master([n2]);
    subject.healthy({ faults: ["balancer"] });
    assert.equal(subject.sent("offer").length, 1);
    const before = subject.log.length;
    subject.nowMs += 60_000;
    subject.event({ kind: "wake" });
    assert.equal(subject.state.role.kind, "BACKUP");
    const after = subject.log.slice(before);
    const changes = after.flatMap((effect) =>
      effect.kind === "report" && effect.report.kind === "transition" ? [effect.report.to] : [],
    );
    assert.deepEqual([changes, after[0]?.kind], [["BACKUP"], "unbind"]);
  });

  test("a deleted Lease is created again by its holder, and the VIP stays", () => {
    const subject = new Subject().master();
    subject
      .to(subject.nowMs + 100)
      .sees(null)
      .to(subject.nowMs + 1_000);
    assert.deepEqual(
      subject.sent("claim").map((write) => write.replaces),
      [null],
    );
    assert.equal(subject.bound, true);
  });

  test("another holder in the record ends it at once", () => {
    const subject = new Subject().master();
    subject.watches(held("n2", 9, [n1, n2]));
    assert.equal(subject.bound, false);
    assert.equal(subject.state.role.kind, "BACKUP");
  });

  test("a holder in FAULT keeps the VIP when nobody is better", () => {
    const subject = new Subject().master([candidate("n2", { eligible: false, faults: ["balancer"] })]);
    subject.healthy({ faults: ["balancer"] }).to(subject.nowMs + 3_000);
    assert.equal(subject.bound, true);
    assert.equal(subject.sent("offer").length, 0);
  });
});

describe("handing over", () => {
  test("a stopping holder offers to the best candidate and stays bound until it is replaced", () => {
    const subject = new Subject().master([n2, candidate("n3", { effective: 90 })]);
    subject.event({ kind: "stop" });
    assert.deepEqual(
      subject.sent("offer").map((write) => write.to),
      ["n2"],
    );
    assert.equal(subject.bound, true);
    subject.watches(held("n2", 9, [n1, n2]));
    assert.equal(subject.bound, true, "the successor may not have bound it yet");
    assert.equal(subject.to(subject.nowMs + 200).bound, false);
  });

  test("a successor that does not claim within 300 ms is passed over", () => {
    const subject = new Subject().master([n2, candidate("n3", { effective: 90 })]);
    const start = subject.nowMs;
    subject.event({ kind: "stop" });
    subject.answer("offer", {
      kind: "ok",
      record: held("n1", 5, [n1, n2, candidate("n3", { effective: 90 })], {
        annotations: { "leasehold.dev/offer": "n2" },
      }),
    });
    subject.to(start + 300);
    assert.deepEqual(
      subject.sent("offer").map((write) => write.to),
      ["n3"],
    );
  });

  test("an offer ends the right 0.9 s after it was sent, until it is known to be untaken", () => {
    const subject = new Subject().master([n2]);
    subject.healthy({ faults: ["balancer"] });
    const offeredMs = subject.nowMs;
    assert.equal(
      subject.log.findLast((effect) => effect.kind === "limit" || effect.kind === "write")?.kind,
      "write",
      "limited before it is written",
    );
    assert.equal(subject.boundUntilMs, offeredMs + 900);
    subject.to(offeredMs + 100).answer("offer", {
      kind: "ok",
      record: held("n1", 0, [n1, n2], {
        resourceVersion: "150",
        annotations: { "leasehold.dev/offer": "n2" },
      }),
    });
    subject.to(offeredMs + 350);
    assert.equal(subject.boundUntilMs, offeredMs + 900, "nobody took it, but that is not sure yet");
    subject.answer("offer", { kind: "ok", record: held("n1", 0, [n1, n2], { resourceVersion: "152" }) });
    subject
      .to(subject.nowMs + 10)
      .answer("renew", { kind: "ok", record: held("n1", 2, [n1, n2], { resourceVersion: "153" }) });
    assert.ok(subject.boundUntilMs >= offeredMs + 350 + 4_000, "withdrawn, and renewed since");
    assert.equal(subject.bound, true);
  });

  test("an offer that the holder did not make limits it as well", () => {
    const subject = new Subject().master([n2]);
    subject.watches(
      held("n1", 0, [n1, n2], { resourceVersion: "150", annotations: { "leasehold.dev/offer": "n2" } }),
    );
    assert.equal(subject.boundUntilMs, subject.nowMs + 900);
  });

  test("with no candidate left a stopping holder unbinds first, then releases", () => {
    const subject = new Subject().master();
    const before = subject.log.length;
    subject.event({ kind: "stop" });
    const kinds = subject.log
      .slice(before)
      .map((effect) => (effect.kind === "write" ? effect.write.kind : effect.kind));
    assert.ok(
      kinds.indexOf("unbind") >= 0 && kinds.indexOf("unbind") < kinds.indexOf("release"),
      kinds.join(),
    );
    subject.answer("release", { kind: "ok", record: held("", 9) });
    assert.equal(subject.state.role.kind, "STOPPED");
  });

  test("a stopping holder whose API says nothing is gone after 2 s", () => {
    const subject = new Subject().master([n2]);
    subject.event({ kind: "stop" });
    subject.to(subject.nowMs + 2_000);
    assert.equal(subject.bound, false);
    assert.equal(subject.state.role.kind, "STOPPED");
  });

  test("nopreempt: a better candidate that does not want to preempt gets no offer", () => {
    const subject = new Subject().master([candidate("n2", { effective: 200 })]);
    assert.equal(subject.to(subject.nowMs + 3_000).sent("offer").length, 0);
  });

  test("preempt: a better candidate that wants to gets an offer", () => {
    const subject = new Subject().master([candidate("n2", { effective: 200, preempt: true })]);
    assert.deepEqual(
      subject
        .to(subject.nowMs + 10)
        .sent("offer")
        .map((write) => write.to),
      ["n2"],
    );
  });

  test("equal priority never preempts, however high the address", () => {
    const subject = new Subject().master([candidate("n2", { preempt: true, ip: "10.88.0.200" })]);
    assert.equal(subject.to(subject.nowMs + 3_000).sent("offer").length, 0);
  });

  test("a holder in FAULT yields under nopreempt, and keeps the VIP meanwhile", () => {
    const subject = new Subject().master([candidate("n2", { effective: 50 })]);
    subject.healthy({ faults: ["balancer"] });
    assert.deepEqual(
      subject.sent("offer").map((write) => write.to),
      ["n2"],
    );
    assert.equal(subject.bound, true);
  });

  test("a holder whose link is dead lets go before it offers", () => {
    const subject = new Subject().master([n2]);
    subject.healthy({ faults: ["interface"] });
    assert.equal(subject.bound, false);
    assert.equal(subject.sent("offer").length, 1);
  });

  test("strict nopreempt: a holder in FAULT is not displaced", () => {
    const subject = new Subject({ nopreemptStrict: true }).master([n2]);
    subject.healthy({ faults: ["balancer"] }).to(subject.nowMs + 2_000);
    assert.equal(subject.sent("offer").length, 0);
  });

  test("move-to: a named lower node gets the offer", () => {
    const peers = [candidate("n2", { effective: 10 }), candidate("n3", { effective: 100 })];
    const subject = new Subject().master(peers);
    subject.watches(held("n1", 7, [n1, ...peers], { annotations: { "leasehold.dev/move-to": "n2" } }));
    assert.deepEqual(
      subject.sent("offer").map((write) => write.to),
      ["n2"],
    );
  });

  test("move-to: a named holder is pinned against a better candidate", () => {
    const subject = new Subject().master();
    const peers = [n1, candidate("n3", { effective: 250, preempt: true })];
    subject.watches(held("n1", 7, peers, { annotations: { "leasehold.dev/move-to": "n1" } }));
    assert.equal(subject.to(subject.nowMs + 900).sent("offer").length, 0);
  });

  test("an offer to us is answered at once", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
    subject.watches(
      held("n2", 1, [n1, n2], { resourceVersion: "200", annotations: { "leasehold.dev/offer": "n1" } }),
    );
    assert.deepEqual(
      subject.sent("claim").map((write) => write.offered),
      [true],
    );
  });

  test("an unfit node does not answer an offer, nor later when it is fit again", () => {
    const subject = new Subject().healthy({ faults: ["balancer"] }).sees(held("n2", 1, [n1, n2]));
    subject.watches(
      held("n2", 1, [n1, n2], { resourceVersion: "200", annotations: { "leasehold.dev/offer": "n1" } }),
    );
    subject.to(400).healthy();
    assert.equal(subject.sent("claim").length, 0);
  });
});

describe("restarting", () => {
  test("an agent restarted within the deadline keeps the VIP and claims the Lease that names it", () => {
    const subject = new Subject();
    subject.nowMs = 5_000;
    subject.event({ kind: "start", resume: { renewedAtMs: 3_000 }, found: { keptMs: 2_000 } });
    assert.equal(subject.boundUntilMs, 7_000);
    subject.sees(held("n1", 1, [n1, n2]));
    assert.equal(subject.bound, true);
    assert.deepEqual(
      subject.sent("claim").map((write) => write.replaces?.holder),
      ["n1"],
    );
  });

  test("it lets go when the Lease names another", () => {
    const subject = new Subject();
    subject.nowMs = 5_000;
    subject.event({ kind: "start", resume: { renewedAtMs: 3_000 }, found: { keptMs: 2_000 } });
    subject.sees(held("n2", 1, [n1, n2]));
    assert.equal(subject.bound, false);
  });

  test("it lets go when it cannot read before the deadline", () => {
    const subject = new Subject();
    subject.nowMs = 5_000;
    subject.event({ kind: "start", resume: { renewedAtMs: 3_000 }, found: { keptMs: 2_000 } });
    assert.equal(subject.to(6_999).bound, true);
    assert.equal(subject.to(7_000).bound, false);
  });

  test("a renewal from before a reboot or from the future is not believed", () => {
    const subject = new Subject();
    subject.event({ kind: "start", resume: { renewedAtMs: 1 }, found: { keptMs: 2_000 } });
    assert.equal(subject.bound, false);
  });

  test("a second machine of our name keeps us out while it is alive", () => {
    const other = candidate("n1", { instance: "other", counter: 7 });
    const subject = new Subject().healthy().sees(held("", 1, [other], { annotations: released }));
    assert.equal(subject.to(5_000).sent("claim").length, 0);
    assert.equal(subject.sent("candidate").length, 0);
  });

  test("a Lease that another machine of our name holds is not ours: not to take up, not to renew, not to release", () => {
    const theirs = held("n1", 1, [n1], { annotations: { "leasehold.dev/holder-instance": "i7" } });
    const backup = new Subject().healthy().sees(theirs);
    assert.equal(backup.to(9_000).sees(theirs).sent("claim").length, 0);
    assert.equal(backup.to(10_100).sent("claim").length, 1, "it has run out, as another's would have");
    const holder = new Subject().master([n2]);
    holder.watches(held("n1", 9, [n1], { annotations: { "leasehold.dev/holder-instance": "i7" } }));
    assert.equal(holder.bound, false);
    assert.equal(holder.state.role.kind, "BACKUP");
    const stopping = new Subject().master();
    stopping.event({ kind: "stop" });
    stopping.answer("release", {
      kind: "conflict",
      record: held("n1", 9, [], { annotations: { "leasehold.dev/holder-instance": "i7" } }),
    });
    assert.equal(stopping.sent("release").length, 0);
  });

  test("a process restarted within the deadline takes its Lease up though a person has wiped the annotations", () => {
    for (const resume of [{ renewedAtMs: 0 }, null]) {
      const subject = new Subject();
      subject.nowMs = 1_000;
      subject.event({ kind: "start", resume, found: resume === null ? null : { keptMs: 2_000 } });
      const { annotations: _, ...rest } = held("n1", 1);
      subject.healthy().sees({ ...rest, annotations: {} });
      assert.equal(subject.sent("claim").length, resume === null ? 0 : 1);
    }
  });

  test("of two that began at one moment the one of the lesser instance keeps the name", () => {
    for (const [instance, keeps] of [
      ["i0", false],
      ["i2", true],
    ] as const) {
      const subject = new Subject().healthy().sees(held("n2", 0, [n2]));
      const answer = (): void =>
        void subject.answer("candidate", {
          kind: "ok",
          record: held("n2", 1, [n1, n2], { resourceVersion: String(200 + subject.nowMs) }),
        });
      for (let round = 0; round < 12 && subject.sent("candidate").length > 0; round += 1) {
        answer();
        subject.watches(
          held("n2", 1, [candidate("n1", { instance, counter: 9 + round }), n2], {
            resourceVersion: String(201 + subject.nowMs),
          }),
        );
        subject.to(subject.nowMs + 600);
      }
      assert.equal(subject.state.self.namesake === null, keeps);
      assert.equal(subject.sent("candidate").length > 0, keeps);
    }
  });

  test("a machine installed anew takes its name back after 30 s of silence", () => {
    const other = candidate("n1", { instance: "other", counter: 7 });
    const subject = new Subject().healthy().sees(held("n2", 1, [other, n2]));
    for (let atMs = 1_000; atMs <= 33_000; atMs += 1_000)
      subject.to(atMs).sees(held("n2", 1 + atMs / 1_000, [other, n2]));
    assert.ok(subject.sent("candidate").length > 0);
  });
});

describe("preempt delay", () => {
  const settings = { nopreempt: false, preemptDelayMs: 5_000, base: 200 };
  const low = candidate("n2", { effective: 50 });
  const wants = (subject: Subject): boolean => subject.sent("candidate").at(-1)?.candidate.preempt ?? false;

  function follow(
    subject: Subject,
    fromMs: number,
    untilMs: number,
    holder: ReturnType<typeof candidate>,
  ): void {
    for (let atMs = fromMs; atMs <= untilMs; atMs += 1_000) {
      subject.to(atMs).watches(held(holder.node, atMs / 1_000 + 1, [holder]));
      if (subject.sent("candidate").length > 0) {
        const own = subject.sent("candidate")[0];
        if (own === undefined) continue;
        subject.answer("candidate", {
          kind: "ok",
          record: held(holder.node, atMs / 1_000 + 1, [holder, own.candidate], {
            resourceVersion: `${100 + atMs / 1_000 + 1}`,
          }),
        });
        if (own.candidate.preempt)
          subject.open.push({
            kind: "write",
            id: 0,
            timeoutMs: 0,
            urgent: false,
            write: { kind: "candidate", candidate: own.candidate },
            sentAtMs: atMs,
          });
      }
    }
  }

  test("it says that it wants to preempt only after a lower holder was seen that long", () => {
    const subject = new Subject(settings).healthy().sees(held("n2", 1, [low]));
    follow(subject, 0, 4_000, low);
    assert.equal(wants(subject), false);
    follow(subject, 5_000, 7_000, low);
    assert.equal(wants(subject), true);
  });

  test("it waits an eighth longer for each better candidate", () => {
    const better = [
      candidate("n3", { effective: 210 }),
      candidate("n4", { effective: 220, eligible: false, faults: ["exec"] }),
    ];
    const saysAt = (others: readonly Candidate[]): number => {
      const subject = new Subject(settings).healthy({ effective: 200 }).sees(held("n2", 1, [low, ...others]));
      for (let atMs = 100; atMs < 8_000; atMs += 100) {
        subject.to(atMs);
        if (subject.sent("candidate").length === 0) continue;
        const own = subject.sent("candidate")[0]?.candidate;
        if (own?.preempt === true) return atMs;
        const change = { resourceVersion: String(200 + atMs) };
        const seen = held("n2", 1, own === undefined ? [low] : [low, ...others, own], change);
        subject.answer("candidate", { kind: "ok", record: seen });
      }
      return Number.NaN;
    };
    assert.equal(saysAt([]), 5_000);
    assert.equal(saysAt(better), 5_700);
  });

  test("a dead holder is replaced without the delay", () => {
    const subject = new Subject({ ...settings, preemptDelayMs: 60_000 })
      .healthy()
      .sees(held("n2", 1, [candidate("n1", { effective: 200 }), low]));
    assert.equal(subject.to(10_000).sent("claim").length, 1);
  });
});

describe("what a node says of its fast path", () => {
  const before = { version: 1, addresses: ["10.88.0.11"] };
  const said = (effects: readonly Effect[]): unknown =>
    effects
      .flatMap((effect) =>
        effect.kind === "write" && effect.write.kind === "candidate" ? [effect.write.candidate.fastPath] : [],
      )
      .at(-1);

  for (const [name, fastPath, instance, expected] of [
    [
      "stands while a restarted agent does not know yet: the rules are still in the kernel",
      undefined,
      "i1",
      before,
    ],
    ["is withdrawn when it is known to be gone", null, "i1", null],
    ["is not taken over from another machine of its name", undefined, "i9", null],
  ] as const) {
    test(name, () => {
      const started = step(
        SETTINGS,
        initialState(SETTINGS, 0),
        { kind: "start", resume: null, found: null },
        0,
      );
      const self = step(
        SETTINGS,
        started.state,
        {
          kind: "self",
          facts: { effective: 100, faults: [], ready: true, mac: "", fastPath, foreign: false },
        },
        1,
      );
      const lease = held("n2", 0, [candidate("n1", { fastPath: before, instance }), candidate("n2")]);
      const watched = step(SETTINGS, self.state, { kind: "watched", record: lease }, 2);
      if (instance === "i1") assert.deepEqual(said(watched.effects), expected);
      // It stands back from the name, and says nothing under it.
      else assert.equal(said(watched.effects), undefined);
    });
  }
});

test("a node that has another address says so in its annotation at once", () => {
  const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
  const [first] = subject.sent("candidate");
  assert.equal(first?.candidate.ip, "10.88.0.11");
  subject.answer("candidate", { kind: "ok", record: held("n2", 1, [first.candidate, n2]) });
  assert.equal(subject.sent("candidate").length, 0);
  subject.healthy({ ip: "10.88.0.77" });
  assert.equal(subject.sent("candidate")[0]?.candidate.ip, "10.88.0.77");
});
