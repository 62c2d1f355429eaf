/**
 * The VIP on a real kernel. The tests run in a sandbox of their own, whose network namespace has one end of a
 * veth pair, `v0`; the other, `v1`, is in the namespace `peer`: a neighbour that listens.
 */
import { strict as assert } from "node:assert";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { refuseVips } from "../../src/agent/node-network.ts";
import { systemClock } from "../../src/clock.ts";
import { LeaseholdError, type ErrorCode } from "../../src/errors.ts";
import { bootTimeMs } from "../../src/linux/libc.ts";
import { chooseInterface, chooseNodeIp, readNetwork } from "../../src/linux/links.ts";
import { gateways, linkRoutes } from "../../src/linux/routes.ts";
import { addAddress, createAddress, removeAddress } from "../../src/linux/rtnetlink.ts";
import { openRouteSocket } from "../../src/linux/sockets.ts";
import { silentLogger } from "../../src/log.ts";
import { parseIp, type IpAddress } from "../../src/net.ts";
import { createVipKernel } from "../../src/vip/linux-kernel.ts";
import { createVip, foreignOwner } from "../../src/vip/vip.ts";
import { runInSandbox } from "../support/sandbox/sandbox.ts";

const INSIDE = "--inside-sandbox";
const MAC = "02:00:00:00:00:0a";
const V4 = ip("192.0.2.100");
const V6 = ip("2001:db8::100");
const GROUPS: readonly (readonly [string, readonly IpAddress[]])[] = [
  ["an IPv4 VIP", [V4]],
  ["an IPv6 VIP", [V6]],
  ["a dual-stack VIP", [V4, V6]],
];

