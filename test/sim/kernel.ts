/**
 * The kernel of one machine, as far as the VIP goes: addresses with a lifetime that are removed up to 1 s
 * late (measured: a lifetime of 3 s is gone after 3.0-3.99 s), a link with a carrier, announcements. It lives
 * on when the agent dies or hangs.
 */
import { LeaseholdError } from "../../src/errors.ts";
import type { IpAddress } from "../../src/net.ts";
import type { BoundAddress, LinkState, VipKernel } from "../../src/vip/kernel.ts";
import type { MachineClock, SimProcess } from "./process.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** From the moment of binding to that of removal; true time, the second excluded. */
interface Binding {
  readonly address: IpAddress;
  readonly fromMs: number;
  untilMs: number;
  expiresMs: number;
}

export class SimKernel {
  readonly #scheduler: Scheduler;
  readonly #machine: MachineClock;
  readonly #random: Random;
  readonly #onAnnounce: (frozen: boolean) => void;
  readonly #listeners = new Set<() => void>();
  #bindings: Binding[] = [];
  #link: LinkState;
  #unplugged = 0;
  /** Other software has these addresses bound here, without an end. */
  #squatted: readonly IpAddress[] = [];
  /** A freeze that the next bind or announcement will run into. */
  #stallMs = 0;

  constructor(
    scheduler: Scheduler,
    machine: MachineClock,
    random: Random,
    mac: string,
    onAnnounce: (frozen: boolean) => void,
  ) {
    this.#scheduler = scheduler;
    this.#machine = machine;
    this.#random = random;
    this.#onAnnounce = onAnnounce;
    this.#link = { name: "eth0", index: 2, mac, up: true, carrier: true };
  }

  get link(): LinkState {
    return this.#link;
  }

