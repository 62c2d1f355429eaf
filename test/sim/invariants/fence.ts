/** Where the VIP may be bound, and for how long: the right, the fence and the kernel. */
import { LINGER_MS } from "../../../src/election/handover.ts";
import { READ_TIMEOUT_MS } from "../../../src/election/lease-traffic.ts";
import { compareCandidates } from "../../../src/election/ranking.ts";
import { OFFER } from "../../../src/kube/record.ts";
import type { Write } from "../control-plane.ts";
import type { Health } from "../health.ts";
import { LIFETIME_SECONDS } from "../node.ts";
import type { SimNode } from "../node.ts";
import { LEASE_DURATION_MS, RENEW_DEADLINE_MS } from "../world.ts";
import type { World } from "../world.ts";
import {
  PASSED_OVER_MS,
  awake,
  forced,
  goesFirst,
  justResumed,
  LEFT_OVER_MS,
  newHolder,
  OVERLAP_MS,
  published,
  RESUMED_LEFT_OVER_MS,
  TIMER_SLACK_MS,
} from "./common.ts";
import type { Invariant } from "./common.ts";

/**
 * Two that had the VIP already when a cut between them healed hear of each other at the next announcement:
 * 1.5 s by a slow clock, as neither has the Lease.
 */
const MEET_MS = 1_500 / 0.95 + 1_000;
/** The last announcement of those that follow a bind, by a slow clock. */
const BURST_MS = 5_000 / 0.95 + 500;
/** A provisional node asks the kernel for the VIP for so long at a time. */
const PROVISIONAL_MS = 3_000;
/** A node reads every 2 s, and whatever it asked before may take 4 s to fail. */
const LOOK_MS = 6_500;
/** A holder decides so long before its renew deadline whether it goes on without the Lease, by the slowest clock. */
const DECIDED_MS = 500 / 0.95;
/** Refusals. A server that has just started and does not know who may do what yet answers most of them. */
const TURNED_AWAY: readonly number[] = [401, 403, 404, 429];
/**
 * A refused node takes a server for such a one for two seconds, and a refusal beside a silent server is known
 * when the write is over, 2 s after it was sent. Then the next question is answered. By the slowest clock.
 */
const STARTED_MS = 3_500 / 0.95;
/** What the kernel's whole seconds may add to the end of a right: rounding up, and being late. */
const KERNEL_MS = 2_000;

/**
 * Never two confirmed MASTERs where it matters: while the Lease names another, an agent that runs, believes
 * to hold it, with its right not yet run out, and has not let the VIP go, is one that is handing over and has
 * not seen the answer yet (1 s), or one that no API server could tell so: it was cut off, its kernel found
 * silent, and it is gone at its deadline (`theKernelIsTheFence`).
 */
export const oneConfirmedMaster: Invariant = (world, health) => {
  let since: number | undefined;
  const offers = takenOffers(world);
  /** When another node last took each node's Lease. */
  const lostMs = new Map<SimNode, number>();
  /** The last one that the Lease named: a person may have emptied it. */
  let last: SimNode | undefined;
  return {
    write(write) {
      const before = world.holderOf(write.change.before);
      const holder = newHolder(world, write);
      if (holder !== undefined && before !== undefined) lostMs.set(before, world.scheduler.nowMs);
      last = holder ?? last;
      return offers.write(write);
    },
    step() {
      // One is the usual case.
      let count = 0;
      for (const node of world.machines) if (node.confirmed) count += 1;
      const nowMs = world.scheduler.nowMs;
      const confirmed = count < 2 ? [] : world.machines.filter((node) => node.confirmed && awake(node));
      if (confirmed.length < 2 || forced(world)) since = undefined;
      else since ??= nowMs;
      if (since === undefined) return undefined;
      const start = since;
      const told = confirmed.filter(
        (node) =>
          (world.holderOf(world.plane.table.record) ?? last) !== node &&
          overFor(health, node, offers.takenMs(node), Math.max(start, lostMs.get(node) ?? start), nowMs) >
            OVERLAP_MS + lingerMs(node, nowMs),
      );
      return told.length === 0
        ? undefined
        : `${confirmed.map((node) => node.label).join(" and ")} are confirmed MASTER for ${(nowMs - start).toFixed(0)} ms`;
    },
  };
};

