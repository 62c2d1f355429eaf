import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createRecorder, MOST_DECISIONS } from "../../../src/recorder/recorder.ts";
import type { Recorder } from "../../../src/recorder/recorder.ts";
import { candidate, held, Subject } from "../election/harness.ts";

const n1 = candidate("n1");
const n2 = candidate("n2");

function recorded(subject: Subject, recorder: Recorder = createRecorder()): Recorder {
  for (const taken of subject.taken) recorder.note(taken);
  return recorder;
}

/** A holder that renews `times` times. */
function renewing(times: number): Subject {
  const subject = new Subject().master([n2]);
  for (let turn = 1; turn <= times; turn += 1) {
    subject.to(subject.nowMs + 1_000);
    if (subject.sent("renew").length > 0)
      subject.answer("renew", { kind: "ok", record: held("n1", turn, [n1, n2]) });
    subject.watches(held("n1", turn, [n1, n2]));
  }
  return subject;
}

describe("the flight recorder", () => {
  test("keeps what changed the role, with the state before it", () => {
    const subject = new Subject().master([n2]);
    const decision = recorded(subject)
      .decisions()
      .find(({ before, after }) => before.role.kind !== after.role.kind);
    assert.ok(decision !== undefined);
    assert.deepEqual(
      [decision.before.role.kind, decision.after.role.kind, decision.after.state, decision.event.kind],
      ["BACKUP", "MASTER", "MASTER", "written"],
    );
    assert.ok(decision.effects.some(({ kind }) => kind === "hold"));
  });

  test("has one entry for a renewal that is repeated, and says how often and until when", () => {
    const subject = renewing(300);
    const decisions = recorded(subject).decisions();
    assert.ok(subject.taken.length > 900);
    assert.ok(decisions.length < 30, `${decisions.length} decisions`);
    const renewals = decisions.filter(
      ({ event, repeats }) => event.kind === "written" && event.write.kind === "renew" && repeats > 0,
    );
    assert.equal(renewals.length, 1);
    assert.ok((renewals[0]?.repeats ?? 0) > 200);
    assert.ok((renewals[0]?.lastAtMs ?? 0) > subject.nowMs - 2_000);
  });

  test("has few entries for a machine that goes on claiming the VIP, and one more for each other machine", () => {
    const entries = (macs: readonly string[]): readonly (readonly [number, number])[] => {
      const subject = new Subject().master([n2]);
      for (let turn = 1; turn <= 600; turn += 1) {
        const mac = macs[Math.floor(turn / 100) % macs.length] ?? "";
        subject.to(turn * 1_000).hears({ kind: "claimed", mac });
        while (subject.sent("renew").length > 0)
          subject.answer("renew", { kind: "ok", record: held("n1", turn, [n1, n2]) });
      }
      return recorded(subject)
        .decisions()
        .filter(({ effects }) =>
          effects.some(({ kind, ...more }) => kind === "report" && JSON.stringify(more).includes("defended")),
        )
        .map(({ repeats, lastAtMs }) => [repeats, lastAtMs]);
    };
    const one = entries(["02:00:00:00:00:99"]);
    assert.ok(one.length >= 1 && one.length <= 2, `${one.length} entries`);
    assert.ok(one.some(([repeats, lastAtMs]) => repeats > 40 && lastAtMs > 580_000));
    assert.ok(entries(["02:00:00:00:00:98", "02:00:00:00:00:99"]).length > one.length);
  });

  test("drops a step that decides nothing", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
    subject.sent("candidate").forEach(() => {});
    const recorder = recorded(subject);
    const before = recorder.decisions().length;
    const idle = new Subject();
    idle.state = subject.state;
    for (let turn = 0; turn < 50; turn += 1) idle.watches(held("n2", 1, [n1, n2]));
    recorded(idle, recorder);
    assert.equal(recorder.decisions().length, before);
  });

  test("keeps the last thousand, whatever happens", () => {
    const recorder = createRecorder();
    const subject = new Subject().healthy();
    for (let turn = 0; turn < 3 * MOST_DECISIONS; turn += 1) {
      subject.nowMs += 1;
      subject.watches(held(turn % 2 === 0 ? "n2" : "n3", turn + 1, [n1, n2], { leaseTransitions: turn }));
    }
    recorded(subject, recorder);
    const decisions = recorder.decisions();
    assert.ok(decisions.length <= MOST_DECISIONS && decisions.length >= 0.9 * MOST_DECISIONS);
    assert.equal(decisions.at(-1)?.atMs, subject.nowMs);
  });

  test("keeps fewer of them when the Lease is made large", () => {
    const recorder = createRecorder();
    const subject = new Subject().healthy();
    for (let turn = 0; turn < 300; turn += 1) {
      const annotations = { padding: String(turn % 10).repeat(256 * 1024) };
      subject.watches(held("n2", turn + 1, [n1, n2], { leaseTransitions: turn, annotations }));
    }
    recorded(subject, recorder);
    // 4 MiB of annotations: each of these decisions keeps two Leases alive.
    assert.ok(recorder.decisions().length <= 17, `${recorder.decisions().length} decisions`);
  });

  test("keeps an outage as few entries, and its end", () => {
    const subject = new Subject().healthy().sees(held("n2", 1, [n1, n2]));
    for (let turn = 0; turn < 600; turn += 1) {
      subject.to(subject.nowMs + 1_000);
      subject.event({
        kind: "read",
        sentAtMs: subject.nowMs - 10,
        outcome: { kind: "no-answer", message: `connect ECONNREFUSED ${turn}` },
      });
    }
    const decisions = recorded(subject).decisions();
    assert.ok(decisions.length < 60, `${decisions.length} decisions`);
    const failed = decisions.filter(
      ({ event }) => event.kind === "read" && event.outcome.kind === "no-answer",
    );
    assert.ok(failed.some(({ repeats }) => repeats > 100));
  });
});
