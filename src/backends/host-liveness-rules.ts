/**
 * The rules that decide when a machine that answers no echo any more is asked by TCP, and when it is gone.
 * Pure: `host-liveness.ts` sends, listens and asks.
 *
 * A living machine must never be found gone because of a failure of this node: its process was stopped, its
 * link was cut, it was late to listen, or a firewall drops echoes. So nothing counts against a machine but a
 * turn in which another machine answered, a machine must have answered steadily before, and TCP has the last
 * word.
 */
import {
  ageOfEcho,
  CALIBRATED,
  isBlindFor,
  isCalibrated,
  isLateTurn,
  isUsedUp,
  nextSequence,
  scoreAfterAnswer,
  scoreAfterMiss,
} from "../echo-calibration.ts";

/**
 * The length of a turn in milliseconds. Each turn sends one echo to each machine. With two misses in a row a
 * dead machine is suspected 200 to 300 ms after its end. Two more echoes are sent while TCP is waited for.
 */
export const TURN_MS = 100;
const MOST_MISSES = 2;
/** Milliseconds that a turn may be late and still count. */
const LATE_LIVENESS_TURN_MS = 300;

/** What is known of one machine. After a suspicion it has to be calibrated again. */
export type PeerState =
  /** `lost`: the machine was found gone and has not answered since. */
  | { readonly kind: "calibrating"; readonly score: number; readonly lost: boolean }
  | { readonly kind: "watched"; readonly score: number; readonly misses: number }
  /**
   * The machine is being asked by TCP. `since` is the sequence number of the turn that began the suspicion.
   * `heard`: it has answered an echo after all. `witnessed`: another machine has answered since.
   */
  | {
      readonly kind: "suspected";
      readonly since: number;
      readonly heard: boolean;
      readonly witnessed: boolean;
    };

/** What is known of all machines. */
export interface HostLivenessState {
  /** When the last echoes were sent. */
  readonly turnMs: number;
  /** The sequence number of the last echoes, 16 bits. */
  readonly sequence: number;
  /** The number of turns in a row in which nobody answered. */
  readonly blind: number;
  /** The machines by their address. */
  readonly peers: ReadonlyMap<string, PeerState>;
}

/** An echo reply. */
export interface EchoAnswer {
  readonly address: string;
  readonly sequence: number;
}

/** What came in since the last turn. */
export interface ReceivedEchoes {
  readonly nowMs: number;
  readonly answers: readonly EchoAnswer[];
  /** The addresses to which the last echo could not be sent, for a reason of this node's own. */
  readonly unsent: ReadonlySet<string>;
  /** More came than was read, and an answer may be among the rest. */
  readonly overrun: boolean;
}

/** What to do in the next turn. */
export interface LivenessTurn {
  readonly state: HostLivenessState;
  /** The addresses to ask by TCP now. */
  readonly suspects: readonly string[];
  /** The addresses that were found gone once and answer again. */
  readonly returned: readonly string[];
}

export type LivenessVerdict = "gone" | "alive" | "unknown";

const unknownPeer: PeerState & { readonly kind: "calibrating" } = {
  kind: "calibrating",
  score: 0,
  lost: false,
};

/** Answers the state without any machine. */
export function initialHostLiveness(nowMs: number): HostLivenessState {
  return { turnMs: nowMs, sequence: 0, blind: 0, peers: new Map() };
}

/** Answers the state with exactly these machines. What is known of a machine that stays is kept. */
export function withPeers(state: HostLivenessState, addresses: Iterable<string>): HostLivenessState {
  const peers = [...addresses].map((address) => [address, state.peers.get(address) ?? unknownPeer] as const);
  return { ...state, peers: new Map(peers) };
}

/** Judges the last turn and begins the next one, whose echoes carry the new `sequence`. */
export function judgeTurn(state: HostLivenessState, received: ReceivedEchoes): LivenessTurn {
  const { onTime, alive } = answering(state, received.answers);
  const provesNothing = received.overrun || isLate(state, received.nowMs);
  const blind = provesNothing || onTime.size > 0 ? 0 : state.blind + 1;
  const sequence = nextSequence(state.sequence);
  const peers = new Map<string, PeerState>();
  for (const [address, peer] of state.peers) {
    const signs: PeerSigns = {
      sequence,
      onTime: onTime.has(address),
      alive: alive.has(address),
      witnessed: onTime.size > (onTime.has(address) ? 1 : 0),
      unsent: received.unsent.has(address),
    };
    peers.set(address, provesNothing ? restarted(peer, signs.alive) : judged(peer, signs));
  }
  const was = (address: string): PeerState => state.peers.get(address) ?? unknownPeer;
  const returned = [...peers.keys()].filter((address) => isLost(was(address)) && alive.has(address));
  if (isBlindFor(blind)) {
    for (const [address, peer] of peers) peers.set(address, { ...unknownPeer, lost: isLost(peer) });
  }
  const suspects = [...peers]
    .filter(([address, peer]) => peer.kind === "suspected" && was(address).kind !== "suspected")
    .map(([address]) => address);
  return { state: { turnMs: received.nowMs, sequence, blind, peers }, suspects, returned };
}

