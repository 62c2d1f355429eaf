/**
 * The other members of the fast path, as the Lease describes them. While the Lease cannot be read, its last
 * word counts, also across a restart of the agent: members do not leave because the API is silent.
 */
import type { FastPathOffer } from "../kube/record.ts";
import type { Logger } from "../log.ts";
import { parseIp } from "../net.ts";
import type { PlanPeer } from "./plan.ts";
import { readPeers, writePeers } from "./remembered-peers.ts";

/** What the members need of the election: the Lease as it was last read. */
export interface LeaseMembers {
  readonly holder: string | null;
  readonly candidates: readonly {
    readonly node: string;
    readonly fastPath: FastPathOffer | null;
    readonly mac: string;
    readonly fresh: boolean;
    readonly instance: string;
    readonly counter: number;
  }[];
}

export interface Members {
  /**
   * Takes over what the Lease says. Writes the members to disk when they have changed.
   * @param servers are the addresses of the cluster's API servers
   */
  observe(lease: LeaseMembers | undefined, servers: readonly string[]): void;
  /**
   * Answers the other nodes, the longest known first. It is undefined while neither the Lease nor the disk
   * has named any.
   */
  current(): readonly PlanPeer[] | undefined;
}

/**
 * Reads the members that were remembered on disk.
 * @param file is the path of the remembered members
 * @param self is the name of this node
 */
export function createMembers(file: string, self: string, log: Logger): Members {
  let peers = readPeers(file, log);
  let written = textOf(peers);
  let namedByLease = false;
  /**
   * What each candidate of the first Lease said then. That Lease may name nodes that are gone: only a node
   * that has written since is alive.
   */
  let unproven: Map<string, string> | undefined;

  function remember(): void {
    const usable = peers.filter(
      (peer) => peer.fastPath?.addresses.every((text) => parseIp(text) !== undefined) === true,
    );
    const text = textOf(usable);
    if (text !== written) writePeers(file, usable, log);
    written = text;
  }

  return {
    observe(lease, servers) {
      // The candidates of a Lease that a person emptied or deleted come back within a second. Until then
      // nobody has left.
      namedByLease = lease !== undefined && lease.holder !== null && lease.candidates.length > 0;
      if (lease === undefined || !namedByLease) return;
      unproven ??= new Map(lease.candidates.map((candidate) => [candidate.node, saidBy(candidate)]));
      const unheard = unproven;
      const before = new Map(peers.map((peer, index) => [peer.node, { peer, index }]));
      const age = ({ node }: { readonly node: string }): number => before.get(node)?.index ?? peers.length;
      peers = lease.candidates
        .filter(({ node }) => node !== self)
        .toSorted((a, b) => age(a) - age(b))
        .map((candidate) => {
          const { node, fastPath, mac } = candidate;
          const said = saidBy(candidate);
          if (unheard.get(node) !== said) unheard.delete(node);
          const known = before.get(node)?.peer;
          const served =
            (known?.served === true && sameOffer(known.fastPath, fastPath)) ||
            fastPath?.addresses.some((address) => servers.includes(address)) === true;
          return { node, fastPath, mac, fresh: candidate.fresh && !unheard.has(node), served, said };
        });
      remember();
    },
    current: () => (namedByLease || peers.length > 0 ? peers : undefined),
  };
}

/** A text that changes each time that the agent writes. */
function saidBy({ instance, counter }: LeaseMembers["candidates"][number]): string {
  return `${instance}/${counter}`;
}

function sameOffer(a: FastPathOffer | null, b: FastPathOffer | null): boolean {
  return a?.addresses.join() === b?.addresses.join();
}

/** What is written to disk, to find out whether it has changed. */
function textOf(peers: readonly PlanPeer[]): string {
  return JSON.stringify(peers.map(({ node, fastPath, mac, served }) => ({ node, fastPath, mac, served })));
}
