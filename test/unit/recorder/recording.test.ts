import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createRecorder } from "../../../src/recorder/recorder.ts";
import { formatRecording, NoRecording, parseRecording, replay } from "../../../src/recorder/recording.ts";
import { changesOf, fromJson, toJson, withChanges } from "../../../src/recorder/values.ts";
import type { LeaseRecord } from "../../../src/kube/record.ts";
import { candidate, held, Subject } from "../election/harness.ts";

const OFFER = { version: 1, addresses: ["10.88.0.11"] };
const n2 = candidate("n2");
const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });
const self = candidate("n1", { base: 120, effective: 120, fastPath: OFFER });
const WALL = new Date("2026-01-02T03:04:05.678Z");

/** A backup that finds the holder dead and takes the VIP, and whose claim is refused. */
function takeover(): Subject {
  const subject = new Subject({ base: 120 }).healthy({ fastPath: OFFER }).sees(held("n2", 1, [self, n2, n3]));
  subject.to(300);
  const { acquireTime, leaseTransitions } = held("n2", 1);
  subject.hears({ kind: "silent", tenure: ["n2", acquireTime, leaseTransitions].join("/") });
  subject.answer("claim", {
    kind: "rejected",
    status: 403,
    message: 'leases "leasehold" is forbidden\u001b[2J',
  });
  return subject.to(5_000);
}

function recordingOf(subject: Subject): string {
  const recorder = createRecorder();
  for (const taken of subject.taken) recorder.note(taken);
  return formatRecording(
    { node: "n1", agent: "0.1.0", cause: "holder-dead", wall: WALL, nowMs: subject.nowMs },
    recorder.settings(),
    recorder.decisions(),
  );
}

