/** What an agent does with the network that it finds at its start, over made-up machines. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findNodeNetwork, followSubnets, refuseVips } from "../../../src/agent/node-network.ts";
import type { NodeNetwork, NodeNetworkDeps } from "../../../src/agent/node-network.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { LeaseholdError } from "../../../src/errors.ts";
import type { Network } from "../../../src/linux/links.ts";
import type { LinkEntry } from "../../../src/linux/rtnetlink.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Logger } from "../../../src/log.ts";
import { parseIp } from "../../../src/net.ts";
import type { IpAddress } from "../../../src/net.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const ip = (text: string): IpAddress => parseIp(text) ?? assert.fail(text);

/** `{ eth0: ["192.0.2.11/24"] }`; `lo` is the loopback, `tun` a tunnel, and `down` is down. */
function machine(links: Readonly<Record<string, readonly string[]>>): Network {
  const names = Object.keys(links);
  return {
    links: names.map((name, index): LinkEntry => ({
      index: index + 1,
      name,
      altNames: [],
      macBytes: new Uint8Array(6),
      up: name !== "down",
      carrier: name !== "down",
      loopback: name === "lo",
      ethernet: name !== "lo" && name !== "tun",
      ipv6Forwarding: false,
    })),
    addresses: names.flatMap((name, index) =>
      (links[name] ?? []).map((text) => {
        const [address = "", prefix] = text.split("/");
        const entry = { linkIndex: index + 1, flags: 0, validSeconds: null, ours: false };
        return { ...entry, address: ip(address), prefixLength: Number(prefix) };
      }),
    ),
  };
}

interface Run {
  readonly clock: FakeClock;
  readonly lines: { readonly message: string; readonly fields: Readonly<Record<string, unknown>> }[];
  /** What the agent said that it waits for. */
  readonly waits: (string | null)[];
  readonly result: Promise<NodeNetwork>;
  machine: Network;
}

function start(
  env: Readonly<Record<string, string>>,
  first: Network,
  routers: Readonly<Record<string, readonly string[]>> = {},
): Run {
  const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10", ...env }, "n1");
  if (parsed.kind === "error") assert.fail(parsed.problems.join("\n"));
  const clock = new FakeClock();
  const lines: Run["lines"] = [];
  const line = (fields: object, message: string): void => void lines.push({ message, fields: { ...fields } });
  const log: Logger = { error: line, warn: line, info: line, debug: line, child: () => log };
  const waits: Run["waits"] = [];
  const deps: NodeNetworkDeps = {
    clock,
    log,
    readNetwork: () => run.machine,
    linkRoutes: () => [],
    gateways: (name) => (routers[name] ?? []).map(ip),
    onWaiting: (reason) => void waits.push(reason),
  };
  const run: Omit<Run, "result"> = { clock, lines, waits, machine: first };
  return Object.assign(run, { result: findNodeNetwork(parsed.config, deps, new AbortController().signal) });
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

async function pass(run: Run, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    await turn();
    run.clock.advance(1_000);
  }
  await turn();
}

