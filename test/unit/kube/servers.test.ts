import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { apiServerList } from "../../../src/kube/servers.ts";
import type { ApiServerSources } from "../../../src/kube/servers.ts";
import { parseIp } from "../../../src/net.ts";

const nothing: ApiServerSources = {
  own: undefined,
  configured: [],
  discovered: [],
  candidates: [],
  remembered: [],
  vips: [],
  port: 6443,
};
const vip = parseIp("192.0.2.100") ?? assert.fail();

describe("the API server list", () => {
  test("own node first, then who was discovered, candidates, and who is remembered, each once", () => {
    const sources = {
      ...nothing,
      own: "192.0.2.2",
      discovered: [
        { host: "192.0.2.1", port: 6443 },
        { host: "192.0.2.2", port: 6443 },
      ],
      candidates: ["192.0.2.3", "192.0.2.1"],
      remembered: [
        { host: "192.0.2.9", port: 7443 },
        { host: "192.0.2.3", port: 6443 },
      ],
    };
    assert.deepEqual(apiServerList(sources), [
      "192.0.2.2:6443",
      "192.0.2.1:6443",
      "192.0.2.3:6443",
      "192.0.2.9:7443",
    ]);
  });

  test("configured ones are the whole list, the own node's moved to the front", () => {
    const configured = [
      { host: "192.0.2.1", port: 6443 },
      { host: "192.0.2.2", port: 7443 },
    ];
    const sources = { ...nothing, own: "192.0.2.2", configured, candidates: ["192.0.2.3"] };
    assert.deepEqual(apiServerList(sources), ["192.0.2.2:7443", "192.0.2.1:6443"]);
  });

  test("never the VIP, never a name, never an impossible port", () => {
    const configured = [
      { host: "192.0.2.100", port: 6443 },
      { host: "api.example.com", port: 6443 },
      { host: "192.0.2.1", port: 0 },
      { host: "192.0.2.1", port: 65_536 },
    ];
    assert.deepEqual(apiServerList({ ...nothing, configured, vips: [vip] }), []);
  });

  test("a worker that knows no other asks the VIP, and goes on asking it last; configured ones are the whole list", () => {
    const vip = parseIp("192.0.2.10") ?? assert.fail();
    const worker = { ...nothing, vips: [vip], lastResort: [{ host: "192.0.2.10", port: 6443 }] };
    assert.deepEqual(apiServerList(worker), ["192.0.2.10:6443"]);
    assert.deepEqual(apiServerList({ ...worker, discovered: [{ host: "192.0.2.1", port: 6443 }] }), [
      "192.0.2.1:6443",
      "192.0.2.10:6443",
    ]);
    assert.deepEqual(apiServerList({ ...worker, configured: [{ host: "192.0.2.2", port: 6443 }] }), [
      "192.0.2.2:6443",
    ]);
  });

  test("IPv6 in canonical form, so that two spellings are one server", () => {
    assert.deepEqual(apiServerList({ ...nothing, own: "2001:db8::1", candidates: ["2001:DB8:0::1"] }), [
      "[2001:db8::1]:6443",
    ]);
  });
});
