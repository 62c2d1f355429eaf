/**
 * Declares every metric of the agent in one place. Events are counted through {@link Metrics} when they
 * happen. State is read from the {@link AgentStatus} at each scrape. No label ever has a client's address.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { BalancerStatus } from "../backends/backend.ts";
import { AGENT_STATES, hasVip } from "../election/states.ts";
import type { AgentState } from "../election/states.ts";
import type { ElectionStatus } from "../election/status.ts";
import type { FastPathStatus } from "../fastpath/status.ts";
import type { LeaseWrite, WriteOutcome } from "../kube/store.ts";
import type { SentinelStatus } from "../sentinel/evidence.ts";
import type { VipStatus } from "../vip/status.ts";
import { collectProcessMetrics } from "./process-metrics.ts";
import { reasonCode, resultCode } from "./reason-codes.ts";
import type { AgentStatus } from "./status.ts";

/** The parts of the agent call these when something happens. Durations are in milliseconds. */
export interface Metrics {
  /** Counts a change of state. `reason` is the election's sentence, of which the code becomes a label. */
  transition(to: AgentState, reason: string): void;
  /** Counts one finished write to the Lease, with its outcome. */
  leaseWrite(write: LeaseWrite["kind"], outcome: WriteOutcome["kind"], durationMs: number): void;
  /** Counts one try of a request at one API server. `code` is the HTTP status or why there was none. */
  apiRequest(server: string, verb: string, code: number | string, durationMs: number): void;
  backendCheck(backend: string, result: string, durationMs: number): void;
  announcementFailed(): void;
  /** Counts that another machine answered for the VIP. `peer` is the candidate that it is; null: it is none. */
  addressConflict(mac: string, peer: string | null): void;
  /** Counts that the sentinel found the holder dead. */
  holderSilent(): void;
  /** Notes for how long at most no node had the VIP before this one took it over. */
  failoverGap(durationMs: number): void;
}

export interface AgentMetrics extends Metrics {
  readonly contentType: string;
  /** Writes the text of /metrics. `wallMs` is the wall-clock time that corresponds to `status.nowMs`. */
  render(status: AgentStatus, wallMs: number): Promise<string>;
}

export interface MetricsOptions {
  readonly version: string;
  readonly nodeVersion: string;
  /** Label `name` of `leader_election_master_status`. */
  readonly leaseName: string;
  /** Returns how many lines of the log were dropped since the start. Default: none. */
  readonly droppedLines?: () => number;
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.keys of a constant
const STATES = Object.keys(AGENT_STATES) as readonly AgentState[];
const FAST_PATH_MODES: readonly FastPathStatus["mode"][] = ["starting", "fast-path", "proxy", "off"];
const GRADES = ["UNKNOWN", "UP", "DRAIN", "DOWN"] as const;
const REQUEST_SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8];
const GAP_SECONDS = [0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 15, 20, 30, 60];
const MOST_RESULTS = 32;

/** Keeps a label whose values are many from making a new time series each time: the last ones are "other". */
function bounded(most: number): (label: string) => string {
  const seen = new Set<string>();
  return (label) => {
    if (!seen.has(label) && seen.size >= most) return "other";
    seen.add(label);
    return label;
  };
}

