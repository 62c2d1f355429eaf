/**
 * The way of a packet by the rules of fast path version 1, as releases had them whose nodes a rolling upgrade
 * or rollback may meet: frozen, so never to be changed. What has no say in where a packet goes is left out
 * (flows, own clients, the network check).
 */
import { assignSlots } from "../../../src/fastpath/slots.ts";
import type { FastPathNode, Table, WirePlan } from "../../../src/fastpath/tables.ts";

const SYN = "tcp flags & (syn | ack | rst) == syn";

export function rulesetOfVersion1(wire: WirePlan, vip: string, port: number): readonly Table[] {
  const toVip = `ip daddr { ${vip} } tcp dport { ${port} }`;
  const here = `iifname "${wire.interfaceName}"`;
  const device = `device "${wire.interfaceName}"`;
  const address = (node: FastPathNode): string =>
    node.addresses.find(({ family }) => family === 4)?.text ?? "";
  const chainTo = (name: string): string => (name === wire.self.name ? "mine" : `to_${name}`);
  const macs = `{ ${wire.peers.map((peer) => peer.mac).join(", ")} }`;
  const alone = wire.peers.length === 0;
  const acceptsNew = wire.acceptsNew.filter(
    (name) => name === wire.self.name || wire.peers.some((peer) => peer.name === name),
  );
  const [only, ...others] = new Set(acceptsNew);
  const slots = `jhash ip saddr . tcp sport mod 1024 seed 0x4c484f4c vmap { ${assignSlots(acceptsNew)
    .map((name, slot) => `${slot} : goto ${chainTo(name)}`)
    .join(", ")} }`;
  const ring = wire.peers
    .filter((peer) => wire.inRing.includes(peer.name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const next = ring.find((peer) => peer.name > wire.self.name) ?? ring[0];
  return [
    {
      family: "netdev",
      sets: [],
      counters: [],
      chains: [
        { name: "mine", rules: ["accept"] },
        {
          name: "spread4",
          rules: [
            "ip ttl set 64",
            only === undefined ? "goto mine" : others.length === 0 ? `goto ${chainTo(only)}` : slots,
          ],
        },
        ...wire.peers.map((peer) => ({
          name: `to_${peer.name}`,
          rules: [`fwd ip to ${address(peer)} ${device}`],
        })),
        {
          name: "ingress",
          hook: `type filter hook ingress ${device} priority 0; policy accept;`,
          rules: [`${toVip} ${alone ? "" : `ether saddr != ${macs} `}goto spread4`],
        },
      ],
    },
    {
      family: "ip",
      sets: [{ name: "settling", spec: "type inet_service; flags timeout; timeout 2000ms;" }],
      counters: [],
      chains: [
        { name: "last", rules: ["tcp dport @settling drop", `${SYN} accept`, "reject with tcp reset"] },
        {
          name: "ring",
          rules:
            next === undefined
              ? ["goto last"]
              : [
                  `ether saddr ${macs} ip ttl <= ${64 - wire.peers.length - 1} goto last`,
                  `dup to ${address(next)} ${device}`,
                  "drop",
                ],
        },
        {
          name: "wire",
          rules: [
            ...(wire.inRing.includes(wire.self.name)
              ? wire.listener === undefined
                ? []
                : [
                    `${SYN} tcp dport ${wire.listener} socket wildcard { 0, 1 } accept`,
                    `${SYN} tcp dport ${wire.listener} goto ring`,
                  ]
              : [`${SYN} goto ring`]),
            "tcp flags & (syn | ack | rst) != syn ct state new goto ring",
            "tcp flags & (fin | rst) != 0 ct state { invalid, untracked } goto ring",
            "ct state invalid drop",
          ],
        },
        { name: "tell", rules: wire.peers.map((peer) => `dup to ${address(peer)} ${device}`) },
        {
          name: "second",
          hook: "type filter hook prerouting priority mangle; policy accept;",
          rules: [
            `${here} ${toVip} goto wire`,
            ...(alone
              ? []
              : [
                  `${here} ip daddr { ${vip} } icmp type destination-unreachable icmp code frag-needed ether saddr != ${macs} goto tell`,
                ]),
          ],
        },
        {
          name: "pre",
          hook: "type nat hook prerouting priority -101; policy accept;",
          rules: [`${here} ${toVip} dnat to ${address(wire.self)}:${wire.deliverTo}`],
        },
      ],
    },
  ];
}
