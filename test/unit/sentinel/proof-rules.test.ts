/** Whatever is lost, late, filtered or stopped: a holder that could have answered is never found silent. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { afterContradiction, isBackingOff } from "../../../src/sentinel/back-off.ts";
import {
  ageOf,
  initialProof,
  isBlind,
  isDue,
  judgeTurn,
  missedOf,
} from "../../../src/sentinel/proof-rules.ts";
import type { ProofRules, ProofState, AddressSigns, ProofTurn } from "../../../src/sentinel/proof-rules.ts";

const RULES: ProofRules = { intervalMs: 50, misses: 3 };
const ARP_MS = 250;

interface What {
  readonly echo?: AddressSigns["echo"];
  readonly owner?: boolean;
  readonly unsent?: boolean;
  readonly unasked?: boolean;
  /** Instead of the four: one for each address. */
  readonly each?: readonly Partial<AddressSigns>[];
  readonly witnessed?: boolean;
  readonly overrun?: boolean;
  readonly backingOff?: boolean;
  readonly afterMs?: number;
}

const ANSWERED: What = { echo: "now" };
/** The holder is silent, another one is not. */
const MISSED: What = { witnessed: true };

/** One turn after the other; what is seen in each is the argument. */
class Play {
  nowMs = 1_000;
  state: ProofState;
  last: ProofTurn | undefined;
  readonly found: string[] = [];
  readonly rules: ProofRules;

  constructor(addresses = 1, rules = RULES) {
    this.rules = rules;
    this.state = initialProof(this.nowMs, addresses);
  }

  turn({
    echo = null,
    owner = false,
    unsent = false,
    unasked = false,
    each,
    witnessed = false,
    overrun = false,
    backingOff = false,
    afterMs,
  }: What): this {
    this.nowMs +=
      afterMs ?? (this.state.by === "arp" ? ARP_MS * this.state.targets.length : this.rules.intervalMs);
    const targets = this.state.targets.map((_, index) => ({
      echo,
      owner,
      unsent,
      unasked,
      ...each?.[index],
    }));
    this.last = judgeTurn(
      this.state,
      { nowMs: this.nowMs, targets, witnessed, overrun, backingOff },
      this.rules,
    );
    this.state = this.last.state;
    if (this.last.found !== null) this.found.push(this.last.found);
    return this;
  }

  turns(count: number, what: What): this {
    for (let i = 0; i < count; i++) this.turn(what);
    return this;
  }
}

const calibrated = (addresses = 1, rules = RULES): Play => new Play(addresses, rules).turns(20, ANSWERED);
const byArp = (): Play => new Play().turns(60, {}).turns(1, { owner: true }).turns(20, { owner: true });

