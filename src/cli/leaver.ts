/**
 * Finds the entry of the Lease that is this machine's, so that a wrong name does not take another node out of
 * it. Pure.
 */
import { parseCandidate } from "../kube/record-codec.ts";
import { CANDIDATE_PREFIX } from "../kube/record.ts";
import type { Network } from "../linux/links.ts";
import { formatMac, isOneMachine } from "../linux/mac.ts";

/** The machine that the command runs on, as the kernel lists it. */
export type Machine = Network;

export type Leaver =
  /** The Lease names it, and nothing says that it is another machine. */
  | { readonly kind: "named"; readonly node: string }
  /** The Lease has neither the name nor this machine's addresses. */
  | { readonly kind: "absent"; readonly node: string; readonly names: readonly string[] }
  /**
   * The name belongs to another machine, which has `ip`, or to none. `here` is the name that the Lease has
   * for this machine.
   */
  | {
      readonly kind: "wrong-name";
      readonly node: string;
      readonly ip: string | undefined;
      readonly here: string | undefined;
      readonly names: readonly string[];
    };

/**
 * Finds this machine's entry among the annotations of the Lease.
 * @param name from LEASEHOLD_NODE_NAME; undefined when that is not set
 * @param hostname replaces `name`, unless the Lease has another name for this machine
 */
export function findLeaver(
  annotations: Readonly<Record<string, string>>,
  machine: Machine,
  name: string | undefined,
  hostname: string,
): Leaver {
  const entries = Object.entries(annotations).flatMap(([key, value]) => {
    const node = key.startsWith(CANDIDATE_PREFIX) ? key.slice(CANDIDATE_PREFIX.length) : "";
    return node === "" ? [] : [{ node, candidate: parseCandidate(node, value) }];
  });
  const names = entries.map(({ node }) => node).toSorted();
  const own = new Set(machine.addresses.map(({ address }) => address.text));
  const macs = new Set(
    machine.links.flatMap(({ macBytes }) => (isOneMachine(macBytes) ? [formatMac(macBytes)] : [])),
  );
  // A MAC or an address is enough: the address may have changed since, and so may the network card.
  const here = entries
    .filter(
      ({ candidate }) =>
        candidate !== undefined &&
        (macs.has(candidate.mac) ||
          [candidate.ip, ...(candidate.fastPath?.addresses ?? [])].some((ip) => own.has(ip))),
    )
    .map(({ node }) => node);
  const wanted = name ?? (here.includes(hostname) ? hostname : (here[0] ?? hostname));
  if (here.includes(wanted)) return { kind: "named", node: wanted };
  const entry = entries.find(({ node }) => node === wanted);
  // No node can read the entry, so no node sends packets there. It is no evidence against the name either.
  if (entry !== undefined && entry.candidate === undefined && here.length === 0)
    return { kind: "named", node: wanted };
  if (entry === undefined && here.length === 0) return { kind: "absent", node: wanted, names };
  return { kind: "wrong-name", node: wanted, ip: entry?.candidate?.ip, here: here[0], names };
}
