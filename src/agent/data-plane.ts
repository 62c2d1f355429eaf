/** The kernel's data plane of this node, wired to the machine: netlink, nft, raw frames, and what the agent knows of the others. */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { ElectionStatus } from "../election/status.ts";
import { createFastPath } from "../fastpath/fast-path.ts";
import type { FastPath } from "../fastpath/fast-path.ts";
import { createNft } from "../fastpath/nft.ts";
import type { PlanPeer } from "../fastpath/plan.ts";
import { readPeers, writePeers } from "../fastpath/remembered-peers.ts";
import { missingRequirements } from "../fastpath/requirements.ts";
import { PROBE_PORT } from "../fastpath/ruleset.ts";
import { createSessions } from "../fastpath/sessions.ts";
import type { FastPathNode } from "../fastpath/tables.ts";
import { openConntrack } from "../linux/conntrack.ts";
import { macBytes } from "../linux/mac.ts";
import { watchRuleset } from "../linux/nftables-monitor.ts";
import { createNftables } from "../linux/nftables.ts";
import { openSockDiag, TCP_STATE_LISTEN, wildcardListener } from "../linux/sock-diag.ts";
import { openPacketSocket } from "../linux/sockets.ts";
import { udpFrame } from "../linux/tcp-frame.ts";
import type { Logger } from "../log.ts";
import { parseIp } from "../net.ts";
import type { Balancer } from "../proxy/balancer.ts";
import type { LinkState } from "../vip/kernel.ts";
import type { NodeNetwork } from "./node-network.ts";

export interface DataPlaneDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  /** undefined on a worker. */
  readonly place: NodeNetwork | undefined;
  readonly balancer: Balancer;
  readonly election: () => ElectionStatus | undefined;
  readonly link: () => LinkState | undefined;
  readonly holdsVip: () => boolean;
  readonly onChange: () => void;
}

export interface DataPlane extends FastPath {
  /** Gives the sockets back. */
  close(): void;
}

/** Opens the sockets; `close` gives them back. The rules stay. @throws {LeaseholdError} LH_NATIVE: no NET_ADMIN or NET_RAW */
export function createDataPlane(deps: DataPlaneDeps): DataPlane {
  const { config, clock, log, place } = deps;
  const sockets = openSockDiag();
  const conntrack = openConntrack();
  // A worker sends no frames of its own making.
  const packet = place === undefined ? undefined : openPacketSocket();
  const pause = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const nft = createNft(createNftables(pause));
  const remembered = peersOf(join(config.dataDir, "fast-path-peers.json"), config.nodeName, log);
  let onWildcard = false;

  function send(frame: Uint8Array): void {
    const link = deps.link();
    if (link !== undefined) packet?.send(link.index, frame);
  }

  /** While nothing listens, the API server is away: how it listened before still holds for its return. */
  function listensOnWildcard(): boolean {
    try {
      const listening = FAMILIES.some((family) => sockets.list(family, TCP_STATE_LISTEN).some((socket) => socket.local.port === config.backendPort));
      // One rule for all of the VIP's families: where it would never match it would send every SYN away.
      if (listening) onWildcard = config.vips.every((vip) => wildcardListener(sockets, vip.family, config.backendPort));
    } catch {
      // A kernel without inet_diag. A dead API server then costs new connections until its check has noticed, no more.
      onWildcard = false;
    }
    return onWildcard;
  }

  function proxyCannotListen(): boolean {
    const { listening, listenFailure } = deps.balancer.status();
    return !listening && listenFailure !== null;
  }

  function probe(peers: readonly FastPathNode[]): void {
    const sourceMac = macBytes(deps.link()?.mac ?? "");
    if (sourceMac === undefined) return;
    for (const peer of peers) {
      const destinationMac = macBytes(peer.mac);
      if (destinationMac === undefined) continue;
      for (const source of config.vips) {
        const destination = peer.addresses.find((address) => address.family === source.family);
        if (destination === undefined) continue;
        try {
          send(udpFrame({ sourceMac, destinationMac, source, destination, sourcePort: PROBE_PORT, destinationPort: PROBE_PORT, payload: PROBE_TEXT }));
        } catch {
          // A link that is down is the election's to report.
          return;
        }
      }
    }
  }

  const fastPath = createFastPath({
    clock,
    log,
    mode: config.fastPath,
    vips: config.vips,
    ports: config.vipPorts,
    isWorker: place === undefined,
    node() {
      const link = deps.link();
      if (place === undefined || link === undefined || macBytes(link.mac) === undefined) return undefined;
      return {
        name: config.nodeName,
        interfaceName: place.interfaceName,
        interfaceIndex: link.index,
        addresses: place.addresses,
        mac: link.mac,
        backendPort: config.backendPort,
        balancerPort: proxyCannotListen() ? undefined : config.balancerPort,
        wildcardListener: listensOnWildcard(),
      };
    },
    backends: () => deps.balancer.status().backends,
    peers: () => remembered.current(deps.election()),
    holdsVip: deps.holdsVip,
    missing: () => missingRequirements(place?.interfaceName ?? "", config.vips),
    nft,
    watchRuleset,
    sessions: createSessions({
      log,
      vips: config.vips,
      ports: config.vipPorts,
      sockets,
      conntrack,
      flows: (family) => nft.flows(family),
      send,
      mac: () => macBytes(deps.link()?.mac ?? ""),
      pause,
    }),
    probe,
    onChange: deps.onChange,
  });
  return {
    ...fastPath,
    close() {
      sockets.close();
      conntrack.close();
      packet?.close();
    },
  };
}

const FAMILIES = [4, 6] as const;
const PROBE_TEXT = new TextEncoder().encode("leasehold network check");

/** What the Lease says of the others, and while it cannot be read, what it last said: membership is never emptied because the API is silent. */
function peersOf(file: string, self: string, log: Logger): { current(election: ElectionStatus | undefined): readonly PlanPeer[] | undefined } {
  let last = readPeers(file, log);
  let written = JSON.stringify(last);
  return {
    current(election) {
      // The candidates of a Lease that somebody emptied or deleted come back within a second; until then nobody has left.
      if (election === undefined || election.holder === null || election.candidates.length === 0) return last.length > 0 ? last : undefined;
      const peers = election.candidates
        .filter((candidate) => candidate.node !== self)
        .map(({ node, fastPath, mac, fresh, instance, counter }) => ({ node, fastPath, mac, fresh, said: `${instance}/${counter}` }));
      const keep = peers.filter((peer) => peer.fastPath !== null && peer.fastPath.addresses.every((text) => parseIp(text) !== undefined));
      const text = JSON.stringify(keep.map(({ node, fastPath, mac }) => ({ node, fastPath, mac })));
      last = peers;
      if (text !== written) writePeers(file, keep, log);
      written = text;
      return peers;
    },
  };
}
