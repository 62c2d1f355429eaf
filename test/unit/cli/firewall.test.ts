/** What rules do with a packet, by texts that nft 1.0.6 has written for them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge, makerOf, parseRuleset } from "../../../src/cli/firewall.ts";
import type { Packet } from "../../../src/cli/firewall.ts";
import { firewallVerdicts } from "../../../src/cli/firewall-needs.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { parseIp } from "../../../src/net.ts";

const API: Packet = {
  family: 4,
  interface: "eth0",
  protocol: "tcp",
  source: undefined,
  destination: "192.0.2.11",
  port: 6443,
};
const API6: Packet = { ...API, family: 6, destination: "2001:db8::11" };
const ECHO: Packet = { ...API, protocol: "icmp", source: "192.0.2.12", port: undefined };

interface ChainText {
  readonly family?: string;
  readonly table?: string;
  readonly name: string;
  readonly hook?: string;
  readonly type?: string;
  readonly policy?: string;
  readonly rules?: readonly (readonly object[])[];
}

let handles = 10;

/** What `nft --json list ruleset` writes for these chains. */
function ruleset(chains: readonly ChainText[], sets: readonly object[] = []): string {
  const items = chains.flatMap(
    ({ family = "inet", table = "filter", name, hook, type, policy, rules = [] }) => [
      {
        chain: {
          family,
          table,
          name,
          handle: 1,
          ...(hook === undefined
            ? {}
            : { type: type ?? "filter", hook, prio: 0, policy: policy ?? "accept" }),
        },
      },
      ...rules.map((expr) => ({ rule: { family, table, chain: name, handle: handles++, expr } })),
    ],
  );
  return JSON.stringify({ nftables: [{ metainfo: { version: "1.0.6" } }, ...sets, ...items] });
}

const input = (rules: readonly (readonly object[])[], policy = "drop"): string =>
  ruleset([{ name: "input", hook: "input", policy, rules }]);
const match = (left: object, right: unknown, op = "=="): object => ({ match: { op, left, right } });
const meta = (key: string): object => ({ meta: { key } });
const payload = (protocol: string, field: string): object => ({ payload: { protocol, field } });
const ACCEPT = { accept: null };
const DROP = { drop: null };
const COUNTER = { counter: { packets: 3, bytes: 180 } };
const state = (...states: readonly string[]): object => match({ ct: { key: "state" } }, states, "in");
const dport = (right: unknown): object => match(payload("tcp", "dport"), right);

function verdict(text: string, packet = API): string {
  const passing = judge(parseRuleset(text), packet);
  return passing.kind === "unsure"
    ? `unsure: ${passing.unless.replace(/^rule \d+/, "rule N")}`
    : passing.kind;
}

