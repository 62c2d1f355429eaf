/** How long a holder may keep the VIP bound without hearing anything more. */
import type { ElectionSettings, Master } from "./types.ts";

/**
 * An offered VIP stays bound this long on our word alone; then it must be clear that nobody has taken it, for the answer that tells may be lost and the watch
 * silent. Keeps two nodes from having it for more than 1 s, also with clocks 5 % apart; and below 1 s, so that the shortest lifetime the kernel knows
 * covers it without a refresh (ADR 0007).
 */
export const OFFER_HOLD_MS = 900;

/** Counted from before the last successful renewal was sent, and from before the offer was. */
export function rightUntil(settings: ElectionSettings, { renewedAtMs, offered }: Master): number {
  const renewedUntilMs = renewedAtMs + settings.renewDeadlineMs;
  return offered === null ? renewedUntilMs : Math.min(renewedUntilMs, offered.sinceMs + OFFER_HOLD_MS);
}
