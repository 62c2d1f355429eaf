/**
 * Which peers may be sent new connections though the Lease says that they have rules: those whose packets in the VIP's name reach
 * us (some fabrics drop them), and those that have spoken since they were lost with their machine (a rebooted node has no rules yet).
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { PlanBackend, PlanPeer } from "./plan.ts";
import type { FastPathNode } from "./tables.ts";

export interface Proofs {
  /** MAC addresses whose probe was in the kernel's set at this look, of the peers that have been probing us. */
  heard(macs: ReadonlySet<string>, peers: readonly FastPathNode[]): void;
  /** Looks at grades and annotations. */
  observe(peers: readonly PlanPeer[], backends: readonly PlanBackend[]): void;
  unheard(): ReadonlySet<string>;
  unproven(): ReadonlySet<string>;
}

/** From a peer's being known until its silence means something: it has to learn of us first, by the Lease. */
const CALIBRATION_MS = 10_000;

export function createProofs(deps: { readonly clock: Clock; readonly log: Logger; readonly enforce: boolean }): Proofs {
  const { clock, log } = deps;
  /** When a peer first took part, by MAC. */
  const known = new Map<string, number>();
  let silent: ReadonlySet<string> = new Set();
  /** What a lost peer's annotation said when it was lost. */
  const lost = new Map<string, string>();
  let fresh: ReadonlySet<string> = new Set();

  return {
    heard(macs, peers) {
      const now = clock.now();
      const next = new Set<string>();
      for (const { mac, name } of peers) {
        const early = now < (known.get(mac) ?? now) + CALIBRATION_MS;
        // Without an agent nobody probes: what was last known of its network stays.
        const verdict = macs.has(mac) ? false : fresh.has(name) && !early ? true : silent.has(mac);
        if (!verdict) continue;
        next.add(mac);
        if (!silent.has(mac)) {
          log.warn({ peer: name, mac, enforced: deps.enforce }, "Packets in the VIP's name from this node do not arrive: the network drops them, it gets no new connections by the fast path");
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
        // Lost while only the disk knew of it: what the Lease then says first may be older than the loss.
        else if (lost.get(peer.node) === "") lost.set(peer.node, said);
        else if (lost.has(peer.node) && lost.get(peer.node) !== said) lost.delete(peer.node);
      }
    },
    unheard: () => (deps.enforce ? silent : new Set()),
    unproven: () => new Set(lost.keys()),
  };
}
