/** Where the VIP may be bound, and for how long: the right, the fence and the kernel. */
import { LINGER_MS } from "../../../src/election/master.ts";
import { OFFER } from "../../../src/kube/record.ts";
import { RENEW_DEADLINE_MS } from "../world.ts";
import { boundNodes, forced, LEFT_OVER_MS, newHolder, TIMER_SLACK_MS } from "./common.ts";
import type { Invariant } from "./common.ts";

/** Two nodes may answer for the VIP this long, in one segment. */
const OVERLAP_MS = 1_000;
/** What the kernel's whole seconds may add to the end of a right: rounding up, and being late. */
const KERNEL_MS = 2_000;

/**
 * Never two confirmed MASTERs: while the Lease names another, an agent that runs, believes to hold it, with its right not yet run out, and has not let the
 * VIP go, is one that is handing over and has not seen the answer yet (1 s).
 */
export const oneConfirmedMaster: Invariant = (world) => {
  let since: number | undefined;
  return {
    step() {
      const confirmed = world.nodes.filter((node) => node.confirmed && node.agent?.process.running === true && !node.agent.process.catchingUp);
      const nowMs = world.scheduler.nowMs;
      if (confirmed.length < 2 || forced(world)) since = undefined;
      else since ??= nowMs;
      if (since === undefined || nowMs - since <= OVERLAP_MS) return undefined;
      return `${confirmed.map((node) => node.name).join(" and ")} are confirmed MASTER for ${(nowMs - since).toFixed(0)} ms`;
    },
  };
};

/**
 * Two nodes have the VIP bound for at most 1 s at a time in one segment. One exception, and its bound: an old holder that is killed or frozen between
 * its offer and its successor's claim unbinds nothing any more; its kernel does so at most 2 s, by its clock, after the offer was sent (ADR 0007).
 */
export const atMostOneSecondInTwoPlaces: Invariant = (world) => {
  const since = new Map<string, number>();
  return {
    step() {
      const bound = boundNodes(world);
      if (bound.length < 2 || forced(world)) {
        since.clear();
        return undefined;
      }
      const nowMs = world.scheduler.nowMs;
      const present = new Set<string>();
      for (const a of bound) {
        for (const b of bound) {
          if (a.index >= b.index || !world.sameSegment(a, b)) continue;
          const pair = `${a.name} and ${b.name}`;
          present.add(pair);
          const start = since.get(pair) ?? nowMs;
          since.set(pair, start);
          const awake = [a, b].every((node) => node.agent?.process.running === true && !node.agent.process.catchingUp);
          const limitMs = awake ? OVERLAP_MS : LEFT_OVER_MS;
          if (nowMs - start > limitMs + TIMER_SLACK_MS) return `${pair} both have the VIP for ${(nowMs - start).toFixed(0)} ms`;
        }
      }
      for (const pair of since.keys()) if (!present.has(pair)) since.delete(pair);
      return undefined;
    },
  };
};

/**
 * Invariant 3: the VIP is bound no longer than the renew deadline after the last renewal was sent, by the machine's own clock, while the agent runs;
 * and no longer than two seconds on top when the agent is dead or frozen: one that rounding up to whole seconds adds, one that the kernel may be late.
 */
export const theKernelIsTheFence: Invariant = (world) => ({
  step() {
    for (const node of world.nodes) {
      if (!node.kernel.bound) continue;
      const ageMs = node.clock.bootMs(world.scheduler.nowMs) - node.lastRenewedAtMs;
      if (ageMs > RENEW_DEADLINE_MS + KERNEL_MS) return `${node.name} has the VIP ${ageMs.toFixed(0)} ms after its last renewal`;
      const process = node.agent?.process;
      if (process?.running === true && !process.catchingUp && ageMs > RENEW_DEADLINE_MS + TIMER_SLACK_MS && node.touched) {
        return `${node.name} is running and has the VIP ${ageMs.toFixed(0)} ms after its last renewal`;
      }
    }
    return undefined;
  },
});

/**
 * Invariant 4: the step in which an agent learns that another holds the Lease ends with the VIP unbound; where it had offered it to that one, it
 * lets a moment (LINGER_MS) pass for the successor to bind, as its own clock counts them.
 */
export const unbindsBeforeAnythingElse: Invariant = (world) => {
  const sinceMs = world.nodes.map((): number | undefined => undefined);
  /** Who has claimed by an offer, and may thus be waited for. */
  const offered = new Set<string>();
  return {
    write(write) {
      const node = newHolder(world, write);
      if (node === undefined) return undefined;
      if (write.change.before?.annotations[OFFER] === node.name) offered.add(node.name);
      else offered.delete(node.name);
      return undefined;
    },
    step() {
      for (const node of world.nodes) {
        if (!node.touched) continue;
        const process = node.agent?.process;
        const holder = node.kernel.bound && process?.running === true && !process.catchingUp ? (node.status()?.holder ?? "") : "";
        if (holder === "" || holder === node.name) {
          sinceMs[node.index] = undefined;
          continue;
        }
        const start = (sinceMs[node.index] ??= world.scheduler.nowMs);
        const allowedMs = offered.has(holder) ? LINGER_MS / 0.95 + TIMER_SLACK_MS : 0;
        if (world.scheduler.nowMs - start >= allowedMs && !forced(world)) return `${node.name} has seen that ${holder} holds the Lease, and has the VIP bound`;
      }
      return undefined;
    },
  };
};

/**
 * Whoever the Lease names, runs, is well, and renewed within the deadline keeps the VIP, whatever old news the watch brings; one that began to hand it
 * over within the last two seconds, or is asked to stop, may be letting go.
 */
export const holdersHold: Invariant = (world) => {
  const bound = world.nodes.map(() => false);
  return {
    step() {
      const nowMs = world.scheduler.nowMs;
      for (const node of world.nodes) {
        const before = bound[node.index];
        const now = (bound[node.index] = node.kernel.bound);
        if (before !== true || now || node.agent?.process.running !== true || node.agent.process.catchingUp || !node.eligible) continue;
        if (world.plane.table.record?.holder !== node.name || forced(world) || nowMs - node.agent.handoverMs < 2_000) continue;
        // What was carried out and never answered is no right that it knows of.
        const knownMs = node.agent.renewedAtMs ?? Number.NEGATIVE_INFINITY;
        if (node.clock.bootMs(nowMs) - knownMs >= RENEW_DEADLINE_MS - TIMER_SLACK_MS || nowMs - world.flushedAtMs < 1) continue;
        return `${node.name} is named by the Lease, has a right to the VIP, and let it go`;
      }
      return undefined;
    },
  };
};
