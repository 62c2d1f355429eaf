/**
 * Decides what this node does next. Pure: the same state and event give the same answer. There is no clock
 * and no I/O here.
 *
 * What a reader may rely on:
 *   - The VIP is bound only until a time that this machine names. That time follows from the node's own last
 *     accepted write.
 *   - At most one machine holds the Lease at a time, because every claim is a compare-and-swap. A machine
 *     that has the VIP without holding the Lease is PROVISIONAL. How long two machines may have the VIP at
 *     once is bounded in docs/verification.md.
 *
 * The machine is level-triggered. An event changes facts. Then `decide` looks at all facts together, and says
 * what is due now and when it wants to be woken. So no timer can be forgotten, and an agent that was frozen
 * for a minute finds, first of all, that its deadline has passed.
 *
 * Time enters only as `nowMs` (monotonic). Times that other nodes wrote into the Lease are never compared
 * with this node's: their clocks may be wrong. The only question is "has the record changed since this node
 * last looked?".
 *
 * The roles, every change between them, and the file that decides it (transitions.ts has this table as data):
 *
 *     BACKUP      → MASTER      the API accepts its claim (master.ts)
 *     BACKUP      → PROVISIONAL the holder is silent on the wire, and two holders do no harm (backup.ts)
 *     BACKUP      → PROVISIONAL no API server lets it read the Lease, and no machine has the VIP (backup.ts)
 *     BACKUP      → PROVISIONAL it cannot write the Lease, and no machine renews it or has the VIP (unwritten.ts)
 *     BACKUP      → STOPPED     it is stopping and has withdrawn its candidacy, or 1 s is over (stopping.ts)
 *     PROVISIONAL → MASTER      the API accepts its claim or renewal (master.ts)
 *     PROVISIONAL → BACKUP      its reason has ended, its time is over, or it is stopping (provisional.ts)
 *     PROVISIONAL → BACKUP      it gives way to another machine that claims the VIP (provisional.ts)
 *     MASTER      → BACKUP      the Lease names another machine (master.ts)
 *     MASTER      → BACKUP      the renew deadline has passed (fence.ts)
 *     MASTER      → PROVISIONAL it cannot renew the Lease, and its link carries frames (master.ts)
 *     MASTER      → PROVISIONAL another candidate claims the VIP, and no server confirms this one (master.ts)
 *     MASTER      → BACKUP      other software has the VIP, which it gives back (take-over.ts)
 *     MASTER      → RELEASING   it is stopping, and no candidate has taken its offer (stopping.ts)
 *     RELEASING   → STOPPED     the API has answered the release, or 1 s is over (stopping.ts)
 *
 * Where each of VRRP's rules is:
 *
 *     who is better; an equal one never preempts       ranking.ts
 *     rise, fall and weights of the checks             ../tracking/rules.ts
 *     preempt delay                                    candidates.ts
 *     preempt, nopreempt                               candidates.ts
 *     skew; the k-th best waits                        claim-order.ts
 *     Lease expiry (VRRP: Master_Down_Interval)        vacancy.ts
 *     renewals (VRRP: advertisements)                  master.ts
 *     renew deadline (the fence)                       fence.ts
 *     an offer, and its 0.9 s                          handover.ts, fence.ts
 *     FAULT, eligible                                  eligibility.ts
 *     flap damping                                     flap-damping.ts
 *     when a PROVISIONAL node lets go                  provisional.ts
 *     two machines of one name                         identity.ts, ../kube/lease-change.ts
 *     stopping                                         stopping.ts
 *     every candidate is in FAULT                      claim-order.ts
 *
 * Where the rules are that a Lease and a network add to VRRP's:
 *
 *     when a BACKUP claims; before there is an API     backup.ts
 *     which record of the Lease is the newest          lease-view.ts
 *     what is read, published and asked of the API     lease-traffic.ts
 *     the Lease cannot be written                      unwritten.ts
 *     the nodes were given different VIPs              vip-agreement.ts
 *     can another node write it                        api-loss.ts
 *     what the wire tells                              evidence.ts
 *     before a first claim the wire is asked           address-check.ts
 *     another machine claims the VIP of a MASTER       contention.ts
 *     other software has the VIP first                 take-over.ts
 *     the link of the holder is dead                   link-loss.ts
 *     nodes that have left the cluster                 departed.ts
 *     which machines are watched on the wire           watch-target.ts
 */
