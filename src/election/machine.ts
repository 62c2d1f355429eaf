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
 *     BACKUP      → MASTER      the API accepts its claim (draft.ts)
 *     BACKUP      → PROVISIONAL the holder is silent on the wire, and two holders do no harm (backup.ts)
 *     BACKUP      → PROVISIONAL no API server lets it read the Lease, and no machine answers for the VIP (bootstrap.ts)
 *     BACKUP      → STOPPED     it is stopping and has withdrawn its candidacy, or 1 s is over (machine.ts)
 *     PROVISIONAL → MASTER      the API accepts its claim or renewal (draft.ts)
 *     PROVISIONAL → BACKUP      its reason has ended, its time is over, or it is stopping (provisional.ts)
 *     PROVISIONAL → BACKUP      it gives way to another machine that claims the VIP (contention.ts)
 *     MASTER      → BACKUP      the Lease names another machine (master.ts)
 *     MASTER      → BACKUP      the renew deadline has passed (machine.ts)
 *     MASTER      → PROVISIONAL renewals are overdue, and no other node can claim (master.ts)
 *     MASTER      → PROVISIONAL another candidate claims the VIP, and no API server confirms this node (master.ts)
 *     MASTER      → RELEASING   it is stopping, and no candidate has taken its offer (handover.ts)
 *     RELEASING   → STOPPED     the API has answered the release, or 1 s is over (machine.ts)
 *
 * Where each of VRRP's rules is:
 *
 *     who is better; an equal one never preempts       ranking.ts
 *     rise, fall and weights of the checks             ../tracking/rules.ts
 *     preempt delay                                    facts.ts
 *     skew; the k-th best waits                        backup.ts
 *     preempt, nopreempt                               facts.ts, handover.ts
 *     Lease expiry (VRRP: Master_Down_Interval)        vacancy.ts
 *     renewals (VRRP: advertisements)                  master.ts
 *     renew deadline (the fence)                       right.ts
 *     an offer, and its 0.9 s                          handover.ts, right.ts
 *     FAULT, eligible                                  facts.ts
 *     flap damping                                     unrest.ts, facts.ts
 *     when a PROVISIONAL node lets go                  provisional.ts, contention.ts
 *     two machines of one name                         tenure.ts, facts.ts
 *     stopping                                         handover.ts, machine.ts
 *     every candidate is in FAULT                      backup.ts, facts.ts
 *
 * Where the rules are that a Lease and a network add to VRRP's:
 *
 *     which record of the Lease is the newest          lease-view.ts
 *     what is read, published and asked of the API     upkeep.ts
 *     no API server accepts a renewal                  hold.ts
 *     there is no API server yet                       bootstrap.ts
 *     another machine claims the VIP                   contention.ts
 *     the link of the holder is dead                   away.ts
 *     which machines are watched on the wire           watch-target.ts
 */
import type { WriteOutcome } from "../kube/store.ts";
import { decideBackup } from "./backup.ts";
import { applyEvidence } from "./contention.ts";
import { Draft } from "./draft.ts";
import { INTERFACE_FAULT, settleNamesake, trackNamesake, trackOutranking } from "./facts.ts";
import { offerAnswered } from "./handover.ts";
import { surveyed } from "./hold.ts";
import { observe } from "./lease-view.ts";
import type { Source } from "./lease-view.ts";
import { decideMaster } from "./master.ts";
import { BOOTSTRAP_HOLD_MS, decideProvisional, letGo } from "./provisional.ts";
import { OFFER_HOLD_MS } from "./right.ts";
import { tenureOf } from "./tenure.ts";
import type { ElectionEvent, ElectionSettings, ElectionState, SelfFacts, Step } from "./types.ts";
import { disturbed } from "./unrest.ts";
import { decidePublish, decideRead, decideSurvey, lastWordsWritten, READ_INTERVAL_MS, RETRY_MS, SURVEY_MS } from "./upkeep.ts";

/** A stopping agent that is not holder waits this long for its last words to be written. */
const STOP_MS = 1_000;

const NOTHING_KNOWN: SelfFacts = { effective: 0, faults: [], ready: false, mac: "", fastPath: undefined };

export function initialState(settings: ElectionSettings, nowMs: number): ElectionState {
  return {
    role: { kind: "BACKUP", retryAtMs: nowMs },
    reason: "started",
    sinceMs: nowMs,
    view: null,
    self: { ...NOTHING_KNOWN, effective: settings.base },
    stopping: null,
    startedAtMs: nowMs,
    resumeUntilMs: null,
    adoptableUntilMs: null,
    write: null,
    nextId: 1,
    offerInFlight: false,
    readInFlight: false,
    readAtMs: nowMs,
    readOkAtMs: null,
    readFailing: false,
    readableSinceMs: Number.NEGATIVE_INFINITY,
    refusal: null,
    survey: null,
    surveyInFlight: false,
    surveyAtMs: nowMs,
    proof: null,
    contender: null,
    probed: null,
    probingSinceMs: null,
    met: false,
    stranger: null,
    defendedAtMs: Number.NEGATIVE_INFINITY,
    unrest: null,
    unstable: false,
    linkWasGood: false,
    publishInFlight: false,
    publishedAtMs: Number.NEGATIVE_INFINITY,
    publishedOkAtMs: Number.NEGATIVE_INFINITY,
    published: "",
    counter: 0,
    outrankingSinceMs: null,
    namesake: null,
    overwritten: 0,
    allFaultSinceMs: null,
  };
}