describe("a firewall", () => {
  const CASES: readonly (readonly [string, string, Packet, string])[] = [
    ["without rules", JSON.stringify({ nftables: [] }), API, "passes"],
    [
      "with a lookup of which nft tells no flags",
      input([[match({ fib: { result: "type" } }, "local"), ACCEPT]]),
      API,
      "unsure: rule N of chain input in table inet filter",
    ],
    [
      "with a prefix that has no whole length",
      input([[match(payload("ip", "daddr"), { prefix: { addr: "192.0.2.0", len: 24.5 } }), ACCEPT]]),
      API,
      "unsure: rule N of chain input in table inet filter",
    ],
    ["that accepts by default", input([], "accept"), API, "passes"],
    ["that drops by default", input([[state("established", "related"), ACCEPT]]), API, "dropped"],
    ["that accepts the port", input([[dport(6443), COUNTER, ACCEPT]]), API, "passes"],
    ["that accepts another port", input([[dport(22), ACCEPT]]), API, "dropped"],
    ["that accepts a set of ports", input([[dport({ set: [22, 6443] }), ACCEPT]]), API, "passes"],
    [
      "that accepts a range of ports in a set",
      input([[dport({ set: [22, { range: [6440, 6450] }] }), ACCEPT]]),
      API,
      "passes",
    ],
    ["that accepts a range of ports", input([[dport({ range: [30000, 32767] }), ACCEPT]]), API, "dropped"],
    ["that drops the port", input([[dport(6443), DROP]], "accept"), API, "dropped"],
    [
      "that rejects the port",
      input([[dport(6443), { reject: { type: "tcp reset" } }]], "accept"),
      API,
      "dropped",
    ],
    [
      "that drops other ports",
      input([[match(payload("tcp", "dport"), 6443, "!="), DROP]], "accept"),
      API,
      "passes",
    ],
    [
      "that drops low ports",
      input([[match(payload("tcp", "dport"), 1024, "<"), DROP]], "accept"),
      API,
      "passes",
    ],
    ["that accepts new connections", input([[state("new"), ACCEPT]]), API, "passes"],
    ["that accepts the interface", input([[match(meta("iifname"), "eth0"), ACCEPT]]), API, "passes"],
    ["that accepts some interfaces", input([[match(meta("iifname"), "eth*"), ACCEPT]]), API, "passes"],
    ["that accepts the loopback", input([[match(meta("iif"), "lo"), ACCEPT]]), API, "dropped"],
    [
      "that accepts some clients",
      input([[match(payload("ip", "saddr"), { prefix: { addr: "192.0.2.0", len: 24 } }), ACCEPT]]),
      API,
      "unsure: rule N of chain input in table inet filter",
    ],
    [
      "that accepts the nodes",
      input([[match(payload("ip", "saddr"), { prefix: { addr: "192.0.2.0", len: 24 } }), ACCEPT]]),
      ECHO,
      "passes",
    ],
    [
      "that blocks some clients",
      input([[match(payload("ip", "saddr"), "@blocked"), DROP]], "accept"),
      API,
      "passes",
    ],
    [
      "that accepts by a verdict map of states",
      input([
        [
          {
            vmap: {
              key: { ct: { key: "state" } },
              data: {
                set: [
                  ["established", ACCEPT],
                  ["invalid", DROP],
                  ["new", ACCEPT],
                ],
              },
            },
          },
        ],
      ]),
      API,
      "passes",
    ],
    [
      "whose verdict map drops the port",
      input(
        [
          [
            {
              vmap: {
                key: payload("tcp", "dport"),
                data: {
                  set: [
                    [22, ACCEPT],
                    [6443, DROP],
                  ],
                },
              },
            },
          ],
        ],
        "accept",
      ),
      API,
      "dropped",
    ],
    [
      "that accepts in a chain of its own",
      ruleset([
        { name: "input", hook: "input", policy: "drop", rules: [[{ jump: { target: "services" } }], [DROP]] },
        { name: "services", rules: [[dport(6443), ACCEPT]] },
      ]),
      API,
      "passes",
    ],
    [
      "that comes back from a chain",
      ruleset([
        {
          name: "input",
          hook: "input",
          policy: "drop",
          rules: [[{ jump: { target: "services" } }], [dport(6443), ACCEPT]],
        },
        { name: "services", rules: [[dport(6443), { return: null }], [DROP]] },
      ]),
      API,
      "passes",
    ],
    [
      "that does not come back from goto",
      ruleset([
        {
          name: "input",
          hook: "input",
          policy: "drop",
          rules: [[{ goto: { target: "services" } }], [dport(6443), ACCEPT]],
        },
        { name: "services", rules: [[dport(22), ACCEPT]] },
      ]),
      API,
      "dropped",
    ],
    [
      "of two tables, of which one drops",
      ruleset([
        { table: "a", name: "input", hook: "input", rules: [[dport(6443), ACCEPT]] },
        { table: "b", name: "input", hook: "input", policy: "drop" },
      ]),
      API,
      "dropped",
    ],
    [
      "of the other family",
      ruleset([{ family: "ip6", name: "input", hook: "input", policy: "drop" }]),
      API,
      "passes",
    ],
    [
      "for IPv6",
      ruleset([
        { family: "ip6", name: "input", hook: "input", policy: "drop", rules: [[dport(6443), ACCEPT]] },
      ]),
      API6,
      "passes",
    ],
    ["that accepts IPv4 alone", input([[match(meta("nfproto"), "ipv4"), ACCEPT]]), API6, "dropped"],
    [
      "that drops before routing",
      ruleset([{ name: "raw", hook: "prerouting", rules: [[dport(6443), DROP]] }]),
      API,
      "dropped",
    ],
    [
      "that drops what is forwarded",
      ruleset([{ name: "forward", hook: "forward", policy: "drop" }]),
      API,
      "passes",
    ],
    [
      "that accepts echoes",
      input([[match(payload("icmp", "type"), "echo-request"), ACCEPT]]),
      ECHO,
      "passes",
    ],
    ["that accepts all ICMP", input([[match(meta("l4proto"), "icmp"), ACCEPT]]), ECHO, "passes"],
    ["that accepts TCP alone", input([[match(meta("l4proto"), "tcp"), ACCEPT]]), ECHO, "dropped"],
    [
      "of iptables with a match that nft cannot show",
      input([[match(meta("l4proto"), "tcp"), { xt: { type: "match", name: "multiport" } }, COUNTER, ACCEPT]]),
      API,
      "unsure: rule N of chain input in table inet filter",
    ],
    [
      "of iptables that accepts what is established",
      input([
        [{ xt: { type: "match", name: "conntrack" } }, COUNTER, ACCEPT],
        [{ xt: { type: "match", name: "conntrack" } }, COUNTER, DROP],
        [dport(22), ACCEPT],
      ]),
      API,
      "dropped",
    ],
    [
      "of iptables that accepts new connections to the port",
      input([[dport(6443), { xt: { type: "match", name: "conntrack" } }, COUNTER, ACCEPT]]),
      API,
      "passes",
    ],
    [
      "of iptables that drops by a match that nft cannot show",
      input([[{ xt: { type: "match", name: "recent" } }, DROP]], "accept"),
      API,
      "passes",
    ],
    [
      "of iptables with a comment",
      input([[dport(6443), { xt: { type: "match", name: "comment" } }, ACCEPT]]),
      API,
      "passes",
    ],
    [
      "of iptables that logs and rejects",
      input(
        [[{ xt: { type: "target", name: "LOG" } }], [{ xt: { type: "target", name: "REJECT" } }]],
        "accept",
      ),
      API,
      "dropped",
    ],
    ["that accepts up to a limit", input([[{ limit: { rate: 3, per: "minute" } }, ACCEPT]]), API, "passes"],
    ["that drops over a limit", input([[{ limit: { rate: 3, inv: true } }, DROP]], "accept"), API, "passes"],
    ["that asks a program", input([[dport(6443), { queue: { num: 0 } }]]), API, "dropped"],
    [
      "that accepts what is sent to this machine",
      input([[match({ fib: { result: "type", flags: ["daddr"] } }, "local"), ACCEPT]]),
      API,
      "passes",
    ],
    [
      "that accepts an address with a port",
      input([
        [
          match(
            { concat: [payload("ip", "daddr"), payload("tcp", "dport")] },
            { set: [{ concat: ["192.0.2.11", 6443] }] },
          ),
          ACCEPT,
        ],
      ]),
      API,
      "passes",
    ],
  ];
  for (const [what, text, packet, expected] of CASES)
    test(`${what}: ${expected.replace(/:.*/, "")}`, () => {
      // A rule that asks a program may accept.
      const right =
        what === "that asks a program" ? "unsure: rule N of chain input in table inet filter" : expected;
      assert.equal(verdict(text, packet), right);
    });

  test("with a named set accepts its elements, also those with a time-out", () => {
    const set = (elem: readonly unknown[]): object => ({
      set: { family: "inet", table: "filter", name: "open", type: "inet_service", handle: 2, elem },
    });
    const chain = { name: "input", hook: "input", policy: "drop", rules: [[dport("@open"), ACCEPT]] };
    assert.equal(verdict(ruleset([chain], [set([22, { elem: { val: 6443, timeout: 60 } }])])), "passes");
    assert.equal(verdict(ruleset([chain], [set([22])])), "dropped");
  });

  test("names what drops: the rule, or the policy", () => {
    const rules = parseRuleset(input([[dport(22), ACCEPT]]));
    assert.deepEqual(judge(rules, API), {
      kind: "dropped",
      by: "the policy of chain input in table inet filter",
    });
    const dropping = judge(parseRuleset(input([[dport(6443), DROP]], "accept")), API);
    assert.match(
      dropping.kind === "dropped" ? dropping.by : "",
      /^rule \d+ of chain input in table inet filter$/,
    );
  });

  test("is never the agent's own table", () => {
    assert.equal(
      verdict(ruleset([{ family: "ip", table: "leasehold", name: "x", hook: "prerouting", policy: "drop" }])),
      "passes",
    );
  });

  test("that jumps in circles, or is no rules at all, is refused", () => {
    const circle = ruleset([
      { name: "input", hook: "input", rules: [[{ jump: { target: "a" } }]] },
      { name: "a", rules: [[{ jump: { target: "a" } }]] },
    ]);
    assert.throws(() => verdict(circle), /too many/);
    for (const text of ["", "[]", "{}", '{"nftables": 1}']) assert.throws(() => parseRuleset(text));
  });

  test("says who made it", () => {
    const made = (table: string, name: string): string | null =>
      makerOf(parseRuleset(ruleset([{ table, name, hook: "input" }])));
    assert.equal(made("firewalld", "filter_INPUT"), "firewalld");
    assert.equal(made("filter", "ufw-user-input"), "ufw");
    assert.equal(made("filter", "cali-INPUT"), "Calico");
    assert.equal(made("filter", "input"), null);
  });
});

