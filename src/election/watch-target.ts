/** Whom the sentinel watches on the VIP's wire: the holder that this node would replace, and the others as witnesses. Pure. */

import { parseIp } from "../net.ts";
import type { Watched, Witness } from "../sentinel/evidence.ts";
import { peers } from "./candidates.ts";
import { eligible } from "./eligibility.ts";
import { termOf } from "./identity.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionSettings, ElectionState } from "./types.ts";

/** Tells the sentinel whom to watch, when that has changed. */
export function decideWatch(step: StepBuilder): void {
  const target = watchTarget(step.settings, step.state);
  const { watched } = step.state.wire;
  if (watched !== null && sameTarget(watched, target)) return;
  step.setWire({ watched: target });
  step.effect({ kind: "watch", target });
}

function sameTarget(a: Watched, b: Watched): boolean {
  const sameHolder = a.holder?.tenure === b.holder?.tenure && a.holder?.mac === b.holder?.mac;
  const sameWitnesses = a.witnesses.length === b.witnesses.length && a.witnesses.every((one, index) => sameWitness(one, b.witnesses[index]));
  return a.pace === b.pace && sameHolder && sameWitnesses;
}

function sameWitness(a: Witness, b: Witness | undefined): boolean {
  return a.address.text === b?.address.text && a.mac === b.mac;
}

export function watchTarget(settings: ElectionSettings, state: ElectionState): Watched {
  const { view } = state.lease;
  const { role } = state;
  const pace = state.self.tracking.fastPath === null || state.self.tracking.fastPath === undefined ? "slow" : "fast";
  if (view === null) return { holder: null, witnesses: [], pace };
  const others = peers(settings, view);
  const holder = others.find((candidate) => candidate.node === view.record?.holder);
  const watching = (role.kind === "BACKUP" && eligible(state)) || (role.kind === "PROVISIONAL" && role.why.kind === "proof");
  const witnesses = others.flatMap((candidate) => {
    const address = parseIp(candidate.ip);
    return address === undefined || (watching && candidate === holder) ? [] : [{ address, mac: candidate.mac === "" ? undefined : candidate.mac }];
  });
  const watched = watching && view.record !== null && holder !== undefined && holder.mac !== "" && holder.mac !== state.self.tracking.mac;
  return { holder: watched ? { tenure: termOf(view.record), mac: holder.mac } : null, witnesses, pace };
}