function declare(registry: Registry) {
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: readonly string[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string, labelNames: readonly string[] = []) =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = (
    name: string,
    help: string,
    labelNames: readonly string[] = [],
    buckets: readonly number[] = REQUEST_SECONDS,
  ) => new Histogram({ name, help, labelNames, registers, buckets: [...buckets] });
  return {
    buildInfo: gauge("leasehold_build_info", "Always 1; the labels tell the versions.", [
      "version",
      "node_version",
    ]),
    logDropped: counter(
      "leasehold_log_lines_dropped_total",
      "Lines of the log that were dropped, because standard output was not read or could not be written.",
    ),
    uptime: gauge("leasehold_uptime_seconds", "Time since the agent started."),

    master: gauge("leader_election_master_status", "1 on the node that holds the Lease, 0 on the others.", [
      "name",
    ]),
    slowpath: counter(
      "leader_election_slowpath_total",
      "Writes to the Lease that met a conflict and had to read first.",
      ["name"],
    ),
    confirmed: gauge("leasehold_confirmed", "1 on a MASTER, 0 on a PROVISIONAL node; absent on the others."),
    state: gauge("leasehold_state", "1 for the state that the agent is in, 0 for the others.", ["state"]),
    priority: gauge(
      "leasehold_priority",
      "Base (configured) and effective (after tracking weights) priority.",
      ["type"],
    ),
    eligible: gauge("leasehold_eligible", "1 when this node may become the holder."),
    standingBy: gauge(
      "leasehold_standing_by",
      "1 while other software has the VIP and this node waits until it lets go (LEASEHOLD_TAKE_OVER).",
    ),
    fault: gauge("leasehold_fault", "1 for each check that keeps this node in FAULT.", ["check"]),
    candidates: gauge(
      "leasehold_candidates",
      "Candidates that this node knows to be alive, itself included.",
    ),
    transitions: counter(
      "leasehold_transitions_total",
      "Changes of this agent's state, except those between MASTER and PROVISIONAL.",
      ["to", "reason"],
    ),
    failoverGap: histogram(
      "leasehold_failover_gap_seconds",
      "For how long at most no node had the VIP before this one took it over, unplanned: since the last answer or renewal of the old holder.",
      [],
      GAP_SECONDS,
    ),
    leaseTransitions: gauge(
      "leasehold_lease_transitions",
      "How often the Lease has changed its holder, as the Lease says.",
    ),
    leaseReadAge: gauge("leasehold_lease_read_age_seconds", "Time since the Lease was last read."),
    renewSeconds: histogram("leasehold_lease_renew_duration_seconds", "Duration of successful renewals."),
    renewErrors: counter("leasehold_lease_renew_errors_total", "Renewals that failed.", ["reason"]),
    leaseWrites: counter("leasehold_lease_writes_total", "Writes to the Lease.", ["kind", "result"]),
    lastRenew: gauge(
      "leasehold_lease_last_renew_timestamp_seconds",
      "When the last successful renewal was sent; absent unless MASTER.",
    ),

    vipBound: gauge("leasehold_vip_bound", "1 while the address is bound on this node.", [
      "vip",
      "interface",
    ]),
    vipExpiry: gauge(
      "leasehold_vip_expiry_seconds",
      "Time until the right to the VIP ends unless renewed; absent when not wanted.",
    ),
    linkUp: gauge("leasehold_link_up", "1 while the VIP's interface is up and has a carrier.", ["interface"]),
    readded: counter(
      "leasehold_vip_readded_total",
      "Times that somebody else had removed the VIP and it was bound again.",
    ),
    announcements: counter(
      "leasehold_announcements_sent_total",
      "Gratuitous ARP (arp) and unsolicited neighbour advertisements (ndp).",
      ["vip", "protocol"],
    ),
    announcementErrors: counter(
      "leasehold_announcement_errors_total",
      "Announcements that could not be sent.",
    ),
    conflicts: counter(
      "leasehold_address_conflicts_total",
      "Times that another machine answered for the VIP.",
    ),
    conflictInfo: gauge(
      "leasehold_address_conflict_info",
      "Always 1; the labels tell which machine last answered for the VIP, and which candidate it is; absent before the first one.",
      ["mac", "peer"],
    ),

    holderSilent: counter(
      "leasehold_holder_silent_total",
      "Times that the holder's kernel was found silent, and a third host was not.",
    ),
    wireFlooded: gauge(
      "leasehold_wire_flooded",
      "1 when frames about the VIP were lost within the last minute, because more came than the agent can read.",
    ),
    proofReady: gauge(
      "leasehold_proof_ready",
      "1 while this node would find the holder dead by its silence, 0 while it would wait for the Lease to expire; absent where it watches no holder.",
    ),
    neighbours: gauge(
      "leasehold_neighbours_heard",
      "1 while anybody is heard on the VIP's interface; absent before the first one.",
    ),

    listening: gauge("leasehold_balancer_listening", "1 while the balancer accepts connections."),
    workerAge: gauge(
      "leasehold_balancer_heartbeat_age_seconds",
      "Time since the balancer's worker thread last answered.",
    ),
    connections: gauge("leasehold_balancer_connections", "Client connections open now."),
    refused: counter(
      "leasehold_balancer_refused_total",
      "Connections refused because of the limit, for want of a backend, or because of LEASEHOLD_BALANCER_ADDRESSES.",
    ),
    backendUp: gauge("leasehold_backend_up", "1 while the backend takes new connections.", ["backend"]),
    backendDrained: gauge(
      "leasehold_backend_drained",
      "1 while the backend gets no new connections because a person has drained it, or because it is about to stop.",
      ["backend"],
    ),
    backendGrade: gauge("leasehold_backend_grade", "1 for the backend's grade, 0 for the others.", [
      "backend",
      "grade",
    ]),
    backendChecks: counter("leasehold_backend_checks_total", "Health checks by result.", [
      "backend",
      "result",
    ]),
    backendCheckSeconds: histogram("leasehold_backend_check_duration_seconds", "Duration of health checks.", [
      "backend",
    ]),
    backendGone: counter(
      "leasehold_backend_gone_total",
      "Times that the backend's machine stopped answering at all.",
      ["backend"],
    ),
    active: gauge("leasehold_connections_active", "Connections open to the backend.", ["backend"]),
    sessions: counter("leasehold_connections_total", "Connections to the backend by result.", [
      "backend",
      "result",
    ]),
    bytes: counter("leasehold_bytes_total", "Bytes carried: in is from clients, out is to clients.", [
      "backend",
      "direction",
    ]),

    fastPathMode: gauge(
      "leasehold_data_plane",
      "1 for what carries packets to the VIP's ports, 0 for the others.",
      ["mode"],
    ),
    slots: gauge(
      "leasehold_fastpath_slots",
      "Of 1024 slots of new connections, those that this node as holder sends to that node.",
      ["peer"],
    ),
    ringMember: gauge(
      "leasehold_fastpath_ring_member",
      "1 while packets without a known connection are passed on to that node.",
      ["peer"],
    ),
    unheard: gauge(
      "leasehold_fastpath_unheard",
      "1 while packets in the VIP's name from that node do not arrive here: the network drops them.",
      ["peer"],
    ),
    spread: counter(
      "leasehold_fastpath_packets_total",
      "Packets to the VIP that this node's ingress gave to that node.",
      ["peer"],
    ),
    spreadBytes: counter("leasehold_fastpath_bytes_total", "Bytes of those packets.", ["peer"]),
    ownConnections: counter(
      "leasehold_fastpath_own_connections_total",
      "Connections of this node's own clients and pods, by API server.",
      ["backend"],
    ),
    secondChances: counter(
      "leasehold_fastpath_second_chances_total",
      "Packets that met no connection here and were sent on to the next node of the ring.",
    ),
    unknown: counter(
      "leasehold_fastpath_unknown_total",
      "Packets that no node of the ring knew, answered with a reset here.",
    ),
    settling: counter(
      "leasehold_fastpath_settling_total",
      "The same, dropped instead because the members had just changed.",
    ),
    kicked: counter(
      "leasehold_fastpath_kicked_total",
      "Clients that were asked whether their connection lives, after an API server's death.",
    ),
    destroyed: counter(
      "leasehold_fastpath_destroyed_total",
      "Sockets of this node that were ended because their connection could not live on.",
    ),
    restored: counter(
      "leasehold_fastpath_restored_total",
      "Times that somebody else changed the rules and they were put back.",
    ),

    listenerUp: gauge(
      "leasehold_listener_up",
      "1 while the agent has its own HTTP port: ops serves everything, health the probes.",
      ["listener"],
    ),
    checkUp: gauge(
      "leasehold_check_up",
      "1 while the tracking check succeeds; absent before its first verdict.",
      ["check"],
    ),
    apiRequests: counter(
      "leasehold_api_requests_total",
      "Tries of the agent's own API requests; code is the HTTP status or why there was none.",
      ["server", "verb", "code"],
    ),
    apiSeconds: histogram(
      "leasehold_api_request_duration_seconds",
      "Duration of those tries; watches are not timed.",
      ["server", "verb"],
    ),
    certificateExpiry: gauge(
      "leasehold_client_certificate_expiration_timestamp_seconds",
      "When the client certificate of the agent's own kubeconfig (own) and of admin.conf (admin) expires.",
      ["kubeconfig"],
    ),
    certificateSoon: gauge(
      "leasehold_client_certificate_expires_soon",
      "1 while the agent relies on a client certificate that has ended or ends soon: within 30 days, or in the last tenth of its life.",
      ["kubeconfig"],
    ),
  };
}

