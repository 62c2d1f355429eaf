/** Echo frames, byte for byte; checksums worked out by another program, and found right by tcpdump. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { echoRequestFrame, parseEchoReplyFrame } from "../../../src/linux/echo-frame.ts";
import { formatMac } from "../../../src/linux/mac.ts";
import { ipFromBytes, parseIp, type IpAddress } from "../../../src/net.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const change = (frame: Uint8Array, at: number, value: number): Uint8Array =>
  frame.map((byte, index) => (index === at ? value : byte));

const ENDS = {
  sourceMac: hex("02000000000a"),
  destinationMac: hex("02000000000b"),
  identifier: 0x1234,
  sequence: 5,
};
/** Padded to 60 bytes, as it comes over an Ethernet. */
const REPLY4 = hex(
  "02000000000a 02000000000b 0800",
  "45 00 001c 0000 0000 40 01 f67b c0000264 c0000201",
  "00 00 edc6 1234 0005",
  "00".repeat(18),
);
const REPLY6 = hex(
  "02000000000a 02000000000b 86dd",
  "60000000 0008 3a 40 20010db8000000000000000000000100 20010db8000000000000000000000001",
  "81 00 1011 1234 0005",
);

describe("an echo request", () => {
  test("of IPv4 may not be forwarded: TTL 1, and don't fragment", () => {
    assert.deepEqual(
      echoRequestFrame({ ...ENDS, source: ip("192.0.2.1"), destination: ip("192.0.2.100") }),
      hex(
        "02000000000b 02000000000a 0800",
        "45 00 001c 0000 4000 01 01 f57b c0000201 c0000264",
        "08 00 e5c6 1234 0005",
      ),
    );
  });

  test("of IPv6 has its checksum, which covers the addresses", () => {
    assert.deepEqual(
      echoRequestFrame({ ...ENDS, source: ip("2001:db8::1"), destination: ip("2001:db8::100") }),
      hex(
        "02000000000b 02000000000a 86dd",
        "60000000 0008 3a 01 20010db8000000000000000000000001 20010db8000000000000000000000100",
        "80 00 1111 1234 0005",
      ),
    );
  });

  test("needs two addresses of one family", () => {
    assert.throws(
      () => echoRequestFrame({ ...ENDS, source: ip("192.0.2.1"), destination: ip("2001:db8::100") }),
      RangeError,
    );
  });
});

describe("an echo reply", () => {
  const said = (frame: Uint8Array): string | undefined => {
    const reply = parseEchoReplyFrame(frame);
    return (
      reply &&
      `${ipFromBytes(reply.ip).text} ${formatMac(reply.sourceMac)} ${reply.identifier} ${reply.sequence}`
    );
  };

  test("tells who answered, from which MAC, what", () => {
    assert.equal(said(REPLY4), "192.0.2.100 02:00:00:00:00:0b 4660 5");
    assert.equal(said(REPLY4.subarray(0, 42)), "192.0.2.100 02:00:00:00:00:0b 4660 5");
    assert.equal(said(REPLY6), "2001:db8::100 02:00:00:00:00:0b 4660 5");
  });

  test("is nothing else", () => {
    assert.equal(
      said(echoRequestFrame({ ...ENDS, source: ip("192.0.2.1"), destination: ip("192.0.2.100") })),
      undefined,
      "a request",
    );
    assert.equal(
      said(echoRequestFrame({ ...ENDS, source: ip("2001:db8::1"), destination: ip("2001:db8::100") })),
      undefined,
      "a request",
    );
    assert.equal(said(change(REPLY4, 6, 0x03)), undefined, "from a group");
    // The header's checksum makes up for each change; "more fragments", an offset, another protocol.
    assert.equal(said(change(change(REPLY4, 20, 0x20), 24, 0xd6)), undefined, "a first fragment");
    assert.equal(said(change(change(REPLY4, 21, 0x01), 25, 0x7a)), undefined, "a later fragment");
    assert.equal(said(change(change(REPLY4, 23, 0x11), 25, 0x6b)), undefined, "UDP");
    assert.equal(
      said(change(change(REPLY4, 20, 0x40), 24, 0xb6)),
      "192.0.2.100 02:00:00:00:00:0b 4660 5",
      "don't fragment is a whole packet",
    );
    assert.equal(said(change(REPLY6, 20, 0)), undefined, "behind hop-by-hop options");
    assert.equal(said(change(REPLY6, 19, 7)), undefined, "cut short by its length");
    assert.equal(said(change(REPLY6, 19, 9)), undefined, "longer than its frame");
  });

  test("with any other bit is not believed: checksums cover the packet, but the MACs and IPv6's label and hop limit", () => {
    const uncovered = (frame: Uint8Array, at: number): boolean =>
      at < 12 || at >= 14 + 20 + 8 || (frame === REPLY6 && (at < 20 ? at > 13 && at < 18 : at === 21));
    for (const frame of [REPLY4, REPLY6.subarray(0, 42)]) {
      const whole = frame === REPLY4 ? REPLY4 : REPLY6;
      for (let at = 0; at < frame.length; at++) {
        if (!uncovered(whole, at))
          for (let bit = 0; bit < 8; bit++)
            assert.equal(
              said(change(whole, at, (whole[at] ?? 0) ^ (1 << bit))),
              undefined,
              `byte ${at}, bit ${bit}`,
            );
      }
    }
  });

  test("cut short or damaged is refused or read within its bounds, and never throws", () => {
    const damage = fc.record({ at: fc.nat(61), to: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.constantFrom(REPLY4, REPLY6),
        fc.array(damage, { maxLength: 4 }),
        fc.nat(70),
        (seed, changes, length) => {
          const frame = seed.slice(0, length);
          for (const { at, to } of changes) if (at < frame.length) frame[at] = to;
          const reply = parseEchoReplyFrame(frame);
          if (reply !== undefined)
            assert.ok(
              frame.length >= 42 && [4, 16].includes(reply.ip.length) && reply.sourceMac.length === 6,
            );
        },
      ),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) =>
        assert.equal(parseEchoReplyFrame(noise), undefined),
      ),
    );
  });
});
