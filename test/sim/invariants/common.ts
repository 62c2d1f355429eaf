/** What the invariants share: their shape, the bounds that they grant, and questions to the world. */
import { parseCandidate } from "../../../src/kube/record-codec.ts";
import { CANDIDATE_PREFIX } from "../../../src/kube/record.ts";
import type { Candidate, LeaseRecord } from "../../../src/kube/record.ts";
import type { Write } from "../control-plane.ts";
import type { Health } from "../health.ts";
import type { SimNode } from "../node.ts";
import type { World } from "../world.ts";

type Verdict = string | undefined;

/** A check answers with what is wrong, or undefined. */
export interface Checks {
  readonly step?: () => Verdict;
  readonly write?: (write: Write) => Verdict;
  readonly end?: () => Verdict;
}

export type Invariant = (world: World, health: Health) => Checks;

/** A person who writes a name into the Lease, or rewinds etcd, overrules the fence: for as long as one takes to run out, nothing is promised. */
const FORCED_MS = 12_000;
/** What the address of an agent that dies with an offer out lasts, from the offer on, in true time: the shortest lifetime and the kernel's second. */
export const LEFT_OVER_MS = 2_000 / 0.95;
/** Slack for timers that fire late by what ran before them. */
export const TIMER_SLACK_MS = 10;

export function forced(world: World): boolean {
  return world.scheduler.nowMs - world.forcedAtMs < FORCED_MS;
}

export function boundNodes(world: World): readonly SimNode[] {
  return world.nodes.filter((node) => node.kernel.bound);
}

export function published(record: LeaseRecord | null, node: string): Candidate | undefined {
  const text = record?.annotations[`${CANDIDATE_PREFIX}${node}`];
  return text === undefined ? undefined : parseCandidate(node, text);
}

/** The node that a write makes holder in another's place; undefined when it is no such write. */
export function newHolder(world: World, { author, change }: Write): SimNode | undefined {
  const holder = change.after?.holder ?? "";
  if (!change.changed || author < 0 || holder === "" || holder === (change.before?.holder ?? "")) return undefined;
  return world.nodes.find((node) => node.name === holder);
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