type Declared = ReturnType<typeof declare>;
const flag = (value: boolean): number => (value ? 1 : 0);

/**
 * Sets a counter whose total is kept elsewhere. Prometheus takes a total that shrank for a restart, which is
 * correct here.
 */
function total(metric: Counter, labels: Readonly<Record<string, string>>, value: number): void {
  metric.inc(labels, Math.max(0, value));
}

function showElection(
  metrics: Declared,
  election: ElectionStatus,
  nowMs: number,
  wallMs: number,
  name: string,
): void {
  metrics.master.set({ name }, flag(election.confirmed));
  if (hasVip(election.state)) metrics.confirmed.set(flag(election.confirmed));
  for (const state of STATES) metrics.state.set({ state }, flag(election.state === state));
  metrics.priority.set({ type: "base" }, election.basePriority);
  metrics.priority.set({ type: "effective" }, election.effectivePriority);
  metrics.eligible.set(flag(election.eligible));
  metrics.standingBy.set(flag(election.taken));
  for (const check of election.faults) metrics.fault.set({ check }, 1);
  metrics.candidates.set(election.candidates.filter(({ fresh }) => fresh).length);
  if (election.leaseTransitions !== null) metrics.leaseTransitions.set(election.leaseTransitions);
  if (election.lastReadAgeMs !== null) metrics.leaseReadAge.set(election.lastReadAgeMs / 1_000);
  if (election.renewedAtMs !== null) metrics.lastRenew.set((wallMs - (nowMs - election.renewedAtMs)) / 1_000);
}

