/**
 * The VIP of one agent is bound with a finite lifetime. It is refreshed and announced only until the fence
 * deadline.
 *
 * The fence (design, invariant 3). The kernel removes addresses that are no longer refreshed, so an agent
 * that is killed or hung loses the VIP without doing anything. This module must never give the addresses back
 * by mistake. A process that was stopped wakes up with its timers overdue, in any order, and RTM_NEWADDR
 * re-creates an address that has expired. So every path reads the clock first. It reads the clock again after
 * each bind, refresh and announcement, because the process may be stopped between any two instructions.
 */
import type { Timer } from "../clock.ts";
import { LeaseholdError } from "../errors.ts";
import type { IpAddress } from "../net.ts";
import { createAnnouncer } from "./announcer.ts";
import { createForeign } from "./foreign.ts";
import type { BoundAddress, LinkState, VipKernel } from "./kernel.ts";
import { standingFirst } from "./order.ts";
import { ownerOf } from "./owner.ts";
import type { Vip, VipDeps } from "./types.ts";

/**
 * Milliseconds between two looks for an address in a wrong place, in case the kernel's reports do not arrive.
 */
const CHECK_MS = 1000;
/** A bind that took this many milliseconds may have been carried out at the end of them. */
const STOOD_STILL_MS = 100;
/** A process that is stopped again and again does not bind for ever. */
const MOST_BINDS = 3;
/**
 * Milliseconds until a VIP that stands first is bound again once more: another program may put it there each
 * time.
 */
const MOVE_AGAIN_MS = 10_000;
/** Milliseconds until a failed removal is tried again. */
const RETRY_MS = 100;

