import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { silentLogger } from "../../../src/log.ts";
import type { CheckSpec } from "../../../src/tracking/check.ts";
import type { Outcome, Summary } from "../../../src/tracking/rules.ts";
import { createTracker } from "../../../src/tracking/tracker.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const PASS: Outcome = { kind: "pass", detail: "fine" };
const FAIL: Outcome = { kind: "fail", detail: "broken" };

/** A check whose runs the test ends by hand. */
class Manual {
  readonly runs: {
    readonly signal: AbortSignal;
    readonly end: (outcome: Outcome | null) => Promise<void>;
    readonly fail: (error: Error) => Promise<void>;
  }[] = [];

  run(signal: AbortSignal): Promise<Outcome | null> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome | null>();
    const settled = async (): Promise<void> => {
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    };
    this.runs.push({
      signal,
      end: (outcome) => (resolve(outcome), settled()),
      fail: (error) => (reject(error), settled()),
    });
    return promise;
  }

  get last() {
    const run = this.runs.at(-1);
    assert.ok(run !== undefined, "no run yet");
    return run;
  }
}

function spec(changes: Partial<CheckSpec> & Pick<CheckSpec, "run">): CheckSpec {
  return { name: "c", weight: 0, rise: 1, fall: 1, intervalMs: 1_000, timeoutMs: 500, ...changes };
}

function track(...checks: CheckSpec[]) {
  const clock = new FakeClock();
  const lines: string[] = [];
  const logs = (level: string) => (_: object, text: string) => void lines.push(`${level}: ${text}`);
  const log = { ...silentLogger, error: logs("error"), warn: logs("warn"), info: logs("info") };
  const tracker = createTracker({ clock, log, checks, basePriority: 100 });
  const seen: Summary[] = [];
  tracker.onChange((summary) => void seen.push(summary));
  return { clock, tracker, seen, lines };
}

