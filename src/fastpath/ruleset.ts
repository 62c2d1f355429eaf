/**
 * What the kernel does with a packet to the VIP. One pure function makes the nftables rules of the whole fast
 * path from a plan. docs/fast-path.md draws a packet's way and gives the reason for each rule. `nft.ts` loads
 * the rules.
 *
 * There are three tables, all named `leasehold`. With `netdev` the holder spreads packets over the nodes at
 * ingress, before conntrack, and keeps no connection. With `ip` and `ip6` the node where a connection lives
 * translates it to its API server. A packet that meets no connection gets its second chance on the next node
 * of a ring. A node's own clients and pods go straight to an API server.
 */
import type { Family, IpAddress } from "../net.ts";
import { assignSlots, SLOTS } from "./slots.ts";
import {
  COUNTERS,
  OWN_SET,
  SETTLING_SET,
  VIPS_SET,
  flowSet,
  heardSet,
  ingressVipsSet,
  recentSet,
} from "./tables.ts";
import type { Chain, FastPathNode, RulesetPlan, Table, WirePlan } from "./tables.ts";

/**
 * The version of what all nodes must have in common: seed, number of slots, hash input, and the count of hops
 * in the TTL. Nodes of another version are no peers, because a node that spreads or counts in another way
 * would find no connection.
 */
export const FAST_PATH_VERSION = 2;
const SEED = "0x4c484f4c";
/** The most nodes that take part. The count of hops has room for two rounds of so many. */
export const MOST_MEMBERS = 16;
/**
 * The count of hops is in the TTL alone: `fwd`, `dup` and routing each take one off. A packet without a count
 * gets START_TTL where it enters. A packet whose TTL is in the range WALKED has a count, whichever host sent
 * it. Its TTL is never raised, and a packet that would leave the range is not sent. MAC addresses say nothing
 * about the count, because a bond, a new network card or a stale annotation makes any of them wrong. The
 * range belongs to the version and not to the member list.
 */
const START_TTL = 200;
const LOWEST_TTL = START_TTL - (2 * MOST_MEMBERS + 2);
const WALKED = `${LOWEST_TTL}-${START_TTL - 1}`;
/**
 * The TTL of a packet that these rules have taken: it has a count, or this node's ingress has just given it
 * one.
 */
const TAKEN = `${LOWEST_TTL}-${START_TTL}`;
/**
 * Seconds after which the rules take no packet without a count any more, unless the agent refreshes them (ADR
 * 0016). Packets that another node's rules have counted are served for ever.
 */
export const IDLE_TIMEOUT_S = 3_600;
/** Seconds after which the kernel switches the own clients' rules off, unless the agent refreshes them. */
export const OWN_TIMEOUT_S = 30;
/**
 * Milliseconds after a change of the members in which the last node of the ring drops packets that no node
 * knows, and does not reset their connection. TCP sends them again.
 */
export const SETTLING_MS = 2_000;
/**
 * How long the holder remembers a client's flow, to tell the client when its API server dies. Each packet
 * after that notes it again.
 */
const FLOW_TIMEOUT = "1h";
/**
 * Seconds that the holder remembers a flow that its client has ended. A client that connects for every
 * request would fill the set otherwise, and the list of clients to ask would take seconds.
 */
const FLOW_END_S = 10;
/**
 * Seconds that the holder remembers a flow after its last packet, while it has no place among those that are
 * remembered for an hour. kube-apiserver asks an idle client every 15 s whether it is there (TCP keepalive),
 * and the client's answer comes by here.
 */
const RECENT_S = 60;
const MOST_FLOWS = 65_536;

/** How many flows of one origin get a place: `burst` at once, and then `perSecond`. */
interface Share {
  readonly perSecond: number;
  readonly burst: number;
}

/**
 * No origin fills a set, whatever addresses and ports it forges. An origin is a MAC address, with the client's
 * IP address and without: a client alone has few places, and all that comes by one MAC address, from one
 * machine or by one router, leaves 30 % of the places to others. A full set of origins limits nobody, so
 * that filling it keeps no other client out.
 *
 * | places of             | among the recent (60 s) | for an hour        |
 * |-----------------------|-------------------------|--------------------|
 * | one client            | 1,024 + 60 x 100        | 1,024 + 3,600 x 1  |
 * | one MAC address       | 8,192 + 60 x 500        | 16,384 + 3,600 x 8 |
 */
