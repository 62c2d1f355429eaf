/**
 * The witnesses are third hosts. An answer from one of them shows that this node's own link works, so the
 * holder's silence is not this node's fault. They are asked only while the holder is suspected. Otherwise
 * every candidate would send an echo to every peer twenty times a second, all day.
 */
import type { IpAddress } from "../net.ts";
import type { ArpBudget } from "./arp-budget.ts";
import type { Witness } from "./evidence.ts";
import { isRecent } from "./proof-rules.ts";
import type { Wire } from "./wire.ts";

interface KnownWitness {
  readonly address: IpAddress;
  /** The MAC address in the candidate's annotation. */
  readonly given: string | undefined;
  /**
   * The MAC address heard on this link. It is better than the annotation, which may be of a replaced network
   * card.
   */
  heard: string | undefined;
  /** The sequence number of the turn in which everybody was last asked for it. */
  askedIn: number | undefined;
}

/** The third hosts of this link. */
export interface Witnesses {
  readonly size: number;
  set(witnesses: readonly Witness[]): void;
  /** Answers their addresses, and the MAC addresses that their annotations name. */
  known(): { readonly addresses: readonly IpAddress[]; readonly macs: readonly string[] };
  has(address: string): boolean;
  /**
   * Notes that `address` is at `mac`. True when it was asked for in the turn of `sequence` or the one before.
   */
  owner(address: string, mac: string, sequence: number): boolean;
  /**
   * Sends an echo to each witness whose MAC address is known and not in `not`, and asks everybody for one of
   * the others. `answered`: a witness answered in the last turn. `reserve` is the number of ARP questions to
   * leave room for.
   */
  ask(turn: {
    readonly sequence: number;
    readonly not: readonly string[];
    readonly answered: boolean;
    readonly reserve: number;
  }): void;
}

export function createWitnesses(wire: Wire, arp: ArpBudget, identifier: number): Witnesses {
  let entries: readonly KnownWitness[] = [];
  let at = 0;

  function rotate(from: readonly KnownWitness[]): KnownWitness | undefined {
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
    // A MAC address that was heard is whatever machine sent that frame.
    known: () => ({
      addresses: entries.map(({ address }) => address),
      macs: entries.flatMap(({ given }) => given ?? []),
    }),
    has: (address) => entries.some((entry) => entry.address.text === address),
    owner(address, mac, sequence) {
      const entry = entries.find((each) => each.address.text === address);
      if (entry === undefined) return false;
      entry.heard = mac;
      return entry.askedIn !== undefined && isRecent(sequence, entry.askedIn);
    },
    ask({ sequence, not, answered, reserve }) {
      const usable = entries.filter(({ heard, given }) => !not.includes(given ?? heard ?? ""));
      for (const { address, heard, given } of usable) {
        // Any machine can say that the address is at its own MAC address, and then not answer.
        for (const mac of new Set([heard, given]))
          if (mac !== undefined && !not.includes(mac)) wire.echo(address, mac, identifier, sequence);
      }
      // A silent witness may drop echoes, or may have another network card now.
      const unclear = answered ? usable.filter(({ heard, given }) => (heard ?? given) === undefined) : usable;
      const asked = rotate(unclear);
      if (asked !== undefined && arp.ask(asked.address, reserve) === "sent") asked.askedIn = sequence;
    },
  };
}
