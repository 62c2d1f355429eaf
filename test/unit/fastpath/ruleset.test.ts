import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  FAST_PATH_VERSION,
  IDLE_TIMEOUT_S,
  OWN_TIMEOUT_S,
  ruleset,
  SETTLING_MS,
} from "../../../src/fastpath/ruleset.ts";
import { assignSlots } from "../../../src/fastpath/slots.ts";
import { COUNTERS } from "../../../src/fastpath/tables.ts";
import type { RulesetPlan, Table, WirePlan } from "../../../src/fastpath/tables.ts";
import { anyPlan, fastPathNode, ip, rulesetPlan, wirePlan } from "../../support/fastpath/plans.ts";

const SYN = "tcp flags & (syn | ack | rst) == syn";
const PEERS = "{ 02:00:00:00:00:02, 02:00:00:00:00:03 }";

function table(plan: RulesetPlan, family: Table["family"]): Table {
  const found = ruleset(plan).find((candidate) => candidate.family === family);
  assert.ok(found !== undefined, `no table ${family}`);
  return found;
}

function rules(plan: RulesetPlan, family: Table["family"], chain: string): readonly string[] {
  const found = table(plan, family).chains.find(({ name }) => name === chain);
  assert.ok(found !== undefined, `no chain ${chain} in ${family}`);
  return found.rules;
}

function chainNames(plan: RulesetPlan, family: Table["family"]): readonly string[] {
  return table(plan, family).chains.map(({ name }) => name);
}

const withWire = (changes: Partial<WirePlan>): RulesetPlan => rulesetPlan({ wire: wirePlan(changes) });
const three = rulesetPlan();

/** Where a rule sends each slot. */
function slotsOf(rule: string): readonly string[] {
  const [, map = ""] = / vmap \{ (.*) \}$/.exec(rule) ?? [];
  return map.split(", ").map((entry, slot) => {
    const [, number, chain = ""] = /^(\d+) : goto (\w+)$/.exec(entry) ?? [];
    assert.equal(Number(number), slot);
    return chain;
  });
}