/** One that was just offering it takes any other's claim for the answer. */
function lingerMs({ agent }: SimNode, nowMs: number): number {
  return nowMs - (agent?.handoverMs ?? Number.NEGATIVE_INFINITY) < OVERLAP_MS ? LINGER_MS / 0.95 : 0;
}

/**
 * When each node's own offer was last taken; undefined: it holds the Lease since, or has lost it otherwise.
 * One that has offered the Lease has promised to be gone in a second, whatever it hears. One that lost it
 * before that has not.
 */
function takenOffers(world: World): {
  readonly write: (write: Write) => undefined;
  readonly takenMs: (node: SimNode) => number | undefined;
} {
  const takenMs = new Map<SimNode, number>();
  return {
    write(write) {
      const node = newHolder(world, write);
      if (node === undefined) return undefined;
      takenMs.delete(node);
      const before = world.holderOf(write.change.before);
      if (before === undefined) return undefined;
      if (write.change.before?.annotations[OFFER] === node.name) takenMs.set(before, world.scheduler.nowMs);
      else takenMs.delete(before);
      return undefined;
    },
    takenMs: (node) => takenMs.get(node),
  };
}

/**
 * For how long this node may have known that its right is over: by its own offer, or because it was told.
 * Where frames are lost, what tells it comes late; each API server that is silent costs half a second.
 */
function overFor(
  health: Health,
  node: SimNode,
  takenMs: number | undefined,
  sinceMs: number,
  nowMs: number,
): number {
  return takenMs === undefined
    ? toldFor(health, node, Math.max(sinceMs, health.lossMs), nowMs) - health.badServers() * PASSED_OVER_MS
    : nowMs - Math.max(sinceMs, takenMs);
}

/**
 * For how much of the time since then, up to now, this node has run and an API server could tell it what the
 * Lease says.
 */
function toldFor(health: Health, node: SimNode, sinceMs: number, nowMs: number): number {
  const answeredMs = health.answeredSince(node);
  const awakeMs = health.awakeSince(node);
  return answeredMs === undefined || awakeMs === undefined
    ? 0
    : nowMs - Math.max(sinceMs, answeredMs, awakeMs);
}

/**
 * Two nodes that reach each other have the VIP bound for at most 1 s at a time. The exceptions, each with its
 * bound:
 * - an old holder that is killed or frozen between its offer and its successor's claim unbinds nothing any
 *   more; its kernel does so at most 2 s, by its clock,
 *   after the offer was sent (ADR 0007). One that was cut off when it died, was found silent, and whose cut
 *   then heals: the whole lifetime and the kernel's second. So with machines that were suspended
 *   (`justResumed`);
 * - one that no API server can tell that it has been replaced without an offer of its own: until its right is
 *   over (`theKernelIsTheFence`);
 * - one that was restarted meanwhile and finds its address bound: it lets it be (4 s at most), or keeps it
 *   for want of an API until the other one is heard;
 * - two of which one has it provisionally, and which were cut from each other when the second one took it:
 *   until the next announcement.
 */
export const atMostOneSecondInTwoPlaces: Invariant = (world, health) => {
  const since = new Map<string, number>();
  /** When both were last awake. */
  const awakeMs = new Map<string, number>();
  const offers = takenOffers(world);
  return {
    write: offers.write,
    step(bound) {
      if (bound.length < 2 || forced(world)) {
        if (since.size > 0) since.clear();
        if (awakeMs.size > 0) awakeMs.clear();
        return undefined;
      }
      const nowMs = world.scheduler.nowMs;
      const present = new Set<string>();
      for (const a of bound) {
        for (const b of bound) {
          if (a.index >= b.index || !world.sameSegment(a, b)) continue;
          const pair = `${a.label} and ${b.label}`;
          present.add(pair);
          const start = since.get(pair) ?? nowMs;
          since.set(pair, start);
          if (awake(a) && awake(b)) awakeMs.set(pair, nowMs);
          // With `hold` two may have it for long. The kernel counts from when one of them died or froze.
          const asleepMs = world.plan.onApiLoss === "hold" ? (awakeMs.get(pair) ?? start) : start;
          if (tooLong(world, health, [a, b], start, Math.max(start, asleepMs), offers.takenMs))
            return `${pair} both have the VIP for ${(nowMs - start).toFixed(0)} ms`;
        }
      }
      for (const pair of since.keys()) {
        if (present.has(pair)) continue;
        since.delete(pair);
        awakeMs.delete(pair);
      }
      return undefined;
    },
  };
};

