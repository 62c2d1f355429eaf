/** What a node asks of the API and tells it, whatever its role: its own annotation, reads on a timer, surveys while renewals are overdue. */
import type { Candidate } from "../kube/record.ts";
import { desiredCandidate } from "./candidates.ts";
import { overdueAfter, writeTimeoutMs } from "./fence.ts";
import type { StepBuilder } from "./step.ts";

/** Everybody also reads on a timer: a watch may stall, or lie silent. */
export const READ_INTERVAL_MS = 2_000;
/** Time-out of one read; writes of a renewal have until the deadline. */
export const READ_TIMEOUT_MS = 4_000;
/** A candidate says that it is alive at least this often. */
export const BUMP_MS = 10_000;
/** After a failure of the API, before the same thing is tried again. */
export const RETRY_MS = 500;
/** Between the beginnings of two surveys, at least. */
export const SURVEY_MS = 500;
/**
 * Time-out of a survey. It is over when every server has answered both questions, and a cached read may hang where etcd is gone; so its evidence is half as old
 * as it may get when the next one brings new.
 */
export const SURVEY_TIMEOUT_MS = 500;

/** Our annotation follows our facts at once, and is bumped every 10 s. Best effort: it never delays anything else. */
export function decidePublish(step: StepBuilder): void {
  const { view } = step.state.lease;
  const { inFlight: publishInFlight } = step.state.lease.publish;
  const { role } = step.state;
  if (role.kind === "STOPPED" || publishInFlight || view === null || view.record === null) return;
  if (step.state.self.namesake !== null) return;
  const candidate = desiredCandidate(step);
  const text = fingerprint(candidate);
  const { text: published, atMs: publishedAtMs } = step.state.lease.publish;
  const dueAtMs = publishedAtMs + (published === "" ? RETRY_MS : BUMP_MS);
  if (text === published || published === "") {
    if (step.nowMs < dueAtMs) return step.wakeAt(dueAtMs);
  }
  const counter = Math.max(step.state.lease.publish.counter, view.candidates.get(step.settings.node)?.candidate.counter ?? 0) + 1;
  step.setPublish({ inFlight: true, text, atMs: step.nowMs, counter });
  step.wakeAt(step.nowMs + BUMP_MS);
  step.sendBeside({ kind: "candidate", candidate: { ...candidate, counter } }, writeTimeoutMs(step.settings));
}

function fingerprint(candidate: Candidate): string {
  return JSON.stringify({ ...candidate, counter: 0 });
}

/** While renewals are overdue: may the VIP be kept when they stay so? The answer must be there before the deadline. */
export function decideSurvey(step: StepBuilder): void {
  const { state, settings, nowMs } = step;
  const { role } = state;
  const lastGoodMs = role.kind === "MASTER" ? role.renewedAtMs : Number.NEGATIVE_INFINITY;
  if (state.lease.survey.inFlight || (role.kind !== "MASTER" && (role.kind !== "PROVISIONAL" || role.why.kind === "bootstrap"))) return;
  const atMs = Math.max(state.lease.survey.nextAtMs, overdueAfter(settings, lastGoodMs));
  if (nowMs < atMs) return step.wakeAt(atMs);
  step.setSurvey({ inFlight: true });
  step.effect({ kind: "survey" });
}

export function decideRead(step: StepBuilder): void {
  const { role } = step.state;
  const { inFlight: readInFlight } = step.state.lease.read;
  const { view } = step.state.lease;
  if (role.kind === "STOPPED" || readInFlight) return;
  // The holder's renewals bring the record with them.
  const idle = role.kind === "MASTER" && view !== null ? view.acceptedAtMs + READ_INTERVAL_MS : 0;
  const atMs = Math.max(step.state.lease.read.nextAtMs, idle);
  if (step.nowMs < atMs) return step.wakeAt(atMs);
  step.setRead({ inFlight: true });
  step.effect({ kind: "read" });
}

/** What this node last published of itself is what it would publish now. */
export function candidacyWritten(step: StepBuilder): boolean {
  const { view } = step.state.lease;
  return view === null || view.record === null || step.state.lease.publish.text === fingerprint(desiredCandidate(step));
}
