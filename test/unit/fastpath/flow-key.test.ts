import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseFlow } from "../../../src/fastpath/nft.ts";

describe("a flow's key", () => {
  const key4 = "020000000009 0000 0a580009 9c40 0000 0a580064 192b 0000";
  const key6 =
    "020000000009 0000 fd880000000000000000000000000009 9c40 0000 fd880000000000000000000000000100 192b 0000";
  const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));

  test("is read as the kernel has it", () => {
    assert.deepEqual(parseFlow(4, hex(key4)), {
      mac: "02:00:00:00:00:09",
      client: "10.88.0.9",
      clientPort: 40000,
      vip: "10.88.0.100",
      vipPort: 6443,
    });
    assert.deepEqual(parseFlow(6, hex(key6)), {
      mac: "02:00:00:00:00:09",
      client: "fd88::9",
      clientPort: 40000,
      vip: "fd88::100",
      vipPort: 6443,
    });
  });

  test("of another length is none, and none makes the parser throw", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom<4 | 6>(4, 6), (key, family) => {
        assert.equal(parseFlow(family, key) !== undefined, key.length === (family === 4 ? 24 : 48));
      }),
    );
  });
});
