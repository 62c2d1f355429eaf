/** A machine with one interface, addresses that end by the clock, and a log of what was asked of it. */
import type { Clock } from "../../../src/clock.ts";
import { LeaseholdError } from "../../../src/errors.ts";
import { hostPrefix, type IpAddress } from "../../../src/net.ts";
import type { BoundAddress, LinkState, VipKernel } from "../../../src/vip/kernel.ts";

interface Entry {
  readonly address: IpAddress;
  readonly prefixLength: number;
  readonly linkIndex: number;
  readonly ours: boolean;
  readonly endsMs: number;
}

export class FakeKernel implements VipKernel {
  currentLink: LinkState | undefined = {
    name: "eth0",
    index: 2,
    mac: "02:00:00:00:00:0a",
    up: true,
    carrier: true,
  };
  /**
   * What is done in the middle of the next call of that name, after it took effect: a process can be stopped
   * anywhere.
   */
  readonly during: Partial<Record<"bind" | "announce" | "link" | "addresses", () => void>> = {};
  /** Thrown by every unbind and list while set. */
  broken: LeaseholdError | undefined;
  /** Times of announcements, binds and unbinds. */
  readonly announcedMs: number[] = [];
  readonly boundMs: number[] = [];
  readonly unboundMs: number[] = [];
  listeners = new Set<() => void>();
  #entries: Entry[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  link(): LinkState | undefined {
    this.#interrupt("link");
    return this.currentLink;
  }

  addresses(): readonly BoundAddress[] {
    if (this.broken) throw this.broken;
    this.#interrupt("addresses");
    this.#expire();
    return this.#entries.map(({ address, prefixLength, linkIndex, ours, endsMs }) => ({
      address,
      prefixLength,
      linkIndex,
      ours,
      validSeconds: endsMs === Infinity ? null : Math.ceil((endsMs - this.#clock.now()) / 1000),
    }));
  }

  bind(addresses: readonly IpAddress[], lifetimeSeconds: number): void {
    this.boundMs.push(this.#clock.now());
    const link = this.currentLink;
    if (link === undefined) throw new LeaseholdError("LH_INTERFACE", "there is no interface eth0");
    this.#expire();
    const inTheWay = this.#entries.find(
      (entry) =>
        entry.linkIndex === link.index &&
        !entry.ours &&
        addresses.some(({ text }) => text === entry.address.text) &&
        (entry.address.family === 6 || entry.prefixLength === 32),
    );
    if (inTheWay !== undefined) {
      for (const address of addresses) this.#removeOurs(address);
      throw new LeaseholdError("LH_VIP_FOREIGN", `${inTheWay.address.text} is somebody else's`);
    }
    for (const address of addresses) this.put(address, lifetimeSeconds, link.index);
    this.#interrupt("bind");
  }

  unbind(addresses: readonly IpAddress[]): void {
    this.unboundMs.push(this.#clock.now());
    if (this.broken) throw this.broken;
    for (const address of addresses) this.#removeOurs(address);
  }

  announce(): void {
    const link = this.currentLink;
    if (link?.up !== true || !link.carrier)
      throw new LeaseholdError("LH_LINK_DOWN", "eth0 is without carrier");
    if (link.mac === "") throw new LeaseholdError("LH_LINK_TYPE", "eth0 has no ARP");
    this.announcedMs.push(this.#clock.now());
    this.#interrupt("announce");
  }

  onChange(callback: () => void): { close(): void } {
    this.listeners.add(callback);
    return { close: () => void this.listeners.delete(callback) };
  }

  /** What the kernel does by itself: tells all listeners. */
  report(): void {
    for (const listener of this.listeners) listener();
  }

  put(
    address: IpAddress,
    lifetimeSeconds = Infinity,
    linkIndex = 2,
    ours = true,
    prefixLength = hostPrefix(address),
  ): void {
    // An address can be on several interfaces, and an IPv4 one with several prefixes; the same one is
    // refreshed.
    const isSame = (entry: Entry): boolean =>
      entry.address.text === address.text &&
      entry.linkIndex === linkIndex &&
      (address.family === 6 || entry.prefixLength === prefixLength);
    const entry = {
      address,
      prefixLength,
      linkIndex,
      ours,
      endsMs: this.#clock.now() + lifetimeSeconds * 1000,
    };
    const index = this.#entries.findIndex(isSame);
    // What is refreshed keeps its place.
    this.#entries = index < 0 ? [...this.#entries, entry] : this.#entries.with(index, entry);
  }

  /** Whosever it is. */
  remove(address: IpAddress): void {
    this.#entries = this.#entries.filter((entry) => entry.address.text !== address.text);
  }

  #removeOurs(address: IpAddress): void {
    this.#entries = this.#entries.filter((entry) => entry.address.text !== address.text || !entry.ours);
  }

  /** The interface goes, and its addresses with it; or another one of that name comes. */
  setLink(link: LinkState | undefined): void {
    this.#entries = this.#entries.filter((entry) => entry.linkIndex === link?.index);
    this.currentLink = link;
    this.report();
  }

  bound(): readonly string[] {
    this.#expire();
    return this.#entries.map((entry) => entry.address.text);
  }

  /** When the last address would end if nobody touched it again. */
  lastsUntilMs(): number {
    this.#expire();
    return Math.max(...this.#entries.map((entry) => entry.endsMs));
  }

  #expire(): void {
    this.#entries = this.#entries.filter((entry) => entry.endsMs > this.#clock.now());
  }

  #interrupt(call: keyof FakeKernel["during"]): void {
    const action = this.during[call];
    delete this.during[call];
    action?.();
  }
}