describe("a recording", () => {
  test("says which evidence, which rule and what was refused", () => {
    const recording = parseRecording(recordingOf(takeover()));
    assert.deepEqual(
      [recording.node, recording.cause, recording.writtenAt],
      ["n1", "holder-dead", "2026-01-02T03:04:05.678Z"],
    );
    const taken = recording.decisions.find(({ to }) => to === "PROVISIONAL");
    assert.ok(taken !== undefined);
    assert.deepEqual(
      [taken.told, taken.rule, taken.state, taken.at, taken.agoMs],
      [
        "The kernel of the holder n2 did not answer for the VIP, and a third host did answer.",
        { when: "the holder is silent on the wire, and two holders do no harm", file: "backup.ts" },
        "MASTER",
        "2026-01-02T03:04:00.978Z",
        4_700,
      ],
    );
    assert.ok(taken.evidence.includes("This node's effective priority was 120 of 120, without a fault."));
    assert.ok(taken.did.includes("It took n2 for dead."));
    assert.ok(taken.did.includes("It sent the claim of the Lease."));
    const refused = recording.decisions.find((one) => one.refused.length > 0);
    assert.deepEqual(refused?.refused, [
      'The API refused the claim of the Lease with 403: leases "leasehold" is forbidden\\u{1b}[2J',
    ]);
  });

  describe("says how long clients waited at most", () => {
    /** A backup that claims the Lease of n2 in this way, and gets it. */
    function claims(record: LeaseRecord, then: (subject: Subject) => void): readonly (number | null)[] {
      const subject = new Subject({ base: 120 })
        .healthy({ fastPath: OFFER })
        .sees(held("n2", 1, [self, n2, n3]));
      subject.to(300).sees(record);
      then(subject);
      subject.answer("claim", {
        kind: "ok",
        record: held("n1", 9, [self, n2, n3], { leaseTransitions: 4 }),
      });
      const { decisions } = parseRecording(recordingOf(subject));
      return decisions.flatMap(({ from, to, waitedMs }) => (from === to ? [] : [waitedMs]));
    }

    test("the time since the last renewal of a holder that died", () => {
      const [taken] = parseRecording(recordingOf(takeover())).decisions.filter(({ from, to }) => from !== to);
      assert.equal(taken?.waitedMs, 300);
    });

    test("the time since the last renewal of a Lease that ran out", () => {
      const [waited] = claims(held("n2", 2, [self, n2, n3]), (subject) => {
        while (subject.sent("claim").length === 0 && subject.nowMs < 60_000) subject.to(subject.nowMs + 100);
      });
      assert.ok(typeof waited === "number" && waited >= 10_000 && waited < 20_000, String(waited));
    });

    test("nothing when the holder had offered the VIP, and lets go after this node has bound it", () => {
      const offer = { annotations: { "leasehold.dev/offer": "n1" } };
      assert.deepEqual(
        claims(held("n2", 2, [self, n2, n3], offer), () => {}),
        [0],
      );
    });

    test("what is not known: the first holder took the VIP from no node, and an older recording does not say", () => {
      const first = new Subject({ base: 120 }).master();
      const text = recordingOf(first);
      const moves = parseRecording(text).decisions.filter(({ from, to }) => from !== to);
      assert.ok(moves.length > 0 && moves.every(({ waitedMs }) => waitedMs === null));
      const old = recordingOf(takeover()).replaceAll(/,"waitedMs":(?:null|[\d.]+)/g, "");
      assert.ok(parseRecording(old).decisions.every(({ waitedMs }) => waitedMs === null));
    });
  });

  test("says when the same was decided last, and what to do; an older one does neither", () => {
    const subject = new Subject().master([n2]);
    for (let n = 1; n <= 25; n += 1) {
      subject.to(n * 1_000).hears({ kind: "claimed", mac: "02:00:00:00:00:99" });
      while (subject.sent("renew").length > 0)
        subject.answer("renew", { kind: "ok", record: held("n1", n, [candidate("n1"), n2]) });
    }
    const text = recordingOf(subject);
    const claims = (from: string) =>
      parseRecording(from).decisions.filter(({ repeats, told }) => repeats > 0 && told.includes("claimed"));
    const [claim] = claims(text);
    assert.ok(claim !== undefined && claim.agoMs > 20_000 && claim.lastAgoMs === 0, JSON.stringify(claim));
    assert.ok(parseRecording(text).decisions.some(({ todo }) => todo.length > 0));
    const old = text.replaceAll(/"todo":\[[^\]]*\],/g, "").replaceAll(/"lastAgoMs":\d+,/g, "");
    assert.ok(claims(old).every(({ agoMs, lastAgoMs, todo }) => lastAgoMs === agoMs && todo.length === 0));
    assert.ok(parseRecording(old).decisions.every(({ todo }) => todo.length === 0));
    assert.ok(replay(text).every(({ differences }) => differences.length === 0));
  });

  test("has the same decisions when they are taken again", () => {
    const replayed = replay(recordingOf(takeover()));
    assert.ok(replayed.length > 5);
    assert.deepEqual(
      replayed.flatMap(({ differences }) => differences),
      [],
    );
  });

  for (const [what, from, to] of [
    ["the role", '"kind":"PROVISIONAL"', '"kind":"MASTER"'],
    ["a decision's reason", '"reason":"provisional: n2', '"reason":"provisional: n3'],
    ["a setting", '"renewDeadlineMs":4000', '"renewDeadlineMs":3000'],
    ["a time", '"lastAtMs":300,"machine":{"atMs":300', '"lastAtMs":300,"machine":{"atMs":301'],
    ["an effect", '"kind":"hold"', '"kind":"limit"'],
  ] as const) {
    test(`shows it when ${what} was edited`, () => {
      const text = recordingOf(takeover());
      assert.ok(text.includes(from), from);
      const different = replay(text.replaceAll(from, to)).filter(({ differences }) => differences.length > 0);
      assert.ok(different.length > 0);
    });
  }

  test("that is damaged is refused, and does not end the program", () => {
    const text = recordingOf(takeover());
    for (const wrong of ["", "null", "[]", "{}", '{"version":2}', '{"version":1}', text.slice(0, -9)])
      assert.throws(() => replay(wrong), NoRecording, wrong.slice(0, 20));
    fc.assert(
      fc.property(fc.nat({ max: text.length }), fc.string({ maxLength: 4 }), (at, junk) => {
        try {
          replay(text.slice(0, at) + junk + text.slice(at + junk.length));
        } catch (error) {
          assert.ok(error instanceof NoRecording, String(error));
        }
      }),
      { numRuns: 200 },
    );
  });

  test("is small: the state is written once, and then what changed of it", () => {
    const text = recordingOf(takeover());
    const { decisions } = parseRecording(text);
    assert.ok(text.length / decisions.length < 4_000, `${text.length} for ${decisions.length}`);
    assert.equal(text.split('"before":').length - 1, 1);
  });

  test("without a decision is one as well", () => {
    const text = formatRecording(
      { node: "w1", agent: "0.1.0", cause: "asked", wall: WALL, nowMs: 5 },
      undefined,
      [],
    );
    assert.deepEqual(parseRecording(text).decisions, []);
    assert.deepEqual(replay(text), []);
  });
});

describe("a value of the election", () => {
  const leaf = fc.oneof(
    fc.constantFrom(null, true, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0),
    fc.integer(),
    fc.string(),
    fc.uint8Array({ maxLength: 4 }).map((bytes) => new Uint8Array(bytes)),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(
        fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom("$map", "$number", "a", "1")),
        tie("tree"),
        {
          maxKeys: 3,
          noNullPrototype: true,
        },
      ),
      fc
        .array(fc.tuple(fc.string({ maxLength: 3 }), tie("tree")), { maxLength: 3 })
        .map((pairs) => new Map(pairs)),
    ),
  }));

  test("comes back from JSON as it was", () => {
    fc.assert(
      fc.property(tree, (value) => {
        assert.deepEqual(fromJson(JSON.parse(JSON.stringify(toJson(value)))), value);
      }),
    );
  });

  test("comes out of another one by what changed", () => {
    fc.assert(
      fc.property(tree, tree, (from, to) => {
        const changes = JSON.parse(JSON.stringify(changesOf(from, to)));
        assert.equal(JSON.stringify(withChanges(toJson(from), changes)), JSON.stringify(toJson(to)));
      }),
    );
  });

  test("that only differs in one member is told by that member", () => {
    const state = { lease: { view: new Map([["n1", 1]]), read: { atMs: 1 } }, reason: "x" };
    const next = { ...state, lease: { ...state.lease, read: { atMs: 2 } } };
    assert.deepEqual(changesOf(state, next), [[["lease", "read", "atMs"], 2]]);
  });
});
