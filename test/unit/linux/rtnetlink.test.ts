/**
 * Netlink messages: requests byte for byte, answers as a kernel (6.18) gave them, and anything else.
 * Hexadecimal is little endian.
 */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  LITTLE_ENDIAN,
  classifyReply,
  encodeAttribute,
  encodeCString,
  encodeMessage,
  parseAttributes,
  parseMessages,
} from "../../../src/linux/netlink.ts";
import type { NetlinkMessage } from "../../../src/linux/netlink.ts";
import {
  IFA_PROTO_LEASEHOLD,
  addAddress,
  createAddress,
  dumpAddresses,
  dumpLinks,
  getLink,
  parseAddress,
  parseLink,
  removeAddress,
  type LinkEntry,
} from "../../../src/linux/rtnetlink.ts";
import { parseIp, type IpAddress } from "../../../src/net.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);
const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const message = (type: number, payload: Uint8Array, flags = 0): NetlinkMessage => ({
  type,
  flags,
  sequence: 1,
  port: 0,
  payload,
});

const LINK: LinkEntry = {
  index: 3,
  name: "v0",
  altNames: [],
  macBytes: hex("02000000000a"),
  up: true,
  carrier: true,
  loopback: false,
  ethernet: true,
  ipv6Forwarding: false,
};

test("these fixtures are for little-endian machines, which are all that Leasehold is shipped for", () => {
  assert.equal(LITTLE_ENDIAN, true);
});

describe("a request", () => {
  test("to add an IPv4 address: /32, no prefix route, an end, our marks", () => {
    assert.deepEqual(
      encodeMessage(addAddress(LINK, ip("192.0.2.100"), 3), 7),
      hex(
        "58000000 1400 0505 07000000 00000000", // 88 bytes, RTM_NEWADDR, request + ack + create + replace, sequence 7
        "02 20 00 00 03000000", // AF_INET, /32, no flags, universe, link 3
        "0800 0200 c0000264", // IFA_LOCAL
        "0800 0100 c0000264", // IFA_ADDRESS
        "1400 0600 00000000 03000000 00000000 00000000", // IFA_CACHEINFO: preferred 0, valid 3
        "0800 0800 00020000", // IFA_FLAGS: noprefixroute
        "0500 0b00 4c 000000", // IFA_PROTO 76
        "0a00 0300 76303a6c6800 0000", // IFA_LABEL "v0:lh"
      ),
    );
  });

  test("to add an IPv6 address: /128, also without duplicate address detection, no label", () => {
    assert.deepEqual(
      encodeMessage(addAddress(LINK, ip("2001:db8::100"), 3), 7),
      hex(
        "64000000 1400 0505 07000000 00000000",
        "0a 80 00 00 03000000",
        "1400 0200 20010db8000000000000000000000100",
        "1400 0100 20010db8000000000000000000000100",
        "1400 0600 00000000 03000000 00000000 00000000",
        "0800 0800 02020000", // nodad, noprefixroute
        "0500 0b00 4c 000000",
      ),
    );
  });

  test("to create an address: the same, but what is there is not replaced", () => {
    for (const address of [ip("192.0.2.100"), ip("2001:db8::100")]) {
      const [create, refresh] = [createAddress(LINK, address, 3), addAddress(LINK, address, 3)];
      // Request, acknowledge, create; NLM_F_EXCL in place of NLM_F_REPLACE.
      assert.equal(create.flags, 0x605);
      assert.deepEqual({ ...create, flags: refresh.flags }, refresh);
    }
  });

  test("leaves out a label that would be longer than an interface's name may be", () => {
    const attributes = (name: string): ReadonlyMap<number, Uint8Array> =>
      parseAttributes(addAddress({ ...LINK, name }, ip("192.0.2.100"), 3).payload.subarray(8)) ??
      assert.fail();
    assert.equal(Buffer.from(attributes("eth0.1000000").get(3) ?? []).toString(), "eth0.1000000:lh\0");
    assert.equal(attributes("eth0.10000000").get(3), undefined);
  });

  test("to remove an address", () => {
    assert.deepEqual(
      encodeMessage(removeAddress(3, ip("192.0.2.100"), 32), 9),
      hex(
        "28000000 1500 0500 09000000 00000000",
        "02 20 00 00 03000000",
        "0800 0200 c0000264",
        "0800 0100 c0000264",
      ),
    );
  });

  test("to list addresses, to list links, for one link", () => {
    assert.deepEqual(
      encodeMessage(dumpAddresses(), 1),
      hex("18000000 1600 0103 01000000 00000000", "0000000000000000"),
    );
    assert.deepEqual(
      encodeMessage(dumpLinks(), 1),
      hex("20000000 1200 0103 01000000 00000000", "00".repeat(16)),
    );
    assert.deepEqual(
      encodeMessage(getLink("v0"), 1),
      hex("28000000 1200 0100 01000000 00000000", "00".repeat(16), "0700 0300 763000 00"),
    );
  });
});

