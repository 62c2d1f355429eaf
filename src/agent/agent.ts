/**
 * One node's agent: builds the election, the VIP and the balancer, starts and stops them, and passes what one
 * learns on to the others. This file has no rules of its own.
 */
import { join } from "node:path";
import type { Backend, BalancerStatus } from "../backends/backend.ts";
import type { CheckTls } from "../backends/probe.ts";
import { openHostLiveness } from "../backends/host-liveness.ts";
import { readRemembered, writeRemembered } from "../backends/remembered.ts";
import { listBackends } from "../backends/sources.ts";
import type { BackendList, ListedServer, Unnamed } from "../backends/sources.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { ShownSetting } from "../config/shown.ts";
import { createApiClient } from "../kube/api.ts";
import type { ApiClient } from "../kube/api.ts";
import type { Candidate, PeerOffer } from "../kube/record.ts";
import { candidatesIn } from "../kube/record-codec.ts";
import { createCredentials, provenFile } from "../kube/credentials.ts";
import type { Credentials } from "../kube/credentials.ts";
import { watchEndpoints } from "../kube/endpoints.ts";
import type { Endpoints } from "../kube/endpoints.ts";
import { createEventRecorder } from "../kube/events.ts";
import type { ClientCredentials } from "../kube/kubeconfig.ts";
import { createServerAnswers } from "../kube/server-answers.ts";
import { apiServerList } from "../kube/servers.ts";
import { createHttpsTransport } from "../kube/https-transport.ts";
import type { HttpsTransport } from "../kube/https-transport.ts";
import { closeSocket, makeFifo } from "../linux/libc.ts";
import { readLink, readNetwork } from "../linux/links.ts";
import { openPendingListener } from "../linux/listener.ts";
import { mostOpenFiles } from "../linux/open-files.ts";
import { reapOrphans } from "../linux/orphans.ts";
import { gateways, linkRoutes } from "../linux/routes.ts";
import { RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK } from "../linux/rtnetlink.ts";
import { subscribe } from "../linux/sockets.ts";
import type { Logger } from "../log.ts";
import { hostPort, isLoopback } from "../net.ts";
import type { HostPort } from "../net.ts";
import type { ChartedStatus } from "../ops/history.ts";
import { createMetrics } from "../ops/metrics.ts";
import type { Metrics } from "../ops/metrics.ts";
import { MOST_MOVES } from "../ops/page-facts.ts";
import type { PictureInput } from "../ops/page.ts";
import { createOps, FLOWS_PATH } from "../ops/server.ts";
import type { OpsPeers } from "../ops/server.ts";
import { createAccess } from "../ops/access.ts";
import type { ReviewAnswer } from "../ops/access.ts";
import { MOST_MESSAGE_BYTES } from "../fastpath/shared-flows.ts";
import type { SharedFlowsDeps } from "../fastpath/shared-flows.ts";
import { followPeer } from "../peers/ask-peer.ts";
import { peerIdentity } from "../peers/identity.ts";
import type { PeerIdentity } from "../peers/identity.ts";
import { createKnownPeers } from "../peers/known-peers.ts";
import type { AgentStatus } from "../ops/status.ts";
import { servedAddresses } from "../proxy/addresses.ts";
import { createBalancer } from "../proxy/balancer.ts";
import type { Balancer } from "../proxy/balancer.ts";
import { BACKLOG } from "../proxy/proxy.ts";
import { formatRecording } from "../recorder/recording.ts";
import { reportBackends, whyNoBackend } from "./backends.ts";
import { createCandidacy } from "./candidacy.ts";
import type { Candidacy } from "./candidacy.ts";
import { divideDescriptors } from "./descriptors.ts";
import { createDrains } from "./drains.ts";
import type { Drains } from "./drains.ts";
import { createStopping, readManifest, watchManifest } from "./stopping.ts";
import type { Stopping } from "./stopping.ts";
import type { NodeFastPath } from "./fast-path.ts";
import { openFastPath } from "./fast-path.ts";
import { machineInstance } from "./persistence.ts";
import { findNodeNetwork, followSubnets, refuseVips } from "./node-network.ts";
import type { NodeNetwork } from "./node-network.ts";
import { followNetwork } from "./network-changes.ts";
import type { NetworkChanges } from "./network-changes.ts";
import { createNotifier } from "./notify.ts";
import type { Notifier } from "./notify.ts";
import { announcePresence } from "./presence.ts";

