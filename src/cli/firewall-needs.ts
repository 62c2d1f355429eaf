/** What other machines send to this node, by its settings, and whether its rules let it in. Pure. */
import type { Config } from "../config/config.ts";
import { hostPort, isLoopback, parseIp } from "../net.ts";
import type { IpAddress } from "../net.ts";
import type { FirewallVerdict, PeerFacts } from "./examined.ts";
import { judge } from "./firewall.ts";
import type { Packet, Ruleset } from "./firewall.ts";

type Needs = Pick<
  Config,
  "vips" | "nodeIp" | "backendPort" | "balancerPort" | "peerPort" | "opsHost" | "opsPort"
>;

/**
 * @param place.own this node's own address of a family; undefined: it has none
 */
export function firewallVerdicts(
  rules: Ruleset,
  config: Needs,
  place: {
    readonly interface: string;
    readonly own: (family: 4 | 6) => IpAddress | undefined;
    readonly peers: readonly Pick<PeerFacts, "node" | "ip">[];
  },
): readonly FirewallVerdict[] {
  const verdicts = config.vips.flatMap((vip) =>
    [
      ...tcpTo(config, place.own(vip.family), place.peers),
      { to: vip, port: null, isNeeded: false, senders: sendersOf(place.peers, vip.family).slice(0, 1) },
    ].flatMap((wanted) => judgeAll(rules, place.interface, wanted)),
  );
  // Two VIPs of one family ask the same of this machine's own address.
  return [...new Map(verdicts.map((verdict) => [verdict.what, verdict])).values()];
}

/** Where packets come from; `address` undefined: from anywhere. */
interface Sender {
  readonly name: string;
  readonly address: string | undefined;
}

/** Packets that have to come in. `port` null: ICMP echo requests. */
interface Wanted {
  readonly to: IpAddress;
  readonly port: number | null;
  readonly isNeeded: boolean;
  readonly senders: readonly Sender[];
}

const CLIENTS: Sender = { name: "clients", address: undefined };
const MACHINES: Sender = { name: "other machines (LEASEHOLD_OPS_ADDRESS)", address: undefined };

/** The other nodes of that family. Before the installation none is known. */
function sendersOf(peers: readonly Pick<PeerFacts, "node" | "ip">[], family: 4 | 6): readonly Sender[] {
  const near = peers.filter(({ ip }) => ip.includes(":") === (family === 6));
  return near.length === 0
    ? [{ name: "the other nodes", address: undefined }]
    : near.map(({ node, ip }) => ({ name: node, address: ip }));
}

/** Every port of this node that its settings open to other machines. */
function tcpTo(
  config: Needs,
  own: IpAddress | undefined,
  peers: readonly Pick<PeerFacts, "node" | "ip">[],
): readonly Wanted[] {
  if (own === undefined) return [];
  const { backendPort, balancerPort, peerPort, opsHost, opsPort } = config;
  // The rules of the fast path have translated the VIP before a firewall sees the packet.
  const forClients = [backendPort, balancerPort].map((port) => ({
    to: own,
    port,
    isNeeded: true,
    senders: [CLIENTS],
  }));
  // The agent listens for its peers on one address, LEASEHOLD_NODE_IP.
  const isNodeIp = (config.nodeIp ?? config.vips[0])?.family === own.family;
  const forPeers =
    peerPort === undefined || !isNodeIp
      ? []
      : [{ to: config.nodeIp ?? own, port: peerPort, isNeeded: true, senders: sendersOf(peers, own.family) }];
  const forOps = isLoopback(opsHost)
    ? []
    : [{ to: parseAny(opsHost, own), port: opsPort, isNeeded: false, senders: [MACHINES] }];
  return [...forClients, ...forPeers, ...forOps];
}

/** The address that a listener on `host` has for other machines. */
function parseAny(host: string, own: IpAddress): IpAddress {
  const ip = parseIp(host);
  return ip === undefined || ["0.0.0.0", "::"].includes(ip.text) ? own : ip;
}

/** Senders of which the rules say the same are told together. */
function judgeAll(
  rules: Ruleset,
  name: string,
  { to, port, isNeeded, senders }: Wanted,
): readonly FirewallVerdict[] {
  const verdicts = senders.map(({ name: who, address }) => {
    const packet: Packet = {
      family: to.family,
      interface: name,
      protocol: port === null ? "icmp" : "tcp",
      source: address,
      destination: to.text,
      port: port ?? undefined,
    };
    return { who, passing: judge(rules, packet) };
  });
  const groups = Map.groupBy(verdicts, ({ passing }) => JSON.stringify(passing));
  return [...groups.values()].flatMap(([first, ...rest]) => {
    if (first === undefined) return [];
    const who = [first, ...rest].map((one) => one.who).join(", ");
    const what =
      port === null ? `ICMP echo requests to ${to.text}` : `TCP from ${who} to ${hostPort(to.text, port)}`;
    return [{ what, port, isNeeded, passing: first.passing }];
  });
}
