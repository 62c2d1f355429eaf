/** ARP and NDP frames, byte for byte against frames worked out by hand from the RFCs. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { arpAnnouncement, arpRequest, parseArp } from "../../../src/linux/arp.ts";
import { internetChecksum } from "../../../src/linux/checksum.ts";
import { formatMac, parseMac } from "../../../src/linux/mac.ts";
import { neighbourSolicitation, parseNeighbour, unsolicitedAdvertisement } from "../../../src/linux/ndp.ts";
import { ipFromBytes, parseIp } from "../../../src/net.ts";

const MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x0a);
const bytesOf = (text: string): Uint8Array => parseIp(text)?.bytes ?? assert.fail(`${text} is no address`);
const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));

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

describe("an ARP request", () => {
  test("of a node names its sender, and no target hardware address", () => {
    const expected = hex(
      "ffffffffffff 02000000000a 0806",
      "0001 0800 06 04 0001",
      "02000000000a c0000201",
      "000000000000 c0000264",
    );
    assert.deepEqual(arpRequest(MAC, bytesOf("192.0.2.1"), bytesOf("192.0.2.100")), expected);
  });

  test("as a probe has the sender 0.0.0.0 (RFC 5227 section 2.1.1)", () => {
    const expected = hex(
      "ffffffffffff 02000000000a 0806",
      "0001 0800 06 04 0001",
      "02000000000a 00000000",
      "000000000000 c0000264",
    );
    assert.deepEqual(arpRequest(MAC, undefined, bytesOf("192.0.2.100")), expected);
  });
});

/** What a parser made of a frame, as text. */
const said = (frame: ReturnType<typeof parseArp>): string | undefined =>
  frame && `${frame.kind} ${ipFromBytes(frame.ip).text} ${formatMac(frame.mac)}`;