const RECENT_SHARES = { client: { perSecond: 100, burst: 1_024 }, mac: { perSecond: 500, burst: 8_192 } };
const FLOW_SHARES = { client: { perSecond: 1, burst: 1_024 }, mac: { perSecond: 8, burst: 16_384 } };
/**
 * Seconds that conntrack knows a connection that has ended, instead of 120. Meanwhile packets of the next
 * connection from the same client port are `invalid` here, and that connection may live on another node, if
 * the slots have moved between the two. What the server sends again for a lost ACK comes within this time.
 */
const ENDED_S = 5;
const ENDED = "ended";
const SYN = "tcp flags & (syn | ack | rst) == syn";
/**
 * The UDP port of the network check's probes. It is that of the discard service (RFC 863), so there is no
 * socket and no answer.
 */
export const PROBE_PORT = 9;
/**
 * Seconds that a peer counts as heard after its probe has come. It is longer than the time after which the
 * Lease says that its agent is gone (30 s).
 */
const HEARD_TIMEOUT_S = 45;

/**
 * Answers the tables for a plan.
 * @param idleS is for tests, see {@link IDLE_TIMEOUT_S}
 */
export function ruleset(plan: RulesetPlan, idleS = IDLE_TIMEOUT_S): readonly Table[] {
  const families = ([4, 6] as const).filter((family) => plan.vips.some((vip) => vip.family === family));
  const routed = families.map((family) => routedTable(plan, family, idleS));
  const ingress =
    plan.wire === undefined || !plan.wire.hasIngress
      ? undefined
      : ingressTable(plan, plan.wire, families, idleS);
  return ingress === undefined ? routed : [ingress, ...routed];
}

/** Answers the words in which the rules of the two families differ. */
function wordsOf(plan: RulesetPlan, family: Family) {
  const ip = family === 4 ? "ip" : "ip6";
  const vips = list(plan.vips.filter((vip) => vip.family === family).map((vip) => vip.text));
  const ports = list(plan.ports.map(String));
  return {
    ip,
    hops: family === 4 ? "ip ttl" : "ip6 hoplimit",
    addressType: family === 4 ? "ipv4_addr" : "ipv6_addr",
    vips,
    toVip: `${ip} daddr ${vips} tcp dport ${ports}`,
    /** The hash puts a client's connection into the same slot on every node. */
    slot: `jhash ${ip} saddr . tcp sport mod ${SLOTS} seed ${SEED}`,
    tooBig:
      family === 4 ? "icmp type destination-unreachable icmp code frag-needed" : "icmpv6 type packet-too-big",
  };
}

function ingressTable(plan: RulesetPlan, wire: WirePlan, families: readonly Family[], idleS: number): Table {
  const sets: Table["sets"][number][] = [];
  const counters: string[] = [COUNTERS.here];
  const chains: Chain[] = [{ name: "mine", rules: [`counter name "${COUNTERS.here}" accept`] }];
  const entry: string[] = [];
  const fromPeers = list(wire.peers.map((peer) => peer.mac));
  for (const family of families) {
    const { ip, toVip, hops, slot, vips, addressType } = wordsOf(plan, family);
    const own = addressOf(wire.self, family);
    const reachable = wire.peers.filter((peer) => addressOf(peer, family) !== undefined);
    sets.push({
      name: ingressVipsSet(family),
      spec: `type ${addressType}; flags timeout; timeout ${idleS}s;`,
    });
    // The network check notes that a peer's packet in the VIP's name has come through the network. The packet
    // is of no use to anything else.
    if (wire.peers.length > 0 && own !== undefined) {
      sets.push({
        name: heardSet(family),
        spec: `type ether_addr; size 64; flags dynamic,timeout; timeout ${HEARD_TIMEOUT_S}s;`,
      });
      entry.push(
        `${ip} saddr ${vips} ${ip} daddr ${own.text} udp dport ${PROBE_PORT} ether saddr ${fromPeers} ${ip} saddr @${ingressVipsSet(family)} update @${heardSet(family)} { ether saddr } drop`,
      );
    }
    const memory = flowMemory(family, ip, addressType);
    sets.push(...memory.sets);
    // Without an address of the family this node can neither deliver nor forward.
    if (own === undefined) continue;
    // The kernel itself would not accept a frame for another host, which is seen while a program captures, or
    // one for everybody (RFC 1122 section 3.3.6). Nor does this rule.
    // The set is asked last, so that it costs other packets nothing.
    entry.push(
      `${toVip} meta pkttype host ${hops} != ${WALKED} ${ip} daddr @${ingressVipsSet(family)} goto spread${family}`,
    );
    const acceptsNew = wire.acceptsNew.filter(
      (name) => name === wire.self.name || reachable.some((peer) => peer.name === name),
    );
    chains.push(
      {
        name: memory.next,
        rules: [
          spread(
            slot,
            acceptsNew,
            (name) => (name === wire.self.name ? "mine" : chainTo(reachable, name, family)),
            "mine",
          ),
        ],
      },
      ...memory.chains,
      { name: `spread${family}`, rules: [`${hops} set ${START_TTL}`, ...memory.entry] },
    );
    for (const peer of reachable) {
      const address = addressOf(peer, family);
      if (address === undefined) continue;
      counters.push(COUNTERS.forwarded(address));
      chains.push({
        name: COUNTERS.forwarded(address),
        rules: [
          `counter name "${COUNTERS.forwarded(address)}" fwd ${ip} to ${address.text} device "${wire.interfaceName}"`,
        ],
      });
    }
  }
  chains.push({
    name: "ingress",
    hook: `type filter hook ingress device "${wire.interfaceName}" priority 0; policy accept;`,
    rules: entry,
  });
  return { family: "netdev", sets, counters, chains };
}

