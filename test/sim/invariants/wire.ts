/**
 * What the VIP's wire decides: whose silence is proof, how fast a dead holder is replaced, who stays while
 * nobody can claim, and who serves before there is an API.
 */
import type { Health } from "../health.ts";
import { UNSTABLE_FAULT } from "../../../src/election/types.ts";
import type { SimNode } from "../node.ts";
import { LEASE_DURATION_MS, MISSES, RENEW_DEADLINE_MS } from "../world.ts";
import type { World } from "../world.ts";
import {
  GIVEN_BACK_MS,
  PASSED_OVER_MS,
  awake,
  forced,
  justResumed,
  newHolder,
  proofWindowMs,
  published,
  speaks,
  turnMs,
} from "./common.ts";
import type { Invariant } from "./common.ts";

/** Turns until a holder's silence means something, and some to be steady. */
const CALIBRATION_TURNS = 45;
/** Sampling, timers, and the step itself. */
const SLACK_MS = 150;

/**
 * No proof of death of a holder whose kernel has the VIP and is in reach, as of the last turn; nor without a
 * third host in reach. Lost frames, and a machine that has just gone on after a suspension, apart.
 */
export const provesOnlyTheDead: Invariant = (world, health) => ({
  proof(node) {
    const nowMs = world.scheduler.nowMs;
    const windowMs = proofWindowMs(world);
    const name = node.status()?.holder;
    if (nowMs - health.lossMs < windowMs * MISSES) return undefined;
    const others = world.machines.filter((other) => other !== node);
    // A second machine of that name is not the holder.
    const holder = world.holderOf(world.plane.table.record);
    const isMeant = (other: SimNode): boolean =>
      holder?.name === name ? other === holder : other.name === name;
    const alive = others.find(
      (other) =>
        isMeant(other) &&
        !justResumed(world, other) &&
        Math.max(health.cutMs(node.index, other.index), health.unboundMs(other)) < nowMs - windowMs,
    );
    if (alive !== undefined) return `${node.label} takes ${alive.label} for dead, whose kernel answers`;
    const third = [...others.filter((other) => other.name !== name), world.router];
    const reached = third.some(
      ({ index }) => health.reachedMs(node.index, index) > nowMs - windowMs * MISSES,
    );
    return reached ? undefined : `${node.label} takes ${name} for dead and has reached nobody else`;
  },
});

/** Answers that a proof needs of the holder, in its tenure. */
const ANSWERS = 20;
/** A node reads every 2 s. What changed and changed back between two reads it may not have seen. */
const UNSEEN_MS = 2_000 / 0.95;

/**
 * Nor of a holder whose kernel cannot have answered twenty times in this tenure: what was never heard may be
 * filtered.
 */
