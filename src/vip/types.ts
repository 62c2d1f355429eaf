/** What the VIP of one agent needs, promises and reports. See vip.ts. */
import type { Clock } from "../clock.ts";
import type { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import type { BoundAddress, VipKernel } from "./kernel.ts";

export interface VipDeps {
  readonly clock: Clock;
  readonly kernel: VipKernel;
  readonly log: Logger;
  /** All addresses of the VIP, of either family. They move together or not at all. */
  readonly addresses: readonly IpAddress[];
  /**
   * Seconds, whole, after which the kernel removes an address that was not refreshed (up to 1 s later). It is
   * less when the fence deadline comes sooner.
   */
  readonly lifetimeSeconds: number;
  /** This node is to take the VIP over from another program (LEASEHOLD_TAKE_OVER); false by default. */
  readonly takeOver?: boolean;
  /** Milliseconds between two refreshes, default 500. */
  readonly refreshMs?: number;
  /** Milliseconds between two announcements after the first schedule, default 60 000. */
  readonly announceRefreshMs?: number;
  /** Called when something in {@link VipState} has changed, apart from the counters of announcements. */
  readonly onChange?: () => void;
  /** Called when the kernel has removed a predecessor's addresses that were kept for this process, or one. */
  readonly onLeftOverGone?: () => void;
  /**
   * Called once for each new reason why the VIP is held but cannot be bound. The VIP tries again at every
   * refresh and every change of links.
   */
  readonly onFailure?: (error: LeaseholdError) => void;
  /** Called when an announcement could not be sent, for metrics. */
  readonly onAnnouncementFailed?: () => void;
}

export interface VipState {
  /** True while this node may have the VIP, until the fence deadline. */
  readonly held: boolean;
  /** True when it is held and the kernel had all addresses when they were last listed. */
  readonly bound: boolean;
  /**
   * True when the machine has one of the addresses and no agent bound it, as of the last listing. The address
   * belongs to another program or is the machine's own, and the agent leaves it alone.
   */
  readonly foreign: boolean;
  /** Clock time in milliseconds of the last transition to bound. */
  readonly boundSinceMs: number | undefined;
  /** The fence deadline: clock time in milliseconds at which the VIP is unbound unless `hold` extends it. */
  readonly untilMs: number | undefined;
  /**
   * Why the VIP is not bound although held or, if `foreign`, who owns the address. In both cases this node
   * should not serve the VIP.
   */
  readonly failure: LeaseholdError | undefined;
  readonly announcements: number;
  /** How often another program removed an address and the agent bound it again. */
  readonly readded: number;
  /** How often the fence deadline passed while the VIP was held. */
  readonly fenced: number;
  /** How often an address was found bound while the VIP was not held, and was removed. */
  readonly strays: number;
}

export interface Vip {
  /**
   * Holds the VIP until the fence deadline `untilMs` ({@link Clock.now}): binds if needed, extends, and
   * unbinds by itself at the deadline. A time earlier than one already given changes nothing. A time that has
   * passed binds nothing. Never throws.
   */
  hold(untilMs: number): void;
  /**
   * Brings the fence deadline forward to `untilMs`, and gives the kernel the new lifetime before this
   * returns. If the process dies now, the addresses last until the deadline, rounded up to a second, plus the
   * kernel's second. A later `hold` may extend the deadline. Never throws.
   */
  limit(untilMs: number): void;
  /**
   * Unbinds before it returns. Idempotent. A failure is logged, and the removal is tried again. Never throws.
   */
  release(): void;
  /** Restarts the announcement schedule, if held. */
  announce(): void;
  /** Sends one announcement in addition to the schedule, if held. */
  defend(): void;
  /**
   * Handles what a predecessor left bound, at start. With `keep` the addresses stay until `hold`, `release`
   * or the end of their lifetime. Otherwise they are removed. Returns what was found.
   */
  reap(keep: boolean): readonly BoundAddress[];
  status(): VipState;
  /** Releases the VIP and ends all timers. */
  stop(): void;
}
