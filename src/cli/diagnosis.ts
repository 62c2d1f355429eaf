/** One line of `leasehold doctor`. Pure. */
import { plainText } from "../kube/plain-text.ts";

/** `unknown`: it could not be found out. */
export type Verdict = "ok" | "warn" | "FAIL" | "unknown";

export interface Diagnosis {
  readonly check: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** What to do; "" for nothing. */
  readonly todo: string;
}

export const line = (check: string, verdict: Verdict, found: string, todo = ""): Diagnosis => ({
  check,
  verdict,
  found: plainText(found),
  todo,
});

/** What depends on the VIP while it is not known, and may therefore not be called well. */
export const noVip = (check: string): Diagnosis =>
  line(check, "unknown", "LEASEHOLD_VIP is not set", "Set it, as the pod has it.");

/** Returns a machine in words. @param node the candidate that it is; null: none. @param mac "" if it is not known */
export function machineText(node: string | null, mac: string): string {
  if (node === null) return mac === "" ? "another machine" : `the machine ${mac}`;
  return mac === "" ? node : `${node} (${mac})`;
}

/** Returns the text with a capital, as a sentence begins. */
export const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Says that another client has put a holder into the Lease: see {@link changedHolder}. */
export function changedHolderText({
  holder,
  writer,
}: {
  readonly holder: string;
  readonly writer: string;
}): string {
  return `LH_LEASE_CHANGED: the Lease names ${holder}, and ${writer} has written it: an admission webhook, a policy or a person has changed the holder.`;
}