function showWire(metrics: Declared, { neighbours, flooded, proof }: SentinelStatus): void {
  if (neighbours !== null) metrics.neighbours.set(flag(neighbours));
  metrics.wireFlooded.set(flag(flooded));
  if (proof !== "none") metrics.proofReady.set(flag(proof === "ready" || proof === "silent"));
}

function showVip(metrics: Declared, vip: VipStatus): void {
  for (const { address, bound } of vip.addresses) {
    metrics.vipBound.set({ vip: address, interface: vip.interface }, flag(bound));
    total(
      metrics.announcements,
      { vip: address, protocol: address.includes(":") ? "ndp" : "arp" },
      vip.announcements,
    );
  }
  metrics.linkUp.set({ interface: vip.interface }, flag(vip.link === "up"));
  if (vip.validForMs !== null) metrics.vipExpiry.set(vip.validForMs / 1_000);
  total(metrics.readded, {}, vip.readded);
}

function showBalancer(metrics: Declared, balancer: BalancerStatus): void {
  metrics.listening.set(flag(balancer.listening));
  metrics.workerAge.set(balancer.heartbeatAgeMs / 1_000);
  metrics.connections.set(balancer.connections);
  total(metrics.refused, {}, balancer.refused);
  for (const { id: backend, ...stats } of balancer.backends) {
    metrics.backendUp.set({ backend }, flag(stats.grade === "UP"));
    metrics.backendDrained.set({ backend }, flag(stats.drained));
    for (const grade of GRADES) metrics.backendGrade.set({ backend, grade }, flag(stats.grade === grade));
    total(metrics.backendGone, { backend }, stats.gone);
    metrics.active.set({ backend }, stats.active);
    total(metrics.sessions, { backend, result: "ok" }, stats.sessions);
    total(metrics.sessions, { backend, result: "error" }, stats.connectErrors);
    total(metrics.bytes, { backend, direction: "in" }, stats.bytesIn);
    total(metrics.bytes, { backend, direction: "out" }, stats.bytesOut);
  }
}

function showFastPath(metrics: Declared, fastPath: FastPathStatus): void {
  for (const mode of FAST_PATH_MODES) metrics.fastPathMode.set({ mode }, flag(fastPath.mode === mode));
  for (const { node: peer, slots, walkable, unheard, packets, bytes } of fastPath.nodes) {
    metrics.slots.set({ peer }, slots);
    metrics.ringMember.set({ peer }, flag(walkable));
    metrics.unheard.set({ peer }, flag(unheard));
    total(metrics.spread, { peer }, packets);
    total(metrics.spreadBytes, { peer }, bytes);
  }
  for (const { backend, connections } of fastPath.own)
    total(metrics.ownConnections, { backend }, connections);
  total(metrics.secondChances, {}, fastPath.secondChances);
  total(metrics.unknown, {}, fastPath.unknown);
  total(metrics.settling, {}, fastPath.settling);
  total(metrics.kicked, {}, fastPath.kicked);
  total(metrics.destroyed, {}, fastPath.destroyed);
  total(metrics.restored, {}, fastPath.restored);
}

/**
 * Creates the metrics in a registry of their own, so that two agents in one process (the simulation) do not
 * share one.
 */
