/** Which interface and which address, over made-up machines. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { LeaseholdError, type ErrorCode } from "../../../src/errors.ts";
import { chooseInterface, chooseNodeIp, type Network } from "../../../src/linux/links.ts";
import type { AddressEntry, LinkEntry } from "../../../src/linux/rtnetlink.ts";
import { parseIp, type IpAddress } from "../../../src/net.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(`${text} is no address`);

type Options = Partial<Pick<AddressEntry, "flags" | "ours" | "validSeconds">>;

/** `{ eth0: ["192.0.2.1/24"] }`; links are numbered from 1 in the order given; `lo` is the loopback. */
function machine(links: Record<string, readonly (string | readonly [string, Options])[]>): Network {
  const addresses: AddressEntry[] = [];
  const entries = Object.entries(links).map(([name, list], index): LinkEntry => {
    for (const item of list) {
      const [text, options] = typeof item === "string" ? [item, {}] : item;
      const [address = "", prefix] = text.split("/");
      addresses.push({
        address: ip(address),
        prefixLength: Number(prefix),
        linkIndex: index + 1,
        flags: 0,
        validSeconds: null,
        ours: false,
        ...options,
      });
    }
    const loopback = name === "lo";
    return {
      index: index + 1,
      name,
      macBytes: new Uint8Array(6),
      up: true,
      carrier: true,
      loopback,
      ethernet: !loopback,
      ipv6Forwarding: false,
    };
  });
  return { links: entries, addresses };
}

function refuses(code: ErrorCode, pattern: RegExp, call: () => unknown): void {
  assert.throws(
    call,
    (error) => error instanceof LeaseholdError && error.code === code && pattern.test(error.message),
  );
}

describe("the interface", () => {
  const two = machine({
    lo: ["127.0.0.1/8", "::1/128"],
    eth0: ["192.0.2.1/24", "2001:db8::1/64"],
    eth1: ["198.51.100.1/25"],
    wg0: [],
  });

  test("is the one whose network holds the VIP", () => {
    assert.equal(chooseInterface(two, [ip("192.0.2.100")], undefined).name, "eth0");
    assert.equal(chooseInterface(two, [ip("198.51.100.100")], undefined).name, "eth1");
    assert.equal(chooseInterface(two, [ip("2001:db8::100")], undefined).name, "eth0");
    assert.equal(chooseInterface(two, [ip("192.0.2.100"), ip("2001:db8::100")], undefined).name, "eth0");
  });

  test("is none when no network holds the VIP, and the error lists what there is", () => {
    refuses(
      "LH_INTERFACE",
      /198\.51\.100\.200; .*eth0 \(192\.0\.2\.1\/24 2001:db8::1\/64\), eth1 \(198\.51\.100\.1\/25\), wg0 \(no address\)$/u,
      () => chooseInterface(two, [ip("198.51.100.200")], undefined),
    );
    refuses("LH_INTERFACE", /198\.51\.100\.100 and 2001:db8::100/u, () =>
      chooseInterface(two, [ip("198.51.100.100"), ip("2001:db8::100")], undefined),
    );
    refuses("LH_INTERFACE", /no interface but the loopback$/u, () =>
      chooseInterface(machine({ lo: ["127.0.0.1/8"] }), [ip("127.0.0.9")], undefined),
    );
  });

  test("is none when two networks hold the VIP, and the error names both", () => {
    const both = machine({ eth0: ["192.0.2.1/24"], eth1: ["192.0.2.2/24"], eth2: ["198.51.100.1/24"] });
    refuses("LH_AMBIGUOUS_INTERFACE", /more than one.*: eth0, eth1$/u, () =>
      chooseInterface(both, [ip("192.0.2.100")], undefined),
    );
    assert.equal(chooseInterface(both, [ip("192.0.2.100")], "eth1").name, "eth1");
  });

  test("that is configured has to exist, but needs no such network", () => {
    assert.equal(chooseInterface(two, [ip("203.0.113.1")], "wg0").name, "wg0");
    refuses("LH_INTERFACE", /no interface eth9; .*eth0/u, () =>
      chooseInterface(two, [ip("192.0.2.100")], "eth9"),
    );
  });

  test("is not found by the VIP that is bound there itself", () => {
    const left = machine({
      eth0: ["192.0.2.1/24"],
      eth1: [["192.0.2.100/32", { ours: true, validSeconds: 3 }], "192.0.2.100/32"],
    });
    assert.equal(chooseInterface(left, [ip("192.0.2.100")], undefined).name, "eth0");
  });

  test("a prefix that ends within a byte is compared bit by bit", () => {
    const narrow = machine({ eth0: ["10.0.0.1/27"], eth1: ["10.0.0.33/27"] });
    assert.equal(chooseInterface(narrow, [ip("10.0.0.31")], undefined).name, "eth0");
    assert.equal(chooseInterface(narrow, [ip("10.0.0.32")], undefined).name, "eth1");
  });
});

describe("the node's own address", () => {
  const nodeIp = (network: Network, ...vips: readonly string[]): string => {
    const link = network.links[0] ?? assert.fail();
    return chooseNodeIp(network, link, vips.map(ip)).text;
  };

  test("is the one beside the first VIP", () => {
    const network = machine({ eth0: ["198.51.100.1/24", "192.0.2.1/24", "2001:db8::1/64"] });
    assert.equal(nodeIp(network, "192.0.2.100", "2001:db8::100"), "192.0.2.1");
    assert.equal(nodeIp(network, "2001:db8::100", "192.0.2.100"), "2001:db8::1");
  });

  test("is never the VIP, also when that is bound with a network", () => {
    assert.equal(nodeIp(machine({ eth0: ["192.0.2.100/24", "192.0.2.1/24"] }), "192.0.2.100"), "192.0.2.1");
    refuses("LH_NODE_IP", /eth0 has no IPv4 address/u, () =>
      nodeIp(machine({ eth0: ["192.0.2.100/24"] }), "192.0.2.100"),
    );
  });

  test("is a primary, lasting one if there is any", () => {
    const temporary = machine({
      eth0: [["2001:db8::99/64", { flags: 0x01 }], ["2001:db8::88/64", { flags: 0x20 }], "2001:db8::1/64"],
    });
    assert.equal(nodeIp(temporary, "2001:db8::100"), "2001:db8::1");
    assert.equal(
      nodeIp(machine({ eth0: [["2001:db8::99/64", { flags: 0x01 }]] }), "2001:db8::100"),
      "2001:db8::99",
    );
  });

  test("is another of that interface when the configured one has no network of the VIP", () => {
    assert.equal(
      nodeIp(machine({ eth0: ["fe80::1/64", "198.51.100.1/24", "2001:db8:1::1/64"] }), "192.0.2.100"),
      "198.51.100.1",
    );
    refuses("LH_NODE_IP", /no IPv6 address/u, () =>
      nodeIp(machine({ eth0: ["fe80::1/64", "198.51.100.1/24"] }), "2001:db8::100"),
    );
  });
});