/**
 * Answers the rules that remember a client's flow, so that the client can be told when its API server dies.
 * Each way through them ends in the chain `next`, which sends the packet on. The first packet of a flow brings
 * it among the recent ones, and the second one, unless it is a SYN again, among those remembered for an hour.
 * Packets of a flow that is there change nothing, except its end and its next beginning.
 */
function flowMemory(
  family: Family,
  ip: string,
  addressType: string,
): { sets: Table["sets"][number][]; chains: Chain[]; entry: string[]; next: string } {
  const [flows, recent, next] = [flowSet(family), recentSet(family), `slots${family}`];
  const flow = `ether saddr . ${ip} saddr . tcp sport . ${ip} daddr . tcp dport`;
  // One site with IPv6 has 2^64 addresses.
  const client = `ether saddr . ${ip} saddr${family === 4 ? "" : " & ffff:ffff:ffff:ffff::"}`;
  const set = (name: string, key: string, timeout: string): Table["sets"][number] => ({
    name,
    spec: `type ${key}; size ${MOST_FLOWS}; flags dynamic,timeout; timeout ${timeout};`,
  });
  const flowKey = `ether_addr . ${addressType} . inet_service . ${addressType} . inet_service`;
  /** What is over its share goes on without a place. `by_client` comes first: one client does not use up its router's share. */
  const within = (places: string, shares: Readonly<Record<"client" | "mac", Share>>): readonly string[] => {
    const over = ({ perSecond, burst }: Share): string =>
      `limit rate over ${perSecond}/second burst ${burst} packets`;
    return [
      `update @${places}_by_client { ${client} ${over(shares.client)} } goto ${next}`,
      `update @${places}_by_mac { ether saddr ${over(shares.mac)} } goto ${next}`,
    ];
  };
  return {
    next,
    sets: [
      set(flows, flowKey, FLOW_TIMEOUT),
      set(recent, flowKey, `${RECENT_S}s`),
      // An origin is forgotten when its whole burst is due again.
      set(`${flows}_by_client`, `ether_addr . ${addressType}`, FLOW_TIMEOUT),
      set(`${flows}_by_mac`, "ether_addr", FLOW_TIMEOUT),
      set(`${recent}_by_client`, `ether_addr . ${addressType}`, `${RECENT_S}s`),
      set(`${recent}_by_mac`, "ether_addr", `${RECENT_S}s`),
    ],
    entry: [
      `tcp flags & (fin | rst) != 0x0 goto ended${family}`,
      `${flow} != @${flows} goto unknown${family}`,
      `tcp flags & syn != 0x0 update @${flows} { ${flow} timeout ${FLOW_TIMEOUT} }`,
      `goto ${next}`,
    ],
    chains: [
      {
        name: `ended${family}`,
        rules: [
          // The last ACK of a connection finds it there, and does not bring its hour back.
          `${flow} @${recent} update @${flows} { ${flow} timeout ${FLOW_END_S}s } update @${recent} { ${flow} timeout 1s }`,
          `${flow} @${flows} update @${flows} { ${flow} timeout ${FLOW_END_S}s }`,
          `goto ${next}`,
        ],
      },
      {
        name: `first${family}`,
        rules: [...within(recent, RECENT_SHARES), `add @${recent} { ${flow} }`, `goto ${next}`],
      },
      {
        name: `unknown${family}`,
        rules: [
          `${flow} != @${recent} goto first${family}`,
          `update @${recent} { ${flow} }`,
          `tcp flags & syn != 0x0 goto ${next}`,
          ...within(flows, FLOW_SHARES),
          // In a full set `add` ends the rule, and the flow stays among the recent ones.
          `add @${flows} { ${flow} } update @${recent} { ${flow} timeout 1s }`,
          `goto ${next}`,
        ],
      },
    ],
  };
}

