/**
 * What must hold at every step of every run. Each is a named function: it gets the world once and gives the checks to make after each
 * step, at each write of the Lease, and at the end. A check answers with what is wrong, or undefined.
 */
import { OFFER } from "../../src/kube/record.ts";
import { parseCandidate } from "../../src/kube/record-codec.ts";
import { CANDIDATE_PREFIX } from "../../src/kube/record.ts";
import { LINGER_MS } from "../../src/election/master.ts";
import type { Candidate, LeaseRecord } from "../../src/kube/record.ts";
import type { Write } from "./control-plane.ts";
import type { Health } from "./health.ts";
import { LIFETIME_SECONDS } from "./node.ts";
import type { SimNode } from "./node.ts";
import { LEASE_DURATION_MS, RENEW_DEADLINE_MS } from "./world.ts";
import type { World } from "./world.ts";

type Verdict = string | undefined;

export interface Checks {
  readonly step?: () => Verdict;
  readonly write?: (write: Write) => Verdict;
  readonly end?: () => Verdict;
}

type Invariant = (world: World, health: Health) => Checks;

/** A person who writes a name into the Lease, or rewinds etcd, overrules the fence: for as long as one takes to run out, nothing is promised. */
const FORCED_MS = 12_000;
/** Two nodes may answer for the VIP this long, in one segment. */
export const OVERLAP_MS = 1_000;
/** What a dead agent's address lasts, in true time. */
const LEFT_OVER_MS = ((LIFETIME_SECONDS + 1) * 1_000) / 0.95;
/** Slack for timers that fire late by what ran before them. */
const TIMER_SLACK_MS = 10;
/** Moves in an hour under one fault that stays: the first away from it, and some while it comes and goes. */
const MOVES_PER_HOUR = 6;

function forced(world: World): boolean {
  return world.scheduler.nowMs - world.forcedAtMs < FORCED_MS;
}

function boundNodes(world: World): readonly SimNode[] {
  return world.nodes.filter((node) => node.kernel.bound);
}

function published(record: LeaseRecord | null, node: string): Candidate | undefined {
  const text = record?.annotations[`${CANDIDATE_PREFIX}${node}`];
  return text === undefined ? undefined : parseCandidate(node, text);
}

/** The node that a write makes holder in another's place; undefined when it is no such write. */
function newHolder(world: World, { author, change }: Write): SimNode | undefined {
  const holder = change.after?.holder ?? "";
  if (!change.changed || author < 0 || holder === "" || holder === (change.before?.holder ?? "")) return undefined;
  return world.nodes.find((node) => node.name === holder);
}

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

function testsOf(body: unknown): ReadonlyMap<string, unknown> {
  const tests = new Map<string, unknown>();
  for (const operation of Array.isArray(body) ? body : []) {
    const { op, path, value }: { op?: unknown; path?: unknown; value?: unknown } = operation;
    if (op === "test" && typeof path === "string") tests.set(path, value);
  }
  return tests;
}

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

/**
 * Two nodes have the VIP bound for at most 1 s at a time in one segment. One exception, and its bound: an old holder that is killed or frozen between
 * its offer and its successor's claim unbinds nothing any more, and its kernel does so after the address lifetime and one second.
 */
export const atMostOneSecondInTwoPlaces: Invariant = (world) => {
  const since = new Map<string, number>();
  const sleptMs = new Map<string, number>();
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
          if (!awake) sleptMs.set(pair, nowMs);
          // Restarted or thawed within that time: it finds out at its next answer.
          const graceMs = nowMs - (sleptMs.get(pair) ?? Number.NEGATIVE_INFINITY) < OVERLAP_MS ? LIFETIME_SECONDS * 1_000 : 0;
          if (nowMs - start > limitMs + graceMs + TIMER_SLACK_MS) return `${pair} both have the VIP for ${(nowMs - start).toFixed(0)} ms`;
        }
      }
      for (const pair of since.keys()) if (!present.has(pair)) since.delete(pair);
      return undefined;
    },
  };
};

/**
 * Invariant 3: the VIP is bound no longer than the renew deadline after the last renewal was sent, by the machine's own clock, while the agent runs;
 * and no longer than the address lifetime and the kernel's second on top when the agent is dead or frozen.
 */
