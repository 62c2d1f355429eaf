/** Decides about the wishes of `move` and `resign` by the Lease, before anything is written. Pure. */
import { outranks, ranked } from "../election/ranking.ts";
import { saysOther } from "../election/take-over.ts";
import { plainText } from "../kube/plain-text.ts";
import { candidatesIn } from "../kube/record-codec.ts";
import { MOVE_TO } from "../kube/record.ts";
import type { Candidate, LeaseRecord } from "../kube/record.ts";

export type WishVerdict =
  /** The wish for `to` may be stored. `note` is what a person should know then; "" for nothing. */
  | { readonly kind: "go"; readonly to: string; readonly note: string }
  | { readonly kind: "refused"; readonly message: string };

const refused = (message: string): WishVerdict => ({ kind: "refused", message });

const namesOf = (candidates: readonly Candidate[]): string =>
  candidates.length === 0
    ? "there is no candidate"
    : `the candidates are ${candidates.map(({ node }) => node).join(", ")}`;

function unfit(candidate: Candidate): string {
  const { faults, state } = candidate;
  if (saysOther(candidate)) return "other software on its machine has the VIP, and it stands by";
  if (faults.length > 0) return `it is in FAULT ${faults.join(", ")}`;
  return state === "BACKUP"
    ? "it stands by for other software that has the VIP, or its agent is stopping"
    : `it is in ${state}, and not every check has reported`;
}

/**
 * May the VIP be moved to `to`?
 * @param silent nodes whose agents are known to be silent
 */
export function judgeMove(
  record: LeaseRecord,
  to: string,
  force: boolean,
  silent: ReadonlySet<string>,
): WishVerdict {
  const candidates = candidatesIn(record);
  const target = candidates.find(({ node }) => node === to);
  if (record.holder === to)
    return { kind: "go", to, note: `${to} holds the VIP already. It stays there from now on.` };
  const later = `With --force the wish is stored, and the VIP moves as soon as ${to} is fit.`;
  if (target === undefined)
    return force && /^[a-z0-9](?:[-a-z0-9.]{0,51}[a-z0-9])?$/.test(to)
      ? { kind: "go", to, note: `${to} is no candidate, so the VIP moves when its agent takes part.` }
      : refused(`${JSON.stringify(to)} is no candidate: ${namesOf(candidates)}.`);
  const problem = silent.has(to) ? "its agent is silent" : target.eligible ? "" : unfit(target);
  if (problem === "") return { kind: "go", to, note: "" };
  return force
    ? {
        kind: "go",
        to,
        note: `${to} cannot take the VIP now, because ${problem}. The VIP moves when it can.`,
      }
    : refused(`${to} cannot take the VIP, because ${problem}. \`leasehold why ${to}\` says more. ${later}`);
}

/** To which node may the holder resign? */
export function judgeResign(record: LeaseRecord, silent: ReadonlySet<string>): WishVerdict {
  const { holder } = record;
  if (holder === "") {
    const beside = candidatesIn(record).find(saysOther);
    return refused(
      beside === undefined
        ? "no node holds the Lease, so no node can resign."
        : `other software on ${beside.node} has the VIP, and no node holds the Lease, so no node can resign.`,
    );
  }
  const wish = record.annotations[MOVE_TO] ?? "";
  if (wish !== "")
    return refused(
      `a person wants the VIP on ${plainText(wish)}. Run \`leasehold unpin\` first, or \`leasehold move --to NODE\`.`,
    );
  const candidates = candidatesIn(record);
  const others = candidates.filter(({ node }) => node !== holder);
  const able = ranked(others.filter(({ node, eligible }) => eligible && !silent.has(node)));
  const [best] = able;
  if (best === undefined) {
    const reasons = others.map(
      (one) => `${one.node}: ${silent.has(one.node) ? "its agent is silent" : unfit(one)}`,
    );
    return refused(
      `no other node can take the VIP from ${plainText(holder)}. ${reasons.length === 0 ? "There is no other candidate." : `${reasons.join("; ")}.`}`,
    );
  }
  const self = candidates.find(({ node }) => node === holder);
  if (self !== undefined && self.preempt && outranks(self, best))
    return refused(
      `${holder} has a higher priority than ${best.node} and preempts, so it would take the VIP back at once. \`leasehold move --to ${best.node}\` moves the VIP and keeps it there.`,
    );
  return { kind: "go", to: best.node, note: "" };
}