describe("an ARP frame", () => {
  const vip = bytesOf("192.0.2.100");
  const change = (frame: Uint8Array, at: number, ...values: readonly number[]): Uint8Array => {
    const copy = frame.slice();
    copy.set(values, at);
    return copy;
  };

  test("says where its sender is, whatever its form", () => {
    const owner = "owner 192.0.2.100 02:00:00:00:00:0a";
    assert.equal(said(parseArp(arpAnnouncement("request", MAC, vip))), owner);
    assert.equal(said(parseArp(arpAnnouncement("reply", MAC, vip))), owner);
    assert.equal(said(parseArp(arpRequest(MAC, vip, bytesOf("192.0.2.7")))), owner);
    // A unicast reply, padded to 60 bytes, as a kernel gave it.
    const reply = hex(
      "02000000000b 02000000000a 0806 0001 0800 06 04 0002",
      "02000000000a c0000264 02000000000b c0000202",
      "00".repeat(18),
    );
    assert.equal(said(parseArp(reply)), owner);
    const answers = (frame: ReturnType<typeof parseArp>): boolean => frame?.kind === "owner" && frame.reply;
    assert.ok(answers(parseArp(reply)), "a reply to one machine");
    assert.ok(!answers(parseArp(arpAnnouncement("reply", MAC, vip))), "an announcement to all");
    assert.ok(!answers(parseArp(arpRequest(MAC, vip, bytesOf("192.0.2.7")))), "a question");
  });

  test("without a sender is a probe", () => {
    assert.equal(said(parseArp(arpRequest(MAC, undefined, vip))), "probe 192.0.2.100 02:00:00:00:00:0a");
  });

  test("in another machine's name is no evidence of anything", () => {
    const sender = bytesOf("192.0.2.1");
    for (const frame of [
      arpAnnouncement("request", MAC, vip),
      arpAnnouncement("reply", MAC, vip),
      arpRequest(MAC, sender, vip),
      arpRequest(MAC, undefined, vip),
    ]) {
      assert.notEqual(parseArp(frame), undefined);
      for (let at = 6; at < 12; at++)
        assert.equal(
          parseArp(change(frame, at, (frame[at] ?? 0) ^ 4)),
          undefined,
          `byte ${at} of the source`,
        );
    }
  });

  test("is nothing else", () => {
    const announcement = arpAnnouncement("request", MAC, vip);
    assert.equal(parseArp(announcement.subarray(0, 41)), undefined, "too short");
    assert.equal(parseArp(change(announcement, 12, 0x08, 0x00)), undefined, "IPv4");
    assert.equal(parseArp(change(announcement, 14, 0, 6)), undefined, "IEEE 802 hardware");
    assert.equal(parseArp(change(announcement, 16, 0x86, 0xdd)), undefined, "another protocol");
    assert.equal(parseArp(change(announcement, 20, 0, 8)), undefined, "InARP");
    assert.equal(
      parseArp(change(announcement, 22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
      undefined,
      "a sender that is everybody",
    );
    assert.equal(parseArp(change(announcement, 22, 0, 0, 0, 0, 0, 0)), undefined, "a sender that is nobody");
    assert.equal(parseArp(change(announcement, 6, 0x03)), undefined, "a group's frame");
    assert.equal(
      parseArp(arpRequest(MAC, undefined, bytesOf("0.0.0.0"))),
      undefined,
      "a question about nothing",
    );
    assert.equal(
      parseArp(arpAnnouncement("reply", MAC, bytesOf("0.0.0.0"))),
      undefined,
      "an answer without sender",
    );
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
    const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
      fc.uint8Array({ minLength: length, maxLength: length });
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

const ALL_NODES = "ff020000000000000000000000000001";
const VIP6 = "20010db8000000000000000000000100";
const NODE6 = "20010db8000000000000000000000001";
const GROUP6 = "ff0200000000000000000001ff000100";

describe("a neighbour solicitation", () => {
  test("of a node goes to the solicited-node group and names its sender (RFC 4861 section 4.3)", () => {
    const expected = hex(
      `3333ff000100 02000000000a 86dd 60000000 0020 3a ff ${NODE6} ${GROUP6} 87 00 1a22 00000000 ${VIP6} 01 01 02000000000a`,
    );
    assert.deepEqual(neighbourSolicitation(MAC, bytesOf("2001:db8::1"), bytesOf("2001:db8::100")), expected);
  });

  test("as a probe has no sender and no option (RFC 4862 section 5.4.2)", () => {
    const expected = hex(
      `3333ff000100 02000000000a 86dd 60000000 0018 3a ff ${"00".repeat(16)} ${GROUP6} 87 00 4aef 00000000 ${VIP6}`,
    );
    assert.deepEqual(neighbourSolicitation(MAC, undefined, bytesOf("2001:db8::100")), expected);
  });
});

/** The end of the pseudo header of 32 bytes of ICMPv6 (RFC 8200 section 8.1). */
const ICMPV6_LENGTH_32 = Uint8Array.of(0, 0, 0, 32, 0, 0, 0, 58);

describe("a frame of neighbour discovery", () => {
  const OTHER = "02000000000b";
  const advertisement = (options: {
    hopLimit?: string;
    to?: string;
    checksum?: string;
    flags?: string;
    target?: string;
    option?: string;
  }): Uint8Array => {
    const {
      hopLimit = "ff",
      to = NODE6,
      checksum = "886c",
      flags = "60",
      target = VIP6,
      option = `0201${OTHER}`,
    } = options;
    const length = (24 + option.length / 2).toString(16);
    return hex(
      `02000000000a ${OTHER} 86dd 60000000 00${length} 3a ${hopLimit} ${VIP6} ${to} 88 00 ${checksum} ${flags}000000 ${target} ${option}`,
    );
  };

  test("that answers or announces says where its target is", () => {
    assert.equal(said(parseNeighbour(advertisement({}))), "owner 2001:db8::100 02:00:00:00:00:0b");
    assert.equal(
      said(parseNeighbour(advertisement({ checksum: "8c80", option: "" }))),
      "owner 2001:db8::100 02:00:00:00:00:0b",
    );
    const announced = unsolicitedAdvertisement(MAC, bytesOf("2001:db8::100"), true);
    assert.equal(said(parseNeighbour(announced)), "owner 2001:db8::100 02:00:00:00:00:0a");
  });

  test("in another machine's name is no evidence of anything", () => {
    const another = advertisement({ option: "02010200000000ff", checksum: "8778" });
    assert.equal(internetChecksum([another.subarray(22, 54), ICMPV6_LENGTH_32, another.subarray(54)]), 0);
    assert.equal(parseNeighbour(another), undefined);
    const announced = unsolicitedAdvertisement(MAC, bytesOf("2001:db8::100"), true);
    for (let at = 6; at < 12; at++) {
      const forged = announced.map((byte, index) => (index === at ? byte ^ 4 : byte));
      assert.equal(parseNeighbour(forged), undefined, `byte ${at} of the source`);
    }
  });

  test("that asks without a sender is a probe; with one it says nothing about who has the target", () => {
    assert.equal(
      said(parseNeighbour(neighbourSolicitation(MAC, undefined, bytesOf("2001:db8::100")))),
      "probe 2001:db8::100 02:00:00:00:00:0a",
    );
    assert.equal(
      parseNeighbour(neighbourSolicitation(MAC, bytesOf("2001:db8::1"), bytesOf("2001:db8::100"))),
      undefined,
    );
  });

  test("that fails the checks of RFC 4861 section 7.1 is nothing", () => {
    assert.equal(parseNeighbour(advertisement({ hopLimit: "fe" })), undefined, "came through a router");
    assert.equal(parseNeighbour(advertisement({ checksum: "886d" })), undefined, "a wrong checksum");
    assert.equal(
      parseNeighbour(advertisement({ to: ALL_NODES, checksum: "b722" })),
      undefined,
      "solicited, to a group",
    );
    assert.equal(
      parseNeighbour(advertisement({ option: `0200${OTHER}`, checksum: "886d" })),
      undefined,
      "an option of length 0",
    );
    assert.equal(
      parseNeighbour(advertisement({ target: `ff02${"0".repeat(27)}5`, checksum: "b81d" })),
      undefined,
      "a group as target",
    );
    const asked = hex(
      `3333ff000100 ${OTHER} 86dd 60000000 0020 3a ff ${"00".repeat(16)} ${GROUP6} 87 00 47db 00000000 ${VIP6} 01 01 ${OTHER}`,
    );
    assert.equal(parseNeighbour(asked), undefined, "a probe with a sender's MAC");
    const whole = advertisement({});
    for (let length = 0; length < whole.length; length++)
      assert.equal(parseNeighbour(whole.subarray(0, length)), undefined, `cut at ${length}`);
  });
});

test("a MAC address is read as it is written, and only that of one machine", () => {
  assert.equal(formatMac(parseMac("02:00:5E:10:00:ff") ?? assert.fail()), "02:00:5e:10:00:ff");
  for (const text of [
    "",
    "02:00:00:00:00",
    "02:00:00:00:00:0a:0b",
    "2:0:0:0:0:a",
    "02-00-00-00-00-0a",
    "02:00:00:00:00:0g",
    "02:00:00:00:00:0a\n",
  ]) {
    assert.equal(parseMac(text), undefined, text);
  }
  for (const text of ["ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "01:00:5e:00:00:12", "00:00:00:00:00:00"])
    assert.equal(parseMac(text), undefined, text);
  fc.assert(
    fc.property(fc.string(), (text) => assert.ok(parseMac(text) === undefined || text.length === 17)),
  );
});

test("whatever a frame contains, its parser stays within its bounds and never throws", () => {
  const seeds = [
    arpAnnouncement("reply", MAC, bytesOf("192.0.2.100")),
    unsolicitedAdvertisement(MAC, bytesOf("2001:db8::100"), false),
    neighbourSolicitation(MAC, undefined, bytesOf("2001:db8::100")),
  ];
  const change = fc.record({ at: fc.nat(85), to: fc.nat(255) });
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(change, { maxLength: 4 }),
      fc.nat(90),
      (seed, changes, length) => {
        const frame = seed.slice(0, length);
        for (const { at, to } of changes) if (at < frame.length) frame[at] = to;
        for (const parsed of [parseArp(frame), parseNeighbour(frame)]) {
          if (parsed === undefined) continue;
          assert.ok([4, 16].includes(parsed.ip.length) && parsed.mac.length === 6);
        }
      },
    ),
  );
});

test("noise is nobody's word", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      assert.equal(parseArp(noise), undefined);
      assert.equal(parseNeighbour(noise), undefined);
    }),
  );
});

test("the Internet checksum of RFC 1071's example is the complement of ddf2", () => {
  assert.equal(internetChecksum([hex("0001 f203 f4f5 f6f7")]), 0xddf2 ^ 0xffff);
});

test("the Internet checksum pads an odd last byte with zero", () => {
  assert.equal(internetChecksum([hex("0001 f2")]), internetChecksum([hex("0001 f200")]));
});