async function refused(run: Run): Promise<LeaseholdError> {
  const error: unknown = await run.result.then(
    () => assert.fail("was accepted"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof LeaseholdError, String(error));
  assert.deepEqual(run.waits, []);
  return error;
}

const NODE = { eth0: ["192.0.2.11/24", "2001:db8::11/64"] };

describe("an agent whose interface is not there yet", () => {
  test("says what it waits for, again every minute, and when the wait is over", async () => {
    const run = start({ LEASEHOLD_INTERFACE: "eth0" }, machine({ eth1: ["198.51.100.1/24"] }));
    await pass(run, 59);
    const missing = "there is no interface eth0; this machine has eth1 (198.51.100.1/24)";
    assert.deepEqual(run.waits, [missing]);
    assert.equal(run.lines.length, 1);
    await pass(run, 121);
    assert.deepEqual(
      run.lines.map(({ message, fields }) => [message, fields["code"], fields["waitedMs"]]),
      [0, 60_000, 120_000, 180_000].map((ms) => ["Waiting for the VIP's interface", "LH_INTERFACE", ms]),
    );
    run.machine = machine({ eth0: [] });
    await pass(run, 1);
    assert.deepEqual(
      run.waits[1],
      "eth0 has no IPv4 address of this node's own; this machine has eth0 (no address)",
    );
    run.machine = machine(NODE);
    await pass(run, 1);
    assert.equal((await run.result).nodeIp.text, "192.0.2.11");
    assert.equal(run.waits.at(-1), null);
    assert.equal(run.waits.length, 3);
  });

  test("waits for LEASEHOLD_NODE_IP while the interface is down or has no address", async () => {
    const env = { LEASEHOLD_INTERFACE: "down", LEASEHOLD_NODE_IP: "192.0.2.11" };
    const run = start(env, machine({ down: [] }));
    await pass(run, 2);
    assert.deepEqual(run.waits, ['down does not have LEASEHOLD_NODE_IP="192.0.2.11" yet']);
    assert.equal(run.lines[0]?.fields["code"], "LH_NODE_IP");
    run.machine = machine({ down: ["192.0.2.77/24"] });
    await pass(run, 2);
    assert.equal(run.waits.length, 1);
    run.machine = machine({ down: ["192.0.2.77/24", "192.0.2.11/24"] });
    await pass(run, 1);
    assert.equal((await run.result).nodeIp.text, "192.0.2.11");
  });

  test("does not wait for what is there", async () => {
    const run = start({ LEASEHOLD_NODE_IP: "2001:db8::11" }, machine(NODE));
    assert.deepEqual(
      (await run.result).addresses.map(({ text }) => text),
      ["192.0.2.11", "2001:db8::11"],
    );
    assert.deepEqual([run.waits, run.lines], [[], []]);
  });
});

describe("settings that the machine shows to be wrong", () => {
  test("are refused: a NODE_IP that the interface does not have", async () => {
    const { code, message } = await refused(start({ LEASEHOLD_NODE_IP: "192.0.2.12" }, machine(NODE)));
    assert.equal(code, "LH_NODE_IP");
    assert.match(message, /^LEASEHOLD_NODE_IP="192\.0\.2\.12" is no address of .* eth0; use 192\.0\.2\.11/);
  });

  for (const [vip, what] of [
    ["192.0.2.255", "the network's broadcast address"],
    ["192.0.2.0", "the network's own address"],
    ["192.0.2.1", "the gateway of eth0's default route"],
    ["2001:db8::", "the network's subnet-router anycast address"],
    ["2001:db8::1", "the gateway of eth0's default route"],
  ] as const) {
    test(`are refused: the VIP ${vip}, which is ${what}`, async () => {
      const routers = { eth0: ["192.0.2.1", "2001:db8::1"] };
      for (const env of [{}, { LEASEHOLD_INTERFACE: "eth0" }]) {
        const error = await refused(start({ ...env, LEASEHOLD_VIP: vip }, machine(NODE), routers));
        assert.equal(error.code, "LH_VIP_RESERVED");
        assert.ok(error.message.startsWith(`LEASEHOLD_VIP="${vip}" is ${what}`), error.message);
        assert.match(error.message, /; use an address of that network that no machine has$/);
      }
      assert.throws(
        () =>
          refuseVips([ip(vip)], {
            readNetwork: () => machine(NODE),
            gateways: () => routers.eth0.map(ip),
          }),
        { code: "LH_VIP_RESERVED" },
      );
    });
  }

  test("are not refused: an interface that is not Ethernet. It is said later what is lost on it", async () => {
    const tunnel = machine({ lo: ["127.0.0.1/8"], tun: ["192.0.2.11/24"], eth0: ["198.51.100.1/24"] });
    for (const env of [{ LEASEHOLD_INTERFACE: "tun" }, {}])
      assert.equal((await start(env, tunnel).result).interfaceName, "tun");
  });

  test("are refused all at once", async () => {
    const { code, message } = await refused(
      start(
        { LEASEHOLD_VIP: "192.0.2.255,2001:db8::11", LEASEHOLD_NODE_IP: "192.0.2.12" },
        machine({ eth0: ["192.0.2.11/24", "2001:db8::11/64"] }),
      ),
    );
    assert.equal(code, "LH_CONFIG");
    assert.match(message, /"2001:db8::11" is this machine's own address/);
    assert.match(message, /"192\.0\.2\.255" is the network's broadcast address/);
    assert.match(message, /LEASEHOLD_NODE_IP="192\.0\.2\.12" is no address/);
  });

  test("are judged by the VIP's interface alone: another one's gateway and broadcast address do not count", async () => {
    const two = machine({ eth0: ["10.0.0.1/8"], eth1: ["192.0.2.11/24"] });
    const run = start({ LEASEHOLD_VIP: "10.0.0.255", LEASEHOLD_INTERFACE: "eth0" }, two, {
      eth1: ["192.0.2.1"],
    });
    assert.equal((await run.result).nodeIp.text, "10.0.0.1");
  });
});

test("a worker that started before its network finds the VIP's subnet later, and looks no more then", () => {
  let network = machine({ eth0: [] });
  let reads = 0;
  const read = (): Network => {
    reads += 1;
    return network;
  };
  let readNetwork = read;
  const subnets = followSubnets([ip("192.0.2.10")], { readNetwork: () => readNetwork(), log: silentLogger });
  assert.deepEqual(subnets(), []);
  readNetwork = () => assert.fail("EMFILE");
  assert.deepEqual(subnets(), []);
  readNetwork = read;
  network = machine({ eth0: ["192.0.2.77/24"], eth1: ["198.51.100.1/24"] });
  const found = [{ address: ip("192.0.2.77"), prefixLength: 24 }];
  assert.deepEqual([subnets(), subnets(), reads], [found, found, 2]);
});
