/**
 * Third hosts: an answer of one of them shows that our own link works, and so that a silence is not ours. They are asked only while the holder is suspected:
 * every candidate would otherwise send an echo to every peer twenty times in a second, all day.
 */
import type { IpAddress } from "../net.ts";
import type { Asks } from "./arp-budget.ts";
import type { Witness } from "./evidence.ts";
import { isRecent } from "./proof-rules.ts";
import type { Wire } from "./wire.ts";

interface Entry {
  readonly address: IpAddress;
  /** From the candidate's annotation. */
  readonly given: string | undefined;
  /** Heard on this link, which is better: an annotation may be of a card that has been replaced. */
  heard: string | undefined;
  /** The sequence of the turn in which everybody was last asked for it. */
  askedIn: number | undefined;
}

export interface Witnesses {
  readonly size: number;
  set(witnesses: readonly Witness[]): void;
  has(address: string): boolean;
  /** "`address` is at `mac`": noted. True when it was asked for in the turn of this sequence or the one before. */
  owner(address: string, mac: string, sequence: number): boolean;
  /** An echo to each whose MAC is known and in none of `not`; a question to everybody for one of the others. `answered`: one did, in the last turn. */
  ask(turn: { readonly sequence: number; readonly not: readonly string[]; readonly answered: boolean; readonly reserve: number }): void;
  /** The next in turn. */
  next(): IpAddress | undefined;
}

export function createWitnesses(wire: Wire, asks: Asks, identifier: number): Witnesses {
  let entries: readonly Entry[] = [];
  let at = 0;

  function rotate(from: readonly Entry[]): Entry | undefined {
    at = (at + 1) % 0x1_0000;
    return from[at % Math.max(1, from.length)];
  }

  return {
    get size() {
      return entries.length;
    },
    set(witnesses) {
      const known = new Map(entries.map((entry) => [entry.address.text, entry]));
      entries = witnesses.map(({ address, mac }) => {
        const before = known.get(address.text);
        return { address, given: mac, heard: before?.heard, askedIn: before?.askedIn };
      });
    },
    has: (address) => entries.some((entry) => entry.address.text === address),
    owner(address, mac, sequence) {
      const entry = entries.find((each) => each.address.text === address);
      if (entry === undefined) return false;
      entry.heard = mac;
      return entry.askedIn !== undefined && isRecent(sequence, entry.askedIn);
    },
    ask({ sequence, not, answered, reserve }) {
      const usable = entries.filter(({ heard, given }) => !not.includes(heard ?? given ?? ""));
      for (const { address, heard, given } of usable) {
        const mac = heard ?? given;
        if (mac !== undefined) wire.echo(address, mac, identifier, sequence);
      }
      // Those that were silent may drop echoes, or have moved to another card.
      const unclear = answered ? usable.filter(({ heard, given }) => (heard ?? given) === undefined) : usable;
      const asked = rotate(unclear);
      if (asked !== undefined && asks.ask(asked.address, reserve) === "sent") asked.askedIn = sequence;
    },
    next: () => rotate(entries)?.address,
  };
}
