/**
 * Who a record of the Lease means. The name of a node does not say it alone, because two machines may have been given the same name. So every claim
 * also writes the machine's instance. By that, in the same compare-and-swap, one of two machines of one name holds the Lease and the other does not
 * (kube/lease-change.ts).
 */
import { INSTANCE } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { SILENCE_MS } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionSettings } from "./types.ts";

/** So often one insists on one's name against another machine that insists as well. Some late copies of what it said once are no insisting. */
const OVERWRITTEN_LIMIT = 10;

/** `unmarked`: it names our node, and a person has removed the mark. */
export type Ownership = "nobody" | "ours" | "unmarked" | "namesake" | "another";

export function ownershipOf(settings: ElectionSettings, record: LeaseRecord | null): Ownership {
  if (record === null || record.holder === "") return "nobody";
  if (record.holder !== settings.node) return "another";
  const instance = record.annotations[INSTANCE];
  if (instance === undefined) return "unmarked";
  return instance === settings.instance ? "ours" : "namesake";
}

/** Tells one tenure from the next: what a claim changes and a renewal does not. */
export function termOf(record: LeaseRecord): string {
  return [record.holder, record.acquireTime ?? "", record.leaseTransitions ?? ""].join("/");
}

/**
 * Of two machines of one name one serves, and says so under that name. The later one finds the first one's annotation and
 * stands back until its counter has been silent; a machine that was installed anew thus waits once. (That they never both hold is not
 * left to this: see `ownershipOf`.)
 */
export function trackNamesake(step: StepBuilder, before: LeaseView | null): void {
  const { settings, state, nowMs } = step;
  const own = state.lease.view?.candidates.get(settings.node)?.candidate;
  // Our own words while we are silent are a late copy of what we said before we knew: they prove nothing.
  if (own === undefined || own.instance === settings.instance) return;
  if (before?.candidates.get(settings.node)?.candidate.instance === settings.instance) step.setSelf({ overwritten: state.self.overwritten + 1 });
  if (state.self.namesake === null && ownsTheName(step, own.instance)) return step.setPublish({ text: "" });
  if (state.self.namesake?.instance === own.instance && state.self.namesake.counter === own.counter) return;
  if (state.self.namesake === null) step.effect({ kind: "report", report: { kind: "namesake", instance: own.instance } });
  step.setSelf({ overwritten: 0, namesake: { instance: own.instance, counter: own.counter, untilMs: nowMs + SILENCE_MS } });
}

/**
 * We have been heard under this name lately: whoever wrote over it came later and must give way, not we. Two that began at one moment both think so: one
 * must yield, and it is the one whose instance is greater.
 */
function ownsTheName({ settings, state, nowMs }: StepBuilder, other: string): boolean {
  if (nowMs - state.lease.publish.okAtMs >= SILENCE_MS) return false;
  return state.self.overwritten < OVERWRITTEN_LIMIT || settings.instance < other;
}

/** The namesake has been silent while we could read: it is gone, the name is ours. */
export function settleNamesake(step: StepBuilder): void {
  const { namesake } = step.state.self;
  const { okAtMs: readOkAtMs } = step.state.lease.read;
  if (namesake === null) return;
  // Only a read from after the silence proves it: an API that says nothing is no silence of the namesake's.
  if (readOkAtMs !== null && readOkAtMs >= namesake.untilMs) {
    step.setSelf({ namesake: null });
  step.setPublish({ counter: namesake.counter });
  } else if (step.nowMs < namesake.untilMs) step.wakeAt(namesake.untilMs);
}
