import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { inTurns, joinFlows, packFlows, parseFlow } from "../../../src/fastpath/flows.ts";
import type { Flow } from "../../../src/fastpath/flows.ts";

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

describe("a list of flows", () => {
  const keyOf = (family: 4 | 6, n: number): Uint8Array => {
    const key = new Uint8Array(family === 4 ? 24 : 48);
    new DataView(key.buffer).setUint32(2, n);
    return key;
  };

  test("has what was put in, and no key of another length", () => {
    for (const family of [4, 6] as const) {
      const list = packFlows(family);
      for (let n = 0; n < 1_000; n++) list.add(keyOf(family, n));
      list.add(new Uint8Array(23));
      assert.equal(list.length, 1_000);
      for (const n of [0, 63, 64, 999]) assert.deepEqual(list.at(n), parseFlow(family, keyOf(family, n)));
      assert.deepEqual([list.at(-1), list.at(1_000)], [undefined, undefined]);
    }
  });

  test("keeps what it was given, whatever becomes of the buffer", () => {
    const list = packFlows(4);
    const key = keyOf(4, 7);
    list.add(key);
    key.fill(0);
    assert.equal(list.at(0)?.mac, "00:00:00:00:00:07");
  });

  test("is joined with others in order", () => {
    const [first, second] = [packFlows(4), packFlows(4)];
    for (const n of [1, 2]) first.add(keyOf(4, n));
    second.add(keyOf(4, 3));
    const joined = joinFlows([first, packFlows(6), second]);
    assert.equal(joined.length, 3);
    const macs = [0, 1, 2, 3].map((index) => joined.at(index)?.mac.at(-1));
    assert.deepEqual(macs, ["1", "2", "3", undefined]);
  });
});

describe("the turns of clients", () => {
  const flow = (mac: string, client: string, clientPort: number): Flow => ({
    mac: `02:00:00:00:00:${mac}`,
    client,
    clientPort,
    vip: "10.88.0.100",
    vipPort: 6443,
  });
  const pause = async (): Promise<void> => {};

  test("come to each once, in whatever order they are listed", async () => {
    const flows = [flow("01", "a", 1), flow("01", "a", 2), flow("02", "b", 1), flow("01", "c", 1)];
    assert.deepEqual(await inTurns(flows, pause), [0, 2, 3, 1]);
    assert.deepEqual(await inTurns([], pause), []);
  });

  test("put forged connections behind the others, whether one machine forges ports or addresses", async () => {
    const ports = Array.from({ length: 20_000 }, (_, n) => flow("01", "10.88.0.66", n));
    const addresses = Array.from({ length: 20_000 }, (_, n) => flow("01", `10.89.${n >> 8}.${n & 255}`, 1));
    const honest = Array.from({ length: 50 }, (_, n) => flow("02", `10.90.0.${n}`, 1));
    const routed = [flow("01", "10.91.0.1", 1)];
    const all = [...ports, ...addresses, ...honest, ...routed];
    const order = await inTurns(all, pause);
    assert.deepEqual(
      order.toSorted((a, b) => a - b),
      all.map((_, index) => index),
    );
    assert.ok(order.indexOf(ports.length + addresses.length) <= 1);
    assert.ok(honest.every((_, n) => order.indexOf(ports.length + addresses.length + n) <= 100));
    const alone = await inTurns([...ports, ...routed], pause);
    assert.ok(alone.indexOf(ports.length) <= 1, "behind the same router");
  });

  test("are found with pauses for other work", async () => {
    let pauses = 0;
    const flows = Array.from({ length: 10_000 }, (_, n) => flow("01", "a", n));
    await inTurns(flows, async () => void (pauses += 1));
    assert.ok(pauses >= 8, `${pauses} pauses`);
  });
});
