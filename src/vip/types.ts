/** What the VIP of one agent needs, promises and tells; see vip.ts. */
import type { Clock } from "../clock.ts";
import type { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { IpAddress } from "../net.ts";
import type { BoundAddress, VipKernel } from "./kernel.ts";

export interface VipDeps {
  readonly clock: Clock;
  readonly kernel: VipKernel;
  readonly log: Logger;
  /** All of the group, of either family: moved together or not at all. */
  readonly addresses: readonly IpAddress[];
  /** The kernel removes what was not refreshed for this long (and up to 1 s more). Whole seconds; less when the right to it ends sooner. */
  readonly lifetimeSeconds: number;
  /** Default 500. */
  readonly refreshMs?: number;
  /** Announcements after the first burst, default 60 000. */
  readonly announceRefreshMs?: number;
  /** Something in {@link VipState} has changed, apart from the counters of announcements. */
  readonly onChange?: () => void;
  /** The VIP is held but cannot be bound. Called once for each new reason; tried again at every refresh and change of links. */
  readonly onFailure?: (error: LeaseholdError) => void;
  /** An announcement could not be sent, for metrics. */
  readonly onAnnouncementFailed?: () => void;
}

export interface VipState {
  /** We have the right to it. */
  readonly held: boolean;
  /** And the kernel has all addresses, as of the last look. */
  readonly bound: boolean;
  /** As of the last look, the machine has one of the addresses that no agent bound: another program's, or the machine's own. It is left alone. */
  readonly foreign: boolean;
  /** Clock time of the last transition to bound. */
  readonly boundSinceMs: number | undefined;
  /** Clock time at which the right ends unless it is extended. */
  readonly untilMs: number | undefined;
  /** Why it is not bound although held; or whose the address is, if `foreign`. Either way this node should not be the one that serves it. */
  readonly failure: LeaseholdError | undefined;
  readonly announcements: number;
  /** How often an address was put back that somebody else had removed. */
  readonly readded: number;
  /** How often the right ran out while the VIP was held. */
  readonly fenced: number;
  /** How often an address was found bound without the right to it, and removed. */
  readonly strays: number;
}

export interface Vip {
  /**
   * We have the right to the VIP until `untilMs` ({@link Clock.now}): binds if needed, extends, and unbinds by itself when the time has come. A time earlier
   * than one already given changes nothing; one that has passed binds nothing. Never throws.
   */
  hold(untilMs: number): void;
  /**
   * The right ends at `untilMs` at the latest, and what the kernel was told is told anew before this returns: if the process dies now, the addresses
   * last no longer than the right, rounded up to a second, and the kernel's second. Later calls of `hold` extend it. Never throws.
   */
  limit(untilMs: number): void;
  /** Unbinds at once, before it returns. Idempotent. A failure is logged and tried again. Never throws. */
  release(): void;
  /** Starts the announcement schedule anew, if held. */
  announce(): void;
  /** One announcement, if held, beside the schedule. */
  defend(): void;
  /**
   * At start: what a predecessor left bound is kept when `keep` (until `hold`, `release`, or its lifetime ends), and else removed. Gives what it found.
   */
  reap(keep: boolean): readonly BoundAddress[];
  status(): VipState;
  /** Releases, and ends all timers. */
  stop(): void;
}
