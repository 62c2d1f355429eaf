/**
 * The rules that decide when the silence of the VIP's holder proves that the holder is dead, cut off or
 * fenced. Pure: `sentinel.ts` sends and listens.
 *
 * A living holder must never be found dead because of a failure of this node: its process was stopped, its
 * link was cut, it was late to listen, or a firewall drops echoes. Three rules prevent it:
 *
 *   - The holder must have answered steadily before.
 *   - Every address of the VIP must be silent, both to echoes and to ARP (IPv6: neighbour solicitation),
 *     which no firewall filters.
 *   - No miss but the first counts unless a third host answered this node in the same turn.
 *
 * This is the course of a proof at 50 ms and three misses, for a holder that dies after it has answered the
 * echo before the one at 0 ms:
 *
 *      0 ms    an echo, which will be missed
 *      50 ms   first miss. From here on witnesses are asked each turn; in calm times they are left alone
 *      100 ms  second miss, if a witness has answered. ARP asks everybody, with the echo that may be the third
 *      150 ms  third miss, if a witness has answered. The question has stood for 50 ms: silent
 *
 * So the verdict comes 150 to 200 ms after the death. If ARP asked only after the third miss, it would come
 * 50 ms later.
 */

import { EARLY_MS } from "../clock.ts";
import {
  ageOfEcho,
  CALIBRATED,
  isBlindFor,
  isCalibrated,
  isLateTurn,
  isUsedUp,
  MISS_COSTS,
  nextSequence,
  scoreAfterAnswer,
  scoreAfterMiss,
  turnsSince,
} from "../echo-calibration.ts";

/**
 * The number of turns after which ARP replaces echoes if the holder is not calibrated yet. Echoes are then
 * filtered or rationed, as many firewalls do.
 */
const ECHO_TURNS = 60;
/** Milliseconds that a turn may be late and still count. */
const LATE_PROOF_TURN_MS = 150;
/** The shortest time, in milliseconds, after which an unanswered ARP question means something. */
const ASKED_MS = 50;
/**
 * The length of a turn by ARP, in milliseconds for each address. Together they ask four times a second, which
 * leaves one question for a witness of the five that `arp-budget.ts` allows.
 */
const ARP_TURN_MS = 250;
/** Milliseconds between two questions for an address that was found silent. */
const SILENT_ASK_MS = 1_000;
/**
 * Milliseconds between two echoes while ARP is in use. The time doubles with each return to echoes, up to the
 * second figure: where echoes are rationed, a single one is always answered.
 */
const ECHO_EVERY_MS = 10_000;
const ECHO_EVERY_MOST_MS = 600_000;

/** How many times longer a turn is where a false alarm costs connections. */
const SLOWER = 10;

/** Milliseconds between two echoes at that pace. `slow` is for nodes without the fast path. */
export function turnMs(intervalMs: number, pace: "fast" | "slow"): number {
  return pace === "fast" ? intervalMs : intervalMs * SLOWER;
}

/** How often the holder is asked, and how many misses prove its death. */
export interface ProofRules {
  /** The length of a turn by echoes, in milliseconds. */
  readonly intervalMs: number;
  /** The misses in a row that it takes, on every address. */
  readonly misses: number;
}

/** What is known of one address of the VIP. */
interface AddressProof {
  /** 0 to {@link CALIBRATED}. */
  readonly score: number;
  /** The misses in a row. */
  readonly misses: number;
  /**
   * When everybody was asked for the address. It is null if that was not done since the address last
   * answered.
   */
  readonly askedMs: number | null;
}

interface Course {
  readonly by: "icmp" | "arp";
  /** When this turn began, and its echoes, if any, were sent. */
  readonly turnMs: number;
  /** The sequence number of this turn's echoes, 16 bits. */
  readonly sequence: number;
  readonly targets: readonly AddressProof[];
  /** Milliseconds between two echoes while ARP is in use. */
  readonly echoEveryMs: number;
  /** When the next echo is due while ARP is in use. */
  readonly echoDueMs: number;
}

/** What is known of the VIP's holder in one term. */
export type ProofState = Course &
  /**
   * The holder has not answered for long enough. `blind`: it is being learnt again because nobody at all
   * answered.
   */
  (
    | { readonly kind: "calibrating"; readonly turns: number; readonly blind: boolean }
    /**
     * The holder answers steadily, and its silence counts. `blind` is the number of turns in a row in which
     * nobody at all answered. `witnessed`: a third host has answered since the first of the misses.
     */
    | { readonly kind: "watching"; readonly blind: number; readonly witnessed: boolean }
    /** The holder was found dead. */
    | { readonly kind: "silent" }
  );

