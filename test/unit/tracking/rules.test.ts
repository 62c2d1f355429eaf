import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { advance, summarize, verdict } from "../../../src/tracking/rules.ts";
import type { CheckRule, CheckState, Outcome } from "../../../src/tracking/rules.ts";

const INIT: CheckState = { kind: "INIT" };
const PASS: Outcome = { kind: "pass", detail: "" };
const FAIL: Outcome = { kind: "fail", detail: "" };
const UNUSABLE: Outcome = { kind: "unusable", detail: "" };
const value = (number: number): Outcome => ({ kind: "value", value: number, detail: "" });

function rule(changes: Partial<CheckRule> = {}): CheckRule {
  return { name: "check", weight: 0, rise: 2, fall: 3, ...changes };
}

function play(by: CheckRule, outcomes: readonly Outcome[], from: CheckState = INIT): CheckState {
  let state = from;
  for (const outcome of outcomes) state = advance(by, state, outcome);
  return state;
}

/** "+" pass, "-" fail; answers G or B after each. */
function trace(by: CheckRule, results: string): string {
  let state: CheckState = INIT;
  let seen = "";
  for (const result of results) {
    state = advance(by, state, result === "+" ? PASS : FAIL);
    seen += state.kind.charAt(0);
  }
  return seen;
}

const counterOf = (state: CheckState): number => (state.kind === "INIT" ? -1 : state.counter);

describe("hysteresis", () => {
  const table: readonly (readonly [rise: number, fall: number, results: string, expected: string])[] = [
    [1, 1, "+-+-", "GBGB"],
    // The first result counts at once, whatever rise and fall say.
    [2, 3, "+", "G"],
    [2, 3, "-", "B"],
    [5, 5, "+----", "GGGGG"],
    [5, 5, "+-----", "GGGGGB"],
    [2, 3, "+---", "GGGB"],
    // One success in the good range forgets all failures, one failure in the bad range all successes.
    [2, 3, "+--+--+--+---", "GGGGGGGGGGGGB"],
    [3, 1, "-++-++-+++", "BBBBBBBBBG"],
    [2, 3, "-++", "BBG"],
    [2, 1, "+-+-++-", "GBBBBGB"],
  ];
  for (const [rise, fall, results, expected] of table) {
    test(`with rise ${rise} and fall ${fall}, ${results} gives ${expected}`, () => {
      assert.equal(trace(rule({ rise, fall }), results), expected);
    });
  }

  test("a success in the good range fills the counter, a failure in the bad range empties it", () => {
    const by = rule({ rise: 3, fall: 4 });
    const good = play(by, [PASS, FAIL, FAIL]);
    assert.equal(counterOf(good), 4);
    assert.equal(counterOf(advance(by, good, PASS)), 6);
    const bad = play(by, [FAIL, PASS, PASS]);
    assert.equal(counterOf(bad), 2);
    assert.equal(counterOf(advance(by, bad, FAIL)), 0);
  });

  test("a good check turns bad after exactly fall failures in a row, a bad one good after exactly rise successes", () => {
    const rises = fc.integer({ min: 1, max: 12 });
    fc.assert(
      fc.property(
        rises,
        rises,
        fc.array(fc.boolean(), { minLength: 1, maxLength: 80 }),
        (rise, fall, results) => {
          const by = rule({ rise, fall });
          let state: CheckState = INIT;
          let good: boolean | undefined;
          let streak = 0;
          for (const success of results) {
            state = advance(by, state, success ? PASS : FAIL);
            // The rule in its users' words: a run of results that contradict the verdict, unbroken and long
            // enough.
            if (good === undefined) good = success;
            else if (success === good) streak = 0;
            else if (++streak === (good ? fall : rise)) {
              good = success;
              streak = 0;
            }
            assert.equal(state.kind, good ? "GOOD" : "BAD");
            assert.ok(counterOf(state) >= 0 && counterOf(state) <= rise + fall - 1);
          }
        },
      ),
    );
  });
});

