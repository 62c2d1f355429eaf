/**
 * The VIP of one agent: bound with a finite lifetime, refreshed and announced only while the right to it lasts.
 *
 * The fence (design, invariant 3). The kernel removes the addresses when nobody refreshes them, so an agent that is killed or hung loses the VIP
 * without doing anything. What is left to do here is never to give them back by mistake: a process that was stopped wakes up with its timers
 * overdue, in any order, and RTM_NEWADDR re-creates an address that has expired. So every path first reads the clock, and reads it again after
 * each bind, refresh and announcement, because the process may be stopped between any two instructions.
 */
import type { Timer } from "../clock.ts";
import { LeaseholdError } from "../errors.ts";
import type { IpAddress } from "../net.ts";
import { createAnnouncer } from "./announcer.ts";
import { createForeign } from "./foreign.ts";
import type { BoundAddress, LinkState, VipKernel } from "./kernel.ts";
import { ownerOf } from "./owner.ts";
import type { Vip, VipDeps } from "./types.ts";

/** How often a node looks whether an address is where it must not be, should the kernel's reports stay out. */
const CHECK_MS = 1000;
/** A failed removal is tried again after this time. */
const RETRY_MS = 100;

type State =
  /** No right to it. */
  | { readonly kind: "idle" }
  /** A predecessor's addresses may stay; whether we have a right to them is being found out. */
  | { readonly kind: "adoptable" }
  | {
      readonly kind: "held";
      untilMs: number;
      /** Until when, at least, the kernel has been told to keep the addresses. */
      keptUntilMs: number;
      boundSinceMs: number | undefined;
      failure: LeaseholdError | undefined;
      link: LinkState | undefined;
    };

type Held = Extract<State, { kind: "held" }>;

