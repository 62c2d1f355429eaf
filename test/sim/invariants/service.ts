/**
 * What clients see: the VIP is bound in time, by the right node, does not wander, and the wire knows where it
 * is.
 */
import { INSTANCE } from "../../../src/kube/record.ts";
import { OFFER } from "../../../src/kube/record.ts";
import { SAMPLE_MS } from "../health.ts";
import type { Health } from "../health.ts";
import type { SimNode } from "../node.ts";
import { REWRITES } from "../plan.ts";
import { LEASE_DURATION_MS, RENEW_DEADLINE_MS } from "../world.ts";
import type { World } from "../world.ts";
import {
  ASK_MS,
  awake,
  boundNodes,
  goesFirst,
  LIGHT,
  newHolder,
  OVERLAP_MS,
  published,
  speaks,
} from "./common.ts";
import type { Invariant } from "./common.ts";

/** Moves in an hour under one fault that stays: the first away from it, and some while it comes and goes. */
const MOVES_PER_HOUR = 6;
const MOVES_PER_TEN_MINUTES = 2;

/**
 * Liveness. When one and the same eligible node could reach a quorate API server all the time, the VIP is
 * bound on a node that is up and has a link within LEASE_DURATION + 2 s, as the slowest allowed clock counts
 * it (x 1/0.95).
 *
 * Allowed on top: 500 ms for each API server that has to be passed over, for each of the two calls (read,
 * claim); where watches say nothing, one read interval (2 s) until the last renewal is noticed; and where the
 * node itself was cut off before, the time-out of the request that was under way then (4 s), one retry (0.5
 * s), and a read interval.
 */
export const boundInTime: Invariant = (world, health) => {
  let unserved: number | undefined;
  return {
    // Whoever has claimed and dies before it serves starts the wait anew; so does a renewal of one that has
    // lost its right since it was sent, and that TCP or etcd carried out late, or that hears no API server.
    write(write) {
      const author = world.machines[write.author];
      const oldMs = (author?.clock.bootMs(world.scheduler.nowMs) ?? 0) - write.sentMs;
      const late =
        write.change.changed &&
        world.holderOf(write.change.before) === author &&
        (author?.agent?.role !== "MASTER" || oldMs > RENEW_DEADLINE_MS || !health.connected(author));
      if ((late || newHolder(world, write) !== undefined) && unserved !== undefined)
        unserved = world.scheduler.nowMs;
      return undefined;
    },
    step(bound) {
      const nowMs = world.scheduler.nowMs;
      const serving = bound.some(
        (node) => node.powered && node.kernel.link.carrier && health.connected(node),
      );
      if (serving) unserved = undefined;
      else unserved ??= nowMs;
      if (unserved === undefined) return undefined;
      if (isNotDisplaced(world) || bound.some((node) => isUnknown(world, node))) {
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
        const allowedMs =
          durationMs / 0.95 +
          2_000 +
          health.badServers() * 1_000 +
          (health.silentWatches() ? 2_200 : 0) +
          (freshlyBack ? 7_000 : 0);
        if (nowMs - since > allowedMs)
          return `${node.name} could have served for ${((nowMs - since) / 1_000).toFixed(1)} s, and nobody has the VIP`;
      }
      return undefined;
    },
  };
};

/**
 * It serves without an API, and the Lease of a new cluster does not name it among the candidates: for the
 * others the VIP is a stranger's, which goes first (RFC 5227, section 2.1).
 */
function isUnknown({ plane }: World, { name, powered, kernel }: SimNode): boolean {
  const { record } = plane.table;
  const isNew = (record?.holder ?? "") === "" && published(record, name) === undefined;
  return isNew && powered && kernel.link.carrier;
}

/**
 * VRRP to the letter: a holder in FAULT is not displaced, and its VIP serves nobody. Without a link it has
 * let the VIP go.
 */
function isNotDisplaced(world: World): boolean {
  return (
    world.plan.nopreemptStrict &&
    world.nodes.some(({ agent, facts }) => agent?.role === "MASTER" && facts.faults.length > 0)
  );
}

/**
 * Always served: while one healthy node lives on the VIP's network, whatever the API servers answer it, some
 * machine answers for the VIP within LEASE_DURATION + 5 s, by the slowest clock. Not where a person asked for
 * `release`. Where a foreign host answers, or frames are lost, nothing is promised. The time begins again
 * when a person or a late renewal changes the Lease, or when the API begins to do something else to it. What
 * a webhook has made of a node's claim is no renewal, unless that node cannot serve any more.
 */
