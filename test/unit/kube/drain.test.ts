import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { drainedServers, drainKey, drainsThatEnd } from "../../../src/kube/drain.ts";
import { formatCandidate } from "../../../src/kube/record-codec.ts";
import { hostPort, parseServer } from "../../../src/net.ts";
import { candidate } from "../election/harness.ts";

const drain = (...servers: readonly string[]): Record<string, string> =>
  Object.fromEntries(servers.map((server) => [drainKey(server), server]));
const lease = (...nodes: readonly (readonly [node: string, ip: string])[]): Record<string, string> =>
  Object.fromEntries(
    nodes.map(([node, ip]) => [`leasehold.dev/candidate.${node}`, formatCandidate(candidate(node, { ip }))]),
  );

describe("the annotation of a drained API server", () => {
  test("has a key that Kubernetes takes, whatever the address, and another one for each server", () => {
    const octets = fc.tuple(fc.nat(255), fc.nat(255)).map(([a, b]) => `10.0.${a}.${b}`);
    const hosts = fc.oneof(octets, fc.ipV6());
    fc.assert(
      fc.property(hosts, fc.integer({ min: 1, max: 65_535 }), (host, port) => {
        const server = parseServer(hostPort(host, port));
        if (server === undefined) return;
        const key = drainKey(server.id);
        // The rule of k8s.io/apimachinery's IsQualifiedName.
        assert.match(key, /^leasehold\.dev\/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/);
        assert.deepEqual(drainedServers({ annotations: { [key]: server.id } }), [server.id]);
      }),
    );
    assert.notEqual(drainKey("10.0.0.1:6443"), drainKey("10.0.0.1:6444"));
  });

  test("is read by its value, in one spelling, and ignored where that is no server", () => {
    const annotations = {
      "leasehold.dev/drain.by-hand": " [FD00:0::11]:6443 ",
      ...drain("10.0.0.2:6443", "10.0.0.1:6443"),
      "leasehold.dev/drain.twice": "10.0.0.1:6443",
      "leasehold.dev/drain.n3": "n3",
      "leasehold.dev/drain.port": "10.0.0.3:65536",
      "leasehold.dev/drain.host": "10.0.0.3",
      "leasehold.dev/drain.zeros": "10.0.0.003:6443",
      "leasehold.dev/move-to": "10.0.0.4:6443",
    };
    assert.deepEqual(drainedServers({ annotations }), ["10.0.0.1:6443", "10.0.0.2:6443", "[fd00::11]:6443"]);
  });

  test("does not fill the memory when a person has filled the Lease", () => {
    const many = Array.from({ length: 200 }, (_, at) => `10.0.1.${at}:6443`);
    assert.equal(drainedServers({ annotations: drain(...many) }).length, 64);
  });
});

describe("a drain ends with its node", () => {
  test("and stays for every other one, also for a node that has the address now", () => {
    const annotations = {
      ...lease(["n1", "10.0.0.1"], ["n2", "10.0.0.2"], ["old3", "10.0.0.3"], ["n3", "10.0.0.3"]),
      ...drain("10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443"),
    };
    assert.deepEqual(drainsThatEnd({ annotations }, ["n2"]), drain("10.0.0.2:6443"));
    assert.deepEqual(drainsThatEnd({ annotations }, ["old3"]), {});
    assert.deepEqual(drainsThatEnd({ annotations }, []), {});
  });
});