/** Milliseconds that the notify hook has for STOP, beside the connections that drain meanwhile. */
const LAST_HOOK_MS = 2_000;

export interface AgentDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  readonly nodeVersion: string;
  /** The balancer's worker: `proxy/worker.ts` next to the sources, `proxy-worker.js` next to the bundle. */
  readonly workerUrl: URL;
  /** Returns how many lines of the log could not be written. */
  readonly droppedLines: () => number;
  /** The settings as the page shows them. */
  readonly settings: readonly ShownSetting[];
  /** Makes the page's table of the cluster; see {@link OpsPage}. */
  readonly picture: (input: PictureInput) => Promise<object>;
}

export interface Agent {
  /**
   * Resolves when everything runs. A balancer's port that is taken does not delay it: the agent tries that
   * port for ever. It may wait for the network to come up first.
   * @throws {LeaseholdError} LH_NATIVE, and what the machine shows to be wrong in the settings:
   * LH_AMBIGUOUS_INTERFACE, LH_ADDRESS_OWNER, LH_LINK_TYPE, LH_NODE_IP, LH_VIP_RESERVED, LH_CONFIG
   */
  start(): Promise<void>;
  /** Hands the VIP over or releases it, lets connections drain, and ends. Idempotent. */
  stop(): Promise<void>;
  /** Reads files again and unbinds nothing (SIGHUP). */
  reload(): void;
  /** Writes the flight recorder's decisions to the data directory (SIGUSR1). */
  record(): void;
  /** Unbinds the VIP synchronously, because the process is about to die. */
  abandon(): void;
}

/** A listener of the ops port ends a stream after ten minutes; a stream that no machine ends ends here. */
const FLOWS_STREAM = { connectMs: 2_000, lifeMs: 660_000, mostBytes: MOST_MESSAGE_BYTES, betweenMs: 500 };

/** Milliseconds that the API may take to say who a client of the ops port is. */
const REVIEW_MS = 3_000;

/** The parts that need to know the node's place on the network. */
interface Parts {
  readonly transport: HttpsTransport;
  readonly credentials: Credentials;
  readonly balancer: Balancer;
  readonly candidacy: Candidacy | undefined;
  /** undefined without a VIP (role balancer). */
  readonly fastPath: NodeFastPath | undefined;
  /** Answers undefined with role balancer, and where LEASEHOLD_PEER_PORT is off. */
  peers(): OpsPeers | undefined;
  /** Follows the node's network; undefined with role balancer. */
  readonly network: NetworkChanges | undefined;
  /** Answers what the cluster names in place of the API servers of the Lease's nodes; null: it names those. */
  readonly unnamed: () => Unnamed | null;
  readonly drains: Drains;
  readonly stopping: Stopping;
  readonly api: ApiClient;
  readonly notifier: Notifier;
  /** Asks the cluster for its API servers until closed. */
  discover(): Endpoints;
}