import { decideBackup } from "./backup.ts";
import { trackOutranking } from "./candidates.ts";
import { departedAnswered, serversAnswered } from "./departed.ts";
import { learnTracking } from "./eligibility.ts";
import { learnEvidence } from "./evidence.ts";
import { adoptLeftOver, dropAdoptable, enforceFence } from "./fence.ts";
import { settleDispute, settleHoldOff } from "./flap-damping.ts";
import { offerAnswered } from "./handover.ts";
import { settleNamesake } from "./identity.ts";
import * as traffic from "./lease-traffic.ts";
import { decideMaster, holdLease } from "./master.ts";
import { decideProvisional } from "./provisional.ts";
import { StepBuilder } from "./step.ts";
import { releaseAnswered, stopBackup, stopReleasing } from "./stopping.ts";
import { trackOther } from "./take-over.ts";
import type { ElectionEvent, ElectionSettings, ElectionState, Role, SelfFacts, Step } from "./types.ts";
import { compareVips } from "./vip-agreement.ts";
import { decideWatch } from "./watch-target.ts";

/** Longer ago than anything that the machine waits for. */
const NEVER_MS = Number.NEGATIVE_INFINITY;
const NOTHING_KNOWN: SelfFacts = {
  effective: 0,
  faults: [],
  ready: false,
  mac: "",
  fastPath: undefined,
  foreign: false,
};

export function initialState(settings: ElectionSettings, nowMs: number): ElectionState {
  return {
    role: { kind: "BACKUP", retryAtMs: nowMs, unclaimedSinceMs: null },
    reason: "the agent has started",
    sinceMs: nowMs,
    startedAtMs: nowMs,
    stopping: null,
    nextId: 1,
    lease: {
      view: null,
      write: null,
      offerInFlight: false,
      refusal: null,
      unwritten: null,
      read: {
        inFlight: false,
        nextAtMs: nowMs,
        okAtMs: null,
        failingSinceMs: null,
        failure: null,
        goodSinceMs: NEVER_MS,
      },
      survey: { inFlight: false, nextAtMs: nowMs, found: null },
      publish: { inFlight: false, atMs: NEVER_MS, okAtMs: NEVER_MS, text: "", counter: 0 },
    },
    wire: {
      proof: null,
      contender: null,
      probed: null,
      answeredAtMs: NEVER_MS,
      prober: null,
      probingSinceMs: null,
      metAtMs: null,
      stranger: null,
      other: null,
      defendedAtMs: NEVER_MS,
      defendPauseMs: 0,
      watched: null,
    },
    self: {
      tracking: { ...NOTHING_KNOWN, effective: settings.base },
      damping: null,
      disputed: null,
      holdOff: false,
      linkWasGood: false,
      outrankingSinceMs: null,
      namesake: null,
      mismatch: null,
      overwritten: 0,
    },
    leftOver: { resumeUntilMs: null, adoptable: null },
    servers: { answeredAtMs: NEVER_MS, unnamedSinceMs: new Map() },
  };
}

/** What the machine makes of one event, at `nowMs` by the monotonic clock. */
export function step(
  settings: ElectionSettings,
  state: ElectionState,
  event: ElectionEvent,
  nowMs: number,
): Step {
  const { role, ...facts } = state;
  const builder = new StepBuilder(settings, facts, nowMs);
  return builder.finish(decide(builder, apply(builder, enforceFence(builder, role), event)));
}