export const provesOnlyWhatAnswered: Invariant = (world, health) => {
  const answerableMs = world.machines.map(() => 0);
  let sampledMs = 0;
  let tenureMs = 0;
  let last: SimNode | undefined;
  /** When each last lost the Lease. */
  const lostMs = new Map<SimNode, number>();
  /** How well each was known then. */
  const knownMs = new Map<SimNode, readonly number[]>();
  return {
    write(write) {
      const holder = newHolder(world, write);
      if (holder === undefined) return undefined;
      // One that writes its deleted Lease again is as well known as before. Who is frozen, or whose watch is
      // silent, does not see a short term of another one between two of the same machine.
      const { nowMs } = world.scheduler;
      const isKnown = holder === last || nowMs - (lostMs.get(holder) ?? Number.NEGATIVE_INFINITY) < UNSEEN_MS;
      if (last !== undefined && last !== holder) {
        lostMs.set(last, nowMs);
        knownMs.set(last, [...answerableMs]);
      }
      const before = isKnown ? knownMs.get(holder) : undefined;
      for (const node of world.machines) {
        if (holder === last || !awake(node)) continue;
        answerableMs[node.index] = before?.[node.index] ?? 0;
      }
      last = holder;
      tenureMs = world.scheduler.nowMs;
      return undefined;
    },
    step() {
      const passedMs = world.scheduler.nowMs - sampledMs;
      sampledMs = world.scheduler.nowMs;
      const { record } = world.plane.table;
      // A webhook may have put this name beside another machine's instance. Who proves it dead knows the name
      // alone.
      const holder =
        world.namesakes.length > 0
          ? world.holderOf(record)
          : world.nodes.find(({ name }) => name === record?.holder);
      if (holder === undefined) return undefined;
      for (const node of world.machines) {
        const reached =
          Math.max(health.cutMs(node.index, holder.index), health.unboundMs(holder)) <
          world.scheduler.nowMs - 100;
        if (reached) answerableMs[node.index] = (answerableMs[node.index] ?? 0) + passedMs;
      }
      return undefined;
    },
    proof(node) {
      const leastMs = ANSWERS * world.plan.probeMs * (world.plan.fastPath ? 1 : 10) * 0.9 - 1_000;
      const hadMs = answerableMs[node.index] ?? 0;
      // What it watches is the tenure that it knows.
      if (
        world.scheduler.nowMs - tenureMs < 2_000 ||
        node.status()?.holder !== world.plane.table.record?.holder
      )
        return undefined;
      return hadMs >= leastMs
        ? undefined
        : `${node.label} takes ${node.status()?.holder} for dead, which cannot have answered it for more than ${hadMs.toFixed(0)} ms`;
    },
  };
};

interface Loss {
  readonly holder: SimNode;
  readonly atMs: number;
  readonly candidate: SimNode;
  readonly deadlineMs: number;
}

/**
 * Liveness of the proof: the machine that the Lease names is off, or cut off from everybody; a healthy
 * candidate had watched it for long, has a third host and an API server: then the VIP is bound elsewhere two
 * turns after the misses, and 100 ms later for each better candidate. Without the fast path the claim has to
 * be answered first: 500 ms for each API server that has to be passed over.
 */
export const provenDeathIsReplacedFast: Invariant = (world, health) => {
  /** Whose proofs have begun: one that was wrong is followed by a minute without. */
  const proved = new Set<SimNode>();
  let loss: Loss | undefined;
  let lost: SimNode | undefined;
  let tenureMs = 0;
  let lastBound: { readonly node: SimNode | undefined; readonly atMs: number } = { node: undefined, atMs: 0 };
  const tell = (bound: readonly SimNode[]): string | undefined => {
    const nowMs = world.scheduler.nowMs;
    const holder = world.holderOf(world.plane.table.record);
    if (holder?.kernel.bound === true) lastBound = { node: holder, atMs: nowMs };
    const gone = holder !== undefined && isLost(world, health, holder) ? holder : undefined;
    if (gone !== lost) {
      lost = gone;
      loss = gone === undefined ? undefined : expect(gone, nowMs);
    }
    if (loss === undefined) return undefined;
    const { candidate, deadlineMs, atMs } = loss;
    const usableMs = health.usableSince(candidate);
    const premises =
      isSteady(candidate, atMs) &&
      usableMs !== undefined &&
      usableMs < atMs &&
      health.lossMs < atMs - LEASE_DURATION_MS &&
      !forced(world) &&
      world.disturbedUntilMs < atMs - LEASE_DURATION_MS;
    if (!premises || bound.some((node) => node !== gone)) loss = undefined;
    else if (nowMs > deadlineMs)
      return `${gone?.label} is gone for ${(nowMs - atMs).toFixed(0)} ms, and ${candidate.label} could have had the VIP`;
    return undefined;
  };
  const isSteady = (node: SimNode, atMs: number): boolean =>
    (health.goodSince(node) ?? Number.POSITIVE_INFINITY) < atMs - steadyMs(world);
  const expect = (holder: SimNode, atMs: number): Loss | undefined => {
    const record = world.plane.table.record;
    if (
      holder !== lastBound.node ||
      atMs - lastBound.atMs > 1_000 ||
      tenureMs > atMs - steadyMs(world) ||
      holder.upsets.length > 0
    )
      return undefined;
    if (
      world.segment.foreignHostClaims ||
      world.segment.announcerChangedMs > atMs - steadyMs(world) ||
      world.namesakes.length > 0
    )
      return undefined;
    const able = world.nodes.filter(
      (node) => node !== holder && published(record, node.name)?.eligible === true,
    );
    const candidate = able.find(
      (node) =>
        isSteady(node, atMs) &&
        !proved.has(node) &&
        published(record, node.name)?.effective === node.facts.effective &&
        health.reachedSince(node.index, holder.index) < atMs - steadyMs(world) - 200 &&
        health.reachedMs(node.index, holder.index) > atMs - 300 &&
        [...world.nodes, world.router].some(
          (third) =>
            third !== node &&
            third !== holder &&
            Math.max(health.cutMs(node.index, third.index), reachedLater(third.index, node)) <
              atMs - steadyMs(world),
        ),
    );
    if (candidate === undefined) return undefined;
    const answerMs = world.plan.fastPath ? 0 : 1_500 + (health.badServers() + 1) * 600;
    return {
      holder,
      atMs,
      candidate,
      deadlineMs:
        atMs + (MISSES + 2) * turnMs(world) + (100 * (able.length - 1)) / 0.95 + answerMs + SLACK_MS,
    };
  };
  /** The router may not be there at all. */
  const reachedLater = (index: number, node: SimNode): number =>
    health.reachedMs(node.index, index) === Number.NEGATIVE_INFINITY
      ? Number.POSITIVE_INFINITY
      : Number.NEGATIVE_INFINITY;
  return {
    proof(node) {
      if (lost === undefined) proved.add(node);
      return undefined;
    },
    write(write) {
      if (newHolder(world, write) !== undefined) tenureMs = world.scheduler.nowMs;
      return undefined;
    },
    step: tell,
  };
};

