/** nf_tables' notifications as a kernel (6.18) gave them, gathered into transactions. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { NetlinkMessage } from "../../../src/linux/netlink.ts";
import {
  createCollector,
  parseRulesetEvent,
  type RulesetChange,
} from "../../../src/linux/nftables-monitor.ts";

const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const message = (operation: number, payload: string): NetlinkMessage => ({
  type: 0x0a00 | operation,
  flags: 0,
  sequence: 0,
  port: 14,
  payload: hex(payload),
});

const NEWTABLE = message(
  0,
  "02000005 060001007400 0000 0800030000000002 0c00040000000000 00000003 0800020000000000",
);
const NEWCHAIN = message(
  3,
  "02000005 060001007400 0000 080003006f757400 0c00020000000000 00000001 1400040008000100 0000000308000200 ffffff9c",
);
const NEWSET = message(
  9,
  "02000005 060001007400 0000 0600020073000000 0c00100000000000 00000002 0800040000000007 0800050000000004",
);
const DELTABLE_IP6 = message(2, "0a000004 0b0001006c656173656800 00 0800030000000000");
const DELSETELEM_NETDEV = message(14, "05000004 0b0001006c656173656800 00 0600020073000000");
const NEWGEN = message(15, "00000005 0800010000000005 080002000000418a 080003006e667400");

function changesOf(...batches: readonly (readonly NetlinkMessage[] | "lost")[]): readonly RulesetChange[] {
  const changes: RulesetChange[] = [];
  const collect = createCollector((change) => changes.push(change));
  for (const batch of batches) collect(batch);
  return changes;
}

describe("a change of the ruleset", () => {
  const nft = { pid: 0x418a, program: "nft", port: 14, lost: false };

  test("has the tables of everything that it made or deleted, and who did it", () => {
    assert.deepEqual(changesOf([NEWTABLE, NEWCHAIN], [NEWSET], [NEWGEN]), [
      { ...nft, tables: new Set(["ip t"]) },
    ]);
    assert.deepEqual(changesOf([DELTABLE_IP6, DELSETELEM_NETDEV, NEWGEN]), [
      { ...nft, tables: new Set(["ip6 leaseh", "netdev leaseh"]) },
    ]);
  });

  test("does not have those of the one before", () => {
    const [, second] = changesOf([NEWTABLE, NEWGEN, DELTABLE_IP6, NEWGEN]);
    assert.deepEqual(second?.tables, new Set(["ip6 leaseh"]));
  });

  test("is told at once where messages were lost, and the rest of its transaction as another", () => {
    const [lost, rest, ...more] = changesOf([NEWTABLE], "lost", [NEWGEN]);
    assert.deepEqual(lost, { pid: undefined, program: undefined, lost: true, tables: new Set(["ip t"]) });
    assert.deepEqual(rest, { ...nft, tables: new Set() });
    assert.deepEqual(more, []);
  });

  test("on an old kernel (before 4.19) does not say who", () => {
    assert.deepEqual(changesOf([message(15, "00000005 0800010000000005")]), [
      { pid: undefined, program: undefined, port: 14, lost: false, tables: new Set() },
    ]);
  });
});

test("packet traces, other subsystems and malformed messages are none", () => {
  assert.equal(parseRulesetEvent(message(17, "02000005 0600010074000000")), undefined);
  assert.equal(parseRulesetEvent({ ...NEWTABLE, type: 0x0100 }), undefined);
  assert.equal(parseRulesetEvent(message(0, "0200")), undefined);
  assert.equal(parseRulesetEvent(message(0, "02000005 0300010074")), undefined);
  assert.equal(parseRulesetEvent(message(0, "63000005 0600010074000000")), undefined);
  assert.equal(parseRulesetEvent(message(0, "02000005 0800030000000002")), undefined);
});

test("arbitrary bytes never make the parser throw or hang", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat({ max: 30 }), (payload, operation) => {
      changesOf([{ type: 0x0a00 | operation, flags: 0, sequence: 0, port: 0, payload }, NEWGEN]);
    }),
    { numRuns: 2000 },
  );
});
