/**
 * What the API refuses of the agent's requests on the Lease, in the API's own words, for the log and the status: an admission webhook, a quota or
 * missing RBAC can cost the VIP, and only the answer says which it was. Told where a request ends, so that a conflict, which is an expected answer, is none.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { LeaseWrite } from "./store.ts";

export type LeaseRequest = "read" | "watch" | LeaseWrite["kind"];

export interface Refusal {
  readonly request: LeaseRequest;
  /** HTTP status, 400 or more. */
  readonly status: number;
  /** The API's own words, bounded and printable; "" where it said nothing. */
  readonly message: string;
  readonly server?: string;
  /** Whom the API took us for, where our certificate says so. */
  readonly user?: string;
}

export interface RefusalStatus extends Refusal {
  /** Monotonic ms of the last one. */
  readonly atMs: number;
  /** Refusals since such a request last succeeded. */
  readonly count: number;
  /** Such a request has succeeded since. */
  readonly over: boolean;
}

export interface Refusals {
  refused(refusal: Refusal): void;
  /** A request of this kind succeeded. */
  taken(request: LeaseRequest): void;
  last(): RefusalStatus | null;
}

/** One reason is told at once, and while it lasts so often. */
const REPEAT_MS = 30_000;
/** So many different reasons within that time: a server that words each answer anew does not flood the log. */
const MOST_REASONS = 8;

interface Spell {
  readonly sinceMs: number;
  count: number;
  /** Its end is worth a line only if its beginning was. */
  told: boolean;
}

export function createRefusals({ clock, log }: { readonly clock: Clock; readonly log: Logger }): Refusals {
  const spells = new Map<string, Spell>();
  /** In the order in which they were last told. */
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
      log.warn({ ...refusal, count: (untold?.untold ?? 0) + 1 }, "The API refuses the agent's request on the Lease");
    },

    taken(request) {
      const kind = kindOf(request);
      const spell = spells.get(kind);
      if (spell === undefined) return;
      spells.delete(kind);
      if (last !== null && kindOf(last.request) === kind) last = { ...last, over: true };
      if (spell.told) log.info({ request, count: spell.count, durationMs: clock.now() - spell.sinceMs }, "The API takes the agent's request on the Lease again");
    },

    last: () => (last === null ? null : { ...last, count: lastCount }),
  };
}

/** What changes the spec is let through or refused together; a node that has lost the VIP renews no more, but claims. */
function kindOf(request: LeaseRequest): string {
  return request === "read" || request === "watch" || request === "candidate" ? request : "hold";
}

/** Numbers and identifiers differ from answer to answer, and are no other reason. */
function keyOf({ request, status, message }: Refusal): string {
  return `${request} ${status} ${message.replaceAll(/[0-9a-f]{8}[0-9a-f-]*|\d+/g, "#")}`;
}