export const theKernelIsTheFence: Invariant = (world) => ({
  step() {
    for (const node of world.nodes) {
      if (!node.kernel.bound) continue;
      const ageMs = node.clock.bootMs(world.scheduler.nowMs) - node.lastRenewedAtMs;
      if (ageMs > RENEW_DEADLINE_MS + (LIFETIME_SECONDS + 1) * 1_000) return `${node.name} has the VIP ${ageMs.toFixed(0)} ms after its last renewal`;
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

/**
 * Liveness. When one and the same eligible node could reach a quorate API server all the time, the VIP is bound on a node that is up and has a link within
 * LEASE_DURATION + 2 s, as the slowest allowed clock counts it (x 1/0.95).
 *
 * Allowed on top: 500 ms for each API server that has to be passed over, for each of the two calls (read, claim); where watches say nothing, one
 * read interval (2 s) until the last renewal is noticed; and where the node itself was cut off before, the time-out of the
 * request that was under way then (4 s), one retry (0.5 s), and a read interval.
 */
export const boundInTime: Invariant = (world, health) => {
  let unserved: number | undefined;
  return {
    // Whoever has claimed and dies before it serves starts the wait anew; so does a renewal of one that has lost its right since it
    // was sent, and that TCP or etcd carried out late.
    write(write) {
      const author = world.nodes[write.author];
      const oldMs = (author?.clock.bootMs(world.scheduler.nowMs) ?? 0) - write.sentMs;
      const late =
        write.change.changed &&
        write.change.before?.holder === author?.name &&
        (author?.agent?.role !== "MASTER" || oldMs > RENEW_DEADLINE_MS);
      if ((late || newHolder(world, write) !== undefined) && unserved !== undefined) unserved = world.scheduler.nowMs;
      return undefined;
    },
    step() {
      const nowMs = world.scheduler.nowMs;
      const serving = boundNodes(world).some((node) => node.powered && node.kernel.link.carrier && health.connected(node));
      if (serving) unserved = undefined;
      else unserved ??= nowMs;
      if (unserved === undefined) return undefined;
      // VRRP to the letter: a holder in FAULT is not displaced, and its VIP serves nobody.
      if (world.plan.nopreemptStrict && world.nodes.some((node) => node.confirmed && node.facts.faults.length > 0)) {
        unserved = nowMs;
        return undefined;
      }
      for (const node of world.nodes) {
        const goodSince = health.goodSince(node);
        if (goodSince === undefined) continue;
        const since = Math.max(unserved, goodSince, world.disturbedUntilMs);
        const freshlyBack = goodSince > unserved - 5_000 || world.disturbedUntilMs > unserved;
        // A person, or a restored etcd, may have written a longer one; the longer counts.
        const durationMs = Math.max(LEASE_DURATION_MS, world.plane.table.record?.leaseDurationMs ?? 0);
        const allowedMs = durationMs / 0.95 + 2_000 + health.badServers() * 1_000 + (health.silentWatches() ? 2_200 : 0) + (freshlyBack ? 7_000 : 0);
        if (nowMs - since > allowedMs) return `${node.name} could have served for ${((nowMs - since) / 1_000).toFixed(1)} s, and nobody has the VIP`;
      }
      return undefined;
    },
  };
};

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

/** When nothing has happened for a minute: one node has the VIP, it is the one that the Lease names, and the one that the rules want. */
export const endsWellAndWithTheBest: Invariant = (world) => ({
  end() {
    // One fault that stays may take the quorum with it.
    if (world.plan.profile === "persistent") return undefined;
    const bound = boundNodes(world);
    const record = world.plane.table.record;
    if (bound.length !== 1) return `at the end ${bound.length} nodes have the VIP`;
    const [holder] = bound;
    if (holder === undefined || record?.holder !== holder.name) return `${holder?.name} has the VIP, the Lease names ${record?.holder}`;
    const able = world.nodes.filter((node) => node.eligible);
    const wished = able.find((node) => node.name === world.moveTo);
    if (wished !== undefined) return wished === holder ? undefined : `move-to names ${wished.name}, ${holder.name} holds`;
    if (world.plan.nopreempt || world.moveTo === holder.name) return undefined;
    const best = Math.max(...able.map((node) => node.facts.effective));
    return holder.facts.effective === best ? undefined : `${holder.name} holds with ${holder.facts.effective}, the best has ${best}`;
  },
});

/** No flapping: one fault that stays moves the VIP at most 6 times in an hour. */
export const noFlapping: Invariant = (world) => {
  const moves: number[] = [];
  return {
    write(write) {
      const node = newHolder(world, write);
      if (world.plan.profile !== "persistent" || node === undefined) return undefined;
      const nowMs = world.scheduler.nowMs;
      moves.push(nowMs);
      const recent = moves.filter((atMs) => atMs > nowMs - 3_600_000 && atMs > (world.plan.faults[0]?.atMs ?? 0));
      return recent.length > MOVES_PER_HOUR ? `${recent.length} moves within an hour` : undefined;
    },
  };
};

/** Planned moves, restarts within the fence and nothing else: from the first bind on the VIP is never away while another node could have it. */
export const plannedMovesLoseNoTime: Invariant = (world) => {
  let lastBound: SimNode | undefined;
  return {
    step() {
      if (world.plan.profile !== "planned" || world.scheduler.nowMs > world.plan.lengthMs) return undefined;
      const bound = boundNodes(world)[0];
      const before = lastBound;
      lastBound = bound;
      if (bound !== undefined || before === undefined) return undefined;
      const record = world.plane.table.record;
      const able = world.nodes.filter((node) => node !== before && node.eligible && published(record, node.name)?.eligible === true);
      return able.length === 0 ? undefined : `${before.name} let the VIP go, and nobody had it yet; ${able.map((node) => node.name).join(", ")} could have`;
    },
  };
};

/** A process that is killed and started again within the kubelet's 1.6 s neither moves the VIP nor loses it (profile `planned`). */
export const quickRestartsMoveNothing: Invariant = (world) => ({
  write(write) {
    const node = newHolder(world, write);
    if (node === undefined || world.plan.profile !== "planned") return undefined;
    const holder = world.nodes.find((one) => one.name === write.change.before?.holder);
    const nowMs = world.scheduler.nowMs;
    const crash = world.plan.faults.find((fault) => fault.kind === "crash" && fault.node === holder?.index && nowMs > fault.atMs && nowMs < fault.atMs + 12_000);
    // It may have been asked to hand over for a reason of its own.
    if (crash === undefined || write.change.before?.annotations[OFFER] === node.name) return undefined;
    return `${node.name} took the VIP though ${holder?.name} was only restarted`;
  },
});

/** The switches and neighbours send the VIP's packets to the node that has it: six seconds after it is alone with it, nobody else has announced later. */
export const theWireFollows: Invariant = (world, health) => {
  let alone: { readonly node: SimNode; readonly sinceMs: number } | undefined;
  return {
    step() {
      const [node, second] = boundNodes(world);
      const nowMs = world.scheduler.nowMs;
      if (node === undefined || second !== undefined || node.agent?.process.running !== true || health.linksChangedMs > nowMs - 12_000) {
        alone = undefined;
        return undefined;
      }
      if (alone?.node !== node) alone = { node, sinceMs: nowMs };
      // Another may have bound, announced and let go within one instant.
      if (nowMs - Math.max(alone.sinceMs, world.announcerChangedMs) < 6_000) return undefined;
      const last = world.lastAnnouncer;
      return last === node.index ? undefined : `${node.name} has the VIP, but the last to announce it was n${(last ?? -1) + 1}`;
    },
  };
};

export const INVARIANTS: Readonly<Record<string, Invariant>> = {
  compareAndSwapDecides,
  oneConfirmedMaster,
  claimsOnlyWhatIsFree,
  atMostOneSecondInTwoPlaces,
  theKernelIsTheFence,
  unbindsBeforeAnythingElse,
  holdersHold,
  keepsTheVipWhenNobodyIsBetter,
  releasesLeaveNoAddress,
  candidatesNeverBreakRenewals,
  boundInTime,
  healthyHoldersStay,
  endsWellAndWithTheBest,
  noFlapping,
  plannedMovesLoseNoTime,
  quickRestartsMoveNothing,
  theWireFollows,
};
