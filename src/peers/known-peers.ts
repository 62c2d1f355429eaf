/**
 * The other nodes whose agents this one asks and answers: their addresses and keys, as the Lease names them.
 * While the Lease cannot be read its last word counts, also across a restart of the agent, because the API is
 * down just when a person wants to know what every node sees.
 */
import { isNodeName, parsePeerOffer } from "../kube/record-codec.ts";
import type { PeerOffer } from "../kube/record.ts";
import type { Logger } from "../log.ts";
import { parseIp } from "../net.ts";
import { isRecord, readRememberedItems, writeRememberedItems } from "../remembered-file.ts";

/** Another node's agent. */
export interface Peer {
  readonly node: string;
  /** Numeric address, canonical text. */
  readonly ip: string;
  readonly port: number;
  /** The identity of its key, see {@link keyId}. */
  readonly key: string;
}

/** What is needed of the election: the Lease as it was last read. */
export interface LeasePeers {
  /** null while the Lease has not been read. */
  readonly holder: string | null;
  readonly candidates: readonly {
    readonly node: string;
    readonly ip: string;
    readonly peer?: PeerOffer;
  }[];
}

export interface KnownPeers {
  /** Takes over what the Lease says, and writes it to disk when it has changed. */
  observe(lease: LeasePeers | undefined): void;
  /** By name; `node` may be any text. */
  find(node: string): Peer | undefined;
  /** In the order of their names. */
  all(): readonly Peer[];
  /** True for the key of a known peer. */
  hasKey(id: string): boolean;
  /** True for the address of a known peer, canonical text. */
  hasAddress(ip: string): boolean;
}

const WHAT = "peers";
/** A cluster with more control-plane nodes than this does not exist; a Lease that a person filled may. */
export const MOST_PEERS = 64;

/**
 * @param file the path of the remembered peers
 * @param self the name of this node, and the identity of its key: neither is a peer's
 */
export function createKnownPeers(
  file: string,
  self: { readonly node: string; readonly key: string },
  log: Logger,
): KnownPeers {
  let peers = usable(readRememberedItems(file, WHAT, parsePeer, log));
  let written = JSON.stringify(peers);

  function usable(list: readonly Peer[]): readonly Peer[] {
    return list
      .filter(({ node, key }) => node !== self.node && key !== self.key)
      .toSorted((a, b) => (a.node < b.node ? -1 : 1))
      .slice(0, MOST_PEERS);
  }

  return {
    observe(lease) {
      // The candidates of a Lease that a person emptied or deleted come back within a second. Until then
      // nobody has left.
      if (lease === undefined || lease.holder === null || lease.candidates.length === 0) return;
      peers = usable(
        lease.candidates.flatMap(({ node, ip, peer }) => (peer === undefined ? [] : [{ node, ip, ...peer }])),
      );
      const text = JSON.stringify(peers);
      if (text !== written) writeRememberedItems(file, WHAT, peers, log);
      written = text;
    },
    find: (node) => peers.find((peer) => peer.node === node),
    all: () => peers,
    hasKey: (id) => peers.some(({ key }) => key === id),
    hasAddress: (ip) => peers.some((peer) => peer.ip === ip),
  };
}

function parsePeer(item: unknown): Peer | undefined {
  if (!isRecord(item)) return undefined;
  const { node, ip } = item;
  const offer = parsePeerOffer(item);
  if (!isNodeName(node) || offer === undefined) return undefined;
  if (typeof ip !== "string" || parseIp(ip)?.text !== ip) return undefined;
  return { node, ip, ...offer };
}
