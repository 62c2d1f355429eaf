/** What a node asks of the API and tells it, whatever its role: its own annotation, reads on a timer, surveys while renewals are overdue. */
import type { Candidate } from "../kube/record.ts";
import type { Draft } from "./draft.ts";
import { desiredCandidate, isHolder } from "./facts.ts";

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
export function decidePublish(draft: Draft): void {
  const { view, publishInFlight, role } = draft.state;
  if (role.kind === "STOPPED" || publishInFlight || view === null || view.record === null) return;
  if (draft.state.namesake !== null) return;
  const candidate = desiredCandidate(draft);
  const text = fingerprint(candidate);
  const { published, publishedAtMs } = draft.state;
  const dueAtMs = publishedAtMs + (published === "" ? RETRY_MS : BUMP_MS);
  if (text === published || published === "") {
    if (draft.nowMs < dueAtMs) return draft.wakeAt(dueAtMs);
  }
  const counter = Math.max(draft.state.counter, view.candidates.get(draft.settings.node)?.candidate.counter ?? 0) + 1;
  draft.set({ publishInFlight: true, published: text, publishedAtMs: draft.nowMs, counter });
  draft.wakeAt(draft.nowMs + BUMP_MS);
  draft.sendBeside({ kind: "candidate", candidate: { ...candidate, counter } }, draft.settings.renewDeadlineMs);
}

function fingerprint(candidate: Candidate): string {
  return JSON.stringify({ ...candidate, counter: 0 });
}

/** While renewals are overdue: may the VIP be kept when they stay so? The answer must be there before the deadline. */
export function decideSurvey(draft: Draft): void {
  const { state, settings, nowMs } = draft;
  const { role } = state;
  const lastGoodMs = role.kind === "MASTER" ? role.renewedAtMs : Number.NEGATIVE_INFINITY;
  if (state.surveyInFlight || (role.kind !== "MASTER" && (role.kind !== "PROVISIONAL" || role.why.kind === "bootstrap"))) return;
  const atMs = Math.max(state.surveyAtMs, lastGoodMs + settings.renewDeadlineMs / 2);
  if (nowMs < atMs) return draft.wakeAt(atMs);
  draft.set({ surveyInFlight: true });
  draft.effect({ kind: "survey" });
}

export function decideRead(draft: Draft): void {
  const { role, readInFlight, view } = draft.state;
  if (role.kind === "STOPPED" || readInFlight) return;
  // The holder's renewals bring the record with them.
  const idle = isHolder(draft.state) && view !== null ? view.acceptedAtMs + READ_INTERVAL_MS : 0;
  const atMs = Math.max(draft.state.readAtMs, idle);
  if (draft.nowMs < atMs) return draft.wakeAt(atMs);
  draft.set({ readInFlight: true });
  draft.effect({ kind: "read" });
}

export function lastWordsWritten(draft: Draft): boolean {
  const { view } = draft.state;
  return view === null || view.record === null || draft.state.published === fingerprint(desiredCandidate(draft));
}