describe("what has to come in, by the settings", () => {
  const PEERS = [
    { node: "n2", ip: "192.0.2.12" },
    { node: "n3", ip: "192.0.2.13" },
  ];
  const wall = parseRuleset(input([[match(payload("ip", "saddr"), "192.0.2.12"), ACCEPT]]));
  function dropped(env: Readonly<Record<string, string>>, peers = PEERS): readonly string[] {
    const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10", ...env }, "n1");
    assert.ok(parsed.kind === "ok");
    const own = (family: 4 | 6) => (family === 4 ? parseIp("192.0.2.11") : undefined);
    return firewallVerdicts(wall, parsed.config, { interface: "eth0", own, peers }).flatMap(
      ({ what, passing, isNeeded }) =>
        passing.kind === "passes" ? [] : [`${what}${isNeeded ? "" : " (optional)"}: ${passing.kind}`],
    );
  }

  test("is the API, the balancer, and the other nodes' agents, each by its address", () => {
    assert.deepEqual(dropped({}), [
      "TCP from clients to 192.0.2.11:6443: unsure",
      "TCP from clients to 192.0.2.11:8443: unsure",
      "TCP from n3 to 192.0.2.11:10085: dropped",
    ]);
  });

  test("is every port under its own setting", () => {
    const env = {
      LEASEHOLD_BACKEND_PORT: "7443",
      LEASEHOLD_BALANCER_PORT: "9443",
      LEASEHOLD_VIP_PORTS: "6443",
      LEASEHOLD_PEER_PORT: "10099",
      LEASEHOLD_OPS_ADDRESS: "0.0.0.0:10091",
      LEASEHOLD_NODE_IP: "192.0.2.111",
    };
    assert.deepEqual(dropped(env), [
      "TCP from clients to 192.0.2.11:7443: unsure",
      "TCP from clients to 192.0.2.11:9443: unsure",
      "TCP from n3 to 192.0.2.111:10099: dropped",
      "TCP from other machines (LEASEHOLD_OPS_ADDRESS) to 192.0.2.11:10091 (optional): unsure",
    ]);
  });

  test("is no port that is off, and the other nodes' before any of them is known", () => {
    assert.ok(!dropped({ LEASEHOLD_PEER_PORT: "off" }).some((text) => text.includes("10085")));
    assert.deepEqual(dropped({}, []).slice(2), [
      "TCP from the other nodes to 192.0.2.11:10085: unsure",
      "ICMP echo requests to 192.0.2.10 (optional): unsure",
    ]);
  });
});
