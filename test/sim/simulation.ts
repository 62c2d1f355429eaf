/** Runs one plan to its end, or to the first thing that must not happen. */
import { Coverage } from "./coverage.ts";
import type { Counts } from "./coverage.ts";
import { Health } from "./health.ts";
import { INVARIANTS } from "./invariants.ts";
import type { Checks } from "./invariants/common.ts";
import type { SimNode } from "./node.ts";
import { makePlan } from "./plan.ts";
import type { Plan, Profile } from "./plan.ts";
import type { Production } from "./production.ts";
import { Recorder } from "./recorder.ts";
import type { Fingerprint } from "./recorder.ts";
import { World } from "./world.ts";
import type { WorldHooks } from "./world.ts";

export interface Violation {
  /** Name of the invariant, or "crash". */
  readonly invariant: string;
  readonly detail: string;
  readonly atMs: number;
}

export interface RunResult {
  readonly plan: Plan;
  readonly violation: Violation | undefined;
  readonly trace: readonly string[];
  readonly events: number;
  /** True ms that were simulated. */
  readonly simulatedMs: number;
}

export function runSeed(seed: string, profile: Profile, production: Production): Promise<RunResult> {
  return runPlan(makePlan(seed, profile), production);
}

export async function runPlan(plan: Plan, production: Production): Promise<RunResult> {
  let violation: Violation | undefined;
  const violate = (invariant: string, detail: string | undefined): void => {
    if (detail === undefined || violation !== undefined) return;
    violation = { invariant, detail, atMs: world.scheduler.nowMs };
    world.say("VIOLATE", `${invariant}: ${detail}`);
  };
  const checks: [string, Checks][] = [];
  const world = new World(plan, production, {
    onWrite: (write) => {
      for (const [name, check] of checks) violate(name, check.write?.(write));
    },
    onProof: (node) => {
      health.look();
      for (const [name, check] of checks) violate(name, check.proof?.(node));
    },
    onAccident: () => health.look(),
    onBug: (text) => violate("processNeverExits", text),
  });
  const health = new Health(world);
  for (const [name, invariant] of Object.entries(INVARIANTS)) checks.push([name, invariant(world, health)]);
  const steps = checks.flatMap(([name, { step }]) => (step === undefined ? [] : [{ name, step }]));
  let bound: readonly SimNode[] = [];

  await world.scheduler.runUntil(plan.lengthMs, () => {
    for (const node of world.machines) node.agent?.process.settleStall();
    health.sample();
    bound = whoIsBound(world, bound);
    for (const { name, step } of steps) {
      const broken = step(bound);
      if (broken !== undefined) violate(name, broken);
    }
    for (const node of world.machines) node.touched = false;
    return violation === undefined;
  });
  if (violation === undefined) for (const [name, check] of checks) violate(name, check.end?.());
  return {
    plan,
    violation,
    trace: world.trace,
    events: world.scheduler.events,
    simulatedMs: world.scheduler.nowMs,
  };
}

/** Every machine that has the VIP bound now: `before` itself where nothing has changed since. */
function whoIsBound(world: World, before: readonly SimNode[]): readonly SimNode[] {
  let changed = false;
  for (const node of world.machines) {
    const now = node.kernel.bound;
    if (now === before.includes(node)) continue;
    changed = true;
    world.say(node.label, now ? "VIP is bound here" : "VIP is gone from here");
  }
  return changed ? world.machines.filter((node) => node.kernel.bound) : before;
}

/**
 * Plays the plan to its end and judges nothing: what comes of it depends on what the agents do, and neither
 * on the invariants nor on any wording.
 * @param onLine gets every record
 */
export async function fingerprintOf(
  plan: Plan,
  production: Production,
  onLine?: (line: string) => void,
): Promise<Fingerprint> {
  const recorder = new Recorder(onLine);
  await playUnjudged(plan, production, { recorder });
  return recorder.fingerprint();
}

/** What the election reached in that run; judges nothing. */
export async function coverageOf(plan: Plan, production: Production): Promise<Counts> {
  const coverage = new Coverage();
  await playUnjudged(plan, production, { coverage });
  return coverage.counts;
}

async function playUnjudged(
  plan: Plan,
  production: Production,
  hooks: Pick<WorldHooks, "recorder" | "coverage">,
): Promise<void> {
  const world = new World(plan, production, {
    onWrite: () => {},
    onProof: () => {},
    onBug: () => {},
    ...hooks,
  });
  await world.scheduler.runUntil(plan.lengthMs, () => {
    for (const node of world.machines) {
      node.agent?.process.settleStall();
      node.touched = false;
    }
    return true;
  });
}