export function createMetrics(options: MetricsOptions): AgentMetrics {
  const registry = new Registry();
  collectProcessMetrics(registry);
  const metrics = declare(registry);
  const resultLabel = bounded(MOST_RESULTS);
  metrics.buildInfo.set({ version: options.version, node_version: options.nodeVersion }, 1);
  metrics.slowpath.inc({ name: options.leaseName }, 0);
  metrics.announcementErrors.inc(0);
  metrics.conflicts.inc(0);
  metrics.holderSilent.inc(0);

  /** Metrics that are reset at each scrape, so that a label that is no longer true disappears. */
  const snapshots: readonly { reset(): void }[] = [
    metrics.logDropped,
    metrics.master,
    metrics.state,
    metrics.priority,
    metrics.fault,
    metrics.vipBound,
    metrics.linkUp,
    metrics.announcements,
    metrics.readded,
    metrics.refused,
    metrics.backendUp,
    metrics.backendDrained,
    metrics.backendGrade,
    metrics.backendGone,
    metrics.active,
    metrics.sessions,
    metrics.bytes,
    metrics.checkUp,
    metrics.fastPathMode,
    metrics.slots,
    metrics.ringMember,
    metrics.unheard,
    metrics.spread,
    metrics.spreadBytes,
    metrics.ownConnections,
    metrics.secondChances,
    metrics.unknown,
    metrics.settling,
    metrics.kicked,
    metrics.destroyed,
    metrics.restored,
    metrics.certificateExpiry,
    metrics.certificateSoon,
  ];
  const sometimes: readonly Gauge[] = [
    metrics.eligible,
    metrics.confirmed,
    metrics.neighbours,
    metrics.wireFlooded,
    metrics.proofReady,
    metrics.candidates,
    metrics.leaseTransitions,
    metrics.leaseReadAge,
    metrics.lastRenew,
    metrics.vipExpiry,
  ];

  function show(status: AgentStatus, wallMs: number): void {
    for (const metric of snapshots) metric.reset();
    // reset() leaves a metric without labels at 0, which would be a statement. remove() leaves none.
    for (const metric of sometimes) metric.remove();
    metrics.uptime.set(status.uptimeMs / 1_000);
    metrics.logDropped.inc(options.droppedLines?.() ?? 0);
    if (status.election !== null)
      showElection(metrics, status.election, status.nowMs, wallMs, options.leaseName);
    if (status.vip !== null) showVip(metrics, status.vip);
    if (status.wire !== null) showWire(metrics, status.wire);
    showBalancer(metrics, status.balancer);
    if (status.fastPath !== null) showFastPath(metrics, status.fastPath);
    for (const { name: listener, listening } of status.listeners)
      metrics.listenerUp.set({ listener }, flag(listening));
    for (const { name, ok } of status.checks) if (ok !== null) metrics.checkUp.set({ check: name }, flag(ok));
    for (const { kubeconfig, expiresAt, endsSoon } of status.credentials.certificates) {
      metrics.certificateExpiry.set({ kubeconfig }, Date.parse(expiresAt) / 1_000);
      metrics.certificateSoon.set({ kubeconfig }, flag(endsSoon));
    }
  }

  return {
    contentType: registry.contentType,
    transition: (to, reason) => metrics.transitions.inc({ to, reason: reasonCode(reason) }),
    leaseWrite(write, outcome, durationMs) {
      metrics.leaseWrites.inc({ kind: write, result: outcome });
      if (outcome === "conflict") metrics.slowpath.inc({ name: options.leaseName });
      if (write !== "renew") return;
      if (outcome === "ok") metrics.renewSeconds.observe(durationMs / 1_000);
      else metrics.renewErrors.inc({ reason: outcome });
    },
    apiRequest(server, verb, code, durationMs) {
      metrics.apiRequests.inc({ server, verb, code: String(code) });
      if (verb !== "WATCH") metrics.apiSeconds.observe({ server, verb }, durationMs / 1_000);
    },
    backendCheck(backend, result, durationMs) {
      metrics.backendChecks.inc({ backend, result: resultLabel(resultCode(result)) });
      metrics.backendCheckSeconds.observe({ backend }, durationMs / 1_000);
    },
    announcementFailed: () => metrics.announcementErrors.inc(),
    addressConflict(mac, peer) {
      metrics.conflicts.inc();
      // One series at a time: anybody on the segment can forge as many MAC addresses as they like.
      metrics.conflictInfo.reset();
      metrics.conflictInfo.set(peer === null ? { mac } : { mac, peer }, 1);
    },
    holderSilent: () => metrics.holderSilent.inc(),
    failoverGap: (durationMs) => metrics.failoverGap.observe(durationMs / 1_000),
    render(status, wallMs) {
      show(status, wallMs);
      return registry.metrics();
    },
  };
}
