/** Runs the checks of this node, each at its own pace, and keeps their verdicts. */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import { errorMessage } from "../errors.ts";
import type { CheckSpec, CheckStatus } from "./check.ts";
import { advance, summarize, verdict } from "./rules.ts";
import type { CheckState, Outcome, Summary, CheckVerdict } from "./rules.ts";

export interface TrackerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Names are unique. */
  readonly checks: readonly CheckSpec[];
  /** Configured priority, 1-254. */
  readonly basePriority: number;
}

/** The tracker of this node. */
export interface Tracker {
  /** Runs every check at once, then each at its interval. */
  start(): void;
  /** Aborts the runs under way. No callback comes after it. */
  stop(): void;
  /** Returns what the checks say about this node now. */
  summary(): Summary;
  statuses(): CheckStatus[];
  /** Returns how many scheduled runs were skipped because the previous one was still running, by check. */
  skipped(): ReadonlyMap<string, number>;
  /** Calls back after each change of {@link Tracker.summary}. */
  onChange(callback: (summary: Summary) => void): { close(): void };
  /**
   * Runs the check now, or right after a run that is under way. Unknown names are ignored: not every check is
   * configured.
   */
  poke(name: string): void;
  /** Runs all checks now (SIGHUP). */
  recheck(): void;
}

interface Run {
  readonly abort: AbortController;
  readonly timeout: Timer;
  /** True after its time-out. Its own result is then ignored. */
  overdue: boolean;
  /** When it counts as a failure, for the first time or once more, monotonic ms. */
  failsAtMs: number;
}

interface Entry {
  readonly spec: CheckSpec;
  state: CheckState;
  detail: string;
  sinceMs: number;
  run: Run | null;
  again: boolean;
  skipped: number;
  timer: Timer | null;
  watcher: { close(): void } | null;
}

