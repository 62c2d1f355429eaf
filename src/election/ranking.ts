/**
 * Which of two candidates is better. This is the only file that orders candidates: by the higher effective
 * priority, then by the higher node IP as a number (RFC 9568 section 6.4.3), then by the name.
 */
import type { Candidate } from "../kube/record.ts";
import { ipNumber, parseIp } from "../net.ts";

/** What decides which of two candidates is better. */
export type Ranked = Pick<Candidate, "node" | "ip" | "effective">;

/** Negative when `a` is better. It is zero only for one and the same node. */
export function compareCandidates(a: Ranked, b: Ranked): number {
  if (a.effective !== b.effective) return b.effective - a.effective;
  const left = addressRank(a.ip);
  const right = addressRank(b.ip);
  if (left !== right) return left > right ? -1 : 1;
  if (a.node === b.node) return 0;
  return a.node < b.node ? -1 : 1;
}

/** The candidates, best first. */
export function ranked(candidates: readonly Candidate[]): readonly Candidate[] {
  return [...candidates].sort(compareCandidates);
}

/**
 * True when `challenger` may take the VIP from a healthy `holder`. Only a higher effective priority may. An
 * equal one never preempts (RFC 9568 section 6.4.2), however high its address is. Otherwise two equal nodes
 * would pass the VIP to and fro.
 */
export function outranks(challenger: Candidate, holder: Candidate): boolean {
  return challenger.effective > holder.effective;
}

function addressRank(text: string): bigint {
  const address = parseIp(text);
  return address === undefined ? -1n : ipNumber(address);
}