/** What one address has shown since the turn began. Only answers from the holder's MAC address count. */
export interface AddressSigns {
  /** The echo that was answered: this turn's (`now`) or an earlier one (`lately`), see {@link ageOf}. */
  readonly echo: "now" | "lately" | null;
  /** The holder said by ARP that the address is at its MAC address. */
  readonly owner: boolean;
  /** This turn's echo could not be sent, for a reason of this node's own. */
  readonly unsent: boolean;
  /** This turn's question could not be sent, for a reason of this node's own. */
  readonly unasked: boolean;
}

/** All that a turn has shown. */
export interface TurnSigns {
  readonly nowMs: number;
  readonly targets: readonly AddressSigns[];
  /** A third host answered what it was asked in this turn or the one before. */
  readonly witnessed: boolean;
  /** Frames were lost, and an answer may be among them. */
  readonly overrun: boolean;
  /** A recent proof was wrong, so no other one is believed. */
  readonly backingOff: boolean;
}

/** What to do in the next turn. */
export interface ProofTurn {
  readonly state: ProofState;
  /** Send an echo to every address, with the sequence number of `state`. */
  readonly echo: boolean;
  /** Ask everybody for the addresses with these indexes. */
  readonly ask: readonly number[];
  /** The holder has missed an answer: ask the witnesses. */
  readonly suspicious: boolean;
  readonly found: "silent" | "answering" | null;
}

const unknownAddress: AddressProof = { score: 0, misses: 0, askedMs: null };
const nothing: readonly number[] = [];

/**
 * Answers the state of a holder of which nothing is known. @param addresses is the number of the VIP's
 * addresses
 */
export function initialProof(nowMs: number, addresses: number): ProofState {
  const targets = Array.from({ length: addresses }, () => unknownAddress);
  const course = { turnMs: nowMs, sequence: 0, targets, echoEveryMs: ECHO_EVERY_MS, echoDueMs: 0 };
  return { kind: "calibrating", by: "icmp", ...course, turns: 0, blind: false };
}

/**
 * True when a witness's word is of this turn or the one before. That this node's link worked earlier does not
 * matter.
 */
export function isRecent(now: number, then: number): boolean {
  return turnsSince(now, then) <= 1;
}

/** Says how an echo reply with this sequence number counts. It does not count where the answer is null. */
export function ageOf(state: ProofState, sequence: number): "now" | "lately" | null {
  return ageOfEcho(state.sequence, sequence);
}

/** True when this turn can be judged. */
export function isDue(state: ProofState, nowMs: number, rules: ProofRules): boolean {
  return nowMs - state.turnMs >= turnLength(state, rules) - earlyMs(rules);
}

/**
 * True when the machine has missed nothing lately: its kernel has every address. Another term of that same
 * machine changes nothing of what is known of its answers.
 */
export function answersNow({ kind, targets }: ProofState): boolean {
  return kind !== "silent" && targets.every(({ misses }) => misses === 0);
}

/** Answers the misses in a row that every address has. */
export function missedOf({ targets }: Pick<ProofState, "targets">): number {
  return targets.reduce((least, { misses }) => Math.min(least, misses), targets[0]?.misses ?? 0);
}

/**
 * True when nobody at all answered when it last mattered: this node's link is cut, or there is no witness.
 */
export function isBlind(state: ProofState): boolean {
  switch (state.kind) {
    case "calibrating":
      return state.blind;
    case "watching":
      return state.blind > 0;
    case "silent":
      return false;
  }
}

/** Judges this turn and begins the next one. */
export function judgeTurn(before: ProofState, signs: TurnSigns, rules: ProofRules): ProofTurn {
  const state = withoutUnasked(before, signs.targets);
  switch (state.kind) {
    case "calibrating":
      return begin(calibrate(state, signs, rules), signs.nowMs, rules);
    case "watching": {
      const after = watch(state, signs, rules);
      return begin(after, signs.nowMs, rules, after.kind === "silent" ? "silent" : null);
    }
    case "silent": {
      const answered = signs.targets.some(isAlive);
      const after = answered ? recalibrating({ ...state, by: "icmp" }) : state;
      return begin(after, signs.nowMs, rules, answered ? "answering" : null);
    }
  }
}

/**
 * Answers the milliseconds by which a turn may be judged too soon: after a late turn the next one is that
 * short.
 */
function earlyMs({ intervalMs }: ProofRules): number {
  return Math.min(EARLY_MS, intervalMs / 5);
}

function turnLength(state: ProofState, { intervalMs }: ProofRules): number {
  if (state.by === "icmp" || state.kind === "silent") return intervalMs;
  return Math.max(intervalMs, ARP_TURN_MS * state.targets.length);
}

function withoutUnasked(state: ProofState, signs: readonly AddressSigns[]): ProofState {
  if (!signs.some(({ unasked }) => unasked)) return state;
  const isUnasked = (index: number): boolean => signs[index]?.unasked === true;
  const targets = state.targets.map((target, index) =>
    isUnasked(index) ? { ...target, askedMs: null } : target,
  );
  return { ...state, targets };
}

