/**
 * `VipKernel` is what the VIP needs from the machine. The real one uses netlink and AF_PACKET (`linux/`). The
 * simulation has its own. All calls are synchronous, because nothing may delay the unbinding once the fence
 * deadline has passed.
 */
import type { IpAddress } from "../net.ts";

export interface LinkState {
  readonly name: string;
  readonly index: number;
  /**
   * Text such as aa:bb:cc:dd:ee:ff; "" where no machine can be told who has an address: the link is no
   * Ethernet (a tunnel, IPoIB), or has no ARP.
   */
  readonly mac: string;
  /** True when the link is administratively up. */
  readonly up: boolean;
  readonly carrier: boolean;
}

export interface BoundAddress {
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly linkIndex: number;
  /**
   * True when a Leasehold agent bound it: a host address with a finite lifetime and our mark (IFA_PROTO;
   * before Linux 5.18 a label or a set of flags).
   */
  readonly ours: boolean;
  /** Remaining lifetime in seconds; null when the address never expires. */
  readonly validSeconds: number | null;
}

export interface VipKernel {
  /** The interface of the VIPs as of now; undefined while no interface has that name. */
  link(): LinkState | undefined;
  /** Lists every address of the machine, on any interface. */
  addresses(): readonly BoundAddress[];
  /**
   * Adds all addresses (/32, /128) with a finite lifetime, or refreshes those that are ours, in one batch.
   * The kernel removes them by itself up to 1 s after the lifetime has passed. If one cannot be bound, none
   * is.
   * @throws {LeaseholdError} LH_NATIVE, LH_INTERFACE. LH_VIP_FOREIGN and LH_ADDRESS_OWNER mean that the
   * interface already has one of the addresses and it is not ours. That address stays as it is.
   */
  bind(addresses: readonly IpAddress[], lifetimeSeconds: number): void;
  /**
   * Removes those that are ours, on any interface. An absent address is no error. An address that another
   * program bound stays.
   */
  unbind(addresses: readonly IpAddress[]): void;
  /**
   * Announces each address once, by gratuitous ARP in request and reply form or by an unsolicited neighbour
   * advertisement.
   * @throws {LeaseholdError} LH_LINK_DOWN, LH_NATIVE; LH_LINK_TYPE: nothing is announced on such a link
   */
  announce(addresses: readonly IpAddress[]): void;
  /** Calls back whenever links or addresses may have changed. Spurious calls are harmless. */
  onChange(callback: () => void): { close(): void };
}
