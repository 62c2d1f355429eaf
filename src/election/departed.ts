/**
 * Nodes that have left the cluster for good. The holder takes their annotations out of the Lease, in a
 * renewal that it sends anyway (ADR 0015).
 *
 * A node has left when two things have been true for an hour without a break, by this node's own clock. The
 * cluster does not name an API server at the node's addresses, and the node's agent has not written to the
 * Lease. A node that comes back later writes its annotation again, so a removal takes no right from any node.
 */
import { CANDIDATE_PREFIX, OFFER } from "../kube/record.ts";
import type { Candidate, LeaseRecord } from "../kube/record.ts";
import type { Departed } from "../kube/store.ts";
import { ownIp } from "./candidates.ts";
import { isFresh } from "./lease-view.ts";
import type { LeaseView } from "./lease-view.ts";
import type { StepBuilder } from "./step.ts";

/**
 * Milliseconds. A machine that installs firmware or waits for a person at its console is back within the
 * hour. While it is away, people still find it in the Lease and in /status.
 */
export const DEPARTED_MS = 3_600_000;
/** What happened between two answers that are further apart than this, ms, is not known. */
const ANSWERS_APART_MS = 60_000;
/** One renewal removes so many at most, which keeps the patch small. */
const MOST_AT_ONCE = 16;

/**
 * The cluster has named its API servers. Only a list that names this node's own one counts: a list that is
 * empty, or kept by hand, or of another network says nothing of the nodes (kube-apiserver's
 * `--endpoint-reconciler-type=none`).
 * @param addresses the API servers' addresses, canonical text
 */
export function serversAnswered(step: StepBuilder, addresses: readonly string[]): void {
  const { settings, nowMs, facts } = step;
  const { view } = facts.lease;
  const named = new Set(addresses);
  const own = [ownIp(settings, facts), ...(facts.self.tracking.fastPath?.addresses ?? [])];
  const counts = view !== null && own.some((address) => named.has(address));
  const before = nowMs - facts.servers.answeredAtMs <= ANSWERS_APART_MS ? facts.servers.unnamedSinceMs : NONE;
  const unnamed = counts ? [...view.candidates.values()].filter(({ candidate }) => isUnnamed(candidate)) : [];
  step.setServers({
    answeredAtMs: nowMs,
    unnamedSinceMs: new Map(unnamed.map(({ candidate: { node } }) => [node, before.get(node) ?? nowMs])),
  });

  /** A machine that was replaced under another name leaves an annotation with the new machine's address. */
  function isUnnamed(candidate: Candidate): boolean {
    return (
      candidate.node !== settings.node &&
      !addressesOf(candidate).some((address) => named.has(address) && !hasSuccessor(candidate.node, address))
    );
  }

  function hasSuccessor(node: string, address: string): boolean {
    return [...(view?.candidates.values() ?? [])].some(
      (seen) =>
        view !== null &&
        seen.candidate.node !== node &&
        isFresh(view, seen) &&
        addressesOf(seen.candidate).includes(address),
    );
  }
}

const NONE: ReadonlyMap<string, number> = new Map();

function addressesOf(candidate: Candidate): readonly string[] {
  return [candidate.ip, ...(candidate.fastPath?.addresses ?? [])];
}

/**
 * Takes the nodes that have left out of this node's count, for a renewal to remove them. If the API refuses
 * that renewal, as an admission webhook may, the next renewals are plain ones, and the hour begins again.
 */
export function takeDeparted(step: StepBuilder, view: LeaseView, record: LeaseRecord): readonly Departed[] {
  const { nowMs } = step;
  const { answeredAtMs, unnamedSinceMs } = step.facts.servers;
  if (unnamedSinceMs.size === 0 || nowMs - answeredAtMs > ANSWERS_APART_MS) return [];
  const departed = [...unnamedSinceMs]
    .flatMap(([node, sinceMs]): readonly Departed[] => {
      const seen = view.candidates.get(node);
      if (seen === undefined || node === record.holder || node === record.annotations[OFFER]) return [];
      return nowMs - Math.max(sinceMs, seen.aliveAtMs) < DEPARTED_MS ? [] : [{ node, text: seen.text }];
    })
    .slice(0, MOST_AT_ONCE);
  if (departed.length === 0) return [];
  const again = new Map(unnamedSinceMs);
  for (const { node } of departed) again.set(node, nowMs);
  step.setServers({ answeredAtMs, unnamedSinceMs: again });
  return departed;
}

/** A renewal was accepted: says which of the nodes are out of the Lease now. */
export function departedAnswered(
  step: StepBuilder,
  departed: readonly Departed[] | undefined,
  record: LeaseRecord,
): void {
  const nodes = (departed ?? [])
    .map(({ node }) => node)
    .filter((node) => record.annotations[`${CANDIDATE_PREFIX}${node}`] === undefined);
  if (nodes.length > 0) step.effect({ kind: "report", report: { kind: "departed", nodes } });
}
