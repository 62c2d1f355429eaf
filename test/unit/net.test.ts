import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isHostOf, isLoopback, isMachineAddress, parseIp, samePrefix } from "../../src/net.ts";

describe("parsing an address", () => {
  for (const [text, bytes] of [
    ["0.0.0.0", [0, 0, 0, 0]],
    ["192.0.2.10", [192, 0, 2, 10]],
    ["255.255.255.255", [255, 255, 255, 255]],
  ] as const) {
    test(`${text} has its four bytes`, () => {
      assert.deepEqual(parseIp(text), { family: 4, text, bytes: Uint8Array.from(bytes) });
    });
  }

  for (const text of [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.4 ",
    "1.2.3.-4",
    "::ffff:1.2.3",
    "fe80::1%eth0",
    "n1",
  ]) {
    test(`"${text}" is none`, () => {
      assert.equal(parseIp(text), undefined);
    });
  }

  test("IPv6 comes in its canonical form", () => {
    const parsed = parseIp("2001:DB8:0:0::000a");
    assert.equal(parsed?.text, "2001:db8::a");
    assert.deepEqual(
      parsed.bytes,
      Uint8Array.from([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a]),
    );
  });
});

test("an address is on loopback in each of its forms, and no other is", () => {
  for (const text of ["127.0.0.1", "127.255.0.2", "::1", "::ffff:127.0.0.1"])
    assert.equal(isLoopback(text), true, text);
  for (const text of [
    "",
    "0.0.0.0",
    "::",
    "12.7.0.1",
    "192.0.2.127",
    "::ffff:192.0.2.1",
    "127::1",
    "fd00::1",
  ])
    assert.equal(isLoopback(text), false, text);
});

describe("an address that one machine may have", () => {
  const ip = (text: string) => parseIp(text) ?? assert.fail(`${text} is no address`);

  test("is none of the special ones of RFC 6890", () => {
    for (const text of [
      "192.0.2.1",
      "10.255.255.255",
      "223.255.255.255",
      "fd00::1",
      "2001:db8::1",
      "fe80::1",
    ])
      assert.equal(isMachineAddress(ip(text)), true, text);
    for (const text of [
      "0.0.0.0",
      "0.1.2.3",
      "127.0.0.1",
      "224.0.0.1",
      "239.1.1.1",
      "240.0.0.1",
      "255.255.255.255",
      "::",
      "::1",
      "::192.0.2.1",
      "::ffff:192.0.2.1",
      "ff02::1",
    ])
      assert.equal(isMachineAddress(ip(text)), false, text);
  });

  test("is in its subnet, and neither the first nor, in IPv4, the last one", () => {
    const net = { address: ip("192.0.2.65"), prefixLength: 26 };
    for (const [text, expected] of [
      ["192.0.2.65", true],
      ["192.0.2.126", true],
      ["192.0.2.64", false],
      ["192.0.2.127", false],
      ["192.0.2.63", false],
      ["192.0.2.128", false],
      ["fd00::1", false],
    ] as const)
      assert.equal(isHostOf(net, ip(text)), expected, text);
    const net6 = { address: ip("2001:db8::1"), prefixLength: 64 };
    assert.deepEqual(
      ["2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::2"].map((text) =>
        isHostOf(net6, ip(text)),
      ),
      [false, true, false],
    );
    assert.equal(isHostOf({ address: ip("192.0.2.0"), prefixLength: 31 }, ip("192.0.2.1")), true);
  });

  test("shares a prefix bit by bit", () => {
    const [a, b] = [ip("192.0.2.128").bytes, ip("192.0.2.129").bytes];
    assert.deepEqual(
      [0, 8, 24, 31, 32].map((bits) => samePrefix(a, b, bits)),
      [true, true, true, true, false],
    );
  });
});
