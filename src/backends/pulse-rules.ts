/**
 * When a machine that answers no echo any more is to be looked at, and when it is gone: pure. `pulse.ts` sends, listens and asks; here is decided.
 *
 * What must not happen is a verdict on a machine that lives, because of us: our process was stopped, our link is cut, we were late to listen, a
 * firewall drops echoes. Hence: nothing counts against a machine but a turn in which another one answered; a machine has to have answered
 * steadily before; and TCP has the last word.
 */

/** One echo to each machine, each turn. Two in a row unanswered, so a dead one is suspected 200 to 300 ms after its end; two more are sent while TCP is waited for. */
export const TURN_MS = 100;
const MOST_MISSES = 2;
/** A timer that comes this much late means that our process, or the whole machine with its queues, stood still: the turn proves nothing. */
const LATE_MS = 300;
/**
 * A machine counts once it has answered twenty times; a miss takes four answers back, so one whose echoes are lost more often than one time in five
 * never does. From suspicion on it has to start again.
 */
const CALIBRATED = 20;
const MISS_COSTS = 4;
/** Turns in a row without any answer from anybody after which it was us: links, neighbours and switches take a while to come back. */
const BLIND_TURNS = 3;
/** Echoes this many turns old still show that somebody lives. */
const RECENT_TURNS = 8;

export type PeerState =
  /** `lost`: it was found gone, and has not answered since. */
  | { readonly kind: "calibrating"; readonly score: number; readonly lost: boolean }
  | { readonly kind: "watched"; readonly score: number; readonly misses: number }
  /** Being asked by TCP. `heard`: it has answered after all. `witnessed`: another one has, since. */
  | { readonly kind: "suspected"; readonly since: number; readonly heard: boolean; readonly witnessed: boolean };

export interface PulseState {
  /** When the last echoes were sent. */
  readonly turnMs: number;
  /** Theirs; 16 bits. */
  readonly sequence: number;
  /** Turns in a row in which nobody answered. */
  readonly blind: number;
  /** By address. */
  readonly peers: ReadonlyMap<string, PeerState>;
}

export interface Answer {
  readonly address: string;
  readonly sequence: number;
}

/** What came in since the last turn. */
export interface Heard {
  readonly nowMs: number;
  readonly answers: readonly Answer[];
  /** Whom the last echo could not be sent to, for reasons of our own. */
  readonly unsent: ReadonlySet<string>;
  /** More came than was read: an answer may be among the rest. */
  readonly overrun: boolean;
}

export interface Turn {
  readonly state: PulseState;
  /** To be asked by TCP, now. */
  readonly suspects: readonly string[];
  /** Found gone once, and there again. */
  readonly returned: readonly string[];
}

export type Verdict = "gone" | "alive" | "unknown";

const unknownPeer: PeerState & { readonly kind: "calibrating" } = { kind: "calibrating", score: 0, lost: false };

export function initialPulse(nowMs: number): PulseState {
  return { turnMs: nowMs, sequence: 0, blind: 0, peers: new Map() };
}

/** Who stays keeps what is known of it. */
export function withPeers(state: PulseState, addresses: Iterable<string>): PulseState {
  return { ...state, peers: new Map([...addresses].map((address) => [address, state.peers.get(address) ?? unknownPeer])) };
}

/** Judges the last turn and begins the next: echoes with the new `sequence` are to be sent. */
export function turn(state: PulseState, heard: Heard): Turn {
  const alive = answeredWithin(state, heard.answers, RECENT_TURNS);
  const onTime = answeredWithin(state, heard.answers, 1);
  const provesNothing = heard.overrun || isLate(state, heard.nowMs);
  const blind = provesNothing || onTime.size > 0 ? 0 : state.blind + 1;
  const sequence = (state.sequence + 1) & 0xffff;
  const peers = new Map<string, PeerState>();
  for (const [address, peer] of state.peers) {
    const witnessed = onTime.size > (onTime.has(address) ? 1 : 0);
    const signs = { sequence, witnessed, alive: alive.has(address), onTime: onTime.has(address), unsent: heard.unsent.has(address) };
    peers.set(address, provesNothing ? restarted(peer, signs.alive) : judged(peer, signs));
  }
  const was = (address: string): PeerState => state.peers.get(address) ?? unknownPeer;
  const returned = [...peers.keys()].filter((address) => isLost(was(address)) && alive.has(address));
  if (blind >= BLIND_TURNS) for (const [address, peer] of peers) peers.set(address, { ...unknownPeer, lost: isLost(peer) });
  const suspects = [...peers].filter(([address, peer]) => peer.kind === "suspected" && was(address).kind !== "suspected").map(([address]) => address);
  return { state: { turnMs: heard.nowMs, sequence, blind, peers }, suspects, returned };
}