describe("the tracker", () => {
  test("runs every check at the start and then at its interval", () => {
    const ran = { a: 0, b: 0 };
    const { clock, tracker } = track(
      spec({ name: "a", run: () => ((ran.a += 1), PASS) }),
      spec({ name: "b", intervalMs: 3_000, run: () => ((ran.b += 1), PASS) }),
    );
    assert.deepEqual(ran, { a: 0, b: 0 });
    tracker.start();
    assert.deepEqual(ran, { a: 1, b: 1 });
    clock.advance(6_000);
    assert.deepEqual(ran, { a: 7, b: 3 });
  });

  test("is not ready before the last check has given its first result", async () => {
    const slow = new Manual();
    const { tracker, seen } = track(
      spec({ name: "a", run: () => PASS }),
      spec({ name: "slow", weight: 10, run: (signal) => slow.run(signal) }),
    );
    assert.deepEqual(tracker.summary(), { effective: 100, faults: [], ready: false });
    tracker.start();
    assert.equal(tracker.summary().ready, false);
    assert.deepEqual(seen, []);
    await slow.last.end(PASS);
    assert.deepEqual(seen, [{ effective: 110, faults: [], ready: true }]);
    assert.deepEqual(tracker.summary(), seen[0]);
  });

  test("takes no verdict from a check that does not know yet", () => {
    let outcome: Outcome | null = null;
    const { clock, tracker } = track(spec({ run: () => outcome }));
    tracker.start();
    clock.advance(5_000);
    assert.equal(tracker.summary().ready, false);
    assert.equal(tracker.statuses()[0]?.ok, null);
    outcome = PASS;
    clock.advance(1_000);
    assert.equal(tracker.summary().ready, true);
  });

  test("calls back on changes of the summary only", () => {
    let outcome: Outcome = PASS;
    const { clock, tracker, seen } = track(spec({ rise: 2, fall: 3, run: () => outcome }));
    tracker.start();
    clock.advance(10_000);
    assert.equal(seen.length, 1);
    outcome = FAIL;
    clock.advance(2_000);
    assert.equal(seen.length, 1, "two failures of three are tolerated");
    clock.advance(1_000);
    assert.deepEqual(seen.at(-1), { effective: 100, faults: ["c"], ready: true });
    outcome = PASS;
    clock.advance(2_000);
    assert.deepEqual(seen.at(-1), { effective: 100, faults: [], ready: true });
    assert.equal(seen.length, 3);
  });

  test("never runs a check twice at once, and counts the runs that fell out", async () => {
    const slow = new Manual();
    const { clock, tracker } = track(spec({ timeoutMs: 10_000, run: (signal) => slow.run(signal) }));
    tracker.start();
    clock.advance(3_000);
    assert.equal(slow.runs.length, 1);
    assert.equal(tracker.skipped().get("c"), 3);
    await slow.last.end(PASS);
    assert.equal(slow.runs.length, 1, "a run that fell out is not made up for");
    clock.advance(1_000);
    assert.equal(slow.runs.length, 2);
    assert.equal(tracker.skipped().get("c"), 3);
  });

  test("counts a time-out as a failure, aborts the run and ignores what it says later", async () => {
    const slow = new Manual();
    const { clock, tracker } = track(spec({ run: (signal) => slow.run(signal) }));
    tracker.start();
    clock.advance(499);
    assert.equal(slow.last.signal.aborted, false);
    clock.advance(1);
    assert.equal(slow.last.signal.aborted, true);
    assert.deepEqual(tracker.summary().faults, ["c"]);
    assert.equal(tracker.statuses()[0]?.detail, "no result within 500 ms");
    await slow.last.end(PASS);
    assert.deepEqual(tracker.summary().faults, ["c"]);
    clock.advance(500);
    await slow.last.end(PASS);
    assert.deepEqual(tracker.summary().faults, []);
  });

  test("goes on counting failures while a run outlives its time-out", () => {
    const stuck = new Manual();
    let first = true;
    const run = (signal: AbortSignal) => (first ? ((first = false), PASS) : stuck.run(signal));
    const { clock, tracker } = track(spec({ fall: 3, run }));
    tracker.start();
    clock.advance(1_500);
    assert.deepEqual(tracker.summary().faults, [], "the time-out was the first failure");
    clock.advance(500);
    assert.deepEqual(tracker.summary().faults, []);
    clock.advance(1_000);
    assert.deepEqual(tracker.summary().faults, ["c"]);
    assert.equal(stuck.runs.length, 1);
  });

  test("counts one failure for each hanging run when time-out and interval are the same", async () => {
    const hanging = new Manual();
    let first = true;
    const run = (signal: AbortSignal) => (first ? ((first = false), PASS) : hanging.run(signal));
    const { clock, tracker } = track(spec({ fall: 3, timeoutMs: 1_000, run }));
    const aborted = async (): Promise<void> => {
      clock.advance(1_000);
      assert.equal(hanging.last.signal.aborted, true);
      await hanging.last.end(null);
    };
    tracker.start();
    clock.advance(1_000);
    await aborted();
    await aborted();
    assert.deepEqual(tracker.summary().faults, []);
    await aborted();
    assert.deepEqual(tracker.summary().faults, ["c"]);
    assert.equal(hanging.runs.length, 4, "the next run takes the place of the one that was ended");
    assert.equal(tracker.skipped().get("c"), 0);
  });

  test("takes a check that throws or rejects for a failed one", async () => {
    const rejecting = new Manual();
    const { tracker } = track(
      spec({
        name: "throws",
        run: () => {
          throw new Error("no netlink");
        },
      }),
      spec({ name: "rejects", run: (signal) => rejecting.run(signal) }),
    );
    tracker.start();
    await rejecting.last.fail(new Error("no file"));
    assert.deepEqual(tracker.summary().faults, ["throws", "rejects"]);
    assert.deepEqual(
      tracker.statuses().map((status) => status.detail),
      ["no netlink", "no file"],
    );
  });

  test("runs a poked check at once, and once more after a run that was going", async () => {
    const check = new Manual();
    const { tracker } = track(
      spec({ run: (signal) => check.run(signal) }),
      spec({ name: "other", run: () => PASS }),
    );
    tracker.poke("c");
    assert.equal(check.runs.length, 0, "not before the start");
    tracker.start();
    tracker.poke("c");
    tracker.poke("c");
    assert.equal(check.runs.length, 1);
    await check.last.end(PASS);
    assert.equal(check.runs.length, 2);
    await check.last.end(FAIL);
    assert.equal(check.runs.length, 2);
    assert.deepEqual(tracker.summary().faults, ["c"]);
    tracker.poke("unknown");
    tracker.poke("c");
    assert.equal(check.runs.length, 3);
    assert.equal(tracker.skipped().get("c"), 0, "a poke is no scheduled run");
  });

  test("rechecks everything when told to", () => {
    let ran = 0;
    const { tracker } = track(
      spec({ name: "a", run: () => ((ran += 1), PASS) }),
      spec({ name: "b", run: () => ((ran += 1), PASS) }),
    );
    tracker.start();
    tracker.recheck();
    assert.equal(ran, 4);
  });

  test("reacts at once to what a check watches, and lets go of it when stopped", () => {
    let outcome: Outcome = PASS;
    const watchers = new Set<() => void>();
    const watch = (poke: () => void) => (watchers.add(poke), { close: () => void watchers.delete(poke) });
    const { tracker, seen } = track(spec({ run: () => outcome, watch }));
    tracker.start();
    outcome = FAIL;
    for (const poke of watchers) poke();
    assert.deepEqual(seen.at(-1)?.faults, ["c"]);
    tracker.stop();
    assert.equal(watchers.size, 0);
  });

  test("leaves no timer behind and says nothing more once stopped; started again, it goes on", async () => {
    const check = new Manual();
    const { clock, tracker, seen } = track(spec({ run: (signal) => check.run(signal) }));
    tracker.start();
    tracker.stop();
    assert.equal(clock.pendingTimers, 0);
    assert.equal(check.last.signal.aborted, true);
    tracker.start();
    assert.equal(check.runs.length, 1, "the old run is still winding up");
    await check.last.end(FAIL);
    assert.deepEqual(seen, []);
    assert.equal(check.runs.length, 2);
    await check.last.end(PASS);
    assert.deepEqual(seen, [{ effective: 100, faults: [], ready: true }]);
    tracker.stop();
    assert.equal(clock.pendingTimers, 0);
  });

  test("tells each check's state, weight, contribution and since when", () => {
    let outcome: Outcome = PASS;
    const { clock, tracker } = track(spec({ weight: -50, run: () => outcome }));
    const startMs = clock.now();
    tracker.start();
    clock.advance(2_500);
    assert.deepEqual(tracker.statuses(), [
      { name: "c", ok: true, weight: -50, contribution: 0, detail: "fine", sinceMs: startMs },
    ]);
    outcome = FAIL;
    clock.advance(3_000);
    assert.deepEqual(tracker.statuses(), [
      { name: "c", ok: false, weight: -50, contribution: -50, detail: "broken", sinceMs: startMs + 3_000 },
    ]);
    assert.equal(tracker.summary().effective, 50);
  });

  test("logs changes and nothing else", () => {
    let outcome: Outcome = PASS;
    const { clock, tracker, lines } = track(spec({ weight: 1, run: () => outcome }));
    const play = (next: Outcome): void => {
      outcome = next;
      clock.advance(3_000);
    };
    tracker.start();
    play(PASS);
    assert.deepEqual(lines, [], "a first success is what everybody expects");
    play(FAIL);
    play(PASS);
    play({ kind: "unusable", detail: "no such program" });
    play({ kind: "value", value: 0, detail: "value 0" });
    play({ kind: "value", value: -20, detail: "value -20" });
    assert.deepEqual(lines, [
      "warn: Check failed",
      "info: Check recovered",
      "error: Check unusable",
      "info: Check recovered",
      "info: Check contributes differently",
    ]);
  });
});
