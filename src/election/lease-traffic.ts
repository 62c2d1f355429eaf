/**
 * What a node asks of the API and publishes, whatever its role: its own annotation, reads on a timer, and
 * surveys while renewals are overdue. The answers become facts here.
 */
import type { Candidate, LeaseRecord } from "../kube/record.ts";
import { refusalText } from "../kube/refusal-text.ts";
import type { LeaseWrite, ReadOutcome, WriteOutcome } from "../kube/store.ts";
import { judgeSurvey } from "./api-loss.ts";
import { selfCandidate } from "./candidates.ts";
import { overdueAfter, writeTimeoutMs } from "./fence.ts";
import { trackNamesake } from "./identity.ts";
import { observe } from "./lease-view.ts";
import type { Source } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";
import type { ElectionEvent, ElectionSettings, Role } from "./types.ts";

/** Every node also reads on a timer, because a watch may stall without a sign. */
const READ_INTERVAL_MS = 2_000;
/** The time-out of one read. A renewal has until the deadline. */
export const READ_TIMEOUT_MS = 4_000;
/** A candidate shows that it is alive at least this often. */
const BUMP_MS = 10_000;
/** After a failure of the API the same thing is tried again this much later. */
export const RETRY_MS = 500;
/** The least time between the beginnings of two surveys. */
const SURVEY_MS = 500;
/**
 * The time-out of a survey. A survey is over when every server has answered both questions, and a cached read
 * may hang where etcd is gone. With this its evidence is half as old as it may get when the next survey
 * brings new evidence.
 */
export const SURVEY_TIMEOUT_MS = 500;

/** A refusal is news for so long, ms, when other writes fail for another reason meanwhile. */
const REFUSAL_MS = 5_000;

/** Why something failed, as people see it, where no API server has answered. */
export const NO_ANSWER = "no API server answers";

/** A record of the Lease has come. It is the new view if it is newer. */
export function seeRecord(step: StepBuilder, record: LeaseRecord | null, source: Source): void {
  const before = step.facts.lease.view;
  const view = observe(before, record, source, step.nowMs);
  if (view === before) return;
  step.setLease({ view });
  trackNamesake(step, before);
}

/** A watch has sent a record; null: it says that the Lease was deleted. */
export function watchAnswered(step: StepBuilder, record: LeaseRecord | null): void {
  // A deletion has no version to order it by. The node reads now, and believes the read.
  if (record === null) step.setRead({ nextAtMs: step.nowMs });
  else seeRecord(step, record, { kind: "watch" });
}

export function readAnswered(
  step: StepBuilder,
  { outcome, sentAtMs }: Extract<ElectionEvent, { kind: "read" }>,
): void {
  const { nowMs } = step;
  step.setRead({ inFlight: false });
  switch (outcome.kind) {
    case "ok":
      if (step.facts.lease.read.failingSinceMs !== null)
        step.setRead({ failingSinceMs: null, failure: null, goodSinceMs: nowMs });
      step.setRead({ nextAtMs: nowMs + READ_INTERVAL_MS, okAtMs: nowMs });
      return seeRecord(step, outcome.record, { kind: "read", sentAtMs });
    case "rejected":
    case "no-answer":
      return step.setRead({
        nextAtMs: nowMs + RETRY_MS,
        failingSinceMs: step.facts.lease.read.failingSinceMs ?? nowMs,
        failure: failureOf(outcome),
      });
  }
}

export function surveyAnswered(step: StepBuilder, event: Extract<ElectionEvent, { kind: "surveyed" }>): void {
  const found = judgeSurvey(step.facts.lease.survey.found, event);
  step.setSurvey({ inFlight: false, nextAtMs: Math.max(step.nowMs, event.sentAtMs + SURVEY_MS), found });
  // These records come from caches. An old one is dropped, but what a newer one says of another holder is
  // true.
  for (const record of event.survey.records) seeRecord(step, record, { kind: "watch" });
}

/** What every answer to a write says of the Lease, whatever was written. */
export function seeOutcome(step: StepBuilder, outcome: WriteOutcome, sentAtMs: number): void {
  noteUnwritten(step, outcome);
  if (outcome.kind === "ok") seeRecord(step, outcome.record, { kind: "write" });
  // The store has read after the refusal, so after the write was sent. This is a quorum read of that age.
  if (outcome.kind === "conflict") seeRecord(step, outcome.record, { kind: "read", sentAtMs });
}

/** A conflict is carried out as well: the API has compared, and would have written. */
function noteUnwritten(step: StepBuilder, outcome: WriteOutcome): void {
  const { nowMs } = step;
  const { unwritten, refusal } = step.facts.lease;
  if (outcome.kind === "rejected" && outcome.status < 500)
    step.setLease({
      refusal: { status: outcome.status, sinceMs: refusal?.sinceMs ?? nowMs, lastMs: nowMs },
    });
  // One of the servers may answer 5xx or nothing now and then, while the others refuse this node.
  else if (
    outcome.kind === "ok" ||
    outcome.kind === "conflict" ||
    nowMs >= (refusal?.lastMs ?? 0) + REFUSAL_MS
  )
    step.setLease({ refusal: null });
  switch (outcome.kind) {
    case "ok":
    case "conflict":
      return step.setLease({ unwritten: null });
    case "rejected":
    case "no-answer":
      return step.setLease({
        unwritten: { sinceMs: unwritten?.sinceMs ?? nowMs, why: failureOf(outcome) },
      });
  }
}