type Calibrating = ProofState & { readonly kind: "calibrating" };
type Watching = ProofState & { readonly kind: "watching" };

function calibrate(state: Calibrating, signs: TurnSigns, rules: ProofRules): ProofState {
  const targets = judgedTargets(state, signs, rules, { counts: true });
  const after = { ...state, targets, turns: state.turns + 1 };
  if (targets.every(({ score }) => isCalibrated(score))) {
    return { ...courseOf(after), kind: "watching", blind: 0, witnessed: false };
  }
  if (state.by === "icmp") return after.turns < ECHO_TURNS ? after : recalibrating(byArp(after, signs.nowMs));
  return signs.targets.every(({ echo }) => echo !== null) ? recalibrating(byIcmp(after)) : after;
}

/** What a turn has shown of a holder that is watched. */
interface Findings {
  readonly before: Watching;
  readonly signs: TurnSigns;
  readonly rules: ProofRules;
  /** The turn was late or frames were lost. */
  readonly provesNothing: boolean;
  /** An address has answered, by whatever means. */
  readonly alive: boolean;
  /** A third host has answered. */
  readonly witnessed: boolean;
  /** The state after the turn, unless a row of {@link WATCH} leads to another. */
  readonly after: Watching;
}

/** The first row whose condition holds gives the state after the turn. */
interface WatchRow {
  readonly when: (findings: Findings) => boolean;
  readonly next: (findings: Findings) => ProofState;
}

const WATCH: readonly WatchRow[] = [
  { when: echoesAreDropped, next: ({ after, signs }) => byArp(after, signs.nowMs) },
  { when: echoesAreBack, next: ({ after }) => byIcmp(after) },
  {
    when: ({ after }) => isBlindFor(after.blind),
    next: ({ after }) => ({ ...recalibrating(after), blind: true }),
  },
  {
    when: (findings) => isProven(findings) && findings.signs.backingOff,
    next: ({ after }) => recalibrating(after),
  },
  { when: isProven, next: ({ after }) => ({ ...courseOf(after), kind: "silent" }) },
  { when: hasLostItsScore, next: ({ after }) => recalibrating(after) },
];

function watch(before: Watching, signs: TurnSigns, rules: ProofRules): ProofState {
  const findings = findingsOf(before, signs, rules);
  return WATCH.find(({ when }) => when(findings))?.next(findings) ?? findings.after;
}

function findingsOf(before: Watching, signs: TurnSigns, rules: ProofRules): Findings {
  const provesNothing = signs.overrun || isLate(before, signs.nowMs, rules);
  const alive = signs.targets.some(isAlive);
  // A witness that answers no echoes can be asked by ARP only once a second, so by ARP one answer lasts for
  // all misses.
  const witnessed = signs.witnessed || (before.by === "arp" && before.witnessed);
  // An address that answers shows as well that this node's link works.
  const targets = judgedTargets(before, signs, rules, { counts: witnessed || alive });
  const silent = !provesNothing && !alive && !witnessed;
  const everyEchoUnsent = signs.targets.every((_, index) => isUnsent(before, signs, index));
  const blind = silent && (missedOf(before) > 0 || everyEchoUnsent) ? before.blind + 1 : 0;
  const stillWitnessed = missedOf({ targets }) > 0 && (before.witnessed || signs.witnessed);
  const after: Watching = { ...before, targets, blind, witnessed: stillWitnessed };
  return { before, signs, rules, provesNothing, alive, witnessed, after };
}

/** The holder answers ARP and no echo: a firewall drops echoes now. */
function echoesAreDropped({ before, signs, rules, provesNothing, alive }: Findings): boolean {
  if (before.by !== "icmp" || !alive || provesNothing || missedOf(before) < askAfter(rules)) return false;
  return signs.targets.every(({ echo }) => echo === null);
}

/** An echo that was tried while ARP is in use was answered for every address. */
function echoesAreBack({ before, signs }: Findings): boolean {
  return before.by === "arp" && signs.targets.every(({ echo }) => echo !== null);
}

/** The holder is dead, cut off or fenced: it answers nothing, and a third host answers. */
function isProven(findings: Findings): boolean {
  return isUnanswering(findings) && findings.witnessed;
}

/** Every address has missed enough answers, and an ARP question for it has stood for long enough. */
function isUnanswering({ signs, rules, after }: Findings): boolean {
  const longEnoughMs = Math.max(ASKED_MS, rules.intervalMs) - earlyMs(rules);
  return after.targets.every(
    ({ misses, askedMs }) =>
      misses >= rules.misses && askedMs !== null && signs.nowMs - askedMs >= longEnoughMs,
  );
}