export const servedWhileANodeLives: Invariant = (world, health) => {
  let unservedMs: number | undefined;
  const wellSince = new Map<SimNode, number>();
  /** By author, when it last wrote what a webhook has changed. */
  const rewrittenMs = new Map<SimNode, number>();
  return {
    write({ author, change }) {
      const { before, after } = change;
      const writer = world.machines[author];
      if (writer !== undefined && world.plane.admission === REWRITES) {
        if (before?.renewTime !== after?.renewTime) rewrittenMs.set(writer, world.scheduler.nowMs);
        return undefined;
      }
      const renewed =
        before?.holder !== after?.holder ||
        before?.renewTime !== after?.renewTime ||
        before?.leaseTransitions !== after?.leaseTransitions;
      if (change.changed && renewed && unservedMs !== undefined) unservedMs = world.scheduler.nowMs;
      return undefined;
    },
    step(bound) {
      const { nowMs } = world.scheduler;
      if (world.plan.onApiLoss === "release") return undefined;
      const served = bound.some(
        ({ powered, kernel, clock }) => powered && kernel.link.carrier && !clock.suspended,
      );
      unservedMs =
        served || world.segment.foreignHostClaims || isNotDisplaced(world)
          ? undefined
          : (unservedMs ?? nowMs);
      for (const [writer, writtenMs] of rewrittenMs) {
        if (isWell(world, health, writer)) continue;
        rewrittenMs.delete(writer);
        if (unservedMs !== undefined) unservedMs = Math.max(unservedMs, writtenMs);
      }
      for (const node of world.nodes) {
        if (!isWell(world, health, node)) wellSince.delete(node);
        else if (!wellSince.has(node)) wellSince.set(node, nowMs);
        const well = wellSince.get(node);
        if (unservedMs === undefined || well === undefined) continue;
        const disturbedMs = Math.max(
          health.apiChangedMs,
          health.linksChangedMs,
          health.lossMs,
          world.disturbedUntilMs,
          world.segment.foreignEndedMs,
        );
        const waitedMs = nowMs - Math.max(unservedMs, well, disturbedMs);
        const durationMs = Math.max(LEASE_DURATION_MS, world.plane.table.record?.leaseDurationMs ?? 0);
        if (waitedMs > durationMs / 0.95 + ASK_MS)
          return `${node.label} is well for ${(waitedMs / 1_000).toFixed(1)} s, and no machine has the VIP`;
      }
      return undefined;
    },
  };
};

/** The agents that another one, or the router, could be heard by since they began. */
const met = new WeakSet<object>();

/** It runs, its link is good and not deserted, and no check of its own keeps it from serving. */
function isWell(world: World, health: Health, node: SimNode): boolean {
  const { agent, kernel, powered } = node;
  if (!powered || !kernel.link.carrier || agent === undefined || agent.stopping || !awake(node)) return false;
  if (world.disputed(node)) return false;
  const { ready, faults } = node.facts;
  if (!ready || !faults.every((fault) => LIGHT.has(fault))) return false;
  // Where it has met nobody since it began, it waits for the spanning tree: servesBeforeThereIsAnApi.
  const { nowMs } = world.scheduler;
  const reached = (index: number): boolean => health.reachedMs(node.index, index) > nowMs - 200;
  if (reached(world.router.index)) {
    met.add(agent);
    return true;
  }
  for (const other of world.machines) {
    if (other === node || !reached(other.index)) continue;
    if (speaks(other)) met.add(agent);
    if (met.has(agent)) return true;
  }
  return false;
}

/**
 * A claim is unanswered for a second. With a light fault the node waits 2 s more. It asks the wire after a
 * random second, by three probes, and may have done so just too early.
 */
const AGAIN_MS = (1_000 + 2 * 1_600 + 500) / 0.95;
const LIGHT_FAULT_MS = 2_000 / 0.95;

/**
 * A holder that stood still until its right was over, or that let the VIP go for a moment, does not wait for
 * the Lease to run out: where the Lease still names it, and no other machine has had the VIP, it serves again
 * soon, whatever the API does. Of several that ask the wire at once the one with the lowest MAC address goes
 * on, so it may have to give way to others that ask.
 */