function tooLong(
  world: World,
  health: Health,
  pair: readonly [SimNode, SimNode],
  startMs: number,
  asleepMs: number,
  takenMs: (node: SimNode) => number | undefined,
): boolean {
  const { nowMs } = world.scheduler;
  const sleepers = pair.filter((node) => !awake(node));
  if (sleepers.length > 0) {
    const [a, b] = pair;
    // Where frames are lost, a proof of death may be wrong as behind a cut.
    const cutMs = Math.max(health.cutMs(a.index, b.index), health.lossMs);
    const cut = cutMs > startMs - RENEW_DEADLINE_MS - 2_000;
    const lifetime =
      cut ||
      sleepers.some(
        (node) => justResumed(world, node) || health.provisionalMs(node) > startMs - RENEW_DEADLINE_MS,
      ) ||
      // It has found its address bound, and keeps it until it has asked.
      pair.some(({ agent }) => agent !== undefined && agent.startedMs >= startMs);
    return nowMs - asleepMs > (lifetime ? RESUMED_LEFT_OVER_MS : LEFT_OVER_MS) + TIMER_SLACK_MS;
  }
  const holder = world.holderOf(world.plane.table.record);
  // Started since: it lets be what it found until it has asked, or, without an API, keeps it until it hears
  // the other one's next announcement.
  const restarted = pair.find((node) => node.agent !== undefined && node.agent.startedMs >= startMs);
  if (restarted !== undefined)
    return (
      nowMs - startMs >
      (restarted.provisional === "bootstrap" ? BURST_MS : RESUMED_LEFT_OVER_MS) + TIMER_SLACK_MS
    );
  const [a, b] = pair;
  const limitMs = health.cutMs(a.index, b.index) > startMs - OVERLAP_MS ? MEET_MS : OVERLAP_MS;
  // What a provisional one asked between two cuts it asks again only after a time-out. Where the API writes
  // for nobody, it tells nothing. Then the wire does, at the next announcement.
  const untold = health.apiChangedBeforeMs > startMs - READ_TIMEOUT_MS || world.plane.admission !== 0;
  const told = pair.filter((node) => {
    const provisional = node.provisional !== "";
    const overMs = overFor(health, node, provisional ? undefined : takenMs(node), startMs, nowMs);
    return node !== holder && overMs > (provisional && untold ? limitMs : OVERLAP_MS) + TIMER_SLACK_MS;
  });
  if (told.length > 0) return true;
  // Whatever the API tells, a provisional one gives way to the other's word, or the other one to its word.
  const stubborn = world.plan.onApiLoss === "hold";
  const unpapered = stubborn
    ? pair.every((node) => node.provisional !== "")
    : pair.some((node) => node.provisional !== "");
  const awakeMs = Math.max(...pair.map((node) => health.awakeSince(node) ?? nowMs));
  // A server that was down and is hung looks as if it were starting. Until the confirmed one's right is over
  // the better one of the two cannot know of it (docs/verification.md).
  const starting =
    pair.some(({ provisional }) => provisional === "") &&
    pair.some((node) => node.provisional !== "" && health.holdableSince(node) !== undefined);
  if (starting) return nowMs - startMs > RENEW_DEADLINE_MS / 0.95 + MEET_MS;
  // Of two that no API server answers each has its right until its renew deadline. Then the worse one gives
  // way.
  const worse = worseOf(world, pair);
  const alone = pair.every((node) => node.provisional !== "" && health.usableSince(node) === undefined);
  const giveWay = alone ? (worse === undefined ? pair : [worse]) : [];
  const rightMs = Math.max(...giveWay.map((node) => rightEndMs(node)));
  // A server that has just started refuses everybody, so a refusal says nothing of the others for a while.
  const refused = pair.some(
    ({ provisional, index }) => provisional !== "" && TURNED_AWAY.includes(world.plane.refusal[index] ?? 0),
  );
  const startingMs = refused ? health.apiChangedMs + STARTED_MS : Number.NEGATIVE_INFINITY;
  // One that answers 5xx now and then looks as if it had no etcd, for as long as it does so.
  const fromMs = Math.max(startMs, awakeMs, health.lossMs, rightMs, startingMs, health.failingMs);
  return unpapered && nowMs - fromMs > limitMs + TIMER_SLACK_MS;
}

