/** What may be written into the Lease, by whom, and when. */
import { OFFER } from "../../../src/kube/record.ts";
import type { SimNode } from "../node.ts";
import { RENEW_DEADLINE_MS } from "../world.ts";
import { boundNodes, forced, LEFT_OVER_MS, newHolder, published, testsOf } from "./common.ts";
import type { Invariant } from "./common.ts";

/** Invariant 1: holder by one's own write only, and that write names the record it replaces: by `test`s, by resourceVersion, or by creating it. */
export const compareAndSwapDecides: Invariant = (world) => ({
  write(write) {
    const node = newHolder(world, write);
    if (node === undefined) return undefined;
    const { request, change, author } = write;
    if (node.index !== author) return `n${author + 1} wrote ${node.name} into holderIdentity`;
    if (request.method === "POST") return change.before === null ? undefined : "a Lease was created over another";
    if (request.method === "PUT") return undefined;
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
 * A claim that nobody offered finds no other node with the VIP bound, in whatever segment: the fence of the one before has run out. The exception is
 * that of atMostOneSecondInTwoPlaces: one that was killed or frozen after its offer, whose successor has had the Lease and released it.
 */
export const claimsOnlyWhatIsFree: Invariant = (world) => {
  const offeredMs = new Map<string, number>();
  return {
    write(write) {
      const { before, after } = write.change;
      const nowMs = world.scheduler.nowMs;
      if (after?.annotations[OFFER] !== undefined) offeredMs.set(after.holder, nowMs);
      const node = newHolder(world, write);
      if (node === undefined || forced(world) || before?.annotations[OFFER] === node.name) return undefined;
      const leftOver = (other: SimNode): boolean =>
        other.agent?.process.running !== true && nowMs - (offeredMs.get(other.name) ?? Number.NEGATIVE_INFINITY) < LEFT_OVER_MS;
      const others = boundNodes(world).filter((other) => other !== node && !leftOver(other));
      return others.length === 0 ? undefined : `${node.name} claimed while ${others.map((other) => other.name).join(", ")} still had the VIP`;
    },
  };
};

/** Invariant 7, and "move only to a better node": a holder that is not stopping gives the Lease away only where another could serve. */
export const keepsTheVipWhenNobodyIsBetter: Invariant = (world) => {
  const lastEligible = new Map<SimNode, number>();
  return {
    write({ author, change, sentMs }) {
      const nowMs = world.scheduler.nowMs;
      for (const other of world.nodes) if (published(change.before, other.name)?.eligible === true) lastEligible.set(other, nowMs);
      const node = world.nodes[author];
      if (node === undefined || !change.changed || change.before?.holder !== node.name || change.after?.holder !== "") return undefined;
      if (node.agent === undefined || node.agent.stopping || sentMs < node.clock.bootMs(node.agent.startedMs)) return undefined;
      // What it knows of the others may be some seconds old.
      const able = world.nodes.some((other) => other !== node && nowMs - (lastEligible.get(other) ?? Number.NEGATIVE_INFINITY) < RENEW_DEADLINE_MS);
      return able ? undefined : `${node.name} released the Lease with nobody to take it`;
    },
  };
};

/** A release finds the address gone already, and an agent that has exited leaves none. */
export const releasesLeaveNoAddress: Invariant = (world) => ({
  write({ author, change }) {
    const node = world.nodes[author];
    if (node === undefined || !change.changed || change.before?.holder !== node.name || change.after?.holder !== "") return undefined;
    return node.kernel.bound ? `${node.name} released the Lease with the VIP still bound` : undefined;
  },
  step() {
    const left = world.nodes.find((node) => node.exited && node.agent === undefined && node.kernel.bound);
    return left === undefined ? undefined : `${left.name} has exited and left the VIP bound`;
  },
});

/** Whoever still holds the Lease in the tenure that its request names can renew it, whatever candidates and people write beside it. */
export const candidatesNeverBreakRenewals: Invariant = (world) => ({
  write({ author, change, request, response }) {
    const node = world.nodes[author];
    const before = change.before;
    if (node === undefined || before === null || before.holder !== node.name) return undefined;
    if (response.status !== 422 && response.status !== 409) return undefined;
    if (request.method !== "PATCH") return undefined;
    const tests = testsOf(request.body);
    // Claims name the renewTime as well: adopting one's own Lease may meet one's own late renewal.
    if (tests.has("/spec/renewTime") || [...tests.keys()].some((path) => path.startsWith("/metadata/annotations"))) return undefined;
    const named =
      tests.get("/spec/holderIdentity") === before.holder &&
      tests.get("/spec/acquireTime") === before.acquireTime &&
      tests.get("/spec/leaseTransitions") === before.leaseTransitions;
    return named ? `${node.name}'s renewal was refused (${response.status}) though nobody had touched its tenure` : undefined;
  },
});

/** How long a holder must have been well before it counts as healthy: whatever ailed it may have been seen, and acted on, that long after. */
const HEALTHY_MS = 15_000;

/** `nopreempt`: a healthy holder keeps the Lease unless somebody moves it. Without: only a candidate of higher published priority takes it. */
export const healthyHoldersStay: Invariant = (world, health) => {
  /** When a candidate's published priority last changed: an offer may answer what it said before (or what a late copy of its words said). */
  const republished = new Map<string, number>();
  return {
    write(write) {
      for (const { name } of write.change.changed ? world.nodes : []) {
        const [was, is] = [published(write.change.before, name), published(write.change.after, name)];
        if (was?.effective !== is?.effective) republished.set(name, world.scheduler.nowMs);
      }
      const successor = newHolder(world, write);
      const before = write.change.before;
      const node = world.nodes.find((one) => one.name === before?.holder);
      if (successor === undefined || node === undefined || forced(world)) return undefined;
      const nowMs = world.scheduler.nowMs;
      const goodSince = health.goodSince(node);
      if (!node.eligible || goodSince === undefined || nowMs - goodSince < HEALTHY_MS || nowMs - world.disturbedUntilMs < HEALTHY_MS) return undefined;
      if (nowMs - world.movedAtMs < HEALTHY_MS || world.moveTo === successor.name) return undefined;
      const taker = published(before, successor.name);
      const holder = published(before, node.name);
      if (world.plan.nopreempt) return `${successor.name} took the VIP from ${node.name}, which was healthy for ${((nowMs - goodSince) / 1_000).toFixed(0)} s (nopreempt)`;
      if (nowMs - (republished.get(successor.name) ?? Number.NEGATIVE_INFINITY) < 2_000) return undefined;
      if (taker === undefined || holder === undefined || nowMs - health.priorityChangedMs < HEALTHY_MS) return undefined;
      // The holder knows its own priority before the Lease says so.
      return taker.effective > Math.min(holder.effective, node.facts.effective) ? undefined : `${successor.name} (${taker.effective}) preempted ${node.name} (${holder.effective})`;
    },
  };
};