function ip(text: string): IpAddress {
  const address = parseIp(text);
  assert.ok(address);
  return address;
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function makeLink(): void {
  run("ip", "link", "add", "v0", "address", MAC, "type", "veth", "peer", "name", "v1", "netns", "peer");
  run("ip", "address", "add", "192.0.2.1/24", "dev", "v0");
  run("ip", "address", "add", "2001:db8::1/64", "dev", "v0", "nodad");
  // No link-local address: its duplicate address detection would report a change at a moment of its own.
  run("ip", "link", "set", "v0", "addrgenmode", "none");
  run("ip", "link", "set", "v0", "up");
  run("ip", "-n", "peer", "address", "add", "192.0.2.2/24", "dev", "v1");
  run("ip", "-n", "peer", "address", "add", "2001:db8::2/64", "dev", "v1", "nodad");
  run("ip", "-n", "peer", "link", "set", "v1", "up");
}

/** Not from /sys, which shows the namespace of the one who mounted it. */
const linkIndex = (): number => Number(/^\d+/u.exec(run("ip", "-o", "link", "show", "dev", "v0"))?.[0]);

/** The VIP's addresses that the kernel has, as iproute2 sees them. */
function bound(addresses: readonly IpAddress[]): readonly string[] {
  const listed = run("ip", "-o", "address", "show");
  return addresses.map((address) => address.text).filter((text) => listed.includes(` ${text}/`));
}

/** Waits until `condition` holds; gives the milliseconds that took, or fails after `limitMs`. */
async function until(what: string, limitMs: number, condition: () => boolean): Promise<number> {
  const startMs = bootTimeMs();
  while (!condition()) {
    assert.ok(bootTimeMs() - startMs < limitMs, `${what}: not within ${limitMs} ms`);
    await sleep(5);
  }
  return bootTimeMs() - startMs;
}

function throwsCode(code: ErrorCode, pattern: RegExp, call: () => void): void {
  assert.throws(
    call,
    (error) => error instanceof LeaseholdError && error.code === code && pattern.test(error.message),
  );
}

/** Frames with v0's MAC as their source, as they reach the neighbour. */
class Capture implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #pcap = Buffer.alloc(0);
  #said = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, "exit");
    // Read to its end: tcpdump dies of a closed stderr, and a dead one captures nothing, which some tests
    // expect to see.
    child.stderr?.on("data", (chunk: Buffer) => (this.#said += String(chunk)));
    child.stdout?.on("data", (chunk: Buffer) => (this.#pcap = Buffer.concat([this.#pcap, chunk])));
  }

  static async start(): Promise<Capture> {
    const filter = `ether src ${MAC} and (arp or (icmp6 and ip6[40] == 136))`;
    const argv = [
      "netns",
      "exec",
      "peer",
      "tcpdump",
      "-i",
      "v1",
      "-n",
      "-U",
      "--immediate-mode",
      "-w",
      "-",
      filter,
    ];
    const child = spawn("ip", argv, { stdio: ["ignore", "pipe", "pipe"] });
    const capture = new Capture(child);
    await until("tcpdump", 5000, () => capture.#said.includes("listening on"));
    return capture;
  }

  /** Hexadecimal, in order of arrival. */
  frames(): readonly string[] {
    const frames: string[] = [];
    let offset = 24;
    while (offset + 16 <= this.#pcap.length) {
      const length = this.#pcap.readUInt32LE(offset + 8);
      if (offset + 16 + length > this.#pcap.length) break;
      frames.push(this.#pcap.toString("hex", offset + 16, offset + 16 + length));
      offset += 16 + length;
    }
    return frames;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assert.equal(this.#child.exitCode ?? this.#child.signalCode, null, `tcpdump ended: ${this.#said}`);
    this.#child.kill("SIGTERM");
    await this.#exited;
  }
}

const mac = "02000000000a";
const ARP_REQUEST = `ffffffffffff${mac}08060001080006040001${mac}c0000264000000000000c0000264`;
const ARP_REPLY = `ffffffffffff${mac}08060001080006040002${mac}c0000264${mac}c0000264`;
const VIP6 = "20010db8000000000000000000000100";
const ALL_NODES = "ff020000000000000000000000000001";
const advertisement = (checksum: string, flags: string): string =>
  `333300000001${mac}86dd6000000000203aff${VIP6}${ALL_NODES}8800${checksum}${flags}000000${VIP6}0201${mac}`;

function insideSandbox(): void {
  const clock = systemClock(bootTimeMs);
  const open: { close(): void }[] = [];

  function openKernel(): ReturnType<typeof createVipKernel> {
    const kernel = createVipKernel({ interfaceName: () => "v0", log: silentLogger });
    open.push(kernel);
    return kernel;
  }

  function openVip(
    addresses: readonly IpAddress[],
    options: { onFailure?: (error: LeaseholdError) => void } = {},
  ): ReturnType<typeof createVip> {
    const vip = createVip({
      clock,
      kernel: openKernel(),
      log: silentLogger,
      addresses,
      lifetimeSeconds: 3,
      ...options,
    });
    open.push({ close: () => vip.stop() });
    return vip;
  }

  beforeEach(() => {
    run("ip", "netns", "add", "peer");
    makeLink();
  });

  afterEach(() => {
    for (const resource of open.splice(0).toReversed()) resource.close();
    run("ip", "netns", "delete", "peer");
    // Deleting one end deletes the other, but a namespace's end comes a little later.
    try {
      run("ip", "link", "delete", "v0");
    } catch {
      assert.ok(!run("ip", "link").includes("v0@"));
    }
  });

  for (const [name, addresses] of GROUPS) {
    describe(name, () => {
      test("is bound as marked host addresses that end, and taken back", () => {
        const kernel = openKernel();
        kernel.bind(addresses, 3);
        for (const address of addresses) {
          const entry = kernel.addresses().find((candidate) => candidate.address.text === address.text);
          assert.ok(entry);
          assert.deepEqual(
            { ...entry, validSeconds: null, address: null },
            {
              address: null,
              prefixLength: address.family === 4 ? 32 : 128,
              linkIndex: linkIndex(),
              ours: true,
              validSeconds: null,
            },
          );
          assert.ok(
            entry.validSeconds !== null && entry.validSeconds >= 2 && entry.validSeconds <= 3,
            `valid ${entry.validSeconds} s`,
          );
        }
        const listed = run("ip", "-o", "address", "show", "dev", "v0", "to", "192.0.2.100").concat(
          run("ip", "-o", "-6", "address", "show", "dev", "v0", "to", "2001:db8::100"),
        );
        for (const line of listed.trim().split("\n")) {
          assert.match(line, /dynamic/);
          assert.match(line, /noprefixroute/);
          assert.match(line, /deprecated|preferred_lft 0sec/);
          if (line.includes("inet6")) assert.match(line, /nodad/);
          else assert.match(line, /v0:lh/);
        }
        assert.deepEqual(foreignOwner(kernel, addresses), []);
        kernel.unbind(addresses);
        assert.deepEqual(bound(addresses), []);
        kernel.unbind(addresses);
      });

      test("is removed by the kernel within its lifetime and one second", async () => {
        const kernel = openKernel();
        kernel.bind(addresses, 2);
        const goneMs = await until("expiry", 3500, () => bound(addresses).length === 0);
        assert.ok(goneMs >= 1900 && goneMs <= 3200, `gone after ${goneMs.toFixed(0)} ms`);
      });

      test("is removed sooner when it was told to last less than before", async () => {
        const kernel = openKernel();
        kernel.bind(addresses, 60);
        kernel.bind(addresses, 1);
        const goneMs = await until("expiry", 2500, () => bound(addresses).length === 0);
        assert.ok(goneMs >= 900 && goneMs <= 2200, `gone after ${goneMs.toFixed(0)} ms`);
      });

      test("stays while it is refreshed", async () => {
        const kernel = openKernel();
        for (let i = 0; i < 5; i++) {
          kernel.bind(addresses, 1);
          await sleep(500);
          assert.equal(bound(addresses).length, addresses.length);
        }
      });

      test("is announced in the bytes of the RFCs, and a neighbour that knew another MAC learns ours", async () => {
        await using capture = await Capture.start();
        const kernel = openKernel();
        for (const address of addresses) {
          run(
            "ip",
            "-n",
            "peer",
            "neigh",
            "replace",
            address.text,
            "lladdr",
            "02:00:00:00:00:99",
            "dev",
            "v1",
            "nud",
            "stale",
          );
        }
        kernel.bind(addresses, 3);
        kernel.announce(addresses);
        const expected = addresses.flatMap((address) =>
          address.family === 4 ? [ARP_REQUEST, ARP_REPLY] : [advertisement("f723", "20")],
        );
        await until("the frames", 2000, () => capture.frames().length >= expected.length);
        await sleep(50);
        assert.deepEqual(capture.frames(), expected);
        for (const address of addresses)
          assert.match(run("ip", "-n", "peer", "neigh", "show", address.text), new RegExp(MAC, "u"));
      });

      test("that somebody deletes is back within a second", async () => {
        const vip = openVip(addresses);
        vip.hold(clock.now() + 60_000);
        const [first] = addresses;
        assert.ok(first);
        await sleep(50);
        run("ip", "address", "delete", `${first.text}/${first.family === 4 ? 32 : 128}`, "dev", "v0");
        await until("the address", 1000, () => bound(addresses).length === addresses.length);
        await until("the count", 1000, () => vip.status().readded === 1);
        vip.release();
        assert.deepEqual(bound(addresses), []);
      });

      test("follows an interface that is deleted and made again", async () => {
        const failures: string[] = [];
        const vip = openVip(addresses, { onFailure: (error) => failures.push(error.code) });
        vip.hold(clock.now() + 60_000);
        const before = linkIndex();
        run("ip", "link", "delete", "v0");
        await until("the failure", 1000, () => failures.length > 0);
        assert.deepEqual(failures, ["LH_INTERFACE"]);
        assert.equal(vip.status().bound, false);
        makeLink();
        assert.notEqual(linkIndex(), before);
        await until(
          "the VIP on the new link",
          1000,
          () => vip.status().bound && bound(addresses).length === addresses.length,
        );
      });

      test("is announced again after the carrier came back", async () => {
        const vip = openVip(addresses);
        vip.hold(clock.now() + 60_000);
        // Past the 5 s step nothing is due for a minute; a fresh schedule is told from the old one by its
        // first two steps.
        await sleep(1100);
        run("ip", "-n", "peer", "link", "set", "v1", "down");
        await sleep(100);
        const before = vip.status().announcements;
        run("ip", "-n", "peer", "link", "set", "v1", "up");
        await until("two announcements", 700, () => vip.status().announcements >= before + 2);
      });
    });
  }

  test("both addresses or none: one that cannot be bound takes the other back", () => {
    run("sysctl", "-qw", "net.ipv6.conf.v0.disable_ipv6=1");
    const kernel = openKernel();
    throwsCode("LH_NATIVE", /^2001:db8::100 on v0: add address: E/, () => kernel.bind([V4, V6], 3));
    assert.deepEqual(bound([V4, V6]), []);
  });

  describe("an address that reads as the VIP and is not ours", () => {
    /** Seconds are left out: they run. */
    const shown = (...args: string[]): string =>
      run("ip", ...args)
        .replace(/(valid_lft|preferred_lft) \d+sec/gu, "$1 some")
        .trim();
    const addressesOf = (address: IpAddress): string =>
      shown("-o", "address", "show", "to", `${address.text}/${address.family === 4 ? 32 : 128}`);

    for (const promote of ["0", "1"]) {
      for (const first of ["the machine's", "ours"]) {
        test(`from DHCP, the machine's only IPv4 address: it keeps its subnet and routes beside ours and after it (first ${first}, promote_secondaries=${promote})`, () => {
          run("sysctl", "-qw", `net.ipv4.conf.v0.promote_secondaries=${promote}`);
          run("ip", "address", "delete", "192.0.2.1/24", "dev", "v0");
          const kernel = openKernel();
          if (first === "ours") kernel.bind([V4], 3);
          run(
            "ip",
            "address",
            "add",
            "192.0.2.100/24",
            "dev",
            "v0",
            "valid_lft",
            "3600",
            "preferred_lft",
            "3600",
          );
          run("ip", "route", "add", "default", "via", "192.0.2.2", "dev", "v0", "src", "192.0.2.100");
          const own = shown("-4", "-o", "address", "show", "dev", "v0", "to", "192.0.2.0/24")
            .split("\n")
            .filter((line) => line.includes("/24"));
          const routes = shown("-4", "route", "show", "table", "main");
          assert.match(routes, /default via 192\.0\.2\.2[^]*192\.0\.2\.0\/24/u);
          for (let round = 0; round < 2; round++) {
            kernel.bind([V4], 3);
            assert.equal(kernel.addresses().filter((entry) => entry.address.text === V4.text).length, 2);
            kernel.unbind([V4]);
            assert.deepEqual(addressesOf(V4).split("\n"), own);
            assert.equal(shown("-4", "route", "show", "table", "main"), routes);
          }
          run("ping", "-c1", "-W1", "192.0.2.2");
        });
      }
    }

    test("of IPv6 with a subnet: its lifetime stays what it was, ours is not bound, and neither is the other family's", () => {
      for (const lifetime of ["forever", "3600"]) {
        run(
          "ip",
          "address",
          "replace",
          "2001:db8::100/64",
          "dev",
          "v0",
          "nodad",
          "valid_lft",
          lifetime,
          "preferred_lft",
          lifetime,
        );
        const before = addressesOf(V6);
        const kernel = openKernel();
        throwsCode("LH_ADDRESS_OWNER", /^2001:db8::100\/64 is this machine's own address/, () =>
          kernel.bind([V4, V6], 3),
        );
        kernel.unbind([V4, V6]);
        assert.equal(addressesOf(V6), before);
        assert.equal(addressesOf(V4), "");
        const [entry] = kernel.addresses().filter(({ address }) => address.text === V6.text);
        assert.ok(
          lifetime === "forever" ? entry?.validSeconds === null : (entry?.validSeconds ?? 0) > 3500,
          `${entry?.validSeconds}`,
        );
        assert.deepEqual(foreignOwner(kernel, [V4, V6]), [entry]);
      }
    });

    for (const address of [V4, V6]) {
      const host = `${address.text}/${address.family === 4 ? 32 : 128}`;
      const theirs = [
        "address",
        "replace",
        host,
        "dev",
        "v0",
        ...(address.family === 6 ? ["nodad", "preferred_lft", "0", "valid_lft", "forever"] : []),
      ];

      test(`as keepalived binds it (IPv${address.family}): neither refreshed nor removed, and no reason to refuse the start`, () => {
        run("ip", ...theirs);
        const before = addressesOf(address);
        const kernel = openKernel();
        throwsCode("LH_VIP_FOREIGN", /was bound on this machine by another program$/, () =>
          kernel.bind([V4, V6], 3),
        );
        kernel.unbind([V4, V6]);
        assert.equal(addressesOf(address), before);
        assert.deepEqual(bound([V4, V6]), [address.text]);
        assert.deepEqual(foreignOwner(kernel, [V4, V6]), []);
        // Bound between our look and our bind: the kernel refuses.
        const link = readNetwork().links.find(({ name }) => name === "v0") ?? assert.fail();
        const route = openRouteSocket();
        open.push(route);
        const [fate] = route.batch([createAddress(link, address, 3)], "add");
        assert.equal(fate?.kind === "failed" && fate.error.errnoName, "EEXIST");
        assert.equal(addressesOf(address), before);
      });

      test(`taken over from ours (IPv${address.family}): left to whoever took it, and ours again when it goes`, async () => {
        const failures: string[] = [];
        const vip = openVip([address], { onFailure: (error) => failures.push(error.code) });
        vip.hold(clock.now() + 60_000);
        run("ip", ...theirs);
        const taken = addressesOf(address);
        await until("the failure", 1000, () => failures.length > 0);
        assert.deepEqual(failures, ["LH_VIP_FOREIGN"]);
        await sleep(1200);
        assert.equal(addressesOf(address), taken, "never refreshed");
        assert.match(taken, /valid_lft forever/u);
        assert.deepEqual([vip.status().bound, vip.status().foreign], [false, true]);
        run("ip", "address", "delete", host, "dev", "v0");
        await until("ours", 1000, () => vip.status().bound && bound([address]).length === 1);
        assert.deepEqual([vip.status().failure, vip.status().foreign], [undefined, false]);
        vip.release();
        assert.deepEqual(bound([address]), []);
      });

      test(`on another interface (IPv${address.family}): it stays there, ours comes and goes`, () => {
        run("ip", "address", "add", host, "dev", "lo");
        try {
          const before = addressesOf(address);
          const kernel = openKernel();
          kernel.bind([V4, V6], 3);
          assert.equal(kernel.addresses().filter((entry) => entry.address.text === address.text).length, 2);
          kernel.unbind([V4, V6]);
          assert.equal(addressesOf(address), before);
          assert.deepEqual(bound([V4, V6]), [address.text]);
        } finally {
          run("ip", "address", "delete", host, "dev", "lo");
        }
      });
    }

    test("that is the machine's own ends the start with every one of them named, and what would be right", () => {
      run(
        "ip",
        "address",
        "add",
        "192.0.2.100/32",
        "dev",
        "v0",
        "valid_lft",
        "3600",
        "preferred_lft",
        "3600",
      );
      run("ip", "address", "add", "2001:db8::100/64", "dev", "v0", "nodad");
      throwsCode(
        "LH_ADDRESS_OWNER",
        /^LEASEHOLD_VIP="192\.0\.2\.100" .* \(192\.0\.2\.100\/32 on v0, given to it for a time.*\); LEASEHOLD_VIP="2001:db8::100" .* \(2001:db8::100\/64 on v0\); use /u,
        () => refuseVips([V4, V6], { readNetwork, gateways }),
      );
      refuseVips([ip("192.0.2.99")], { readNetwork, gateways });
    });
  });

  test("ours on another interface is unbound too: it was renamed, or configured anew", () => {
    run("ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1", "netns", "peer");
    try {
      run("ip", "link", "set", "w0", "up");
      const former = createVipKernel({ interfaceName: () => "w0", log: silentLogger });
      open.push(former);
      former.bind([V4, V6], 3);
      openKernel().unbind([V4, V6]);
      assert.deepEqual(bound([V4, V6]), []);
    } finally {
      run("ip", "link", "delete", "w0");
    }
  });

  test("an advertisement says router where the kernel's own would", async () => {
    run("sysctl", "-qw", "net.ipv6.conf.v0.forwarding=1");
    await using capture = await Capture.start();
    const kernel = openKernel();
    kernel.announce([V6]);
    await until("the frame", 2000, () => capture.frames().length > 0);
    assert.deepEqual(capture.frames(), [advertisement("7723", "a0")]);
  });

  test("without a link nothing is announced, and the error says why", () => {
    const kernel = openKernel();
    run("ip", "-n", "peer", "link", "set", "v1", "down");
    throwsCode("LH_LINK_DOWN", /v0 is without carrier/, () => kernel.announce([V4]));
    assert.deepEqual(
      { ...kernel.link(), index: 0 },
      { name: "v0", index: 0, mac: MAC, up: true, carrier: false },
    );
    run("ip", "link", "set", "v0", "down");
    throwsCode("LH_LINK_DOWN", /v0 is down/, () => kernel.announce([V4]));
    run("ip", "link", "delete", "v0");
    assert.equal(kernel.link(), undefined);
    throwsCode("LH_INTERFACE", /no interface v0/, () => kernel.announce([V4]));
    throwsCode("LH_INTERFACE", /no interface v0/, () => kernel.bind([V4], 3));
    kernel.unbind([V4]);
  });

  test("changes of links and addresses are reported well within a second", async () => {
    const kernel = openKernel();
    let reports = 0;
    open.push(kernel.onChange(() => reports++));
    const changes: readonly (readonly [string, readonly string[]])[] = [
      ["an IPv4 address", ["address", "add", "192.0.2.7/24", "dev", "v0"]],
      ["an IPv6 address", ["address", "add", "2001:db8::7/64", "dev", "v0", "nodad"]],
      ["a link", ["link", "set", "v0", "address", "02:00:00:00:00:0b"]],
      ["a removed address", ["address", "delete", "192.0.2.7/24", "dev", "v0"]],
    ];
    for (const [what, command] of changes) {
      // Links settle for a while after they were made (linkwatch): wait for silence, so that the report is
      // this change's.
      for (let seen = -1; seen !== reports; await sleep(100)) seen = reports;
      const before = reports;
      run("ip", ...command);
      await until(what, 500, () => reports > before);
    }
  });

  test("reports go on after the kernel dropped some for want of space", async () => {
    const kernel = openKernel();
    let reports = 0;
    open.push(kernel.onChange(() => reports++));
    const other = openRouteSocket();
    open.push(other);
    const link = readNetwork().links.find((candidate) => candidate.name === "v0");
    assert.ok(link);
    // Each is a few hundred bytes; the default receive buffer is full after some hundreds, and nobody reads
    // while this loop runs.
    for (let i = 0; i < 5000; i++)
      other.batch([addAddress(link, V4, 60), removeAddress(link.index, V4, 32)], "churn");
    await until("a report of the loss", 1000, () => reports > 0);
    await sleep(100);
    for (let i = 1; i <= 3; i++) {
      const before = reports;
      run("ip", "address", "add", `192.0.2.${i + 10}/24`, "dev", "v0");
      await until(`report ${i} after the loss`, 500, () => reports > before);
      await sleep(20);
    }
  });

  test("a holder that is stopped past its right and woken sends nothing and unbinds first", async () => {
    const source = (path: string): string =>
      JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
    const child = spawn(
      process.execPath,
      [
        "--input-type=module-typescript",
        "-e",
        `import { systemClock } from ${source("clock.ts")};
         import { bootTimeMs } from ${source("linux/libc.ts")};
         import { silentLogger } from ${source("log.ts")};
         import { parseIp } from ${source("net.ts")};
         import { createVipKernel } from ${source("vip/linux-kernel.ts")};
         import { createVip } from ${source("vip/vip.ts")};
         const clock = systemClock(bootTimeMs);
         const kernel = createVipKernel({ interfaceName: () => "v0", log: silentLogger });
         const vip = createVip({ clock, kernel, log: silentLogger, addresses: [parseIp("192.0.2.100"), parseIp("2001:db8::100")], lifetimeSeconds: 5 });
         vip.hold(clock.now() + 2100);`,
      ],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
    try {
      await until("the VIP", 5000, () => bound([V4, V6]).length === 2);
      // The announcement of 0.25 s is out, that of 1 s is not.
      await sleep(500);
      child.kill("SIGSTOP");
      await sleep(1800);
      assert.equal(bound([V4, V6]).length, 2, "still bound: the kernel counts whole seconds");
      await using capture = await Capture.start();
      child.kill("SIGCONT");
      const tookMs = await until("unbound", 1000, () => bound([V4, V6]).length === 0);
      assert.ok(tookMs < 300, `took ${tookMs.toFixed(0)} ms`);
      await sleep(1000);
      assert.deepEqual(capture.frames(), []);
      assert.deepEqual(bound([V4, V6]), []);
    } finally {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
  });

  describe("among the addresses of its interface", () => {
    /** The IPv4 addresses in the kernel's order, as programs find them that take the first one. */
    const order = (): readonly string[] =>
      run("ip", "-o", "-4", "address", "show", "dev", "v0")
        .split("\n")
        .flatMap((line) => /inet (\S+)/.exec(line)?.[1] ?? []);
    /** What the network's daemon does when it is told to configure the interface again. */
    const reconfigure = (own: string): void => {
      run("ip", "address", "flush", "dev", "v0", "to", "192.0.2.1");
      run("ip", "address", "add", own, "dev", "v0");
      run("ip", "route", "replace", "default", "dev", "v0");
    };
    /** The address that a connection would come from. */
    const sourceTo = async (address: string): Promise<string> => {
      const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
      try {
        await new Promise<void>((resolve) => socket.connect(9, address, resolve));
        return socket.address().address;
      } finally {
        socket.close();
      }
    };
    afterEach(() => {
      run(
        "sh",
        "-c",
        "ip route del default dev v0 2>/dev/null; ip -6 route del default dev v0 2>/dev/null; true",
      );
    });

    for (const own of ["192.0.2.1/24", "192.0.2.1/32"]) {
      test(`an IPv4 VIP is behind the machine's own ${own}, and no source, also after that was put back`, async () => {
        const vip = openVip([V4, V6]);
        vip.hold(clock.now() + 60_000);
        assert.deepEqual(order(), ["192.0.2.1/24", "192.0.2.100/32"]);
        reconfigure(own);
        assert.deepEqual(order(), ["192.0.2.100/32", own], "the kernel puts what is new behind");
        await until("the VIP is behind", 2_000, () => order().join() === `${own},192.0.2.100/32`);
        assert.equal(await sourceTo("203.0.113.5"), "192.0.2.1");
        assert.equal(vip.status().readded, 0);
        await sleep(1_500);
        assert.deepEqual(order(), [own, "192.0.2.100/32"], "and stays there");
      });
    }

    test("an IPv4 VIP in front would be the source: what a bind alone leaves", async () => {
      openKernel().bind([V4], 3);
      reconfigure("192.0.2.1/24");
      assert.equal(await sourceTo("203.0.113.5"), "192.0.2.100");
    });

    test("an IPv6 VIP stands where the kernel puts it, and is never a source", async () => {
      const vip = openVip([V6]);
      vip.hold(clock.now() + 60_000);
      const shown = run("ip", "-o", "-6", "address", "show", "dev", "v0", "scope", "global");
      assert.match(shown, /2001:db8::100\/128 .*deprecated/);
      run("ip", "-6", "route", "add", "default", "dev", "v0");
      assert.equal(await sourceTo("2001:db8:1::5"), "2001:db8::1");
      run("ip", "-6", "address", "del", "2001:db8::1/64", "dev", "v0");
      run("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "v0", "nodad");
      run("ip", "-6", "route", "replace", "default", "dev", "v0");
      assert.equal(await sourceTo("2001:db8:1::5"), "2001:db8::1");
    });
  });

  test("the interface is found by its route where its addresses have no subnet, and by an alternative name", () => {
    run("ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1", "netns", "peer");
    try {
      run("ip", "link", "property", "add", "dev", "w0", "altname", "the-lan-of-the-nodes");
      run("ip", "link", "set", "w0", "up");
      run("ip", "-n", "peer", "link", "set", "w1", "up");
      run("ip", "address", "add", "203.0.113.1/32", "dev", "w0");
      run("ip", "-6", "address", "add", "2001:db8:5::1/128", "dev", "w0", "nodad");
      run("ip", "route", "add", "203.0.113.0/24", "dev", "w0");
      run("ip", "-6", "route", "add", "2001:db8:5::/64", "dev", "w0");
      const network = { ...readNetwork(), routes: linkRoutes([4, 6]) };
      const vips = [ip("203.0.113.100"), ip("2001:db8:5::100")];
      const link = chooseInterface(network, vips, undefined);
      assert.equal(link.name, "w0");
      assert.equal(chooseNodeIp(network, link, vips).text, "203.0.113.1");
      assert.equal(chooseInterface(network, vips, "the-lan-of-the-nodes").name, "w0");
    } finally {
      run("ip", "link", "delete", "w0");
    }
  });

  test("the interface and the node's address are found by the VIP's subnet", () => {
    openKernel().bind([V4, V6], 3);
    run("ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1", "netns", "peer");
    run("ip", "address", "add", "198.51.100.1/24", "dev", "w0");
    try {
      const network = readNetwork();
      const link = chooseInterface(network, [V4, V6], undefined);
      assert.equal(link.name, "v0");
      assert.equal(chooseNodeIp(network, link, [V4, V6]).text, "192.0.2.1");
      assert.equal(chooseNodeIp(network, link, [V6]).text, "2001:db8::1");
      throwsCode("LH_INTERFACE", /203\.0\.113\.1.*v0 \(192\.0\.2\.1\/24 .*w0 \(198\.51\.100\.1\/24\)/, () =>
        chooseInterface(network, [ip("203.0.113.1")], undefined),
      );
    } finally {
      run("ip", "link", "delete", "w0");
    }
  });
}

if (process.argv.includes(INSIDE)) {
  describe("the VIP on a real kernel", { timeout: 120_000 }, insideSandbox);
} else {
  test("the VIP on a real kernel, in a sandbox", { timeout: 150_000 }, async () => {
    // The runner's variable would make the inner run report to a runner that is not there.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    assert.equal(await runInSandbox([process.execPath, fileURLToPath(import.meta.url), INSIDE], { env }), 0);
  });
}
