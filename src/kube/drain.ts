/**
 * A person's wish that an API server gets no new connections (`leasehold drain`). It is an annotation of the
 * Lease, one for each server, so that two persons who drain two servers do not undo each other's wish. Pure.
 */
import { hostPort, parseServer } from "../net.ts";
import { candidatesIn } from "./record-codec.ts";
import { DRAIN_PREFIX } from "./record.ts";
import type { Candidate, LeaseRecord } from "./record.ts";

/** More API servers than any control plane has. It keeps a Lease that a person has filled from costing much. */
const MOST = 64;

/**
 * The key of the server's annotation.
 * @param server canonical `ip:port` (see {@link hostPort}). A key may have no ":" and no bracket.
 */
export function drainKey(server: string): string {
  return `${DRAIN_PREFIX}${server.replaceAll(/[[\]]/g, "").replaceAll(":", "-")}`;
}

/**
 * The API servers that shall get no new connections, as canonical `ip:port`, sorted. The value of each annotation names
 * the server. What is no address with a port was written by hand, and is left out.
 */
export function drainedServers({ annotations }: Pick<LeaseRecord, "annotations">): readonly string[] {
  const servers = Object.entries(annotations).flatMap(([key, value]) =>
    key.startsWith(DRAIN_PREFIX) ? (parseServer(value) ?? []) : [],
  );
  return [...new Set(servers.map(({ id }) => id))].toSorted().slice(0, MOST);
}

/**
 * The API servers that are about to stop, by the words of the nodes that they run on, as canonical `ip:port`,
 * sorted.
 */
export function stoppingServers(record: Pick<LeaseRecord, "annotations">): readonly string[] {
  const servers = candidatesIn(record).flatMap(({ fastPath }) =>
    fastPath?.stopping === undefined
      ? []
      : fastPath.addresses.map((address) => hostPort(address, fastPath.stopping ?? 0)),
  );
  return [...new Set(servers)].toSorted().slice(0, MOST);
}

/**
 * The drains that end when these nodes leave the Lease, as annotations by their key: those of the API servers at the
 * nodes' addresses. A server whose address another candidate has is that one's now.
 */
export function drainsThatEnd(
  { annotations }: Pick<LeaseRecord, "annotations">,
  leaving: readonly string[],
): Readonly<Record<string, string>> {
  const drains = Object.entries(annotations).filter(([key]) => key.startsWith(DRAIN_PREFIX));
  if (drains.length === 0) return {};
  const candidates = candidatesIn({ annotations });
  const addresses = (which: (candidate: Candidate) => boolean): ReadonlySet<string> =>
    new Set(candidates.filter(which).flatMap(({ ip, fastPath }) => [ip, ...(fastPath?.addresses ?? [])]));
  const left = addresses(({ node }) => leaving.includes(node));
  const kept = addresses(({ node }) => !leaving.includes(node));
  return Object.fromEntries(
    drains.filter(([, value]) => {
      const host = parseServer(value)?.host;
      return host !== undefined && left.has(host) && !kept.has(host);
    }),
  );
}