function chainTo(peers: readonly FastPathNode[], name: string, family: Family): string {
  const peer = peers.find((candidate) => candidate.name === name);
  const address = peer === undefined ? undefined : addressOf(peer, family);
  return address === undefined ? "mine" : COUNTERS.forwarded(address);
}

function routedTable(plan: RulesetPlan, family: Family, idleS: number): Table {
  const words = wordsOf(plan, family);
  const wire = plan.wire === undefined ? undefined : wireChains(plan, plan.wire, family);
  const own = ownChains(plan, family);
  // What comes over the wire is never a pod's, whatever the wire's name is.
  const fromWire = plan.wire === undefined ? [] : [`iifname "${plan.wire.interfaceName}" accept`];
  const fromPods = (verdict: string): readonly string[] =>
    plan.podInterfaces.map((name) => `iifname "${name}" ${verdict}`);
  const postrouting: Chain[] = [
    {
      name: "post",
      hook: "type nat hook postrouting priority 101; policy accept;",
      rules: [
        `ct direction original ct original ${words.ip} daddr @${VIPS_SET} meta l4proto tcp goto source`,
      ],
    },
    {
      // Without this a pod would be answered past this node, and a socket with the VIP as its source would
      // get no answer. No other host gets this node's address: an API server's firewall may deny it what it
      // grants this node.
      name: "source",
      rules: [
        `fib saddr type local ${words.ip} saddr != ${words.vips} accept`,
        "fib saddr type local masquerade",
        ...fromWire,
        ...fromPods("masquerade"),
      ],
    },
  ];
  const prerouting: Chain = {
    name: "pre",
    // This comes before kube-proxy's chains (-100), because the VIP is no Service.
    hook: "type nat hook prerouting priority -101; policy accept;",
    // A packet that comes over the wire, or by any interface that is no pod's, is never an own client's.
    rules: [
      ...(wire?.deliver ?? []),
      ...own.entry.map((rule) =>
        plan.wire === undefined ? `${rule} pods` : `iifname != "${plan.wire.interfaceName}" ${rule} pods`,
      ),
    ],
  };
  const pods: readonly Chain[] =
    own.entry.length === 0 ? [] : [{ name: "pods", rules: fromPods("goto balance") }];
  const output: Chain = {
    name: "out",
    hook: "type nat hook output priority -101; policy accept;",
    rules: own.entry.map((rule) => `${rule} balance`),
  };
  return {
    family: family === 4 ? "ip" : "ip6",
    sets: [
      { name: OWN_SET, spec: `type ${words.addressType}; flags timeout; timeout ${OWN_TIMEOUT_S}s;` },
      { name: VIPS_SET, spec: `type ${words.addressType}; flags timeout; timeout ${idleS}s;` },
      { name: SETTLING_SET, spec: `type inet_service; flags timeout; timeout ${SETTLING_MS}ms;` },
    ],
    counters: [...(wire?.counters ?? []), ...own.counters],
    timeouts:
      plan.wire?.shortConntrackTimeouts === true
        ? [
            {
              name: ENDED,
              spec: `protocol tcp; l3proto ${words.ip}; policy = { time_wait : ${ENDED_S}, close : ${ENDED_S} };`,
            },
          ]
        : [],
    chains: [...(wire?.chains ?? []), ...own.chains, ...pods, prerouting, output, ...postrouting],
  };
}

