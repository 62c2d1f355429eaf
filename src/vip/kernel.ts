/**
 * What the VIP needs from the machine. The real one is netlink and AF_PACKET (`linux/`); the simulation
 * has its own. All calls are synchronous: nothing may stand between losing the right to the VIP and unbinding it.
 */
import type { IpAddress } from "../net.ts";

export interface LinkState {
  readonly name: string;
  readonly index: number;
  /** aa:bb:cc:dd:ee:ff */
  readonly mac: string;
  /** Administratively up. */
  readonly up: boolean;
  readonly carrier: boolean;
}

export interface BoundAddress {
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly linkIndex: number;
  /** It was bound by a leasehold agent: a host address with an end and our mark (IFA_PROTO; before Linux 5.18 a label or a set of flags). */
  readonly ours: boolean;
  /** Remaining lifetime in seconds; null when it never expires. */
  readonly validSeconds: number | null;
}

export interface VipKernel {
  /** The interface of the VIPs as of now; undefined while there is none of that name. */
  link(): LinkState | undefined;
  /** Every address of the machine, on any interface. */
  addresses(): readonly BoundAddress[];
  /**
   * Adds all addresses (/32, /128) with a finite lifetime, or refreshes those that are ours, in one batch. The kernel removes them by itself up
   * to 1 s after the lifetime has passed. Where one cannot be bound, none is.
   * @throws {LeaseholdError} LH_NATIVE, LH_INTERFACE; LH_VIP_FOREIGN, LH_ADDRESS_OWNER: the interface has one that is not ours in its place,
   * which stays as it is
   */
  bind(addresses: readonly IpAddress[], lifetimeSeconds: number): void;
  /** Removes those that are ours, from whatever interface has them; absent ones are no error. The same address of somebody else's stays. */
  unbind(addresses: readonly IpAddress[]): void;
  /**
   * One announcement of each address: gratuitous ARP in request and reply form, or an unsolicited neighbour
   * advertisement. @throws {LeaseholdError} LH_LINK_DOWN, LH_NATIVE
   */
  announce(addresses: readonly IpAddress[]): void;
  /** Calls back whenever links or addresses may have changed. Spurious calls are fine. */
  onChange(callback: () => void): { close(): void };
}