type State =
  /** This node does not hold the VIP. */
  | { readonly kind: "idle" }
  /** A predecessor's addresses may stay while the election finds out whether this node may keep them. */
  | { readonly kind: "adoptable" }
  | {
      readonly kind: "held";
      untilMs: number;
      /** Clock time until which, at least, the kernel has been told to keep the addresses. */
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
  const foreign = createForeign(log, texts, deps.takeOver ?? false);
  let state: State = { kind: "idle" };
  /** When the VIP was last put behind the machine's own addresses. */
  let movedMs = Number.NEGATIVE_INFINITY;
  let refreshTimer: Timer | undefined;
  let deadlineTimer: Timer | undefined;
  let retryTimer: Timer | undefined;
  const announcer = createAnnouncer({
    clock,
    refreshMs: deps.announceRefreshMs ?? 60_000,
    send: sendAnnouncement,
  });
  const checkTimer = clock.every(CHECK_MS, look);
  const subscription = kernel.onChange(look);

  /**
   * Unbinds if the fence deadline has passed. Returns true before it. Only then may anything be bound or
   * sent.
   */
  function mayHold(held: Held): boolean {
    if (state !== held) return false;
    if (clock.now() < held.untilMs) return true;
    counters.fenced++;
    log.warn(
      { addresses: texts, overdueMs: clock.now() - held.untilMs },
      "The fence deadline has passed, the agent unbinds the VIP",
    );
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
      log.error({ err: error, addresses: texts }, "The agent could not unbind the VIP, and tries again");
      retryTimer = clock.after(RETRY_MS, unbindNow);
    }
  }

  /** Binds or refreshes, and starts announcements when that made a difference. */
  function ensureBound(held: Held): void {
    if (!mayHold(held)) return;
    const before = held.boundSinceMs !== undefined;
    try {
      const link = kernel.link();
      const present = survey();
      const stray = link !== undefined && present.some((entry) => entry.linkIndex !== link.index);
      // The interface was renamed or configured again: the VIP is on the wrong one.
      if (stray) kernel.unbind(addresses);
      if (!mayHold(held)) return;
      const missing = stray || texts.some((text) => !present.some((entry) => entry.address.text === text));
      // The kernel is told once that the addresses last to the deadline. Telling it again later would round
      // up again and keep them longer.
      if (missing || held.keptUntilMs < held.untilMs) bind(held);
      if (!mayHold(held)) return;
      succeeded(held, link, before && missing);
    } catch (error) {
      failed(held, error);
    }
  }

  /**
   * Binds until the fence deadline at the latest, in whole seconds: the kernel is the fence of an agent that
   * dies now. When the process stood still within the call, the kernel counts the seconds from a later time,
   * and is told again.
   */
  function bind(held: Held): void {
    for (let tries = 0; tries < MOST_BINDS && clock.now() < held.untilMs; tries++) {
      const now = clock.now();
      const seconds = Math.max(1, Math.min(lifetimeSeconds, Math.ceil((held.untilMs - now) / 1000)));
      kernel.bind(addresses, seconds);
      held.keptUntilMs = now + seconds * 1000;
      const stoodStillMs = clock.now() - now;
      if (stoodStillMs < STOOD_STILL_MS || held.keptUntilMs + stoodStillMs < held.untilMs + 1000) return;
    }
  }

  function succeeded(held: Held, link: LinkState | undefined, readded: boolean): void {
    const first = held.boundSinceMs === undefined;
    const moved = !sameLink(held.link, link);
    if (readded) {
      counters.readded++;
      log.warn(
        { addresses: texts },
        "Another program removed the VIP from its interface, the agent bound it again",
      );
    } else if (first) {
      log.info({ addresses: texts, interface: link?.name }, "VIP bound");
    }
    held.link = link;
    held.failure = undefined;
    held.boundSinceMs ??= clock.now();
    // Neighbours must learn of a new holder or a new MAC. On a new or returned link the neighbours themselves
    // may be new.
    if (first || readded || moved) announcer.start();
    if (first || readded) deps.onChange?.();
  }

  function failed(held: Held, cause: unknown): void {
    const error =
      cause instanceof LeaseholdError ? cause : new LeaseholdError("LH_NATIVE", String(cause), { cause });
    const news = held.failure?.message !== error.message;
    held.failure = error;
    held.boundSinceMs = undefined;
    held.link = undefined;
    announcer.stop();
    if (!mayHold(held) || !news) return;
    log.error({ err: error, addresses: texts }, "The agent could not bind the VIP, and tries again");
    deps.onFailure?.(error);
    deps.onChange?.();
  }

  /**
   * Runs on each report of a change and every second: checks that the addresses are where they should be, and
   * nowhere else.
   */
  function look(): void {
    switch (state.kind) {
      case "held":
        lookAsHolder(state);
        break;
      case "adoptable":
        lookAdoptable();
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
      const all = kernel.addresses();
      const present = survey(all);
      const complete = texts.every((text) =>
        present.some((entry) => entry.address.text === text && entry.linkIndex === link?.index),
      );
      // Refreshing on each report would cause a report for each refresh, so only a difference leads to a
      // refresh.
      if (held.boundSinceMs === undefined || !complete || !sameLink(held.link, link)) ensureBound(held);
      else if (link !== undefined) standBehind(held, link, all);
    } catch (error) {
      failed(held, error);
    }
  }

  /**
   * Binds an IPv4 VIP again that has come to stand before the machine's own address, which puts it behind.
   * Connections outlive the microseconds without it.
   */
  function standBehind(held: Held, link: LinkState, all: readonly BoundAddress[]): void {
    const first = standingFirst(all, link.index, texts);
    if (first.length === 0 || clock.now() < movedMs + MOVE_AGAIN_MS) return;
    movedMs = clock.now();
    log.info(
      { addresses: first.map(({ address }) => address.text) },
      "The VIP stands before the machine's own address, binding it again behind that",
    );
    kernel.unbind(first.map(({ address }) => address));
    if (mayHold(held)) bind(held);
    mayHold(held);
  }

  function lookAdoptable(): void {
    try {
      if (keptFor(survey(), addresses) === null) deps.onLeftOverGone?.();
    } catch (error) {
      log.error(
        { err: error },
        "The kernel did not list this machine's addresses, the agent cannot see whether the VIP is bound",
      );
    }
  }

  function lookIdle(): void {
    if (surveyOrSay().length === 0) return;
    counters.strays++;
    log.warn(
      { addresses: texts },
      "The VIP is bound on this machine and this node may not have it, the agent unbinds it",
    );
    unbindNow();
  }

  function surveyOrSay(): readonly BoundAddress[] {
    try {
      return survey();
    } catch (error) {
      log.error(
        { err: error },
        "The kernel did not list this machine's addresses, the agent cannot see whether the VIP is bound",
      );
      return [];
    }
  }

  /** Lists the VIP's addresses on this machine that are ours, on any interface. It notes the foreign ones. */
  function survey(all = kernel.addresses()): readonly BoundAddress[] {
    const present = all.filter((entry) => texts.includes(entry.address.text));
    foreign.note(present);
    return present.filter((entry) => entry.ours);
  }

  /** Not called while an address is being bound or listed: the listener may call hold, limit or release. */
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
      // Without a link no neighbour hears it. The schedule restarts when the link returns.
      log.debug({ err: error, addresses: texts }, "VIP could not be announced");
      // On a link without ARP there is nothing to announce, and nothing has failed.
      if (!(error instanceof LeaseholdError && error.code === "LH_LINK_TYPE")) deps.onAnnouncementFailed?.();
    }
    mayHold(held);
  }

  function armDeadline(held: Held): void {
    deadlineTimer?.cancel();
    deadlineTimer = clock.after(held.untilMs - clock.now(), () => {
      // The deadline was extended meanwhile, or the timer was a fraction of a millisecond early.
      if (mayHold(held)) armDeadline(held);
    });
  }

  return {
    hold(untilMs) {
      const now = clock.now();
      if (state.kind === "held") {
        // A fence that ran out and was then renewed is valid again: the answer waited in a socket while this
        // process was stopped, and the deadline counts from before the request was sent. ensureBound finds
        // and announces what expired in the kernel.
        const lapsed = now >= state.untilMs;
        state.untilMs = Math.max(state.untilMs, untilMs);
        // The kernel may know only the former deadline, which may come before the next refresh.
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
      const held: Held = {
        kind: "held",
        untilMs,
        keptUntilMs: now,
        boundSinceMs: undefined,
        failure: undefined,
        link: undefined,
      };
      state = held;
      armDeadline(held);
      refreshTimer = clock.every(refreshMs, () => {
        ensureBound(held);
        tell();
        // Timers stand still while a machine is suspended. The clock does not.
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
    // The rest of the schedule goes on.
    defend: sendAnnouncement,
    reap(keep) {
      if (state.kind === "held") return [];
      const found = survey();
      if (found.length > 0 && keep) {
        state = { kind: "adoptable" };
      } else if (found.length > 0) {
        log.info(
          { addresses: found.map((entry) => entry.address.text) },
          "The agent removes the VIP that its previous process left bound",
        );
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
        failure: foreign.current() ?? held?.failure,
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

/**
 * For how long at least the kernel keeps a VIP that a predecessor has left bound, in ms; below 0: it may
 * remove it at once. null: not all of its addresses are there. The kernel counts in whole seconds, rounded
 * up.
 */
export function keptFor(found: readonly BoundAddress[], vips: readonly IpAddress[]): number | null {
  const present = new Set(found.map(({ address }) => address.text));
  if (!vips.every(({ text }) => present.has(text))) return null;
  const seconds = found.map(({ validSeconds }) => validSeconds ?? Number.POSITIVE_INFINITY);
  return (Math.min(...seconds) - 1) * 1_000;
}

/**
 * Finds those of `vips` that are also the machine's own address. That is a configuration error, because
 * nothing could take them away from a failed node.
 * @param takeOver this node is to take the VIP over from another program
 */
export function foreignOwner(
  kernel: Pick<VipKernel, "addresses">,
  vips: readonly IpAddress[],
  takeOver = false,
): readonly BoundAddress[] {
  const texts = new Set(vips.map((vip) => vip.text));
  return kernel
    .addresses()
    .filter((entry) => texts.has(entry.address.text) && ownerOf(entry, takeOver) === "machine");
}
