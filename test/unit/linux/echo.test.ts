/** ICMP echo, byte for byte; the sockets themselves are tried in the lab. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { internetChecksum } from "../../../src/linux/checksum.ts";
import { echoRequest, parseReply4, parseReply6 } from "../../../src/linux/echo.ts";
import { ipFromBytes } from "../../../src/net.ts";

const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));

const REPLY4 = hex("45 00 001c 0000 4000 40 01 b6d2 c0000202 c0000201", "00 00 edc7 1234 0005");
const REPLY6 = hex("81 00 0000 1234 0005");
/** struct sockaddr_in6 of a little-endian machine, as this test runs on. */
const SENDER6 = hex("0a00 0000 00000000 20010db8000000000000000000000002 00000000");

describe("an echo request", () => {
  test("of IPv4 has its checksum", () => {
    assert.deepEqual(echoRequest(4, 0x1234, 5), hex("08 00 e5c6 1234 0005"));
    fc.assert(
      fc.property(fc.nat(0xffff), fc.nat(0xffff), (identifier, sequence) =>
        assert.equal(internetChecksum([echoRequest(4, identifier, sequence)]), 0),
      ),
    );
  });

  test("of IPv6 leaves it to the kernel", () =>
    assert.deepEqual(echoRequest(6, 0x1234, 5), hex("80 00 0000 1234 0005")));
});

describe("an echo reply", () => {
  test("of IPv4 follows the IP header, whatever its length", () => {
    assert.deepEqual(parseReply4(REPLY4), {
      from: ipFromBytes(hex("c0000202")),
      identifier: 0x1234,
      sequence: 5,
    });
    const options = hex("46 00 0020 0000 4000 40 01 0000 c0000202 c0000201 01010101", "00 00 edc7 1234 0005");
    assert.equal(parseReply4(options)?.sequence, 5);
  });

  test("of IPv6 comes with its sender", () => {
    assert.deepEqual(parseReply6(REPLY6, SENDER6), {
      from: ipFromBytes(SENDER6.slice(8, 24)),
      identifier: 0x1234,
      sequence: 5,
    });
  });

  test("is nothing else", () => {
    const change = (bytes: Uint8Array, at: number, value: number): Uint8Array =>
      bytes.map((byte, index) => (index === at ? value : byte));
    assert.equal(parseReply4(change(REPLY4, 20, 8)), undefined, "a request");
    assert.equal(parseReply4(change(REPLY4, 20, 3)), undefined, "unreachable");
    assert.equal(parseReply4(change(REPLY4, 9, 6)), undefined, "TCP");
    assert.equal(parseReply4(change(REPLY4, 0, 0x65)), undefined, "IPv6");
    assert.equal(parseReply4(change(REPLY4, 0, 0x44)), undefined, "a header too short");
    assert.equal(parseReply6(change(REPLY6, 0, 128), SENDER6), undefined, "a request");
    assert.equal(parseReply6(REPLY6, change(SENDER6, 0, 2)), undefined, "a sender of IPv4");
  });

  test("cut short or damaged is refused or read within its bounds, and never throws", () => {
    const change = fc.record({ at: fc.nat(27), to: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 6 }),
        fc.nat(28),
        fc.uint8Array({ maxLength: 80 }),
        (changes, length, noise) => {
          const packet = REPLY4.slice();
          for (const { at, to } of changes) packet[at] = to;
          for (const bytes of [packet.subarray(0, length), noise]) {
            const reply = parseReply4(bytes);
            if (reply !== undefined)
              assert.ok(bytes.length >= 28 && reply.from.family === 4 && reply.sequence <= 0xffff);
            const six = parseReply6(bytes, SENDER6);
            if (six !== undefined) assert.ok(bytes.length >= 8 && six.from.family === 6);
            parseReply6(REPLY6, bytes);
          }
        },
      ),
    );
  });
});
