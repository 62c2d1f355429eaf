/**
 * Decides what this node does next. Pure: the same state and event give the same answer. There is no clock and no I/O here.
 *
 * What a reader may rely on:
 *   - The VIP is bound only until a time that this machine names. That time follows from the node's own last accepted write.
 *   - At most one machine holds the Lease at a time, because every claim is a compare-and-swap. A machine that has the VIP without
 *     holding the Lease is PROVISIONAL. How long two machines may have the VIP at once is bounded in docs/verification.md.
 *
 * The machine is level-triggered. An event changes facts. Then `decide` looks at all facts together, and says what is due
 * now and when it wants to be woken. So no timer can be forgotten, and an agent that was frozen for a minute finds, first of
 * all, that its deadline has passed.
 *
 * Time enters only as `nowMs` (monotonic). Times that other nodes wrote into the Lease are never compared with this node's:
 * their clocks may be wrong. The only question is "has the record changed since this node last looked?".
 *
 * The roles, every change between them, and the file that decides it (transitions.ts has this table as data):
 *
 *     BACKUP      → MASTER      the API accepts its claim (master.ts)
 *     BACKUP      → PROVISIONAL the holder is silent on the wire, and two holders do no harm (backup.ts)
 *     BACKUP      → PROVISIONAL no API server lets it read the Lease, and no machine answers for the VIP (backup.ts)
 *     BACKUP      → STOPPED     it is stopping and has withdrawn its candidacy, or 1 s is over (stopping.ts)
 *     PROVISIONAL → MASTER      the API accepts its claim or renewal (master.ts)
 *     PROVISIONAL → BACKUP      its reason has ended, its time is over, or it is stopping (provisional.ts)
 *     PROVISIONAL → BACKUP      it gives way to another machine that claims the VIP (provisional.ts)
 *     MASTER      → BACKUP      the Lease names another machine (master.ts)
 *     MASTER      → BACKUP      the renew deadline has passed (fence.ts)
 *     MASTER      → PROVISIONAL renewals are overdue, and no other node can claim (master.ts)
 *     MASTER      → PROVISIONAL another candidate claims the VIP, and no API server confirms this node (master.ts)
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
 *     no API server accepts a renewal                  api-loss.ts
 *     what the wire tells                              evidence.ts
 *     before a first claim the wire is asked           address-check.ts
 *     another machine claims the VIP of a MASTER       contention.ts
 *     the link of the holder is dead                   link-loss.ts
 *     which machines are watched on the wire           watch-target.ts
 */
import type { WriteOutcome } from "../kube/store.ts";
import { judgeSurvey } from "./api-loss.ts";
import { decideBackup } from "./backup.ts";
import { trackOutranking } from "./candidates.ts";
import { applyEvidence } from "./evidence.ts";
import { deadlineAfter, enforceFence } from "./fence.ts";
import { noteLink, settleHoldOff } from "./flap-damping.ts";
import { offerAnswered } from "./handover.ts";
import { settleNamesake, trackNamesake } from "./identity.ts";
import { decidePublish, decideRead, decideSurvey, READ_INTERVAL_MS, RETRY_MS, SURVEY_MS } from "./lease-traffic.ts";
import { observe } from "./lease-view.ts";
import type { Source } from "./lease-view.ts";
import { decideMaster, holdLease } from "./master.ts";
import { BOOTSTRAP_HOLD_MS, decideProvisional } from "./provisional.ts";
import { StepBuilder } from "./step.ts";
import { releaseAnswered, stopBackup, stopReleasing } from "./stopping.ts";
import type { ElectionEvent, ElectionSettings, ElectionState, SelfFacts, Step } from "./types.ts";
import { decideWatch } from "./watch-target.ts";

const NOTHING_KNOWN: SelfFacts = { effective: 0, faults: [], ready: false, mac: "", fastPath: undefined };

export function initialState(settings: ElectionSettings, nowMs: number): ElectionState {
  return {
    role: { kind: "BACKUP", retryAtMs: nowMs },
    reason: "started",
    sinceMs: nowMs,
    startedAtMs: nowMs,
    stopping: null,
    nextId: 1,
    lease: {
      view: null,
      write: null,
      offerInFlight: false,
      refusal: null,
      read: { inFlight: false, nextAtMs: nowMs, okAtMs: null, failing: false, goodSinceMs: Number.NEGATIVE_INFINITY },
      survey: { inFlight: false, nextAtMs: nowMs, found: null },
      publish: { inFlight: false, atMs: Number.NEGATIVE_INFINITY, okAtMs: Number.NEGATIVE_INFINITY, text: "", counter: 0 },
      allFaultSinceMs: null,
    },
    wire: {
      proof: null,
      contender: null,
      probed: null,
      probingSinceMs: null,
      met: false,
      stranger: null,
      defendedAtMs: Number.NEGATIVE_INFINITY,
      watched: null,
    },
    self: {
      tracking: { ...NOTHING_KNOWN, effective: settings.base },
      damping: null,
      holdOff: false,
      linkWasGood: false,
      outrankingSinceMs: null,
      namesake: null,
      overwritten: 0,
    },
    leftOver: { resumeUntilMs: null, adoptableUntilMs: null },
  };
}

export function step(settings: ElectionSettings, state: ElectionState, event: ElectionEvent, nowMs: number): Step {
  const step = new StepBuilder(settings, state, nowMs);
  enforceFence(step);
  apply(step, event);
  decide(step);
  return step.finish();
}

