/** nf_tables' messages: requests byte for byte, answers as a kernel (6.18) gave them, and anything else. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { encodeMessage, parseAttributeList, type NetlinkMessage } from "../../../src/linux/netlink.ts";
import {
  getCounters,
  getElements,
  getRules,
  getTable,
  parseCounter,
  parseKeys,
  parseRule,
  parseTable,
  renewRequests,
  type TableId,
} from "../../../src/linux/nftables.ts";

const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const message = (type: number, ...parts: readonly string[]): NetlinkMessage => ({
  type,
  flags: 2,
  sequence: 1,
  port: 0,
  payload: hex(...parts),
});

const NETDEV: TableId = { family: "netdev", name: "leasehold" };
const NAME = "0e0001006c65617365686f6c64000000";

// counter netdev leasehold here { packets 5000000000 bytes 258 }
const COUNTER = [
  "05000024",
  NAME,
  "0900020068657265 00000000",
  "08000300 00000001",
  "0c00060000000000 00000005 08000500 00000001",
  "1c000400 0c000100 0000000000000102 0c000200 000000012a05f200",
];
// add rule netdev leasehold mine counter name "here" accept
const RULE = [
  "05000024", NAME, "090002006d696e65 00000000", "0c000300 0000000000000099",
  "5c000400 28000100 0b0001006f626a72656600 00 18000200 0900020068657265 00000000 08000100 00000001",
  "30000100 0e000100696d6d656469617465000000 1c000200 08000100 00000000 10000200 0c000200 08000100 00000001",
]; // prettier-ignore
const TABLE = ["05000024", NAME, "08000300 00000011", "0c000400 0000000000000002", "08000200 00000000"];
// flows4 and heard4 with an element each, of which the first has 1 h to live
const SET4 = "0b000200 666c6f77733400 00";
const FLOW4 =
  "30000100 20000100 1c000100 02000000000900000a5800099c4000000a580064192b0000 0c000500 000000000036edf4";
const ELEMENTS4 = ["05000024", NAME, SET4, "34000300", FLOW4];
const HEARD4 = [
  "05000024",
  NAME,
  "0b000200 686561726434 0000",
  "24000300 20000100 10000100 0a000100 020000000002 0000 0c000500 000000000000af3c",
];

describe("requests", () => {
  test("name the table, so that the kernel looks at no other", () => {
    assert.deepEqual(
      encodeMessage(getCounters(NETDEV), 7),
      hex("2c000000 130a 0103 07000000 00000000", "05000000", NAME, "08000300 00000001"),
    );
    assert.deepEqual(
      encodeMessage(getRules(NETDEV), 7),
      hex("24000000 070a 0103 07000000 00000000", "05000000", NAME),
    );
    assert.deepEqual(
      encodeMessage(getTable({ family: "ip6", name: "leasehold" }), 7),
      hex("24000000 010a 0100 07000000 00000000", "0a000000", NAME),
    );
    assert.deepEqual(
      encodeMessage(getElements(NETDEV, "flows4"), 7),
      hex("30000000 0d0a 0103 07000000 00000000", "05000000", NAME, SET4),
    );
  });

  test("to put elements in again are one batch: add, delete, add", () => {
    const requests = renewRequests([
      { table: { family: "ip", name: "leasehold" }, set: "own", keys: [hex("0a580064"), hex("0a580065")] },
    ]);
    assert.deepEqual(
      requests.map(({ type, flags }) => [type, flags]),
      [
        [0x10, 1],
        [0xa0c, 0x405],
        [0xa0e, 0x5],
        [0xa0c, 0x405],
        [0x11, 1],
      ],
    );
    assert.deepEqual([requests[0]?.payload, requests[4]?.payload], [hex("0000000a"), hex("0000000a")]);
    const one = (address: string): string => `10000180 0c000180 08000100 ${address}`;
    const elements = hex("02000000", NAME, "08000200 6f776e00", "24000380", one("0a580064"), one("0a580065"));
    assert.deepEqual(
      requests.slice(1, 4).map(({ payload }) => payload),
      [elements, elements, elements],
    );
  });
});

describe("answers", () => {
  test("are read: a counter, a rule, a table, keys of elements", () => {
    assert.deepEqual(parseCounter(message(0xa12, ...COUNTER), NETDEV), {
      name: "here",
      packets: 5_000_000_000,
      bytes: 258,
    });
    assert.deepEqual(parseRule(message(0xa06, ...RULE), NETDEV), { chain: "mine", handle: 0x99n });
    assert.deepEqual(parseTable(message(0xa00, ...TABLE), NETDEV), { handle: 2n, flags: 0 });
    assert.deepEqual(parseKeys(message(0xa0c, ...ELEMENTS4), NETDEV, "flows4"), [
      hex("020000000009 0000 0a580009 9c40 0000 0a580064 192b 0000"),
    ]);
    assert.deepEqual(parseKeys(message(0xa0c, ...HEARD4), NETDEV, "heard4"), [hex("020000000002")]);
  });

  test("hold many elements in one message, and the last has none", () => {
    const many = ["05000024", NAME, SET4, "94000300", FLOW4, FLOW4, FLOW4];
    assert.equal(parseKeys(message(0xa0c, ...many), NETDEV, "flows4").length, 3);
    assert.deepEqual(parseKeys(message(0xa0c, "05000024", NAME, SET4, "04000300"), NETDEV, "flows4"), []);
  });

  test("of another table, family, set or kind are nobody's", () => {
    const counter = message(0xa12, ...COUNTER);
    assert.equal(parseCounter(counter, { family: "ip", name: "leasehold" }), undefined);
    assert.equal(parseCounter(counter, { family: "netdev", name: "lease" }), undefined);
    assert.equal(parseCounter({ ...counter, type: 0xa14 }, NETDEV), undefined);
    assert.equal(parseCounter({ ...counter, type: 0x112 }, NETDEV), undefined);
    assert.equal(
      parseCounter(message(0xa12, ...COUNTER.with(3, "08000300 00000002")), NETDEV),
      undefined,
      "a quota",
    );
    assert.equal(parseRule(message(0xa06, ...RULE), { family: "ip", name: "leasehold" }), undefined);
    assert.equal(parseTable(message(0xa00, ...TABLE), { family: "ip", name: "leasehold" }), undefined);
    assert.deepEqual(parseKeys(message(0xa0c, ...ELEMENTS4), NETDEV, "flows6"), []);
  });

  test("with numbers that are too short, or without them, are none", () => {
    assert.equal(
      parseCounter(
        message(0xa12, ...COUNTER.slice(0, 5), "14000400 0c000100 0000000000000102 04000200"),
        NETDEV,
      ),
      undefined,
    );
    assert.equal(parseCounter(message(0xa12, ...COUNTER.slice(0, 5)), NETDEV), undefined);
    assert.equal(parseRule(message(0xa06, ...RULE.with(3, "08000300 00000099")), NETDEV), undefined);
    assert.equal(parseTable(message(0xa00, ...TABLE.slice(0, 3)), NETDEV), undefined);
    assert.equal(parseTable(message(0xa00, "0500"), NETDEV), undefined);
  });
});

test("a list has the values of its type in order, and a malformed one none", () => {
  assert.deepEqual(parseAttributeList(hex("05000100 0a000000 05000200 0b000000 05000100 0c"), 1), [
    hex("0a"),
    hex("0c"),
  ]);
  assert.equal(parseAttributeList(hex("05000100 0a000000 09000100 0c"), 1), undefined);
});

test("arbitrary bytes, and real ones with some changed or cut off, never make a parser throw or hang, nor read past the message", () => {
  const kinds: readonly (readonly [number, readonly string[]])[] = [
    [0xa12, COUNTER],
    [0xa06, RULE],
    [0xa00, TABLE],
    [0xa0c, ELEMENTS4],
    [0xa0c, HEARD4],
  ];
  for (const [type, parts] of kinds) {
    const real = hex(...parts);
    const change = fc.record({ at: fc.nat({ max: real.length - 1 }), to: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 8 }),
        fc.nat({ max: real.length }),
        fc.uint8Array({ maxLength: 200 }),
        (changes, length, noise) => {
          const bytes = Uint8Array.from(real);
          for (const { at, to } of changes) bytes[at] = to;
          for (const payload of [bytes.subarray(0, length), noise]) {
            const answer: NetlinkMessage = { type, flags: 2, sequence: 1, port: 0, payload };
            const counter = parseCounter(answer, NETDEV);
            if (counter !== undefined) assert.ok(counter.packets >= 0 && counter.bytes >= 0);
            parseRule(answer, NETDEV);
            parseTable(answer, NETDEV);
            for (const set of ["flows4", "heard4"])
              for (const key of parseKeys(answer, NETDEV, set)) assert.ok(key.length <= payload.length);
          }
        },
      ),
      { numRuns: 1000 },
    );
  }
});
