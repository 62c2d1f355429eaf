import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseIp } from "../../../src/net.ts";
import { networks } from "../../../src/config/parsers.ts";
import { servedAddresses, servesAt } from "../../../src/proxy/addresses.ts";
import type { ServedAddresses } from "../../../src/proxy/addresses.ts";

const ip = (text: string) => parseIp(text) ?? assert.fail(text);

function served(text: string, ...needed: readonly string[]): ServedAddresses {
  const parsed = networks.parse(text);
  assert.ok(parsed.kind === "ok", text);
  return servedAddresses(parsed.value, needed.map(ip));
}

describe("the addresses at which the balancer serves", () => {
  test("are all of them, if none is named", () => {
    const all = servedAddresses(undefined, [ip("192.0.2.10")]);
    assert.equal(all, undefined);
    for (const address of ["198.51.100.1", "2001:db8::1", "127.0.0.1", ""]) assert.ok(servesAt(all, address));
  });

  test("are those in a named network, and named ones, of both families", () => {
    const these = served("192.0.2.0/24,198.51.100.7,2001:db8:1::/64");
    for (const address of [
      "192.0.2.1",
      "::ffff:192.0.2.255",
      "198.51.100.7",
      "2001:db8:1::5",
      "2001:db8:1::5%eth0",
    ])
      assert.equal(servesAt(these, address), true, address);
    for (const address of ["192.0.3.1", "::ffff:198.51.100.8", "2001:db8:2::5", "fe80::1%eth0", ""])
      assert.equal(servesAt(these, address), false, address);
  });

  test("always have loopback, the VIP and the node's address on its network", () => {
    const these = served("203.0.113.0/24", "192.0.2.10", "192.0.2.11", "2001:db8::10");
    for (const address of [
      "127.0.0.1",
      "::1",
      "::ffff:127.0.0.2",
      "192.0.2.10",
      "192.0.2.11",
      "2001:db8::10",
    ])
      assert.equal(servesAt(these, address), true, address);
    for (const address of ["192.0.2.12", "2001:db8::11"])
      assert.equal(servesAt(these, address), false, address);
  });
});