/** Its claim is over after 2 s, and is sent again half a second later. It is sent twice to each server meanwhile. */
const CLAIM_AGAIN_MS = 1_700 / 0.95;
/**
 * A node that serves by proof of death has the Lease soon: from when the holder is dead in truth, and an API
 * server would write for this node, until an accepted claim. A claim that is lost is no reason to wait until
 * the Lease has run out.
 */
export const serverByProofHasTheLease: Invariant = (world, health) => {
  /** Since when each has served by proof, in true ms; NaN: it does not. */
  const servingMs = new Float64Array(world.machines.length).fill(Number.NaN);
  let lostMs = Number.NaN;
  /** When it was last unclear what the API does. Its health is sampled, and may not know yet that this is over. */
  let unclearMs = Number.NEGATIVE_INFINITY;
  return {
    step() {
      const { nowMs } = world.scheduler;
      const holder = world.holderOf(world.plane.table.record);
      if (holder === undefined || holder.kernel.bound || !isLost(world, health, holder)) lostMs = Number.NaN;
      else if (Number.isNaN(lostMs)) lostMs = nowMs;
      const unclear =
        world.plane.admission !== 0 ||
        world.plane.modes.some(({ kind }) => kind === "slow" || kind === "mute" || kind === "failing");
      if (unclear) unclearMs = nowMs;
      for (const node of world.nodes) {
        const { index, agent } = node;
        if (node.provisional === "proof") servingMs[index] = agent?.roleMs ?? nowMs;
        else if (node.provisional !== "unwritten") servingMs[index] = Number.NaN;
        const usableMs = health.usableSince(node);
        const awakeMs = health.awakeSince(node);
        if (unclear || usableMs === undefined || awakeMs === undefined || world.disputed(node)) continue;
        const waitedMs =
          nowMs -
          Math.max(
            servingMs[index] ?? Number.NaN,
            lostMs,
            usableMs,
            awakeMs,
            node.clock.resumedMs,
            health.lossMs,
            health.apiChangedMs,
            unclearMs,
            world.disturbedUntilMs,
            world.plane.stalledUntilMs,
          );
        if (waitedMs > CLAIM_AGAIN_MS + health.badServers() * PASSED_OVER_MS)
          return `${node.label} serves by proof for ${waitedMs.toFixed(0)} ms, and has not got the Lease of ${holder?.label}`;
      }
      return undefined;
    },
  };
};

