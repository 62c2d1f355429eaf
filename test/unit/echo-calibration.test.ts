import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  ageOfEcho,
  CALIBRATED,
  isBlindFor,
  isCalibrated,
  isLateTurn,
  isUsedUp,
  nextSequence,
  scoreAfterAnswer,
  scoreAfterMiss,
} from "../../src/echo-calibration.ts";

/** The score after so many rounds of `answers` answers and one miss. */
function scoreOf(rounds: number, answers: number): number {
  let score = 0;
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < answers; i++) score = scoreAfterAnswer(score);
    score = scoreAfterMiss(score);
  }
  return score;
}

describe("the calibration of a host that is asked by echoes", () => {
  test("takes twenty answers, and the score stays between 0 and that", () => {
    assert.deepEqual([isCalibrated(scoreAfterAnswer(18)), isCalibrated(scoreAfterAnswer(19))], [false, true]);
    assert.deepEqual(
      [scoreAfterAnswer(CALIBRATED), scoreAfterMiss(3), isUsedUp(scoreAfterMiss(4)), isUsedUp(1)],
      [CALIBRATED, 0, true, false],
    );
  });

  test("is never reached where one echo in five is lost, and is where one in ten is", () => {
    assert.ok(!isCalibrated(scoreAfterAnswer(scoreOf(1_000, 4))));
    assert.ok(
      isCalibrated(scoreAfterAnswer(scoreAfterAnswer(scoreAfterAnswer(scoreAfterAnswer(scoreOf(1_000, 9)))))),
    );
  });

  test("takes replies to echoes of the last eight turns for signs of life, also where the 16 bits begin again", () => {
    const sequence = nextSequence(nextSequence(0xfffe));
    assert.equal(sequence, 0);
    assert.deepEqual(
      [0, 0xffff, 0xfff9, 0xfff8, 1].map((sent) => ageOfEcho(sequence, sent)),
      ["now", "lately", "lately", null, null],
    );
  });

  test("calls a turn late after its tolerance, and this node blind after three turns without an answer", () => {
    const late = (nowMs: number): boolean =>
      isLateTurn({ startedMs: 1_000, nowMs, lengthMs: 100, toleranceMs: 300 });
    assert.deepEqual([late(1_400), late(1_401)], [false, true]);
    assert.deepEqual([isBlindFor(2), isBlindFor(3)], [false, true]);
  });
});