/** Of two candidates, the worse one by what the Lease says of them; undefined: it does not know both. */
function worseOf(world: World, [a, b]: readonly [SimNode, SimNode]): SimNode | undefined {
  const { record } = world.plane.table;
  const [left, right] = [published(record, a.name), published(record, b.name)];
  if (left === undefined || right === undefined) return undefined;
  return compareCandidates(left, right) < 0 ? b : a;
}

/** Until when a node has a right by its last renewal, at most, that decided before its renew deadline to go on. */
function rightEndMs({ provisional, agent }: SimNode): number {
  const held = provisional === "contested" || provisional === "hold";
  return held ? (agent?.roleMs ?? 0) + DECIDED_MS : Number.NEGATIVE_INFINITY;
}

/**
 * Invariant 3: the VIP is bound no longer than the right to it lasts, by the machine's own clock, while the
 * agent runs; and no longer than two seconds on top when the agent is dead or frozen: one that rounding up to
 * whole seconds adds, one that the kernel may be late. The right is the renew deadline after the last renewal
 * was sent; after the proof of another's death, as long; and 3 s after a provisional one last ran, for as
 * long as it hears no other claimant (`atMostOneSecondInTwoPlaces`). A machine that was suspended begins to
 * count again when it goes on: see `justResumed`.
 */
export const theKernelIsTheFence: Invariant = (world, health) => {
  const granted = new Map<SimNode, number>();
  /** Until when a dead process's address may be left after a suspension, by the time that the kernel counts. */
  const leftOver = new Map<SimNode, number>();
  return {
    step(bound) {
      const { nowMs } = world.scheduler;
      for (const node of bound) {
        const bootMs = node.clock.bootMs(nowMs);
        const until = Math.max(
          granted.get(node) ?? Number.NEGATIVE_INFINITY,
          node.lastRenewedAtMs + RENEW_DEADLINE_MS,
          unpaperedUntil(world, health, node),
        );
        granted.set(node, until);
        if (justResumed(world, node)) {
          const { agent, clock } = node;
          const goneMs = clock.bootMs(clock.resumedMs) - clock.suspendedMs + (LIFETIME_SECONDS + 1) * 1_000;
          if (agent === undefined || agent.startedMs >= clock.resumedMs) leftOver.set(node, goneMs);
          continue;
        }
        // It was suspended once more meanwhile.
        if (bootMs - node.clock.suspendedMs < (leftOver.get(node) ?? Number.NEGATIVE_INFINITY)) continue;
        const lateMs = bootMs - until;
        if (lateMs > KERNEL_MS)
          return `${node.label} has the VIP ${lateMs.toFixed(0)} ms after its right was over`;
        // One that was restarted lets what it found be, and asks; the kernel counts.
        const asks =
          node.agent !== undefined && nowMs - node.agent.startedMs < PROVISIONAL_MS / 0.95 + TIMER_SLACK_MS;
        if (awake(node) && lateMs > TIMER_SLACK_MS && node.touched && !asks)
          return `${node.label} is running and has the VIP ${lateMs.toFixed(0)} ms after its right was over`;
      }
      return undefined;
    },
  };
};