function steadyMs(world: World): number {
  return CALIBRATION_TURNS * turnMs(world) + 15_000;
}

/** Neither a node nor the router hears its kernel. */
function isLost(world: World, health: Health, holder: SimNode): boolean {
  const { nowMs } = world.scheduler;
  if (holder.clock.suspended) return false;
  const heard = ({ index }: { readonly index: number }): boolean =>
    health.reachedMs(holder.index, index) >= nowMs - 2 * 50;
  return !heard(world.router) && world.machines.every((other) => other === holder || !heard(other));
}

/**
 * So long the truth must have been so for the holder to know it in time: what begins after a renewal, which
 * it sends every second, leaves it the rest of its deadline.
 */
const KNOWN_MS = (RENEW_DEADLINE_MS - 1_000) / 1.05 - 200;
/** And so long nothing else may have happened to it. */
const CALM_MS = RENEW_DEADLINE_MS + 4_000;
/** Who is there is asked once a second; then the node has met it. */
const MET_MS = 2_500;

/** A port of a switch may drop all frames for 30 s, by the slowest clock. */
const SPANNING_TREE_MS = 30_000 / 0.95;

/**
 * While in truth nobody can claim (all API servers refuse, or etcd has no quorum) the VIP stays where it is,
 * as long as that machine, its agent and its link live, for however long. Frozen, asked to stop, without its
 * link, faced with another claimant or handing over it may let go. So may one that has met nobody on its link
 * since it began: until the spanning tree's time is over it does not know that the link carries frames.
 */
export const nothingMovesWhileNobodyCanClaim: Invariant = (world, health) => {
  const wasBound = world.nodes.map(() => false);
  /** When two were last bound. */
  let twoMs = Number.NEGATIVE_INFINITY;
  return {
    step(bound) {
      // That is what a person has asked for.
      if (world.plan.onApiLoss === "release") return undefined;
      const nowMs = world.scheduler.nowMs;
      if (bound.length > 1 || world.segment.foreignHostClaims) twoMs = nowMs;
      for (const node of world.nodes) {
        const before = wasBound[node.index];
        const now = (wasBound[node.index] = bound.includes(node));
        if (before !== true || now || node.agent === undefined || node.agent.stopping || !awake(node))
          continue;
        const since = Math.max(
          health.holdableSince(node) ?? nowMs,
          health.awakeSince(node) ?? nowMs,
          node.agent.startedMs,
          health.lossMs,
          node.clock.resumedMs,
        );
        if (
          nowMs - since < KNOWN_MS ||
          nowMs - Math.max(twoMs, node.agent.handoverMs) < CALM_MS ||
          nowMs - world.flushedAtMs < 1 ||
          forced(world)
        )
          continue;
        // It is over, and a claim that had waited for it came before the holder's own renewal.
        if (world.holderOf(world.plane.table.record) !== node) continue;
        if (node.facts.faults.includes("interface") || !node.kernel.link.carrier || world.disputed(node))
          continue;
        if (nowMs - node.agent.startedMs < SPANNING_TREE_MS && !hasMet(world, health, node)) continue;
        return `${node.name} let the VIP go though nobody could claim it for ${((nowMs - since) / 1_000).toFixed(1)} s`;
      }
      return undefined;
    },
  };
};

/**
 * Its agent has had the time to meet another agent, or the router, on the VIP's link. A machine whose agent
 * does not run says nothing until it is asked.
 */
function hasMet(world: World, health: Health, node: SimNode): boolean {
  const startedMs = node.agent?.startedMs ?? 0;
  const reached = (index: number): boolean =>
    health.reachedMs(node.index, index) - Math.max(startedMs, health.reachedSince(node.index, index)) >
    MET_MS;
  return (
    reached(world.router.index) ||
    world.machines.some((other) => other !== node && awake(other) && speaks(other) && reached(other.index))
  );
}

