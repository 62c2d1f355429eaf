/** ARP and NDP frames, byte for byte against frames worked out by hand from the RFCs. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { arpAnnouncement } from "../../../src/linux/arp.ts";
import { internetChecksum } from "../../../src/linux/checksum.ts";
import { unsolicitedAdvertisement } from "../../../src/linux/ndp.ts";
import { parseIp } from "../../../src/net.ts";

const MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x0a);
const bytesOf = (text: string): Uint8Array => parseIp(text)?.bytes ?? assert.fail(`${text} is no address`);
const hex = (...parts: readonly string[]): Uint8Array => Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));

describe("an ARP announcement", () => {
  test("in request form has an unknown target hardware address (RFC 5227 section 2.3)", () => {
    const expected = hex(
      "ffffffffffff 02000000000a 0806", // to everybody, from us, ARP
      "0001 0800 06 04 0001", // Ethernet, IPv4, address lengths, request
      "02000000000a c0000264", // sender: our MAC, the VIP
      "000000000000 c0000264", // target: unknown, the VIP
    );
    assert.deepEqual(arpAnnouncement("request", MAC, bytesOf("192.0.2.100")), expected);
  });

  test("in reply form names the announced pair as its target too", () => {
    const expected = hex(
      "ffffffffffff 02000000000a 0806",
      "0001 0800 06 04 0002", // reply
      "02000000000a c0000264",
      "02000000000a c0000264",
    );
    assert.deepEqual(arpAnnouncement("reply", MAC, bytesOf("192.0.2.100")), expected);
  });
});

describe("an unsolicited neighbour advertisement", () => {
  const frame = (flags: string, checksum: string): Uint8Array =>
    hex(
      "333300000001 02000000000a 86dd", // all nodes' group, from us, IPv6
      "60000000 0020 3a ff", // version 6, 32 bytes, ICMPv6, hop limit 255
      "20010db8000000000000000000000100 ff020000000000000000000000000001", // the VIP to ff02::1
      `88 00 ${checksum} ${flags}000000`, // type 136, code 0
      "20010db8000000000000000000000100", // target: the VIP
      "02 01 02000000000a", // target link-layer address, one unit of eight bytes
    );

  test("of a host overrides and is not solicited (RFC 4861 section 4.4)", () => {
    assert.deepEqual(unsolicitedAdvertisement(MAC, bytesOf("2001:db8::100"), false), frame("20", "f723"));
  });

  test("of a router says so", () => {
    assert.deepEqual(unsolicitedAdvertisement(MAC, bytesOf("2001:db8::100"), true), frame("a0", "7723"));
  });

  test("has a checksum that makes the whole sum to zero, whatever the addresses (RFC 1071)", () => {
    const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
    fc.assert(
      fc.property(bytes(6), bytes(16), fc.boolean(), (mac, ip, router) => {
        const sent = unsolicitedAdvertisement(mac, ip, router);
        const icmp = sent.subarray(14 + 40);
        const pseudo = [sent.subarray(22, 54), Uint8Array.of(0, 0, 0, icmp.length, 0, 0, 0, 58)];
        assert.equal(internetChecksum([...pseudo, icmp]), 0);
      }),
    );
  });
});

test("the Internet checksum of RFC 1071's example is the complement of ddf2", () => {
  assert.equal(internetChecksum([hex("0001 f203 f4f5 f6f7")]), 0xddf2 ^ 0xffff);
});

test("the Internet checksum pads an odd last byte with zero", () => {
  assert.equal(internetChecksum([hex("0001 f2")]), internetChecksum([hex("0001 f200")]));
});
