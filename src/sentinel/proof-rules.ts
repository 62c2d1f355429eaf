/**
 * When the silence of the VIP's holder is proof that it is dead, cut off or fenced: pure. `sentinel.ts` sends and listens; here is decided.
 *
 * What must not happen is a verdict on a holder that lives, because of us: our process was stopped, our link is cut, we were late to listen, a firewall drops
 * echoes. Hence: it must have answered steadily before; every address of the VIP must be silent, to echoes and to ARP (IPv6: neighbour solicitation), which no
 * firewall filters; and no miss but the first counts unless a third host answered us in the same turn.
 *
 * At 50 ms and three misses, for a holder that dies after it has answered the echo before the one at 0 ms:
 *
 *     0 ms    an echo, which will be missed
 *     50 ms   first miss. Witnesses are asked from here on, each turn: in calm times they are left alone
 *     100 ms  second miss, if a witness has answered. ARP asks everybody, together with the echo that may become the third
 *     150 ms  third miss, if a witness has answered; the question has stood for 50 ms: silent
 *
 * So the verdict comes 150 to 200 ms after the death. With the question after the third miss it would be 50 ms more.
 */

import { EARLY_MS } from "../clock.ts";

/** A proof needs this many answers of every address in this tenure; a miss takes four back, so where one in five is lost there never is one. */
const CALIBRATED = 20;
const MISS_COSTS = 4;
/** Not calibrated after this many turns: echoes are filtered or rationed, as many firewalls do. ARP is tried. */
const ECHO_TURNS = 60;
/** Turns in a row without an answer from anybody, after which it was us: links, neighbours and switches take a while to come back. */
const BLIND_TURNS = 3;
/** Echoes this many turns old still show that somebody lives. */
const RECENT_TURNS = 8;
/** A timer that comes this much late means that our process, or the whole machine with its queues, stood still: the turn proves nothing. */
const LATE_MS = 150;
/** The shortest time that an unanswered ARP question means something. */
const ASKED_MS = 50;
/** For each address, by ARP: 4/s in all leave 1/s for a witness, of the 5/s that `arp-budget.ts` allows. */
const ARP_TURN_MS = 250;
const SILENT_ASK_MS = 1_000;
/** By ARP, an echo is tried now and then. Twice as seldom after each return to echoes: where they are rationed, a single one is always answered. */
const ECHO_EVERY_MS = 10_000;
const ECHO_EVERY_MOST_MS = 600_000;

export interface ProofRules {
  readonly intervalMs: number;
  /** In a row, on every address. */
  readonly misses: number;
}

/** One address of the VIP. */
export interface Target {
  readonly score: number;
  /** In a row. */
  readonly misses: number;
  /** When everybody was asked for it; null: not since it last answered. */
  readonly askedMs: number | null;
}

interface Course {
  readonly by: "icmp" | "arp";
  /** When this turn began, and the echoes of it, if any, were sent. */
  readonly turnMs: number;
  /** Of these echoes; 16 bits. */
  readonly sequence: number;
  readonly targets: readonly Target[];
  readonly echoEveryMs: number;
  /** By ARP: when the next echo is tried. */
  readonly echoDueMs: number;
}

export type ProofState = Course &
  (
    /** `blind`: learnt anew because nobody at all answered. */
    | { readonly kind: "calibrating"; readonly turns: number; readonly blind: boolean }
    /** `blind`: turns in a row in which nobody at all answered. `witnessed`: somebody has, since the first of the misses. */
    | { readonly kind: "watching"; readonly blind: number; readonly witnessed: boolean }
    | { readonly kind: "silent" }
  );

/** Of one address, since the turn began. Answers of the holder's MAC only. */
export interface SeenTarget {
  /** `now`: to this turn's echo, `lately`: to an earlier one; see {@link ageOf}. */
  readonly echo: "now" | "lately" | null;
  /** "This address is at my MAC". */
  readonly owner: boolean;
  /** This turn's echo, or question, could not be sent for reasons of our own. */
  readonly unsent: boolean;
  readonly unasked: boolean;
}

export interface Seen {
  readonly nowMs: number;
  readonly targets: readonly SeenTarget[];
  /** A third host answered what it was asked in this turn or the one before. */
  readonly witnessed: boolean;
  /** Frames were lost: an answer may be among them. */
  readonly overrun: boolean;
  /** A proof of ours was wrong lately: another one is not believed. */
  readonly backingOff: boolean;
}

/** What to do next: `echo` to every address, with the sequence of `state`; `ask` everybody for these (by index); ask witnesses when `suspicious`. */
export interface Turn {
  readonly state: ProofState;
  readonly echo: boolean;
  readonly ask: readonly number[];
  readonly suspicious: boolean;
  readonly found: "silent" | "answering" | null;
}