/** The event changes facts, and an answer of the API changes the role. Returns the role after it. */
function apply(step: StepBuilder, role: Role, event: ElectionEvent): Role {
  switch (event.kind) {
    case "start":
      adoptLeftOver(step, event);
      return role;
    case "left-over-gone":
      dropAdoptable(step);
      return role;
    case "watched":
      traffic.watchAnswered(step, event.record);
      return role;
    case "read":
      traffic.readAnswered(step, event);
      return role;
    case "written":
      traffic.seeOutcome(step, event.outcome, event.sentAtMs);
      return applyWritten(step, role, event);
    case "surveyed":
      traffic.surveyAnswered(step, event);
      return role;
    case "evidence":
      return learnEvidence(step, role, event.evidence);
    case "self":
      learnTracking(step, event.facts);
      return role;
    case "servers":
      serversAnswered(step, event.addresses);
      return role;
    case "stop":
      if (step.facts.stopping === null) step.set({ stopping: { sinceMs: step.nowMs } });
      return role;
    case "wake":
      return role;
  }
}

function applyWritten(
  step: StepBuilder,
  role: Role,
  event: Extract<ElectionEvent, { kind: "written" }>,
): Role {
  const { id, outcome, write, sentAtMs } = event;
  switch (write.kind) {
    case "candidate":
      traffic.publishAnswered(step, outcome, sentAtMs);
      return role;
    case "offer":
      traffic.offerFinished(step);
      return role.kind === "MASTER" ? offerAnswered(step, role, write, sentAtMs, outcome) : role;
    case "claim":
    case "renew":
      if (!traffic.writeAnswered(step, id)) return role;
      if (outcome.kind !== "ok") return retryAt(role, step.nowMs + traffic.retryAfterMs(write, outcome));
      if (write.kind === "renew") departedAnswered(step, write.departed, outcome.record);
      // A MASTER claims where the Lease was emptied under it. Another node may have had the VIP, and
      // announced it, in between.
      if (write.kind === "claim" && role.kind === "MASTER") step.effect({ kind: "announce" });
      return holdLease(step, role, sentAtMs, outcome.record);
    case "release":
      if (!traffic.writeAnswered(step, id)) return role;
      if (role.kind === "RELEASING") return releaseAnswered(step, role, outcome);
      return retryAt(role, step.nowMs + traffic.RETRY_MS);
  }
}

/** The refused or unanswered claim, renewal or release may be tried again at `atMs`. */
function retryAt(role: Role, atMs: number): Role {
  switch (role.kind) {
    case "MASTER":
      return { ...role, nextRenewAtMs: atMs };
    case "BACKUP":
      return { ...role, retryAtMs: atMs };
    case "PROVISIONAL":
      return { ...role, retryAtMs: atMs };
    case "RELEASING":
    case "STOPPED":
      return role;
  }
}

/** Looks at all facts together. Returns the role after it. */
function decide(step: StepBuilder, before: Role): Role {
  settleHoldOff(step);
  settleNamesake(step);
  compareVips(step);
  trackOther(step);
  trackOutranking(step, before);
  let role = before;
  // A change of role may open the next one (BACKUP after a loss, STOPPED after a release), so this looks
  // again until the role stays.
  for (let round = 0; round < 4; round += 1) {
    const { kind } = role;
    role = decideRole(step, role);
    if (role.kind === kind) break;
  }
  settleDispute(step, role);
  traffic.decidePublish(step, role);
  traffic.decideRead(step, role);
  traffic.decideSurvey(step, role);
  decideWatch(step, role);
  return role;
}

function decideRole(step: StepBuilder, role: Role): Role {
  const { stopping } = step.facts;
  switch (role.kind) {
    case "MASTER":
      return decideMaster(step, role);
    case "PROVISIONAL":
      return decideProvisional(step, role);
    case "BACKUP":
      return stopping === null ? decideBackup(step, role) : stopBackup(step, role, stopping.sinceMs);
    case "RELEASING":
      return stopReleasing(step, role);
    case "STOPPED":
      return role;
  }
}