describe("silence", () => {
  test("three misses in a row while another one answers; the question goes out with the last echo", () => {
    const play = calibrated();
    assert.deepEqual([play.last?.suspicious, play.last?.ask], [false, []]);
    play.turn(MISSED);
    assert.deepEqual([play.last?.suspicious, play.last?.ask], [true, []]);
    play.turn(MISSED);
    assert.deepEqual([play.last?.suspicious, play.last?.ask, play.found], [true, [0], []]);
    play.turn(MISSED);
    assert.deepEqual(play.found, ["silent"]);
    assert.deepEqual(play.turns(200, MISSED).found, ["silent"], "told once");
  });

  test("not before twenty answers of every address", () => {
    assert.deepEqual(new Play().turns(19, ANSWERED).turns(10, MISSED).found, []);
    assert.deepEqual(new Play().turns(50, MISSED).found, []);
    const half = new Play(2).turns(19, ANSWERED).turns(5, { each: [{ echo: "now" }, { unsent: true }] });
    assert.deepEqual(half.turns(10, MISSED).found, []);
  });

  test("not where every fourth echo is lost: the calibration never ends", () => {
    const play = new Play();
    for (let i = 0; i < 14; i++) play.turns(3, ANSWERED).turn(MISSED);
    assert.equal(play.state.kind, "calibrating");
  });

  test("losses take the calibration away again", () => {
    const play = calibrated();
    for (let i = 0; i < 5; i++) play.turn(ANSWERED).turns(2, MISSED);
    assert.equal(play.state.kind, "calibrating");
    assert.deepEqual(play.turns(3, MISSED).found, []);
  });

  test("not while one address answers", () => {
    for (const alive of [
      { echo: "now" },
      { echo: "lately" },
      { owner: true },
    ] satisfies Partial<AddressSigns>[]) {
      const play = calibrated(2);
      for (let i = 0; i < 50; i++) play.turn({ witnessed: true, each: [{}, alive] });
      assert.deepEqual(play.found, []);
    }
    assert.deepEqual(calibrated(2).turns(3, MISSED).found, ["silent"]);
    const half = calibrated(2).turns(5, { each: [{}, { echo: "now" }] });
    assert.equal(
      half.state.kind,
      "calibrating",
      "the silent one has to answer again, though no witness was asked",
    );
  });

  test("an answer between starts the count anew, a late one as well", () => {
    for (const answer of [
      ANSWERED,
      { echo: "lately", witnessed: true },
      { owner: true, echo: "now" },
    ] satisfies What[]) {
      assert.deepEqual(
        calibrated().turns(2, MISSED).turn(answer).turns(2, MISSED).found,
        [],
        JSON.stringify(answer),
      );
    }
  });

  test("not without a witness, however long; nor at once when others come back first", () => {
    const play = calibrated().turns(50, {});
    assert.deepEqual(play.found, []);
    assert.ok(isBlind(play.state));
    assert.deepEqual(play.turns(10, MISSED).found, [], "our link was away: the holder is learnt anew");
  });

  test("a witness in each turn after the first miss: that we are cut off half-way is not the holder's death", () => {
    assert.deepEqual(calibrated().turns(2, MISSED).turns(10, {}).found, []);
    assert.deepEqual(
      calibrated().turns(1, {}).turns(2, MISSED).found,
      ["silent"],
      "it is not asked before the first",
    );
    assert.deepEqual(calibrated().turns(2, {}).turn(MISSED).found, [], "the second did not count");
    assert.deepEqual(
      calibrated()
        .turns(2, MISSED)
        .turn({ ...MISSED, unasked: true })
        .turn({}).found,
      [],
      "and in the last turn, whatever it has waited for",
    );
    assert.deepEqual(
      calibrated().turns(2, MISSED).turn({}).turn(MISSED).found,
      ["silent"],
      "one answer lost costs a turn",
    );
  });

  test("not by a turn of our own pause, an echo that could not be sent, or frames left unread", () => {
    for (const odd of [{ afterMs: 250 }, { unsent: true }, { overrun: true }] satisfies What[]) {
      assert.deepEqual(
        calibrated()
          .turns(2, MISSED)
          .turn({ ...MISSED, ...odd }).found,
        [],
        JSON.stringify(odd),
      );
    }
    assert.deepEqual(
      calibrated()
        .turns(2, MISSED)
        .turn({ ...MISSED, afterMs: 250 })
        .turns(2, MISSED).found,
      [],
      "the count starts anew",
    );
    assert.deepEqual(
      calibrated()
        .turns(2, MISSED)
        .turn({ ...MISSED, afterMs: 190 }).found,
      ["silent"],
      "a little late is no pause",
    );
  });

  test("an answer in a turn that proves nothing is one all the same", () => {
    assert.equal(new Play().turns(20, { ...ANSWERED, overrun: true }).state.kind, "watching");
  });

  test("not until the question could be asked, and has stood for 50 ms", () => {
    const play = calibrated()
      .turns(2, MISSED)
      .turn({ ...MISSED, unasked: true });
    assert.deepEqual([play.found, play.last?.ask], [[], [0]], "asked again");
    assert.deepEqual(play.turn(MISSED).found, ["silent"]);
    assert.deepEqual(
      calibrated()
        .turns(2, MISSED)
        .turns(9, { ...MISSED, unasked: true })
        .turn(MISSED).found,
      ["silent"],
      "waiting costs nothing",
    );
    const fast = calibrated(1, { intervalMs: 20, misses: 3 }).turns(4, MISSED);
    assert.deepEqual(fast.found, []);
    assert.deepEqual(fast.turn(MISSED).found, ["silent"]);
  });

  test("not after our link was down", () => {
    const play = calibrated().turns(3, { unsent: true });
    assert.equal(play.state.kind, "calibrating");
    assert.deepEqual(play.turns(10, MISSED).found, []);
  });

  test("as many misses as were asked for", () => {
    for (const misses of [1, 2, 5, 12]) {
      const play = calibrated(1, { intervalMs: 50, misses });
      play.turns(Math.max(1, misses - 1), MISSED);
      assert.deepEqual(play.found, [], String(misses));
      assert.deepEqual(play.turn(MISSED).found, ["silent"], String(misses));
    }
  });

  test("not while an earlier proof was wrong; the holder is learnt anew then", () => {
    const play = calibrated().turns(10, { ...MISSED, backingOff: true });
    assert.deepEqual(play.turns(10, MISSED).found, []);
    assert.deepEqual(play.turns(20, ANSWERED).turns(3, MISSED).found, ["silent"]);
  });
});

