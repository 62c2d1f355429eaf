/** Whom the sentinel watches on the VIP's wire: the holder that this node would replace, and the others as witnesses. Pure. */

import { parseIp } from "../net.ts";
import type { Watched } from "../sentinel/evidence.ts";
import { peers } from "./candidates.ts";
import { eligible } from "./eligibility.ts";
import { termOf } from "./identity.ts";
import type { ElectionSettings, ElectionState } from "./types.ts";

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
  return { holder: watched ? { tenure: termOf(view.record), mac: holder.mac } : null, witnesses, pace };
}