/** Creates a tracker that runs nothing before {@link Tracker.start}. */
export function createTracker(deps: TrackerDeps): Tracker {
  const { clock, log, basePriority } = deps;
  const entries: readonly Entry[] = deps.checks.map((spec) => ({
    spec,
    state: { kind: "INIT" },
    detail: "not run yet",
    sinceMs: clock.now(),
    run: null,
    again: false,
    skipped: 0,
    timer: null,
    watcher: null,
  }));
  const callbacks = new Set<(summary: Summary) => void>();
  let running = false;
  let last = summarizeNow();

  function summarizeNow(): Summary {
    return summarize(
      basePriority,
      entries.map((entry) => ({ rule: entry.spec, state: entry.state })),
    );
  }

  function record(entry: Entry, outcome: Outcome | null): void {
    if (outcome === null) return;
    const before = verdict(entry.spec, entry.state);
    entry.state = advance(entry.spec, entry.state, outcome);
    entry.detail = outcome.detail;
    const after = verdict(entry.spec, entry.state);
    if (okOf(before) !== okOf(after) || before.kind !== after.kind) {
      entry.sinceMs = clock.now();
      report(entry, before, after);
    } else if (
      before.kind === "WEIGHED" &&
      after.kind === "WEIGHED" &&
      before.contribution !== after.contribution
    ) {
      log.info(
        { check: entry.spec.name, detail: entry.detail, contribution: after.contribution },
        "Check contributes differently",
      );
    }
    announce();
  }

  /** Logs the change. A first success is expected. An operator wants to see every other change. */
  function report(entry: Entry, before: CheckVerdict, after: CheckVerdict): void {
    const fields = { check: entry.spec.name, detail: entry.detail, weight: entry.spec.weight };
    if (okOf(after) === true) {
      if (before.kind === "PENDING") log.debug(fields, "Check passed");
      else log.info(fields, "Check recovered");
    } else if (entry.state.kind === "BAD" && entry.state.unusable) {
      log.error(fields, "Check unusable");
    } else {
      log.warn(fields, "Check failed");
    }
  }

  function announce(): void {
    const next = summarizeNow();
    if (sameSummary(last, next)) return;
    last = next;
    for (const callback of callbacks) callback(next);
  }

  function begin(entry: Entry): void {
    const { spec } = entry;
    const abort = new AbortController();
    const run: Run = {
      abort,
      overdue: false,
      failsAtMs: clock.now() + spec.timeoutMs,
      timeout: clock.after(spec.timeoutMs, () => expire(entry, run)),
    };
    entry.run = run;
    entry.again = false;
    let result: Outcome | null | Promise<Outcome | null>;
    try {
      result = spec.run(abort.signal);
    } catch (error) {
      result = { kind: "fail", detail: errorMessage(error) };
    }
    if (!(result instanceof Promise)) {
      finish(entry, run, result);
      return;
    }
    void result.then(
      (outcome) => finish(entry, run, outcome),
      (error: unknown) => finish(entry, run, { kind: "fail", detail: errorMessage(error) }),
    );
  }

  function expire(entry: Entry, run: Run): void {
    run.overdue = true;
    run.failsAtMs = clock.now() + entry.spec.timeoutMs;
    record(entry, timeoutOf(entry.spec));
    run.abort.abort();
  }

  function finish(entry: Entry, run: Run, outcome: Outcome | null): void {
    run.timeout.cancel();
    entry.run = null;
    if (!running) return;
    if (!run.overdue) record(entry, outcome);
    if (running && entry.again && entry.run === null) begin(entry);
  }

  function tick(entry: Entry): void {
    const { run } = entry;
    if (run === null) {
      begin(entry);
      return;
    }
    const { spec } = entry;
    const failsNow = clock.now() >= run.failsAtMs;
    if (failsNow && run.overdue) {
      // A run that outlives its time-out (a child in uninterruptible sleep) must not keep the last verdict.
      run.failsAtMs = clock.now() + spec.timeoutMs;
      record(entry, timeoutOf(spec));
    } else if (failsNow) {
      // Time-out and interval are equal by default, so it must not matter which timer comes first.
      run.timeout.cancel();
      expire(entry, run);
    }
    // After an overdue run this one begins as soon as that run is gone. In other cases, or if one waits
    // already, it is skipped.
    if (!run.overdue || entry.again) entry.skipped += 1;
    if (run.overdue) entry.again = true;
  }

  function soon(entry: Entry): void {
    if (!running) return;
    if (entry.run === null) begin(entry);
    else entry.again = true;
  }

  return {
    start() {
      if (running) return;
      running = true;
      for (const entry of entries) {
        entry.timer = clock.every(entry.spec.intervalMs, () => tick(entry));
        entry.watcher = entry.spec.watch?.(() => soon(entry)) ?? null;
        soon(entry);
      }
    },
    stop() {
      running = false;
      for (const entry of entries) {
        entry.timer?.cancel();
        entry.watcher?.close();
        entry.timer = null;
        entry.watcher = null;
        if (entry.run === null) continue;
        entry.run.timeout.cancel();
        entry.run.overdue = true;
        entry.run.abort.abort();
      }
    },
    summary: () => last,
    statuses: () => entries.map(statusOf),
    skipped: () => new Map(entries.map((entry) => [entry.spec.name, entry.skipped])),
    onChange(callback) {
      callbacks.add(callback);
      return { close: () => void callbacks.delete(callback) };
    },
    poke(name) {
      const entry = entries.find((candidate) => candidate.spec.name === name);
      if (entry !== undefined) soon(entry);
    },
    recheck() {
      for (const entry of entries) soon(entry);
    },
  };
}

function statusOf(entry: Entry): CheckStatus {
  const result = verdict(entry.spec, entry.state);
  return {
    name: entry.spec.name,
    ok: okOf(result),
    weight: entry.spec.weight,
    contribution: result.kind === "WEIGHED" ? result.contribution : 0,
    detail: entry.detail,
    sinceMs: entry.sinceMs,
  };
}

function okOf(result: CheckVerdict): boolean | null {
  if (result.kind === "PENDING") return null;
  return result.kind === "WEIGHED" && result.ok;
}

function timeoutOf(spec: CheckSpec): Outcome {
  return { kind: "fail", detail: `no result within ${spec.timeoutMs} ms` };
}

function sameSummary(a: Summary, b: Summary): boolean {
  return a.effective === b.effective && a.ready === b.ready && a.faults.join() === b.faults.join();
}
