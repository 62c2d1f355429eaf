/** Says why no node has the VIP, in words that an operator can act on, and repeats it in the log. */
import type { Clock } from "../clock.ts";
import type { ElectionStatus } from "../election/status.ts";
import type { Logger } from "../log.ts";
import type { SentinelStatus } from "../sentinel/evidence.ts";
import type { CheckStatus } from "../tracking/check.ts";
import { repeatWarning } from "./repeat.ts";

export interface VacancyFacts {
  readonly node: string;
  readonly election: Pick<ElectionStatus, "reason" | "eligible" | "faults" | "candidates">;
  readonly checks: readonly Pick<CheckStatus, "name" | "detail">[];
  /** How each API server failed that did not answer well, by its `ip:port`. */
  readonly apiServers: Readonly<Record<string, string>>;
}

/** Most nodes and API servers that are named. */
const MOST_NAMED = 8;

/** Returns what each node lacks to take the VIP, this one first. Pure. */
export function whatIsMissing(facts: VacancyFacts): readonly string[] {
  const { node, election, checks, apiServers } = facts;
  const details = election.faults.map((fault) => {
    const detail = checks.find(({ name }) => name === fault)?.detail;
    return detail === undefined ? fault : `${fault} (${detail})`;
  });
  const own =
    details.length > 0
      ? `${node} (this node) is in FAULT: ${details.join(", ")}`
      : election.eligible
        ? `${node} (this node) is eligible: ${election.reason}`
        : `${node} (this node) is not eligible, because not every check has reported: ${election.reason}`;
  const others = election.candidates
    .filter((candidate) => candidate.node !== node)
    .slice(0, MOST_NAMED)
    .map((candidate) =>
      !candidate.fresh
        ? `the agent of ${candidate.node} is silent`
        : candidate.faults.length > 0
          ? `${candidate.node} is in FAULT: ${candidate.faults.join(", ")}`
          : `${candidate.node} is ${candidate.eligible ? "eligible" : "not eligible"}`,
    );
  const servers = Object.entries(apiServers)
    .slice(0, MOST_NAMED)
    .map(([server, how]) => `API server ${server} ${how}`);
  return [own, ...others, ...servers];
}

/** The holder's kernel answers this node, so a machine has the VIP whatever the Lease says. */
export function holderAnswers({ proof, missed }: Pick<SentinelStatus, "proof" | "missed">): boolean {
  return proof !== "none" && proof !== "silent" && missed === 0;
}

/** A fail-over takes less, and so does the start of a cluster. */
const PATIENCE_MS = 15_000;

/**
 * Warns repeatedly while no machine has the VIP, and logs when that is over.
 * @param deps.sinceMs since when that is so, monotonic ms; null: a machine has the VIP
 */
export function reportVacancy(deps: {
  readonly clock: Clock;
  readonly log: Logger;
  readonly sinceMs: () => number | null;
  readonly missing: () => readonly string[];
}): { close(): void } {
  const { clock, log } = deps;
  return repeatWarning({
    clock,
    look() {
      const sinceMs = deps.sinceMs();
      if (sinceMs === null) return null;
      const vacantMs = Math.round(clock.now() - sinceMs);
      return vacantMs < PATIENCE_MS ? undefined : vacantMs;
    },
    warn: (vacantMs) => log.warn({ vacantMs, missing: deps.missing() }, "No node holds the VIP"),
    over: () => log.info({}, "A machine has the VIP again"),
  });
}