/** Answers the chains for packets that come over the wire: second chance and delivery. */
function wireChains(
  plan: RulesetPlan,
  wire: WirePlan,
  family: Family,
): { counters: string[]; chains: Chain[]; deliver: string[] } {
  const { ip, toVip, hops, vips, tooBig } = wordsOf(plan, family);
  const own = addressOf(wire.self, family);
  // There is nothing to deliver to in this family, so these packets are left alone.
  if (own === undefined) return { counters: [], chains: [], deliver: [] };
  const peers = wire.peers.filter((peer) => addressOf(peer, family) !== undefined);
  const next = nextInRing(wire, peers);
  const here = `iifname "${wire.interfaceName}"`;
  // The walk counts all members and not only those alive, so that nodes that disagree about a grade still
  // walk far enough. No plan makes the walk leave the range.
  const lastTtl = Math.max(START_TTL - (peers.length + 1), LOWEST_TTL);
  const last: Chain = {
    name: "last",
    rules: [
      `tcp dport @${SETTLING_SET} counter name "${COUNTERS.settling}" drop`,
      `counter name "${COUNTERS.unknown}"`,
      `${SYN} accept`,
      // The kernel's TCP must not answer. A socket in TIME-WAIT, of an earlier connection from the same
      // client port, would answer with ACKs for ever (RFC 9293 section 3.10.7.4, and Linux starts its minute
      // again), and the client would never be told.
      "reject with tcp reset",
    ],
  };
  const nextAddress = next === undefined ? undefined : addressOf(next, family);
  const ring: Chain = {
    name: "ring",
    rules:
      nextAddress === undefined
        ? ["goto last"]
        : [
            `${hops} <= ${lastTtl} goto last`,
            `counter name "${COUNTERS.secondChance}" dup to ${nextAddress.text} device "${wire.interfaceName}"`,
            "drop",
          ],
  };
  const second: Chain = {
    name: "second",
    hook: "type filter hook prerouting priority mangle; policy accept;",
    rules: [`${here} ${ip} daddr ${vips} goto arrived`],
  };
  // A packet with a count is taken in any case, because another node's rules have sent it to this one. Any
  // other packet is taken while an agent refreshes the set. Afterwards these rules are as good as gone for
  // it, whatever program this machine is given to.
  const arrived: Chain = {
    name: "arrived",
    rules: [`${hops} ${TAKEN} goto taken`, `${ip} daddr @${VIPS_SET} goto taken`],
  };
  const taken: Chain = {
    name: "taken",
    rules: [
      // A bad annotation may name an address that is not a single host's. Each node would then copy packets
      // for all of them.
      "meta pkttype != host drop",
      `tcp dport ${list(plan.ports.map(String))} goto wire`,
      // Path MTU: the router answers the VIP, and only one node's conntrack knows the connection. So every
      // node gets the answer once.
      `${tooBig} ${hops} != ${WALKED} goto tell`,
    ],
  };
  const tell: Chain = {
    name: "tell",
    rules: [
      `${hops} set ${START_TTL}`,
      ...peers.flatMap((peer) => {
        const address = addressOf(peer, family);
        return address === undefined ? [] : [`dup to ${address.text} device "${wire.interfaceName}"`];
      }),
    ],
  };
  // Routing would be a second way to the VIP's holder, past the ring. A packet to the VIP's ports is served
  // here or passed round the ring, and is never routed on. Neither is a path MTU answer that a peer has
  // passed on. The kernel has taken one off the count before this hook. A packet without a count was not
  // taken, and is routed as if there were no rules.
  const routed: Chain = {
    name: "routed",
    hook: "type filter hook forward priority filter; policy accept;",
    rules: [
      `${here} ${toVip} ${hops} ${LOWEST_TTL - 1}-${START_TTL - 1} drop`,
      `${here} ${ip} daddr ${vips} ${tooBig} ${hops} ${LOWEST_TTL - 1}-${START_TTL - 2} drop`,
    ],
  };
  const chain: Chain = {
    name: "wire",
    rules: [
      // Where there is an ingress, it has done this. A client's own TTL must not be taken for a count.
      `${hops} != ${TAKEN} ${hops} set ${START_TTL}`,
      // A packet of this node's own client may come over the wire. The kernel would drop its own address as a
      // source, so another node has to serve it.
      `${ip} saddr ${own.text} goto ring`,
      ...wireRules(plan, wire),
    ],
  };
  // At a port that the kernel cannot ask about, the refusal of a process that has just died is kept back. The
  // SYN comes again after 1 s, and by then the checks have noticed. Sequence number 0 is in the answer to a
  // SYN and in nothing else (RFC 9293 section 3.10.7.1).
  const asked = wire.listener === undefined ? [] : [wire.listener];
  const unasked = plan.ports.filter((port) => !asked.includes(port));
  const refusals: Chain = {
    name: "refusals",
    hook: "type filter hook output priority filter; policy accept;",
    rules: [
      `tcp sequence 0 tcp flags & (rst | ack) == rst | ack ct direction reply ct original ${ip} daddr @${VIPS_SET} ct original proto-dst ${list(unasked.map(String))} drop`,
    ],
  };
  return {
    counters: [COUNTERS.secondChance, COUNTERS.unknown, COUNTERS.settling],
    chains: [
      last,
      ring,
      chain,
      tell,
      taken,
      arrived,
      second,
      routed,
      ...(peers.length === 0 || unasked.length === 0 ? [] : [refusals]),
    ],
    // The connection lives here: this node's own ingress or a peer said so.
    deliver: [`${here} ${toVip} ${hops} ${TAKEN} dnat to ${hostOf(own)}:${wire.deliverTo}`],
  };
}

