/**
 * May a holder keep the VIP that can renew its Lease at no API server? Only while no other node can take it.
 * Without etcd's quorum no claim succeeds, and to let go would take the VIP from clients that the API servers
 * may still answer. A holder that is cut off from the others must let go, because they can claim. The two
 * look alike from a failed write. What tells them apart is whether the API servers are there at all.
 */
import type { ElectionEvent, ElectionSettings, Facts, SurveyedServer, SurveyState } from "./types.ts";

/** Evidence older than this keeps nothing bound. Its age counts from before the survey was sent. */
const EVIDENCE_MS = 2_000;
/** An API server that has just started answers 403 to every request, until it has read the RBAC objects. */
const TURNED_AWAY_MS = 2_000;
/**
 * kube-apiserver listens before it serves: its kernel accepts connections, and the process does not answer on
 * them. 3 s of that were measured, with three of them starting on two cores. Until then a server that refused
 * before is starting, and this node is not cut off from it.
 */
const STARTING_MS = 6_000;

/** What a survey has found, and what the one before it adds. */
export function judgeSurvey(
  before: SurveyState["found"],
  { sentAtMs, survey }: Extract<ElectionEvent, { kind: "surveyed" }>,
): NonNullable<SurveyState["found"]> {
  const recent = before !== null && sentAtMs < before.sentAtMs + EVIDENCE_MS ? before.servers : [];
  const servers = survey.servers.map((one): SurveyedServer => {
    const was = recent.find(({ server }) => server === one.server);
    if (one.state !== "silent" || was === undefined) return { ...one, startingSinceMs: null };
    return { ...one, startingSinceMs: was.state === "refusing" ? sentAtMs : was.startingSinceMs };
  });
  return { sentAtMs, servers };
}

/** Until when the VIP may stay bound, by what is known now; null: no longer than the Lease. */
export function mayKeepUntil(settings: ElectionSettings, facts: Facts, nowMs: number): number | null {
  switch (settings.onApiLoss) {
    case "release":
      return null;
    case "hold":
      return nowMs + EVIDENCE_MS;
    case "auto": {
      const { found } = facts.lease.survey;
      if (found === null) return null;
      const untilMs = found.sentAtMs + EVIDENCE_MS;
      return nowMs < untilMs && nobodyCanClaim(facts, found.servers, nowMs) ? untilMs : null;
    }
  }
}

/**
 * No node can claim in two cases. No server is silent: all refuse connections, as a stopped control plane
 * does, or are starting, or answer without a success. Or at least half of the servers are there and cannot
 * write: then those that this node cannot hear are no majority, and have no quorum either. An API that
 * refuses this node by a status of its own (403) can write for others.
 */
function nobodyCanClaim(facts: Facts, servers: readonly SurveyedServer[], nowMs: number): boolean {
  if (servers.length === 0) return false;
  const alive = servers.filter(({ state }) => state === "alive").length;
  if (!servers.some((one) => isSilent(one, nowMs))) return alive === 0 || !isTurnedAway(facts, nowMs);
  const unable = facts.lease.refusal === null ? alive : 0;
  return unable * 2 >= servers.length;
}

function isSilent({ state, startingSinceMs }: SurveyedServer, nowMs: number): boolean {
  return state === "silent" && (startingSinceMs === null || nowMs >= startingSinceMs + STARTING_MS);
}

/**
 * This node's credentials are no good any more, and those of others may be. Nor can this node read then that
 * another one holds the Lease.
 */
function isTurnedAway({ lease: { refusal } }: Facts, nowMs: number): boolean {
  if (refusal === null || (refusal.status !== 401 && refusal.status !== 403)) return false;
  return nowMs >= refusal.sinceMs + TURNED_AWAY_MS;
}
