/**
 * The balancer as the agent sees it: it checks the API servers, and worker threads carry connections to them.
 */
import { availableParallelism } from "node:os";
import type { Backend, BackendId, BackendStatus, BalancerStatus } from "../backends/backend.ts";
import { Health } from "../backends/health.ts";
import {
  emptyPool,
  forget,
  isServing,
  isUnproven,
  nextToClose,
  serving,
  withBackends,
  withClosed,
  withDrained,
  withResult,
  type CheckResult,
  type Member,
  type Pool,
} from "../backends/pool.ts";
import type { CheckTls } from "../backends/probe.ts";
import type { HostLiveness } from "../backends/host-liveness.ts";
import type { Clock, Timer } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { Logger } from "../log.ts";
import { wholeAddress } from "../net.ts";
import type { IpAddress, Subnet } from "../net.ts";
import type { ProxyBackend } from "./messages.ts";
import { ProxyThreads, workersFor, type ProxyThreadsDeps } from "./threads.ts";

/** The settings that the balancer uses. */
export type BalancerSettings = Pick<
  Config,
  | "balancerPort"
  | "balancerAddresses"
  | "balancerWorkers"
  | "algorithm"
  | "maxConnections"
  | "slowStartMs"
  | "connectTimeoutMs"
  | "drainTimeoutMs"
  | "checkPath"
  | "checkIntervalMs"
  | "checkTimeoutMs"
  | "checkRise"
  | "checkFall"
>;

export interface BalancerDeps extends Pick<ProxyThreadsDeps, "openPending" | "closeListener"> {
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: BalancerSettings;
  /**
   * Answers the API server of this node, which is always in the pool; undefined on a worker (role `balancer`).
   * It is asked again with each list that is set.
   */
  readonly local: () => Backend | undefined;
  /**
   * Answers this node's addresses on the VIP's network, where the agent's own rules lead clients. The balancer
   * serves there whatever `balancerAddresses` names. It is asked again with each list that is set. Default: none.
   */
  readonly own?: () => readonly IpAddress[];
  /**
   * Returns the credentials now in force, undefined while there are none. Called for every new check
   * connection.
   */
  readonly tls: () => CheckTls | undefined;
  /** The worker's entry: `worker.ts` next to the sources, `proxy-worker.js` next to the bundle. */
  readonly workerUrl: URL;
  /**
   * Finds lost machines before the checks do. undefined where it cannot run. It is stopped with the balancer.
   */
  readonly hostLiveness?: HostLiveness | undefined;
  /** Called with every finished check, for metrics. */
  readonly onCheck?: (id: BackendId, result: CheckResult) => void;
}

/** The balancer of this node. */
export interface Balancer {
  /**
   * Starts the balancer. Resolves once the listener accepts, or once it is known that it cannot yet. A port
   * that is taken is tried for ever, and the `balancer` check reports it. Backends may be set before.
   */
  start(): Promise<void>;
  /**
   * Sets the whole list, as configured or discovered. Sessions to backends that are no longer in it live on.
   */
  setBackends(list: readonly Backend[]): void;
  /** Sets which backends get no new connections, because a person wants that. Sessions to them live on. */
  setDrained(ids: readonly BackendId[]): void;
  status(): BalancerStatus;
  /** Calls back after a grade, the list or the listener has changed. Returns a function that ends this. */
  onChange(callback: () => void): () => void;
  /**
   * Returns the result of the `balancer` track check: a listener accepts and its worker lives, and a checked
   * backend serves.
   */
  working(): { readonly ok: boolean; readonly detail: string };
  /**
   * Starts the worker threads now, if they wait for the first client. Clients are about to come, and none of
   * them shall wait for the start of a thread.
   */
  wake(): void;
  /** Tells that the credentials have changed. The checks use the new ones at once. */
  updateTls(): void;
  /** Stops accepting, lets sessions go on until the drain time-out at most, then ends them. */
  stop(): Promise<void>;
}

/** A worker whose event loop has not turned for this long does not serve its clients either. */
const HEARTBEAT_LIMIT_MS = 3000;
const SWEEP_INTERVAL_MS = 5000;

