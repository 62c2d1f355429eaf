/**
 * Runs the machine. It has one timer, passes effects to the store, the VIP and the sentinel, and passes their
 * answers back as events. It has no rules of its own.
 */
import type { Clock, Timer } from "../clock.ts";
import type { LeaseStore, LeaseWrite, WriteOutcome } from "../kube/store.ts";
import type { Logger } from "../log.ts";
import type { Evidence, Sentinel } from "../sentinel/evidence.ts";
import { candidateAt } from "./candidates.ts";
import { eligible, faultsOf, isTaken } from "./eligibility.ts";
import { READ_TIMEOUT_MS, SURVEY_TIMEOUT_MS } from "./lease-traffic.ts";
import { isFresh } from "./lease-view.ts";
import { initialState, step } from "./machine.ts";
import { agentState } from "./states.ts";
import type { AgentState } from "./states.ts";
import type { ElectionStatus } from "./status.ts";
import { waitsFor } from "./take-over.ts";
import type {
  Effect,
  ElectionEvent,
  ElectionSettings,
  ElectionState,
  LeftBehind,
  Report,
  SelfFacts,
  StepTaken,
} from "./types.ts";
import { vacancy } from "./vacancy.ts";

/**
 * The VIP as the election steers it; see vip/vip.ts. Every call is synchronous: letting go waits for nothing.
 */
export interface VipControl {
  hold(untilMs: number): void;
  limit(untilMs: number): void;
  release(): void;
  /** Announces the VIP again, with the whole schedule, if it is held. */
  announce(): void;
  /**
   * Announces the VIP once, if it is held. RFC 5227 section 2.4 allows no more in ten seconds, so that two
   * machines that both defend an address do not flood the network.
   */
  defend(): void;
}

export interface ElectorDeps {
  readonly settings: ElectionSettings;
  readonly clock: Clock;
  readonly store: LeaseStore;
  readonly vip: VipControl;
  /** What the sentinel finds comes in by {@link Elector.learn}. */
  readonly sentinel: Pick<Sentinel, "watch" | "probe" | "poll">;
  /** This keeps the last renewal for a process that comes after this one. */
  readonly memory: { remember(renewedAtMs: number): void; forget(): void };
  readonly log: Logger;
  readonly onReport: (report: Report) => void;
  /** Called for every finished write, with its duration. */
  readonly onWrite: (write: LeaseWrite["kind"], outcome: WriteOutcome["kind"], durationMs: number) => void;
  /** Called after each step of the machine, when its effects have begun. It must not throw. */
  readonly onStep?: (taken: StepTaken) => void;
}

export interface Elector {
  /**
   * Begins to watch the Lease and to take part.
   * @param resume the last renewal of a previous process of this boot; null: none is known
   * @param found what a previous process has left bound; null: nothing, or not all of it
   */
  start(resume: { readonly renewedAtMs: number } | null, found: LeftBehind | null): void;
  /** The kernel has removed what a previous process had left bound. */
  leftOverGone(): void;
  /** The sentinel has news of the VIP's wire. */
  learn(evidence: Evidence): void;
  /** Tracking has news of this node. */
  update(facts: SelfFacts): void;
  /** The cluster has named its API servers, by their addresses in canonical text. */
  nameServers(addresses: readonly string[]): void;
  /** Hands over or releases, and then resolves. It takes about 2 s at most, whatever the API does. */
  stop(): Promise<void>;
  status(): ElectionStatus;
  /**
   * Since when no node holds the Lease and no machine was heard to have the VIP, monotonic ms; null: one has
   * it, as far as this node knows.
   */
  vacantSinceMs(): number | null;
  /** This node's state and its faults, as people see them. */
  now(): { readonly state: AgentState; readonly faults: readonly string[] };
  /** The uid of the Lease that was last seen, for Events about it. */
  leaseUid(): string | undefined;
}

