/**
 * Whether anybody has the VIP, or is about to take it as we are (RFC 5227 section 2.1.1): three probes, but 200 ms apart instead of 1 to 2 s, as
 * keepalived's and everybody's kernel answers within microseconds and clients are waiting.
 */
import type { Clock, Timer } from "../clock.ts";

const PROBES = 3;
const SPACING_MS = 200;
const SPREAD_MS = 1_000;
/** A timer that comes this much late means that we stood still, and answers may have been lost: the probe is sent again. */
const LATE_MS = 150;

export interface Probed {
  readonly owner: string | null;
  /** Of several the lowest. */
  readonly prober: string | null;
}

export interface AddressProbeDeps {
  readonly clock: Clock;
  readonly random: () => number;
  /** One probe for each address; false when none could be sent. */
  readonly send: () => boolean;
  /** Takes what has come in. */
  readonly drain: () => void;
  readonly done: (probed: Probed) => void;
}

export interface AddressProbe {
  /** In place of the one that is under way. */
  start(spread: boolean): void;
  /** Somebody has the VIP. */
  owner(mac: string): void;
  /** Somebody asks for it as we do. */
  prober(mac: string): void;
  /** Frames were lost. */
  overran(): void;
  stop(): void;
}

interface Running {
  readonly timer: Timer;
  /** Probes that were sent, and stayed unanswered for their time. */
  readonly unanswered: number;
  /** When the one under way was sent; null: none is. */
  readonly sentMs: number | null;
}

export function createAddressProbe({ clock, random, send, drain, done }: AddressProbeDeps): AddressProbe {
  let running: Running | null = null;
  let prober: string | null = null;
  let overran = false;

  function step(): void {
    const was = running;
    drain();
    // The answer may have been among what came in, and may have led to another probe.
    if (was === null || running !== was) return;
    const late = was.sentMs !== null && clock.now() - was.sentMs > SPACING_MS + LATE_MS;
    const unanswered = was.sentMs === null || late || overran ? was.unanswered : was.unanswered + 1;
    if (unanswered >= PROBES) {
      finish(null);
      return;
    }
    overran = false;
    arm(SPACING_MS, unanswered, send() ? clock.now() : null);
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
    start(spread) {
      running?.timer.cancel();
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