/** Creates a balancer that neither checks nor listens before {@link Balancer.start}. */
export function createBalancer(deps: BalancerDeps): Balancer {
  const { clock, log, settings } = deps;
  const grading = { rise: settings.checkRise, fall: settings.checkFall };
  const listeners = new Set<() => void>();
  let pool: Pool = withBackends(emptyPool, [], deps.local(), clock.now());
  let own = ownSubnets();
  let closing: Timer | undefined;
  let sweep: Timer | undefined;

  const health = new Health({ clock, log, settings, tls: deps.tls, onResult: checked });
  const threads = new ProxyThreads({
    clock,
    log,
    settings: {
      port: settings.balancerPort,
      addresses: settings.balancerAddresses,
      algorithm: settings.algorithm,
      maxConnections: settings.maxConnections,
      slowStartMs: settings.slowStartMs,
      connectTimeoutMs: settings.connectTimeoutMs,
    },
    workers: settings.balancerWorkers ?? workersFor(availableParallelism()),
    workerUrl: deps.workerUrl,
    openPending: deps.openPending,
    closeListener: deps.closeListener,
    backends: () => proxyBackends(pool, clock.now()),
    own: () => own,
    onConnectFailed: (id) => health.probeNow(id),
    onChange: notify,
  });

  function ownSubnets(): readonly Subnet[] {
    return (deps.own?.() ?? []).map(wholeAddress);
  }

  function notify(): void {
    for (const listener of listeners) listener();
  }

  function tellThreads(): void {
    threads.post({ kind: "backends", backends: proxyBackends(pool, clock.now()), own });
  }

  /**
   * Takes the new pool, and tells the workers and the listeners if something has changed that they act on.
   */
  function apply(next: Pool, before: Pool): void {
    pool = next;
    if (signature(next) !== signature(before)) {
      tellThreads();
      notify();
    }
    closeOne();
  }

  function checked(id: BackendId, result: CheckResult): void {
    if (result.kind !== "gone") deps.onCheck?.(id, result);
    const before = pool;
    const next = withResult(pool, id, result, clock.now(), grading);
    const was = before.members.find((member) => member.backend.id === id);
    const is = next.members.find((member) => member.backend.id === id);
    if (was !== undefined && is !== undefined && was.grade !== is.grade) {
      const fields = { backend: id, grade: is.grade, prevGrade: was.grade, reason: is.reason };
      if (is.grade === "UP") log.info(fields, "Backend changed its grade");
      else log.warn(fields, "Backend changed its grade");
    }
    apply(next, before);
  }

  /**
   * Takes the backend out at once, so that its connections can be closed. Only the checks find out that it is
   * back, and the next one begins now.
   */
  function machineGone(id: BackendId, durationMs: number): void {
    checked(id, { kind: "gone", reason: "machine silent", durationMs });
    health.probeNow(id);
  }

  function watch(): void {
    const backends = pool.members.map((member) => member.backend);
    health.setBackends(backends);
    deps.hostLiveness?.setBackends(backends);
  }

  function closeOne(): void {
    closing?.cancel();
    closing = undefined;
    const due = nextToClose(pool, clock.now());
    if (due === undefined) return;
    if (due.inMs > 0) {
      closing = clock.after(due.inMs, closeOne);
      return;
    }
    pool = withClosed(pool, due.id, clock.now());
    threads.post({ kind: "close-sessions", id: due.id });
    closeOne();
  }

  /** Forgets backends that left the list, once their last session has ended. */
  function forgetGone(): void {
    const active = new Map(threads.counters().backends.map((counter) => [counter.id, counter.active]));
    const gone = pool.members.filter(
      (member) => member.leaving && (active.get(member.backend.id) ?? 0) === 0,
    );
    if (gone.length === 0) return;
    const before = pool;
    apply(
      gone.reduce((rest, member) => forget(rest, member.backend.id), pool),
      before,
    );
    watch();
  }

  return {
    async start() {
      watch();
      deps.hostLiveness?.start({ gone: machineGone, returned: (id) => health.probeNow(id) });
      sweep = clock.every(SWEEP_INTERVAL_MS, forgetGone);
      await threads.start();
    },
    setBackends(list) {
      const before = pool;
      const ownBefore = own;
      own = ownSubnets();
      if (textOf(own) !== textOf(ownBefore)) tellThreads();
      apply(withBackends(pool, list, deps.local(), clock.now()), before);
      if (sweep !== undefined) watch();
    },
    setDrained: (ids) => apply(withDrained(pool, ids), pool),
    status() {
      const { connections, refused, backends } = threads.counters();
      const takesNew = new Set(serving(pool).map((member) => member.backend.id));
      const counted = new Map(backends.map((counter) => [counter.id, counter]));
      return {
        listening: threads.listening !== undefined,
        port: threads.listening ?? settings.balancerPort,
        listenFailure: threads.failure?.detail ?? null,
        heartbeatAgeMs: threads.heartbeatAgeMs(),
        connections,
        refused,
        backends: pool.members.map((member): BackendStatus => {
          const counter = counted.get(member.backend.id);
          return {
            ...member.backend,
            grade: member.grade,
            serving: member.grade !== "UNKNOWN" && takesNew.has(member.backend.id),
            drained: pool.drained.has(member.backend.id),
            ...(isUnproven(member) ? { unproven: true } : {}),
            silent: member.last === "silent" || member.last === "gone",
            gone: member.gone,
            reason: member.reason,
            sinceMs: member.sinceMs,
            checkMs: member.checkMs,
            active: counter?.active ?? 0,
            sessions: counter?.sessions ?? 0,
            connectErrors: counter?.connectErrors ?? 0,
            bytesIn: counter?.bytesIn ?? 0,
            bytesOut: counter?.bytesOut ?? 0,
          };
        }),
      };
    },
    onChange(callback) {
      listeners.add(callback);
      return () => void listeners.delete(callback);
    },
    working() {
      const ageMs = threads.heartbeatAgeMs();
      const { failure, listening } = threads;
      // While one worker has the port every client is served, so the VIP had better stay.
      if (listening === undefined && failure !== undefined) return { ok: false, detail: failure.detail };
      if (!isServing(pool)) return { ok: false, detail: "no healthy backend" };
      if (listening === undefined) return { ok: false, detail: "the listener is closed" };
      if (ageMs > HEARTBEAT_LIMIT_MS)
        return { ok: false, detail: `the proxy has not answered for ${Math.round(ageMs)} ms` };
      return { ok: true, detail: `${serving(pool).length} of ${pool.members.length} backends serve` };
    },
    wake: () => threads.wake(),
    updateTls: () => health.updateTls(),
    async stop() {
      closing?.cancel();
      sweep?.cancel();
      sweep = undefined;
      deps.hostLiveness?.stop();
      await threads.stop(settings.drainTimeoutMs);
      health.stop();
    },
  };
}

function proxyBackends(pool: Pool, nowMs: number): readonly ProxyBackend[] {
  const servingIds = new Set(serving(pool).map((member) => member.backend.id));
  return pool.members.map(({ backend, returnedMs }) => ({
    id: backend.id,
    host: backend.host,
    port: backend.port,
    local: backend.local,
    serving: servingIds.has(backend.id),
    returnedAgoMs: returnedMs === undefined ? undefined : nowMs - returnedMs,
  }));
}

function textOf(subnets: readonly Subnet[]): string {
  return subnets.map(({ address }) => address.text).join();
}

/** Returns what others act on. The durations and counts of each check are not news. */
function signature(pool: Pool): string {
  const servingIds = new Set(serving(pool).map((member) => member.backend.id));
  return pool.members
    .map((member) => describe(member, servingIds.has(member.backend.id), pool.drained.has(member.backend.id)))
    .join(" ");
}

function describe(member: Member, takesNew: boolean, isDrained: boolean): string {
  const { backend, grade, leaving } = member;
  return [backend.id, backend.local, grade, leaving, takesNew, isDrained, isUnproven(member)].join("/");
}