/** On a link where nobody is heard, by the slowest clock; then a probe. */
const ALONE_MS = SPANNING_TREE_MS + 4_000;
/**
 * Where somebody is heard: a failed read, a random second, three probes; and once more if another one asked
 * at the same time.
 */
const TOGETHER_MS = 32_000;

/**
 * Nodes that have never seen the Lease, and that no API server lets read it, serve all the same: one of those
 * that reach each other has the VIP in time.
 */
export const servesBeforeThereIsAnApi: Invariant = (world, health) => {
  const since = new Map<SimNode, number>();
  return {
    step(bound) {
      const nowMs = world.scheduler.nowMs;
      for (const node of world.nodes) {
        const waits =
          health.usableSince(node) === undefined &&
          awake(node) &&
          node.agent?.stopping === false &&
          node.kernel.link.carrier &&
          node.facts.faults.every((fault) => fault === "balancer") &&
          !world.segment.foreignHostClaims &&
          !world.disputed(node) &&
          !bound.some(
            (other) => other === node || health.reachedMs(node.index, other.index) > nowMs - 5_000,
          ) &&
          node.status()?.holder === null;
        if (!waits) {
          since.delete(node);
          continue;
        }
        if (!since.has(node)) since.set(node, nowMs);
        const waitedMs =
          nowMs - Math.max(since.get(node) ?? nowMs, health.lossMs, health.awakeSince(node) ?? nowMs);
        if (waitedMs > Math.max(ALONE_MS, TOGETHER_MS))
          return `${node.label} has no API server, hears nobody with the VIP for ${(waitedMs / 1_000).toFixed(1)} s, and has not taken it`;
      }
      return undefined;
    },
  };
};

/** Three probes, 200 ms apart, by the fastest clock. */
const ASKED_MS = 500;

/**
 * A node that takes the VIP for want of an API server, or because it cannot write the Lease, has asked the
 * wire. All that time no machine that could hear it had the VIP. To adopt what an earlier process left bound
 * is no taking.
 */
export const asksBeforeItServes: Invariant = (world, health) => {
  const roles = world.machines.map(() => "");
  /** Whether each had it in the step before. */
  const had = world.machines.map(() => false);
  /** When each last did not have it. */
  const unboundMs = world.machines.map(() => 0);
  return {
    step(bound) {
      const { nowMs } = world.scheduler;
      for (const node of world.machines) {
        if (!bound.includes(node)) unboundMs[node.index] = nowMs;
        const hadIt = had[node.index] === true;
        had[node.index] = bound.includes(node);
        const role = node.agent?.role ?? "";
        const before = roles[node.index];
        roles[node.index] = role;
        if (
          role !== "PROVISIONAL" ||
          before === role ||
          (node.provisional !== "bootstrap" && node.provisional !== "unwritten") ||
          hadIt
        )
          continue;
        if (nowMs - health.lossMs < 1_000 || nowMs - node.clock.resumedMs < 1_000) continue;
        const has = world.machines.find(
          (other) =>
            other !== node &&
            !other.clock.suspended &&
            nowMs - other.clock.resumedMs > ASKED_MS &&
            nowMs - Math.max(unboundMs[other.index] ?? 0, health.cutMs(node.index, other.index)) > ASKED_MS,
        );
        if (has !== undefined) return `${node.label} took the VIP though ${has.label} has it, and answers`;
      }
      return undefined;
    },
  };
};

/**
 * A frame in another candidate's name is no more than a frame. Where the API carries out what the nodes
 * write, no such frame makes a holder provisional, and none is charged to a node as trouble.
 */
export const claimsAloneMoveNothing: Invariant = (world) => {
  if (!world.plan.faults.some(({ kind }) => kind === "forged")) return {};
  return {
    step() {
      for (const node of world.nodes) {
        if (node.provisional === "contested") return `${node.label} is provisional for a forged frame`;
        if (node.status()?.faults.includes(UNSTABLE_FAULT) === true)
          return `${node.label} is charged with trouble for a forged frame`;
      }
      return undefined;
    },
  };
};