describe("ingress of the holder", () => {
  test("takes to the spreading chain what has no count of hops, whoever sent it: what has one has been there already", () => {
    assert.equal(
      rules(three, "netdev", "ingress").at(-1),
      "ip daddr { 10.88.0.100 } tcp dport { 6443, 8443 } meta pkttype host ip ttl != 166-199 ip daddr @vips4 goto spread4",
    );
  });

  test("sets the count of hops and notes the flow before the packet goes its way", () => {
    const flow = "ether saddr . ip saddr . tcp sport . ip daddr . tcp dport";
    assert.deepEqual(rules(three, "netdev", "spread4"), [
      "ip ttl set 200",
      "tcp flags & (fin | rst) != 0x0 goto ended4",
      `${flow} != @flows4 goto unknown4`,
      `tcp flags & syn != 0x0 update @flows4 { ${flow} timeout 1h }`,
      "goto slots4",
    ]);
  });

  test("sends a packet on whatever it notes: no set that is full and no limit takes it out of its way", () => {
    const { chains } = table(three, "netdev");
    const memory = chains.filter(({ name }) => /^(?:spread|ended|unknown|first)4$/.test(name));
    assert.equal(memory.length, 4);
    for (const { rules: ofChain } of memory) {
      for (const rule of ofChain) assert.doesNotMatch(rule, /\b(?:accept|drop|reject|return|fwd|dup)\b/);
      assert.equal(ofChain.at(-1), "goto slots4");
    }
  });

  test("gives an hour to what speaks twice and is within its client's and its MAC address's share", () => {
    const flow = "ether saddr . ip saddr . tcp sport . ip daddr . tcp dport";
    assert.deepEqual(rules(three, "netdev", "unknown4"), [
      `${flow} != @recent4 goto first4`,
      `update @recent4 { ${flow} }`,
      "tcp flags & syn != 0x0 goto slots4",
      "update @flows4_by_client { ether saddr . ip saddr limit rate over 1/second burst 1024 packets } goto slots4",
      "update @flows4_by_mac { ether saddr limit rate over 8/second burst 16384 packets } goto slots4",
      `add @flows4 { ${flow} } update @recent4 { ${flow} timeout 1s }`,
      "goto slots4",
    ]);
  });

  test("counts a site of IPv6 as one client: it has more addresses than any set has places", () => {
    const both = ruleset(rulesetPlan({ wire: wirePlan({ self: fastPathNode(1, [4, 6]) }) }, [4, 6]));
    const first = both[0]?.chains.find(({ name }) => name === "first6")?.rules ?? [];
    assert.match(
      first[0] ?? "",
      /^update @recent6_by_client \{ ether saddr \. ip6 saddr & ffff:ffff:ffff:ffff:: limit /,
    );
  });

  test("leaves 30 % of each set to others, however long one MAC address goes on, and most to other clients", () => {
    for (const [places, seconds] of [
      ["flows4", 3_600],
      ["recent4", 60],
    ] as const) {
      const text = table(three, "netdev")
        .chains.flatMap((chain) => chain.rules)
        .join("\n");
      const most = (origin: string): number => {
        const [, rate, burst] =
          new RegExp(
            `@${places}_by_${origin} \\{ .* limit rate over (\\d+)/second burst (\\d+) packets`,
          ).exec(text) ?? [];
        return Number(burst) + Number(rate) * seconds;
      };
      const size = Number(
        /size (\d+)/.exec(table(three, "netdev").sets.find(({ name }) => name === places)?.spec ?? "")?.[1],
      );
      assert.ok(most("mac") < (size * 7) / 10, `${places}: ${most("mac")} of ${size}`);
      assert.ok(most("client") < size / 8, `${places}: ${most("client")} of ${size}`);
    }
  });

  test("gives each slot to the node that every other node gives it to", () => {
    const rule = rules(three, "netdev", "slots4").at(-1) ?? "";
    assert.match(rule, /^jhash ip saddr \. tcp sport mod 1024 seed 0x4c484f4c vmap /);
    const chains = new Map([
      ["n1", "mine"],
      ["n2", "to_10_88_0_12"],
      ["n3", "to_10_88_0_13"],
    ]);
    assert.deepEqual(
      slotsOf(rule),
      assignSlots(["n1", "n2", "n3"]).map((name) => chains.get(name)),
    );
  });

  test("hashes and counts as version 2 does: a change of that is another version", () => {
    assert.equal(FAST_PATH_VERSION, 2);
  });

  test("forwards unchanged, counted, and keeps what is its own", () => {
    assert.deepEqual(rules(three, "netdev", "to_10_88_0_13"), [
      'counter name "to_10_88_0_13" fwd ip to 10.88.0.13 device "eth0"',
    ]);
    assert.deepEqual(rules(three, "netdev", "mine"), ['counter name "here" accept']);
  });

  test("notes the peers' probes and lets nobody else's packet of that kind count", () => {
    assert.equal(
      rules(three, "netdev", "ingress")[0],
      `ip saddr { 10.88.0.100 } ip daddr 10.88.0.11 udp dport 9 ether saddr ${PEERS} ip saddr @vips4 update @heard4 { ether saddr } drop`,
    );
  });

  test("is bound to the VIP's interface", () => {
    const chain = table(withWire({ interfaceName: "bond0.7" }), "netdev").chains.at(-1);
    assert.equal(chain?.hook, 'type filter hook ingress device "bond0.7" priority 0; policy accept;');
  });

  test("gives everything to the one taker without a hash", () => {
    assert.equal(rules(withWire({ acceptsNew: ["n3"] }), "netdev", "slots4").at(-1), "goto to_10_88_0_13");
    assert.equal(rules(withWire({ acceptsNew: ["n1"] }), "netdev", "slots4").at(-1), "goto mine");
  });

  test("keeps everything when nobody takes new connections: the proxy has them", () => {
    assert.equal(rules(withWire({ acceptsNew: [] }), "netdev", "slots4").at(-1), "goto mine");
  });

  test("sends nothing to a taker that is no peer: it has no rules, the packet would wander", () => {
    const rule = rules(withWire({ acceptsNew: ["n1", "n2", "ghost"] }), "netdev", "slots4").at(-1) ?? "";
    assert.deepEqual(
      slotsOf(rule),
      assignSlots(["n1", "n2"]).map((name) => (name === "n1" ? "mine" : "to_10_88_0_12")),
    );
  });

  test("of a node that is alone needs no MAC addresses and no network check", () => {
    const plan = withWire({ peers: [], inRing: ["n1"], acceptsNew: ["n1"] });
    assert.deepEqual(rules(plan, "netdev", "ingress"), [
      "ip daddr { 10.88.0.100 } tcp dport { 6443, 8443 } meta pkttype host ip ttl != 166-199 ip daddr @vips4 goto spread4",
    ]);
    assert.deepEqual(
      table(plan, "netdev").sets.map(({ name }) => name),
      [
        "vips4",
        "flows4",
        "recent4",
        "flows4_by_client",
        "flows4_by_mac",
        "recent4_by_client",
        "recent4_by_mac",
      ],
    );
  });

  test("does not exist where the kernel lacks what it needs, nor on a worker", () => {
    for (const plan of [withWire({ hasIngress: false }), rulesetPlan({ wire: undefined })]) {
      assert.deepEqual(
        ruleset(plan).map(({ family }) => family),
        ["ip"],
      );
    }
  });
});

describe("the second chance", () => {
  test("is for packets that come over the wire to the VIP's ports, at the hook after conntrack", () => {
    const second = table(three, "ip").chains.find(({ name }) => name === "second");
    assert.equal(second?.hook, "type filter hook prerouting priority mangle; policy accept;");
    assert.deepEqual(second.rules, ['iifname "eth0" ip daddr { 10.88.0.100 } goto arrived']);
    assert.deepEqual(rules(three, "ip", "taken").slice(0, 2), [
      "meta pkttype != host drop",
      "tcp dport { 6443, 8443 } goto wire",
    ]);
  });

  test("takes what another node has counted in any case, and the rest for as long as an agent refreshes the set", () => {
    assert.deepEqual(rules(three, "ip", "arrived"), [
      "ip ttl 166-200 goto taken",
      "ip daddr @vips goto taken",
    ]);
    for (const [family, name] of [
      ["ip", "vips"],
      ["netdev", "vips4"],
    ] as const) {
      const spec = (plan: readonly Table[]): string | undefined =>
        plan.find((each) => each.family === family)?.sets.find((set) => set.name === name)?.spec;
      assert.equal(spec(ruleset(three)), "type ipv4_addr; flags timeout; timeout 3600s;");
      assert.equal(spec(ruleset(three, 2)), "type ipv4_addr; flags timeout; timeout 2s;");
    }
    assert.equal(IDLE_TIMEOUT_S, 3_600);
  });

  test("leaves nothing in force for a packet without a count when the set is empty", () => {
    // Each rule of a base chain that is about the VIP asks for a count or for a timed set.
    for (const { family, chains } of ruleset(rulesetPlan({}, [4, 6]))) {
      for (const { name, rules: those } of chains.filter((chain) => chain.hook !== undefined)) {
        for (const rule of those.filter((each) => !each.endsWith("goto arrived")))
          assert.match(rule, /@vips|@own|(?:ttl|hoplimit) 16[56]-/, `${family} ${name}: ${rule}`);
      }
    }
  });

  test("asks the kernel whether anybody listens before a SYN is taken; then what has no connection walks on, and nothing invalid reaches our own kernel", () => {
    assert.deepEqual(rules(three, "ip", "wire"), [
      "ip ttl != 166-200 ip ttl set 200",
      "ip saddr 10.88.0.11 goto ring",
      `${SYN} ct timeout set "ended"`,
      `${SYN} tcp dport 6443 socket wildcard { 0, 1 } accept`,
      `${SYN} tcp dport 6443 goto ring`,
      "tcp flags & (syn | ack | rst) != syn ct state new goto ring",
      "tcp flags & (fin | rst) != 0 ct state { invalid, untracked } goto ring",
      "ct state invalid drop",
    ]);
  });

  test("forgets in each family after seconds what has ended, where the kernel can", () => {
    const both = { vips: [ip("10.88.0.100"), ip("fd00:88::100")] };
    for (const [family, l3] of [
      ["ip", "ip"],
      ["ip6", "ip6"],
    ] as const) {
      assert.deepEqual(table(rulesetPlan(both), family).timeouts, [
        { name: "ended", spec: `protocol tcp; l3proto ${l3}; policy = { time_wait : 5, close : 5 };` },
      ]);
    }
    const without = rulesetPlan({ ...both, wire: wirePlan({ shortConntrackTimeouts: false }) });
    assert.deepEqual(
      ruleset(without).flatMap(({ timeouts = [] }) => timeouts),
      [],
    );
    assert.doesNotMatch(JSON.stringify(ruleset(without)), /ct timeout/);
  });

  test("sends every SYN on while the own API server is DOWN, whatever still listens", () => {
    const own = rules(
      withWire({ inRing: ["n2", "n3"], acceptsNew: ["n2", "n3"], deliverTo: 8443 }),
      "ip",
      "wire",
    );
    assert.equal(own[3], `${SYN} goto ring`);
    assert.doesNotMatch(own.join("\n"), /socket/);
  });

  test("sends every SYN on while the own API server is drained, and keeps what it has", () => {
    const own = rules(withWire({ acceptsNew: ["n2", "n3"], passesOn: true }), "ip", "wire");
    assert.equal(own[3], `${SYN} goto ring`);
    assert.doesNotMatch(own.join("\n"), /socket/);
    assert.deepEqual(own.slice(4), rules(three, "ip", "wire").slice(5));
  });

  test("takes a SYN unasked where the listener is not on a wildcard address, or not at one of the VIP's ports", () => {
    for (const plan of [withWire({ listener: undefined }), withWire({ listener: 7443 })])
      assert.doesNotMatch(rules(plan, "ip", "wire").join("\n"), /== syn (?!ct timeout)/);
  });

  test("passes on to the next in the order of names, and delivers what has met as many nodes as there are", () => {
    assert.deepEqual(rules(three, "ip", "ring"), [
      "ip ttl <= 197 goto last",
      'counter name "second_chance" dup to 10.88.0.12 device "eth0"',
      "drop",
    ]);
  });

  test("skips those that are DOWN in the ring but counts them: nodes that disagree about a grade walk far enough", () => {
    const ring = rules(withWire({ inRing: ["n1", "n3"], acceptsNew: ["n1", "n3"] }), "ip", "ring");
    assert.deepEqual(ring.slice(0, 2), [
      "ip ttl <= 197 goto last",
      'counter name "second_chance" dup to 10.88.0.13 device "eth0"',
    ]);
  });

  test("goes round: each node's next is another's, all are met", () => {
    const all = [1, 2, 3].map((n) => fastPathNode(n));
    const next = all.map((self) => {
      const ring = rules(withWire({ self, peers: all.filter((node) => node !== self) }), "ip", "ring");
      return / dup to (\S+) /.exec(ring[1] ?? "")?.[1];
    });
    assert.deepEqual(next, ["10.88.0.12", "10.88.0.13", "10.88.0.11"]);
  });

  test("ends here where there is no other", () => {
    assert.deepEqual(rules(withWire({ peers: [] }), "ip", "ring"), ["goto last"]);
    assert.deepEqual(rules(withWire({ inRing: ["n1"] }), "ip", "ring"), ["goto last"]);
  });

  test("drops at its end for two seconds after the members changed, else takes a SYN and resets the rest", () => {
    assert.deepEqual(rules(three, "ip", "last"), [
      'tcp dport @settling counter name "settling" drop',
      'counter name "unknown"',
      `${SYN} accept`,
      "reject with tcp reset",
    ]);
    assert.equal(
      table(three, "ip").sets.find(({ name }) => name === "settling")?.spec,
      "type inet_service; flags timeout; timeout 2000ms;",
    );
    assert.equal(SETTLING_MS, 2_000);
  });

  test("sets the count itself where ingress does not: a client's own TTL is none", () => {
    const [first] = rules(withWire({ hasIngress: false, acceptsNew: [], deliverTo: 8443 }), "ip", "wire");
    assert.equal(first, "ip ttl != 166-200 ip ttl set 200");
  });

  test("ends before the range of the count does, however many nodes a plan has", () => {
    const many = (count: number): RulesetPlan =>
      withWire({
        peers: Array.from({ length: count }, (_, index) => ({
          ...fastPathNode(2),
          name: `n${index + 2}`,
          addresses: [ip(`10.88.1.${index + 1}`)],
        })),
      });
    for (const [peers, last] of [
      [15, 184],
      [16, 183],
      [33, 166],
      [63, 166],
      [200, 166],
    ] as const)
      assert.equal(rules(many(peers), "ip", "ring")[0], `ip ttl <= ${last} goto last`);
  });

  test("tells every node of a path's smaller MTU, once: what has been told has a count of hops, and is neither told again nor routed on", () => {
    const frag = "icmp type destination-unreachable icmp code frag-needed";
    const tooBig = `iifname "eth0" ip daddr { 10.88.0.100 } ${frag}`;
    assert.equal(rules(three, "ip", "taken").at(-1), `${frag} ip ttl != 166-199 goto tell`);
    assert.deepEqual(rules(three, "ip", "tell"), [
      "ip ttl set 200",
      'dup to 10.88.0.12 device "eth0"',
      'dup to 10.88.0.13 device "eth0"',
    ]);
    assert.equal(rules(three, "ip", "routed").at(-1), `${tooBig} ip ttl 165-198 drop`);
    assert.deepEqual(rules(withWire({ peers: [] }), "ip", "tell"), ["ip ttl set 200"]);
  });

  test("is the only way on: what came over the wire is never routed to the VIP's holder", () => {
    const routed = table(three, "ip").chains.find(({ name }) => name === "routed");
    assert.equal(routed?.hook, "type filter hook forward priority filter; policy accept;");
    assert.equal(
      routed.rules[0],
      'iifname "eth0" ip daddr { 10.88.0.100 } tcp dport { 6443, 8443 } ip ttl 165-199 drop',
    );
  });

  test("trusts no MAC address: only the network check asks for one", () => {
    for (const { family, chains } of ruleset(rulesetPlan({}, [4, 6]))) {
      for (const rule of chains.flatMap((chain) => chain.rules)) {
        if (!rule.includes(" @heard")) assert.doesNotMatch(rule, /02:00:00/, family);
      }
    }
  });
});

describe("delivery", () => {
  test("is to the node's own API server, before kube-proxy looks", () => {
    const pre = table(three, "ip").chains.find(({ name }) => name === "pre");
    assert.equal(pre?.hook, "type nat hook prerouting priority -101; policy accept;");
    assert.equal(
      pre.rules[0],
      'iifname "eth0" ip daddr { 10.88.0.100 } tcp dport { 6443, 8443 } ip ttl 166-200 dnat to 10.88.0.11:6443',
    );
  });

  test("is to the proxy while that one is DOWN", () => {
    assert.match(
      rules(withWire({ inRing: ["n2", "n3"], deliverTo: 8443 }), "ip", "pre")[0] ?? "",
      / dnat to 10\.88\.0\.11:8443$/,
    );
  });
});

describe("a node's own clients and pods", () => {
  test("go to a backend, for as long as an agent refreshes the set", () => {
    const entry = "ip daddr @own tcp dport { 6443, 8443 } goto";
    assert.equal(
      rules(three, "ip", "pre").at(-1),
      `iifname != "eth0" ${entry} pods`,
      "what comes over the wire is never an own client's",
    );
    assert.deepEqual(rules(three, "ip", "pods"), [
      'iifname "cni0" goto balance',
      'iifname "cali*" goto balance',
    ]);
    assert.deepEqual(rules(three, "ip", "out"), [`${entry} balance`]);
    assert.equal(
      table(three, "ip").sets.find(({ name }) => name === "own")?.spec,
      `type ipv4_addr; flags timeout; timeout ${OWN_TIMEOUT_S}s;`,
    );
  });

  test("are spread over all of them, counted", () => {
    assert.equal(new Set(slotsOf(rules(three, "ip", "balance")[0] ?? "")).size, 3);
    assert.deepEqual(rules(three, "ip", "own_10_88_0_12_6443"), [
      'meta l4proto tcp counter name "own_10_88_0_12_6443" dnat to 10.88.0.12:6443',
    ]);
  });

  test("of a worker come in by the pods' interfaces too, and not by any other", () => {
    const worker = rulesetPlan({ wire: undefined });
    assert.deepEqual(rules(worker, "ip", "pre"), ["ip daddr @own tcp dport { 6443, 8443 } goto pods"]);
    assert.deepEqual(rules(worker, "ip", "pods"), rules(three, "ip", "pods"));
    assert.deepEqual(rules(rulesetPlan({ podInterfaces: [] }), "ip", "pods"), []);
  });

  test("are masqueraded unless their source is this node's real address; what came in by any other interface is not", () => {
    assert.deepEqual(rules(three, "ip", "source"), [
      "fib saddr type local ip saddr != { 10.88.0.100 } accept",
      "fib saddr type local masquerade",
      'iifname "eth0" accept',
      'iifname "cni0" masquerade',
      'iifname "cali*" masquerade',
    ]);
    assert.deepEqual(rules(three, "ip", "post"), [
      "ct direction original ct original ip daddr @vips meta l4proto tcp goto source",
    ]);
  });

  test("use the wire when there is no backend", () => {
    const plan = rulesetPlan({ own: [] });
    assert.deepEqual(rules(plan, "ip", "out"), []);
    assert.equal(rules(plan, "ip", "pre").length, 1);
  });

  test("on a worker are all that there is", () => {
    assert.deepEqual(chainNames(rulesetPlan({ wire: undefined }), "ip"), [
      "own_10_88_0_11_6443",
      "own_10_88_0_12_6443",
      "own_10_88_0_13_6443",
      "balance",
      "pods",
      "pre",
      "out",
      "post",
      "source",
    ]);
    assert.deepEqual(rules(rulesetPlan({ wire: undefined }), "ip", "source"), [
      "fib saddr type local ip saddr != { 10.88.0.100 } accept",
      "fib saddr type local masquerade",
      'iifname "cni0" masquerade',
      'iifname "cali*" masquerade',
    ]);
  });
});

describe("families", () => {
  test("IPv6 has the same rules in its own words", () => {
    const plan = rulesetPlan({}, [6]);
    assert.deepEqual(
      ruleset(plan).map(({ family }) => family),
      ["netdev", "ip6"],
    );
    assert.equal(rules(plan, "netdev", "spread6")[0], "ip6 hoplimit set 200");
    assert.deepEqual(rules(plan, "netdev", "to_fd88__12"), [
      'counter name "to_fd88__12" fwd ip6 to fd88::12 device "eth0"',
    ]);
    assert.equal(
      rules(plan, "ip6", "pre")[0],
      'iifname "eth0" ip6 daddr { fd88::100 } tcp dport { 6443, 8443 } ip6 hoplimit 166-200 dnat to [fd88::11]:6443',
    );
    assert.match(
      rules(plan, "ip6", "taken").at(-1) ?? "",
      /^icmpv6 type packet-too-big ip6 hoplimit != 166-199 goto tell$/,
    );
    assert.equal(rules(plan, "ip6", "ring")[0], "ip6 hoplimit <= 197 goto last");
  });

  test("a dual-stack VIP has one ingress chain for both", () => {
    const plan = rulesetPlan({}, [4, 6]);
    assert.deepEqual(
      ruleset(plan).map(({ family }) => family),
      ["netdev", "ip", "ip6"],
    );
    assert.deepEqual(
      rules(plan, "netdev", "ingress").map((rule) => rule.split(" ")[0]),
      ["ip", "ip", "ip6", "ip6"],
    );
  });

  const half = rulesetPlan(
    { wire: wirePlan({ peers: [fastPathNode(2, [4]), fastPathNode(3, [4, 6])] }, [4, 6]) },
    [4, 6],
  );

  test("a peer without an address of a family takes no slots of it and is no part of its ring", () => {
    assert.deepEqual(
      new Set(slotsOf(rules(half, "netdev", "slots6").at(-1) ?? "")),
      new Set(["mine", "to_fd88__13"]),
    );
    assert.deepEqual(rules(half, "ip6", "ring").slice(0, 2), [
      "ip6 hoplimit <= 198 goto last",
      'counter name "second_chance" dup to fd88::13 device "eth0"',
    ]);
    assert.equal(new Set(slotsOf(rules(half, "netdev", "slots4").at(-1) ?? "")).size, 3);
  });

  test("without an own address of a family nothing is delivered in it", () => {
    const plan = rulesetPlan({ wire: wirePlan({ self: fastPathNode(1, [4]) }, [4, 6]) }, [4, 6]);
    assert.ok(!chainNames(plan, "ip6").includes("wire"));
    assert.ok(!chainNames(plan, "netdev").includes("spread6"));
    assert.deepEqual(rules(plan, "ip6", "pre"), [
      'iifname != "eth0" ip6 daddr @own tcp dport { 6443, 8443 } goto pods',
    ]);
  });
});

describe("any plan", () => {
  test("makes tables in which every reference has what it refers to, under names that nft takes", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => {
        const tables = ruleset(plan);
        assert.equal(new Set(tables.map(({ family }) => family)).size, tables.length);
        for (const { family, chains, sets, counters } of tables) {
          const names = chains.map(({ name }) => name);
          assert.equal(new Set(names).size, names.length, `${family}: two chains of one name`);
          for (const name of [...names, ...counters, ...sets.map((set) => set.name)])
            assert.match(name, /^[a-z][a-z0-9_]*$/);
          for (const rule of chains.flatMap((chain) => chain.rules)) {
            for (const [, chain = ""] of rule.matchAll(/goto (\S*?)(?=[,\s]|$)/g))
              assert.ok(names.includes(chain), `${family}: ${rule.slice(0, 200)}: no chain "${chain}"`);
            for (const [, set = ""] of rule.matchAll(/@(\w+)/g))
              assert.ok(
                sets.some(({ name }) => name === set),
                `${family}: no set ${set}`,
              );
            for (const [, counter = ""] of rule.matchAll(/counter name "([^"]*)"/g))
              assert.ok(counters.includes(counter), `${family}: no counter ${counter}`);
            assert.doesNotMatch(rule, /\{ {1,2}\}/, `${family}: an empty set in ${rule}`);
          }
          // A chain that nobody goes to has been forgotten.
          const gone = chains.flatMap((chain) => chain.rules).join("\n");
          for (const { name, hook } of chains) {
            const reachedByTakers = family === "netdev" || name === "last" || name === "ring";
            if (hook === undefined && !reachedByTakers)
              assert.match(gone, new RegExp(`goto ${name}\\b`), `${family}: nobody goes to ${name}`);
          }
        }
      }),
    );
  });

  test("keeps the counters of two API servers apart", () => {
    const targets = [
      ["10.1.1.1", 1],
      ["10.1.1.11", 1],
      ["fd00::1", 1],
      ["fd00::", 1],
      ["fd00::1:1", 1],
      ["fd00::1:1", 11],
    ] as const;
    const names = targets.map(([text, port]) => COUNTERS.own({ address: ip(text), port }));
    assert.equal(new Set(names).size, names.length);
  });
});
