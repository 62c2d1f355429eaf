/**
 * The proofs that a peer needs before new connections are sent to it. The Lease says that the peer has the
 * rules, and that is not enough. Its packets in the VIP's name must arrive here, because some networks drop
 * them. A peer whose machine was lost must have written since, because a rebooted node has no rules yet.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { PlanBackend, PlanPeer } from "./plan.ts";
import type { FastPathNode } from "./tables.ts";

/** What this node knows of its peers by its own observation. */
export interface Proofs {
  /** Takes over the network check. @param macs are the MAC addresses from which probes have come lately */
  heard(macs: ReadonlySet<string>, peers: readonly FastPathNode[]): void;
  /** Takes over grades and annotations. */
  observe(peers: readonly PlanPeer[], backends: readonly PlanBackend[]): void;
  /** Answers the MAC addresses of peers whose packets in the VIP's name do not arrive here. */
  unheard(): ReadonlySet<string>;
  /** Answers the names of peers that were lost with their machine and have not written since. */
  unproven(): ReadonlySet<string>;
}

/**
 * Milliseconds from a peer's first offer until its silence means something: the peer must first learn of this
 * node from the Lease.
 */
const PROBING_STARTS_MS = 10_000;

const DROPPED =
  "Packets in the VIP's name from this node do not arrive: the network drops them, it gets no new connections by the fast path";

export function createProofs(deps: {
  readonly clock: Clock;
  readonly log: Logger;
  readonly enforce: boolean;
}): Proofs {
  const { clock, log } = deps;
  /** When a peer first took part, by its MAC address. */
  const known = new Map<string, number>();
  let silent: ReadonlySet<string> = new Set();
  /** What a lost peer's annotation said when the peer was lost, by the peer's name. */
  const lost = new Map<string, string>();
  let fresh: ReadonlySet<string> = new Set();

  return {
    heard(macs, peers) {
      const now = clock.now();
      const next = new Set<string>();
      for (const { mac, name } of peers) {
        const early = now < (known.get(mac) ?? now) + PROBING_STARTS_MS;
        // A peer without an agent does not probe, so what was last known of its network stays.
        const verdict = macs.has(mac) ? false : fresh.has(name) && !early ? true : silent.has(mac);
        if (!verdict) continue;
        next.add(mac);
        if (!silent.has(mac)) {
          log.warn({ peer: name, mac, enforced: deps.enforce }, DROPPED);
        }
      }
      silent = next;
    },
    observe(peers, backends) {
      const takingPart = new Set(peers.filter((peer) => peer.fastPath !== null).map((peer) => peer.mac));
      for (const mac of takingPart) if (!known.has(mac)) known.set(mac, clock.now());
      for (const mac of known.keys()) if (!takingPart.has(mac)) known.delete(mac);
      fresh = new Set(peers.filter((peer) => peer.fresh).map((peer) => peer.node));
      for (const peer of peers) {
        const backend = backends.find(({ host }) => peer.fastPath?.addresses.includes(host) === true);
        const said = peer.said;
        if (backend?.grade === "DOWN" && backend.silent && !lost.has(peer.node)) lost.set(peer.node, said);
        // The peer was lost while only the disk named it. What the Lease says first may be older than the
        // loss.
        else if (lost.get(peer.node) === "") lost.set(peer.node, said);
        else if (lost.has(peer.node) && lost.get(peer.node) !== said) lost.delete(peer.node);
      }
    },
    unheard: () => (deps.enforce ? silent : new Set()),
    unproven: () => new Set(lost.keys()),
  };
}