describe("an address as the kernel reports it", () => {
  const parse = (...parts: readonly string[]): ReturnType<typeof parseAddress> =>
    parseAddress(message(20, hex(...parts)));

  test("a node's own", () => {
    assert.deepEqual(
      parse(
        "0218800003000000 08000100c0000201 08000200c0000201 08000400c00002ff 0700030076300000 0800080080000000 14000600ffffffffffffffff2247060022470600",
      ),
      {
        address: ip("192.0.2.1"),
        prefixLength: 24,
        linkIndex: 3,
        flags: 0x80,
        validSeconds: null,
        ours: false,
      },
    );
  });

  test("our IPv4 VIP", () => {
    assert.deepEqual(
      parse(
        "0220200003000000 08000100c0000264 08000200c0000264 0a00030076303a6c68000000 05000b004c000000",
        "0800080020020000 1400060000000000030000003647060036470600",
      ),
      {
        address: ip("192.0.2.100"),
        prefixLength: 32,
        linkIndex: 3,
        flags: 0x220,
        validSeconds: 3,
        ours: true,
      },
    );
  });

  test("our IPv6 VIP", () => {
    assert.deepEqual(
      parse(
        "0a80220003000000 1400010020010db8000000000000000000000100 1400060000000000030000003747060037470600 0800080022020000 05000b004c000000",
      ),
      {
        address: ip("2001:db8::100"),
        prefixLength: 128,
        linkIndex: 3,
        flags: 0x222,
        validSeconds: 3,
        ours: true,
      },
    );
  });

  test("a link-local one, marked by the kernel", () => {
    const entry = parse(
      "0a40c0fd02000000 14000100fe80000000000000009a71fffe1be83a 14000600ffffffffffffffff2247060022470600 08000800c0000000 05000b0003000000",
    );
    assert.equal(entry?.address.text, "fe80::9a:71ff:fe1b:e83a");
    assert.equal(entry?.ours, false);
  });

  test("of a point-to-point link: the local one, not the peer's", () => {
    const entry = parse("0220800003000000 08000100c0000201 08000200c0000202");
    assert.equal(entry?.address.text, "192.0.2.2");
  });

  test("on a kernel without IFA_PROTO: the label or the IPv6 signature marks ours, but only with an end", () => {
    const label = "0a00030076303a6c68000000";
    const ends = "1400060000000000030000003647060036470600";
    const never = "14000600ffffffffffffffff2247060022470600";
    const v4 = "0220200003000000 08000200c0000264";
    assert.equal(parse(v4, label, ends)?.ours, true);
    assert.equal(parse(v4, label, never)?.ours, false);
    assert.equal(parse(v4, ends)?.ours, false);
    const v6 = "0a80220003000000 1400010020010db8000000000000000000000100";
    assert.equal(parse(v6, ends, "0800080022020000")?.ours, true);
    assert.equal(parse(v6, never, "0800080022020000")?.ours, false);
    // With duplicate address detection, as DHCPv6 clients bind.
    assert.equal(parse(v6, ends, "0800080020020000")?.ours, false);
    assert.equal(parse(v6.replace("0a80", "0a40"), ends, "0800080022020000")?.ours, false);
  });

  test("on such a kernel, on an interface whose name leaves no room for the label: the flags mark ours for IPv4 too", () => {
    const label = (text: string): string =>
      Buffer.from([...encodeAttribute(3, encodeCString(text))]).toString("hex");
    const ends = "1400060000000000030000003647060036470600";
    const ours = "0800080020020000"; // deprecated, noprefixroute
    const v4 = "0220200003000000 08000200c0000264";
    assert.equal(parse(v4, label("eth0.10000000"), ends, ours)?.ours, true);
    assert.equal(
      parse(v4, label("eth0.1000000"), ends, ours)?.ours,
      false,
      "there is room, and no label: not ours",
    );
    assert.equal(
      parse(v4, label("eth0.10000000"), ends, "0800080000020000")?.ours,
      false,
      "as a DHCP client binds: not deprecated",
    );
    assert.equal(
      parse(v4.replace("022020", "021820"), label("eth0.10000000"), ends, ours)?.ours,
      false,
      "with a subnet",
    );
    assert.equal(
      parse(v4.replace("022020", "021820"), label("v0:lh"), ends, ours)?.ours,
      false,
      "with a subnet",
    );
  });

  test("our mark on what we do not bind, which another program has taken over: not ours", () => {
    const ends = "1400060000000000030000003647060036470600";
    const never = "14000600ffffffffffffffff2247060022470600";
    const mark = "05000b004c000000";
    assert.equal(parse("0220200003000000 08000200c0000264", ends, mark)?.ours, true);
    assert.equal(parse("0220200003000000 08000200c0000264", never, mark)?.ours, false);
    assert.equal(parse("0218200003000000 08000200c0000264", ends, mark)?.ours, false);
    assert.equal(parse("0a40220003000000 1400010020010db8000000000000000000000100", ends, mark)?.ours, false);
  });

  test("another program's mark is believed before ours by look", () => {
    assert.equal(
      parse(
        "0220200003000000 08000200c0000264 0a00030076303a6c68000000 1400060000000000030000003647060036470600 05000b0012000000",
      )?.ours,
      false,
    );
  });

  test("of a length that does not fit its family is none", () => {
    assert.equal(parse("0220200003000000 14000200c000026400000000c000026400000000"), undefined);
    assert.equal(parse("0a80200003000000 08000200c0000264"), undefined);
    assert.equal(parse("0221200003000000 08000200c0000264"), undefined);
    assert.equal(parse("0220200003000000"), undefined);
    assert.equal(parse("02202000"), undefined);
  });
});