export function step(settings: ElectionSettings, state: ElectionState, event: ElectionEvent, nowMs: number): Step {
  const draft = new Draft(settings, state, nowMs);
  // Before anything is believed or sent: has our right run out while we were not looking?
  enforceDeadline(draft);
  apply(draft, event);
  decide(draft);
  return draft.finish();
}

/** Invariant 3 and 4: past the renew deadline the VIP goes first, whatever the event has to say. */
function enforceDeadline(draft: Draft): void {
  const { role, resumeUntilMs, adoptableUntilMs } = draft.state;
  if (role.kind === "MASTER" && draft.nowMs >= role.renewedAtMs + draft.settings.renewDeadlineMs) {
    draft.unbind();
    draft.become({ kind: "BACKUP", retryAtMs: draft.nowMs }, "the Lease could not be renewed before the deadline");
  }
  if (role.kind === "MASTER" && role.offered?.unbound === false && draft.nowMs >= role.offered.sinceMs + OFFER_HOLD_MS) {
    draft.unbind();
    draft.set({ role: { ...role, offered: { ...role.offered, unbound: true } } });
  }
  if (role.kind === "PROVISIONAL" && draft.nowMs >= role.untilMs) {
    letGo(draft, "nothing shows any more that the VIP may be kept");
  }
  if (resumeUntilMs !== null && draft.nowMs >= resumeUntilMs) {
    draft.unbind();
    draft.set({ resumeUntilMs: null });
  }
  if (adoptableUntilMs !== null && draft.nowMs >= adoptableUntilMs) {
    draft.unbind();
    draft.set({ adoptableUntilMs: null });
  }
}

function apply(draft: Draft, event: ElectionEvent): void {
  switch (event.kind) {
    case "start":
      return applyStart(draft, event);
    case "watched":
      // "Deleted" has no version to order it by: believe a read, and read now.
      if (event.record === null) draft.set({ readAtMs: draft.nowMs });
      else see(draft, event.record, { kind: "watch" });
      return;
    case "read":
      return applyRead(draft, event);
    case "written":
      return applyWritten(draft, event);
    case "surveyed":
      draft.set({ surveyInFlight: false, surveyAtMs: Math.max(draft.nowMs, event.sentAtMs + SURVEY_MS), survey: surveyed(draft.state.survey, event) });
      // From caches: they may be old, and are then dropped, but what they know of another holder is true.
      for (const record of event.survey.records) see(draft, record, { kind: "watch" });
      return;
    case "evidence":
      return applyEvidence(draft, event.evidence);
    case "self":
      return applySelf(draft, event.facts);
    case "stop":
      if (draft.state.stopping === null) draft.set({ stopping: { sinceMs: draft.nowMs } });
      return;
    case "wake":
      return;
  }
}

/** A process that was restarted within the deadline keeps its address while it asks whether the Lease still names it. */
function applyStart(draft: Draft, { resume, found }: Extract<ElectionEvent, { kind: "start" }>): void {
  // Not refreshed meanwhile: the kernel removes it if nobody takes it up.
  if (found) draft.set({ adoptableUntilMs: draft.nowMs + BOOTSTRAP_HOLD_MS });
  if (resume === null) return;
  const untilMs = resume.renewedAtMs + draft.settings.renewDeadlineMs;
  if (resume.renewedAtMs > draft.nowMs || draft.nowMs >= untilMs) return;
  draft.set({ resumeUntilMs: untilMs });
  draft.effect({ kind: "hold", untilMs });
}

/** A link that was good, went bad and is good again has flapped; one that is slow to come up at boot has not. */
function applySelf(draft: Draft, facts: SelfFacts): void {
  const { self, linkWasGood, unrest } = draft.state;
  const wasBad = self.faults.includes(INTERFACE_FAULT);
  const isBad = facts.faults.includes(INTERFACE_FAULT);
  if (wasBad && !isBad && linkWasGood) draft.set({ unrest: disturbed(unrest, draft.nowMs) });
  draft.set({ self: facts, linkWasGood: linkWasGood || (facts.ready && !isBad) });
}

function applyRead(draft: Draft, event: Extract<ElectionEvent, { kind: "read" }>): void {
  draft.set({ readInFlight: false });
  switch (event.outcome.kind) {
    case "ok":
      if (draft.state.readFailing) draft.set({ readFailing: false, readableSinceMs: draft.nowMs });
      draft.set({ readAtMs: draft.nowMs + READ_INTERVAL_MS, readOkAtMs: draft.nowMs });
      see(draft, event.outcome.record, { kind: "read", sentAtMs: event.sentAtMs });
      return;
    case "rejected":
    case "no-answer":
      draft.set({ readAtMs: draft.nowMs + RETRY_MS, readFailing: true });
      return;
  }
}

