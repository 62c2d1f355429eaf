/** How an agent follows its network, over made-up machines. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { followNetwork, lookAgain } from "../../../src/agent/network-changes.ts";
import type { NetworkChanges } from "../../../src/agent/network-changes.ts";
import type { NodeNetwork } from "../../../src/agent/node-network.ts";
import type { Config } from "../../../src/config/config.ts";
import type { Network } from "../../../src/linux/links.ts";
import type { LinkEntry } from "../../../src/linux/rtnetlink.ts";
import type { Logger } from "../../../src/log.ts";
import { parseIp } from "../../../src/net.ts";
import type { IpAddress } from "../../../src/net.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const IFA_F_DEPRECATED = 0x20;
const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(text);
const VIPS = [ip("192.0.2.10")];
type Settings = Pick<Config, "vips" | "interface" | "nodeIp">;
const SETTINGS: Settings = { vips: VIPS, interface: undefined, nodeIp: undefined };

interface Card {
  readonly addresses?: readonly string[];
  readonly carrier?: boolean;
  readonly ethernet?: boolean;
  /** Flags of all of its addresses. */
  readonly flags?: number;
}

function machine(cards: Readonly<Record<string, Card>>): Network {
  const entries = Object.entries(cards);
  return {
    links: entries.map(([name, { carrier = true, ethernet = true }], index): LinkEntry => ({
      index: index + 1,
      name,
      altNames: [],
      macBytes: new Uint8Array(6),
      up: true,
      carrier,
      loopback: false,
      ethernet,
      ipv6Forwarding: false,
    })),
    addresses: entries.flatMap(([, { addresses = [], flags = 0 }], index) =>
      addresses.map((text) => {
        const [address = "", prefix] = text.split("/");
        const entry = { linkIndex: index + 1, flags, validSeconds: null, ours: false };
        return { ...entry, address: ip(address), prefixLength: Number(prefix) };
      }),
    ),
  };
}

function placeAt(interfaceName: string, ...texts: readonly string[]): NodeNetwork {
  const addresses = texts.map(ip);
  const [nodeIp = assert.fail()] = addresses;
  const prefixLength = interfaceName === "vpn" ? 16 : 24;
  return { interfaceName, nodeIp, addresses, subnets: [{ address: nodeIp, prefixLength }] };
}

const FIRST = placeAt("eth0", "192.0.2.11");