export const holderServesAgain: Invariant = (world, health) => {
  let unservedMs = Number.NaN;
  /** Since when the same node holds the Lease and is well. */
  let holder: SimNode | undefined;
  let wellMs = Number.NaN;
  /** When each machine last had the VIP. */
  const boundMs = new Map<SimNode, number>();
  /** The processes that have had the VIP. */
  const served = new WeakSet<object>();
  return {
    write(write) {
      if (newHolder(world, write) !== undefined) wellMs = Number.NaN;
      return undefined;
    },
    step(bound) {
      const { nowMs } = world.scheduler;
      for (const { agent } of bound) if (agent !== undefined) served.add(agent);
      const serves = bound.some(({ powered, kernel }) => powered && kernel.link.carrier);
      if (serves || world.segment.foreignHostClaims || isNotDisplaced(world)) unservedMs = Number.NaN;
      else if (Number.isNaN(unservedMs)) unservedMs = nowMs;
      const named = world.holderOf(world.plane.table.record);
      // Where a person has taken the instance out, or has put this name beside the instance of another
      // machine, the Lease may be another machine's of this name.
      const marked = world.plane.table.record?.annotations[INSTANCE] === named?.settings.instance;
      const isSame = named === holder && named !== undefined && marked && isWell(world, health, named);
      holder = named;
      if (!isSame || Number.isNaN(wellMs)) wellMs = nowMs;
      for (const node of bound) boundMs.set(node, nowMs);
      const agent = holder?.agent;
      if (holder === undefined || agent === undefined || !served.has(agent)) return undefined;
      if (Number.isNaN(unservedMs) || world.plan.onApiLoss === "release") return undefined;
      // A name of which it has not heard yet may be another machine's.
      if (holder.status()?.holder !== holder.name || world.namesakes.length > 0) return undefined;
      const { index } = holder;
      if (world.machines.some((other) => other.index < index && other.agent !== undefined)) return undefined;
      const awakeMs = health.awakeSince(holder) ?? nowMs;
      let otherMs = world.segment.foreignEndedMs;
      for (const [node, atMs] of boundMs) if (node !== holder) otherMs = Math.max(otherMs, atMs);
      // Whoever answers for the VIP forbids it for the duration of a Lease. What came while it stood still it
      // hears when it goes on.
      const hears = awakeMs - otherMs < 120_000;
      const heardMs = hears ? Math.max(awakeMs, otherMs) : otherMs;
      const forbiddenUntilMs = heardMs + LEASE_DURATION_MS / 0.95;
      if (nowMs < forbiddenUntilMs) return undefined;
      const sinceMs = Math.max(
        unservedMs,
        wellMs,
        awakeMs,
        // It asks the wire when that time is over.
        hears ? forbiddenUntilMs : awakeMs,
        agent.roleMs,
        holder.clock.resumedMs,
        health.apiChangedMs,
        health.linksChangedMs,
        health.lossMs,
        health.priorityChangedMs,
        world.disturbedUntilMs,
        world.segment.foreignEndedMs,
      );
      const light = holder.facts.faults.length > 0 || health.unstable(holder) ? LIGHT_FAULT_MS : 0;
      return nowMs - sinceMs > AGAIN_MS + light
        ? `${holder.label} holds the Lease and is well for ${(nowMs - sinceMs).toFixed(0)} ms, and no machine has the VIP`
        : undefined;
    },
  };
};

/**
 * Within the deadline before it became provisional, by the slowest clock, one thing at most has happened to
 * the API servers or to etcd's leader.
 */
const RENEWABLE_MS = RENEW_DEADLINE_MS / 0.95;
/** So many API servers may be passed over within a deadline, 500 ms each. */
const PASSED_OVER = 2;

/**
 * A holder that some API server would have written for, all the time since its last renewal, is not
 * provisional for want of one. An election of etcd's leader is no excuse, though renewals are lost in it.
 */
export const renewsWhereItCan: Invariant = (world, health) => ({
  step() {
    const { nowMs } = world.scheduler;
    const unclear = world.plane.modes.some(
      ({ kind }) => kind === "slow" || kind === "mute" || kind === "failing",
    );
    // A renewal that is lost in an election has to be sent to another server.
    const elects = world.plane.electionsMs.some((atMs) => nowMs - atMs < RENEWABLE_MS);
    const passedOver = health.badServers() + (elects ? 1 : 0);
    if (unclear || world.plane.admission !== 0 || passedOver > PASSED_OVER) return undefined;
    const [lastButOneMs = 0] = [health.apiChangedBeforeMs, health.apiChangedMs, ...world.plane.electionsMs]
      .toSorted((a, b) => a - b)
      .slice(-2);
    for (const node of world.nodes) {
      // What comes later is judged by what it could write then.
      if (node.provisional !== "hold" || !awake(node) || nowMs - (node.agent?.roleMs ?? 0) > SAMPLE_MS)
        continue;
      const wellMs = Math.max(health.usableSince(node) ?? nowMs, health.awakeSince(node) ?? nowMs);
      const sinceMs = Math.max(
        wellMs,
        node.clock.resumedMs,
        health.lossMs,
        lastButOneMs,
        world.plane.longElectionMs,
      );
      if ((node.agent?.roleMs ?? nowMs) - sinceMs > RENEWABLE_MS)
        return `${node.name} does not get its Lease renewed, though an API server would`;
    }
    return undefined;
  },
});

