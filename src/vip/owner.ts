/**
 * Says who owns an address that equals the VIP. The agent changes only addresses that an agent bound. Pure.
 */
import { LeaseholdError } from "../errors.ts";
import { hostPrefix } from "../net.ts";
import type { BoundAddress } from "./kernel.ts";

type Owner =
  /** An agent bound it. */
  | "leasehold"
  /**
   * keepalived, kube-vip or a person bound it: a host address without an end, as one binds a VIP. It may
   * disappear when that program is stopped.
   */
  | "program"
  /**
   * The machine's network depends on it: it has a subnet, or a lifetime that DHCP or router advertisements
   * renew.
   */
  | "machine";

/**
 * @param takeOver other software has the VIP by configuration. keepalived binds it with the subnet that
 * `virtual_ipaddress` names, and kube-vip with a lifetime where its address is a DNS name. Only an address
 * with both is the machine's own then, as DHCP and router advertisements give it.
 */
export function ownerOf(
  { address, prefixLength, ours, validSeconds }: BoundAddress,
  takeOver: boolean,
): Owner {
  if (ours) return "leasehold";
  const signs = [prefixLength < hostPrefix(address), validSeconds !== null];
  return (takeOver ? signs.every(Boolean) : signs.some(Boolean)) ? "machine" : "program";
}

/**
 * Says why this node cannot serve a VIP; undefined when all of `present` is ours.
 * @param present the VIP's entries only
 * @param takeOver see {@link ownerOf}
 */
export function obstacle(present: readonly BoundAddress[], takeOver: boolean): LeaseholdError | undefined {
  const machine = present.filter((entry) => ownerOf(entry, takeOver) === "machine");
  if (machine.length > 0)
    return new LeaseholdError("LH_ADDRESS_OWNER", `${listed(machine)} is this machine's own address`);
  const program = present.filter((entry) => ownerOf(entry, takeOver) === "program");
  return program.length > 0
    ? new LeaseholdError("LH_VIP_FOREIGN", `${listed(program)} was bound on this machine by another program`)
    : undefined;
}

function listed(entries: readonly BoundAddress[]): string {
  return [...new Set(entries.map(({ address, prefixLength }) => `${address.text}/${prefixLength}`))].join(
    " and ",
  );
}