describe("after silence", () => {
  test("an answer of any kind is told at once, and it is learnt anew", () => {
    for (const answer of [
      ANSWERED,
      { echo: "lately" },
      { owner: true },
      { owner: true, afterMs: 5_000 },
      { echo: "now", overrun: true },
    ] satisfies What[]) {
      const play = calibrated().turns(9, MISSED).turn(answer);
      assert.deepEqual(play.found, ["silent", "answering"], JSON.stringify(answer));
      assert.deepEqual(play.turns(19, ANSWERED).turns(5, MISSED).found, ["silent", "answering"]);
      assert.deepEqual(play.turns(40, ANSWERED).turns(3, MISSED).found, ["silent", "answering", "silent"]);
    }
  });

  test("echoes go on, and a question once in a second", () => {
    const play = calibrated().turns(3, MISSED);
    let asked = 0;
    for (let i = 0; i < 100; i++) {
      play.turn({});
      assert.ok(play.last?.echo);
      asked += play.last.ask.length;
    }
    assert.equal(asked, 5);
  });
});

describe("by ARP", () => {
  test("when echoes are not answered but the question is: no death", () => {
    const play = calibrated()
      .turns(2, MISSED)
      .turn({ ...MISSED, owner: true });
    assert.deepEqual([play.found, play.state.by, play.state.kind], [[], "arp", "watching"]);
    assert.deepEqual(play.turns(100, { owner: true, witnessed: true }).found, []);
    assert.deepEqual(play.turns(3, MISSED).found, ["silent"]);
  });

  test("an unasked-for announcement between is no reason to change", () => {
    assert.equal(
      calibrated()
        .turn(MISSED)
        .turn({ ...MISSED, owner: true }).state.by,
      "icmp",
    );
    for (const odd of [{ afterMs: 250 }, { overrun: true }] satisfies What[]) {
      assert.equal(
        calibrated()
          .turns(2, MISSED)
          .turn({ ...MISSED, owner: true, ...odd }).state.by,
        "icmp",
        "nor one beside echoes that we may have lost",
      );
    }
  });

  test("when echoes never were answered: twenty answers as well", () => {
    assert.equal(new Play().turns(59, {}).state.by, "icmp");
    const play = new Play().turns(60, {});
    assert.deepEqual([play.state.by, play.last?.ask, play.last?.echo], ["arp", [0], false]);
    assert.deepEqual(play.turns(19, { owner: true }).turns(5, MISSED).found, []);
    assert.equal(
      new Play().turns(60, {}).turns(50, { owner: true, unasked: true }).state.kind,
      "calibrating",
      "announcements are no answers",
    );
    assert.deepEqual(byArp().turns(2, MISSED).found, []);
    assert.deepEqual(byArp().turns(3, MISSED).found, ["silent"]);
  });

  test("when echoes are rationed", () => {
    const play = new Play();
    for (let i = 0; i < 4; i++) play.turn(ANSWERED).turns(15, {});
    assert.equal(play.state.by, "arp");
  });

  test("a question for each address in each turn, at 4/s in all", () => {
    const play = new Play(2).turns(60, {});
    assert.deepEqual(play.last?.ask, [0, 1]);
    assert.ok(!isDue(play.state, play.nowMs + 450, RULES));
    assert.ok(isDue(play.state, play.nowMs + 500, RULES));
  });

  test("one witness's answer lasts for all misses; none, for none", () => {
    assert.deepEqual(byArp().turn({}).turn(MISSED).turn({}).found, ["silent"]);
    assert.deepEqual(
      byArp().turn({ owner: true, witnessed: true }).turns(3, {}).found,
      [],
      "of the same silence",
    );
    const play = byArp().turns(20, {});
    assert.deepEqual(play.found, []);
    assert.ok(isBlind(play.state));
  });

  test("an answer to an echo is life; questions that could not be asked prove nothing", () => {
    const play = byArp();
    for (let i = 0; i < 20; i++) play.turns(2, MISSED).turn({ echo: "lately", each: [{}] });
    assert.deepEqual(play.found, []);
    assert.deepEqual(byArp().turns(50, { ...MISSED, unasked: true }).found, []);
  });

  test("an echo now and then, and back when it is answered; half as often after each time", () => {
    const triesAfter = (play: Play): number => {
      const startMs = play.nowMs;
      while (!play.turn({ owner: true }).last?.echo) assert.ok(play.nowMs < startMs + 1e6);
      return play.nowMs - startMs;
    };
    const play = calibrated()
      .turns(2, MISSED)
      .turn({ ...MISSED, owner: true });
    assert.equal(triesAfter(play), 10_000);
    assert.equal(triesAfter(play), 10_000);
    play.turn(ANSWERED);
    assert.deepEqual([play.state.by, play.state.kind, play.last?.echo], ["icmp", "watching", true]);
    play.turns(2, MISSED).turn({ ...MISSED, owner: true });
    assert.equal(triesAfter(play), 20_000);
    assert.deepEqual(play.found, []);
  });
});

