/**
 * The fast path wired to this machine: netlink, nft, raw frames, and what the agent knows of the other nodes.
 */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { ElectionStatus } from "../election/status.ts";
import type { FlowList } from "../fastpath/flows.ts";
import { createFastPath } from "../fastpath/fast-path.ts";
import type { FastPath } from "../fastpath/fast-path.ts";
import { createMembers } from "../fastpath/members.ts";
import { createProber } from "../fastpath/network-check.ts";
import { createNft } from "../fastpath/nft.ts";
import { missingRequirements } from "../fastpath/requirements.ts";
import { createSessions } from "../fastpath/sessions.ts";
import { createSharedFlows } from "../fastpath/shared-flows.ts";
import type { SharedFlows, SharedFlowsDeps } from "../fastpath/shared-flows.ts";
import { openConntrack } from "../linux/conntrack.ts";
import { NO_ARP } from "../linux/links.ts";
import { macBytes } from "../linux/mac.ts";
import { watchRuleset } from "../linux/nftables-monitor.ts";
import { createNftables } from "../linux/nftables.ts";
import { hasWildcard, openSockDiag } from "../linux/sock-diag.ts";
import { openPacketSocket } from "../linux/sockets.ts";
import type { Logger } from "../log.ts";
import type { Family } from "../net.ts";
import type { Balancer } from "../proxy/balancer.ts";
import type { LinkState } from "../vip/kernel.ts";
import type { NodeNetwork } from "./node-network.ts";

export interface NodeFastPathDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  /** Answers the place of this node on the network, which may change; undefined on a worker. */
  readonly nodeNetwork: (() => NodeNetwork) | undefined;
  readonly balancer: Balancer;
  readonly election: () => ElectionStatus | undefined;
  readonly link: () => LinkState | undefined;
  readonly holdsVip: () => boolean;
  /** True while this node's API server is about to stop. */
  readonly stopping: () => boolean;
  /** Listens to another node's agent, see {@link SharedFlowsDeps.listen}. */
  readonly listenToFlows: SharedFlowsDeps["listen"];
  readonly onChange: () => void;
}

/**
 * Milliseconds for which an answer about the link holds. A round of the fast path asks five times, and each time
 * the kernel would describe the link with all its counters.
 */
const LINK_HOLDS_MS = 20;

/** The fast path of this node, with the sockets that it uses. */
export interface NodeFastPath extends FastPath {
  /** Tells another node's agent the connections by the VIP, see {@link SharedFlows.tell}. */
  readonly tellFlows: SharedFlows["tell"];
  /** Closes the sockets. */
  close(): void;
}

/**
 * Opens the sockets; `close` closes them. The rules stay. @throws {LeaseholdError} LH_NATIVE: no NET_ADMIN or
 * NET_RAW
 */
export function openFastPath(deps: NodeFastPathDeps): NodeFastPath {
  const { config, clock, log, nodeNetwork } = deps;
  const { vips } = config;
  const sockets = openSockDiag();
  const conntrack = openConntrack();
  // A worker sends no frames of its own.
  const packet = nodeNetwork === undefined ? undefined : openPacketSocket();
  const pause = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const nft = createNft(createNftables(pause));
  const link = sameForAWhile(clock, deps.link);
  const mac = (): Uint8Array | undefined => macBytes(link()?.mac ?? "");
  let onWildcard = false;

  function send(frame: Uint8Array): void {
    const to = link();
    if (to !== undefined) packet?.send(to.index, frame);
  }

  /**
   * Says whether the API server listens on a wildcard address. While nothing listens, the API server is away,
   * and how it listened before still holds for its return.
   */
  function listensOnWildcard(): boolean {
    try {
      const listeners = sockets.listeners(config.backendPort);
      // One rule serves all of the VIP's families. Where it could never match, it would send every SYN away.
      if (listeners.length > 0) onWildcard = vips.every(({ family }) => hasWildcard(listeners, family));
    } catch {
      // The kernel has no inet_diag. A dead API server then costs new connections until its check has
      // noticed.
      onWildcard = false;
    }
    return onWildcard;
  }

  function proxyCannotListen(): boolean {
    const { listening, listenFailure } = deps.balancer.status();
    return !listening && listenFailure !== null;
  }

  /**
   * During a take-over the VIP's packets are other software's, unless an agent has the VIP. At the start this
   * agent does not know yet which machine has it.
   */
  function otherSoftwareGoesFirst(): boolean {
    if (!config.takeOver || nodeNetwork === undefined || deps.holdsVip()) return false;
    const election = deps.election();
    return election === undefined || election.taken || (election.holder ?? "") === "";
  }

  const flows = (family: Family): Promise<FlowList> => nft.flows(family);
  const sharedFlows = createSharedFlows({
    clock,
    log,
    vips,
    ports: config.vipPorts,
    flows,
    holder: () => deps.election()?.holder ?? null,
    listen: deps.listenToFlows,
    pause,
  });
  const sessions = createSessions({
    log,
    vips,
    ports: config.vipPorts,
    sockets,
    conntrack,
    flows,
    heard: () => sharedFlows.heard(),
    send,
    mac,
    pause,
  });
  const fastPath = createFastPath({
    clock,
    log,
    mode: config.fastPath,
    vips,
    ports: config.vipPorts,
    podInterfaces: config.podInterfaces,
    isWorker: nodeNetwork === undefined,
    node() {
      const vipLink = link();
      if (nodeNetwork === undefined || vipLink === undefined) return undefined;
      const { addresses, subnets } = nodeNetwork();
      return {
        name: config.nodeName,
        interfaceName: vipLink.name,
        interfaceIndex: vipLink.index,
        addresses,
        subnets,
        mac: vipLink.mac,
        backendPort: config.backendPort,
        balancerPort: proxyCannotListen() ? undefined : config.balancerPort,
        wildcardListener: listensOnWildcard(),
      };
    },
    // The rules, and which nodes are members, rest on API servers that there are.
    backends: () => deps.balancer.status().backends.filter(({ unproven }) => unproven !== true),
    lease: deps.election,
    members: createMembers(join(config.dataDir, "fast-path-peers.json"), config.nodeName, log),
    holdsVip: deps.holdsVip,
    isIdle: otherSoftwareGoesFirst,
    missing: () => [
      ...(link()?.mac === "" ? [`LH_LINK_TYPE: ${nodeNetwork?.().interfaceName}: ${NO_ARP}`] : []),
      ...missingRequirements(nodeNetwork?.().interfaceName ?? "", vips),
    ],
    nft,
    watchRuleset,
    sessions,
    sharedFlows,
    stopping: () => (deps.stopping() ? config.backendPort : undefined),
    probe: createProber({ vips, mac, send }),
    onChange: deps.onChange,
  });
  return {
    ...fastPath,
    tellFlows: (send, ended) => sharedFlows.tell(send, ended),
    close() {
      sockets.close();
      conntrack.close();
      packet?.close();
    },
  };
}

/** Asks `read` again when its last answer is {@link LINK_HOLDS_MS} old. */
function sameForAWhile<T>(clock: Pick<Clock, "now">, read: () => T): () => T {
  let known: { readonly answer: T; readonly readMs: number } | undefined;
  return () => {
    const nowMs = clock.now();
    if (known === undefined || nowMs >= known.readMs + LINK_HOLDS_MS)
      known = { answer: read(), readMs: nowMs };
    return known.answer;
  };
}
