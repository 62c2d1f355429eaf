/** Routes as a kernel (6.18) listed them; hexadecimal is little endian. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { encodeMessage, type NetlinkMessage } from "../../../src/linux/netlink.ts";
import { dumpRoutes, parseDefaultRoute, parseLinkRoute } from "../../../src/linux/routes.ts";

const hex = (...parts: readonly string[]): Uint8Array =>
  Uint8Array.from(Buffer.from(parts.join("").replaceAll(" ", ""), "hex"));
const message = (payload: Uint8Array, type = 24): NetlinkMessage => ({
  type,
  flags: 0,
  sequence: 1,
  port: 0,
  payload,
});
const hops = (payload: Uint8Array, linkIndex = 3): readonly string[] | undefined =>
  parseDefaultRoute(message(payload), linkIndex)?.map((hop) => hop.text);

const HEADER = "02 00 00 00 fe 03 00 01 00000000"; // IPv4, to 0.0.0.0/0, main table, boot, universe, unicast
const MAIN = "0800 0f00 fe000000";
const METRIC = "0800 0600 0a000000";
const SINGLE = hex(HEADER, MAIN, METRIC, "0800 0500 c00002fe", "0800 0400 03000000");
const SEVERAL = hex(
  HEADER, MAIN, METRIC,
  "2400 0900", // RTA_MULTIPATH
  "1000 00 00 03000000 0800 0500 c00002fd", // by link 3
  "1000 00 00 05000000 0800 0500 c63364fe", // by link 5
); // prettier-ignore
const V6 = hex(
  "0a 00 00 00 fe 03 00 01 00000000", MAIN, "0800 0600 00040000",
  "1400 0500 fe800000000000000000000000000001", "0800 0400 03000000", "0500 1400 00 000000",
); // prettier-ignore

describe("a route to a network on a link", () => {
  const NETWORK = hex("02 18 00 00 fe 02 fd 01 00000000", MAIN, "0800 0100 c0000200", "0800 0400 03000000");
  const read = (payload: Uint8Array): string | undefined => {
    const route = parseLinkRoute(message(payload));
    return route && `${route.network.text}/${route.prefixLength} on ${route.linkIndex}`;
  };

  test("is read, of either family", () => {
    assert.equal(read(NETWORK), "192.0.2.0/24 on 3");
    const v6 = hex(
      "0a 40 00 00 fe 09 00 01 00000000", MAIN,
      "1400 0100 20010db8000000000000000000000000", "0800 0400 03000000",
    ); // prettier-ignore
    assert.equal(read(v6), "2001:db8::/64 on 3");
  });

  test("is no default route, none through a gateway or several hops, and none of another table or kind", () => {
    for (const other of [SINGLE, SEVERAL, V6]) assert.equal(read(other), undefined);
    for (const more of ["0800 0500 c00002fe", "1600 1200 0a00 fe800000000000000000000000000001 0000"])
      assert.equal(read(hex(Buffer.from(NETWORK).toString("hex"), more)), undefined, more);
    const change = (at: number, value: number): Uint8Array =>
      NETWORK.map((byte, index) => (index === at ? value : byte));
    for (const [at, value] of [
      [0, 7],
      [1, 33],
      [2, 8],
      [7, 3],
      [16, 100],
    ] as const)
      assert.equal(read(change(at, value)), undefined, `${at}`);
    assert.equal(read(NETWORK.subarray(0, 11)), undefined);
  });
});

test("routes are asked for by table and link", () => {
  assert.deepEqual(
    encodeMessage(dumpRoutes(6, 3), 7),
    hex("24000000 1a00 0103 07000000 00000000", "0a 00 00 00 fe 00 00 00 00000000", "0800 0400 03000000"),
  );
});

describe("a default route", () => {
  test("has one next hop", () => {
    assert.deepEqual(hops(SINGLE), ["192.0.2.254"]);
    assert.deepEqual(hops(V6), ["fe80::1"]);
  });

  test("or several, of which those by another link are left out", () => {
    assert.deepEqual(hops(SEVERAL), ["192.0.2.253"]);
    assert.deepEqual(hops(SEVERAL, 5), ["198.51.100.254"]);
  });

  test("or none: the link itself is the destination, or the next hop is of the other family", () => {
    assert.deepEqual(hops(hex(HEADER, MAIN, "0800 0400 03000000")), []);
    assert.deepEqual(
      hops(hex(HEADER, MAIN, "0800 0400 03000000", "1600 1200 0a00 fe800000000000000000000000000001 0000")),
      [],
    );
  });

  test("by another link is not ours", () => assert.deepEqual(hops(SINGLE, 5), []));

  test("is no other route", () => {
    const change = (at: number, value: number): Uint8Array =>
      SINGLE.map((byte, index) => (index === at ? value : byte));
    assert.equal(hops(change(1, 8)), undefined, "to a network");
    assert.equal(hops(change(2, 8)), undefined, "from a network");
    assert.equal(hops(change(7, 7)), undefined, "unreachable");
    assert.equal(hops(change(16, 100)), undefined, "of another table");
    assert.equal(hops(change(0, 7)), undefined, "of another family");
    assert.equal(parseDefaultRoute(message(SINGLE, 25), 3), undefined, "a removed one");
    assert.equal(hops(SINGLE.subarray(0, 11)), undefined, "cut short");
  });

  test("that is damaged is refused or read within its bounds, and never throws", () => {
    const damage = fc.record({ at: fc.nat(80), to: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.constantFrom(SINGLE, SEVERAL, V6),
        fc.array(damage, { maxLength: 4 }),
        fc.nat(90),
        fc.uint8Array({ maxLength: 90 }),
        (seed, changes, length, noise) => {
          const payload = seed.slice(0, length);
          for (const { at, to } of changes) if (at < payload.length) payload[at] = to;
          for (const bytes of [payload, noise])
            for (const hop of parseDefaultRoute(message(bytes), 3) ?? [])
              assert.ok(hop.bytes.length === 4 || hop.bytes.length === 16);
        },
      ),
    );
  });
});