describe("what a check weighs", () => {
  test("before its first result it weighs nothing, and the node is not ready", () => {
    assert.deepEqual(summarize(100, [{ rule: rule({ weight: 20 }), state: INIT }]), {
      effective: 100,
      faults: [],
      ready: false,
    });
  });

  test("weight 0 is a FAULT while it fails", () => {
    assert.deepEqual(verdict(rule(), play(rule(), [FAIL])), { kind: "FAULT" });
    assert.deepEqual(verdict(rule(), play(rule(), [PASS])), { kind: "WEIGHED", ok: true, contribution: 0 });
  });

  test("a negative weight subtracts while failing, a positive one adds while good", () => {
    const contribution = (weight: number, outcome: Outcome): unknown =>
      verdict(rule({ weight }), play(rule({ weight }), [outcome]));
    assert.deepEqual(contribution(-50, PASS), { kind: "WEIGHED", ok: true, contribution: 0 });
    assert.deepEqual(contribution(-50, FAIL), { kind: "WEIGHED", ok: false, contribution: -50 });
    assert.deepEqual(contribution(20, PASS), { kind: "WEIGHED", ok: true, contribution: 20 });
    assert.deepEqual(contribution(20, FAIL), { kind: "WEIGHED", ok: false, contribution: 0 });
  });

  test("a broken check is a FAULT even with a weight, once fall failures have made it bad", () => {
    const by = rule({ weight: -10 });
    assert.equal(verdict(by, play(by, [UNUSABLE])).kind, "FAULT");
    const before = play(by, [PASS, UNUSABLE, UNUSABLE]);
    assert.equal(verdict(by, before).kind, "WEIGHED");
    assert.equal(verdict(by, advance(by, before, UNUSABLE)).kind, "FAULT");
  });

  test("a broken check that works again stays in FAULT until rise is reached", () => {
    const by = rule({ weight: -10 });
    assert.equal(verdict(by, play(by, [UNUSABLE, PASS])).kind, "FAULT");
    assert.deepEqual(verdict(by, play(by, [UNUSABLE, PASS, PASS])), {
      kind: "WEIGHED",
      ok: true,
      contribution: 0,
    });
    assert.deepEqual(verdict(by, play(by, [UNUSABLE, FAIL])), {
      kind: "WEIGHED",
      ok: false,
      contribution: -10,
    });
  });

  test("a value is multiplied by the weight, at once and without counting", () => {
    const by = rule({ weight: 2, rise: 3 });
    const first = play(by, [value(-30)]);
    assert.deepEqual(verdict(by, first), { kind: "WEIGHED", ok: true, contribution: -60 });
    assert.deepEqual(verdict(by, advance(by, first, value(7))), {
      kind: "WEIGHED",
      ok: true,
      contribution: 14,
    });
    assert.deepEqual(verdict(rule({ weight: -1 }), play(by, [value(0)])), {
      kind: "WEIGHED",
      ok: true,
      contribution: 0,
    });
  });

  test("a value with weight 0 is a FAULT unless it is 0", () => {
    assert.equal(verdict(rule(), play(rule(), [value(0)])).kind, "WEIGHED");
    assert.equal(verdict(rule(), play(rule(), [value(1)])).kind, "FAULT");
    assert.equal(verdict(rule(), play(rule(), [value(-1)])).kind, "FAULT");
  });

  test("a value times weight below -253 is a FAULT, -253 is not", () => {
    const by = rule({ weight: 1 });
    assert.equal(verdict(by, play(by, [value(-253)])).kind, "WEIGHED");
    assert.equal(verdict(by, play(by, [value(-254)])).kind, "FAULT");
    assert.equal(verdict(rule({ weight: 254 }), play(by, [value(-1)])).kind, "FAULT");
  });

  test("the last value stays in force while failures are tolerated", () => {
    const by = rule({ weight: 1 });
    const state = play(by, [value(-30), UNUSABLE, UNUSABLE]);
    assert.deepEqual(verdict(by, state), { kind: "WEIGHED", ok: true, contribution: -30 });
  });
});

describe("effective priority", () => {
  const good = (name: string, weight: number) => ({
    rule: rule({ name, weight }),
    state: play(rule(), [PASS]),
  });
  const bad = (name: string, weight: number) => ({
    rule: rule({ name, weight }),
    state: play(rule(), [FAIL]),
  });

  test("all contributions are summed before the clamp", () => {
    assert.equal(summarize(100, [good("a", 253), bad("b", -253)]).effective, 100);
    assert.equal(summarize(100, [good("a", 253), good("b", 20), bad("c", -253)]).effective, 120);
  });

  test("it is clamped to 1 and 254", () => {
    assert.equal(summarize(100, [bad("a", -100)]).effective, 1);
    assert.equal(summarize(254, [good("a", 1)]).effective, 254);
  });

  test("faults are named in order and weigh nothing", () => {
    assert.deepEqual(summarize(100, [bad("a", 0), good("b", 5), bad("c", 0)]), {
      effective: 105,
      faults: ["a", "c"],
      ready: true,
    });
  });

  test("a FAULT and a check without a result leave the node both at fault and not ready", () => {
    assert.deepEqual(summarize(100, [bad("a", 0), { rule: rule({ name: "b" }), state: INIT }]), {
      effective: 100,
      faults: ["a"],
      ready: false,
    });
  });

  test("it stays between 1 and 254 for any weights, values and results, and does not depend on the order of checks", () => {
    const outcomes = fc.oneof(
      fc.constantFrom(PASS, FAIL, UNUSABLE),
      fc.integer({ min: -999_999_999, max: 999_999_999 }).map(value),
    );
    const check = fc
      .record({ weight: fc.integer({ min: -254, max: 254 }), outcomes: fc.array(outcomes, { maxLength: 6 }) })
      .map(({ weight, outcomes }) => ({ rule: rule({ weight }), state: play(rule({ weight }), outcomes) }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 254 }), fc.array(check, { maxLength: 8 }), (base, checks) => {
        const { effective } = summarize(base, checks);
        assert.ok(Number.isInteger(effective) && effective >= 1 && effective <= 254, `${effective}`);
        assert.equal(summarize(base, checks.toReversed()).effective, effective);
      }),
    );
  });
});