/** A question, three probes, a drain, the annotation and the claim, by the slowest clock. */
const TAKEN_OVER_MS = 1_000 / 0.95;

/**
 * The expiry of a Lease whose holder was killed, the time that a node which has just begun to read grants it,
 * a second in which its machine goes on answering, and a question, by the slowest clock.
 */
const STANDS_BY_MS = 15_000 / 0.95;
/**
 * Where the agent of the other software's machine does not run, nothing tells whose the address is: a drain
 * of the socket, a second in which the machine goes on answering, and a question, by the slowest clock.
 */
const UNTOLD_MS = 2_000 / 0.95;
/** Milliseconds between two looks at what the agents say. */
const LOOK_MS = 1_000;

/**
 * With takeOver the agents and the other software have the VIP together for moments only, and the agents have
 * it within a second after the other software is silent. Every agent says that it stands by. Not where frames
 * are lost, an API server is away, or the segment is cut.
 */
export const standsByForOtherSoftware: Invariant = (world, health) => {
  let bothSinceMs: number | undefined;
  let goneMs: number | undefined;
  let claimsSinceMs: number | undefined;
  let askedMs = 0;
  return {
    step(bound) {
      if (world.plan.takeOver !== true) return undefined;
      const { nowMs } = world.scheduler;
      const { foreignHostClaims, foreignEndedMs } = world.segment;
      const both = foreignHostClaims && bound.some(({ agent }) => agent?.process.running === true);
      bothSinceMs = both ? (bothSinceMs ?? nowMs) : undefined;
      claimsSinceMs = foreignHostClaims ? (claimsSinceMs ?? nowMs) : undefined;
      if (foreignHostClaims || bound.length > 0) goneMs = undefined;
      else if (goneMs === undefined && foreignEndedMs === nowMs) goneMs = nowMs;
      // Where there is no Lease, an agent that has just started waits: somebody may have deleted it.
      if (goneMs !== undefined && world.plane.table.record === null) {
        const started = world.nodes.flatMap((node) =>
          awake(node) && node.eligible ? [node.agent?.startedMs ?? nowMs] : [],
        );
        goneMs = Math.max(goneMs, Math.min(nowMs, Math.min(...started) + LEASE_DURATION_MS / 0.95));
      }
      const isCalm = nowMs - Math.max(health.lossMs, health.apiChangedMs, health.linksChangedMs) > 2_000;
      if (!isCalm || !world.nodes.some((node) => awake(node))) return undefined;
      const isUntold = world.nodes.some(
        ({ agent, kernel }) => kernel.squatted && agent?.process.running !== true,
      );
      if (bothSinceMs !== undefined && nowMs - bothSinceMs > (isUntold ? UNTOLD_MS : GIVEN_BACK_MS))
        return `${bound[0]?.label} has the VIP beside other software for ${(nowMs - bothSinceMs).toFixed(0)} ms`;
      if (goneMs !== undefined && nowMs - goneMs > TAKEN_OVER_MS)
        return `other software is silent for ${(nowMs - goneMs).toFixed(0)} ms, and no node has the VIP`;
      if (claimsSinceMs === undefined || nowMs < askedMs + LOOK_MS) return undefined;
      askedMs = nowMs;
      const calmMs = Math.max(
        claimsSinceMs,
        health.lossMs,
        health.apiChangedMs,
        health.linksChangedMs,
        world.forcedAtMs,
      );
      const unaware = world.nodes.find((node) => {
        const awakeMs = health.awakeSince(node) ?? nowMs;
        const sinceMs = Math.max(
          calmMs,
          awakeMs,
          health.usableSince(node) ?? nowMs,
          node.agent?.startedMs ?? nowMs,
        );
        return nowMs - sinceMs > STANDS_BY_MS && node.status()?.taken === false;
      });
      return unaware === undefined
        ? undefined
        : `${unaware.label} does not stand by, though other software has the VIP for ${(nowMs - claimsSinceMs).toFixed(0)} ms`;
    },
  };
};
