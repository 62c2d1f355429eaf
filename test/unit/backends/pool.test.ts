import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Backend, Grade } from "../../../src/backends/backend.ts";
import {
  CLOSE_GAP_MS,
  DENIED_START_MS,
  DRAIN_TIMEOUT_MS,
  emptyPool,
  forget,
  isServing,
  isUnproven,
  nextToClose,
  serving,
  START_MS,
  withBackends,
  withClosed,
  withDrained,
  withResult,
  type CheckResult,
  type Pool,
} from "../../../src/backends/pool.ts";
import { backendAt } from "../../support/backends/servers.ts";

const settings = { rise: 2, fall: 3 };
const [a, b, c] = [backendAt(1), backendAt(2), backendAt(3)];

function result(kind: CheckResult["kind"]): CheckResult {
  return { kind, reason: kind, durationMs: 1 };
}

const LETTERS: Readonly<Record<string, CheckResult["kind"]>> = {
  "+": "ready",
  d: "denied",
  n: "not-ready",
  t: "stopping",
  s: "slow",
  x: "silent",
  r: "refused",
  g: "gone",
};

/** Plays one letter a second. */
function play(
  letters: string,
  pool: Pool = withBackends(emptyPool, [a], undefined, 0),
  backend: Backend = a,
): Pool {
  let nowMs = 0;
  let state = pool;
  for (const letter of letters) {
    nowMs += 1000;
    state = withResult(state, backend.id, result(LETTERS[letter] ?? "refused"), nowMs, settings);
  }
  return state;
}

function gradeOf(pool: Pool, backend: Backend = a): Grade | undefined {
  return pool.members.find((member) => member.backend.id === backend.id)?.grade;
}

function ids(pool: Pool): readonly string[] {
  return serving(pool).map((member) => member.backend.id);
}

describe("grades", () => {
  const table: readonly (readonly [string, string, Grade])[] = [
    ["not checked", "", "UNKNOWN"],
    ["the first success is enough at the start", "+", "UP"],
    ["the first answer that is not ready drains at the start", "n", "DRAIN"],
    ["the first time-out with working TLS drains at the start", "s", "DRAIN"],
    ["the first silence is DOWN at the start", "x", "DOWN"],
    ["the first refusal is DOWN", "r", "DOWN"],
    ["a refusal takes it DOWN at once", "+r", "DOWN"],
    ["fewer failures than fall change nothing", "+nn", "UP"],
    ["failures are counted in a row", "+nn+nn", "UP"],
    ["fall failures drain", "+nnn", "DRAIN"],
    ["one word that it shuts down is enough", "+t", "DRAIN"],
    ["and brings none back from DOWN that answers", "+rt", "DRAIN"],
    ["failures of different kinds add up to DRAIN", "+nsx", "DRAIN"],
    ["too slow drains", "+sss", "DRAIN"],
    ["silence fall times in a row is DOWN", "+xxx", "DOWN"],
    ["silence that follows slowness has to last itself", "+sxx", "DRAIN"],
    ["DRAIN goes on to DOWN by silence", "+sssxxx", "DOWN"],
    ["DRAIN needs rise successes", "+nnn+", "DRAIN"],
    ["DRAIN is UP after rise successes", "+nnn++", "UP"],
    ["a failure between starts the count anew", "+nnn+n+", "DRAIN"],
    ["not ready stays DRAIN for ever", `+${"n".repeat(60)}`, "DRAIN"],
    ["time-outs in DRAIN for less than ten seconds", `+${"s".repeat(12)}`, "DRAIN"],
    ["time-outs in DRAIN for ten seconds are DOWN", `+${"s".repeat(13)}`, "DOWN"],
    ["an answer stops the ten seconds", `+${"s".repeat(10)}n${"s".repeat(10)}`, "DRAIN"],
    [
      "the ten seconds start with the first time-out in DRAIN",
      `+nnn${"n".repeat(20)}${"s".repeat(10)}`,
      "DRAIN",
    ],
    ["a DOWN one that answers once drains", "+r+", "DRAIN"],
    ["a DOWN one is UP after rise successes", "+r++", "UP"],
    ["a DOWN one that answers something else drains", "+rn", "DRAIN"],
    ["a DOWN one that is only slow stays DOWN", "+rs", "DOWN"],
    ["a lost machine takes it DOWN at once", "+g", "DOWN"],
    ["a lost machine is DOWN from DRAIN as well", "+nnng", "DOWN"],
    ["a lost machine stays DOWN while checks get no answer", "+gxx", "DOWN"],
    ["a lost machine that is back is UP after rise successes", "+gx++", "UP"],
    ["a refusal is DOWN from DRAIN as well", "+nnnr", "DOWN"],
  ];
  for (const [name, letters, expected] of table) {
    test(name, () => assert.equal(gradeOf(play(letters)), expected));
  }

  test("a lost machine is counted, and its finding is no check with a duration", () => {
    const pool = withResult(
      play("+gx++"),
      a.id,
      { kind: "gone", reason: "machine silent", durationMs: 250 },
      9_000,
      settings,
    );
    const [member] = pool.members;
    assert.deepEqual([member?.gone, member?.checkMs, member?.reason], [2, 1, "machine silent"]);
  });

  test("the ten seconds are the design's", () => assert.equal(DRAIN_TIMEOUT_MS, 10_000));

  test("hold their rules for any sequence of results", () => {
    const kinds = fc.constantFrom<CheckResult["kind"]>(
      "ready",
      "denied",
      "not-ready",
      "slow",
      "silent",
      "refused",
      "gone",
    );
    fc.assert(
      fc.property(fc.array(kinds, { maxLength: 60 }), (sequence) => {
        let pool = withBackends(emptyPool, [a], undefined, 0);
        sequence.forEach((kind, i) => {
          const before = gradeOf(pool);
          pool = withResult(pool, a.id, result(kind), i * 1000, settings);
          const after = gradeOf(pool);
          assert.notEqual(after, "UNKNOWN");
          if (kind === "refused" || kind === "gone") assert.equal(after, "DOWN");
          if (after === "UP") assert.ok(before === "UP" || kind === "ready" || kind === "denied");
          if (kind === "ready" || kind === "denied") assert.notEqual(after, "DOWN");
          if (kind === "denied" && before !== "UP" && after === "UP") {
            const away = sequence.slice(0, i).findLastIndex((each) => each === "refused" || each === "gone");
            const proven = sequence.slice(away + 1, i).includes("ready");
            assert.ok(proven || (i - Math.max(0, away)) * 1000 >= START_MS);
          }
          if (before === "UP" && after !== "UP" && kind !== "refused" && kind !== "gone") {
            const last = sequence.slice(Math.max(0, i - settings.fall + 1), i + 1);
            assert.ok(last.length === settings.fall && !last.includes("ready"));
          }
        });
      }),
    );
  });
});

