/**
 * Builds the API server list: this node's own server first, then the peers', best-known first, all numeric. A
 * candidate never asks the VIP: a request through the address that it is about to move proves nothing. Pure.
 */
import { hostPort, parseIp } from "../net.ts";
import type { HostPort, IpAddress } from "../net.ts";

/** The sources of the API server list. */
export interface ApiServerSources {
  /** This node's address. undefined while it is unknown. */
  readonly own: string | undefined;
  /**
   * The servers of `LEASEHOLD_API_SERVERS`. If there are any, they are the whole list, with this node's own
   * moved to the front.
   */
  readonly configured: readonly HostPort[];
  /** Servers found in the `kubernetes` EndpointSlice. */
  readonly discovered: readonly HostPort[];
  /** Node addresses that candidates give in the Lease. */
  readonly candidates: readonly string[];
  /** Servers that an earlier run found, read from disk. */
  readonly remembered: readonly HostPort[];
  readonly vips: readonly IpAddress[];
  /** Port of this node's API server, and of the servers that are known by node address only. */
  readonly port: number;
  /**
   * Servers that are asked after all others, and only if none are configured. Here a VIP is allowed. Default:
   * none.
   */
  readonly lastResort?: readonly HostPort[];
}

/** Returns the list as canonical `ip:port`, without duplicates. */
export function apiServerList(sources: ApiServerSources): readonly string[] {
  const { own, configured, port } = sources;
  const at = (host: string): HostPort => ({ host, port });
  const ownServer = own === undefined ? [] : [at(own)];
  const known =
    configured.length > 0
      ? [...configured.filter(({ host }) => isSame(host, own)), ...configured]
      : [...ownServer, ...sources.discovered, ...sources.candidates.map(at), ...sources.remembered];
  const vips = new Set(sources.vips.map((vip) => vip.text));
  const lastResort = configured.length > 0 ? [] : (sources.lastResort ?? []);
  const servers = new Set<string>();
  for (const { host, port } of [
    ...known.filter(({ host }) => !vips.has(parseIp(host)?.text ?? "")),
    ...lastResort,
  ]) {
    const address = parseIp(host);
    if (address === undefined || !Number.isInteger(port) || port < 1 || port > 65_535) continue;
    servers.add(hostPort(address.text, port));
  }
  return [...servers];
}

function isSame(host: string, own: string | undefined): boolean {
  return own !== undefined && parseIp(host)?.text === parseIp(own)?.text;
}