test("answers are of this turn, of a recent one, or of none; sequences go round after 65535", () => {
  const state = { ...initialProof(0, 1), sequence: 2 };
  assert.deepEqual(
    [2, 1, 0xfffb, 0xfffa, 3, 40_000].map((sequence) => ageOf(state, sequence)),
    ["now", "lately", "lately", null, null, null],
  );
  const play = calibrated();
  play.state = { ...play.state, sequence: 0xfffe };
  assert.equal(play.turns(3, MISSED).state.sequence, 1);
  assert.deepEqual(play.found, ["silent"]);
});

describe("the back-off", () => {
  test("doubles from a minute to an hour, and is forgotten an hour after it has ended", () => {
    const lengths: number[] = [];
    let nowMs = 0;
    let backOff = afterContradiction(null, nowMs);
    for (let i = 0; i < 8; i++) {
      lengths.push(backOff.lengthMs / 60_000);
      assert.ok(isBackingOff(backOff, backOff.untilMs - 1) && !isBackingOff(backOff, backOff.untilMs));
      nowMs = backOff.untilMs + 1_000;
      backOff = afterContradiction(backOff, nowMs);
    }
    assert.deepEqual(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert.equal(afterContradiction(backOff, backOff.untilMs + 3_600_000).lengthMs, 60_000);
    assert.ok(!isBackingOff(null, 0));
  });
});

describe("whatever happens", () => {
  const sign = fc.record({
    echo: fc.constantFrom("now", "lately", null, null, null),
    owner: fc.constantFrom(true, false, false, false),
    unsent: fc.boolean(),
    unasked: fc.boolean(),
  });
  const steady = fc.constantFrom<What>(ANSWERED, MISSED, MISSED, MISSED, {}, { owner: true });
  const odd = fc.record({
    each: fc.array(sign, { minLength: 2, maxLength: 2 }),
    witnessed: fc.boolean(),
    overrun: fc.constantFrom(false, false, true),
    backingOff: fc.constantFrom(false, false, false, true),
    afterMs: fc.constantFrom(50, 50, 50, 51, 90, 250, 500, 5_000),
  });
  /** Runs of the same, as in life: by chance alone nobody would answer twenty times, nor three times not. */
  const runs = fc.array(fc.tuple(fc.oneof(odd, steady), fc.constantFrom(1, 2, 3, 4, 20, 70)), {
    maxLength: 30,
  });
  const addresses = fc.constantFrom(1, 2);
  const flat = (what: readonly (readonly [What, number])[]): readonly What[] =>
    what.flatMap(([each, count]) => Array.from({ length: count }, () => each));
  const signOf = (what: What, index: number): AddressSigns => ({
    echo: what.echo ?? null,
    owner: what.owner ?? false,
    unsent: false,
    unasked: false,
    ...what.each?.[index],
  });

  test("silence follows twenty answers of each address, three turns without any, and a witness", () => {
    let silences = 0;
    fc.assert(
      fc.property(runs, addresses, (what, count) => {
        const play = new Play(count);
        let answers = Array.from({ length: count }, () => 0);
        let quiet: What[] = [];
        for (const each of flat(what)) {
          const seen = answers.map((_, index) => signOf(each, index));
          answers = answers.map(
            (before, index) => before + (seen[index]?.echo === "now" || seen[index]?.owner ? 1 : 0),
          );
          quiet = seen.some(({ echo, owner }) => echo !== null || owner) ? [] : [...quiet, each];
          play.turn(each);
          if (play.last?.found === "answering") answers = answers.map(() => 0);
          if (play.last?.found !== "silent") continue;
          silences++;
          assert.ok(answers.every((number) => number >= 20));
          assert.ok(quiet.length >= 3);
          const witnesses = play.state.by === "arp" ? quiet : quiet.slice(-1);
          assert.ok(witnesses.some(({ witnessed }) => witnessed === true));
          assert.ok(each.backingOff !== true && each.overrun !== true);
        }
      }),
      { numRuns: 500 },
    );
    assert.ok(silences > 10, "else this has shown nothing");
  });

  test("one told, then the contrary: never two of a kind in a row", () => {
    fc.assert(
      fc.property(runs, addresses, (what, count) => {
        const play = new Play(count);
        for (const each of flat(what)) play.turn(each);
        assert.deepEqual(
          play.found,
          play.found.map((_, index) => (index % 2 === 0 ? "silent" : "answering")),
        );
      }),
    );
  });

  test("one of whose three echoes one is answered, on any address and however late, is never silent", () => {
    fc.assert(
      fc.property(runs, addresses, fc.constantFrom("now", "lately"), (what, count, echo) => {
        const play = calibrated(count);
        flat(what).forEach((each, turns) => {
          const answer = {
            ...each,
            each: Array.from({ length: count }, (_, index) => ({
              ...signOf(each, index),
              ...(index === turns % count ? { echo } : {}),
            })),
          };
          play.turn(turns % 3 === 2 ? answer : each);
          assert.deepEqual(play.found, []);
        });
      }),
    );
  });

  test("misses are counted to the least of all addresses", () => {
    const play = calibrated(2)
      .turn(MISSED)
      .turn({ witnessed: true, each: [{}, { echo: "now" }] });
    assert.deepEqual([play.state.targets.map(({ misses }) => misses), missedOf(play.state)], [[2, 0], 0]);
  });
});