describe("a link as the kernel reports it", () => {
  const name = "0700030076300000";
  const mac = "0a00010002000000000a0000";
  // IFLA_AF_SPEC { AF_INET6 { IFLA_INET6_CONF } }: forwarding first.
  const afSpec = (forwarding: string): string => `14001a80 10000a80 0c000200 ${forwarding} 40000000`;

  test("up, with carrier, MAC and IPv6 forwarding", () => {
    const parsed = parseLink(
      message(16, hex("0000010003000000 43100100 00000000", name, mac, afSpec("01000000"))),
    );
    assert.deepEqual(parsed, { ...LINK, ipv6Forwarding: true });
    assert.equal(
      parseLink(message(16, hex("0000010003000000 43100100 00000000", name, mac, afSpec("00000000"))))
        ?.ipv6Forwarding,
      false,
    );
  });

  test("up without carrier; down; loopback; without ARP; a tunnel", () => {
    const parse = (header: string, ...attributes: readonly string[]): LinkEntry =>
      parseLink(message(16, hex(header, name, ...attributes))) ?? assert.fail();
    const { up, carrier } = parse("0000010003000000 03100000 00000000", mac);
    assert.deepEqual({ up, carrier }, { up: true, carrier: false });
    assert.equal(parse("0000010003000000 02100000 00000000", mac).up, false);
    assert.equal(parse("0000040301000000 49000100 00000000", mac).loopback, true);
    assert.equal(parse("0000010003000000 c3100100 00000000", mac).ethernet, false);
    assert.equal(parse("0000feff03000000 43100100 00000000").ethernet, false);
  });
});