/** Why the API did not do it, as people see it. */
function failureOf(outcome: Extract<ReadOutcome | WriteOutcome, { kind: "rejected" | "no-answer" }>): string {
  return outcome.kind === "rejected" ? refusalText(outcome) : NO_ANSWER;
}

export function publishAnswered(step: StepBuilder, outcome: WriteOutcome, sentAtMs: number): void {
  const accepted = outcome.kind === "ok";
  step.setPublish({ inFlight: false, ...(accepted ? { okAtMs: sentAtMs } : { text: "", atMs: step.nowMs }) });
}

export function offerFinished(step: StepBuilder): void {
  step.setLease({ offerInFlight: false });
}

/**
 * How long after an answer the same may be tried again. After a conflict with another record it is tried at
 * once, on the basis of that one. A conflict that shows no other record would come again and again.
 */
export function retryAfterMs(
  write: Extract<LeaseWrite, { kind: "claim" | "renew" }>,
  outcome: WriteOutcome,
): number {
  if (outcome.kind !== "conflict") return RETRY_MS;
  const before = write.kind === "claim" ? write.replaces : write.held;
  return before?.resourceVersion === outcome.record?.resourceVersion ? RETRY_MS : 0;
}

/**
 * A claim, renewal or release was answered. False: this node has abandoned it, and its answer is only
 * observed.
 */
export function writeAnswered(step: StepBuilder, id: number): boolean {
  if (step.facts.lease.write !== id) return false;
  step.setLease({ write: null });
  return true;
}

/** The answer to the claim or renewal under way does not matter any more. */
export function abandonWrite(step: StepBuilder): void {
  step.setLease({ write: null });
}

/** The annotation follows the facts at once, and is bumped every 10 s. It never delays anything else. */
export function decidePublish(step: StepBuilder, role: Role): void {
  const { nowMs } = step;
  const { view, publish } = step.facts.lease;
  if (role.kind === "STOPPED" || publish.inFlight || view === null || view.record === null) return;
  if (step.facts.self.namesake !== null) return;
  const candidate = selfCandidate(step, role);
  const text = withoutCounter(step.settings, candidate);
  if (text === publish.text || publish.text === "") {
    const dueAtMs = publish.atMs + (publish.text === "" ? RETRY_MS : BUMP_MS);
    if (nowMs < dueAtMs) return step.wakeAt(dueAtMs);
  }
  const counter =
    Math.max(publish.counter, view.candidates.get(step.settings.node)?.candidate.counter ?? 0) + 1;
  step.setPublish({ inFlight: true, text, atMs: nowMs, counter });
  step.wakeAt(nowMs + BUMP_MS);
  step.sendBeside({ kind: "candidate", candidate: { ...candidate, counter } }, writeTimeoutMs(step.settings));
}

/**
 * What each node said of itself when it was last asked, with the text of it. Every step asks, and the answer
 * hardly ever changes.
 */
const lastSaid = new WeakMap<ElectionSettings, { readonly candidate: Candidate; readonly text: string }>();

function withoutCounter(settings: ElectionSettings, candidate: Candidate): string {
  const last = lastSaid.get(settings);
  if (last !== undefined && sameButCounter(last.candidate, candidate)) return last.text;
  const text = JSON.stringify({ ...candidate, counter: 0 });
  lastSaid.set(settings, { candidate, text });
  return text;
}

/** A list or an object counts as changed when it is another one, whatever is in it. */
function sameButCounter(a: Candidate, b: Candidate): boolean {
  let name: keyof Candidate;
  for (name in a) if (name !== "counter" && a[name] !== b[name]) return false;
  return true;
}

/** This node has last published what it would publish now. */
export function candidacyWritten(step: StepBuilder, role: Role): boolean {
  const { view, publish } = step.facts.lease;
  if (view === null || view.record === null) return true;
  return publish.text === withoutCounter(step.settings, selfCandidate(step, role));
}

/**
 * While renewals are overdue: may the VIP be kept when they stay so? The answer must be there before the
 * deadline.
 */
export function decideSurvey(step: StepBuilder, role: Role): void {
  const { settings, nowMs } = step;
  const { survey } = step.facts.lease;
  const concerned = role.kind === "MASTER" || (role.kind === "PROVISIONAL" && role.why.kind !== "bootstrap");
  if (survey.inFlight || !concerned) return;
  const overdueAtMs =
    role.kind === "MASTER" ? overdueAfter(settings, role.renewedAtMs) : Number.NEGATIVE_INFINITY;
  const atMs = Math.max(survey.nextAtMs, overdueAtMs);
  if (nowMs < atMs) return step.wakeAt(atMs);
  step.setSurvey({ inFlight: true });
  step.effect({ kind: "survey" });
}

export function decideRead(step: StepBuilder, role: Role): void {
  const { view, read } = step.facts.lease;
  if (role.kind === "STOPPED" || read.inFlight) return;
  // The holder's renewals bring the record with them.
  const idleAtMs = role.kind === "MASTER" && view !== null ? view.acceptedAtMs + READ_INTERVAL_MS : 0;
  const atMs = Math.max(read.nextAtMs, idleAtMs);
  if (step.nowMs < atMs) return step.wakeAt(atMs);
  step.setRead({ inFlight: true });
  step.effect({ kind: "read" });
}