describe("who serves", () => {
  const three = withBackends(emptyPool, [a, b, c], undefined, 0);

  test("all, unchecked, at the start; but that is not yet a working balancer", () => {
    assert.deepEqual(ids(three), [a.id, b.id, c.id]);
    assert.equal(isServing(three), false);
  });

  test("only the checked one as soon as there is one", () => {
    const pool = play("+", three, b);
    assert.deepEqual(ids(pool), [b.id]);
    assert.equal(isServing(pool), true);
  });

  test("those that answer, if none is UP", () => {
    const pool = play("+nnn", play("r", play("n", three, c), b), a);
    assert.deepEqual(ids(pool), [a.id, c.id]);
    assert.equal(isServing(pool), true);
  });

  test("even one that times out, while its TLS works, if there is nothing better", () => {
    const pool = play(`+${"s".repeat(20)}`);
    assert.equal(gradeOf(pool), "DOWN");
    assert.deepEqual(ids(pool), [a.id]);
  });

  test("not one that is starting, though it answers: it would turn clients away", () => {
    const pool = play("rnsn");
    assert.equal(gradeOf(pool), "DRAIN");
    assert.deepEqual([ids(pool), isServing(pool)], [[], false]);
    assert.deepEqual(ids(play("gxn")), []);
    assert.deepEqual(
      ids(play("rn", play("+nnn", three, b))),
      [b.id, c.id],
      "the others, if they answer or are not known",
    );
  });

  test("one that has started, at its first success", () => {
    assert.deepEqual(ids(play("rn+")), [a.id]);
    assert.deepEqual(ids(play("rn+n")), [a.id], "it is ailing now");
  });

  test("one that answers and is not ready for a minute is no longer starting", () => {
    assert.equal(START_MS, 60_000);
    assert.deepEqual(ids(play(`r${"n".repeat(59)}`)), []);
    assert.deepEqual(ids(play(`r${"n".repeat(60)}`)), [a.id]);
    assert.deepEqual(ids(play(`r${"n".repeat(30)}r${"n".repeat(59)}`)), [], "it was away again");
  });

  test("not one that denies us as it starts, while another one is ready: it denies clients too", () => {
    const pool = play(`r${"d".repeat(59)}`, play("+", three, b), a);
    assert.equal(gradeOf(pool), "DRAIN");
    assert.deepEqual(ids(pool), [b.id]);
    assert.deepEqual(ids(play(`r${"d".repeat(61)}`, play("+", three, b), a)), [a.id, b.id], "a minute later");
    assert.deepEqual(ids(play("rd++", play("+", three, b), a)), [a.id, b.id], "as soon as it is ready");
    assert.deepEqual(ids(play("d", play("+", three, b), a)), [b.id], "nor if it was never seen before");
  });

  test("one that denies us, if there is no other: after five seconds, at once if it was not seen starting", () => {
    assert.equal(DENIED_START_MS, 5_000);
    assert.deepEqual(ids(play("rdddd")), []);
    assert.deepEqual(ids(play("rddddd")), [a.id]);
    assert.deepEqual(ids(play("d")), [a.id]);
    assert.deepEqual(ids(play("rdddddrdd")), [], "it was away again");
  });

  test("one that was ready and denies us now: our credentials are at fault", () => {
    assert.equal(gradeOf(play(`+${"d".repeat(20)}`)), "UP");
    assert.equal(gradeOf(play("+xxxdd")), "UP", "also after a silence, which is no restart");
  });

  test("nobody, if all are refused", () => {
    const pool = play("+r", play("r", play("r", three, c), b), a);
    assert.deepEqual(ids(pool), []);
    assert.equal(isServing(pool), false);
  });

  test("not one that has left the list", () => {
    const pool = withBackends(play("+", play("+", three, b), a), [b], undefined, 0);
    assert.deepEqual(ids(pool), [b.id]);
  });
});

