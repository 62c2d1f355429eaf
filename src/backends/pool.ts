/**
 * Decides which API servers exist, what grade each has, and which may serve. These are pure rules that the
 * proxy and the kernel fast path share. The health checks put results in, and nothing here knows how they
 * were obtained.
 */
import type { Backend, BackendId, Grade } from "./backend.ts";

/**
 * What one check found, worst last.
 * - `ready`: 200.
 * - `denied`: 401 or 403. Our credentials are at fault and the server is ready, unless it is starting.
 * - `stopping`: it says that it shuts down. It still answers, and its listener closes soon.
 * - `not-ready`: it answered something else.
 * - `slow`: TCP and TLS work, but the answer did not come in time.
 * - `silent`: TCP or TLS fail too.
 * - `refused`: it refused or reset at once, so no process is there.
 * - `gone`: its machine answers neither ICMP nor TCP. Not a check but the pulse finds this.
 */
export interface CheckResult {
  readonly kind: "ready" | "denied" | "stopping" | "not-ready" | "slow" | "silent" | "refused" | "gone";
  /** The finding in an operator's words: "200", "500", "timeout", "refused", "tls: ...". */
  readonly reason: string;
  readonly durationMs: number;
  /** True if the server has answered over TLS with a certificate of the cluster's CA. */
  readonly verified?: boolean;
}

/** How many results in a row change a grade. */
export interface PoolSettings {
  /** Successes in a row that bring a backend back to UP. */
  readonly rise: number;
  /** Failures in a row that take it out. A refusal takes it out at once. */
  readonly fall: number;
}

/** A backend with what its checks have found. */
export interface Member {
  readonly backend: Backend;
  readonly grade: Grade;
  readonly reason: string;
  /** Monotonic ms of the last change of grade. */
  readonly sinceMs: number;
  readonly checkMs: number | null;
  /** Kind of the last result. undefined before the first. */
  readonly last: CheckResult["kind"] | undefined;
  /**
   * Results in a row: successes (`passes`), failures of any kind (`fails`), failures of TCP or TLS
   * (`silents`).
   */
  readonly passes: number;
  readonly fails: number;
  readonly silents: number;
  /** When the present run of time-outs in DRAIN began, monotonic ms. */
  readonly timeoutsSinceMs: number | undefined;
  /** When it came back, for slow start, monotonic ms. undefined if it was UP from its first check. */
  readonly returnedMs: number | undefined;
  /**
   * True if it is no longer in the list. It takes no new connections and is checked until its sessions are
   * gone.
   */
  readonly leaving: boolean;
  /** True once its old connections have been closed since it went DOWN. */
  readonly closed: boolean;
  /** How many times its machine was found gone. */
  readonly gone: number;
  /** True once a check has verified its certificate. */
  readonly proven: boolean;
  readonly start: Start;
}

/**
 * How far a server is with its start. Times are monotonic ms.
 * - `absent`: it was last found not to run at `sinceMs`, and takes no connections even when no other server is
 *   left.
 * - `unproven`: it is new here, or was away and answers 401 or 403. It may still be starting, so such an answer
 *   does not make it ready. It takes connections when no other server is left.
 * - `over`: it has been ready since, or has had {@link START_MS} to become ready.
 */
export type Start =
  | { readonly kind: "absent"; readonly sinceMs: number }
  | { readonly kind: "unproven"; readonly sinceMs: number }
  | { readonly kind: "over" };

/** All backends. */
export interface Pool {
  readonly members: readonly Member[];
  /** The backends that a person has drained, or that are about to stop. They need not be members. */
  readonly drained: ReadonlySet<BackendId>;
  /** When the old connections of a DOWN backend were last closed, monotonic ms. */
  readonly lastCloseMs: number;
}

/** A backend that only times out is DRAIN for this long, then DOWN. */
export const DRAIN_TIMEOUT_MS = 10_000;
/**
 * A server that was away and answers again counts as starting, not as ailing, for this long. kube-apiserver
 * listens seconds before its caches are filled, and answers 403 until then. Clients do not repeat a request
 * that was answered 403.
 */
export const START_MS = 60_000;
/**
 * A server that was away and answers 401 or 403 may take connections after this long, if no other server is
 * left. While `kubeadm init` runs, admin.conf has no permission yet, and the first API server answers 403 to
 * it however long it has been running.
 */
