import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseIp } from "../../src/net.ts";

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