describe("a server that only the Lease's candidates name", () => {
  const claimed: Backend = { ...b, claimed: true };
  const pool = withBackends(emptyPool, [a, claimed], undefined, 0);
  const answer = (from: Pool, kind: CheckResult["kind"], verified: boolean): Pool =>
    withResult(from, b.id, { ...result(kind), verified }, 1_000, settings);

  test("takes no connection before its certificate was verified, not even while no other serves", () => {
    assert.deepEqual(ids(pool), [a.id]);
    assert.deepEqual(ids(play("rrr", pool, a)), []);
    assert.deepEqual(ids(play("rrr", answer(pool, "ready", false), a)), []);
    for (const kind of ["ready", "not-ready"] as const)
      assert.deepEqual(ids(play("rrr", answer(pool, kind, true), a)), [b.id], kind);
  });

  test("stays proven when it fails, and in the list of the cluster it needs no proof", () => {
    const failing = answer(answer(pool, "ready", true), "silent", false);
    assert.equal(failing.members.some(isUnproven), false);
    assert.equal(pool.members.some(isUnproven), true);
    assert.equal(withBackends(pool, [a, b], undefined, 0).members.some(isUnproven), false);
  });
});

describe("the list", () => {
  const local: Backend = { ...backendAt(9), local: true };

  test("always has the local one, once, as local", () => {
    assert.deepEqual(
      withBackends(emptyPool, [], local, 0).members.map((member) => member.backend),
      [local],
    );
    const pool = withBackends(emptyPool, [a, { ...local, local: false }], local, 0);
    assert.deepEqual(
      pool.members.map((member) => member.backend),
      [local, a],
    );
  });

  test("keeps what is known of those that stay, and starts new ones unchecked", () => {
    const pool = withBackends(play("+"), [b, a], undefined, 5000);
    assert.equal(gradeOf(pool), "UP");
    assert.equal(gradeOf(pool, b), "UNKNOWN");
  });

  test("forgets only those that have left it", () => {
    const pool = withBackends(play("+"), [b], undefined, 5000);
    assert.equal(gradeOf(pool), "UP", "it may have sessions yet");
    assert.equal(gradeOf(forget(pool, a.id)), undefined);
    assert.equal(gradeOf(forget(pool, b.id), b), "UNKNOWN");
  });

  test("knows one API server of this node: after a change of its address the former one is not", () => {
    const moved: Backend = { ...backendAt(8), local: true };
    const pool = withBackends(withBackends(emptyPool, [a], local, 0), [a], moved, 1);
    assert.deepEqual(
      pool.members.filter(({ backend }) => backend.local).map(({ backend }) => backend.id),
      [moved.id],
    );
    assert.equal(gradeOf(pool, local), "UNKNOWN", "it may have sessions yet");
  });

  test("takes one back that had left, as it was", () => {
    const pool = withBackends(withBackends(play("+"), [b], undefined, 1), [a, b], undefined, 2);
    assert.deepEqual(ids(pool), [a.id]);
  });

  test("marks for a slow start those that come back, not those that were there from the start", () => {
    assert.equal(play("+").members[0]?.returnedMs, undefined);
    assert.equal(play("+r++").members[0]?.returnedMs, 4000);
  });
});