  /** True when at least one VIP answers here now. */
  get bound(): boolean {
    const { nowMs } = this.#scheduler;
    if (this.#bindings.length === 0 || this.#machine.suspended) return false;
    for (const { fromMs, untilMs } of this.#bindings) if (fromMs <= nowMs && nowMs < untilMs) return true;
    return false;
  }

  /** Answers for this address now. */
  has(address: string): boolean {
    const { nowMs } = this.#scheduler;
    if (this.#squatted.some(({ text }) => text === address)) return true;
    return this.#bindings.some(
      (binding) => binding.address.text === address && binding.fromMs <= nowMs && nowMs < binding.untilMs,
    );
  }

  /** Several faults may hold it down. */
  unplug(): void {
    this.#unplugged += 1;
    this.#setCarrier(false);
  }

  plug(): void {
    this.#unplugged -= 1;
    if (this.#unplugged === 0) this.#setCarrier(true);
  }

  #setCarrier(carrier: boolean): void {
    this.#link = { ...this.#link, carrier };
    this.#changed();
  }

  /** The machine is off: it answers nothing, and forgets all. */
  powerOff(): void {
    this.#bindings = [];
    this.#squatted = [];
    this.#listeners.clear();
    this.#stallMs = 0;
  }

  /**
   * Lifetimes are counted in jiffies, which stand still meanwhile: what was bound is still there afterwards,
   * and for as long as it had left.
   */
  suspend(forMs: number): void {
    for (const binding of this.#bindings) {
      binding.untilMs += forMs;
      binding.expiresMs += forMs;
      this.#scheduler.at(binding.untilMs, () => this.#expired());
    }
  }

  stallNextCall(forMs: number): void {
    this.#stallMs = forMs;
  }

  /** Other software has the VIP bound here. */
  get squatted(): boolean {
    return this.#squatted.length > 0;
  }

  /** Other software binds these addresses, also where an agent has bound them; none: it removes them. */
  squat(addresses: readonly IpAddress[]): void {
    this.#squatted = addresses;
    if (addresses.length > 0) this.#cut(this.#scheduler.nowMs);
    this.#changed();
  }

  /** A person, or another program, removes the addresses. */
  flush(): void {
    this.#cut(this.#scheduler.nowMs);
    this.#changed();
  }

  /**
   * What one process sees of this kernel. Its calls happen in its own time, which may lie ahead (see
   * SimProcess.stall).
   */
  for(process: SimProcess): VipKernel {
    return {
      link: () => this.#link,
      addresses: () => [
        ...this.#boundAt(process.trueMs).map((binding) => this.#asBound(binding, process.trueMs)),
        ...this.#squatted.map((address) => this.#asSquatted(address)),
      ],
      bind: (addresses, lifetimeSeconds) => {
        this.#stall(process);
        if (this.#squatted.length > 0)
          throw new LeaseholdError("LH_VIP_FOREIGN", "the VIP was bound by another program");
        for (const address of addresses) this.#bind(address, lifetimeSeconds, process.trueMs);
        this.#changed();
      },
      unbind: () => {
        const removed = this.#boundAt(process.trueMs).length > 0;
        this.#cut(process.trueMs);
        if (removed) this.#changed();
      },
      announce: () => {
        this.#stall(process);
        if (!this.#link.up || !this.#link.carrier)
          throw new LeaseholdError("LH_LINK_DOWN", "eth0 has no carrier");
        if (process.trueMs === this.#scheduler.nowMs) return this.#onAnnounce(false);
        // A frame that was frozen in the system call leaves when the process thaws, however old it is by
        // then.
        this.#scheduler.at(process.trueMs, () => {
          if (process.alive && this.#link.carrier) this.#onAnnounce(true);
        });
      },
      onChange: (callback) => {
        const listener = (): void => process.deliver(callback);
        this.#listeners.add(listener);
        return { close: () => void this.#listeners.delete(listener) };
      },
    };
  }

  #stall(process: SimProcess): void {
    if (this.#stallMs === 0) return;
    process.stall(this.#stallMs);
    this.#stallMs = 0;
  }

  #bind(address: IpAddress, lifetimeSeconds: number, atMs: number): void {
    if (!Number.isInteger(lifetimeSeconds) || lifetimeSeconds < 1) {
      throw new LeaseholdError("LH_NATIVE", `valid_lft ${lifetimeSeconds}: Invalid argument`);
    }
    const expiresMs = this.#machine.trueAfter(atMs, lifetimeSeconds * 1_000);
    const untilMs = expiresMs + this.#machine.trueAfter(0, this.#random.between(0, 990));
    const present = this.#boundAt(atMs).find((binding) => binding.address.text === address.text);
    if (present === undefined) this.#bindings.push({ address, fromMs: atMs, untilMs, expiresMs });
    else Object.assign(present, { untilMs, expiresMs });
    // Something changes then: the simulation has to look.
    this.#scheduler.at(untilMs, () => this.#expired());
  }

  #expired(): void {
    const nowMs = this.#scheduler.nowMs;
    // Refreshed since: the usual case.
    if (this.#bindings.every((binding) => binding.untilMs > nowMs)) return this.#scheduler.nothingHappened();
    this.#bindings = this.#bindings.filter((binding) => binding.untilMs > nowMs);
    this.#changed();
  }

  #cut(atMs: number): void {
    this.#bindings = this.#bindings.filter((binding) => binding.fromMs < atMs);
    for (const binding of this.#bindings) binding.untilMs = Math.min(binding.untilMs, atMs);
    if (atMs > this.#scheduler.nowMs) this.#scheduler.at(atMs, () => this.#expired());
    else this.#bindings = [];
  }

  #boundAt(atMs: number): readonly Binding[] {
    return this.#bindings.filter((binding) => binding.fromMs <= atMs && atMs < binding.untilMs);
  }

  #asBound(binding: Binding, atMs: number): BoundAddress {
    return {
      address: binding.address,
      prefixLength: binding.address.family === 4 ? 32 : 128,
      linkIndex: this.#link.index,
      ours: true,
      validSeconds: Math.max(0, Math.ceil(((binding.expiresMs - atMs) * this.#machine.rate) / 1_000)),
    };
  }

  #asSquatted(address: IpAddress): BoundAddress {
    return {
      address,
      prefixLength: address.family === 4 ? 32 : 128,
      linkIndex: this.#link.index,
      ours: false,
      validSeconds: null,
    };
  }

  /** Netlink tells the process about it a moment later. */
  #changed(): void {
    for (const listener of this.#listeners) this.#scheduler.after(this.#random.between(0.05, 1), listener);
  }
}
