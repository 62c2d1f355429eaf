/** Whose an address is that reads as the VIP: only what an agent bound is touched. Pure. */
import { LeaseholdError } from "../errors.ts";
import { hostPrefix } from "../net.ts";
import type { BoundAddress } from "./kernel.ts";

type Owner =
  /** An agent of ours bound it. */
  | "leasehold"
  /** keepalived, kube-vip, a person: a host address for ever, as one binds a VIP. It may go when that program is ended. */
  | "program"
  /** The machine's network is made of it: it has a subnet, or a lifetime that somebody renews (DHCP, router advertisements). */
  | "machine";

export function ownerOf({ address, prefixLength, ours, validSeconds }: BoundAddress): Owner {
  if (ours) return "leasehold";
  return prefixLength < hostPrefix(address) || validSeconds !== null ? "machine" : "program";
}

/** Why this node cannot serve a VIP that `present` shows; undefined where all of it is ours. @param present entries of the VIPs alone */
export function obstacle(present: readonly BoundAddress[]): LeaseholdError | undefined {
  const machine = present.filter((entry) => ownerOf(entry) === "machine");
  if (machine.length > 0) return new LeaseholdError("LH_ADDRESS_OWNER", `${listed(machine)} is this machine's own address`);
  const program = present.filter((entry) => ownerOf(entry) === "program");
  return program.length > 0 ? new LeaseholdError("LH_VIP_FOREIGN", `${listed(program)} was bound on this machine by another program`) : undefined;
}

function listed(entries: readonly BoundAddress[]): string {
  return [...new Set(entries.map(({ address, prefixLength }) => `${address.text}/${prefixLength}`))].join(" and ");
}