/** Machine's clock. */
function unpaperedUntil(world: World, health: Health, node: SimNode): number {
  const { nowMs } = world.scheduler;
  // Killed within the very call that binds it, and perhaps started again since.
  const provisionalMs = health.provisionalMs(node);
  if (node.agent === undefined || node.agent.startedMs > provisionalMs)
    return node.clock.bootMs(provisionalMs) + PROVISIONAL_MS;
  // Frozen within the very call that binds it.
  if (!awake(node))
    return node.provisional === ""
      ? Number.NEGATIVE_INFINITY
      : node.clock.bootMs(node.agent.roleMs) + PROVISIONAL_MS;
  switch (node.provisional) {
    case "proof":
      return node.clock.bootMs(node.agent.roleMs) + RENEW_DEADLINE_MS;
    case "hold":
    case "unwritten":
      // A person who asked for `release` gets it: the right of the last renewal is all there is.
      return world.plan.onApiLoss === "release"
        ? Number.NEGATIVE_INFINITY
        : node.clock.bootMs(nowMs) + PROVISIONAL_MS;
    case "bootstrap":
      return node.clock.bootMs(nowMs) + PROVISIONAL_MS;
    // A contested one has the right of its last renewal.
    case "contested":
    case "":
      return Number.NEGATIVE_INFINITY;
  }
}

/**
 * Invariant 4: the step in which an agent learns that another holds the Lease ends with the VIP unbound;
 * where it had offered it to that one, it lets a moment (LINGER_MS) pass for the successor to bind, as its
 * own clock counts them.
 */
export const unbindsBeforeAnythingElse: Invariant = (world, health) => {
  const sinceMs = world.nodes.map((): number | undefined => undefined);
  /** Who has claimed by an offer, and may thus be waited for. */
  const offered = new Set<string>();
  /** Whom a node has found silent. */
  const proved = new Map<SimNode, string>();
  /** When a holder last wrote its Lease, and the machine that did. */
  let renewedMs = Number.NEGATIVE_INFINITY;
  let renewer = -1;
  return {
    proof(node) {
      proved.set(node, node.status()?.holder ?? "");
      return undefined;
    },
    write(write) {
      if (write.change.before?.renewTime !== write.change.after?.renewTime) {
        renewedMs = world.scheduler.nowMs;
        renewer = write.author;
      }
      const node = newHolder(world, write);
      if (node === undefined) return undefined;
      if (write.change.before?.annotations[OFFER] === node.name) offered.add(node.name);
      else offered.delete(node.name);
      return undefined;
    },
    step() {
      for (const node of world.nodes) {
        // One that was just suspended goes on with its timers as they were.
        if (!node.touched || justResumed(world, node)) continue;
        const holder = node.kernel.bound && awake(node) ? (node.status()?.holder ?? "") : "";
        // It knows that the Lease still names the one whose kernel it found silent.
        if (
          holder === "" ||
          holder === node.name ||
          (proved.get(node) === holder && node.provisional === "proof")
        ) {
          sinceMs[node.index] = undefined;
          continue;
        }
        // A webhook has put that name into what this node wrote, or into what another one has just written.
        const toldMs = toldFor(health, node, renewedMs, world.scheduler.nowMs);
        if (holder === world.plane.policy && (renewer === node.index || toldMs < LOOK_MS)) {
          sinceMs[node.index] = undefined;
          continue;
        }
        const start = (sinceMs[node.index] ??= world.scheduler.nowMs);
        // One that was just offering it, too, and was found silent meanwhile, takes the other's claim for an
        // answer.
        const offering =
          world.scheduler.nowMs - (node.agent?.handoverMs ?? Number.NEGATIVE_INFINITY) < OVERLAP_MS;
        const allowedMs = offered.has(holder) || offering ? LINGER_MS / 0.95 + TIMER_SLACK_MS : 0;
        // Where nobody can write it, nobody renews it either, and it says nothing of the present.
        const without = node.provisional === "unwritten" || node.provisional === "bootstrap";
        if (without && world.plane.admission !== 0 && renewedMs <= start) {
          sinceMs[node.index] = world.scheduler.nowMs;
          continue;
        }
        // A Lease that was there before the API was tells of nobody as long as nobody renews it; then the
        // next look at it does.
        const patienceMs = LOOK_MS + (renewedMs > start ? 0 : LEASE_DURATION_MS / 0.95);
        if (without && toldFor(health, node, Math.max(start, renewedMs), world.scheduler.nowMs) < patienceMs)
          continue;
        if (world.scheduler.nowMs - start >= allowedMs && !forced(world))
          return `${node.name} has seen that ${holder} holds the Lease, and has the VIP bound`;
      }
      return undefined;
    },
  };
};

