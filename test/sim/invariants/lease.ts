/** What may be written into the Lease, by whom, and when. */
import { INSTANCE, OFFER } from "../../../src/kube/record.ts";
import type { SimNode } from "../node.ts";
import { REWRITES } from "../plan.ts";
import { RENEW_DEADLINE_MS } from "../world.ts";
import {
  boundNodes,
  forced,
  goesFirst,
  justResumed,
  LEFT_OVER_MS,
  newHolder,
  OVERLAP_MS,
  proofWindowMs,
  published,
  RESUMED_LEFT_OVER_MS,
  testsOf,
} from "./common.ts";
import type { Invariant } from "./common.ts";

/**
 * Invariant 1: holder by one's own write only, and that write names the record it replaces: by `test`s, by
 * resourceVersion, or by creating it.
 */
export const compareAndSwapDecides: Invariant = (world) => ({
  write(write) {
    const node = newHolder(world, write);
    if (node === undefined) return undefined;
    const { request, change, author } = write;
    // A webhook has put that name into what another node wrote.
    if (node.index !== author && world.plane.admission === REWRITES) return undefined;
    if (node.index !== author)
      return `${world.machines[author]?.label} wrote ${node.label} into holderIdentity`;
    if (request.method === "POST")
      return change.before === null ? undefined : "a Lease was created over another";
    if (request.method === "PUT") return undefined;
    // A webhook has put its name into what it wrote of itself as a candidate.
    if (request.contentType === "application/merge-patch+json" && world.plane.admission === REWRITES)
      return undefined;
    const tests = testsOf(request.body);
    const before = change.before;
    const named =
      before !== null &&
      (tests.get("/spec/holderIdentity") ?? "") === before.holder &&
      tests.get("/spec/renewTime") === before.renewTime &&
      tests.get("/spec/acquireTime") === before.acquireTime &&
      tests.get("/spec/leaseTransitions") === before.leaseTransitions;
    return named ? undefined : `${node.name} claimed without naming the record it replaced`;
  },
});

/**
 * What a provisional holder that dies leaves to its kernel: the lifetime, and the kernel's second. By the
 * slowest clock.
 */
const HELD_MS = 4_000 / 0.95;

/**
 * A claim that nobody offered finds no other node with the VIP bound, in whatever segment: the fence of the
 * one before has run out. With proof of its death it finds none that the claimer had reached: whom it takes
 * for dead was out of its reach when it said so. The exceptions:
 * - that of atMostOneSecondInTwoPlaces: one that was killed or frozen after its offer, whose successor has
 *   had the Lease and released it; and a machine that
 *   has just gone on after a suspension;
 * - one that has the VIP provisionally, and lets it go when it hears the claimer announce it, or reads of the
 *   claim: there is no gap on the wire then. How long the two
 *   may have it is atMostOneSecondInTwoPlaces' to say. One that has died since: its kernel's seconds;
 * - one that has offered the Lease within the last second. Its successor may have released it meanwhile, or may
 *   write it again because a person has deleted it;
 * - a holder that had let the VIP go, was found silent, and has bound it again beside the claimer, which had it first;
 * - one that was out of the reach of its successor, and died before it could hear of that: its kernel's seconds,
 *   whoever claims after that successor.
 */
