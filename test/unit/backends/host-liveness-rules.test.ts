/** Whatever is lost, late or stopped: a machine that could have answered is never found gone. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  conclude,
  initialHostLiveness,
  judgeTurn,
  TURN_MS,
  withPeers,
} from "../../../src/backends/host-liveness-rules.ts";
import type { HostLivenessState, LivenessVerdict } from "../../../src/backends/host-liveness-rules.ts";

const NOBODY: ReadonlySet<string> = new Set();

/** Turns of 100 ms; who answers the echo just sent is the argument. */
class Play {
  nowMs = 1_000;
  state: HostLivenessState;
  suspects: readonly string[] = [];
  returned: readonly string[] = [];

  constructor(...addresses: readonly string[]) {
    this.state = withPeers(initialHostLiveness(this.nowMs), addresses);
  }

  turns(count: number, ...answering: readonly string[]): this {
    for (let i = 0; i < count; i++) this.turn({ answering });
    return this;
  }

  turn(what: {
    answering?: readonly string[];
    lateAnswers?: readonly string[];
    afterMs?: number;
    unsent?: ReadonlySet<string>;
    overrun?: boolean;
  }): this {
    this.nowMs += what.afterMs ?? TURN_MS;
    const answer = (address: string, age: number) => ({
      address,
      sequence: (this.state.sequence - age) & 0xffff,
    });
    const answers = [
      ...(what.answering ?? []).map((address) => answer(address, 0)),
      ...(what.lateAnswers ?? []).map((address) => answer(address, 1)),
    ];
    const result = judgeTurn(this.state, {
      nowMs: this.nowMs,
      answers,
      unsent: what.unsent ?? NOBODY,
      overrun: what.overrun ?? false,
    });
    this.state = result.state;
    this.suspects = result.suspects;
    this.returned = result.returned;
    return this;
  }

  /** 250 ms after the suspicion: one turn, then TCP's word. */
  confirm(
    address: string,
    what: {
      tcpAnswered?: boolean;
      answering?: readonly string[];
      waiting?: readonly string[];
      afterMs?: number;
    } = {},
  ): LivenessVerdict {
    const since = this.state.sequence;
    this.turn({ answering: what.answering ?? ["b"] });
    this.nowMs += what.afterMs ?? 100;
    const answers = (what.waiting ?? []).map((waiting) => ({
      address: waiting,
      sequence: this.state.sequence,
    }));
    const { state, verdict } = conclude(
      this.state,
      { address, since },
      { tcpAnswered: what.tcpAnswered ?? false, nowMs: this.nowMs, answers },
    );
    this.state = state;
    return verdict;
  }
}

/** Both have answered for long enough. */
const calibrated = (): Play => new Play("a", "b").turns(20, "a", "b");
const suspected = (): Play => calibrated().turns(2, "b");

describe("suspicion", () => {
  test("after two misses in a row while another one answers", () => {
    assert.deepEqual(calibrated().turns(1, "b").suspects, []);
    assert.deepEqual(suspected().suspects, ["a"]);
    assert.deepEqual(suspected().turns(1, "b").suspects, [], "told once");
  });

  test("not of one that has not answered twenty times", () => {
    assert.deepEqual(new Play("a", "b").turns(19, "a", "b").turns(3, "b").suspects, []);
    assert.deepEqual(new Play("a", "b").turns(30, "b").suspects, []);
  });

  test("not of one whose echoes are lost one time in four: it never counts", () => {
    const play = new Play("a", "b");
    for (let i = 0; i < 50; i++) play.turns(3, "a", "b").turns(1, "b");
    assert.deepEqual(play.turns(3, "b").suspects, []);
  });

  test("an answer between starts the count anew, a late one as well", () => {
    assert.deepEqual(calibrated().turns(1, "b").turns(1, "a", "b").turns(1, "b").suspects, []);
    assert.deepEqual(
      calibrated()
        .turns(1, "b")
        .turn({ answering: ["b"], lateAnswers: ["a"] })
        .turns(1, "b").suspects,
      [],
    );
  });

  test("not without a witness, however long; nor at once when others come back first", () => {
    const play = calibrated().turns(50);
    assert.deepEqual(play.suspects, []);
    assert.deepEqual(play.turns(10, "b").suspects, [], "our link was away: everybody is learnt anew");
    assert.deepEqual(new Play("a").turns(30, "a").turns(30).suspects, [], "the only one");
  });

  test("a witness in each of the two turns: that we are cut off half-way is not a machine's death", () => {
    assert.deepEqual(calibrated().turns(1, "b").turns(10).suspects, []);
  });

  test("a witness that loses one echo only costs a turn", () => {
    assert.deepEqual(calibrated().turns(1, "b").turns(1).turns(1, "b").suspects, ["a"]);
  });

  test("not after our own pause, an echo that could not be sent, or replies left unread", () => {
    for (const odd of [{ afterMs: 1_000 }, { unsent: new Set(["a"]) }, { overrun: true }]) {
      assert.deepEqual(
        calibrated()
          .turns(1, "b")
          .turn({ answering: ["b"], ...odd }).suspects,
        [],
        JSON.stringify(odd),
      );
    }
    assert.deepEqual(
      calibrated()
        .turns(1, "b")
        .turn({ answering: ["b"], afterMs: 1_000 })
        .turns(1, "b").suspects,
      [],
      "the count starts anew",
    );
    assert.deepEqual(
      calibrated()
        .turns(1, "b")
        .turn({ answering: ["b"], afterMs: 300 }).suspects,
      ["a"],
      "a little late is no pause",
    );
  });

  test("of two that die together, with a third to witness it", () => {
    const play = new Play("a", "b", "c").turns(20, "a", "b", "c").turns(2, "c");
    assert.deepEqual(play.suspects, ["a", "b"]);
  });
});