function applyWritten(draft: Draft, event: Extract<ElectionEvent, { kind: "written" }>): void {
  const { outcome, write, sentAtMs } = event;
  if (outcome.kind === "ok") see(draft, outcome.record, { kind: "write" });
  // The store read after the refusal, so after the write was sent: a quorum read of that age.
  if (outcome.kind === "conflict") see(draft, outcome.record, { kind: "read", sentAtMs });
  if (write.kind === "candidate") {
    draft.set({ publishInFlight: false });
    if (outcome.kind === "ok") draft.set({ publishedOkAtMs: sentAtMs });
    else draft.set({ published: "", publishedAtMs: draft.nowMs });
    return;
  }
  if (write.kind === "offer") {
    draft.set({ offerInFlight: false });
    offerAnswered(draft, write, sentAtMs, outcome);
    return;
  }
  if (draft.state.write !== event.id) return;
  const refused = outcome.kind === "rejected" && outcome.status < 500;
  draft.set({ write: null, refusal: refused ? { status: outcome.status, sinceMs: draft.state.refusal?.sinceMs ?? draft.nowMs } : null });
  switch (write.kind) {
    case "claim":
    case "renew":
      // A MASTER claims where the Lease was emptied under it. Another may have had it, and announced, in between.
      if (outcome.kind === "ok" && write.kind === "claim" && draft.state.role.kind === "MASTER") draft.effect({ kind: "announce" });
      if (outcome.kind !== "ok") return refusedClaim(draft, outcome);
      draft.renewed(sentAtMs, outcome.record);
      return;
    case "release":
      if (draft.state.role.kind === "RELEASING") releaseAnswered(draft, draft.state.role.untilMs, outcome);
      else draft.retryAt(draft.nowMs + RETRY_MS);
      return;
  }
}

function refusedClaim(draft: Draft, outcome: WriteOutcome): void {
  const { role } = draft.state;
  const conflict = outcome.kind === "conflict";
  if (conflict && role.kind === "PROVISIONAL") draft.set({ role: { ...role, conflicts: role.conflicts + 1 } });
  draft.retryAt(conflict ? draft.nowMs : draft.nowMs + RETRY_MS);
}

/** A renewal that was under way may have come first: the Lease still names us, so release what it made of it. */
function releaseAnswered(draft: Draft, untilMs: number, outcome: WriteOutcome): void {
  if (outcome.kind === "conflict" && outcome.record !== null && tenureOf(draft.settings, outcome.record) === "ours" && draft.nowMs < untilMs) {
    draft.send({ kind: "release", held: outcome.record }, untilMs - draft.nowMs);
  } else draft.set({ role: { kind: "RELEASING", untilMs: draft.nowMs } });
}

function see(draft: Draft, record: Parameters<typeof observe>[1], source: Source): void {
  const view = observe(draft.state.view, record, source, draft.nowMs);
  if (view === draft.state.view) return;
  const before = draft.state.view;
  draft.set({ view });
  trackNamesake(draft, before);
}

/** Eligible again by the passing of time alone. */
function settleUnrest(draft: Draft): void {
  const { unrest } = draft.state;
  const unstable = unrest !== null && draft.nowMs < unrest.untilMs;
  draft.set({ unstable });
  if (unstable) draft.wakeAt(unrest.untilMs);
}

function decide(draft: Draft): void {
  settleUnrest(draft);
  settleNamesake(draft);
  trackOutranking(draft);
  // A step may open the next one (BACKUP after a loss, RELEASING after a hand-over): look again until nothing changes role.
  for (let round = 0; round < 4; round += 1) {
    const before = draft.state.role.kind;
    decideRole(draft);
    if (draft.state.role.kind === before) break;
  }
  decidePublish(draft);
  decideRead(draft);
  decideSurvey(draft);
}

function decideRole(draft: Draft): void {
  const { role, stopping, write, publishInFlight } = draft.state;
  switch (role.kind) {
    case "MASTER":
      return decideMaster(draft, role);
    case "PROVISIONAL":
      return decideProvisional(draft, role);
    case "BACKUP":
      if (stopping === null) return decideBackup(draft, role);
      // Last words: withdraw our candidacy, and find out what became of a claim under way.
      if ((write === null && !publishInFlight && lastWordsWritten(draft)) || draft.nowMs >= stopping.sinceMs + STOP_MS) {
        draft.unbind();
        draft.become({ kind: "STOPPED" }, "stopped");
        draft.effect({ kind: "stopped" });
      } else draft.wakeAt(stopping.sinceMs + STOP_MS);
      return;
    case "RELEASING":
      if (draft.nowMs < role.untilMs) return draft.wakeAt(role.untilMs);
      draft.become({ kind: "STOPPED" }, "stopped");
      draft.effect({ kind: "stopped" });
      return;
    case "STOPPED":
      return;
  }
}
