/**
 * What is made of a client's attempts and the kernels' tables: a figure that flatters would never be noticed.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { lastHeldMs, longestDualMs, seen, silenceAfterMs, slowestMs } from "../../bench/failover/figures.ts";
import { parseStatus } from "../../lab/etcd-leader.ts";
import type { Attempt } from "../../support/lab/probe.ts";
import { OwnershipTimeline } from "../../support/lab/timeline.ts";

const ok = (sentMs: number, ms = 1): Attempt => ({ sentMs, ms, ok: true, error: "" });
const failed = (sentMs: number, ms = 1): Attempt => ({ sentMs, ms, ok: false, error: "ECONNREFUSED" });
/** A look every 10 ms from 0 on; each word the holders, joined by `+`. */
const looks = (...holders: readonly string[]): OwnershipTimeline =>
  new OwnershipTimeline(
    "10.77.0.100",
    holders.map((names, index) => ({ atMs: index * 10, holders: names === "-" ? [] : names.split("+") })),
  );

describe("what a client saw", () => {
  test("refused ones between two answers are the gap; what only came late is a silence", () => {
    assert.deepEqual(seen([ok(0), ok(5), failed(10), failed(15), ok(20), ok(25)]), {
      gapMs: 15,
      silenceMs: 15,
      pauseMs: 5,
      unanswered: 2,
    });
    assert.deepEqual(seen([ok(0), ok(5), ok(10, 90), ok(15, 85), ok(20, 80)]), {
      gapMs: 5,
      silenceMs: 94,
      pauseMs: 5,
      unanswered: 0,
    });
  });

  test("no answer any more is no short silence, and none at all none that ends", () => {
    assert.equal(seen([ok(0), ok(5), failed(10, 1_000), failed(15, 1_000)]).silenceMs, 1_009);
    const { gapMs, silenceMs } = seen([failed(0), failed(5)]);
    assert.deepEqual({ gapMs, silenceMs }, { gapMs: Infinity, silenceMs: Infinity });
  });

  test("where all were answered the gap is the client's own pause", () => {
    assert.deepEqual(seen([ok(0), ok(5), ok(45), ok(50)]), {
      gapMs: 40,
      silenceMs: 40,
      pauseMs: 40,
      unanswered: 0,
    });
  });

  test("the slowest answer is none that failed", () => {
    assert.equal(slowestMs([ok(0, 3), ok(5, 40), failed(10, 900)]), 40);
    assert.equal(slowestMs([failed(0)]), 0);
  });
});

describe("an address that the kernel takes away", () => {
  test("was there for the last time at a look before the last one", () => {
    assert.equal(lastHeldMs(looks("n1", "n1", "-", "n2"), "n1"), 10);
    assert.equal(lastHeldMs(looks("n1", "n1+n2", "n2"), "n1"), 10);
    assert.equal(lastHeldMs(looks("n1", "-", "n1", "-"), "n1"), 20);
  });

  test("was kept, or never there: no figure", () => {
    assert.equal(lastHeldMs(looks("n1", "n1+n2", "n1+n2"), "n1"), undefined);
    assert.equal(lastHeldMs(looks("n2", "n2"), "n1"), undefined);
    assert.equal(lastHeldMs(looks(), "n1"), undefined);
  });

  test("leaves a silence from that moment on, even when somebody was answered just after it", () => {
    // Sent before it was gone: answered by the one that had it.
    assert.equal(silenceAfterMs([ok(5, 6), ok(25, 4), failed(30), ok(90, 2), ok(95, 2)], 10), 63);
    assert.equal(silenceAfterMs([ok(5, 6), failed(15), ok(60, 4), ok(65, 4)], 10), 54);
    assert.equal(silenceAfterMs([ok(15), failed(20, 1_000)], 10), 1_004);
    assert.equal(silenceAfterMs([ok(5, 6), failed(15)], 10), Infinity);
  });
});

describe("two holders", () => {
  test("the longest spell, and one that does not end is none that is over", () => {
    assert.equal(longestDualMs(looks("n1", "n1+n2", "n1+n2", "n2", "n2")), 20);
    assert.equal(longestDualMs(looks("n1", "-", "n2")), 0);
    assert.equal(longestDualMs(looks("n1", "n1+n2", "n1+n2")), Infinity);
    assert.equal(longestDualMs(looks()), 0);
  });
});

describe("etcd's status", () => {
  test("ids are texts, for they have 64 bits; no leader is left out", () => {
    const text =
      '{"header":{"cluster_id":"7","member_id":"18249187646912138824","raft_term":"2"},"version":"3.6.5","leader":"9372538179322589801"}';
    assert.deepEqual(parseStatus(text), { id: "18249187646912138824", leader: "9372538179322589801" });
    assert.deepEqual(parseStatus('{"header":{"member_id":"1"}}'), { id: "1", leader: "0" });
    for (const wrong of [
      "{}",
      '{"header":{"member_id":1},"leader":"2"}',
      '{"header":{"member_id":"1"},"leader":2}',
      "oops",
    ]) {
      assert.throws(() => parseStatus(wrong), wrong);
    }
  });
});