describe("a node's address", () => {
  const cases: readonly (readonly [what: string, card: Card, expected: string])[] = [
    [
      "is kept while the interface has it, whatever else comes",
      { addresses: ["192.0.2.77/24", "192.0.2.11/24"] },
      "192.0.2.11",
    ],
    ["is another one once DHCP has given another", { addresses: ["192.0.2.77/24"] }, "192.0.2.77"],
    ["is never the VIP", { addresses: ["192.0.2.10/24", "192.0.2.77/24"] }, "192.0.2.77"],
    ["stays what it was while the interface has none", {}, "192.0.2.11"],
    [
      "is the one beside the VIP, when that comes after another",
      { addresses: ["10.0.2.15/24", "192.0.2.77/24"] },
      "192.0.2.77",
    ],
    ["is one of another network when there is no other", { addresses: ["10.0.2.15/24"] }, "10.0.2.15"],
  ];
  for (const [what, card, expected] of cases)
    test(what, () => {
      const { nodeNetwork } = lookAgain(SETTINGS, FIRST, machine({ eth0: card }), "stay");
      assert.equal(nodeNetwork.nodeIp.text, expected);
      assert.deepEqual(
        nodeNetwork.addresses.map(({ text }) => text),
        [expected],
      );
      assert.notDeepEqual(nodeNetwork.subnets, [], "the Lease's addresses always have a limit");
    });

  test("that is deprecated gives way to one that is not", () => {
    const network = machine({ eth0: { addresses: ["2001:db8::11/64"], flags: IFA_F_DEPRECATED } });
    const more = machine({ eth0: { addresses: ["2001:db8::22/64"] } });
    const before = placeAt("eth0", "2001:db8::11");
    const settings = { ...SETTINGS, vips: [ip("2001:db8::10")] };
    assert.equal(lookAgain(settings, before, network, "stay").nodeNetwork.nodeIp.text, "2001:db8::11");
    const both = { ...network, addresses: [...network.addresses, ...more.addresses] };
    assert.equal(lookAgain(settings, before, both, "stay").nodeNetwork.nodeIp.text, "2001:db8::22");
  });

  test("of the other family comes, changes and goes", () => {
    const at = (addresses: readonly string[], before: NodeNetwork): readonly string[] =>
      lookAgain(SETTINGS, before, machine({ eth0: { addresses } }), "stay").nodeNetwork.addresses.map(
        ({ text }) => text,
      );
    const dual = placeAt("eth0", "192.0.2.11", "2001:db8::11");
    assert.deepEqual(at(["192.0.2.11/24", "2001:db8::22/64"], dual), ["192.0.2.11", "2001:db8::22"]);
    assert.deepEqual(at(["192.0.2.11/24", "2001:db8::22/64"], FIRST), ["192.0.2.11", "2001:db8::22"]);
    assert.deepEqual(at(["192.0.2.11/24"], dual), ["192.0.2.11"]);
  });

  test("that was set by hand stays, and what is wrong is said", () => {
    const settings = { ...SETTINGS, nodeIp: ip("192.0.2.11") };
    const found = lookAgain(settings, FIRST, machine({ eth0: { addresses: ["192.0.2.77/24"] } }), "stay");
    assert.equal(found.nodeNetwork.nodeIp.text, "192.0.2.11");
    assert.equal(found.problem?.code, "LH_NODE_IP");
    assert.match(
      found.problem.message,
      /"192\.0\.2\.11" is no address of the VIP's interface eth0; use 192\.0\.2\.77/,
    );
    const none = lookAgain(settings, FIRST, machine({ eth0: {} }), "stay");
    assert.match(
      none.problem?.message ?? "",
      /eth0 does not have this node's address 192\.0\.2\.11 any more/,
    );
  });
});

describe("the VIP's interface", () => {
  const VPN = { addresses: ["192.0.2.5/16"] };
  const ETH = { addresses: ["192.0.2.11/24"] };
  const moved = (from: string, cards: Readonly<Record<string, Card>>, settings = SETTINGS): string =>
    lookAgain(settings, placeAt(from, "192.0.2.5"), machine(cards), "move").nodeNetwork.interfaceName;

  test("is the better one once that is there", () => {
    assert.equal(moved("vpn", { vpn: VPN, eth0: ETH }), "eth0");
    assert.equal(moved("vpn", { vpn: VPN, eth0: { ...ETH, carrier: false } }), "vpn");
    assert.equal(moved("eth0", { vpn: VPN, eth0: ETH }), "eth0");
    assert.equal(moved("tun0", { tun0: { ...ETH, ethernet: false }, eth0: VPN }), "eth0");
  });

  test("is one that works, while the former has no carrier or is gone", () => {
    assert.equal(moved("eth0", { vpn: VPN, eth0: { ...ETH, carrier: false } }), "vpn");
    assert.equal(moved("eth0", { vpn: VPN }), "vpn");
    assert.equal(
      moved("eth0", { vpn: { ...VPN, carrier: false }, eth0: { ...ETH, carrier: false } }),
      "eth0",
    );
  });

  test("stays while no other is clearly better, and where it lacks its address for a moment", () => {
    assert.equal(moved("eth0", { eth0: ETH, eth1: { addresses: ["192.0.2.12/24"] } }), "eth0");
    assert.equal(moved("eth0", { eth0: {}, vpn: VPN }), "eth0");
    assert.equal(moved("eth0", { eth1: { addresses: ["198.51.100.1/24"] } }), "eth0");
    assert.equal(moved("vpn", { vpn: VPN, eth0: ETH }, { ...SETTINGS, interface: "vpn" }), "vpn");
  });

  test("is none that lacks LEASEHOLD_NODE_IP, as at the start", () => {
    const cards = { vpn: VPN, eth0: { ...ETH, carrier: false } };
    const at = (nodeIp: string): string => moved("eth0", cards, { ...SETTINGS, nodeIp: ip(nodeIp) });
    assert.equal(at("192.0.2.11"), "eth0");
    assert.equal(at("192.0.2.5"), "vpn");
  });

  test("is not one on which the VIP is the gateway or the broadcast address", () => {
    const network = machine({ vpn: VPN, eth0: ETH });
    const at = (gateways: readonly IpAddress[]): string =>
      lookAgain(SETTINGS, placeAt("vpn", "192.0.2.5"), network, "move", (name) =>
        name === "eth0" ? gateways : [],
      ).nodeNetwork.interfaceName;
    assert.equal(at([]), "eth0");
    assert.equal(at(VIPS), "vpn");
  });
});

