/**
 * TCP and UDP frames, byte for byte against frames worked out from the RFCs, their checksums by another
 * program.
 */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { internetChecksum } from "../../../src/linux/checksum.ts";
import { strayAck, udpFrame, type FrameEnds } from "../../../src/linux/tcp-frame.ts";
import { ipFromBytes, parseIp, type IpAddress } from "../../../src/net.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const MACS = { sourceMac: hex("02000000000a"), destinationMac: hex("02000000000b") };
const V4: FrameEnds = {
  ...MACS,
  source: ip("192.0.2.100"),
  destination: ip("192.0.2.2"),
  sourcePort: 6443,
  destinationPort: 40001,
};
const V6: FrameEnds = { ...V4, source: ip("2001:db8::100"), destination: ip("2001:db8::2") };

describe("a stray ACK", () => {
  test("of IPv4", () => {
    assert.deepEqual(
      strayAck(V4),
      hex(
        "02000000000b 02000000000a 0800",
        "45 00 0028 0000 4000 40 06 b669 c0000264 c0000202", // 40 bytes, don't fragment, TTL 64, TCP
        "192b 9c41 00000000 00000000 50 10 ffff 7601 0000", // ports, numbers 0, five words, ACK, window, checksum, no urgent data
      ),
    );
  });

  test("of IPv6", () => {
    assert.deepEqual(
      strayAck(V6),
      hex(
        "02000000000b 02000000000a 86dd",
        "60000000 0014 06 40 20010db8000000000000000000000100 20010db8000000000000000000000002",
        "192b 9c41 00000000 00000000 50 10 ffff 9df4 0000",
      ),
    );
  });

  test("needs two addresses of one family", () => {
    assert.throws(() => strayAck({ ...V4, destination: V6.destination }), RangeError);
  });
});

describe("a UDP packet", () => {
  test("has its payload after its header", () => {
    assert.deepEqual(
      udpFrame({ ...V4, payload: hex("616263") }),
      hex(
        "02000000000b 02000000000a 0800",
        "45 00 001f 0000 4000 40 11 b667 c0000264 c0000202",
        "192b 9c41 000b 01a2 616263",
      ),
    );
  });

  test("whose checksum comes out as 0 says ffff (RFC 768)", () => {
    const checksum = (payload: Uint8Array): Uint8Array => udpFrame({ ...V4, payload }).subarray(40, 42);
    // What a payload of zeroes lacks makes the sum full.
    assert.deepEqual(checksum(checksum(hex("0000"))), hex("ffff"));
  });

  test("longer than a packet can be is refused", () => {
    assert.equal(udpFrame({ ...V4, payload: new Uint8Array(65507) }).length, 14 + 65535);
    assert.throws(() => udpFrame({ ...V4, payload: new Uint8Array(65508) }), RangeError);
  });
});

test("every checksum makes its whole sum to zero, whatever is in the packet (RFC 1071)", () => {
  const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
    fc.uint8Array({ minLength: length, maxLength: length });
  const port = fc.nat({ max: 0xffff });
  const pair = fc.constantFrom(4, 16).chain((length) => fc.tuple(bytes(length), bytes(length)));
  fc.assert(
    fc.property(
      pair,
      port,
      port,
      fc.uint8Array({ maxLength: 99 }),
      ([source, destination], sourcePort, destinationPort, payload) => {
        const ends = {
          ...MACS,
          source: ipFromBytes(source),
          destination: ipFromBytes(destination),
          sourcePort,
          destinationPort,
        };
        for (const [frame, protocol] of [
          [strayAck(ends), 6],
          [udpFrame({ ...ends, payload }), 17],
        ] as const) {
          const header = source.length === 4 ? 20 : 40;
          if (header === 20) assert.equal(internetChecksum([frame.subarray(14, 34)]), 0);
          const segment = frame.subarray(14 + header);
          const pseudo = [source, destination, Uint8Array.of(0, protocol, 0, segment.length)];
          assert.equal(internetChecksum([...pseudo, segment]), 0);
        }
      },
    ),
  );
});
