/** Whom the sentinel watches on the VIP's wire: the holder that this node would replace, and the others as witnesses. Pure. */
import type { LeaseRecord } from "../kube/record.ts";
import { parseIp } from "../net.ts";
import type { Watched } from "../sentinel/evidence.ts";
import { eligible, peers } from "./facts.ts";
import type { ElectionSettings, ElectionState } from "./types.ts";

/** Tells one tenure from the next: what a claim changes and a renewal does not. */
export function tenureKey(record: LeaseRecord): string {
  return [record.holder, record.acquireTime ?? "", record.leaseTransitions ?? ""].join("/");
}

export function watchTarget(settings: ElectionSettings, state: ElectionState): Watched {
  const { view, role } = state;
  const pace = state.self.fastPath === null || state.self.fastPath === undefined ? "slow" : "fast";
  if (view === null) return { holder: null, witnesses: [], pace };
  const others = peers(settings, view);
  const holder = others.find((candidate) => candidate.node === view.record?.holder);
  const watching = (role.kind === "BACKUP" && eligible(state)) || (role.kind === "PROVISIONAL" && role.why.kind === "proof");
  const witnesses = others.flatMap((candidate) => {
    const address = parseIp(candidate.ip);
    return address === undefined || (watching && candidate === holder) ? [] : [{ address, mac: candidate.mac === "" ? undefined : candidate.mac }];
  });
  const watched = watching && view.record !== null && holder !== undefined && holder.mac !== "" && holder.mac !== state.self.mac;
  return { holder: watched ? { tenure: tenureKey(view.record), mac: holder.mac } : null, witnesses, pace };
}
