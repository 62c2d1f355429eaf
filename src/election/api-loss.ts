/**
 * May a holder keep the VIP that can renew its Lease at no API server? Only while nobody else can take it: without etcd's quorum no claim succeeds, and to
 * let go would take the VIP from clients that the API servers may still answer. A holder that is cut off from the others must let go: they
 * can claim. The two look alike from a failed write; what tells them apart is whether the servers are there at all. Pure.
 */
import type { ElectionEvent, ElectionSettings, ElectionState, SurveyedServer, SurveyState } from "./types.ts";

/** Evidence older than this keeps nothing bound. Counted from before the survey was sent. */
const EVIDENCE_MS = 2_000;
/** An API server that has just started says 403 to everybody, until it has read the RBAC objects. */
const TURNED_AWAY_MS = 2_000;
/**
 * kube-apiserver listens before it serves: the kernel takes connections, and nobody answers on them. 3 s of that were measured, with three of them starting on two
 * cores. Until then whoever refused before is not silent because we are cut off.
 */
const STARTING_MS = 6_000;

/** What a survey found, and what the one before lets us add to it. */
export function judgeSurvey(before: SurveyState["found"], { sentAtMs, survey }: Extract<ElectionEvent, { kind: "surveyed" }>): NonNullable<SurveyState["found"]> {
  const recent = before !== null && sentAtMs < before.sentAtMs + EVIDENCE_MS ? before.servers : [];
  const servers = survey.servers.map((one): SurveyedServer => {
    const was = recent.find(({ server }) => server === one.server);
    if (one.state !== "silent" || was === undefined) return { ...one, startingSinceMs: null };
    return { ...one, startingSinceMs: was.state === "refusing" ? sentAtMs : was.startingSinceMs };
  });
  return { sentAtMs, servers };
}

/** Until when the VIP may stay bound, by what is known now; null: no longer than the Lease. */
export function mayKeepUntil(settings: ElectionSettings, state: ElectionState, nowMs: number): number | null {
  switch (settings.onApiLoss) {
    case "release":
      return null;
    case "hold":
      return nowMs + EVIDENCE_MS;
    case "auto": {
      const { found: survey } = state.lease.survey;
      if (survey === null || nowMs >= survey.sentAtMs + EVIDENCE_MS || !nobodyCanClaim(state, survey.servers, nowMs)) return null;
      return survey.sentAtMs + EVIDENCE_MS;
    }
  }
}

/**
 * Nobody is silent: all refuse, as a stopped control plane does, or are starting, or answer without a success. Or at least half are there and cannot write: then
 * those that we cannot hear are no majority, and have no quorum either. An API that refuses us by its own word (403) can write for others.
 */
function nobodyCanClaim(state: ElectionState, servers: readonly SurveyedServer[], nowMs: number): boolean {
  if (servers.length === 0) return false;
  const alive = servers.filter(({ state: one }) => one === "alive").length;
  if (!servers.some((one) => isSilent(one, nowMs))) return alive === 0 || !isTurnedAway(state, nowMs);
  const unable = state.lease.refusal === null ? alive : 0;
  return unable * 2 >= servers.length;
}

function isSilent({ state, startingSinceMs }: SurveyedServer, nowMs: number): boolean {
  return state === "silent" && (startingSinceMs === null || nowMs >= startingSinceMs + STARTING_MS);
}

/** Our credentials are no good any more, and those of others may be; nor can we read then that another one holds. */
function isTurnedAway({ lease: { refusal } }: ElectionState, nowMs: number): boolean {
  return refusal !== null && (refusal.status === 401 || refusal.status === 403) && nowMs >= refusal.sinceMs + TURNED_AWAY_MS;
}
