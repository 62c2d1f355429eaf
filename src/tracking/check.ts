/** Defines what the tracker knows of a check: when to run it, how, and what its results are worth. */
import type { CheckRule, Outcome } from "./rules.ts";

/** A check as the tracker runs it. */
export interface CheckSpec extends CheckRule {
  readonly intervalMs: number;
  /** A run that takes longer counts as a failure. Its own result is ignored when it comes. */
  readonly timeoutMs: number;
  /**
   * Makes one run. null: nothing is known yet, so there is no verdict. `signal` is aborted at the time-out
   * and when the tracker stops. The promise settles when nothing of the run is left (a child process is
   * gone), and no other run starts before.
   */
  run(signal: AbortSignal): Outcome | null | Promise<Outcome | null>;
  /** Calls `poke` when a run before its time is worth while. */
  watch?(poke: () => void): { close(): void };
}

/** What another part of the agent says about itself. `ok` null: it does not know yet. */
export interface Finding {
  readonly ok: boolean | null;
  readonly detail: string;
}

/** What a check has found, as `/status` shows it. */
export interface CheckStatus {
  readonly name: string;
  /** null until the first verdict. */
  readonly ok: boolean | null;
  /** 0: a failure is a FAULT. Otherwise the weight by which the check changes the effective priority. */
  readonly weight: number;
  /** What it adds to the priority right now. */
  readonly contribution: number;
  readonly detail: string;
  readonly sinceMs: number;
}
