/** Which interface and which address, over made-up machines. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { LeaseholdError, type ErrorCode } from "../../../src/errors.ts";
import {
  chooseInterface,
  chooseNodeIp,
  linkTypeProblem,
  reservedAs,
  wrongNodeIp,
  type Network,
} from "../../../src/linux/links.ts";
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
      altNames: [],
      macBytes: new Uint8Array(6),
      up: true,
      carrier: true,
      loopback,
      // "tun" is what a tunnel's name begins with, "dum" that of an interface without ARP.
      ethernet: !loopback && !/^(?:tun|dum)/.test(name),
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

  test("of several is one that is up, whatever the prefixes; of these the one with the longest prefix", () => {
    const both = machine({ vpn0: ["192.0.0.1/16"], eth0: ["192.0.2.1/24"], eth1: ["192.0.2.2/23"] });
    assert.equal(chooseInterface(both, [ip("192.0.2.100")], undefined).name, "eth0");
    const without = (name: string, change: Partial<LinkEntry>): Network => ({
      ...both,
      links: both.links.map((link) => (link.name === name ? { ...link, ...change } : link)),
    });
    for (const change of [{ carrier: false }, { up: false }])
      assert.equal(chooseInterface(without("eth0", change), [ip("192.0.2.100")], undefined).name, "eth1");
    assert.equal(
      chooseInterface(without("eth0", { ethernet: false }), [ip("192.0.2.100")], undefined).name,
      "eth1",
    );
  });

  test("is found by a route to a network on a link, where the machine's address there has no subnet", () => {
    const bare = machine({ eth0: ["2001:db8::1/128", "192.0.2.1/32"], eth1: ["198.51.100.1/24"], eth2: [] });
    const on = (linkIndex: number, network: string, prefixLength: number): Network => ({
      ...bare,
      routes: [{ linkIndex, network: ip(network), prefixLength }],
    });
    assert.equal(chooseInterface(on(1, "2001:db8::", 64), [ip("2001:db8::100")], undefined).name, "eth0");
    assert.equal(chooseInterface(on(1, "192.0.2.0", 24), [ip("192.0.2.100")], undefined).name, "eth0");
    for (const network of [
      on(1, "192.0.3.0", 24),
      // A host route leads to one machine, and is no network.
      on(1, "192.0.2.100", 32),
      // The machine has no address of its own there.
      on(3, "192.0.2.0", 24),
    ])
      refuses("LH_INTERFACE", /192\.0\.2\.100/, () =>
        chooseInterface(network, [ip("192.0.2.100")], undefined),
      );
  });

  test("is known by an alternative name, and as ip prints it", () => {
    const pod = machine({ eth0: ["192.0.2.1/24"], enp3s0: ["198.51.100.1/24"] });
    const named: Network = {
      ...pod,
      links: pod.links.map((link) =>
        link.name === "enp3s0" ? { ...link, altNames: ["lan", "eth0"] } : link,
      ),
    };
    for (const [name, found] of [
      ["eth0@if6", "eth0"],
      ["lan", "enp3s0"],
      ["eth0", "eth0"],
    ] as const)
      assert.equal(chooseInterface(named, [ip("192.0.2.100")], name).name, found);
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

describe("the kind of the interface", () => {
  const mixed = machine({
    lo: ["127.0.0.1/8", "198.51.100.1/24"],
    eth0: ["192.0.2.1/24"],
    tun0: ["10.0.0.1/24"],
    "dum.0": ["192.0.2.2/24"],
  });

  test("may lack ARP, and then what is lost is said; an Ethernet interface comes before it", () => {
    for (const [name, vip, configured] of [
      ["tun0", "192.0.2.100", "tun0"],
      ["dum.0", "192.0.2.100", "dum.0"],
      ["tun0", "10.0.0.9", undefined],
    ] as const) {
      const link = chooseInterface(mixed, [ip(vip)], configured);
      assert.equal(link.name, name);
      const problem = linkTypeProblem(link);
      assert.equal(problem?.code, "LH_LINK_TYPE");
      assert.match(
        problem.message,
        new RegExp(`interface is ${name}: it is not an Ethernet interface with ARP`),
      );
    }
    const found = chooseInterface(mixed, [ip("192.0.2.100")], undefined);
    assert.equal(found.name, "eth0");
    assert.equal(linkTypeProblem(found), undefined);
  });

  test("is never the loopback, whatever it is called", () => {
    refuses("LH_LINK_TYPE", /^LEASEHOLD_INTERFACE="lo" is the loopback interface/, () =>
      chooseInterface(mixed, [ip("198.51.100.9")], "lo"),
    );
    refuses("LH_INTERFACE", /198\.51\.100\.9/, () => chooseInterface(mixed, [ip("198.51.100.9")], undefined));
  });
});

describe("an address that belongs to no machine", () => {
  const reserved = (prefix: string, vip: string): string | undefined => {
    const network = machine({ eth0: [prefix] });
    return reservedAs(network, network.links[0] ?? assert.fail(), ip(vip));
  };
  for (const [prefix, vip, what] of [
    ["192.0.2.1/24", "192.0.2.255", /^the network's broadcast address \(192\.0\.2\.1\/24 on eth0\)$/],
    ["192.0.2.1/24", "192.0.2.0", /^the network's own address/],
    ["10.1.2.3/22", "10.1.3.255", /broadcast/],
    ["10.1.2.3/22", "10.1.0.0", /own address/],
    ["10.0.0.33/27", "10.0.0.63", /broadcast/],
    ["10.0.0.33/30", "10.0.0.35", /broadcast/],
    ["10.0.0.33/30", "10.0.0.32", /own address/],
    ["2001:db8::1/64", "2001:db8::", /subnet-router anycast address/],
    ["2001:db8::f1/124", "2001:db8::f0", /subnet-router anycast address/],
  ] as const)
    test(`is ${vip} in ${prefix}`, () => assert.match(reserved(prefix, vip) ?? "", what));
  for (const [prefix, vip] of [
    ["10.1.2.3/22", "10.1.2.255"],
    ["10.1.2.3/22", "10.1.3.0"],
    ["192.0.2.2/31", "192.0.2.3"],
    ["192.0.2.3/31", "192.0.2.2"],
    ["192.0.2.1/24", "198.51.100.255"],
    ["192.0.2.1/32", "192.0.2.255"],
    ["2001:db8::1/64", "2001:db8::ffff:ffff:ffff:ffff"],
    ["2001:db8::1/127", "2001:db8::"],
  ] as const)
    test(`is not ${vip} in ${prefix}`, () => assert.equal(reserved(prefix, vip), undefined));
});

describe("a configured address of the node", () => {
  const why = (network: Network, nodeIp: string): string | undefined =>
    wrongNodeIp(network, network.links[0] ?? assert.fail(), [ip("192.0.2.100")], ip(nodeIp))?.message;

  test("must be one of the interface once that is up and has addresses", () => {
    const network = machine({
      eth0: ["192.0.2.1/24", "198.51.100.1/24", "2001:db8::1/64"],
      eth1: ["203.0.113.1/24"],
    });
    for (const address of ["192.0.2.1", "198.51.100.1", "2001:db8::1"])
      assert.equal(why(network, address), undefined);
    assert.match(
      why(network, "192.0.2.9") ?? "",
      /^LEASEHOLD_NODE_IP="192\.0\.2\.9" is no address of the VIP's interface eth0; use 192\.0\.2\.1, .*eth1 \(203/,
    );
    assert.match(
      why(network, "203.0.113.1") ?? "",
      /is no address of .* eth0, but of eth1; use 192\.0\.2\.1/,
    );
    assert.match(why(network, "2001:db8::9") ?? "", /use 2001:db8::1/);
  });

  test("may come later while the interface is down, or has no address of that family but the VIP", () => {
    const down = machine({ eth0: ["192.0.2.1/24"] });
    const links = down.links.map((link) => ({ ...link, up: false }));
    assert.equal(why({ ...down, links }, "192.0.2.9"), undefined);
    for (const addresses of [[], ["fe80::1/64"], ["2001:db8::1/64"], ["192.0.2.100/32"]])
      assert.equal(why(machine({ eth0: addresses }), "192.0.2.9"), undefined);
    assert.equal(why(machine({ eth0: ["192.0.2.1/24", "fe80::1/64"] }), "2001:db8::9"), undefined);
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