describe("old connections of a DOWN backend", () => {
  const three = withBackends(emptyPool, [a, b, c], undefined, 0);

  test("are closed while another one serves", () => {
    const pool = play("+r", play("+", three, b), a);
    assert.deepEqual(nextToClose(pool, 5000), { id: a.id, inMs: 0 });
  });

  test("are closed once for each time it goes DOWN", () => {
    const pool = withClosed(play("+r", play("+", three, b), a), a.id, 5000);
    assert.equal(nextToClose(pool, 5000), undefined);
    assert.deepEqual(nextToClose(play("++r", pool, a), 9000), { id: a.id, inMs: 0 });
  });

  test("are left alone in DRAIN", () => {
    assert.equal(nextToClose(play("+nnn", play("+", three, b), a), 5000), undefined);
  });

  test("are closed one backend at a time", () => {
    const pool = play("+r", play("+r", play("+", three, c), b), a);
    const first = nextToClose(pool, 5000);
    assert.ok(first !== undefined);
    const after = withClosed(pool, first.id, 5000);
    const second = nextToClose(after, 5000);
    assert.equal(second?.inMs, CLOSE_GAP_MS);
    assert.notEqual(second.id, first.id);
    assert.equal(nextToClose(after, 5000 + CLOSE_GAP_MS)?.inMs, 0);
  });

  test("of the last one are never closed", () => {
    let pool = play("+r", play("+r", play("+r", three, c), b), a);
    assert.equal(nextToClose(pool, 60_000), undefined);
    pool = play("++", pool, b);
    assert.ok(nextToClose(pool, 60_000) !== undefined, "until another one is back");
  });

  test("never belong to one that serves, and another one always does, whatever happens", () => {
    const step = fc.record({
      backend: fc.constantFrom(a, b, c),
      kind: fc.constantFrom<CheckResult["kind"]>("ready", "denied", "not-ready", "slow", "silent", "refused"),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        let pool = three;
        steps.forEach(({ backend, kind }, i) => {
          pool = withResult(pool, backend.id, result(kind), i * 500, settings);
          const due = nextToClose(pool, i * 500);
          if (due?.inMs !== 0) return;
          assert.equal(pool.members.find((member) => member.backend.id === due.id)?.grade, "DOWN");
          assert.ok(!ids(pool).includes(due.id));
          assert.ok(serving(pool).some((member) => member.grade !== "UNKNOWN"));
          pool = withClosed(pool, due.id, i * 500);
        });
      }),
    );
  });
});

describe("a drained backend", () => {
  const three = withBackends(emptyPool, [a, b, c], undefined, 0);
  const up = [a, b, c].reduce((pool, backend) => play("+", pool, backend), three);

  test("keeps its grade, gets no new connections, and gets them again", () => {
    const drained = withDrained(up, [b.id]);
    assert.deepEqual(ids(drained), [a.id, c.id]);
    assert.equal(gradeOf(drained, b), "UP");
    assert.deepEqual(ids(withDrained(drained, [])), [a.id, b.id, c.id]);
  });

  test("stays drained when the list or a grade changes, and when it joins later", () => {
    const later = withBackends(withDrained(emptyPool, [b.id]), [a, b], undefined, 0);
    const checked = [a, b].reduce((pool, backend) => play("+", pool, backend), later);
    assert.deepEqual(ids(checked), [a.id]);
    assert.deepEqual(ids(withClosed(play("r+++", checked, b), b.id, 9_000)), [a.id]);
  });

  test("serves while no other one is UP: a wish must not take the address away", () => {
    const drained = withDrained(up, [a.id, b.id]);
    assert.deepEqual(ids(drained), [c.id]);
    assert.deepEqual(ids(play("r", drained, c)), [a.id, b.id]);
    assert.deepEqual(ids(withDrained(up, [a.id, b.id, c.id])), [a.id, b.id, c.id]);
  });

  test("is left out among those that only answer, unless it is the only one that was checked", () => {
    const ailing = [a, b, c].reduce((pool, backend) => play("+nnn", pool, backend), three);
    assert.deepEqual(ids(withDrained(ailing, [b.id])), [a.id, c.id]);
    const lone = play("n", withBackends(emptyPool, [a, b], undefined, 0), b);
    assert.deepEqual(ids(withDrained(lone, [b.id])), [a.id, b.id]);
  });

  test("has its old connections closed only when it is DOWN", () => {
    const drained = withDrained(up, [b.id]);
    assert.equal(nextToClose(drained, 5_000), undefined);
    assert.equal(nextToClose(play("r", drained, b), 5_000)?.id, b.id);
  });
});
