/** A control-plane node's part in the election: connects the VIP, the checks and the elector. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { createElector } from "../election/elector.ts";
import { deadlineAfter } from "../election/fence.ts";
import { hasVip } from "../election/states.ts";
import type { AgentState } from "../election/states.ts";
import type { ElectionStatus } from "../election/status.ts";
import { VIP_FAULT } from "../election/types.ts";
import type { ApiClient } from "../kube/api.ts";
import type { EventRecorder } from "../kube/events.ts";
import { createLeaseStore } from "../kube/lease-store.ts";
import type { FastPathOffer, LeaseRecord, PeerOffer } from "../kube/record.ts";
import type { RefusalStatus } from "../kube/refusals.ts";
import { gateways } from "../linux/routes.ts";
import type { Logger } from "../log.ts";
import { familiesOf } from "../net.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Balancer } from "../proxy/balancer.ts";
import { roleChanges } from "../recorder/changes.ts";
import type { RoleChange } from "../recorder/changes.ts";
import { gapMs, unplannedMove } from "../recorder/moves.ts";
import { createRecorder } from "../recorder/recorder.ts";
import { recordingParts } from "../recorder/recording.ts";
import type { Evidence, SentinelStatus, Watched } from "../sentinel/evidence.ts";
import { createLinuxWire } from "../sentinel/linux-wire.ts";
import { createSentinel } from "../sentinel/sentinel.ts";
import type { CheckStatus, Finding } from "../tracking/check.ts";
import { checksFromConfig } from "../tracking/checks.ts";
import { createTracker } from "../tracking/tracker.ts";
import type { LinkState } from "../vip/kernel.ts";
import { createVipKernel } from "../vip/linux-kernel.ts";
import { vipStatus } from "../vip/status.ts";
import type { VipStatus } from "../vip/status.ts";
import { createVip, keptFor } from "../vip/vip.ts";
import { reportApiServers } from "./api-server-events.ts";
import { createPersistence } from "./persistence.ts";
import type { NodeNetwork } from "./node-network.ts";
import { createRecordings, inPieces } from "./recordings.ts";
import { createReporter } from "./reporter.ts";
import { holderAnswers, reportVacancy, whatIsMissing } from "./vacancy.ts";

export interface CandidacyDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  /** Answers the node's place on the network, which may change; see {@link Candidacy.moved}. */
  readonly nodeNetwork: () => NodeNetwork;
  /** Hash of the machine id, see {@link machineInstance}. */
  readonly instance: string;
  /** How the other nodes' agents can ask this one; undefined: they cannot. */
  readonly peer: PeerOffer | undefined;
  readonly api: ApiClient;
  readonly balancer: Balancer;
  /** The cluster's CA as PEM; undefined while there is no kubeconfig. */
  readonly clusterCa: () => string | undefined;
  readonly metrics: Metrics;
  readonly events: EventRecorder;
  /** Returns what this node tells the others about its fast path. */
  readonly fastPathOffer: () => FastPathOffer | null | undefined;
  /** Called with each new version of the Lease that the election accepts; null: it does not exist. */
  readonly onLease: (record: LeaseRecord | null) => void;
  /** Called when what the candidates say of themselves in the Lease has changed, within the step that read it. */
  readonly onCandidates: () => void;
  /** Returns how each API server failed that did not answer well, by its `ip:port`. */
  readonly failingApiServers: () => Readonly<Record<string, string>>;
  /** Called after each change of the state that people see. */
  readonly onState: (state: AgentState) => void;
  /** Called synchronously when no program has the VIP bound on this machine any more. */
  readonly onReleased: () => void;
  /** Called when other software may have got the VIP, or let it go, on any machine. */
  readonly onOtherOwner: () => void;
}

export interface Candidacy {
  /**
   * Keeps the address that the previous process of this agent left, until the fence deadline, or removes it.
   */
  adopt(): void;
  start(): void;
  /** Hands over or releases. The VIP is gone when this resolves. */
  stop(): Promise<void>;
  /** Closes the sockets. */
  close(): void;
  /** Unbinds the VIP before it returns. */
  abandon(): void;
  recheck(): void;
  /** Tells the election that this node's facts may have changed. */
  update(): void;
  /** Tells that the node has another interface or address. */
  moved(): void;
  /** Tells the election which API servers the cluster names, by their addresses in canonical text. */
  nameServers(addresses: readonly string[]): void;
  /** Reads the VIP's interface as of now. */
  link(): LinkState | undefined;
  holdsVip(): boolean;
  electionStatus(): ElectionStatus;
  vipStatus(): VipStatus;
  wireStatus(): SentinelStatus;
  checks(): readonly CheckStatus[];
  /** The last request on the Lease that the API refused. */
  lastRefusal(): RefusalStatus | null;
  /** Returns the flight recorder's last decisions as the text of a recording. */
  decisions(cause: string): Promise<string>;
  /** Returns the last `most` changes of this node's role, the last one first. */
  moves(most: number): readonly RoleChange[];
  /** Writes the decisions to the data directory. Resolves when they are written, or that has failed (logged). */
  record(cause: string): Promise<void>;
}

