/**
 * Says whether anybody at all is on this link. A node that hears nobody, although it asks, must not believe
 * that the VIP is free. Its cable may end in a switch that still blocks the port (spanning tree: 30 s), or in
 * nothing.
 */
import type { IpAddress } from "../net.ts";
import type { Asked } from "./arp-budget.ts";

/** Milliseconds without a frame after which this node begins to ask, and between two questions. */
const QUIET_MS = 1_000;
/** Milliseconds without a frame, while this node asks, after which nobody is there. */
const DESERTED_MS = 3_000;
/** The unanswered questions that it takes as well as the time. Each known neighbour must be among those asked. */
const LEAST_ASKED = 2;

/** The presence of other hosts on the link. */
export interface LinkPresence {
  /** A frame came in. */
  heard(nowMs: number): void;
  /** Asks and decides; to be called often. @param provesNothing is true when frames were lost */
  tick(nowMs: number, provesNothing: boolean): void;
  /** Answers whether anybody is there, see {@link SentinelStatus.neighbours}. */
  state(): boolean | null;
}

export interface LinkPresenceDeps {
  readonly nowMs: number;
  /** Answers the neighbours that may be asked, which change with the holder. */
  readonly known: () => readonly IpAddress[];
  readonly ask: (neighbour: IpAddress) => Asked;
  readonly changed: (heard: boolean) => void;
}

export function createLinkPresence({ nowMs, ask, known, changed }: LinkPresenceDeps): LinkPresence {
  let state: boolean | null = null;
  /** When the time without any frame began. */
  let quietMs = nowMs;
  let asked = 0;
  let askedMs: number | undefined;
  /** When each neighbour was last asked. */
  let askedEachMs: ReadonlyMap<string, number> = new Map();
  let tickMs = nowMs;

  function restart(nowMs: number): void {
    quietMs = nowMs;
    asked = 0;
  }

  function lastAskedMs({ text }: IpAddress): number {
    return askedEachMs.get(text) ?? Number.NEGATIVE_INFINITY;
  }

  function isDeserted(nowMs: number): boolean {
    return (
      nowMs - quietMs >= DESERTED_MS &&
      asked >= LEAST_ASKED &&
      known().every((neighbour) => lastAskedMs(neighbour) >= quietMs)
    );
  }

  /** Asks for the neighbour that was not asked for the longest time. undefined: none is known. */
  function askNext(nowMs: number): Asked | undefined {
    const neighbours = known();
    const [first] = neighbours.toSorted((a, b) => lastAskedMs(a) - lastAskedMs(b));
    if (first === undefined) return undefined;
    const how = ask(first);
    if (how === "sent")
      askedEachMs = new Map(
        neighbours.map((one) => [one.text, one === first ? nowMs : lastAskedMs(one)] as const),
      );
    return how;
  }

  return {
    heard(nowMs) {
      restart(nowMs);
      if (state === true) return;
      state = true;
      changed(true);
    },
    tick(nowMs, provesNothing) {
      // After a pause of this process, frames that came meanwhile may have been lost.
      if (provesNothing || nowMs - tickMs >= QUIET_MS) restart(nowMs);
      tickMs = nowMs;
      if (state === true && isDeserted(nowMs)) {
        state = false;
        // The listener may stop the sentinel.
        changed(false);
        return;
      }
      if (state === true && nowMs - quietMs < QUIET_MS) return;
      if (askedMs !== undefined && nowMs - askedMs < QUIET_MS) return;
      const how = askNext(nowMs);
      if (how === undefined || how === "later") return;
      askedMs = nowMs;
      if (how === "sent") asked++;
      // A link that is down is reported by the interface check.
      else restart(nowMs);
    },
    state: () => state,
  };
}
