/** A cable that comes and goes every second, and how often the VIP moves because of it. */
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";

const HALF_MS = 500;

/** Of `node`'s link, down first and up at the end. */
export async function flap(node: ClusterNode, forMs: number): Promise<void> {
  const endMs = monotonicMs() + forMs;
  while (monotonicMs() < endMs) {
    await node.host.link.down();
    await sleep(HALF_MS);
    await node.host.link.up();
    await sleep(HALF_MS);
  }
}

/**
 * The nodes that had the VIP, in order, `first` before all others: one that lost it for a moment and got it
 * back is named once.
 */
export function succession(
  cluster: Cluster,
  ownership: OwnershipSampler,
  first: ClusterNode,
  fromMs: number,
): readonly string[] {
  const spells = ownership.timeline(cluster.vip).between(fromMs).intervals();
  const alone = [first.name, ...spells.flatMap(({ holders }) => (holders.length === 1 ? holders : []))];
  return alone.filter((holder, index) => holder !== alone[index - 1]);
}