export const claimsOnlyWhatIsFree: Invariant = (world, health) => {
  const offeredMs = new Map<string, number>();
  /** By claimer: whom it could not reach when it found the holder silent. */
  const outOfReach = new Map<SimNode, ReadonlySet<SimNode>>();
  /** When each was last replaced by a node that could not reach it. */
  const replacedMs = new Map<SimNode, number>();
  /** Since when each has the VIP. */
  const boundMs = new Map<SimNode, number>();
  return {
    step(bound) {
      for (const node of boundMs.keys()) if (!bound.includes(node)) boundMs.delete(node);
      for (const node of bound) if (!boundMs.has(node)) boundMs.set(node, world.scheduler.nowMs);
      return undefined;
    },
    proof(node) {
      const windowMs = proofWindowMs(world);
      const { nowMs } = world.scheduler;
      outOfReach.set(
        node,
        new Set(
          world.machines.filter(
            (other) => Math.max(health.cutMs(node.index, other.index), health.lossMs) > nowMs - windowMs,
          ),
        ),
      );
      return undefined;
    },
    write(write) {
      const { before, after } = write.change;
      const nowMs = world.scheduler.nowMs;
      if (after?.annotations[OFFER] !== undefined) offeredMs.set(after.holder, nowMs);
      const node = newHolder(world, write);
      if (node === undefined || forced(world) || before?.annotations[OFFER] === node.name) return undefined;
      const leftOver = (other: SimNode): boolean =>
        justResumed(world, other) ||
        (other.agent?.process.running !== true &&
          nowMs - (offeredMs.get(other.name) ?? Number.NEGATIVE_INFINITY) < LEFT_OVER_MS) ||
        (other.agent?.process.running !== true &&
          nowMs - (replacedMs.get(other) ?? Number.NEGATIVE_INFINITY) < RESUMED_LEFT_OVER_MS) ||
        health.provisionalMs(other) > nowMs - HELD_MS ||
        nowMs - (offeredMs.get(other.name) ?? Number.NEGATIVE_INFINITY) < OVERLAP_MS ||
        (boundMs.get(other) ?? nowMs) > (boundMs.get(node) ?? nowMs) ||
        outOfReach.get(node)?.has(other) === true;
      const replaced = world.holderOf(before);
      if (replaced !== undefined && outOfReach.get(node)?.has(replaced) === true)
        replacedMs.set(replaced, nowMs);
      const others = boundNodes(world).filter((other) => other !== node && !leftOver(other));
      return others.length === 0
        ? undefined
        : `${node.label} claimed while ${others.map((other) => other.label).join(", ")} still had the VIP`;
    },
  };
};

/**
 * Invariant 7, and "move only to a better node": a holder that is not stopping gives the Lease away only
 * where another could serve.
 */
export const keepsTheVipWhenNobodyIsBetter: Invariant = (world, health) => {
  const lastEligible = new Map<SimNode, number>();
  return {
    write({ author, change, sentMs }) {
      const nowMs = world.scheduler.nowMs;
      for (const other of world.nodes)
        if (published(change.before, other.name)?.eligible === true) lastEligible.set(other, nowMs);
      const node = world.machines[author];
      if (
        node === undefined ||
        !change.changed ||
        world.holderOf(change.before) !== node ||
        change.after?.holder !== ""
      )
        return undefined;
      if (node.agent === undefined || node.agent.stopping || sentMs < node.clock.bootMs(node.agent.startedMs))
        return undefined;
      // What one that stood still, or that no API server answered, knows of the others is from before that.
      const informedMs = Math.max(
        health.usableSince(node) ?? Number.POSITIVE_INFINITY,
        health.awakeSince(node) ?? Number.POSITIVE_INFINITY,
      );
      if (sentMs < node.clock.bootMs(informedMs)) return undefined;
      // Every node stands by for other software then, so none is eligible.
      if (goesFirst(world)) return undefined;
      // What it knows of the others may be some seconds old.
      const able = world.nodes.some(
        (other) =>
          other !== node && nowMs - (lastEligible.get(other) ?? Number.NEGATIVE_INFINITY) < RENEW_DEADLINE_MS,
      );
      return able ? undefined : `${node.name} released the Lease with nobody to take it`;
    },
  };
};

/**
 * A release finds the address gone already, and an agent that has exited leaves none. One exception: a
 * release is carried out late, when its node has bound the VIP again without the Lease. Then that node gives
 * way to the next holder as to any other claim (`atMostOneSecondInTwoPlaces`). If its agent was killed
 * meanwhile, the kernel removes what it has left.
 */
export const releasesLeaveNoAddress: Invariant = (world) => {
  /** By machine, when it bound the VIP without the Lease, in true ms; NaN: it did not, or has unbound it. */
  const boundMs = new Float64Array(world.machines.length).fill(Number.NaN);
  const had = world.machines.map(() => false);
  return {
    write({ author, change, sentMs }) {
      const node = world.machines[author];
      if (
        node === undefined ||
        !change.changed ||
        world.holderOf(change.before) !== node ||
        change.after?.holder !== ""
      )
        return undefined;
      // Copies of one release go to further servers until its time-out, RENEW_DEADLINE_MS after the first.
      const late = sentMs < node.clock.bootMs(boundMs[author] ?? Number.NaN) + RENEW_DEADLINE_MS;
      return node.kernel.bound && !late
        ? `${node.name} released the Lease with the VIP still bound`
        : undefined;
    },
    step() {
      for (const node of world.machines) {
        const { index, kernel } = node;
        if (!kernel.bound) boundMs[index] = Number.NaN;
        else if (had[index] === false && node.provisional !== "") boundMs[index] = world.scheduler.nowMs;
        had[index] = kernel.bound;
      }
      const left = world.nodes.find((node) => node.exited && node.agent === undefined && node.kernel.bound);
      return left === undefined ? undefined : `${left.name} has exited and left the VIP bound`;
    },
  };
};