/**
 * The sentinel's interval while no holder is watched, in milliseconds. It has no effect, but there must be
 * one.
 */
const PROBE_OFF_MS = 1_000;
/** Milliseconds between two reads of the default routes: a gateway is a witness. */
const GATEWAYS_MS = 30_000;
/**
 * Milliseconds that a worker thread and the first checks of all backends take at most. Until then the
 * balancer's check has no verdict.
 */
const STARTUP_MS = 5_000;

export function createCandidacy(deps: CandidacyDeps): Candidacy {
  const { config, clock, log, version, nodeNetwork, instance, balancer, metrics, events } = deps;
  const node = config.nodeName;
  const interfaceName = (): string => nodeNetwork().interfaceName;
  const firstIp = nodeNetwork().nodeIp.text;
  const kernel = createVipKernel({ interfaceName, log });
  const memory = createPersistence({ log, clock, stateDir: config.stateDir, node, instance });
  const vip = createVip({
    clock,
    kernel,
    log,
    addresses: config.vips,
    takeOver: config.takeOver,
    lifetimeSeconds: config.addressLifetimeSeconds,
    announceRefreshMs: config.announceRefreshMs,
    onChange: vipChanged,
    onLeftOverGone: () => elector.leftOverGone(),
    onFailure: update,
    onAnnouncementFailed: () => metrics.announcementFailed(),
  });
  const families = familiesOf(config.vips);
  const wire = createLinuxWire({
    interfaceName,
    log,
    own: () => nodeNetwork().addresses,
    families,
  });
  const sentinel = createSentinel({
    clock,
    log,
    wire,
    ownMac: () => mac,
    hasArp: () => kernel.link()?.mac !== "",
    addresses: config.vips,
    // With 0 no holder is watched, and a dead holder is replaced when its Lease has run out.
    intervalMs: config.probeIntervalMs > 0 ? config.probeIntervalMs : PROBE_OFF_MS,
    misses: config.probeMisses,
    random: Math.random,
  });
  const tracker = createTracker({
    clock,
    log,
    basePriority: config.priority,
    checks: checksFromConfig(config, {
      clock,
      kernel,
      neighbours: () => sentinel.status().neighbours,
      balancer: balancerWorks,
      apiserver: localApiServer,
      clusterCa: deps.clusterCa,
    }),
  });
  const store = createLeaseStore({
    api: deps.api,
    clock,
    log,
    namespace: config.leaseNamespace,
    name: config.leaseName,
    node,
    leaseDurationMs: config.leaseDurationMs,
  });
  const recorder = createRecorder();
  const recordings = createRecordings({ clock, log, dataDir: config.dataDir, text: decisions });
  const elector = createElector({
    settings: {
      node,
      instance,
      ip: firstIp,
      vips: config.vips.map(({ text }) => text).toSorted(),
      ...(deps.peer === undefined ? {} : { peer: deps.peer }),
      version,
      base: config.priority,
      leaseDurationMs: config.leaseDurationMs,
      renewDeadlineMs: config.renewDeadlineMs,
      renewIntervalMs: config.renewIntervalMs,
      nopreempt: config.nopreempt,
      nopreemptStrict: config.nopreemptStrict,
      preemptDelayMs: config.preemptDelayMs,
      onApiLoss: config.onApiLoss,
      takeOver: config.takeOver,
    },
    clock,
    store,
    vip,
    sentinel: {
      watch,
      probe: (spread, claims, questions) => sentinel.probe(spread, claims, questions),
      poll: () => sentinel.poll(),
    },
    memory,
    log,
    onReport: (what) => {
      reporter.report(what);
      if (what.kind === "other-owner") deps.onOtherOwner();
    },
    onWrite: (write, outcome, durationMs) => metrics.leaseWrite(write, outcome, durationMs),
    onStep: (taken) => {
      reporter.observe();
      recorder.note(taken);
      const { view } = taken.next.state.lease;
      const before = taken.before.lease.view;
      if (view !== null && view.record !== before?.record) deps.onLease(view.record);
      if (view !== null && view.candidates !== before?.candidates) deps.onCandidates();
      const move = unplannedMove(taken);
      if (move === null) return;
      recordings.soon(move);
      const gap = gapMs(taken, move, { intervalMs: config.probeIntervalMs, misses: config.probeMisses });
      if (gap !== null) metrics.failoverGap(gap);
    },
  });
  const resume = memory.recall();
  const createdMs = clock.now();
  const subscriptions = [
    tracker.onChange(update),
    kernel.onChange(update),
    {
      close: balancer.onChange(() => {
        tracker.poke("balancer");
        tracker.poke("apiserver");
        compareApiServers();
      }),
    },
  ];
  const gatewayTimer = clock.every(GATEWAYS_MS, () => watch(watched));
  let mac = kernel.link()?.mac ?? "";
  let watched: Watched = { holder: null, witnesses: [], pace: "slow" };
  /** True when an agent or another program had the VIP bound here. */
  let wasHere = false;
  const reporter = createReporter({
    node,
    log,
    metrics,
    events,
    now: () => elector.now(),
    leaseUid: () => elector.leaseUid(),
    apiServers: deps.failingApiServers,
    onState: deps.onState,
  });
  const compareApiServers = reportApiServers({
    node,
    events,
    backends: () => balancer.status().backends,
    hasVip: () => hasVip(elector.now().state),
    leaseUid: () => elector.leaseUid(),
    nodeAt: (host) => elector.status().candidates.find(({ ip }) => ip === host)?.node,
  });
  let vacancy: { close(): void } | undefined;

  function decisions(cause: string): Promise<string> {
    const facts = { node, agent: version, cause, wall: clock.wall(), nowMs: clock.now() };
    return inPieces(clock, recordingParts(facts, recorder.settings(), recorder.decisions()));
  }

  /** Watches what the election wants. The gateways are witnesses in addition to the other candidates. */
  function watch(target: Watched): void {
    watched = target;
    sentinel.watch({
      ...target,
      holder: config.probeIntervalMs > 0 ? target.holder : null,
      witnesses: [...target.witnesses, ...routers()],
    });
  }

  function routers(): Watched["witnesses"] {
    try {
      return gateways(interfaceName(), families).map((address) => ({ address, mac: undefined }));
    } catch (error) {
      // The process may be out of descriptors. The other candidates are witnesses enough.
      log.debug({ err: error }, "Default routes not read");
      return [];
    }
  }

  function vacantSinceMs(): number | null {
    return holderAnswers(sentinel.status()) ? null : elector.vacantSinceMs();
  }

  function missing(): readonly string[] {
    return whatIsMissing({
      node,
      election: elector.status(),
      checks: tracker.statuses(),
      apiServers: deps.failingApiServers(),
    });
  }

  function learn(evidence: Evidence): void {
    if (evidence.kind === "neighbours") tracker.poke("interface");
    elector.learn(evidence);
  }

  function vipChanged(): void {
    const { bound, foreign } = vip.status();
    const here = bound || foreign;
    if (wasHere && !here) deps.onReleased();
    wasHere = here;
    update();
    deps.onOtherOwner();
  }

  function balancerWorks(): Finding {
    const { ok, detail } = balancer.working();
    return { ok: !ok && clock.now() < createdMs + STARTUP_MS ? null : ok, detail };
  }

  /** Takes this node's API server from the balancer's checks, so that nothing probes it twice. */
  function localApiServer(): Finding {
    const local = balancer.status().backends.find((backend) => backend.local);
    if (local === undefined || local.grade === "UNKNOWN") return { ok: null, detail: "not checked yet" };
    return { ok: local.grade === "UP", detail: local.reason };
  }

  function update(): void {
    const { effective, faults, ready } = tracker.summary();
    const { failure } = vip.status();
    const foreign = config.takeOver && failure?.code === "LH_VIP_FOREIGN";
    const { nodeIp } = nodeNetwork();
    mac = kernel.link()?.mac ?? mac;
    elector.update({
      effective,
      faults: failure !== undefined && !foreign ? [...faults, VIP_FAULT] : faults,
      ready,
      mac,
      ...(nodeIp.text === firstIp ? {} : { ip: nodeIp.text }),
      fastPath: deps.fastPathOffer(),
      foreign,
    });
  }

  return {
    adopt() {
      const mayKeep = resume !== null && clock.now() < deadlineAfter(config, resume.renewedAtMs);
      // A complete VIP stays until the Lease has been read, because the reason for it may be unknown here (no
      // API server yet). Half a VIP is removed.
      const keptMs = keptFor(vip.reap(true), config.vips);
      if (keptMs === null && !mayKeep) vip.release();
      // This extends the address now: reading kubeconfigs and starting threads may take longer than its
      // lifetime.
      elector.start(mayKeep ? resume : null, keptMs === null ? null : { keptMs });
      sentinel.start(learn);
    },
    start() {
      tracker.start();
      update();
      vacancy = reportVacancy({ clock, log, sinceMs: vacantSinceMs, missing });
    },
    async stop() {
      vacancy?.close();
      await elector.stop();
      tracker.stop();
      await recordings.close();
    },
    close() {
      for (const subscription of subscriptions) subscription.close();
      gatewayTimer.cancel();
      sentinel.stop();
      vip.stop();
      kernel.close();
    },
    abandon: () => vip.stop(),
    recheck: () => tracker.recheck(),
    update,
    moved() {
      watch(watched);
      tracker.poke("interface");
      update();
    },
    nameServers: (addresses) => elector.nameServers(addresses),
    link: () => kernel.link(),
    holdsVip: () => vip.status().bound,
    electionStatus: () => elector.status(),
    vipStatus: () =>
      vipStatus({
        interfaceName: interfaceName(),
        addresses: config.vips,
        kernel,
        vip,
        nowMs: clock.now(),
      }),
    wireStatus: () => sentinel.status(),
    checks: () => tracker.statuses(),
    lastRefusal: () => store.lastRefusal(),
    decisions,
    moves: (most) => roleChanges(recorder.decisions(), { wall: clock.wall(), nowMs: clock.now() }, most),
    record: (cause) => recordings.now(cause),
  };
}
