import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ruleset } from "../../../src/fastpath/ruleset.ts";
import type { Table } from "../../../src/fastpath/tables.ts";
import { slotOf } from "../../support/fastpath/jhash.ts";
import { parseRules } from "../../support/fastpath/packet-walk.ts";
import { anyPlan, ip } from "../../support/fastpath/plans.ts";
import { conntrackStates, parseTable, runChain, TCP_FLAGS } from "../../support/fastpath/rule-language.ts";
import type { Packet, Passage, Verdict } from "../../support/fastpath/rule-language.ts";

function tableOf(
  rules: readonly string[],
  hook = "type filter hook prerouting priority mangle; policy accept;",
): Table {
  return {
    family: "ip",
    sets: [{ name: "settling", spec: "" }],
    counters: [],
    chains: [{ name: "chain", hook, rules }],
  };
}

const packet: Packet = {
  family: 4,
  sourceMac: "02:00:00:00:00:09",
  toOneHost: true,
  source: "10.88.0.200",
  destination: "10.88.0.100",
  hops: 64,
  payload: { kind: "tcp", port: 6443, flags: TCP_FLAGS.syn, slot: 7 },
};

function run(
  rules: readonly string[],
  of: Packet = packet,
  state = "new",
): { verdict: Verdict; passage: Passage } {
  const passage: Passage = {
    packet: of,
    interfaceIn: "eth0",
    ask: (_, answers) => answers.find((answer) => answer === state) ?? answers[0] ?? assert.fail(),
    hops: of.hops,
    copies: [],
  };
  return { verdict: runChain(parseTable(tableOf(rules)), "chain", passage), passage };
}

describe("the model of the rules", () => {
  test("knows every expression of every plan's rules", () => {
    fc.assert(
      fc.property(anyPlan, (plan) => void parseRules(ruleset(plan))),
      { numRuns: 50 },
    );
  });

  for (const rule of [
    "ip ttl > 5 drop",
    "ip frag-off & 0x1fff != 0 drop",
    "tcp option maxseg size set 1400",
    "meta mark 7 drop",
    "limit rate 10/second accept",
    "tcp flags & (syn | urg) == syn drop",
    "ct state { new, snat } drop",
    "ip saddr @blocked drop",
    "tcp dport @blocked drop",
    "reject",
    "reject with icmp type port-unreachable",
    "queue",
    "return",
    "jump ring",
    "iifname",
    "jhash ip saddr . tcp sport mod 4 seed 0x4c484f4c vmap { 0 : goto a, 1 : goto b, 2 : goto a, 3 : goto b }",
  ]) {
    test(`refuses what it does not know: ${rule.slice(0, 60)}`, () =>
      assert.throws(() => parseTable(tableOf([rule])), /the model does not know|not 1024 slots/));
  }

  test("refuses a hook that it does not know", () => {
    for (const hook of [
      "type filter hook prerouting priority raw; policy accept;",
      "type filter hook prerouting priority mangle; policy drop;",
    ])
      assert.throws(() => parseTable(tableOf([], hook)), /does not know the hook/);
  });

  test("matches as nft does: a rule's matches are all needed, the first verdict counts, the policy is to accept", () => {
    assert.equal(
      run(["tcp dport { 443 } drop", "tcp dport { 6443, 8443 } ip ttl <= 63 drop"]).verdict.kind,
      "accept",
    );
    assert.equal(run(["tcp dport 6443 ip ttl 64-70 drop", "accept"]).verdict.kind, "drop");
    assert.equal(run(["ip ttl != 64-70 drop"]).verdict.kind, "accept");
    assert.equal(
      run(["ip saddr { 10.88.0.200 } ether saddr != { 02:00:00:00:00:01 } drop"]).verdict.kind,
      "drop",
    );
    assert.equal(run(["ip6 hoplimit <= 255 drop"]).verdict.kind, "accept", "of the other family");
    assert.equal(run(["meta pkttype != host drop"], { ...packet, toOneHost: false }).verdict.kind, "drop");
    assert.equal(run(["tcp flags & (syn | ack | rst) == syn drop"]).verdict.kind, "drop");
    assert.equal(run(["tcp flags & (fin | rst) != 0 drop"]).verdict.kind, "accept");
    assert.equal(
      run(["icmp type destination-unreachable icmp code frag-needed drop"], {
        ...packet,
        payload: { kind: "too big" },
      }).verdict.kind,
      "drop",
    );
    assert.equal(run(["ct state { invalid, untracked } drop"], packet, "untracked").verdict.kind, "drop");
  });

  test("counts as the kernel does: `dup` takes one off the copy's TTL as it is then, and after 0 comes 255", () => {
    const { passage } = run([
      "ip ttl set 200",
      'dup to 10.88.0.12 device "eth0"',
      "ip ttl set 0",
      'dup to 10.88.0.13 device "eth0"',
    ]);
    assert.deepEqual(
      [passage.copies, passage.hops],
      [
        [
          { to: "10.88.0.12", hops: 199 },
          { to: "10.88.0.13", hops: 255 },
        ],
        0,
      ],
    );
  });

  test("lets conntrack say what it can say of a packet: no message makes a new connection", () => {
    assert.ok(
      conntrackStates(packet.payload).includes("new") &&
        !conntrackStates({ kind: "too big" }).includes("new"),
    );
  });

  test("has slots as there are", () => {
    const slots = Array.from({ length: 4_096 }, (_, port) => slotOf(ip("10.88.0.200"), port));
    assert.ok(slots.every((slot) => slot >= 0 && slot < 1024) && new Set(slots).size > 950);
  });
});