/**
 * Concludes a suspicion with what TCP found.
 * @param suspect names the machine, and the sequence number of the turn that began the suspicion
 * @param found holds TCP's answer and the echo replies since the last turn; the next turn sees those replies
 * as well
 */
export function conclude(
  state: HostLivenessState,
  suspect: { readonly address: string; readonly since: number },
  found: { readonly tcpAnswered: boolean; readonly nowMs: number; readonly answers: readonly EchoAnswer[] },
): { readonly state: HostLivenessState; readonly verdict: LivenessVerdict } {
  const { address, since } = suspect;
  const peer = state.peers.get(address);
  // A pause of this process has ended the suspicion, or the machine is in no list any more.
  if (peer?.kind !== "suspected" || peer.since !== since) return { state, verdict: "unknown" };
  const after = (next: PeerState): HostLivenessState => {
    return { ...state, peers: new Map([...state.peers, [address, next]]) };
  };
  const { onTime, alive } = answering(state, found.answers);
  if (found.tcpAnswered || peer.heard || alive.has(address))
    return { state: after(unknownPeer), verdict: "alive" };
  const witnessed = peer.witnessed || onTime.size > 0;
  if (!witnessed || isLate(state, found.nowMs))
    return { state: after(restarted(peer, false)), verdict: "unknown" };
  return { state: after({ ...unknownPeer, lost: true }), verdict: "gone" };
}

/**
 * Answers the machines that answered the last echo (`onTime`), and those that answered a recent one
 * (`alive`).
 */
function answering(
  state: HostLivenessState,
  answers: readonly EchoAnswer[],
): { readonly onTime: ReadonlySet<string>; readonly alive: ReadonlySet<string> } {
  const onTime = new Set<string>();
  const alive = new Set<string>();
  for (const { sequence, address } of answers) {
    const age = ageOfEcho(state.sequence, sequence);
    if (age === null || !state.peers.has(address)) continue;
    alive.add(address);
    if (age === "now") onTime.add(address);
  }
  return { onTime, alive };
}

function isLate(state: HostLivenessState, nowMs: number): boolean {
  return isLateTurn({
    startedMs: state.turnMs,
    nowMs,
    lengthMs: TURN_MS,
    toleranceMs: LATE_LIVENESS_TURN_MS,
  });
}

function isLost(peer: PeerState): boolean {
  return peer.kind === "calibrating" && peer.lost;
}

/**
 * Answers the state after a turn that proves nothing. Only answers count, because they are true whenever they
 * are read.
 */
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

/** What a turn has shown of one machine. */
interface PeerSigns {
  /** The sequence number of the echoes that are sent now. */
  readonly sequence: number;
  readonly onTime: boolean;
  readonly alive: boolean;
  readonly witnessed: boolean;
  readonly unsent: boolean;
}

function judged(peer: PeerState, signs: PeerSigns): PeerState {
  switch (peer.kind) {
    case "calibrating": {
      if (!signs.alive) return signs.unsent ? peer : { ...peer, score: scoreAfterMiss(peer.score) };
      const score = signs.onTime ? scoreAfterAnswer(peer.score) : peer.score;
      return isCalibrated(score) ? { kind: "watched", score, misses: 0 } : { ...peer, score, lost: false };
    }
    case "watched": {
      if (signs.onTime) return { ...peer, score: scoreAfterAnswer(peer.score), misses: 0 };
      if (signs.alive) return { ...peer, misses: 0 };
      if (signs.unsent || !signs.witnessed) return peer;
      const misses = peer.misses + 1;
      if (misses >= MOST_MISSES)
        return { kind: "suspected", since: signs.sequence, heard: false, witnessed: false };
      const score = scoreAfterMiss(peer.score);
      return isUsedUp(score) ? unknownPeer : { kind: "watched", score, misses };
    }
    case "suspected":
      return { ...peer, heard: peer.heard || signs.alive, witnessed: peer.witnessed || signs.witnessed };
  }
}