export const DENIED_START_MS = 5_000;
/**
 * Time from closing the connections of one DOWN backend to closing those of the next. If several fail at
 * once, the fault is probably our own (network, credentials). All clients reconnecting together is also what
 * an API server recovers from worst.
 */
export const CLOSE_GAP_MS = 1000;

/** A pool without any backend. */
export const emptyPool: Pool = {
  members: [],
  drained: new Set(),
  lastCloseMs: Number.NEGATIVE_INFINITY,
};

/**
 * Sets the list, as configured or discovered. `local` (undefined on a worker) is in the pool whatever the
 * list says. Members that stay keep what is known about them. Members that are no longer in the list stay
 * until {@link forget} drops them, after their last session.
 */
export function withBackends(
  pool: Pool,
  list: readonly Backend[],
  local: Backend | undefined,
  nowMs: number,
): Pool {
  const wanted = new Map<BackendId, Backend>();
  for (const backend of local === undefined ? list : [local, ...list]) {
    if (!wanted.has(backend.id)) wanted.set(backend.id, backend);
  }
  const kept = pool.members.map((member) => {
    const backend = wanted.get(member.backend.id);
    wanted.delete(member.backend.id);
    if (backend !== undefined) return { ...member, backend, leaving: false };
    // This node's own API server is always wanted. What the checks find at a former address of this node says
    // nothing about it.
    return { ...member, backend: { ...member.backend, local: false }, leaving: true };
  });
  const added = [...wanted.values()].map((backend) => newMember(backend, nowMs));
  return { ...pool, members: [...kept, ...added] };
}

/** Drops a member that has left the list and has no session left. */
export function forget(pool: Pool, id: BackendId): Pool {
  return { ...pool, members: pool.members.filter((member) => member.backend.id !== id || !member.leaving) };
}

/** Sets which backends get no new connections, because a person wants that. Their old ones live on. */
export function withDrained(pool: Pool, drained: readonly BackendId[]): Pool {
  return { ...pool, drained: new Set(drained) };
}

/** Returns the pool with one more result of a check, which may change the backend's grade. */
export function withResult(
  pool: Pool,
  id: BackendId,
  result: CheckResult,
  nowMs: number,
  settings: PoolSettings,
): Pool {
  const members = pool.members.map((member) =>
    member.backend.id === id ? graded(member, result, nowMs, settings) : member,
  );
  return { ...pool, members };
}

/**
 * Returns the members that take new connections: those that are UP. If none is, it returns all that answer
 * and those that are not checked yet. A fault of /readyz in the whole cluster, as when etcd stumbles, must
 * not take the address away. Members that are starting are left out: clients repeat a refused connection, but
 * believe a wrong answer. A drained member that is UP serves while no other one is: a wish must not take the
 * address away either.
 */
export function serving(pool: Pool): readonly Member[] {
  const present = pool.members.filter((member) => !member.leaving && !isUnproven(member));
  const up = present.filter((member) => member.grade === "UP");
  const fit = up.length > 0 ? up : present.filter((member) => member.grade === "UNKNOWN" || answers(member));
  const wanted = fit.filter((member) => !pool.drained.has(member.backend.id));
  // A server that is not checked yet may be away, so it does not stand in for a drained one that is UP.
  const isEnough = up.length > 0 ? wanted.length > 0 : wanted.some(({ grade }) => grade !== "UNKNOWN");
  return isEnough ? wanted : fit;
}

/** True while only a candidate's annotation says that there is an API server. */
export function isUnproven({ backend, proven }: Member): boolean {
  return backend.claimed === true && !proven;
}

/** Tells whether any checked member is fit to take connections. If so, the balancer works. */
export function isServing(pool: Pool): boolean {
  return serving(pool).some((member) => member.grade !== "UNKNOWN");
}

/**
 * Returns the DOWN backend whose old connections to close next, and in how many milliseconds. It is one
 * backend at a time, and only while another one serves, so the last backend's connections are never closed.
 */
export function nextToClose(
  pool: Pool,
  nowMs: number,
): { readonly id: BackendId; readonly inMs: number } | undefined {
  if (!isServing(pool)) return undefined;
  const keep = new Set(serving(pool).map((member) => member.backend.id));
  const next = pool.members
    .filter((member) => member.grade === "DOWN" && !member.closed && !keep.has(member.backend.id))
    .sort((a, b) => a.sinceMs - b.sinceMs)[0];
  if (next === undefined) return undefined;
  return { id: next.backend.id, inMs: Math.max(0, pool.lastCloseMs + CLOSE_GAP_MS - nowMs) };
}