function wireRules(plan: RulesetPlan, wire: WirePlan): readonly string[] {
  const rules: string[] = wire.shortConntrackTimeouts ? [`${SYN} ct timeout set "${ENDED}"`] : [];
  const alive = wire.inRing.includes(wire.self.name);
  if (!alive || wire.passesOn) {
    // This node's API server is gone or drained, so the others try first. As the last of the ring this node
    // gives the connection to its proxy, or to its API server that is drained.
    rules.push(`${SYN} goto ring`);
  } else if (wire.listener !== undefined && plan.ports.includes(wire.listener)) {
    // The kernel knows before any check whether a process listens. This holds only for the API server's own
    // port: on another port it would see the proxy.
    rules.push(
      `${SYN} tcp dport ${wire.listener} socket wildcard { 0, 1 } accept`,
      `${SYN} tcp dport ${wire.listener} goto ring`,
    );
  }
  rules.push(
    // This is a packet of a connection that does not live here. A SYN that a peer sent is accepted, so tables
    // that disagree never loop.
    "tcp flags & (syn | ack | rst) != syn ct state new goto ring",
    "tcp flags & (fin | rst) != 0 ct state { invalid, untracked } goto ring",
    // Otherwise this kernel would reset another node's connection.
    "ct state invalid drop",
  );
  return rules;
}

/**
 * Answers the chains for pods and the node's own sockets, and the rules that lead there, each without the name
 * of the chain. `@own` holds the VIP while an agent refreshes it.
 */
function ownChains(
  plan: RulesetPlan,
  family: Family,
): { counters: string[]; chains: Chain[]; entry: string[] } {
  const { ip, slot } = wordsOf(plan, family);
  const targets = new Map(
    plan.own
      .filter((target) => target.address.family === family)
      .map((target) => [COUNTERS.own(target), target]),
  );
  if (targets.size === 0) return { counters: [], chains: [], entry: [] };
  const names = [...targets.keys()];
  const chains = [...targets].map(([name, { address, port }]): Chain => ({
    name,
    rules: [`meta l4proto tcp counter name "${name}" dnat to ${hostOf(address)}:${port}`],
  }));
  chains.push({ name: "balance", rules: [spread(slot, names, (name) => name, "")] });
  return {
    counters: names,
    chains,
    entry: [`${ip} daddr @${OWN_SET} tcp dport ${list(plan.ports.map(String))} goto`],
  };
}

/** Answers one rule that sends each slot to its owner's chain. */
function spread(
  slot: string,
  names: readonly string[],
  chain: (name: string) => string,
  nobody: string,
): string {
  const owners = assignSlots(names);
  const [only, ...others] = new Set(owners.map(chain));
  if (only === undefined) return `goto ${nobody}`;
  if (others.length === 0) return `goto ${only}`;
  return `${slot} vmap { ${owners.map((name, index) => `${index} : goto ${chain(name)}`).join(", ")} }`;
}

/** Answers the peer in the ring that follows this node in the order of names. */
function nextInRing(wire: WirePlan, peers: readonly FastPathNode[]): FastPathNode | undefined {
  const ring = peers
    .filter((peer) => wire.inRing.includes(peer.name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return ring.find((peer) => peer.name > wire.self.name) ?? ring[0];
}

function addressOf(node: FastPathNode, family: Family): IpAddress | undefined {
  return node.addresses.find((address) => address.family === family);
}

function list(items: readonly string[]): string {
  return `{ ${items.join(", ")} }`;
}

function hostOf(address: IpAddress): string {
  return address.family === 4 ? address.text : `[${address.text}]`;
}