export function createVip(deps: VipDeps): Vip {
  const { clock, kernel, log, addresses, lifetimeSeconds } = deps;
  const texts = addresses.map((address) => address.text);
  const refreshMs = deps.refreshMs ?? 500;
  const counters = { announcements: 0, readded: 0, fenced: 0, strays: 0 };
  const foreign = createForeign(log, texts);
  let state: State = { kind: "idle" };
  let refreshTimer: Timer | undefined;
  let deadlineTimer: Timer | undefined;
  let retryTimer: Timer | undefined;
  const announcer = createAnnouncer({ clock, refreshMs: deps.announceRefreshMs ?? 60_000, send: sendAnnouncement });
  const checkTimer = clock.every(CHECK_MS, look);
  const subscription = kernel.onChange(look);

  /** Unbinds if the right has run out. True while it lasts: only then may anything be bound or sent. */
  function mayHold(held: Held): boolean {
    if (state !== held) return false;
    if (clock.now() < held.untilMs) return true;
    counters.fenced++;
    log.warn({ addresses: texts, overdueMs: clock.now() - held.untilMs }, "right to the VIP ran out, unbinding");
    drop();
    return false;
  }

  function drop(): void {
    state = { kind: "idle" };
    refreshTimer?.cancel();
    deadlineTimer?.cancel();
    announcer.stop();
    unbindNow();
    deps.onChange?.();
  }

  function unbindNow(): void {
    retryTimer?.cancel();
    retryTimer = undefined;
    try {
      kernel.unbind(addresses);
    } catch (error) {
      log.error({ err: error, addresses: texts }, "unbinding the VIP failed, trying again");
      retryTimer = clock.after(RETRY_MS, unbindNow);
    }
  }

  /** Binds, or refreshes, and sees to it that neighbours know when that made a difference. */
  function ensureBound(held: Held): void {
    if (!mayHold(held)) return;
    const before = held.boundSinceMs !== undefined;
    try {
      const link = kernel.link();
      const present = survey();
      const stray = link !== undefined && present.some((entry) => entry.linkIndex !== link.index);
      // The interface was renamed, or configured anew: the VIP is on the wrong one.
      if (stray) kernel.unbind(addresses);
      if (!mayHold(held)) return;
      const missing = stray || texts.some((text) => !present.some((entry) => entry.address.text === text));
      // Told once that it lasts to the end of the right: told again later it would outlast it by more.
      if (missing || held.keptUntilMs < held.untilMs) bind(held);
      if (!mayHold(held)) return;
      succeeded(held, link, before && missing);
    } catch (error) {
      failed(held, error);
    }
  }

  /** No longer than the right lasts, in whole seconds: the kernel is the fence of an agent that dies now. */
  function bind(held: Held): void {
    const now = clock.now();
    const seconds = Math.max(1, Math.min(lifetimeSeconds, Math.ceil((held.untilMs - now) / 1000)));
    kernel.bind(addresses, seconds);
    held.keptUntilMs = now + seconds * 1000;
  }

  function succeeded(held: Held, link: LinkState | undefined, readded: boolean): void {
    const first = held.boundSinceMs === undefined;
    const moved = !sameLink(held.link, link);
    if (readded) {
      counters.readded++;
      log.warn({ addresses: texts }, "VIP was removed by somebody else, bound again");
    } else if (first) {
      log.info({ addresses: texts, interface: link?.name }, "VIP bound");
    }
    held.link = link;
    held.failure = undefined;
    held.boundSinceMs ??= clock.now();
    // Neighbours have to hear of a new holder, a new MAC, and on a new or returned wire they may be new themselves.
    if (first || readded || moved) announcer.start();
    if (first || readded) deps.onChange?.();
  }

  function failed(held: Held, cause: unknown): void {
    const error = cause instanceof LeaseholdError ? cause : new LeaseholdError("LH_NATIVE", String(cause), { cause });
    const news = held.failure?.message !== error.message;
    held.failure = error;
    held.boundSinceMs = undefined;
    held.link = undefined;
    announcer.stop();
    if (!mayHold(held) || !news) return;
    log.error({ err: error, addresses: texts }, "VIP could not be bound, trying again");
    deps.onFailure?.(error);
    deps.onChange?.();
  }

  /** Something changed, or a second has passed: are the addresses where they should be, and nowhere else? */
  function look(): void {
    switch (state.kind) {
      case "held":
        lookAsHolder(state);
        break;
      case "adoptable":
        surveyOrSay();
        break;
      case "idle":
        lookIdle();
        break;
    }
    tell();
  }

  function lookAsHolder(held: Held): void {
    if (!mayHold(held)) return;
    try {
      const link = kernel.link();
      const present = survey();
      const complete = texts.every((text) => present.some((entry) => entry.address.text === text && entry.linkIndex === link?.index));
      // Refreshing on each report would answer reports with reports; only a difference is acted on.
      if (held.boundSinceMs === undefined || !complete || !sameLink(held.link, link)) ensureBound(held);
    } catch (error) {
      failed(held, error);
    }
  }

  function lookIdle(): void {
    if (surveyOrSay().length === 0) return;
    counters.strays++;
    log.warn({ addresses: texts }, "VIP found bound without the right to it, unbinding");
    unbindNow();
  }

  function surveyOrSay(): readonly BoundAddress[] {
    try {
      return survey();
    } catch (error) {
      log.error({ err: error }, "listing the addresses failed");
      return [];
    }
  }

  /** The VIP's addresses on this machine that are ours, on whatever interface. Notes those that are not. */
  function survey(): readonly BoundAddress[] {
    const present = kernel.addresses().filter((entry) => texts.includes(entry.address.text));
    foreign.note(present);
    return present.filter((entry) => entry.ours);
  }

  /** Not while an address is being bound or looked for: who is told may hold, limit or release. */
  function tell(): void {
    if (foreign.isNews()) deps.onChange?.();
  }

  function sendAnnouncement(): void {
    const held = state;
    if (held.kind !== "held" || held.boundSinceMs === undefined || !mayHold(held)) return;
    try {
      kernel.announce(addresses);
      counters.announcements++;
    } catch (error) {
      // Without a link nobody listens; its return starts the schedule anew.
      log.debug({ err: error, addresses: texts }, "announcing the VIP failed");
      deps.onAnnouncementFailed?.();
    }
    mayHold(held);
  }

  function armDeadline(held: Held): void {
    deadlineTimer?.cancel();
    deadlineTimer = clock.after(held.untilMs - clock.now(), () => {
      // Extended meanwhile, or the timer was a fraction of a millisecond early.
      if (mayHold(held)) armDeadline(held);
    });
  }

  return {
    hold(untilMs) {
      const now = clock.now();
      if (state.kind === "held") {
        // A right that lapsed and was then renewed (the answer waited in a socket while we were stopped) is a right: the deadline counts from before
        // the request was sent. What may have expired in the kernel is seen, and announced, by ensureBound.
        const lapsed = now >= state.untilMs;
        state.untilMs = Math.max(state.untilMs, untilMs);
        // The kernel may have been told of the former end only, which may come before the next refresh.
        const ending = state.keptUntilMs < Math.min(state.untilMs, now + 2 * refreshMs);
        if (mayHold(state) && (lapsed || ending || state.boundSinceMs === undefined)) ensureBound(state);
        tell();
        return;
      }
      if (untilMs <= now) {
        if (state.kind === "adoptable") drop();
        return;
      }
      retryTimer?.cancel();
      const held: Held = { kind: "held", untilMs, keptUntilMs: now, boundSinceMs: undefined, failure: undefined, link: undefined };
      state = held;
      armDeadline(held);
      refreshTimer = clock.every(refreshMs, () => {
        ensureBound(held);
        tell();
        // Timers stand still while a machine is suspended; the clock does not.
        if (state === held) armDeadline(held);
      });
      ensureBound(held);
      tell();
    },
    limit(untilMs) {
      if (state.kind !== "held") return;
      state.untilMs = Math.min(state.untilMs, untilMs);
      state.keptUntilMs = Number.NEGATIVE_INFINITY;
      if (!mayHold(state)) return;
      armDeadline(state);
      ensureBound(state);
      tell();
    },
    release() {
      switch (state.kind) {
        case "held":
          log.info({ addresses: texts }, "VIP released");
          drop();
          return;
        case "adoptable":
          drop();
          return;
        case "idle":
          return;
      }
    },
    announce() {
      if (state.kind === "held" && state.boundSinceMs !== undefined) announcer.start();
    },
    // What is left of the schedule goes on.
    defend: sendAnnouncement,
    reap(keep) {
      if (state.kind === "held") return [];
      const found = survey();
      if (found.length > 0 && keep) {
        state = { kind: "adoptable" };
      } else if (found.length > 0) {
        log.info({ addresses: found.map((entry) => entry.address.text) }, "removing the VIP that a predecessor left");
        unbindNow();
      }
      return found;
    },
    status() {
      const held = state.kind === "held" ? state : undefined;
      return {
        held: held !== undefined,
        foreign: foreign.current() !== undefined,
        bound: held?.boundSinceMs !== undefined,
        boundSinceMs: held?.boundSinceMs,
        untilMs: held?.untilMs,
        failure: held?.failure ?? foreign.current(),
        ...counters,
      };
    },
    stop() {
      if (state.kind !== "idle") drop();
      checkTimer.cancel();
      retryTimer?.cancel();
      announcer.stop();
      subscription.close();
    },
  };
}

function sameLink(a: LinkState | undefined, b: LinkState | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.index === b.index && a.mac === b.mac && a.up === b.up && a.carrier === b.carrier;
}

/** Those of `vips` that are the machine's own address as well: a configuration error, because nothing would take them away from a failed node. */
export function foreignOwner(kernel: Pick<VipKernel, "addresses">, vips: readonly IpAddress[]): readonly BoundAddress[] {
  const texts = new Set(vips.map((vip) => vip.text));
  return kernel.addresses().filter((entry) => texts.has(entry.address.text) && ownerOf(entry) === "machine");
}