describe("an answer", () => {
  test("of success and of the end of a list", () => {
    assert.deepEqual(classifyReply(message(2, hex("00000000 58000000 1400 0505 07000000 00000000"))), {
      kind: "ack",
      errno: 0,
      text: undefined,
    });
    assert.deepEqual(classifyReply(message(3, hex("00000000"))), { kind: "done", errno: 0 });
    assert.deepEqual(classifyReply(message(3, hex("fcffffff"))), { kind: "done", errno: 4 });
  });

  test("of failure brings the kernel's own words", () => {
    const answer = hex(
      "9dffffff 20000000 1500 0500 07000000 00000000",
      "1c00 0100 697076343a2041646472657373206e6f7420666f756e6400",
    );
    assert.deepEqual(classifyReply(message(2, answer, 0x300)), {
      kind: "ack",
      errno: 99,
      text: "ipv4: Address not found",
    });
  });

  test("that repeats the request has its words after that", () => {
    const answer = hex(
      "9dffffff 18000000 1500 0500 07000000 00000000",
      "aaaaaaaaaaaaaaaa",
      "0700 0100 6e6f00 00",
    );
    assert.deepEqual(classifyReply(message(2, answer, 0x200)), { kind: "ack", errno: 99, text: "no" });
  });

  test("that is cut short is malformed", () => {
    assert.deepEqual(classifyReply(message(2, hex("00000000 5800"))), { kind: "malformed" });
  });
});

describe("arbitrary bytes", () => {
  test("never make a parser throw, hang or read beyond their end", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 256 }),
        fc.constantFrom(2, 3, 16, 20),
        fc.nat({ max: 0xffff }),
        (bytes, type, flags) => {
          for (const parsed of parseMessages(bytes) ?? [])
            assert.ok(parsed.payload.length <= bytes.length - 16);
          parseAttributes(bytes);
          const made = message(type, bytes, flags);
          parseAddress(made);
          parseLink(made);
          classifyReply(made);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("nor do real messages with some bytes changed or cut off", () => {
    const real = encodeMessage(
      {
        type: 20,
        flags: 2,
        payload: hex(
          "0220200003000000 08000100c0000264 08000200c0000264 0a00030076303a6c68000000 1400060000000000030000003647060036470600",
        ),
      },
      1,
    );
    const change = fc.record({ at: fc.nat({ max: real.length - 1 }), to: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 6 }), fc.nat({ max: real.length }), (changes, length) => {
        const bytes = Uint8Array.from(real);
        for (const { at, to } of changes) bytes[at] = to;
        for (const parsed of parseMessages(bytes.subarray(0, length)) ?? []) {
          parseAddress(parsed);
          parseLink({ ...parsed, type: 16 });
          classifyReply({ ...parsed, type: 2, flags: 0x200 });
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("attributes and messages come back as they were made", () => {
    const values = fc.uniqueArray(
      fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 40 })),
      { selector: ([type]) => type },
    );
    fc.assert(
      fc.property(values, (pairs) => {
        const payload = Uint8Array.from(pairs.flatMap(([type, value]) => [...encodeAttribute(type, value)]));
        const [parsed, ...more] = parseMessages(encodeMessage({ type: 20, flags: 5, payload }, 77)) ?? [];
        assert.deepEqual(more, []);
        assert.ok(parsed);
        assert.deepEqual(
          { type: parsed.type, flags: parsed.flags, sequence: parsed.sequence },
          { type: 20, flags: 5, sequence: 77 },
        );
        assert.deepEqual(parseAttributes(parsed.payload), new Map(pairs));
      }),
    );
  });
});

test("the mark is none of the kernel's own and not keepalived's", () => {
  assert.ok(![0, 1, 2, 3, 18].includes(IFA_PROTO_LEASEHOLD));
});
