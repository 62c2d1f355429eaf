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