/**
 * The holder misses too often. Once the misses are enough, only the ARP question or the witness is waited
 * for.
 */
function hasLostItsScore({ rules, after }: Findings): boolean {
  return missedOf(after) < rules.misses && after.targets.some(({ score }) => isUsedUp(score));
}

function judgedTargets(
  state: Calibrating | Watching,
  signs: TurnSigns,
  rules: ProofRules,
  what: { readonly counts: boolean },
): readonly AddressProof[] {
  const provesNothing = signs.overrun || isLate(state, signs.nowMs, rules);
  // The cost is limited so that a steady holder can be found silent, however many misses the rules ask for.
  const cost = Math.min(MISS_COSTS, Math.floor(CALIBRATED / rules.misses));
  return state.targets.map((target, index) => {
    const sign = signs.targets[index];
    if (sign === undefined) return target;
    const onTime = state.by === "icmp" ? sign.echo === "now" : sign.owner && target.askedMs !== null;
    if (onTime) return { score: scoreAfterAnswer(target.score), misses: 0, askedMs: null };
    if (isAlive(sign) || provesNothing) return { ...target, misses: 0, askedMs: null };
    if (isUnsent(state, signs, index) || !(what.counts || target.misses === 0)) return target;
    return { ...target, score: scoreAfterMiss(target.score, cost), misses: target.misses + 1 };
  });
}

function isAlive({ echo, owner }: AddressSigns): boolean {
  return echo !== null || owner;
}

function isUnsent(state: ProofState, signs: TurnSigns, index: number): boolean {
  return state.by === "icmp" ? signs.targets[index]?.unsent === true : state.targets[index]?.askedMs === null;
}

function isLate(state: ProofState, nowMs: number, rules: ProofRules): boolean {
  const lengthMs = turnLength(state, rules);
  return isLateTurn({ startedMs: state.turnMs, nowMs, lengthMs, toleranceMs: LATE_PROOF_TURN_MS });
}

function courseOf({ by, turnMs, sequence, targets, echoEveryMs, echoDueMs }: ProofState): Course {
  return { by, turnMs, sequence, targets, echoEveryMs, echoDueMs };
}

/** Answers the state in which the holder is learnt again, by the same means. */
function recalibrating(state: ProofState): Calibrating {
  const targets = state.targets.map(() => unknownAddress);
  const blind = state.kind === "calibrating" && state.blind;
  return { ...courseOf(state), targets, kind: "calibrating", turns: 0, blind };
}

/** ARP takes over what is known from echoes, because the same kernel answers both. */
function byArp(state: ProofState, nowMs: number): ProofState {
  return {
    ...state,
    by: "arp",
    targets: state.targets.map(withoutMisses),
    echoDueMs: nowMs + state.echoEveryMs,
  };
}

/** Echoes take over what is known from ARP. */
function byIcmp(state: ProofState): ProofState {
  const echoEveryMs = Math.min(ECHO_EVERY_MOST_MS, state.echoEveryMs * 2);
  return { ...state, by: "icmp", targets: state.targets.map(withoutMisses), echoEveryMs };
}

function withoutMisses(target: AddressProof): AddressProof {
  return { ...target, misses: 0, askedMs: null };
}

/** Answers the number of misses after which ARP asks everybody, see the course of a proof above. */
function askAfter({ misses }: ProofRules): number {
  return Math.max(1, misses - 1);
}

function begin(
  state: ProofState,
  nowMs: number,
  rules: ProofRules,
  found: ProofTurn["found"] = null,
): ProofTurn {
  const suspicious = state.kind === "watching" && missedOf(state) > 0;
  const tryEcho = state.by === "arp" && nowMs >= state.echoDueMs;
  const echo = state.by === "icmp" || state.kind === "silent" || suspicious || tryEcho;
  const ask = askedNow(state, nowMs, rules);
  const targets = state.targets.map((target, index) =>
    ask.includes(index) ? { ...target, askedMs: nowMs } : target,
  );
  const echoDueMs = tryEcho ? nowMs + state.echoEveryMs : state.echoDueMs;
  const next = { turnMs: nowMs, sequence: nextSequence(state.sequence), targets, echoDueMs };
  return { state: { ...state, ...next }, echo, ask, suspicious, found };
}

function askedNow(state: ProofState, nowMs: number, rules: ProofRules): readonly number[] {
  const all = (which: (target: AddressProof) => boolean): readonly number[] =>
    state.targets.flatMap((target, index) => (which(target) ? [index] : []));
  if (state.kind === "silent")
    return all(({ askedMs }) => askedMs === null || nowMs - askedMs >= SILENT_ASK_MS);
  if (state.by === "arp") return all(() => true);
  if (state.kind === "calibrating" || missedOf(state) < askAfter(rules)) return nothing;
  return all(({ askedMs }) => askedMs === null);
}