/**
 * Whoever the Lease names, runs, is well, and renewed within the deadline keeps the VIP, whatever old news
 * the watch brings; one that began to hand it over within the last two seconds (those of a suspension not
 * counted), or is asked to stop, may be letting go. So may one against whom another one claims while no API
 * server confirms it.
 */
export const holdersHold: Invariant = (world, health) => {
  const bound = world.nodes.map(() => false);
  return {
    step() {
      const nowMs = world.scheduler.nowMs;
      for (const node of world.nodes) {
        const before = bound[node.index];
        const now = (bound[node.index] = node.kernel.bound);
        if (before !== true || now || node.agent === undefined || !awake(node) || !node.eligible) continue;
        if (
          world.holderOf(world.plane.table.record) !== node ||
          world.disputed(node) ||
          forced(world) ||
          goesFirst(world) ||
          nowMs - Math.max(node.agent.handoverMs, node.clock.resumedMs) < 2_000
        )
          continue;
        // Another one claims the VIP as well, and no API server has confirmed this one in good time.
        if (toldFor(health, node, 0, nowMs) < OVERLAP_MS) continue;
        // What was carried out and never answered is no right that it knows of.
        const knownMs = node.agent.renewedAtMs ?? Number.NEGATIVE_INFINITY;
        if (
          node.clock.bootMs(nowMs) - knownMs >= RENEW_DEADLINE_MS - TIMER_SLACK_MS ||
          nowMs - world.flushedAtMs < 1
        )
          continue;
        return `${node.name} is named by the Lease, has a right to the VIP, and let it go`;
      }
      return undefined;
    },
  };
};

/**
 * Two machines of one name never both hold, in whatever segments: neither ever offers to the other, so a
 * fence lies between them. At most they meet where a third one is offered the VIP by the one, passes it to
 * the other at once, and the first is still letting its moment pass (LINGER_MS). What a killed provisional
 * one leaves bound is its kernel's, or the next process's until that one hears the other machine
 * (`atMostOneSecondInTwoPlaces`).
 */
export const namesakesNeverBothHold: Invariant = (world, health) => {
  const sinceMs = new Map<SimNode, number>();
  const isLeftOver = (node: SimNode): boolean =>
    node.provisional === "bootstrap" ||
    ((node.agent?.startedMs ?? Number.POSITIVE_INFINITY) > health.provisionalMs(node) &&
      world.scheduler.nowMs - health.provisionalMs(node) < RESUMED_LEFT_OVER_MS);
  return {
    step() {
      const { nowMs } = world.scheduler;
      for (const namesake of world.namesakes) {
        const node = world.nodes.find((one) => one.name === namesake.name);
        const both =
          node !== undefined &&
          node.kernel.bound &&
          namesake.kernel.bound &&
          !justResumed(world, node) &&
          !isLeftOver(node) &&
          !isLeftOver(namesake);
        if (!both) sinceMs.delete(namesake);
        const since = both ? (sinceMs.get(namesake) ?? nowMs) : nowMs;
        if (both) sinceMs.set(namesake, since);
        if (nowMs - since > LINGER_MS / 0.95 + TIMER_SLACK_MS)
          return `${namesake.name} and its namesake both have the VIP for ${(nowMs - since).toFixed(0)} ms`;
      }
      return undefined;
    },
  };
};
