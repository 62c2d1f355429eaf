/**
 * Divides the file descriptors that the process may open, so that clients never take the agent's own: without
 * one it can start no `nft`, write no state file, and ask no API server. Pure.
 */
import { MOST_CONNECTIONS } from "../ops/server.ts";
import type { MostConnections } from "../ops/server.ts";

/** How many connections each part of the agent may have at one time. */
export interface DescriptorShares {
  /** Of clients, over the balancer. Each takes two descriptors: the client's and the API server's. */
  readonly balancer: number;
  readonly ops: MostConnections;
}

/** Connections to the API servers, sockets to the kernel, `nft`'s pipes, files, and Node's own descriptors. */
const OWN = 512;
/** The ops port on the network and on loopback, and the probes' port. */
const PORTS = 3;
const LEAST_PORT = 16;
const PER_CLIENT = 2;

/**
 * Gives the balancer what it wants, or what is left over. Where there are few descriptors, the ports and the
 * reserve are smaller too.
 * @param limit how many the process may open, see `mostOpenFiles`; undefined: it is not known
 * @param wanted LEASEHOLD_MAX_CONNECTIONS
 */
export function divideDescriptors(limit: number | undefined, wanted: number): DescriptorShares {
  const all = limit ?? Number.POSITIVE_INFINITY;
  const port = Math.max(LEAST_PORT, Math.min(MOST_CONNECTIONS.port, Math.floor(all / 16)));
  const peerPort = Math.min(MOST_CONNECTIONS.peerPort, port);
  const kept = Math.min(OWN, Math.floor(all / 4)) + PORTS * port + peerPort;
  const balancer = Math.max(1, Math.min(wanted, Math.floor((all - kept) / PER_CLIENT)));
  return { balancer, ops: { port, peerPort } };
}
