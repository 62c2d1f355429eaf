/**
 * Keeps the agent's requests on the Lease that the API refused, in the API's own words, for the log and the
 * status. An admission webhook, a quota or missing RBAC can cost the VIP, and only the API's answer says
 * which it was. A refusal is recorded at the end of a request, so a conflict, which is an expected answer,
 * does not count.
 */
import type { Clock } from "../clock.ts";
import { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { refusalText } from "./refusal-text.ts";
import type { LeaseWrite } from "./store.ts";

/** A request of the agent on the Lease. */
export type LeaseRequest = "read" | "watch" | LeaseWrite["kind"];

/** One refusal of the API. */
export interface Refusal {
  readonly request: LeaseRequest;
  /** HTTP status. Below 300: the API has written something else than was sent. */
  readonly status: number;
  /** The API's own words, bounded and printable; "" where it said nothing. */
  readonly message: string;
  readonly server?: string;
  /** The user that the API took us for, if our certificate says so. */
  readonly user?: string;
}

/** The last refusal, as the status shows it. */
export interface RefusalStatus extends Refusal {
  /** Monotonic ms of the last refusal. */
  readonly atMs: number;
  /** Refusals since a request of this kind last succeeded. */
  readonly count: number;
  /** True once a request of this kind has succeeded again. */
  readonly over: boolean;
}

/** The record of refusals, which also logs them. */
export interface Refusals {
  refused(refusal: Refusal): void;
  /** Records that a request of this kind succeeded. */
  taken(request: LeaseRequest): void;
  last(): RefusalStatus | null;
}

/** One reason is logged at once, and again after this long while it lasts. */
const REPEAT_MS = 30_000;
/**
 * At most this many different reasons are logged within that time, so that a server that words each answer
 * differently does not flood the log.
 */
const MOST_REASONS = 8;

interface Spell {
  readonly sinceMs: number;
  count: number;
  /** True if its beginning was logged. Only then its end is logged too. */
  told: boolean;
}

/** Creates an empty record of refusals. */
export function createRefusals({ clock, log }: { readonly clock: Clock; readonly log: Logger }): Refusals {
  const spells = new Map<string, Spell>();
  /** Reasons in the order in which they were last logged. */
  const reasons = new Map<string, { readonly toldMs: number; untold: number }>();
  let last: Omit<RefusalStatus, "count"> | null = null;
  let lastCount = 0;

  function isDue(key: string, nowMs: number): boolean {
    const known = reasons.get(key);
    if (known !== undefined) return nowMs - known.toldMs >= REPEAT_MS;
    if (reasons.size < MOST_REASONS) return true;
    const [oldest] = reasons;
    if (oldest === undefined || nowMs - oldest[1].toldMs < REPEAT_MS) return false;
    reasons.delete(oldest[0]);
    return true;
  }

  return {
    refused(refusal) {
      const nowMs = clock.now();
      const spell = spells.get(kindOf(refusal.request)) ?? { sinceMs: nowMs, count: 0, told: false };
      spells.set(kindOf(refusal.request), spell);
      spell.count++;
      last = { ...refusal, atMs: nowMs, over: false };
      lastCount = spell.count;
      const key = keyOf(refusal);
      const untold = reasons.get(key);
      if (!isDue(key, nowMs)) {
        if (untold !== undefined) untold.untold++;
        return;
      }
      reasons.delete(key);
      reasons.set(key, { toldMs: nowMs, untold: 0 });
      spell.told = true;
      const count = (untold?.untold ?? 0) + 1;
      if (refusal.status < 300)
        log.error(
          { ...refusal, count, err: new LeaseholdError("LH_LEASE_CHANGED", refusal.message) },
          "The API changes what this node writes into the Lease",
        );
      else
        log.warn(
          { ...refusal, count, meaning: refusalText(refusal) },
          "The API refuses the agent's request on the Lease",
        );
    },

    taken(request) {
      const kind = kindOf(request);
      const spell = spells.get(kind);
      if (spell === undefined) return;
      spells.delete(kind);
      if (last !== null && kindOf(last.request) === kind) last = { ...last, over: true };
      if (spell.told)
        log.info(
          { request, count: spell.count, durationMs: clock.now() - spell.sinceMs },
          "The API takes the agent's request on the Lease again",
        );
    },

    last: () => (last === null ? null : { ...last, count: lastCount }),
  };
}

/**
 * Returns the kind of a request. Writes that change the spec are one kind, because the API accepts or refuses
 * them together: a node that has lost the VIP no longer renews, but claims.
 */
function kindOf(request: LeaseRequest): string {
  return request === "read" || request === "watch" || request === "candidate" ? request : "hold";
}

/**
 * Returns the reason without numbers and identifiers, which differ from answer to answer and do not make
 * another reason.
 */
function keyOf({ request, status, message }: Refusal): string {
  return `${request} ${status} ${message.replaceAll(/[0-9a-f]{8}[0-9a-f-]*|\d+/g, "#")}`;
}
