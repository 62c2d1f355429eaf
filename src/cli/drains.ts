/** Decides about `leasehold drain` and `undrain`, before anything is written. Pure. */
import { suggest } from "../config/suggest.ts";
import { drainedServers, drainKey } from "../kube/drain.ts";
import { candidatesIn } from "../kube/record-codec.ts";
import { DRAIN_PREFIX } from "../kube/record.ts";
import type { LeaseRecord } from "../kube/record.ts";
import { parseIp, parseServer } from "../net.ts";

/** An API server of the cluster. */
export interface KnownServer {
  /** Canonical `ip:port`. */
  readonly server: string;
  /** It is fit for new connections, whether it is drained or not. */
  readonly fit: boolean;
  /** Why it is not fit; "" when it is. */
  readonly why: string;
}

export type DrainVerdict =
  /** The wish is to be stored. `name` is how a person may call the server in another command. */
  | { readonly kind: "drain"; readonly server: string; readonly name: string; readonly note: string }
  /** These annotations are to be removed. */
  | {
      readonly kind: "undrain";
      readonly server: string;
      readonly name: string;
      readonly keys: readonly string[];
    }
  /** It is so already. */
  | { readonly kind: "nothing"; readonly message: string }
  | { readonly kind: "refused"; readonly message: string };

interface Named {
  readonly server: string;
  readonly name: string;
  readonly node: string | undefined;
}

/**
 * @param word what a person wrote
 * @param servers what this cluster has; none when that could not be found out
 */
export function judgeDrain(
  record: LeaseRecord,
  word: string,
  servers: readonly KnownServer[],
  vips: readonly string[],
): DrainVerdict {
  const named = namedBy(
    record,
    servers.map(({ server }) => server),
  );
  const target = find(named, word);
  if (target === undefined) return { kind: "refused", message: unknown(named, word, vips) };
  const { server, name } = target;
  const drained = drainedServers(record);
  if (drained.includes(server)) return { kind: "nothing", message: `${called(target)} is drained already.` };
  const others = servers.filter((one) => one.server !== server && !drained.includes(one.server));
  if (others.some(({ fit }) => fit)) {
    const note =
      servers.find((one) => one.server === server)?.fit === true
        ? ""
        : `${called(target)} takes no connections now.`;
    return { kind: "drain", server, name, note };
  }
  const reasons = [
    ...others.map((one) => `${one.server} takes none: ${one.why}`),
    ...servers
      .filter((one) => one.server !== server && drained.includes(one.server))
      .map((one) => `${one.server} is drained`),
  ];
  return {
    kind: "refused",
    message: `${called(target)} is the last API server that takes new connections. ${reasons.length === 0 ? "There is no other one." : `${reasons.join("; ")}.`}`,
  };
}

/** Of an API server that the cluster has no more, the wish can still be ended. */
export function judgeUndrain(
  record: LeaseRecord,
  word: string,
  servers: readonly KnownServer[],
  vips: readonly string[],
): DrainVerdict {
  const drained = drainedServers(record);
  const named = namedBy(record, [...new Set([...drained, ...servers.map(({ server }) => server)])]);
  const target =
    find(
      named.filter(({ server }) => drained.includes(server)),
      word,
    ) ?? find(named, word);
  if (target === undefined) return { kind: "refused", message: unknown(named, word, vips) };
  const { server, name } = target;
  if (!drained.includes(server)) return { kind: "nothing", message: `${called(target)} is not drained.` };
  const keys = Object.entries(record.annotations)
    .filter(([key, value]) => key.startsWith(DRAIN_PREFIX) && parseServer(value)?.id === server)
    .map(([key]) => key);
  return { kind: "undrain", server, name, keys: [...new Set([drainKey(server), ...keys])] };
}

const called = ({ server, node }: Named): string => (node === undefined ? server : `${server} (${node})`);

/** The servers with the names of their nodes. */
function namedBy(record: LeaseRecord, servers: readonly string[]): readonly Named[] {
  const candidates = candidatesIn(record);
  return servers.map((server) => {
    const host = parseServer(server)?.host ?? "";
    const node = candidates.find(
      ({ ip, fastPath }) => ip === host || fastPath?.addresses.includes(host) === true,
    )?.node;
    return { server, node, name: node ?? server };
  });
}

/** The server that a person means: a node, an address, or what a kubeconfig has. */
function find(named: readonly Named[], word: string): Named | undefined {
  const plain = word
    .trim()
    .toLowerCase()
    .replace(/^https:\/\//, "")
    .replace(/\/$/, "");
  const exact = parseServer(plain)?.id;
  const host = parseIp(plain.replace(/^\[(.*)\]$/, "$1"))?.text;
  return (
    named.find(({ server }) => server === exact) ??
    named.find(({ node }) => node === plain) ??
    named.find(({ server }) => host !== undefined && parseServer(server)?.host === host)
  );
}

function unknown(named: readonly Named[], word: string, vips: readonly string[]): string {
  const plain = word.trim().toLowerCase();
  const ip = parseIp(parseServer(plain)?.host ?? plain)?.text ?? "";
  const what = vips.includes(ip)
    ? `${ip} is the VIP, and no API server`
    : `${JSON.stringify(word)} is no API server`;
  const near = suggest(
    plain,
    named.flatMap(({ node, server }) => (node === undefined ? [server] : [node, server])),
  );
  const known = named.length === 0 ? "none is known" : `the API servers are ${named.map(called).join(", ")}`;
  return `${what}: ${known}${near === undefined ? "" : `; did you mean ${near}?`}.`;
}