const unknownTarget: Target = { score: 0, misses: 0, askedMs: null };
const nothing: readonly number[] = [];

/** Of a tenure of which nothing is known. */
export function initialProof(nowMs: number, addresses: number): ProofState {
  const targets = Array.from({ length: addresses }, () => unknownTarget);
  return { kind: "calibrating", by: "icmp", turnMs: nowMs, sequence: 0, targets, turns: 0, blind: false, echoEveryMs: ECHO_EVERY_MS, echoDueMs: 0 };
}

/** From the turn of one sequence to that of another; they are 16 bits wide. */
function turnsSince(now: number, then: number): number {
  return (now - then) & 0xffff;
}

/** A witness's word is of this turn or the one before: that our link worked earlier does not matter. */
export function isRecent(now: number, then: number): boolean {
  return turnsSince(now, then) <= 1;
}

/** How an echo reply with this sequence is to be taken; null: not at all. */
export function ageOf(state: ProofState, sequence: number): "now" | "lately" | null {
  const turns = turnsSince(state.sequence, sequence);
  if (turns === 0) return "now";
  return turns < RECENT_TURNS ? "lately" : null;
}

/** Whether this turn can be judged. */
export function isDue(state: ProofState, nowMs: number, rules: ProofRules): boolean {
  return nowMs - state.turnMs >= turnLength(state, rules) - earlyMs(rules);
}

/** Of every address, in a row. */
export function missedOf({ targets }: ProofState): number {
  return targets.reduce((least, { misses }) => Math.min(least, misses), targets[0]?.misses ?? 0);
}

/** Nobody at all answers, or did when it last mattered: our link is cut, or there is no witness. */
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

/** Judges this turn and begins the next. */
export function turn(before: ProofState, seen: Seen, rules: ProofRules): Turn {
  const state = withoutUnasked(before, seen.targets);
  switch (state.kind) {
    case "calibrating":
      return begin(calibrate(state, seen, rules), seen.nowMs, rules);
    case "watching": {
      const after = watch(state, seen, rules);
      return begin(after, seen.nowMs, rules, after.kind === "silent" ? "silent" : null);
    }
    case "silent": {
      const answered = seen.targets.some(lives);
      return begin(answered ? anew({ ...state, by: "icmp" }) : state, seen.nowMs, rules, answered ? "answering" : null);
    }
  }
}

/** After a late turn the next one comes this much too soon. */
function earlyMs({ intervalMs }: ProofRules): number {
  return Math.min(EARLY_MS, intervalMs / 5);
}

function turnLength(state: ProofState, { intervalMs }: ProofRules): number {
  return state.by === "icmp" || state.kind === "silent" ? intervalMs : Math.max(intervalMs, ARP_TURN_MS * state.targets.length);
}

function withoutUnasked(state: ProofState, seen: readonly SeenTarget[]): ProofState {
  if (!seen.some(({ unasked }) => unasked)) return state;
  return { ...state, targets: state.targets.map((target, index) => (seen[index]?.unasked === true ? { ...target, askedMs: null } : target)) };
}

type Calibrating = ProofState & { readonly kind: "calibrating" };
type Watching = ProofState & { readonly kind: "watching" };

function calibrate(state: Calibrating, seen: Seen, rules: ProofRules): ProofState {
  const targets = judgedTargets(state, seen, rules, { counts: true });
  const after = { ...state, targets, turns: state.turns + 1 };
  if (targets.every(({ score }) => score >= CALIBRATED)) return { ...courseOf(after), kind: "watching", blind: 0, witnessed: false };
  if (state.by === "icmp") return after.turns < ECHO_TURNS ? after : anew(byArp(after, seen.nowMs));
  return seen.targets.every(({ echo }) => echo !== null) ? anew(byIcmp(after)) : after;
}

function watch(state: Watching, seen: Seen, rules: ProofRules): ProofState {
  const provesNothing = seen.overrun || isLate(state, seen.nowMs, rules);
  const alive = seen.targets.some(lives);
  // By ARP a witness can be asked but once a second if it answers no echoes: there, one answer lasts for all misses.
  const witnessed = seen.witnessed || (state.by === "arp" && state.witnessed);
  // One address that answers shows as well that our link works.
  const targets = judgedTargets(state, seen, rules, { counts: witnessed || alive });
  const missed = missedOf({ ...state, targets });
  const unanswered = !provesNothing && !alive && !witnessed && (missedOf(state) > 0 || seen.targets.every((_, index) => isUnsent(state, seen, index)));
  const blind = unanswered ? state.blind + 1 : 0;
  const after: ProofState = { ...state, targets, blind, witnessed: missed > 0 && (state.witnessed || seen.witnessed) };
  const echoed = seen.targets.filter(({ echo }) => echo !== null).length;
  if (state.by === "icmp" && alive && echoed === 0 && missedOf(state) >= askAfter(rules) && !provesNothing) return byArp(after, seen.nowMs);
  if (state.by === "arp" && echoed === seen.targets.length) return byIcmp(after);
  if (blind >= BLIND_TURNS) return { ...anew(after), blind: true };
  const stood = Math.max(ASKED_MS, rules.intervalMs) - earlyMs(rules);
  const unanswering = targets.every(({ misses, askedMs }) => misses >= rules.misses && askedMs !== null && seen.nowMs - askedMs >= stood);
  if (unanswering && witnessed) return seen.backingOff ? anew(after) : { ...courseOf(after), kind: "silent" };
  // Once the misses are enough, only the question or the witness is waited for.
  return missed < rules.misses && targets.some(({ score }) => score <= 0) ? anew(after) : after;
}

