/**
 * The network check: whether packets that a peer sends in the VIP's name arrive here. Each node sends probes
 * to its peers. The kernel notes the MAC addresses from which probes have come, and `proofs.ts` judges.
 */
import { macBytes } from "../linux/mac.ts";
import { udpFrame } from "../linux/tcp-frame.ts";
import type { Family, IpAddress } from "../net.ts";
import type { Nft } from "./nft.ts";
import { PROBE_PORT } from "./ruleset.ts";
import { heardSet } from "./tables.ts";
import type { FastPathNode, RulesetPlan } from "./tables.ts";

const PROBE_TEXT = new TextEncoder().encode("leasehold network check");

export interface ProberDeps {
  readonly vips: readonly IpAddress[];
  /** Answers the MAC address of the VIP's interface; undefined while there is none. */
  readonly mac: () => Uint8Array | undefined;
  /** Sends one whole Ethernet frame out of the VIP's interface; throws when it cannot. */
  readonly send: (frame: Uint8Array) => void;
}

/**
 * Creates the function that sends each peer one probe from each VIP of a family in which the peer has an
 * address.
 */
export function createProber({ vips, mac, send }: ProberDeps): (peers: readonly FastPathNode[]) => void {
  return (peers) => {
    const sourceMac = mac();
    if (sourceMac === undefined) return;
    const ports = { sourcePort: PROBE_PORT, destinationPort: PROBE_PORT };
    try {
      for (const peer of peers) {
        const destinationMac = macBytes(peer.mac);
        if (destinationMac === undefined) continue;
        for (const source of vips) {
          const destination = peer.addresses.find((address) => address.family === source.family);
          if (destination === undefined) continue;
          send(udpFrame({ sourceMac, destinationMac, source, destination, ...ports, payload: PROBE_TEXT }));
        }
      }
    } catch {
      // The election reports a link that is down.
    }
  };
}

/**
 * Answers the MAC addresses from which probes have come lately.
 * @throws {LeaseholdError} LH_NATIVE: the kernel gave no answer
 * @throws {Error} the set is missing: then nobody can have been heard, and nobody is silent either
 */
export async function probesHeard(nft: Pick<Nft, "heard">, plan: RulesetPlan): Promise<ReadonlySet<string>> {
  const heard = new Set<string>();
  for (const family of heardFamilies(plan)) {
    const macs = await nft.heard(family);
    if (macs === undefined) throw new Error(`the set ${heardSet(family)} is missing`);
    for (const mac of macs) heard.add(mac);
  }
  return heard;
}

/** Answers the families in which probes can be noted: those of the VIPs in which this node has an address. */
function heardFamilies({ wire, vips }: RulesetPlan): readonly Family[] {
  if (wire === undefined || wire.peers.length === 0) return [];
  const has = (addresses: readonly IpAddress[], family: Family): boolean =>
    addresses.some((address) => address.family === family);
  return ([4, 6] as const).filter((family) => has(vips, family) && has(wire.self.addresses, family));
}