function apply(step: StepBuilder, event: ElectionEvent): void {
  switch (event.kind) {
    case "start":
      return applyStart(step, event);
    case "watched":
      // "Deleted" has no version to order it by: believe a read, and read now.
      if (event.record === null) step.setRead({ nextAtMs: step.nowMs });
      else see(step, event.record, { kind: "watch" });
      return;
    case "read":
      return applyRead(step, event);
    case "written":
      return applyWritten(step, event);
    case "surveyed":
      step.setSurvey({ inFlight: false, nextAtMs: Math.max(step.nowMs, event.sentAtMs + SURVEY_MS), found: judgeSurvey(step.state.lease.survey.found, event) });
      // From caches: they may be old, and are then dropped, but what they know of another holder is true.
      for (const record of event.survey.records) see(step, record, { kind: "watch" });
      return;
    case "evidence":
      return applyEvidence(step, event.evidence);
    case "self":
      noteLink(step, event.facts);
      step.setSelf({ tracking: event.facts });
      return;
    case "stop":
      if (step.state.stopping === null) step.set({ stopping: { sinceMs: step.nowMs } });
      return;
    case "wake":
      return;
  }
}

/** A process that was restarted within the deadline keeps its address while it asks whether the Lease still names it. */
function applyStart(step: StepBuilder, { resume, found }: Extract<ElectionEvent, { kind: "start" }>): void {
  // Not refreshed meanwhile: the kernel removes it if nobody takes it up.
  if (found) step.setLeftOver({ adoptableUntilMs: step.nowMs + BOOTSTRAP_HOLD_MS });
  if (resume === null) return;
  const untilMs = deadlineAfter(step.settings, resume.renewedAtMs);
  if (resume.renewedAtMs > step.nowMs || step.nowMs >= untilMs) return;
  step.setLeftOver({ resumeUntilMs: untilMs });
  step.effect({ kind: "hold", untilMs });
}

function applyRead(step: StepBuilder, event: Extract<ElectionEvent, { kind: "read" }>): void {
  step.setRead({ inFlight: false });
  switch (event.outcome.kind) {
    case "ok":
      if (step.state.lease.read.failing) step.setRead({ failing: false, goodSinceMs: step.nowMs });
      step.setRead({ nextAtMs: step.nowMs + READ_INTERVAL_MS, okAtMs: step.nowMs });
      see(step, event.outcome.record, { kind: "read", sentAtMs: event.sentAtMs });
      return;
    case "rejected":
    case "no-answer":
      step.setRead({ nextAtMs: step.nowMs + RETRY_MS, failing: true });
      return;
  }
}

function applyWritten(step: StepBuilder, event: Extract<ElectionEvent, { kind: "written" }>): void {
  const { outcome, write, sentAtMs } = event;
  if (outcome.kind === "ok") see(step, outcome.record, { kind: "write" });
  // The store read after the refusal, so after the write was sent: a quorum read of that age.
  if (outcome.kind === "conflict") see(step, outcome.record, { kind: "read", sentAtMs });
  if (write.kind === "candidate") {
    step.setPublish({ inFlight: false });
    if (outcome.kind === "ok") step.setPublish({ okAtMs: sentAtMs });
    else step.setPublish({ text: "", atMs: step.nowMs });
    return;
  }
  if (write.kind === "offer") {
    step.setLease({ offerInFlight: false });
    offerAnswered(step, write, sentAtMs, outcome);
    return;
  }
  if (step.state.lease.write !== event.id) return;
  const refused = outcome.kind === "rejected" && outcome.status < 500;
  step.setLease({ write: null, refusal: refused ? { status: outcome.status, sinceMs: step.state.lease.refusal?.sinceMs ?? step.nowMs } : null });
  switch (write.kind) {
    case "claim":
    case "renew":
      // A MASTER claims where the Lease was emptied under it. Another may have had it, and announced, in between.
      if (outcome.kind === "ok" && write.kind === "claim" && step.state.role.kind === "MASTER") step.effect({ kind: "announce" });
      if (outcome.kind !== "ok") return refusedClaim(step, outcome);
      holdLease(step, sentAtMs, outcome.record);
      return;
    case "release":
      if (step.state.role.kind === "RELEASING") releaseAnswered(step, step.state.role.untilMs, outcome);
      else step.retryAt(step.nowMs + RETRY_MS);
      return;
  }
}

function refusedClaim(step: StepBuilder, outcome: WriteOutcome): void {
  const { role } = step.state;
  const conflict = outcome.kind === "conflict";
  if (conflict && role.kind === "PROVISIONAL") step.set({ role: { ...role, conflicts: role.conflicts + 1 } });
  step.retryAt(conflict ? step.nowMs : step.nowMs + RETRY_MS);
}

function see(step: StepBuilder, record: Parameters<typeof observe>[1], source: Source): void {
  const view = observe(step.state.lease.view, record, source, step.nowMs);
  if (view === step.state.lease.view) return;
  const before = step.state.lease.view;
  step.setLease({ view });
  trackNamesake(step, before);
}

function decide(step: StepBuilder): void {
  settleHoldOff(step);
  settleNamesake(step);
  trackOutranking(step);
  // A step may open the next one (BACKUP after a loss, RELEASING after a hand-over): look again until nothing changes role.
  for (let round = 0; round < 4; round += 1) {
    const before = step.state.role.kind;
    decideRole(step);
    if (step.state.role.kind === before) break;
  }
  decidePublish(step);
  decideRead(step);
  decideSurvey(step);
  decideWatch(step);
}

function decideRole(step: StepBuilder): void {
  const { role, stopping } = step.state;
  switch (role.kind) {
    case "MASTER":
      return decideMaster(step, role);
    case "PROVISIONAL":
      return decideProvisional(step, role);
    case "BACKUP":
      return stopping === null ? decideBackup(step, role) : stopBackup(step, stopping.sinceMs);
    case "RELEASING":
      return stopReleasing(step, role);
    case "STOPPED":
      return;
  }
}