export function createElector(deps: ElectorDeps): Elector {
  const { settings, clock, store, vip, sentinel, memory, log } = deps;
  let state: ElectionState = initialState(settings, clock.now());
  let timer: Timer | undefined;
  let watch: { close(): void } | undefined;
  let stopping: Promise<void> | undefined;
  let onStopped: () => void = () => {};

  const queue: ElectionEvent[] = [];
  let dispatching = false;

  /**
   * Events that effects cause wait in a queue, so that each step finds the effects of the step before it
   * done.
   */
  function dispatch(event: ElectionEvent): void {
    queue.push(event);
    if (dispatching) return;
    dispatching = true;
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) take(next);
    } finally {
      dispatching = false;
    }
  }

  /**
   * After a pause of this process timers run before anything is read. What the others have done meanwhile
   * comes first.
   */
  function wake(): void {
    sentinel.poll();
    dispatch({ kind: "wake" });
  }

  function take(event: ElectionEvent): void {
    if (state.role.kind === "STOPPED") return;
    const before = state;
    const atMs = clock.now();
    const next = step(settings, before, event, atMs);
    state = next.state;
    timer?.cancel();
    timer = undefined;
    if (next.wakeAtMs !== Number.POSITIVE_INFINITY && state.role.kind !== "STOPPED") {
      timer = clock.after(next.wakeAtMs - clock.now(), wake);
    }
    for (const effect of next.effects) run(effect);
    deps.onStep?.({ settings, before, event, atMs, next });
  }

  function run(effect: Effect): void {
    switch (effect.kind) {
      case "hold":
        return vip.hold(effect.untilMs);
      case "limit":
        return vip.limit(effect.untilMs);
      case "unbind":
        return vip.release();
      case "announce":
        return vip.announce();
      case "defend":
        return vip.defend();
      case "watch":
        return sentinel.watch(effect.target);
      case "probe":
        return sentinel.probe(effect.spread, effect.claims, effect.questions);
      case "survey":
        void survey();
        return;
      case "remember":
        return memory.remember(effect.renewedAtMs);
      case "forget":
        return memory.forget();
      case "read":
        void read();
        return;
      case "write":
        void write(effect);
        return;
      case "report":
        return deps.onReport(effect.report);
      case "stopped":
        watch?.close();
        return onStopped();
    }
  }

  async function read(): Promise<void> {
    const sentAtMs = clock.now();
    const outcome = await store.read(READ_TIMEOUT_MS).catch((error: unknown) => {
      log.error({ err: error }, "Reading the Lease failed unexpectedly");
      return { kind: "no-answer", message: String(error) } as const;
    });
    dispatch({ kind: "read", sentAtMs, outcome });
  }

  async function survey(): Promise<void> {
    const sentAtMs = clock.now();
    const found = await store.survey(SURVEY_TIMEOUT_MS);
    log.debug(
      { servers: found.servers, durationMs: clock.now() - sentAtMs },
      "Asked every API server what it can do",
    );
    dispatch({ kind: "surveyed", sentAtMs, survey: found });
  }

  async function write({ id, write, timeoutMs, urgent }: Extract<Effect, { kind: "write" }>): Promise<void> {
    const sentAtMs = clock.now();
    const outcome = await store.write(write, timeoutMs, urgent).catch((error: unknown) => {
      log.error({ err: error, write: write.kind }, "Writing the Lease failed unexpectedly");
      return { kind: "no-answer", ambiguous: true, message: String(error) } as const;
    });
    deps.onWrite(write.kind, outcome.kind, clock.now() - sentAtMs);
    if (outcome.kind === "rejected" || outcome.kind === "no-answer") {
      log.debug({ write: write.kind, outcome }, "A write of the Lease was not accepted");
    }
    dispatch({ kind: "written", id, write, sentAtMs, outcome });
  }

  return {
    start(resume, found) {
      dispatch({ kind: "start", resume, found });
      watch = store.watch((record) => dispatch({ kind: "watched", record }));
    },
    leftOverGone() {
      dispatch({ kind: "left-over-gone" });
    },
    learn(evidence) {
      dispatch({ kind: "evidence", evidence });
    },
    update(facts) {
      dispatch({ kind: "self", facts });
    },
    nameServers(addresses) {
      dispatch({ kind: "servers", addresses });
    },
    stop() {
      stopping ??= new Promise((resolve) => {
        onStopped = resolve;
        if (state.role.kind === "STOPPED") resolve();
        else dispatch({ kind: "stop" });
      });
      return stopping;
    },
    status: () => electionStatus(settings, state, clock.now()),
    vacantSinceMs: () => vacantSince(settings, state, clock.now()),
    now: () => ({ state: agentState(state, state.role), faults: faultsOf(state, state.role) }),
    leaseUid: () => state.lease.view?.record?.uid,
  };
}

