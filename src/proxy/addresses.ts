/** At which of the node's addresses the balancer serves (LEASEHOLD_BALANCER_ADDRESSES). Pure. */
import { isInSubnet, isLoopback, parseIp, plainAddress, wholeAddress } from "../net.ts";
import type { IpAddress, Subnet } from "../net.ts";

/** undefined: at every address. */
export type ServedAddresses = readonly Subnet[] | undefined;

/**
 * Adds the addresses that the agent's own rules lead clients to. Without them the VIP would not serve.
 * @param wanted as configured
 * @param needed the VIPs
 */
export function servedAddresses(wanted: ServedAddresses, needed: readonly IpAddress[]): ServedAddresses {
  return wanted && [...wanted, ...needed.map(wholeAddress)];
}

/**
 * Tells whether the balancer serves a client that has connected to this address. Loopback always counts: only
 * programs of this machine reach it.
 * @param localAddress as a socket names it: an IPv4 address may be in IPv6's form, and there may be a zone
 */
export function servesAt(served: ServedAddresses, localAddress: string): boolean {
  if (served === undefined || isLoopback(localAddress)) return true;
  const address = parseIp(plainAddress(localAddress));
  return address !== undefined && served.some((subnet) => isInSubnet(subnet, address));
}
