/** What the agent has loaded into the kernel: the state of the fast path. Pure. */
import type { Mode } from "./status.ts";
import type { RulesetPlan } from "./tables.ts";

/** The state of the fast path. */
export type Loaded = LoadedBase &
  /** Nothing is loaded yet. Rules of a predecessor may be in the kernel. */
  (
    | { readonly kind: "none" }
    /** The whole fast path is loaded. `text` is the plan as text, to compare it with another plan. */
    | { readonly kind: "whole"; readonly plan: RulesetPlan; readonly text: string }
    /** Only the translation to this node's proxy is loaded, for `reason`. */
    | {
        readonly kind: "proxyOnly";
        readonly plan: RulesetPlan;
        readonly text: string;
        readonly reason: string;
      }
    /** No rules work, for `reason`. `plan` is what was loaded before another program changed it. */
    | { readonly kind: "off"; readonly plan: RulesetPlan | undefined; readonly reason: string }
  );

interface LoadedBase {
  /** No rules are loaded before this time. */
  readonly retryAtMs: number;
  /** The kernel refused the whole fast path. It is not asked for it again before `untilMs`. */
  readonly refusal: { readonly why: string; readonly untilMs: number } | undefined;
  /** Another program has changed the rules since they were loaded. Peers still count on the plan. */
  readonly changedByOthers: boolean;
}

/** The state at the start. */
export const NOTHING_LOADED: Loaded = {
  kind: "none",
  retryAtMs: Number.NEGATIVE_INFINITY,
  refusal: undefined,
  changedByOthers: false,
};

/** Answers the plan that was loaded last. Peers count on it, also while its rules do not work. */
export function planOf(loaded: Loaded): RulesetPlan | undefined {
  return loaded.kind === "none" ? undefined : loaded.plan;
}

/** True when the rules of `plan` are in the kernel. */
export function holds(loaded: Loaded, plan: RulesetPlan): boolean {
  switch (loaded.kind) {
    case "none":
    case "off":
      return false;
    case "whole":
    case "proxyOnly":
      return !loaded.changedByOthers && loaded.text === textOf(plan);
  }
}

/** Answers the mode for the status and the log. */
export function modeOf(loaded: Loaded): Mode {
  switch (loaded.kind) {
    case "none":
      return { kind: "starting" };
    case "whole":
      return { kind: "fast-path" };
    case "proxyOnly":
      return { kind: "proxy", reason: loaded.reason };
    case "off":
      return { kind: "off", reason: loaded.reason };
  }
}

/** Answers a plan as text, to compare it with another plan. Addresses are written by their text. */
export function textOf(plan: RulesetPlan): string {
  return JSON.stringify(plan, (_, value: unknown) =>
    typeof value === "object" && value !== null && "bytes" in value && "text" in value ? value.text : value,
  );
}
