/**
 * Were all nodes given the same VIPs? One with a typo in LEASEHOLD_VIP must not become the MASTER of an
 * address that no client uses, while the others see a holder and are content. So each candidate says which
 * VIPs it serves, and one that differs from most is no candidate.
 */
import { freshCandidates } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import type { Facts, VipMismatch } from "./types.ts";

/** Compares this node's VIPs with those of the others, and reports a difference once. */
export function compareVips(step: StepBuilder): void {
  const { settings, facts } = step;
  const mismatch = mismatchOf(facts, settings.node, settings.vips);
  const before = facts.self.mismatch;
  if (mismatch === before) return;
  if (keyOf(mismatch?.vips ?? []) === keyOf(before?.vips ?? [])) return;
  step.setSelf({ mismatch });
  if (mismatch === null) return;
  step.effect({ kind: "report", report: { kind: "vip-mismatch", own: settings.vips, ...mismatch } });
}

/**
 * The list that most candidates were given is the right one, of equally many that of the holder, and then the
 * first in the order of their text. So a VIP can be changed on one node after the other: the VIP moves when
 * more than half of the nodes have the new one. An agent that is starting or stopping does not count, nor
 * does one that is too old to say.
 */
function mismatchOf({ lease: { view } }: Facts, self: string, own: readonly string[]): VipMismatch | null {
  if (view === null) return null;
  const others = freshCandidates(view).filter(({ node, state }) => node !== self && state !== "INIT");
  // The usual case, which every step asks about.
  if (others.every(({ vips }) => vips === null || areSame(vips, own))) return null;
  const groups = new Map<string, { readonly vips: readonly string[]; readonly nodes: string[] }>();
  const count = (vips: readonly string[], node: string): void => {
    const group = groups.get(keyOf(vips)) ?? { vips, nodes: [] };
    group.nodes.push(node);
    groups.set(keyOf(vips), group);
  };
  count(own, self);
  for (const { node, vips } of others) if (vips !== null) count(vips, node);
  const holder = view.record?.holder ?? "";
  const [right] = [...groups.entries()].toSorted(([keyA, a], [keyB, b]) => {
    if (a.nodes.length !== b.nodes.length) return b.nodes.length - a.nodes.length;
    const byHolder = Number(b.nodes.includes(holder)) - Number(a.nodes.includes(holder));
    return byHolder === 0 ? (keyA < keyB ? -1 : 1) : byHolder;
  });
  if (right === undefined || right[0] === keyOf(own)) return null;
  return { vips: right[1].vips, nodes: right[1].nodes.toSorted() };
}

function areSame(vips: readonly string[], own: readonly string[]): boolean {
  return vips.length === own.length && vips.every((vip, index) => vip === own[index]);
}

function keyOf(vips: readonly string[]): string {
  return vips.join(",");
}
