/**
 * Asks whether another machine has the VIP, or is about to take it as well (RFC 5227 section 2.1.1). It sends
 * three probes, 200 ms apart instead of the RFC's 1 to 2 s: every kernel answers within microseconds, and
 * clients are waiting.
 */
import type { Clock, Timer } from "../clock.ts";

export const PROBES = 3;
/** Milliseconds between two probes. */
const SPACING_MS = 200;
/** The longest random delay before the first probe, in milliseconds. */
const SPREAD_MS = 1_000;
/**
 * A timer that is this many milliseconds late means that this process stood still, and answers may have been
 * lost. The probe is then sent again.
 */
const LATE_PROBE_MS = 150;

/** The MAC addresses found: of a machine that has the VIP, and of one that asks for it as well. */
export interface AddressProbeResult {
  readonly owner: string | null;
  /** The lowest MAC address, if several machines ask. */
  readonly prober: string | null;
}

export interface AddressProbeDeps {
  readonly clock: Clock;
  readonly random: () => number;
  /**
   * Sends one question for each address, as a probe of one that would take it or as any node. Answers false
   * when none could be sent.
   */
  readonly send: (as: "node" | "probe") => boolean;
  /** Reads the frames that have come in. */
  readonly drain: () => void;
  readonly done: (probed: AddressProbeResult) => void;
}

/** The probe for the VIP's addresses. */
export interface AddressProbe {
  /**
   * Starts a probe, in place of one that is under way.
   * @param claims this node would take the VIP now
   * @param questions how often it asks
   */
  start(spread: boolean, claims: boolean, questions: number): void;
  /** Another machine has the VIP. */
  owner(mac: string): void;
  /** Another machine asks for the VIP as well. */
  prober(mac: string): void;
  /** Frames were lost. */
  overran(): void;
  stop(): void;
}

interface Running {
  readonly timer: Timer;
  /** The number of probes that were sent and stayed unanswered for their time. */
  readonly unanswered: number;
  /** When the probe under way was sent; null while none is. */
  readonly sentMs: number | null;
}

export function createAddressProbe({ clock, random, send, drain, done }: AddressProbeDeps): AddressProbe {
  let running: Running | null = null;
  let as: "node" | "probe" = "probe";
  let wanted = PROBES;
  let prober: string | null = null;
  let overran = false;

  function step(): void {
    const was = running;
    drain();
    // The answer may have been among what came in, and may have led to another probe.
    if (was === null || running !== was) return;
    const late = was.sentMs !== null && clock.now() - was.sentMs > SPACING_MS + LATE_PROBE_MS;
    const unanswered = was.sentMs === null || late || overran ? was.unanswered : was.unanswered + 1;
    if (unanswered >= wanted) {
      finish(null);
      return;
    }
    overran = false;
    arm(SPACING_MS, unanswered, send(as) ? clock.now() : null);
  }

  function arm(delayMs: number, unanswered: number, sentMs: number | null): void {
    running = { timer: clock.after(delayMs, step), unanswered, sentMs };
  }

  function finish(owner: string | null): void {
    running?.timer.cancel();
    running = null;
    done({ owner, prober });
  }

  return {
    start(spread, claims, questions) {
      running?.timer.cancel();
      as = claims ? "probe" : "node";
      wanted = questions;
      prober = null;
      overran = false;
      arm(spread ? random() * SPREAD_MS : 0, 0, null);
    },
    owner(mac) {
      if (running !== null) finish(mac);
    },
    prober(mac) {
      if (prober === null || mac < prober) prober = mac;
    },
    overran: () => void (overran = true),
    stop() {
      running?.timer.cancel();
      running = null;
    },
  };
}