export function createAgent(deps: AgentDeps): Agent {
  const { config, clock, log, version } = deps;
  const startedMs = clock.now();
  const stopped = new AbortController();
  const isRemote = !isLoopback(config.opsHost);
  const identity =
    isRemote || config.peerPort !== undefined
      ? peerIdentity(config.dataDir, config.nodeName, log)
      : undefined;
  const metrics = createMetrics({
    version,
    nodeVersion: deps.nodeVersion,
    leaseName: config.leaseName,
    droppedLines: deps.droppedLines,
  });
  const openFiles = mostOpenFiles();
  const shares = divideDescriptors(openFiles, config.maxConnections);
  if (shares.balancer < config.maxConnections)
    log.warn(
      { wanted: config.maxConnections, connections: shares.balancer, openFiles },
      "The balancer takes fewer connections than LEASEHOLD_MAX_CONNECTIONS, because this process may open too few files: raise that limit (LimitNOFILE= of the unit or of the container runtime), or lower the setting",
    );
  const ops = createOps({
    connections: shares.ops,
    host: config.opsHost,
    port: config.opsPort,
    healthPort: config.healthPort,
    status,
    charted,
    decisions,
    metrics,
    page: {
      node: config.nodeName,
      settings: deps.settings,
      moves: () => parts?.candidacy?.moves(MOST_MOVES) ?? [],
      picture: deps.picture,
    },
    ...(isRemote && identity !== undefined
      ? {
          remote: {
            identity,
            access: createAccess({
              clock,
              clusterCa: () => parts?.credentials.current()?.ca,
              review: (path, body) => review(path, body),
            }),
          },
        }
      : {}),
    log,
    clock,
  });
  let parts: Parts | undefined;
  let discovery: Endpoints | undefined;
  let drainPoll: { close(): void } | undefined;
  let presence: { close(): void } | undefined;
  let orphans: { close(): void } | undefined;
  let report: { close(): void } | undefined;
  let stopping: Promise<void> | undefined;
  let waiting: string | null = null;

  async function start(): Promise<void> {
    await ops.start();
    presence = announcePresence(log);
    // In a container the agent is PID 1, to which the kernel gives every orphan.
    if (process.pid === 1) orphans = reapOrphans({ clock });
    const isCandidate = config.role === "control-plane";
    if (!isCandidate && config.vips.length > 0) refuseVips(config.vips, { readNetwork, gateways });
    const nodeNetwork = isCandidate
      ? await findNodeNetwork(
          config,
          { clock, log, readNetwork, linkRoutes, gateways, onWaiting: (reason) => void (waiting = reason) },
          stopped.signal,
        )
      : undefined;
    if (nodeNetwork !== undefined)
      log.info(
        { interface: nodeNetwork.interfaceName, nodeIp: nodeNetwork.nodeIp.text },
        "Interface for the VIP found",
      );
    parts = createParts(deps, nodeNetwork, metrics, identity, {
      mostClients: shares.balancer,
      meet: (peers) => void ops.meetPeers(peers),
    });
    // This comes first: an address that a predecessor left must be kept or removed.
    parts.candidacy?.adopt();
    const peers = parts.peers();
    if (peers !== undefined) await ops.meetPeers(peers);
    await parts.credentials.start();
    // The election does not wait for the listener. A taken port is the balancer's fault, and its check
    // reports it.
    parts.candidacy?.start();
    discovery = parts.discover();
    parts.stopping.start();
    if (parts.candidacy === undefined) drainPoll = parts.drains.poll();
    report = reportBackends({ clock, log, why: noBackend, unnamed: parts.unnamed });
    parts.fastPath?.start();
    await parts.balancer.start();
  }

  async function stop(): Promise<void> {
    stopped.abort();
    ops.rest();
    // The VIP goes first. Then nothing new arrives, and open connections may finish.
    await parts?.candidacy?.stop();
    const told = parts?.notifier.close(LAST_HOOK_MS);
    report?.close();
    parts?.network?.close();
    discovery?.close();
    drainPoll?.close();
    parts?.stopping.close();
    parts?.fastPath?.stop();
    await parts?.balancer.stop();
    parts?.fastPath?.close();
    parts?.candidacy?.close();
    parts?.credentials.stop();
    parts?.transport.close();
    await ops.stop();
    await told;
    orphans?.close();
    presence?.close();
  }

  /** Asks the API who a client of the ops port is, or what it may do. */
  async function review(path: string, body: object): Promise<ReviewAnswer> {
    const outcome = await parts?.api.call(
      { method: "POST", path, contentType: "application/json", body },
      REVIEW_MS,
    );
    return outcome?.kind === "answer"
      ? { status: outcome.response.status, body: outcome.response.body }
      : undefined;
  }

  function noBackend(): string | null {
    if (parts === undefined) return null;
    return whyNoBackend({
      backends: parts.balancer.status().backends,
      discovery: config.backends.length > 0 ? undefined : discovery?.discovery(),
      apiServers: parts.transport.servers(),
      credentials: parts.credentials.problem(),
      role: config.role,
    });
  }

  function charted(): ChartedStatus {
    return {
      node: config.nodeName,
      election: parts?.candidacy?.electionStatus() ?? null,
      balancer: parts?.balancer.status() ?? notYet(config.balancerPort),
      fastPath: parts?.fastPath?.status() ?? null,
    };
  }

  function status(): AgentStatus {
    const nowMs = clock.now();
    const current = parts?.credentials.current();
    const { node, election, balancer, fastPath } = charted();
    return {
      node,
      role: config.role,
      version,
      uptimeMs: nowMs - startedMs,
      nowMs,
      waiting,
      election,
      vip: parts?.candidacy?.vipStatus() ?? null,
      wire: parts?.candidacy?.wireStatus() ?? null,
      balancer,
      noBackend: noBackend(),
      drained: parts?.drains.current() ?? [],
      fastPath,
      checks: parts?.candidacy?.checks() ?? [],
      apiServers: parts?.transport.servers() ?? [],
      api: { lastRefusal: parts?.candidacy?.lastRefusal() ?? null },
      listeners: ops.listeners(),
      credentials: {
        source: current?.path ?? "none",
        expiresAt: current?.expiresAt?.toISOString() ?? null,
        problem: parts?.credentials.problem() ?? null,
        warning: parts?.credentials.warning() ?? null,
        certificates: (parts?.credentials.certificates() ?? []).map((end) => ({
          ...end,
          expiresAt: end.expiresAt.toISOString(),
        })),
      },
    };
  }

  /** Returns the election's last decisions; none with role balancer, which takes no part in it. */
  function decisions(): Promise<string> {
    const facts = {
      node: config.nodeName,
      agent: version,
      cause: "asked",
      wall: clock.wall(),
      nowMs: clock.now(),
    };
    return parts?.candidacy?.decisions(facts.cause) ?? Promise.resolve(formatRecording(facts, undefined, []));
  }

  return {
    start,
    stop() {
      stopping ??= stop();
      return stopping;
    },
    reload() {
      void parts?.credentials.reload();
      parts?.candidacy?.recheck();
    },
    record() {
      if (parts?.candidacy !== undefined) void parts.candidacy.record("SIGUSR1");
      else log.info({}, "No decisions to write: this agent takes no part in the election");
    },
    abandon: () => parts?.candidacy?.abandon(),
  };
}

