/** What the invariants share: their shape, the bounds that they grant, and questions to the world. */
import { parseCandidate } from "../../../src/kube/record-codec.ts";
import { CANDIDATE_PREFIX } from "../../../src/kube/record.ts";
import type { Candidate, LeaseRecord } from "../../../src/kube/record.ts";
import type { Write } from "../control-plane.ts";
import type { Health } from "../health.ts";
import { LIFETIME_SECONDS } from "../node.ts";
import type { SimNode } from "../node.ts";
import type { World } from "../world.ts";

type Verdict = string | undefined;

/** A check answers with what is wrong, or undefined. */
export interface Checks {
  /** @param bound every machine that has the VIP bound, namesakes included */
  readonly step?: (bound: readonly SimNode[]) => Verdict;
  readonly write?: (write: Write) => Verdict;
  /** That node has just taken the holder for dead. */
  readonly proof?: (node: SimNode) => Verdict;
  readonly end?: () => Verdict;
}

export type Invariant = (world: World, health: Health) => Checks;

/**
 * A person who writes a name into the Lease, or rewinds etcd, overrules the fence: for as long as one takes
 * to run out, nothing is promised.
 */
export const FORCED_MS = 12_000;
/** Two nodes may answer for the VIP this long, in one segment. */
export const OVERLAP_MS = 1_000;
/**
 * The wire is asked when the Lease has run out, after a random second; again 2 s later where another one
 * asked at that moment.
 */
export const ASK_MS = 5_000;
/**
 * What the address of an agent that dies with an offer out lasts, from the offer on, in true time: the
 * shortest lifetime and the kernel's second.
 */
export const LEFT_OVER_MS = 2_000 / 0.95;
const RESUMED_MS = 500 / 0.95 + 10;
export const RESUMED_LEFT_OVER_MS = ((LIFETIME_SECONDS + 1) * 1_000) / 0.95;
/** A call asks the next API server after so long, by the slowest clock. */
export const PASSED_OVER_MS = 500 / 0.95;
/** Slack for timers that fire late by what ran before them. */
export const TIMER_SLACK_MS = 10;

export function forced(world: World): boolean {
  return world.scheduler.nowMs - world.forcedAtMs < FORCED_MS;
}

/** A drain of the socket, the netlink report, and the annotation of the machine that has the VIP. */
export const GIVEN_BACK_MS = 400;

/** Other software has the VIP, or had it a moment ago, and the agents are to give way to it. */
export function goesFirst({ plan, segment, scheduler }: World): boolean {
  if (plan.takeOver !== true) return false;
  return segment.foreignHostClaims || scheduler.nowMs - segment.foreignEndedMs < GIVEN_BACK_MS;
}

/** Namesakes included. */
export function boundNodes(world: World): readonly SimNode[] {
  return world.machines.filter((node) => node.kernel.bound);
}

interface Parsed {
  readonly text: string;
  readonly candidate: Candidate | undefined;
}

/**
 * By node, what its annotation said in the last two records that somebody asked about: those before and after
 * a write.
 */
const parsed = new Map<string, readonly [Parsed | undefined, Parsed | undefined]>();

export function published(record: LeaseRecord | null, node: string): Candidate | undefined {
  const text = record?.annotations[`${CANDIDATE_PREFIX}${node}`];
  if (text === undefined) return undefined;
  const [latest, other] = parsed.get(node) ?? [undefined, undefined];
  if (latest?.text === text) return latest.candidate;
  if (other?.text === text) return other.candidate;
  const candidate = parseCandidate(node, text);
  parsed.set(node, [{ text, candidate }, latest]);
  return candidate;
}

/**
 * A machine that was suspended goes on with its address bound, its timers with what was left of them: a
 * running agent sees the time that has passed at its next timer (a refresh comes every 500 ms, by its own
 * clock), and a dead or frozen one leaves it to the kernel, which counts none of that time (3 s and its
 * second).
 */
export function justResumed(world: World, node: SimNode): boolean {
  // An agent that was started since lets what it found be until it has asked.
  const same = node.agent !== undefined && node.agent.startedMs < node.clock.resumedMs;
  return (
    world.scheduler.nowMs - node.clock.resumedMs < (awake(node) && same ? RESUMED_MS : RESUMED_LEFT_OVER_MS)
  );
}

/** How long a turn of the sentinel takes, by the slowest clock; ten times as long without the fast path. */
export function turnMs(world: World): number {
  const { fastPath, probeMs } = world.plan;
  return Math.max(100, probeMs * (fastPath ? 1 : 10)) / 0.95;
}

/**
 * Whom a proof is about was silent within this time: the turn in which it last did not answer, and what
 * sampling and late timers add.
 */
export function proofWindowMs(world: World): number {
  return turnMs(world) + 300;
}

/** Its agent runs, and has worked off what came due while it was frozen. */
export function awake(node: SimNode): boolean {
  const process = node.agent?.process;
  return process?.running === true && !process.catchingUp;
}

/** These faults keep nobody from serving where no node is better. */
export const LIGHT = new Set(["balancer", "unstable"]);

/**
 * Its agent sends frames on the VIP's link that nobody asked for. One that has never read the Lease knows no
 * neighbour to ask, and does not ask for the VIP while a fault keeps it from serving.
 */
export function speaks(node: SimNode): boolean {
  if (node.agent?.process.running !== true) return false;
  return node.status()?.holder !== null || node.facts.faults.every((fault) => LIGHT.has(fault));
}

/** The node that a write makes holder in another's place; undefined when it is no such write. */
export function newHolder(world: World, { author, change }: Write): SimNode | undefined {
  if (!change.changed || author < 0) return undefined;
  const holder = world.holderOf(change.after);
  return holder === world.holderOf(change.before) ? undefined : holder;
}

/** Values by path of a JSON Patch's `test` operations. */
export function testsOf(body: unknown): ReadonlyMap<string, unknown> {
  const tests = new Map<string, unknown>();
  for (const operation of Array.isArray(body) ? body : []) {
    const { op, path, value }: { op?: unknown; path?: unknown; value?: unknown } = operation;
    if (op === "test" && typeof path === "string") tests.set(path, value);
  }
  return tests;
}
