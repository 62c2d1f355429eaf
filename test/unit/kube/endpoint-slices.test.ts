import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseEndpointSlices } from "../../../src/kube/endpoints.ts";

describe("EndpointSlices of the kubernetes Service", () => {
  const slice = (addresses: unknown, ports: unknown = [{ name: "https", port: 6443 }]) => ({
    ports,
    endpoints: [{ addresses }],
  });

  test("both families, sorted, without duplicates", () => {
    const body = { items: [slice(["2001:db8::1"]), slice(["192.0.2.2"]), slice(["192.0.2.1", "192.0.2.2"])] };
    assert.deepEqual(
      parseEndpointSlices(body).map(({ host }) => host),
      ["192.0.2.1", "192.0.2.2", "2001:db8::1"],
    );
  });

  test("the port named https, or the only one", () => {
    const two = [
      { name: "metrics", port: 1 },
      { name: "https", port: 7443 },
    ];
    assert.deepEqual(parseEndpointSlices({ items: [slice(["192.0.2.1"], two)] }), [
      { host: "192.0.2.1", port: 7443 },
    ]);
    assert.deepEqual(parseEndpointSlices({ items: [slice(["192.0.2.1"], [{ port: 8443 }])] }), [
      { host: "192.0.2.1", port: 8443 },
    ]);
    for (const port of [0, 65_536, 1.5, "6443"])
      assert.deepEqual(parseEndpointSlices({ items: [slice(["192.0.2.1"], [{ port }])] }), []);
  });

  test("addresses that no other node can have, and names, are left out", () => {
    const addresses = ["127.0.0.1", "0.0.0.0", "::1", "::", "224.0.0.1", "ff02::1", "localhost", 7, null];
    assert.deepEqual(parseEndpointSlices({ items: [slice(addresses)] }), []);
  });

  test("no JSON makes the parser throw", () => {
    const anyItems = fc.record({
      items: fc.array(fc.record({ ports: fc.anything(), endpoints: fc.anything() })),
    });
    fc.assert(fc.property(fc.oneof(fc.anything(), anyItems), (body) => void parseEndpointSlices(body)));
  });
});
