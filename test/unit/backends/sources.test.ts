/** Which API servers the balancer uses, by what the cluster, the Lease and the disk name. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { listBackends } from "../../../src/backends/sources.ts";
import type { BackendSources, ListedServer } from "../../../src/backends/sources.ts";
import { parseIp } from "../../../src/net.ts";
import type { HostPort, IpAddress } from "../../../src/net.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(text);
const at = (...hosts: readonly string[]): readonly HostPort[] => hosts.map((host) => ({ host, port: 6443 }));
const node = (address: string, ...more: readonly string[]) => ({ ip: address, all: [address, ...more] });

const [N1, N2, N3] = ["192.0.2.11", "192.0.2.12", "192.0.2.13"] as const;

/** What n1 knows in a cluster of three. `named` is what the cluster's list has, now and before. */
function sources(named: readonly string[], more: Partial<BackendSources> = {}): BackendSources {
  return {
    configured: [],
    discovered: at(...named),
    answered: at(...named),
    remembered: [],
    own: node(N1),
    candidates: [node(N2), node(N3)],
    subnets: [{ address: ip(N1), prefixLength: 24 }],
    vips: [ip("192.0.2.10")],
    port: 6443,
    isProven: () => true,
    ...more,
  };
}

const words = (servers: readonly ListedServer[]): readonly string[] =>
  servers.map(({ host, claimed }) => (claimed === true ? `${host} claimed` : host));

function listOf(named: readonly string[], more: Partial<BackendSources> = {}): readonly string[] {
  return words(listBackends(sources(named, more)).servers);
}

describe("the API servers are those", () => {
  test("that the cluster names, and a node that it does not name has none now", () => {
    assert.deepEqual(listOf([N1, N2, N3]), [N1, N2, N3]);
    assert.deepEqual(listOf([N1, N2]), [N1, N2]);
    assert.deepEqual(listBackends(sources([N1, N2])).unnamed, []);
  });

  test("that the cluster names by another address of the same node", () => {
    const candidates = [node(N2, "2001:db8::12"), node(N3, "2001:db8::13")];
    const named = ["2001:db8::11", "2001:db8::12", "2001:db8::13"];
    assert.deepEqual(listOf(named, { own: node(N1, "2001:db8::11"), candidates }), named);
  });

  test("that are configured, or remembered while the cluster has not answered", () => {
    assert.deepEqual(listOf(["10.0.2.15"], { configured: at("198.51.100.1") }), ["198.51.100.1"]);
    const none = { discovered: [], answered: undefined, remembered: at(N2, N3) };
    assert.deepEqual(listOf([], none), [N2, N3]);
  });

  test("but never the VIP", () => {
    assert.deepEqual(listOf(["192.0.2.10", N1, N2, N3]), [N1, N2, N3]);
  });
});

describe("the candidates' addresses are used", () => {
  const CLAIMED = [`${N2} claimed`, `${N3} claimed`];

  test("where every node names the same address of another network (Vagrant)", () => {
    const found = listBackends(sources(["10.0.2.15"]));
    assert.deepEqual(words(found.servers), CLAIMED);
    assert.deepEqual(found.unnamed, [N1, N2, N3]);
  });

  test("where the nodes name their second network cards", () => {
    assert.deepEqual(listOf(["10.1.0.11", "10.1.0.12", "10.1.0.13"]), CLAIMED);
  });

  test("where some nodes are named as they should be, and others are not", () => {
    const found = listBackends(sources([N1, N2, "10.0.2.15"]));
    assert.deepEqual(words(found.servers), [N1, N2, `${N3} claimed`]);
    assert.deepEqual(found.unnamed, [N3]);
  });

  test("where the cluster names none (--endpoint-reconciler-type=none)", () => {
    assert.deepEqual(listOf([]), CLAIMED);
    const remembered = at(N2, N3);
    assert.deepEqual(listOf([], { remembered }), [N2, N3, ...CLAIMED]);
    assert.deepEqual(listBackends(sources([], { remembered })).unnamed, [N1, N2, N3]);
  });

  test("where an API server names the VIP, which it has found on its machine", () => {
    assert.deepEqual(listOf(["192.0.2.10", N1, N2]), [N1, N2, `${N3} claimed`]);
    const found = listBackends(sources(["192.0.2.10"]));
    assert.deepEqual(words(found.servers), CLAIMED);
    assert.deepEqual(found.unnamed, [N1, N2, N3]);
  });

  test("where a node has got another address and its API server names the old one", () => {
    assert.deepEqual(listOf([N1, N2, N3], { candidates: [node(N2), node("192.0.2.77")] }), [
      N1,
      N2,
      N3,
      "192.0.2.77 claimed",
    ]);
  });

  test("beside what the cluster names, until a check has verified one of them", () => {
    const found = listBackends(sources(["10.0.2.15"], { isProven: () => false }));
    assert.deepEqual(words(found.servers), ["10.0.2.15", ...CLAIMED]);
    assert.deepEqual(found.unnamed, []);
  });

  test("in place of another network's addresses alone: an API server without an agent stays", () => {
    assert.deepEqual(listOf(["10.0.2.15", "192.0.2.14"]), ["192.0.2.14", ...CLAIMED]);
  });

  for (const [what, address] of [
    ["the VIP", "192.0.2.10"],
    ["this node's own", N1],
    ["of another network", "198.51.100.1"],
    ["the network's broadcast address", "192.0.2.255"],
    ["the network's own", "192.0.2.0"],
    ["multicast", "224.0.0.18"],
    ["loopback", "127.0.0.1"],
    ["not an address", "n2"],
  ] as const)
    test(`unless they are wrong: ${what}`, () => {
      assert.deepEqual(listOf([], { candidates: [node(address)] }), []);
    });

  test("64 of them at most", () => {
    const candidates = Array.from({ length: 200 }, (_, index) => node(`192.0.2.${index + 20}`));
    assert.equal(listOf([], { candidates }).length, 64);
  });
});