function createParts(
  deps: AgentDeps,
  nodeNetwork: NodeNetwork | undefined,
  metrics: Metrics,
  identity: PeerIdentity | undefined,
  { mostClients, meet }: { readonly mostClients: number; readonly meet: (peers: OpsPeers) => void },
): Parts {
  const { config, clock, log, version } = deps;
  const network =
    nodeNetwork &&
    followNetwork(config, nodeNetwork, {
      clock,
      log,
      readNetwork,
      readLink,
      linkRoutes,
      gateways,
      subscribe: (callback) => subscribe(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, callback),
      holdsVip: () => candidacy?.holdsVip() ?? false,
      onChange: moved,
    });
  const place = network?.current;
  const rememberedFile = join(config.dataDir, "api-servers.json");
  // What an earlier run found is of use only until the cluster names its servers.
  let remembered = readRemembered(rememberedFile, log);
  let discovered: readonly HostPort[] = [];
  let answered: readonly HostPort[] | undefined;
  /** What a worker has read in the Lease. */
  let leased: readonly Candidate[] = [];
  let listed: BackendList = { servers: [], unnamed: [] };
  let listedText: string | undefined;
  let rememberedText: string | undefined;
  const workerSubnets = followSubnets(nodeNetwork === undefined ? config.vips : [], { readNetwork, log });

  function toBackend({ host, port, claimed }: ListedServer): Backend {
    const own = place?.().nodeIp ?? config.nodeIp;
    const server = { id: hostPort(host, port), host, port, local: host === own?.text };
    return claimed === true ? { ...server, claimed } : server;
  }

  function local(): Backend | undefined {
    return place && toBackend({ host: place().nodeIp.text, port: config.backendPort });
  }

  const known =
    nodeNetwork === undefined || identity === undefined || config.peerPort === undefined
      ? undefined
      : createKnownPeers(
          join(config.dataDir, "peers.json"),
          { node: config.nodeName, key: identity.id },
          log,
        );

  function peers(): OpsPeers | undefined {
    const { peerPort: port } = config;
    if (place === undefined || identity === undefined || known === undefined || port === undefined)
      return undefined;
    return {
      host: place().nodeIp.text,
      port,
      identity,
      known,
      tellFlows: (send, ended) => fastPath?.tellFlows(send, ended),
    };
  }

  /** Listens to the connections by the VIP that another node's agent tells. */
  function listenToFlows(
    node: string,
    onText: (text: string) => void,
    onEnd: () => void,
  ): ReturnType<SharedFlowsDeps["listen"]> {
    const own = peers();
    const peer = own?.known.find(node);
    if (own === undefined || peer === undefined) return undefined;
    const options = { ...FLOWS_STREAM, from: own.host };
    return followPeer(own.identity, peer, FLOWS_PATH, options, onText, onEnd);
  }

  let peersHost = place?.().nodeIp.text;

  /** The node has another interface or address. */
  function moved(): void {
    const found = peers();
    if (found !== undefined && found.host !== peersHost) meet(found);
    peersHost = found?.host;
    applyBackends();
    applyDrained();
    candidacy?.moved();
    fastPath?.update();
  }

  const credentials = createCredentials({
    clock,
    log,
    ownPath: config.kubeconfig,
    adminPath: config.adminKubeconfig,
    provenFile: { path: provenFile(config), mode: "write" },
    onChange: () => balancer.updateTls(),
  });
  const transport = createHttpsTransport({
    clock,
    log,
    credentials,
    userAgent: `leasehold/${version}`,
    servers: () =>
      apiServerList({
        own: place?.().nodeIp.text,
        configured: config.apiServers,
        discovered: [...config.backends, ...discovered],
        candidates: candidacy?.electionStatus().candidates.map((candidate) => candidate.ip) ?? [],
        remembered,
        vips: config.vips,
        port: config.backendPort,
        lastResort: nodeNetwork === undefined ? throughVip(config) : [],
      }),
  });
  const serverAnswers = createServerAnswers({ clock });
  const api = createApiClient({
    transport,
    clock,
    log,
    onRequest(request) {
      metrics.apiRequest(request.server, request.verb, request.code, request.durationMs);
      serverAnswers.note(request);
    },
  });
  const balancer = createBalancer({
    clock,
    log,
    settings: {
      ...config,
      maxConnections: mostClients,
      balancerAddresses: servedAddresses(config.balancerAddresses, config.vips),
    },
    workerUrl: deps.workerUrl,
    // Without the kernel's rules the proxy carries the VIP's connections, and must not be started by them.
    openPending:
      config.vips.length === 0 || config.fastPath === "off"
        ? undefined
        : (port) => openPendingListener(port, BACKLOG),
    closeListener: closeSocket,
    local,
    own: () => place?.().addresses ?? [],
    tls: () => checkTls(credentials.current()),
    hostLiveness: openHostLiveness({
      clock,
      log,
      ownAddresses: () => new Set(readNetwork().addresses.map(({ address }) => address.text)),
    }),
    onCheck: (id, result) => metrics.backendCheck(id, result.reason, result.durationMs),
  });
  /** The API servers that a person has drained. */
  let unwanted: readonly string[] = [];
  const stopping = createStopping({
    clock,
    log,
    manifest: config.apiServerManifest,
    read: () => readManifest(config.apiServerManifest),
    watch: (poke) => watchManifest(config.apiServerManifest, poke),
    grade: () => balancer.status().backends.find((backend) => backend.local)?.grade,
    onChange() {
      applyDrained();
      candidacy?.update();
    },
  });
  const drains = createDrains({
    config,
    clock,
    log,
    api,
    onChange(servers) {
      unwanted = servers;
      applyDrained();
    },
    onLease(record) {
      leased = candidatesIn(record);
      applyBackends();
    },
  });
  const candidacy: Candidacy | undefined =
    place === undefined
      ? undefined
      : createCandidacy({
          config,
          clock,
          log,
          version,
          nodeNetwork: place,
          peer: peerOffer(peers()),
          instance: machineInstance(config.machineIdFile, config.stateDir, log),
          api,
          balancer,
          clusterCa: () => credentials.current()?.ca,
          metrics,
          fastPathOffer: () => fastPath?.offer(),
          onLease(record) {
            drains.observe(record);
            stopping.observe(record);
          },
          // After the step: the election's status is of the state before it until then.
          onCandidates: () =>
            void clock.after(0, () => {
              known?.observe(candidacy?.electionStatus());
              applyBackends();
            }),
          failingApiServers: () => serverAnswers.failures(transport.servers()),
          onState: (state) =>
            notifier.tell(state, candidacy?.electionStatus().effectivePriority ?? config.priority),
          onReleased: () => fastPath?.released(),
          onOtherOwner: () => fastPath?.update(),
          events: createEventRecorder({
            api,
            clock,
            log,
            namespace: config.leaseNamespace,
            leaseName: config.leaseName,
            node: config.nodeName,
          }),
        });

  const notifier = createNotifier({
    clock,
    log,
    command: config.notify,
    timeoutMs: config.notifyTimeoutMs,
    fifo: config.notifyFifo,
    name: config.leaseName,
    env: config.programEnv,
    makeFifo,
  });
  const fastPath: NodeFastPath | undefined =
    config.vips.length === 0
      ? undefined
      : openFastPath({
          config,
          clock,
          log,
          nodeNetwork: place,
          balancer,
          election: () => candidacy?.electionStatus(),
          link: () => candidacy?.link(),
          holdsVip: () => candidacy?.holdsVip() ?? false,
          stopping: () => stopping.own(),
          listenToFlows,
          onChange: () => {
            const mode = fastPath?.status().mode;
            if (mode === "proxy" || mode === "off") balancer.wake();
            candidacy?.update();
          },
        });
  balancer.onChange(() => {
    applyBackends();
    stopping.update();
    fastPath?.update();
  });

  /** Sets which API servers get no new connections: a person wants it, or they are about to stop. */
  function applyDrained(): void {
    const here = local();
    const own = stopping.own() && here !== undefined ? [here.id] : [];
    balancer.setDrained([...new Set([...unwanted, ...own, ...stopping.others()])]);
  }

  function remember(list: readonly Backend[]): void {
    const text = JSON.stringify(list.map(({ id }) => id));
    if (answered === undefined || config.backends.length > 0 || text === rememberedText) return;
    rememberedText = text;
    writeRemembered(rememberedFile, list, log);
  }

  /** Sets the balancer's list, if it has changed. */
  function applyBackends(): void {
    const here = place?.();
    const candidates = candidacy?.electionStatus().candidates ?? (workerSubnets().length > 0 ? leased : []);
    const { backends } = balancer.status();
    const isProven = (host: string): boolean =>
      backends.some(
        (one) => one.host === host && (one.claimed === true ? one.unproven !== true : one.grade === "UP"),
      );
    listed = listBackends({
      configured: config.backends,
      discovered,
      answered,
      remembered,
      own: here && { ip: here.nodeIp.text, all: here.addresses.map(({ text }) => text) },
      candidates: candidates
        .filter(({ node }) => node !== config.nodeName)
        .map(({ ip, fastPath: offer }) => ({ ip, all: offer?.addresses ?? [] })),
      subnets: here?.subnets ?? workerSubnets(),
      vips: config.vips,
      port: config.backendPort,
      isProven,
    });
    const list = listed.servers.map(toBackend);
    remember(list.filter(({ claimed, host }) => claimed !== true || isProven(host)));
    const text = JSON.stringify([list, local(), here?.addresses.map((address) => address.text)]);
    if (text === listedText) return;
    listedText = text;
    balancer.setBackends(list);
  }

  applyBackends();
  return {
    transport,
    credentials,
    balancer,
    candidacy,
    fastPath,
    peers,
    network,
    unnamed: () =>
      listed.unnamed.length === 0 ? null : { named: hostsOf(answered ?? []), servers: listed.unnamed },
    drains,
    stopping,
    api,
    notifier,
    discover: () =>
      watchEndpoints({
        api,
        clock,
        log,
        onAnswer: (servers) => {
          answered = servers;
          candidacy?.nameServers(hostsOf(servers));
          applyBackends();
        },
        onServers: (servers) => {
          discovered = servers;
          remembered = [];
        },
      }),
  };
}

function peerOffer(peers: OpsPeers | undefined): PeerOffer | undefined {
  return peers && { port: peers.port, key: peers.identity.id };
}

function hostsOf(servers: readonly HostPort[]): readonly string[] {
  return servers.map(({ host }) => host);
}

/**
 * Returns where a worker asks for the API servers while it knows none: the VIP. A worker has no part in
 * moving the VIP.
 */
function throughVip({ vips, vipPorts: [port] }: Config): readonly HostPort[] {
  return port === undefined ? [] : vips.map((vip) => ({ host: vip.text, port }));
}

function checkTls(credentials: ClientCredentials | undefined): CheckTls | undefined {
  if (credentials === undefined) return undefined;
  const { ca, servername, clientCertificate, token } = credentials;
  return { ca, servername, ...clientCertificate, ...(token === undefined ? {} : { token }) };
}

/** The balancer's status while the agent waits for the network. */
function notYet(port: number): BalancerStatus {
  return {
    listening: false,
    port,
    listenFailure: null,
    heartbeatAgeMs: 0,
    connections: 0,
    refused: 0,
    backends: [],
  };
}
