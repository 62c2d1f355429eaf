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
  /** True when it carries our mark (IFA_PROTO): it was bound by a leasehold agent. */
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
   * Adds or refreshes all addresses (/32, /128) with a finite lifetime, in one batch. The kernel removes
   * them by itself up to 1 s after the lifetime has passed.
   * @throws {LeaseholdError} LH_NATIVE, LH_INTERFACE
   */
  bind(addresses: readonly IpAddress[], lifetimeSeconds: number): void;
  /** Removes them, from whatever interface has them; absent ones are no error. */
  unbind(addresses: readonly IpAddress[]): void;
  /**
   * One announcement of each address: gratuitous ARP in request and reply form, or an unsolicited neighbour
   * advertisement. @throws {LeaseholdError} LH_LINK_DOWN, LH_NATIVE
   */
  announce(addresses: readonly IpAddress[]): void;
  /** Calls back whenever links or addresses may have changed. Spurious calls are fine. */
  onChange(callback: () => void): { close(): void };
}
