/**
 * "Who has ...?", not too often. Switches with ARP inspection count what a port sends and shut the port at 15 in a second, by default: a node that asks too
 * eagerly would cut itself off. Five leave room for the kernel's own questions and for the announcements of a new holder.
 */
import type { Clock } from "../clock.ts";
import type { IpAddress } from "../net.ts";
import type { Wire } from "./wire.ts";

const MOST = 5;
const WINDOW_MS = 1_000;

/** `later`: it would be too many. `failed`: it could not be sent, see {@link Wire.ask}. */
export type Asked = "sent" | "later" | "failed";

export interface Asks {
  /** `reserve`: leave room for so many more. */
  ask(address: IpAddress, reserve?: number): Asked;
  /** An RFC 5227 probe is three questions by itself and comes once: it is never put off, but others are for its sake. */
  probe(address: IpAddress): boolean;
}

export function createAsks(clock: Clock, wire: Wire): Asks {
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
      if (recent(nowMs).length + reserve >= MOST) return "later";
      return send(address, "node", nowMs) ? "sent" : "failed";
    },
    probe: (address) => send(address, "probe", clock.now()),
  };
}
