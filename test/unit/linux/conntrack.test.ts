/** ctnetlink messages: the request byte for byte, entries as a kernel (6.18) gave them, and anything else. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  dumpConntrack,
  parseConntrack,
  type ConntrackEntry,
  type Tuple,
} from "../../../src/linux/conntrack.ts";
import { encodeMessage, type NetlinkMessage } from "../../../src/linux/netlink.ts";
import { parseIp, type IpAddress } from "../../../src/net.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const message = (payload: Uint8Array, type = 0x100): NetlinkMessage => ({
  type,
  flags: 2,
  sequence: 1,
  port: 0,
  payload,
});
const end = (tuple: Tuple): string =>
  `${tuple.source.text} ${tuple.sourcePort} > ${tuple.destination.text} ${tuple.destinationPort}`;
const brief = (entry: ConntrackEntry | undefined): readonly unknown[] | undefined =>
  entry && [entry.family, end(entry.original), end(entry.reply)];

const ORIGINAL_4 =
  "34000180 14000180 08000100c0000201 08000200c0000264 1c000280 0500010006000000 060002009c410000 06000300192b0000";
const REPLY_4 =
  "34000280 14000180 08000100c0000201 08000200c0000201 1c000280 0500010006000000 06000200192c0000 060003009c410000";
const OTHERS =
  "08000300000001ae 0800080000000000 08000c00ac33ea40 08000b0000000001 0800070000069 77f 30000480 2c000180 0500010003000000";
const MORE = "050002000a000000 050003000a000000 0600040023000000 0600050023000000";
const REAL_4 = ["02000000", ORIGINAL_4, REPLY_4, OTHERS, MORE];
const REAL_6 = [
  "0a000000",
  "4c000180 2c000180 1400030020010db8000000000000000000000001 1400040020010db8000000000000000000000100",
  "1c000280 0500010006000000 060002009c420000 06000300192b0000",
  "4c000280 2c000180 1400030020010db8000000000000000000000001 1400040020010db8000000000000000000000001",
  "1c000280 0500010006000000 06000200192c0000 060003009c420000",
];

describe("the request", () => {
  test("asks for TCP alone", () => {
    assert.deepEqual(
      encodeMessage(dumpConntrack(4), 1),
      hex(
        "38000000 0101 0103 01000000 00000000", // ctnetlink, CT_GET, request + dump
        "02 00 0000", // AF_INET
        "10000180 0c000280 05000100 06 000000", // CTA_TUPLE_ORIG { CTA_TUPLE_PROTO { CTA_PROTO_NUM } }
        "14001980 08000100 08000000 08000200 00000000", // CTA_FILTER: the protocol of the original tuple
      ),
    );
  });

  test("asks for one destination, where the kernel can tell", () => {
    assert.deepEqual(
      dumpConntrack(4, { address: ip("192.0.2.100"), port: 6443 }).payload,
      hex(
        "02000000",
        "24000180 0c000180 08000200 c0000264 14000280 05000100 06 000000 06000300 192b 0000",
        "14001980 08000100 2a000000 08000200 00000000",
      ),
    );
    // Linux mixes up IPv6 addresses here, so only the port is asked for.
    assert.deepEqual(
      dumpConntrack(6, { address: ip("2001:db8::100"), port: 6443 }).payload,
      hex(
        "0a000000",
        "18000180 14000280 05000100 06 000000 06000300 192b 0000",
        "14001980 08000100 28000000 08000200 00000000",
      ),
    );
  });
});

describe("an entry", () => {
  test("of IPv4 and of IPv6, translated", () => {
    assert.deepEqual(brief(parseConntrack(message(hex(...REAL_4)))), [
      4,
      "192.0.2.1 40001 > 192.0.2.100 6443",
      "192.0.2.1 6444 > 192.0.2.1 40001",
    ]);
    assert.deepEqual(brief(parseConntrack(message(hex(...REAL_6)))), [
      6,
      "2001:db8::1 40002 > 2001:db8::100 6443",
      "2001:db8::1 6444 > 2001:db8::1 40002",
    ]);
  });

  test("is looked at again for its destination", () => {
    const to = (address: string, port: number): boolean =>
      parseConntrack(message(hex(...REAL_4)), { address: ip(address), port }) !== undefined;
    assert.deepEqual(
      [to("192.0.2.100", 6443), to("192.0.2.100", 6444), to("192.0.2.101", 6443), to("2001:db8::100", 6443)],
      [true, false, false, false],
    );
  });

  test("is none when it is not TCP, has one tuple, addresses of another family, or is another message", () => {
    assert.equal(
      parseConntrack(message(hex(...REAL_4.map((part) => part.replaceAll("0500010006", "0500010011"))))),
      undefined,
    );
    assert.equal(parseConntrack(message(hex("02000000", ORIGINAL_4))), undefined);
    assert.equal(parseConntrack(message(hex("0a000000", ORIGINAL_4, REPLY_4))), undefined);
    assert.equal(
      parseConntrack(message(hex("02000000", ORIGINAL_4.replace("0800", "0700"), REPLY_4))),
      undefined,
    );
    assert.equal(parseConntrack(message(hex("11000000", ORIGINAL_4, REPLY_4))), undefined);
    assert.equal(parseConntrack(message(hex(...REAL_4), 0x102)), undefined);
    assert.equal(parseConntrack(message(hex("0200"))), undefined);
  });
});

test("arbitrary bytes, and real ones with some changed or cut off, never make the parser throw or hang", () => {
  for (const parts of [REAL_4, REAL_6]) {
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
            const entry = parseConntrack(message(payload));
            if (entry !== undefined) assert.equal(entry.reply.destination.family, entry.family);
          }
        },
      ),
      { numRuns: 1000 },
    );
  }
});
