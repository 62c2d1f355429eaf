import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import fc from "fast-check";
import { parseFlow } from "../../../src/balancer/fastpath/nft.ts";
import { readPeers, writePeers } from "../../../src/balancer/fastpath/remembered-peers.ts";
import { missingRequirements } from "../../../src/balancer/fastpath/requirements.ts";
import { fastPathStatus } from "../../../src/balancer/fastpath/status.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Logger } from "../../../src/log.ts";
import { fastPathNode, macOf, rulesetPlan, VIP4, VIP6, wirePlan } from "../../support/fastpath/plans.ts";
import { peer } from "./facts.ts";

describe("a flow's key", () => {
  const key4 = "020000000009 0000 0a580009 9c40 0000 0a580064 192b 0000";
  const key6 = "020000000009 0000 fd880000000000000000000000000009 9c40 0000 fd880000000000000000000000000100 192b 0000";
  const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));

  test("is read as the kernel has it", () => {
    assert.deepEqual(parseFlow(4, hex(key4)), { mac: "02:00:00:00:00:09", client: "10.88.0.9", clientPort: 40000, vip: "10.88.0.100", vipPort: 6443 });
    assert.deepEqual(parseFlow(6, hex(key6)), { mac: "02:00:00:00:00:09", client: "fd88::9", clientPort: 40000, vip: "fd88::100", vipPort: 6443 });
  });

  test("of another length is none, and none makes the parser throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom<4 | 6>(4, 6), (key, family) => {
        assert.equal(parseFlow(family, key) !== undefined, key.length === (family === 4 ? 24 : 48));
      }),
    );
  });
});

describe("remembered peers", () => {
  function place(t: TestContext): { path: string; log: Logger; warnings: string[] } {
    const directory = mkdtempSync(join(tmpdir(), "leasehold-peers-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const warnings: string[] = [];
    return { path: join(directory, "state", "peers.json"), warnings, log: { ...silentLogger, warn: (_, message) => void warnings.push(message) } };
  }

  test("come back as they were, and of their agents nothing is known", (t) => {
    const { path, log, warnings } = place(t);
    writePeers(path, [peer(2), peer(3)], log);
    assert.deepEqual(readPeers(path, log), [peer(2, { fresh: false, said: "" }), peer(3, { fresh: false, said: "" })]);
    assert.deepEqual(warnings, []);
  });

  test("are none, silently, where there is no file, and an empty list does not empty it", (t) => {
    const { path, log, warnings } = place(t);
    assert.deepEqual(readPeers(path, log), []);
    writePeers(path, [peer(2)], log);
    writePeers(path, [], log);
    assert.equal(readPeers(path, log).length, 1);
    assert.deepEqual(warnings, []);
  });

  test("are ignored with a warning when the file is damaged: it is a part of rules", (t) => {
    const { path, log, warnings } = place(t);
    writePeers(path, [peer(2), peer(3)], log);
    const text = readFileSync(path, "utf8");
    const damaged = [
      "", "{}", "[]", text.slice(0, 30), text.replace('"version":1', '"version":2'), text.replace('"node":"n2"', '"node":2'),
      text.replace(macOf(2), "02:00"), text.replace(macOf(2), "02:00:00:00:00:02 } accept; #"), text.replace("10.88.0.12", "10.88.0.300"),
      text.replace('{"node"', 'null,{"node"'),
    ];
    for (const [i, content] of damaged.entries()) {
      writeFileSync(path, content);
      assert.deepEqual(readPeers(path, log), [], content);
      assert.equal(warnings.length, i + 1, content);
    }
  });
});

describe("requirements", () => {
  const files = (present: Readonly<Record<string, string>>) => (file: string): string | undefined => present[file];
  const LOOSE = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose";
  const FORWARD = "/proc/sys/net/ipv4/ip_forward";
  const BOND = "/sys/class/net/bond0/bonding/mode";

  test("are met where the files say so, or do not exist", () => {
    assert.deepEqual(missingRequirements("bond0", [VIP4], files({ [LOOSE]: "1", [FORWARD]: "1", [BOND]: "802.3ad 4" })), []);
    assert.deepEqual(missingRequirements("eth0", [VIP4], files({})), []);
  });

  test("are named with what to do, all at once", () => {
    assert.deepEqual(missingRequirements("bond0", [VIP4], files({ [LOOSE]: "0", [FORWARD]: "0", [BOND]: "balance-alb 6" })), [
      "net.netfilter.nf_conntrack_tcp_loose is 0, set it to 1",
      "net.ipv4.ip_forward is 0, set it to 1",
      "bond0 is a bond in mode balance-alb, which sends from several MAC addresses; use active-backup or 802.3ad",
    ]);
    assert.match(missingRequirements("bond0", [VIP4], files({ [BOND]: "balance-tlb 5" })).join(), /balance-tlb/);
  });

  test("of IPv6 are not those of IPv4", () => assert.deepEqual(missingRequirements("eth0", [VIP6], files({ [FORWARD]: "0" })), []));
});

describe("the status", () => {
  const input = {
    mode: { kind: "fast-path" }, restored: 2, ports: [6443], unheard: new Set([macOf(3)]), told: { kicked: 5, destroyed: 6 },
    plan: rulesetPlan({ wire: wirePlan({ takers: ["n1", "n2"], walkable: ["n1", "n2"], peers: [fastPathNode(2, [4, 6]), fastPathNode(3)] }) }),
    counters: [
      { family: "netdev", name: "here", packets: 1, bytes: 10 },
      { family: "netdev", name: "to_10_88_0_12", packets: 2, bytes: 20 },
      { family: "netdev", name: "to_fd88__12", packets: 4, bytes: 40 },
      { family: "ip", name: "second_chance", packets: 3, bytes: 0 },
      { family: "ip6", name: "second_chance", packets: 4, bytes: 0 },
      { family: "ip", name: "unknown", packets: 8, bytes: 0 },
      { family: "ip", name: "settling", packets: 9, bytes: 0 },
      { family: "ip", name: "own_10_88_0_12_6443", packets: 11, bytes: 0 },
    ],
  } as const;

  test("tells of each node what goes there, both families together", () => {
    const { nodes } = fastPathStatus(input);
    assert.deepEqual(nodes.map(({ node, packets, bytes, walkable, unheard }) => [node, packets, bytes, walkable, unheard]), [
      ["n1", 1, 10, true, false], ["n2", 6, 60, true, false], ["n3", 0, 0, false, true],
    ]);
    const [here = 0, there = 0, none] = nodes.map(({ slots }) => slots);
    assert.ok(here > 0 && there > 0 && none === 0 && here + there === 1024);
  });

  test("adds up what both families counted", () => {
    const { secondChances, unknown, settling, kicked, destroyed, restored, own, reason } = fastPathStatus(input);
    assert.deepEqual({ secondChances, unknown, settling, kicked, destroyed, restored, reason }, { secondChances: 7, unknown: 8, settling: 9, kicked: 5, destroyed: 6, restored: 2, reason: "" });
    assert.deepEqual(own, [{ backend: "10.88.0.11:6443", connections: 0 }, { backend: "10.88.0.12:6443", connections: 11 }, { backend: "10.88.0.13:6443", connections: 0 }]);
  });

  test("says why it is not the fast path, and knows no nodes before there is a plan", () => {
    const { reason, nodes, own } = fastPathStatus({ ...input, mode: { kind: "off", reason: "no nft" }, plan: undefined });
    assert.deepEqual([reason, nodes, own], ["no nft", [], []]);
  });
});
