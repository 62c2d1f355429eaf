/**
 * Which machine a record of the Lease means. The name of a node does not say it alone, because two machines
 * may have been given the same name. So every claim also writes the machine's instance. By that, in the same
 * compare-and-swap, one of two machines of one name holds the Lease and the other does not
 * (kube/lease-change.ts).
 */
import { INSTANCE } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { SILENCE_MS } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionSettings } from "./types.ts";

/**
 * This node gives the name up after another machine has overwritten its annotation this often. A few late
 * copies of one write must not count.
 */
const OVERWRITTEN_LIMIT = 10;

/**
 * `unmarked`: the Lease names this node, and a person has removed the instance. `namesake`: another machine
 * of this node's name. `rewritten`: an admission webhook or a person has put another name into what this node
 * wrote, so no agent holds the Lease.
 */
export type Ownership = "nobody" | "ours" | "unmarked" | "namesake" | "another" | "rewritten";

export function ownershipOf(settings: ElectionSettings, record: LeaseRecord | null): Ownership {
  if (record === null || record.holder === "") return "nobody";
  if (record.holder !== settings.node) return record.rewritten === true ? "rewritten" : "another";
  const instance = record.annotations[INSTANCE];
  if (instance === undefined) return "unmarked";
  return instance === settings.instance ? "ours" : "namesake";
}

/** A text for each term of a holder: a claim changes it, and a renewal does not. */
export function termOf(record: LeaseRecord): string {
  return [record.holder, record.acquireTime ?? "", record.leaseTransitions ?? ""].join("/");
}

/** The term is one of that node. */
export function isTermOf(term: string, node: string): boolean {
  return term.startsWith(`${node}/`);
}

/**
 * Of two machines of one name one serves, and publishes its annotation under that name. The later one finds
 * the annotation of the first, and stands back until its counter has been silent. So a machine that was
 * installed again waits once. That the two never both hold the Lease does not depend on this: see {@link
 * ownershipOf}.
 * @param before the view before the newest record
 */
export function trackNamesake(step: StepBuilder, before: LeaseView | null): void {
  const { settings, facts, nowMs } = step;
  const { namesake, overwritten } = facts.self;
  const seen = facts.lease.view?.candidates.get(settings.node)?.candidate;
  // This node's own annotation says nothing. While the node stands back, it is a late copy from before it
  // knew of the other machine.
  if (seen === undefined || seen.instance === settings.instance) return;
  const wasOurs = before?.candidates.get(settings.node)?.candidate.instance === settings.instance;
  if (wasOurs) step.setSelf({ overwritten: overwritten + 1 });
  if (namesake === null && ownsTheName(step, seen.instance)) return step.setPublish({ text: "" });
  if (namesake?.instance === seen.instance && namesake.counter === seen.counter) return;
  if (namesake === null)
    step.effect({ kind: "report", report: { kind: "namesake", instance: seen.instance } });
  const { instance, counter } = seen;
  step.setSelf({ overwritten: 0, namesake: { instance, counter, untilMs: nowMs + SILENCE_MS } });
}

/**
 * This node has published under its name lately, so the machine that has overwritten it came later and must
 * give way. Two machines that started at one moment both think so. Then the one with the greater instance
 * gives way.
 */
function ownsTheName({ settings, facts, nowMs }: StepBuilder, other: string): boolean {
  if (nowMs - facts.lease.publish.okAtMs >= SILENCE_MS) return false;
  return facts.self.overwritten < OVERWRITTEN_LIMIT || settings.instance < other;
}

/** The namesake has been silent while this node could read: it is gone, and the name is this node's. */
export function settleNamesake(step: StepBuilder): void {
  const { namesake } = step.facts.self;
  const { okAtMs } = step.facts.lease.read;
  if (namesake === null) return;
  // Only a read from after the silence proves it. When the API says nothing, the namesake may still be there.
  if (okAtMs !== null && okAtMs >= namesake.untilMs) {
    step.setSelf({ namesake: null });
    step.setPublish({ counter: namesake.counter });
  } else if (step.nowMs < namesake.untilMs) step.wakeAt(namesake.untilMs);
}
