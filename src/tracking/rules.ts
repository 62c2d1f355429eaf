/**
 * Computes what the checks of a node do to its priority, with keepalived's arithmetic. Pure.
 *
 * A check has a counter from 0 to rise + fall - 1, and it is good from `rise` upwards. A success in the good
 * range fills the counter, and a failure in the bad range empties it. So `rise` successes in a row make a bad
 * check good, and `fall` failures in a row make a good one bad. The very first result counts at once, either
 * way.
 */

/** What one run of a check found. */
export type Outcome =
  | { readonly kind: "pass"; readonly detail: string }
  | { readonly kind: "fail"; readonly detail: string }
  /** A number from a file, which is multiplied by the weight. */
  | { readonly kind: "value"; readonly value: number; readonly detail: string }
  /**
   * The check itself is broken (no such program, no number in the file). This counts as a failure. A check
   * that is down for this reason is in FAULT whatever its weight: a broken check must be seen, not silently
   * switched off.
   */
  | { readonly kind: "unusable"; readonly detail: string };

/** The part of a check that the arithmetic needs. */
export interface CheckRule {
  readonly name: string;
  /** 0: a failure is a FAULT. Otherwise -254..254, see {@link verdict}. */
  readonly weight: number;
  /** Successes in a row that make it good, >= 1. */
  readonly rise: number;
  /** Failures in a row that make it bad, >= 1. */
  readonly fall: number;
}

/** The state of a check between two results. */
export type CheckState =
  | { readonly kind: "INIT" }
  /** `value` is the number last read; null for checks that only pass or fail. */
  | { readonly kind: "GOOD"; readonly counter: number; readonly value: number | null }
  | { readonly kind: "BAD"; readonly counter: number; readonly unusable: boolean };

/** What a check means for the election. */
export type CheckVerdict =
  /** There is no result yet, so the node is not eligible. */
  | { readonly kind: "PENDING" }
  /** `ok` is what people see. A failing check of non-zero weight lowers the rank and does nothing else. */
  | { readonly kind: "WEIGHED"; readonly ok: boolean; readonly contribution: number }
  | { readonly kind: "FAULT" };

/** What all checks together mean for the node. */
export interface Summary {
  /** Effective priority, 1-254. */
  readonly effective: number;
  /** Names of the checks in FAULT, in the order of the checks. */
  readonly faults: readonly string[];
  /** True once every check has given its first result. */
  readonly ready: boolean;
}

const PRIORITY_MIN = 1;
const PRIORITY_MAX = 254;
/** keepalived's lowest weight. A file whose value x weight is below it puts the node into FAULT. */
const LOWEST_CONTRIBUTION = -253;

/** Returns the check's state after one more result. */
export function advance(rule: CheckRule, state: CheckState, outcome: Outcome): CheckState {
  const success = outcome.kind === "pass" || outcome.kind === "value";
  const counter = nextCounter(rule, state, success);
  if (counter < rule.rise) return { kind: "BAD", counter, unusable: broken(state, outcome) };
  // A failure that is still tolerated keeps the last number in force.
  const kept = state.kind === "GOOD" ? state.value : null;
  return { kind: "GOOD", counter, value: outcome.kind === "value" ? outcome.value : kept };
}

function nextCounter(rule: CheckRule, state: CheckState, success: boolean): number {
  const full = rule.rise + rule.fall - 1;
  // Before the first result the counter is one short of good, so that one success or one failure decides.
  const counter = state.kind === "INIT" ? rule.rise - 1 : state.counter;
  if (success) return counter + 1 < rule.rise ? counter + 1 : full;
  return counter > rule.rise ? counter - 1 : 0;
}

function broken(state: CheckState, outcome: Outcome): boolean {
  if (outcome.kind === "unusable") return true;
  if (outcome.kind === "fail") return false;
  // This is a success on the way up: a check that was broken stays so until `rise` is reached.
  return state.kind === "BAD" && state.unusable;
}

/**
 * Returns what a check means for the election. Weight 0: a bad check (or a value other than 0) is a FAULT.
 * Weight -w subtracts w while the check is bad, and +w adds w while it is good. A value contributes value x
 * weight. Below -253 that is a FAULT.
 */
export function verdict(rule: CheckRule, state: CheckState): CheckVerdict {
  if (state.kind === "INIT") return { kind: "PENDING" };
  if (state.kind === "BAD") {
    if (rule.weight === 0 || state.unusable) return { kind: "FAULT" };
    return { kind: "WEIGHED", ok: false, contribution: Math.min(rule.weight, 0) };
  }
  if (state.value !== null) return valueVerdict(rule.weight, state.value);
  return { kind: "WEIGHED", ok: true, contribution: Math.max(rule.weight, 0) };
}

function valueVerdict(weight: number, value: number): CheckVerdict {
  if (weight === 0) return value === 0 ? { kind: "WEIGHED", ok: true, contribution: 0 } : { kind: "FAULT" };
  const contribution = value * weight;
  if (contribution < LOWEST_CONTRIBUTION) return { kind: "FAULT" };
  // The status would show -0.
  return { kind: "WEIGHED", ok: true, contribution: contribution === 0 ? 0 : contribution };
}

/**
 * Returns the node's effective priority and faults. The sum of all contributions is taken before it is
 * clamped: +200 and -200 cancel, in any order.
 * @param base configured priority, 1-254
 */
export function summarize(
  base: number,
  checks: readonly { readonly rule: CheckRule; readonly state: CheckState }[],
): Summary {
  let sum = base;
  let ready = true;
  const faults: string[] = [];
  for (const { rule, state } of checks) {
    const result = verdict(rule, state);
    switch (result.kind) {
      case "PENDING":
        ready = false;
        break;
      case "FAULT":
        faults.push(rule.name);
        break;
      case "WEIGHED":
        sum += result.contribution;
        break;
    }
  }
  return { effective: Math.min(PRIORITY_MAX, Math.max(PRIORITY_MIN, sum)), faults, ready };
}
