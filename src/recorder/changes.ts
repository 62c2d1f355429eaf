/** The changes of a node's role, shortly, as the page lists them. Pure. */
import { plainText } from "../kube/plain-text.ts";
import type { Decision } from "./recorder.ts";

export interface RoleChange {
  /** Wall-clock time, RFC 3339, worked out from the time of asking. */
  readonly at: string;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
}

/** Returns the last `most` changes of role, the last one first. */
export function roleChanges(
  decisions: readonly Decision[],
  now: { readonly wall: Date; readonly nowMs: number },
  most: number,
): readonly RoleChange[] {
  return decisions
    .filter(({ before, after }) => before.role.kind !== after.role.kind)
    .slice(-most)
    .toReversed()
    .map(({ atMs, before, after }) => ({
      at: new Date(now.wall.getTime() - (now.nowMs - atMs)).toISOString(),
      from: before.role.kind,
      to: after.role.kind,
      reason: plainText(after.reason),
    }));
}