/**
 * When nothing has happened for a minute: one node has the VIP, it is the one that the Lease names, and the
 * one that the rules want.
 */
export const endsWellAndWithTheBest: Invariant = (world, health) => ({
  end() {
    // One fault that stays may take the quorum with it.
    if (world.plan.profile === "persistent") return undefined;
    const record = world.plane.table.record;
    // One that is handing over is about to let go.
    const handsOver = ({ agent }: SimNode): boolean =>
      world.scheduler.nowMs - (agent?.handoverMs ?? Number.NEGATIVE_INFINITY) < OVERLAP_MS;
    const bound = boundNodes(world).filter((node) => node === world.holderOf(record) || !handsOver(node));
    if (bound.length !== 1) return `at the end ${bound.length} nodes have the VIP`;
    const [holder] = bound;
    if (holder === undefined || world.holderOf(record) !== holder)
      return `${holder?.name} has the VIP, the Lease names ${record?.holder}`;
    const able = world.nodes.filter((node) => node.eligible && !health.unstable(node));
    const wished = able.find((node) => node.name === world.moveTo);
    const best = Math.max(...able.flatMap((node) => (health.shy(node) ? [] : [node.facts.effective])));
    if (wished !== undefined)
      return wished === holder ? undefined : `move-to names ${wished.name}, ${holder.name} holds`;
    if (world.plan.nopreempt || world.moveTo === holder.name) return undefined;
    return able.length === 0 || holder.facts.effective >= best
      ? undefined
      : `${holder.name} holds with ${holder.facts.effective}, the best has ${best}`;
  },
});

/**
 * No flapping: one fault that stays moves the VIP at most 6 times in an hour, and at most twice in ten
 * minutes; by the Lease and on the wire.
 */
export const noFlapping: Invariant = (world) => {
  const byLease: number[] = [];
  const onTheWire: number[] = [];
  let last: SimNode | undefined;
  // Where frames are lost all the time, proofs of death are wrong now and then, and now and then nobody is
  // heard for seconds.
  const lossy = world.plan.faults[0]?.kind === "lossy";
  const moved = (moves: number[], how: string): string | undefined => {
    const nowMs = world.scheduler.nowMs;
    moves.push(nowMs);
    const recent = moves.filter(
      (atMs) => atMs > nowMs - 3_600_000 && atMs > (world.plan.faults[0]?.atMs ?? 0),
    );
    const latest = recent.filter((atMs) => atMs > nowMs - 600_000);
    if (latest.length > MOVES_PER_TEN_MINUTES) return `${latest.length} moves within ten minutes ${how}`;
    return recent.length > MOVES_PER_HOUR ? `${recent.length} moves within an hour ${how}` : undefined;
  };
  return {
    write(write) {
      if (world.plan.profile !== "persistent" || lossy || newHolder(world, write) === undefined)
        return undefined;
      return moved(byLease, "by the Lease");
    },
    step(bound) {
      if (world.plan.profile !== "persistent" || lossy) return undefined;
      // The usual case.
      if (bound.length === 1 && bound[0] === last) return undefined;
      const [node, other] = bound.filter(({ powered, kernel }) => powered && kernel.link.carrier);
      if (node === undefined || other !== undefined || node === last) return undefined;
      const first = last === undefined;
      last = node;
      return first ? undefined : moved(onTheWire, "on the wire");
    },
  };
};

/** A watch tells the holder of a candidate within this time. */
const KNOWN_MS = 250;

/**
 * Planned moves, restarts within the fence and nothing else: from the first bind on the VIP is never away
 * while another node could have it, and has said so for long enough that the holder knows it.
 */