describe("the verdict", () => {
  test("gone when TCP is silent too, once", () => {
    const play = suspected();
    assert.equal(play.confirm("a"), "gone");
    assert.deepEqual(play.turns(100, "b").suspects, []);
  });

  test("alive when TCP or a late echo answers; then it is learnt anew", () => {
    for (const answer of [{ tcpAnswered: true }, { answering: ["a", "b"] }, { waiting: ["a"] }]) {
      const play = suspected();
      assert.equal(play.confirm("a", answer), "alive");
      assert.deepEqual(play.turns(10, "b").suspects, []);
    }
  });

  test("unknown without a witness since the suspicion, after a pause of ours, or for one no longer asked about", () => {
    assert.equal(suspected().confirm("a", { answering: [] }), "unknown");
    assert.equal(suspected().confirm("a", { answering: [], waiting: ["b"] }), "gone");
    assert.equal(suspected().confirm("a", { afterMs: 2_000 }), "unknown");
    const play = suspected();
    play.state = withPeers(play.state, ["b"]);
    assert.equal(play.confirm("a"), "unknown");
    const paused = suspected();
    const since = paused.state.sequence;
    paused.turn({ answering: ["b"], afterMs: 5_000 });
    assert.equal(
      conclude(
        paused.state,
        { address: "a", since },
        { tcpAnswered: false, nowMs: paused.nowMs, answers: [] },
      ).verdict,
      "unknown",
    );
    assert.deepEqual(paused.turns(2, "b").suspects, ["a"], "and is found by the next two");
  });

  test("its return is told once, and it counts again after twenty answers", () => {
    const play = suspected();
    assert.equal(play.confirm("a"), "gone");
    assert.deepEqual(play.turns(5, "b").turns(1, "a", "b").returned, ["a"]);
    assert.deepEqual(play.turns(1, "a", "b").returned, []);
    assert.deepEqual(play.turns(18, "a", "b").turns(2, "b").suspects, ["a"]);
  });

  test("a return is not missed because of a pause", () => {
    const play = suspected();
    play.confirm("a");
    assert.deepEqual(play.turn({ answering: ["a"], afterMs: 5_000 }).returned, ["a"]);
  });
});

test("a machine whose every second echo is answered is never suspected, whatever else goes wrong", () => {
  const event = fc.record({
    b: fc.boolean(),
    lateAnswer: fc.boolean(),
    afterMs: fc.constantFrom(150, 160, 290, 440, 600, 5_000),
    overrun: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 120 }), (events) => {
      const play = calibrated();
      events.forEach(({ b, lateAnswer, afterMs, overrun }, index) => {
        const a = index % 2 === 1;
        play.turn({
          answering: [...(a && !lateAnswer ? ["a"] : []), ...(b ? ["b"] : [])],
          lateAnswers: a && lateAnswer ? ["a"] : [],
          afterMs,
          overrun,
        });
        assert.ok(!play.suspects.includes("a"));
      });
    }),
  );
});

test("sequences go round after 65535", () => {
  const play = calibrated();
  play.state = { ...play.state, sequence: 0xfffe };
  assert.deepEqual(play.turns(5, "a", "b").suspects, []);
  assert.deepEqual(play.turns(2, "b").suspects, ["a"]);
});
