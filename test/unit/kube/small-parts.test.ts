import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseEndpointSlices } from "../../../src/kube/endpoints.ts";
import { LineSplitter } from "../../../src/kube/line-splitter.ts";
import { noAnswerReason } from "../../../src/kube/no-answer.ts";
import { apiServerList } from "../../../src/kube/servers.ts";
import type { ApiServerSources } from "../../../src/kube/servers.ts";
import { parseIp } from "../../../src/net.ts";

const nothing: ApiServerSources = { own: undefined, configured: [], discovered: [], candidates: [], remembered: [], vips: [], port: 6443 };
const vip = parseIp("192.0.2.100") ?? assert.fail();

describe("the API server list", () => {
  test("own node first, then who was discovered, candidates, and who is remembered, each once", () => {
    const sources = {
      ...nothing,
      own: "192.0.2.2",
      discovered: [{ host: "192.0.2.1", port: 6443 }, { host: "192.0.2.2", port: 6443 }],
      candidates: ["192.0.2.3", "192.0.2.1"],
      remembered: [{ host: "192.0.2.9", port: 7443 }, { host: "192.0.2.3", port: 6443 }],
    };
    assert.deepEqual(apiServerList(sources), ["192.0.2.2:6443", "192.0.2.1:6443", "192.0.2.3:6443", "192.0.2.9:7443"]);
  });

  test("configured ones are the whole list, the own node's moved to the front", () => {
    const configured = [{ host: "192.0.2.1", port: 6443 }, { host: "192.0.2.2", port: 7443 }];
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
    assert.deepEqual(apiServerList({ ...worker, discovered: [{ host: "192.0.2.1", port: 6443 }] }), ["192.0.2.1:6443", "192.0.2.10:6443"]);
    assert.deepEqual(apiServerList({ ...worker, configured: [{ host: "192.0.2.2", port: 6443 }] }), ["192.0.2.2:6443"]);
  });

  test("IPv6 in canonical form, so that two spellings are one server", () => {
    assert.deepEqual(apiServerList({ ...nothing, own: "2001:db8::1", candidates: ["2001:DB8:0::1"] }), ["[2001:db8::1]:6443"]);
  });
});

describe("EndpointSlices of the kubernetes Service", () => {
  const slice = (addresses: unknown, ports: unknown = [{ name: "https", port: 6443 }]) => ({ ports, endpoints: [{ addresses }] });

  test("both families, sorted, without duplicates", () => {
    const body = { items: [slice(["2001:db8::1"]), slice(["192.0.2.2"]), slice(["192.0.2.1", "192.0.2.2"])] };
    assert.deepEqual(parseEndpointSlices(body).map(({ host }) => host), ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
  });

  test("the port named https, or the only one", () => {
    const two = [{ name: "metrics", port: 1 }, { name: "https", port: 7443 }];
    assert.deepEqual(parseEndpointSlices({ items: [slice(["192.0.2.1"], two)] }), [{ host: "192.0.2.1", port: 7443 }]);
    assert.deepEqual(parseEndpointSlices({ items: [slice(["192.0.2.1"], [{ port: 8443 }])] }), [{ host: "192.0.2.1", port: 8443 }]);
    for (const port of [0, 65_536, 1.5, "6443"]) assert.deepEqual(parseEndpointSlices({ items: [slice(["192.0.2.1"], [{ port }])] }), []);
  });

  test("addresses that no other node can have, and names, are left out", () => {
    const addresses = ["127.0.0.1", "0.0.0.0", "::1", "::", "224.0.0.1", "ff02::1", "localhost", 7, null];
    assert.deepEqual(parseEndpointSlices({ items: [slice(addresses)] }), []);
  });

  test("no JSON makes the parser throw", () => {
    const anyItems = fc.record({ items: fc.array(fc.record({ ports: fc.anything(), endpoints: fc.anything() })) });
    fc.assert(fc.property(fc.oneof(fc.anything(), anyItems), (body) => void parseEndpointSlices(body)));
  });
});

describe("lines of a stream", () => {
  test("come out the same however the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" }).map((line) => line.replaceAll(/\s/g, "_"))), fc.array(fc.nat(20)), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
        const splitter = new LineSplitter(100_000);
        const out: string[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          out.push(...(splitter.push(bytes.subarray(at, at + cut)) ?? assert.fail()));
          at += cut;
        }
        assert.deepEqual(out, lines.map((line) => Buffer.from(line).toString().trim()).filter((line) => line !== ""));
      }),
    );
  });

  test("one that is too long is refused, also in parts", () => {
    const splitter = new LineSplitter(10);
    assert.deepEqual(splitter.push(Buffer.from("0123456789\n01234")), ["0123456789"]);
    assert.equal(splitter.push(Buffer.from("567890")), undefined);
  });
});

describe("what a failure says", () => {
  test("refusals, TLS failures, and everything else as silence", () => {
    const reason = (code: string) => noAnswerReason(Object.assign(new Error("x"), { code }));
    for (const code of ["ECONNREFUSED", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "HPE_INVALID_CONSTANT"]) assert.equal(reason(code), "refused", code);
    for (const code of ["CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID", "DEPTH_ZERO_SELF_SIGNED_CERT", "EPROTO", "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA"]) {
      assert.equal(reason(code), "tls", code);
    }
    for (const code of ["EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "UND_ERR_CONNECT_TIMEOUT", "EMFILE", "EPERM", ""]) assert.equal(reason(code), "silent", code);
    assert.equal(noAnswerReason("text"), "silent");
    assert.equal(noAnswerReason(new Error("wrapped", { cause: Object.assign(new Error("x"), { code: "ECONNRESET" }) })), "refused");
  });
});