/** Returns the pool after the backend's old connections have been closed. */
export function withClosed(pool: Pool, id: BackendId, nowMs: number): Pool {
  const members = pool.members.map((member) =>
    member.backend.id === id ? { ...member, closed: true } : member,
  );
  return { ...pool, members, lastCloseMs: nowMs };
}

function newMember(backend: Backend, nowMs: number): Member {
  return {
    backend,
    grade: "UNKNOWN",
    reason: "not checked yet",
    sinceMs: nowMs,
    checkMs: null,
    last: undefined,
    passes: 0,
    fails: 0,
    silents: 0,
    timeoutsSinceMs: undefined,
    returnedMs: undefined,
    leaving: false,
    closed: false,
    gone: 0,
    proven: false,
    start: { kind: "unproven", sinceMs: nowMs },
  };
}

/**
 * Tells whether the member answers. A DOWN backend whose TCP and TLS work, though it is too slow to say that
 * it is ready, is better than none.
 */
function answers(member: Member): boolean {
  if (member.start.kind === "absent") return false;
  return (
    member.grade === "DRAIN" ||
    member.last === "ready" ||
    member.last === "denied" ||
    member.last === "stopping" ||
    member.last === "not-ready" ||
    member.last === "slow"
  );
}

function graded(member: Member, result: CheckResult, nowMs: number, settings: PoolSettings): Member {
  const start = nextStart(member, result.kind, nowMs);
  const ok = result.kind === "ready" || (result.kind === "denied" && start.kind === "over");
  const timedOut = result.kind === "slow" || result.kind === "silent";
  const counted: Member = {
    ...member,
    reason: result.reason,
    checkMs: result.kind === "gone" ? member.checkMs : result.durationMs,
    last: result.kind,
    passes: ok ? member.passes + 1 : 0,
    fails: ok ? 0 : member.fails + 1,
    silents: result.kind === "silent" ? member.silents + 1 : 0,
    gone: result.kind === "gone" ? member.gone + 1 : member.gone,
    proven: member.proven || result.verified === true,
    timeoutsSinceMs: timedOut && member.grade === "DRAIN" ? (member.timeoutsSinceMs ?? nowMs) : undefined,
    start,
  };
  const grade = nextGrade(counted, ok ? "ready" : result.kind, nowMs, settings);
  if (grade === member.grade) return counted;
  return {
    ...counted,
    grade,
    sinceMs: nowMs,
    timeoutsSinceMs: grade === "DRAIN" && timedOut ? nowMs : undefined,
    returnedMs: grade !== "UP" ? undefined : member.grade === "UNKNOWN" ? undefined : nowMs,
    closed: false,
  };
}

function nextStart({ start }: Member, result: CheckResult["kind"], nowMs: number): Start {
  if (result === "refused" || result === "gone") return { kind: "absent", sinceMs: nowMs };
  if (result === "ready") return { kind: "over" };
  if (start.kind === "over" || nowMs - start.sinceMs >= START_MS) return { kind: "over" };
  if (result === "denied" && nowMs - start.sinceMs >= DENIED_START_MS)
    return { kind: "unproven", sinceMs: start.sinceMs };
  return start;
}

/** Returns the next grade. `member` has this result counted already, but still its old grade. */
function nextGrade(
  member: Member,
  result: CheckResult["kind"],
  nowMs: number,
  settings: PoolSettings,
): Grade {
  if (result === "refused" || result === "gone") return "DOWN";
  switch (member.grade) {
    case "UNKNOWN":
      // The first result decides, as in the init state of keepalived's checks.
      return result === "ready" ? "UP" : result === "silent" ? "DOWN" : "DRAIN";
    case "UP":
      if (member.silents >= settings.fall) return "DOWN";
      // A server that shuts down means it. Its listener may be closed before the next check.
      return result === "stopping" || member.fails >= settings.fall ? "DRAIN" : "UP";
    case "DRAIN":
      if (member.passes >= settings.rise) return "UP";
      if (member.silents >= settings.fall) return "DOWN";
      return member.timeoutsSinceMs !== undefined && nowMs - member.timeoutsSinceMs >= DRAIN_TIMEOUT_MS
        ? "DOWN"
        : "DRAIN";
    case "DOWN":
      if (member.passes >= settings.rise) return "UP";
      return result === "ready" || result === "denied" || result === "stopping" || result === "not-ready"
        ? "DRAIN"
        : "DOWN";
  }
}
