import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createCoalescedTimers, EARLY_MS } from "../../src/clock.ts";
import { FakeClock } from "../support/fake-clock.ts";

/** Coalesced timers: how often they woke the loop, and which task ran when, in ms since the start. */
class Bench {
  readonly clock = new FakeClock();
  readonly startMs = this.clock.now();
  wakes = 0;
  readonly ran: [string, number][] = [];
  readonly timers = createCoalescedTimers({
    now: () => this.clock.now(),
    after: (ms, callback) => {
      assert.ok(Number.isInteger(ms), "a timer counts whole milliseconds");
      return this.clock.after(ms, () => {
        this.wakes += 1;
        callback();
      });
    },
  });

  every(name: string, intervalMs: number, more: () => void = () => {}): () => void {
    const timer = this.timers.every(intervalMs, () => {
      this.ran.push([name, this.clock.now() - this.startMs]);
      more();
    });
    assert.ok(timer !== undefined);
    return () => timer.cancel();
  }

  timesOf(name: string): readonly number[] {
    return this.ran.filter(([who]) => who === name).map(([, ms]) => ms);
  }
}

describe("coalesced timers", () => {
  test("runs each task at its interval, and all in the same wakes, whenever they were started", () => {
    const bench = new Bench();
    bench.every("fast", 50);
    bench.clock.advance(33);
    bench.every("slow", 100);
    bench.clock.advance(3);
    bench.every("second", 1_000);
    bench.clock.advance(2_164);
    assert.deepEqual(
      bench.timesOf("fast"),
      Array.from({ length: 44 }, (_, index) => 50 * (index + 1)),
    );
    assert.deepEqual(
      bench.timesOf("slow"),
      Array.from({ length: 21 }, (_, index) => 100 * (index + 2)),
    );
    assert.deepEqual(bench.timesOf("second"), [1_100, 2_100]);
    assert.equal(bench.wakes, 44);
  });

  test("never runs one much sooner than its interval after a late run, and finds its place again", () => {
    for (const lateMs of [1, 9, 11, 30, 49, 70, 460]) {
      const bench = new Bench();
      bench.every("fast", 50);
      bench.clock.advance(100);
      bench.clock.jump(50 + lateMs);
      bench.clock.advance(500);
      const times = bench.timesOf("fast");
      const gaps = times.slice(1).map((ms, index) => ms - (times[index] ?? Number.NaN));
      assert.ok(
        gaps.every((gap) => gap >= 50 - EARLY_MS),
        `${lateMs} ms late: ${times.join(" ")}`,
      );
      assert.equal(
        times.filter((ms) => ms % 50 !== 0).length,
        lateMs % 50 === 0 ? 0 : 1,
        `${lateMs} ms late: ${times.join(" ")}`,
      );
    }
  });

  test("runs none that was cancelled, even by another in the same turn, and is not woken for it", () => {
    const bench = new Bench();
    const cancels: (() => void)[] = [];
    bench.every("first", 50, () => cancels.pop()?.());
    cancels.push(bench.every("second", 50));
    bench.clock.advance(120);
    assert.deepEqual(bench.timesOf("second"), []);
    const alone = new Bench();
    alone.every("only", 100)();
    assert.equal(alone.clock.pendingTimers, 0);
  });

  test("starts what a task starts at the next place", () => {
    const bench = new Bench();
    let started = false;
    bench.every("first", 100, () => {
      if (!started) bench.every("second", 50);
      started = true;
    });
    bench.clock.advance(200);
    assert.deepEqual(bench.timesOf("second"), [150, 200]);
  });

  test("goes on after a task that throws", () => {
    const bench = new Bench();
    bench.every("bad", 50, () => {
      throw new Error("bad");
    });
    bench.every("good", 50);
    assert.throws(() => bench.clock.advance(60), /bad/);
    assert.throws(() => bench.clock.advance(60), /bad/);
    assert.equal(bench.timesOf("bad").length, 2);
  });

  test("runs what is to run once in a wake that there is anyway, and never again", () => {
    const bench = new Bench();
    bench.every("fast", 100);
    bench.clock.advance(137);
    bench.timers.once(300, () => bench.ran.push(["once", bench.clock.now() - bench.startMs]));
    bench.clock.advance(1_000);
    assert.deepEqual(bench.timesOf("once"), [500]);
    assert.equal(bench.wakes, bench.timesOf("fast").length);
  });

  test("gives what comes back after part of its interval that whole interval", () => {
    const bench = new Bench();
    const work = (): void => {
      bench.ran.push(["work", bench.clock.now() - bench.startMs]);
      bench.clock.after(7, () => void bench.timers.once(993, work));
    };
    bench.timers.once(0, work);
    bench.clock.advance(4_150);
    assert.deepEqual(bench.timesOf("work"), [100, 1_100, 2_100, 3_100, 4_100]);
  });

  test("runs what starts itself again without a delay once a turn", () => {
    const bench = new Bench();
    const work = (): void => {
      bench.ran.push(["work", bench.clock.now() - bench.startMs]);
      bench.timers.once(0, work);
    };
    bench.timers.once(0, work);
    bench.clock.advance(350);
    assert.deepEqual(bench.timesOf("work"), [100, 200, 300]);
  });

  test("runs nothing once that was cancelled", () => {
    const bench = new Bench();
    bench.timers.once(100, () => assert.fail("it was cancelled")).cancel();
    assert.equal(bench.clock.pendingTimers, 0);
    bench.clock.advance(500);
  });

  test("leaves odd intervals to others", () => {
    const { timers } = new Bench();
    for (const ms of [0, -50, 30, 75, 120.5])
      assert.equal(
        timers.every(ms, () => {}),
        undefined,
      );
  });
});
