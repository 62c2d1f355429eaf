/**
 * Limits the ARP questions ("who has ...?") of this node. Switches with ARP inspection count what a port
 * sends and shut the port at 15 frames in a second, by default. A node that asks too often would cut itself
 * off.
 */
import type { Clock } from "../clock.ts";
import type { IpAddress } from "../net.ts";
import type { Wire } from "./wire.ts";

/**
 * The questions in one window. Five leave room for the kernel's own questions and for a new holder's
 * announcements.
 */
const MOST_QUESTIONS = 5;
const WINDOW_MS = 1_000;

/**
 * What became of a question. `later`: it would exceed the limit. `failed`: it could not be sent, see {@link
 * Wire.ask}.
 */
export type Asked = "sent" | "later" | "failed";

/** Asks on the wire, within the limit of one node. */
export interface ArpBudget {
  /**
   * Asks everybody for `address` within the limit. @param reserve is the number of questions to leave room
   * for
   */
  ask(address: IpAddress, reserve?: number): Asked;
  /**
   * Sends one of the questions of RFC 5227 for `address`. It is never put off, because clients wait for the
   * verdict. It counts, so other questions wait for it. Answers false when it could not be sent.
   * @param as a probe says that this node would take the address
   */
  probe(address: IpAddress, as: "node" | "probe"): boolean;
}

export function createArpBudget(clock: Clock, wire: Wire): ArpBudget {
  let sentMs: readonly number[] = [];

  function send(address: IpAddress, as: "node" | "probe", nowMs: number): boolean {
    const sent = wire.ask(address, as);
    if (sent) sentMs = [...recent(nowMs), nowMs];
    return sent;
  }

  function recent(nowMs: number): readonly number[] {
    return sentMs.filter((atMs) => nowMs - atMs < WINDOW_MS);
  }

  return {
    ask(address, reserve = 0) {
      const nowMs = clock.now();
      if (recent(nowMs).length + reserve >= MOST_QUESTIONS) return "later";
      return send(address, "node", nowMs) ? "sent" : "failed";
    },
    probe: (address, as) => send(address, as, clock.now()),
  };
}