/**
 * What TCP found. `since`: the sequence when it was suspected. `answers`: those that came since the last turn, which will see them too.
 */
export function conclude(
  state: PulseState,
  suspect: { readonly address: string; readonly since: number },
  found: { readonly tcpAnswered: boolean; readonly nowMs: number; readonly answers: readonly Answer[] },
): { readonly state: PulseState; readonly verdict: Verdict } {
  const { address, since } = suspect;
  const peer = state.peers.get(address);
  // Our own pause has ended this suspicion, or it is in no list any more.
  if (peer?.kind !== "suspected" || peer.since !== since) return { state, verdict: "unknown" };
  const after = (next: PeerState): PulseState => ({ ...state, peers: new Map([...state.peers, [address, next]]) });
  const alive = answeredWithin(state, found.answers, RECENT_TURNS);
  if (found.tcpAnswered || peer.heard || alive.has(address)) return { state: after(unknownPeer), verdict: "alive" };
  const witnessed = peer.witnessed || answeredWithin(state, found.answers, 1).size > 0;
  if (!witnessed || isLate(state, found.nowMs)) return { state: after(restarted(peer, false)), verdict: "unknown" };
  return { state: after({ ...unknownPeer, lost: true }), verdict: "gone" };
}

/** Of the peers, those that answered one of the last `turns` echoes. */
function answeredWithin(state: PulseState, answers: readonly Answer[], turns: number): ReadonlySet<string> {
  const recent = answers.filter(({ sequence, address }) => ((state.sequence - sequence) & 0xffff) < turns && state.peers.has(address));
  return new Set(recent.map(({ address }) => address));
}

function isLate(state: PulseState, nowMs: number): boolean {
  return nowMs - state.turnMs > TURN_MS + LATE_MS;
}

function isLost(peer: PeerState): boolean {
  return peer.kind === "calibrating" && peer.lost;
}

/** The turn proves nothing, but for answers: those are true whenever they are read. */
function restarted(peer: PeerState, alive: boolean): PeerState {
  switch (peer.kind) {
    case "calibrating":
      return alive ? { ...peer, lost: false } : peer;
    case "watched":
      return { ...peer, misses: 0 };
    case "suspected":
      return { kind: "watched", score: CALIBRATED, misses: 0 };
  }
}

interface Signs {
  /** That of the echoes sent now. */
  readonly sequence: number;
  readonly onTime: boolean;
  readonly alive: boolean;
  readonly witnessed: boolean;
  readonly unsent: boolean;
}

function judged(peer: PeerState, signs: Signs): PeerState {
  switch (peer.kind) {
    case "calibrating": {
      if (!signs.alive) return signs.unsent ? peer : { ...peer, score: Math.max(0, peer.score - MISS_COSTS) };
      const score = signs.onTime ? peer.score + 1 : peer.score;
      return score >= CALIBRATED ? { kind: "watched", score: CALIBRATED, misses: 0 } : { ...peer, score, lost: false };
    }
    case "watched": {
      if (signs.onTime) return { ...peer, score: Math.min(CALIBRATED, peer.score + 1), misses: 0 };
      if (signs.alive) return { ...peer, misses: 0 };
      if (signs.unsent || !signs.witnessed) return peer;
      const misses = peer.misses + 1;
      if (misses >= MOST_MISSES) return { kind: "suspected", since: signs.sequence, heard: false, witnessed: false };
      const score = peer.score - MISS_COSTS;
      return score > 0 ? { kind: "watched", score, misses } : unknownPeer;
    }
    case "suspected":
      return { ...peer, heard: peer.heard || signs.alive, witnessed: peer.witnessed || signs.witnessed };
  }
}