/** Before the Lease was first read, what people have to know is why it cannot be read. */
function reasonOf(state: ElectionState): string {
  const { role, reason, lease } = state;
  if (role.kind === "BACKUP" && isTaken(state)) return waitsFor(state);
  if (role.kind !== "BACKUP" || lease.view !== null || lease.read.failure === null) return reason;
  return `this node cannot read the Lease: ${lease.read.failure}`;
}

/** The machine on which other software has the VIP that this node is to take over. */
function otherOwner({ node }: ElectionSettings, state: ElectionState): ElectionStatus["other"] {
  const { tracking } = state.self;
  if (tracking.foreign) return { mac: tracking.mac, node };
  const { other: mac } = state.wire;
  return mac === null ? null : { mac, node: candidateAt(state, mac)?.node ?? null };
}

/** Since when no machine is known to have the VIP, as {@link Elector.vacantSinceMs} tells it. */
function vacantSince(settings: ElectionSettings, state: ElectionState, nowMs: number): number | null {
  // Other software on this machine is not heard on the wire.
  if (state.role.kind !== "BACKUP" || isTaken(state)) return null;
  const { view } = state.lease;
  const free = view === null ? null : vacancy(settings, view, true);
  const leaseMs =
    free === null ? state.startedAtMs : free.kind === "held" ? free.freeAtMs : view?.changedAtMs;
  // A machine that has the VIP without the Lease says so every 1.5 s.
  const sinceMs = Math.max(leaseMs ?? state.startedAtMs, state.wire.answeredAtMs + settings.leaseDurationMs);
  return nowMs < sinceMs ? null : sinceMs;
}

function electionStatus(settings: ElectionSettings, state: ElectionState, nowMs: number): ElectionStatus {
  const { role } = state;
  const { view } = state.lease;
  const { contender } = state.wire;
  return {
    state: agentState(state, role),
    confirmed: role.kind === "MASTER",
    reason: reasonOf(state),
    sinceMs: state.sinceMs,
    basePriority: settings.base,
    effectivePriority: state.self.tracking.effective,
    eligible: eligible(state, role),
    faults: faultsOf(state, role),
    taken: isTaken(state),
    other: otherOwner(settings, state),
    holder: view === null ? null : (view.record?.holder ?? ""),
    leaseTransitions: view?.record?.leaseTransitions ?? null,
    renewedAtMs: role.kind === "MASTER" ? role.renewedAtMs : null,
    lastReadAgeMs: view === null ? null : nowMs - Math.max(view.acceptedAtMs, state.lease.read.okAtMs ?? 0),
    contender:
      contender === null
        ? null
        : {
            mac: contender.mac,
            node: candidateAt(state, contender.mac)?.node ?? null,
            agoMs: nowMs - contender.atMs,
          },
    candidates:
      view === null
        ? []
        : [...view.candidates.values()].map((seen) => ({ ...seen.candidate, fresh: isFresh(view, seen) })),
  };
}