/**
 * Whoever still holds the Lease in the tenure that its request names can renew it, whatever candidates and
 * people write beside it.
 */
export const candidatesNeverBreakRenewals: Invariant = (world) => ({
  write({ author, change, request, response }) {
    const node = world.machines[author];
    const before = change.before;
    if (node === undefined || before === null || world.holderOf(before) !== node) return undefined;
    if (response.status !== 422 && response.status !== 409) return undefined;
    if (request.method !== "PATCH") return undefined;
    const tests = testsOf(request.body);
    // Claims name the renewTime as well: adopting one's own Lease may meet one's own late renewal.
    if (
      tests.has("/spec/renewTime") ||
      [...tests.keys()].some((path) => path.startsWith("/metadata/annotations"))
    )
      return undefined;
    const named =
      tests.get("/spec/holderIdentity") === before.holder &&
      tests.get("/spec/acquireTime") === before.acquireTime &&
      tests.get("/spec/leaseTransitions") === before.leaseTransitions;
    return named
      ? `${node.name}'s renewal was refused (${response.status}) though nobody had touched its tenure`
      : undefined;
  },
});

/**
 * How long a holder must have been well before it counts as healthy: whatever ailed it may have been seen,
 * and acted on, that long after.
 */
const HEALTHY_MS = 15_000;

/**
 * `nopreempt`: a healthy holder keeps the Lease unless somebody moves it. Without: only a candidate of higher
 * published priority takes it.
 */
export const healthyHoldersStay: Invariant = (world, health) => {
  /**
   * When a candidate's published priority last changed: an offer may answer what it said before (or what a
   * late copy of its words said).
   */
  const republished = new Map<string, number>();
  return {
    write(write) {
      for (const { name } of write.change.changed ? world.nodes : []) {
        const [was, is] = [published(write.change.before, name), published(write.change.after, name)];
        if (was?.effective !== is?.effective) republished.set(name, world.scheduler.nowMs);
      }
      const successor = newHolder(world, write);
      const before = write.change.before;
      const node = world.holderOf(before);
      if (successor === undefined || node === undefined || forced(world)) return undefined;
      // A person has put its name there, without its instance: it does not hold the Lease.
      if (before?.annotations[INSTANCE] !== node.settings.instance && !node.confirmed) return undefined;
      const nowMs = world.scheduler.nowMs;
      const goodSince = health.goodSince(node);
      if (
        !node.eligible ||
        goodSince === undefined ||
        nowMs - goodSince < HEALTHY_MS ||
        nowMs - world.disturbedUntilMs < HEALTHY_MS
      )
        return undefined;
      // Well by the API, but not on the wire: whoever does not hear it takes it for dead.
      if (Math.max(health.cutMs(node.index, successor.index), health.lossMs) > nowMs - HEALTHY_MS)
        return undefined;
      if (nowMs - world.movedAtMs < HEALTHY_MS || world.moveTo === successor.name) return undefined;
      const taker = published(before, successor.name);
      const holder = published(before, node.name);
      if (world.plan.nopreempt)
        return `${successor.name} took the VIP from ${node.name}, which was healthy for ${((nowMs - goodSince) / 1_000).toFixed(0)} s (nopreempt)`;
      if (nowMs - (republished.get(successor.name) ?? Number.NEGATIVE_INFINITY) < 2_000) return undefined;
      if (taker === undefined || holder === undefined || nowMs - health.priorityChangedMs < HEALTHY_MS)
        return undefined;
      // The holder knows its own priority before the Lease says so.
      return taker.effective > Math.min(holder.effective, node.facts.effective)
        ? undefined
        : `${successor.name} (${taker.effective}) preempted ${node.name} (${holder.effective})`;
    },
  };
};