interface Run {
  readonly clock: FakeClock;
  readonly lines: string[];
  readonly moves: string[];
  readonly changes: NetworkChanges;
  reads: number;
  machine: Network;
  holdsVip: boolean;
  /** The kernel reports a change. */
  report(): void;
}

function follow(first: Network, place = FIRST, settings: Partial<Settings> = {}): Run {
  const lines: string[] = [];
  const line = (fields: object, message: string): void =>
    void lines.push(`${message} ${JSON.stringify({ ...fields, err: undefined, hint: undefined })}`);
  const log: Logger = { error: line, warn: line, info: line, debug: line, child: () => log };
  let callback = (): void => assert.fail();
  const moves: string[] = [];
  const clock = new FakeClock();
  const run: Omit<Run, "changes"> = {
    clock,
    lines,
    moves,
    machine: first,
    holdsVip: false,
    reads: 0,
    report: () => callback(),
  };
  const changes = followNetwork({ ...SETTINGS, ...settings }, place, {
    clock,
    log,
    readNetwork() {
      run.reads += 1;
      return run.machine;
    },
    readLink: (name) => ({ ...run.machine, links: run.machine.links.filter((link) => link.name === name) }),
    linkRoutes: () => [],
    gateways: () => [],
    subscribe(listener) {
      callback = listener;
      return { close: () => {} };
    },
    holdsVip: () => run.holdsVip,
    onChange: () => void moves.push(`${changes.current().interfaceName} ${changes.current().nodeIp.text}`),
  });
  return Object.assign(run, { changes });
}

