import assert from "node:assert/strict";
import { test } from "node:test";
import { plainAddress } from "../../../src/net.ts";
import { sourceOf } from "../../../src/ops/sources.ts";

test("an IPv4 address is a source, however the socket names it", () => {
  for (const text of ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:192.0.2.7"]) {
    assert.equal(plainAddress(text), "192.0.2.7");
    assert.equal(sourceOf(text), "192.0.2.7");
  }
  assert.notEqual(sourceOf("192.0.2.8"), sourceOf("192.0.2.7"));
});

test("all addresses of an IPv6 /64 are one source, with a zone too", () => {
  const one = sourceOf("2001:db8:1:2::1");
  for (const text of ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::1%eth0"])
    assert.equal(sourceOf(text), one);
  for (const text of ["2001:db8:1:3::1", "2001:db8::1", "::1"]) assert.notEqual(sourceOf(text), one);
  assert.equal(plainAddress("fe80::1%eth0"), "fe80::1");
});

test("a socket that has gone has no address, and is some source", () => {
  assert.equal(sourceOf(""), "");
});
