/**
 * Whose tenure a record tells of. The name alone does not say: two machines may have been given the same. So every claim
 * also writes the machine's instance, and by that, in the same compare-and-swap, one of two namesakes holds the Lease and the other does not.
 */
import { INSTANCE } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import type { ElectionSettings } from "./types.ts";

/** `unmarked`: it names our node, and a person has removed the mark. */
export type Tenure = "nobody" | "ours" | "unmarked" | "namesake" | "another";

export function tenureOf(settings: ElectionSettings, record: LeaseRecord | null): Tenure {
  if (record === null || record.holder === "") return "nobody";
  if (record.holder !== settings.node) return "another";
  const instance = record.annotations[INSTANCE];
  if (instance === undefined) return "unmarked";
  return instance === settings.instance ? "ours" : "namesake";
}
