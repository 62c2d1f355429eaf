/**
 * This node can renew its Lease at no API server: can another node? Without etcd's quorum no claim succeeds.
 * A node that is cut off, or that the API refuses, is alone with its trouble, and the others can claim. The
 * two look alike from a failed write. What tells them apart is whether the API servers are there at all.
 *
 * Whether this node serves does not depend on the answer (unwritten.ts). To which claims it gives way does.
 */
import type { ElectionEvent, Facts, SurveyedServer, SurveyState } from "./types.ts";

/** Evidence older than this says nothing. Its age counts from before the survey was sent. */
const EVIDENCE_MS = 2_000;
/** An API server that has just started answers 403 to every request, until it has read the RBAC objects. */
const TURNED_AWAY_MS = 2_000;
/** The status of a server that works, and has too much to do for this node. */
const TOO_MANY_REQUESTS = 429;
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

/**
 * No other node can claim the Lease either, by what is known now. False where nothing is known: another node
 * may.
 */
export function nobodyCanClaim(facts: Facts, nowMs: number): boolean {
  const { found } = facts.lease.survey;
  return found !== null && nowMs < found.sentAtMs + EVIDENCE_MS && noneWrites(facts, found.servers, nowMs);
}

/**
 * No node can claim in two cases. No server is silent: all refuse connections, as a stopped control plane
 * does, or are starting, or answer without a success. Or at least half of the servers are there and cannot
 * write: then those that this node cannot hear are no majority, and have no quorum either. An API that
 * refuses this node by a status of its own (403, 429) can write for others.
 */
function noneWrites(facts: Facts, servers: readonly SurveyedServer[], nowMs: number): boolean {
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
 * An API server has answered this node, and does not write for it: its credentials are no good any more, or
 * it has sent too many requests. It may write for others.
 */
function isTurnedAway({ lease: { refusal } }: Facts, nowMs: number): boolean {
  if (refusal === null) return false;
  return refusal.status === TOO_MANY_REQUESTS || nowMs >= refusal.sinceMs + TURNED_AWAY_MS;
}