describe("an agent that follows its network", () => {
  test("takes a new address within seconds of the kernel's report, or of a missed one, and logs it once", () => {
    const run = follow(machine({ eth0: { addresses: ["192.0.2.11/24"] } }));
    run.clock.advance(60_000);
    assert.deepEqual([run.moves, run.lines], [[], []]);
    run.machine = machine({ eth0: { addresses: ["192.0.2.77/24"] } });
    run.report();
    run.clock.advance(2_000);
    assert.deepEqual(run.moves, ["eth0 192.0.2.77"]);
    run.clock.advance(60_000);
    assert.equal(run.lines.length, 1);
    assert.match(
      run.lines[0] ?? "",
      /has another address .*"nodeIp":"192\.0\.2\.77".*"nodeIpBefore":"192\.0\.2\.11"/,
    );
    run.machine = machine({ eth0: { addresses: ["192.0.2.78/24"] } });
    run.clock.advance(10_000);
    assert.equal(run.moves.at(-1), "eth0 192.0.2.78");
    run.changes.close();
    assert.equal(run.clock.pendingTimers, 0);
  });

  test("says once that the address is gone, and goes on with it until there is another", () => {
    const run = follow(machine({ eth0: {} }));
    run.clock.advance(60_000);
    assert.equal(run.changes.current().nodeIp.text, "192.0.2.11");
    assert.equal(run.lines.length, 1);
    assert.match(run.lines[0] ?? "", /"code":"LH_NODE_IP"/);
  });

  test("says once that LEASEHOLD_NODE_IP is wrong now", () => {
    const run = follow(machine({ eth0: { addresses: ["192.0.2.77/24"] } }), FIRST, {
      nodeIp: ip("192.0.2.11"),
    });
    run.clock.advance(60_000);
    assert.equal(run.changes.current().nodeIp.text, "192.0.2.11");
    assert.equal(run.lines.length, 1);
    assert.match(run.lines[0] ?? "", /"code":"LH_NODE_IP"/);
  });

  test("says once that the interface cannot announce the VIP", () => {
    const run = follow(machine({ eth0: { addresses: ["192.0.2.11/24"], ethernet: false } }));
    run.clock.advance(60_000);
    assert.equal(run.lines.length, 1);
    assert.match(run.lines[0] ?? "", /"code":"LH_LINK_TYPE"/);
  });

  test("changes from a VPN that was up first to the network card", () => {
    const vpn = { addresses: ["192.0.2.5/16"] };
    const run = follow(machine({ vpn, eth0: { carrier: false } }), placeAt("vpn", "192.0.2.5"));
    run.clock.advance(30_000);
    assert.deepEqual(run.moves, []);
    const { reads } = run;
    run.clock.advance(30_000);
    assert.equal(run.reads, reads, "the whole network is not read for nothing");
    run.machine = machine({ vpn, eth0: { addresses: ["192.0.2.11/24"] } });
    run.report();
    run.clock.advance(12_000);
    assert.deepEqual(run.moves, ["eth0 192.0.2.11"]);
    assert.match(
      run.lines.at(-1) ?? "",
      /interface is another one now .*"interface":"eth0".*"interfaceBefore":"vpn"/,
    );
  });

  test("finds a better interface also where no report of it came, within a minute or so", () => {
    const vpn = { addresses: ["192.0.2.5/16"] };
    const run = follow(machine({ vpn, eth0: { carrier: false } }), placeAt("vpn", "192.0.2.5"));
    run.clock.advance(30_000);
    run.machine = machine({ vpn, eth0: { addresses: ["192.0.2.11/24"] } });
    run.clock.advance(70_000);
    assert.deepEqual(run.moves, ["eth0 192.0.2.11"]);
  });

  test("stays on the link that has had the VIP, unless that is dead for longer than a flap", () => {
    const vpn = { addresses: ["192.0.2.5/16"] };
    const eth0 = { addresses: ["192.0.2.11/24"] };
    const run = follow(machine({ vpn, eth0 }), placeAt("vpn", "192.0.2.5"));
    run.holdsVip = true;
    run.clock.advance(2_000);
    run.holdsVip = false;
    const { reads } = run;
    // The last look was some seconds ago when the carrier goes.
    run.clock.advance(68_000);
    assert.deepEqual(run.moves, []);
    assert.equal(run.reads, reads, "the whole network is not read for nothing");
    run.machine = machine({ vpn: { ...vpn, carrier: false }, eth0 });
    run.report();
    run.clock.advance(6_000);
    run.machine = machine({ vpn, eth0 });
    run.report();
    run.clock.advance(20_000);
    assert.deepEqual(run.moves, []);
    run.machine = machine({ vpn: { ...vpn, carrier: false }, eth0 });
    run.report();
    run.clock.advance(30_000);
    assert.deepEqual(run.moves, ["eth0 192.0.2.11"]);
  });

  test("stays on a link without carrier for a flap also where that has not had the VIP", () => {
    const vpn = { addresses: ["192.0.2.5/16"] };
    const eth0 = { addresses: ["192.0.2.11/24"] };
    const run = follow(machine({ vpn, eth0 }));
    run.clock.advance(120_000);
    for (let i = 0; i < 3; i++) {
      run.machine = machine({ vpn, eth0: { ...eth0, carrier: false } });
      run.report();
      run.clock.advance(6_000);
      run.machine = machine({ vpn, eth0 });
      run.report();
      run.clock.advance(6_000);
    }
    assert.deepEqual(run.moves, []);
    run.machine = machine({ vpn, eth0: { ...eth0, carrier: false } });
    run.report();
    run.clock.advance(14_000);
    assert.deepEqual(run.moves, ["vpn 192.0.2.5"]);
  });

  test("follows an interface that is renamed or deleted at once where that has not had the VIP", () => {
    const run = follow(machine({ eth0: { addresses: ["192.0.2.11/24"] } }));
    run.machine = machine({ lan0: { addresses: ["192.0.2.11/24"] } });
    run.report();
    run.clock.advance(2_000);
    assert.deepEqual(run.moves, ["lan0 192.0.2.11"]);
  });

  for (const holdsVip of [false, true])
    test(`goes back to the link that it had to leave, ${holdsVip ? "also with" : "also without"} the VIP`, () => {
      const vpn = { addresses: ["192.0.2.5/16"] };
      const eth0 = { addresses: ["192.0.2.11/24"] };
      const run = follow(machine({ vpn, eth0 }));
      run.holdsVip = true;
      run.clock.advance(2_000);
      run.holdsVip = false;
      run.machine = machine({ vpn, eth0: { ...eth0, carrier: false } });
      run.report();
      run.clock.advance(20_000);
      assert.deepEqual(run.moves, ["vpn 192.0.2.5"]);
      run.holdsVip = true;
      run.clock.advance(120_000);
      run.holdsVip = holdsVip;
      assert.equal(run.moves.length, 1, "the former link is dead");
      run.machine = machine({ vpn, eth0 });
      run.report();
      run.clock.advance(12_000);
      assert.deepEqual(run.moves, ["vpn 192.0.2.5", "eth0 192.0.2.11"]);
      run.holdsVip = true;
      run.clock.advance(120_000);
      const { reads } = run;
      run.clock.advance(120_000);
      assert.equal(run.reads, reads, "it has had the VIP");
    });

  test("that has the VIP changes to no other interface than the one that it had to leave", () => {
    const wide = { addresses: ["192.0.2.5/16"] };
    const run = follow(machine({ wide, eth0: { addresses: ["192.0.2.11/24"] } }));
    run.machine = machine({ wide });
    run.report();
    run.clock.advance(2_000);
    run.holdsVip = true;
    run.clock.advance(2_000);
    run.machine = machine({ wide, eth1: { addresses: ["192.0.2.12/25"] } });
    run.report();
    run.clock.advance(120_000);
    assert.deepEqual(run.moves, ["wide 192.0.2.5"]);
  });

  test("tells of a change again when it could not be taken over", () => {
    const run = follow(machine({ eth0: { addresses: ["192.0.2.11/24"] } }));
    let calls = 0;
    run.moves.push = () => (calls++ === 0 ? assert.fail("out of descriptors") : calls);
    run.machine = machine({ eth0: { addresses: ["192.0.2.77/24"] } });
    run.report();
    run.clock.advance(2_000);
    assert.equal(calls, 1);
    run.clock.advance(60_000);
    assert.equal(calls, 2);
  });

  test("looks again when the network could not be read", () => {
    const run = follow(machine({ eth0: { addresses: ["192.0.2.11/24"] } }));
    const readable = machine({ eth0: { addresses: ["192.0.2.77/24"] } });
    Object.defineProperty(run, "machine", {
      get: () => (run.clock.now() < 5_000 ? assert.fail("out of descriptors") : readable),
    });
    run.clock.advance(6_000);
    assert.deepEqual(run.moves, ["eth0 192.0.2.77"]);
  });
});