export const plannedMovesLoseNoTime: Invariant = (world) => {
  let lastBound: SimNode | undefined;
  /** Since when each node has said in the Lease that it is eligible. */
  const eligibleSince = new Map<SimNode, number>();
  return {
    write({ change }) {
      if (world.plan.profile !== "planned") return undefined;
      for (const node of world.nodes) {
        if (published(change.after, node.name)?.eligible !== true) eligibleSince.delete(node);
        else if (!eligibleSince.has(node)) eligibleSince.set(node, world.scheduler.nowMs);
      }
      return undefined;
    },
    step([first]) {
      if (world.plan.profile !== "planned" || world.scheduler.nowMs > world.plan.lengthMs) return undefined;
      const before = lastBound;
      lastBound = first;
      // Other software has the VIP then.
      if (first !== undefined || before === undefined || goesFirst(world)) return undefined;
      const knownMs = world.scheduler.nowMs - KNOWN_MS;
      const able = world.nodes.filter(
        (node) =>
          node !== before &&
          node.eligible &&
          (eligibleSince.get(node) ?? Number.POSITIVE_INFINITY) <= knownMs,
      );
      return able.length === 0
        ? undefined
        : `${before.name} let the VIP go, and nobody had it yet; ${able.map((node) => node.name).join(", ")} could have`;
    },
  };
};

/**
 * A process that is killed and started again within the kubelet's 1.6 s neither moves the VIP nor loses it
 * (profile `planned`).
 */
export const quickRestartsMoveNothing: Invariant = (world) => ({
  write(write) {
    const node = newHolder(world, write);
    if (node === undefined || world.plan.profile !== "planned") return undefined;
    const holder = world.nodes.find((one) => one.name === write.change.before?.holder);
    const nowMs = world.scheduler.nowMs;
    const crash = world.plan.faults.find(
      (fault) =>
        fault.kind === "crash" &&
        fault.node === holder?.index &&
        nowMs > fault.atMs &&
        nowMs < fault.atMs + 12_000,
    );
    // It may have been asked to hand over for a reason of its own.
    if (crash === undefined || write.change.before?.annotations[OFFER] === node.name) return undefined;
    return `${node.name} took the VIP though ${holder?.name} was only restarted`;
  },
});

/** The next announcement, by the slowest clock. */
const ANNOUNCED_MS = 60_000 / 0.95 + 2_000;
/**
 * Whoever has the VIP hears who else claims it, and says again that it is its own: at once, or 10 s after it
 * last said so; and then some to be sure.
 */
const CORRECTED_MS = 10_000 / 0.95 + 2_000;

/**
 * The neighbours send the VIP's packets to the machine that has it: six seconds after it is alone with it, or
 * has announced it, each knows that one. A machine whose link is dead tells nobody. Where a foreign host
 * claimed the VIP, or a frame left its sender late, the holder hears it too, and says again whose it is.
 */
export const theWireFollows: Invariant = (world, health) => {
  let undefendedMs = Number.NEGATIVE_INFINITY;
  let alone: { readonly node: SimNode; readonly sinceMs: number } | undefined;
  return {
    step([node, second]) {
      const { segment } = world;
      const nowMs = world.scheduler.nowMs;
      if (
        node === undefined ||
        second !== undefined ||
        node.agent?.process.running !== true ||
        !node.kernel.link.carrier ||
        segment.foreignHostClaims ||
        health.linksChangedMs > nowMs - 12_000
      ) {
        alone = undefined;
        return undefined;
      }
      if (node.provisional !== "" && nowMs - segment.misledMs < CORRECTED_MS) undefendedMs = segment.misledMs;
      if (node.provisional !== "" && segment.lastAnnouncer !== node.index)
        undefendedMs = segment.announcerChangedMs;
      if (alone?.node !== node) alone = { node, sinceMs: nowMs };
      // Another may have bound, announced and let go within one instant.
      if (
        nowMs - Math.max(alone.sinceMs, segment.announcerChangedMs) < 6_000 ||
        nowMs - segment.misledMs < CORRECTED_MS
      )
        return undefined;
      // It cannot answer what it did not hear; and without the Lease nobody defends the VIP against a
      // stranger.
      if (nowMs - world.unheardMs < ANNOUNCED_MS || nowMs - undefendedMs < ANNOUNCED_MS) return undefined;
      const wrong = segment.neighbours.find((neighbour) => neighbour.owner !== node.index);
      return wrong === undefined
        ? undefined
        : `${node.label} has the VIP, but ${wrong.name} believes that ${world.machines[Number(wrong.owner)]?.label ?? wrong.owner} has it`;
    },
  };
};