function judgedTargets(state: Calibrating | Watching, seen: Seen, rules: ProofRules, what: { readonly counts: boolean }): readonly Target[] {
  const provesNothing = seen.overrun || isLate(state, seen.nowMs, rules);
  // However many misses are asked for: a steady holder can be found silent.
  const cost = Math.min(MISS_COSTS, Math.floor(CALIBRATED / rules.misses));
  return state.targets.map((target, index) => {
    const sign = seen.targets[index];
    if (sign === undefined) return target;
    const onTime = state.by === "icmp" ? sign.echo === "now" : sign.owner && target.askedMs !== null;
    if (onTime) return { score: Math.min(CALIBRATED, target.score + 1), misses: 0, askedMs: null };
    if (lives(sign) || provesNothing) return { ...target, misses: 0, askedMs: null };
    if (isUnsent(state, seen, index) || !(what.counts || target.misses === 0)) return target;
    return { ...target, score: Math.max(0, target.score - cost), misses: target.misses + 1 };
  });
}

function lives({ echo, owner }: SeenTarget): boolean {
  return echo !== null || owner;
}

function isUnsent(state: ProofState, seen: Seen, index: number): boolean {
  return state.by === "icmp" ? seen.targets[index]?.unsent === true : state.targets[index]?.askedMs === null;
}

function isLate(state: ProofState, nowMs: number, rules: ProofRules): boolean {
  return nowMs - state.turnMs > turnLength(state, rules) + LATE_MS;
}

function courseOf({ by, turnMs, sequence, targets, echoEveryMs, echoDueMs }: ProofState): Course {
  return { by, turnMs, sequence, targets, echoEveryMs, echoDueMs };
}

/** To be learnt once more, by the same means. */
function anew(state: ProofState): Calibrating {
  return { ...courseOf(state), targets: state.targets.map(() => unknownTarget), kind: "calibrating", turns: 0, blind: state.kind === "calibrating" && state.blind };
}

/** The other means takes over what is known: the answers were the same kernel's. */
function byArp(state: ProofState, nowMs: number): ProofState {
  return { ...state, by: "arp", targets: state.targets.map(restarted), echoDueMs: nowMs + state.echoEveryMs };
}

function byIcmp(state: ProofState): ProofState {
  return { ...state, by: "icmp", targets: state.targets.map(restarted), echoEveryMs: Math.min(ECHO_EVERY_MOST_MS, state.echoEveryMs * 2) };
}

function restarted(target: Target): Target {
  return { ...target, misses: 0, askedMs: null };
}

/** After so many misses everybody is asked; see above. */
function askAfter({ misses }: ProofRules): number {
  return Math.max(1, misses - 1);
}

function begin(state: ProofState, nowMs: number, rules: ProofRules, found: Turn["found"] = null): Turn {
  const suspicious = state.kind === "watching" && missedOf(state) > 0;
  const tryEcho = state.by === "arp" && nowMs >= state.echoDueMs;
  const echo = state.by === "icmp" || state.kind === "silent" || suspicious || tryEcho;
  const ask = askedNow(state, nowMs, rules);
  const targets = ask.length === 0 ? state.targets : state.targets.map((target, index) => (ask.includes(index) ? { ...target, askedMs: nowMs } : target));
  const next = { turnMs: nowMs, sequence: (state.sequence + 1) & 0xffff, targets, echoDueMs: tryEcho ? nowMs + state.echoEveryMs : state.echoDueMs };
  return { state: { ...state, ...next }, echo, ask, suspicious, found };
}

function askedNow(state: ProofState, nowMs: number, rules: ProofRules): readonly number[] {
  const all = (which: (target: Target) => boolean): readonly number[] => state.targets.flatMap((target, index) => (which(target) ? [index] : []));
  if (state.kind === "silent") return all(({ askedMs }) => askedMs === null || nowMs - askedMs >= SILENT_ASK_MS);
  if (state.by === "arp") return all(() => true);
  if (state.kind === "calibrating" || missedOf(state) < askAfter(rules)) return nothing;
  return all(({ askedMs }) => askedMs === null);
}
