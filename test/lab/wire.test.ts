/**
 * The wire on a real kernel. The tests run in a sandbox of their own, whose network namespace has one end of
 * a veth pair, `v0`; the other, `v1`, is in the namespace `peer`, whose kernel answers, asks and announces.
 */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { bootTimeMs } from "../../src/linux/libc.ts";
import { gateways } from "../../src/linux/routes.ts";
import { silentLogger } from "../../src/log.ts";
import { parseIp, type IpAddress } from "../../src/net.ts";
import { createLinuxWire, type LinuxWireDeps } from "../../src/sentinel/linux-wire.ts";
import type { Wire } from "../../src/sentinel/wire.ts";
import { runInSandbox } from "../support/sandbox/sandbox.ts";

const INSIDE = "--inside-sandbox";
const MAC = "02:00:00:00:00:0a";
const PEER_MAC = "02:00:00:00:00:0b";
const OWN = [ip("192.0.2.1"), ip("2001:db8::1")];
const PEER = [ip("192.0.2.2"), ip("2001:db8::2")];
const IDENTIFIER = 0xabcd;
const ALL = { answers: true, claims: true };
const NONE = { answers: false, claims: false };
const VIPS = [ip("192.0.2.100"), ip("2001:db8::100")];

function ip(text: string): IpAddress {
  return parseIp(text) ?? assert.fail(`${text} is no address`);
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

const inPeer = (command: string): string => run("ip", "netns", "exec", "peer", ...command.split(" "));

function makeLink(): void {
  run(
    "ip",
    "link",
    "add",
    "v0",
    "address",
    MAC,
    "type",
    "veth",
    "peer",
    "name",
    "v1",
    "address",
    PEER_MAC,
    "netns",
    "peer",
  );
  // No link-local addresses: their duplicate address detection would be heard.
  run("ip", "link", "set", "v0", "addrgenmode", "none");
  inPeer("ip link set v1 addrgenmode none");
  run("ip", "address", "add", "192.0.2.1/24", "dev", "v0");
  run("ip", "address", "add", "2001:db8::1/64", "dev", "v0", "nodad");
  run("ip", "link", "set", "v0", "up");
  inPeer("ip address add 192.0.2.2/24 dev v1");
  inPeer("ip address add 2001:db8::2/64 dev v1 nodad");
  inPeer("ip link set v1 up");
}

/** As `VipKernel.bind` does. */
function bindVip(change: "add" | "delete"): void {
  inPeer(`ip address ${change} 192.0.2.100/32 dev v1`);
  inPeer(`ip address ${change} 2001:db8::100/128 dev v1${change === "add" ? " nodad preferred_lft 0" : ""}`);
}

function nft(rules: string): void {
  execFileSync("nft", ["-f", "-"], { input: rules });
}

/** Another agent's wire: runs `statement` in the neighbour's namespace, with a wire on v1. */
function peerWire(statement: string): void {
  const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
  const script = `import { silentLogger } from ${source("log.ts")};
    import { parseIp as ip } from ${source("net.ts")};
    import { createLinuxWire } from ${source("sentinel/linux-wire.ts")};
    const wire = createLinuxWire({ interfaceName: () => "v1", log: silentLogger, own: () => [ip("192.0.2.2"), ip("2001:db8::2")], families: [4, 6] });
    ${statement};
    wire.close();`;
  run("ip", "netns", "exec", "peer", process.execPath, "--input-type=module-typescript", "-e", script);
}

/** Frames of the neighbour's machine, whatever they say. `script` has `send` and the builders of frames. */
function peerRaw(script: string): void {
  const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
  const module = `import { arpAnnouncement, arpRequest } from ${source("linux/arp.ts")};
    import { neighbourSolicitation, unsolicitedAdvertisement } from ${source("linux/ndp.ts")};
    import { findLink } from ${source("linux/links.ts")};
    import { openPacketSocket, openRouteSocket } from ${source("linux/sockets.ts")};
    const { index } = findLink(openRouteSocket(), "v1");
    const socket = openPacketSocket();
    const send = (frame) => socket.send(index, frame);
    ${script}
    process.exit(0);`;
  run("ip", "netns", "exec", "peer", process.execPath, "--input-type=module-typescript", "-e", module);
}

const macBytesText = (mac: string): string =>
  `Uint8Array.of(${mac
    .split(":")
    .map((octet) => `0x${octet}`)
    .join()})`;

interface Ear {
  /**
   * What has been heard since the last call of `fresh`: "owner 192.0.2.2 02:00:00:00:00:0b", "echo 192.0.2.2
   * 02:00:00:00:00:0b 7 1".
   */
  readonly words: string[];
  overruns: number;
}

function listen(wire: Wire, ear: Ear): void {
  const { heard, missing } = wire.drain();
  if (missing.answers || missing.claims) ear.overruns++;
  for (const word of heard) {
    if (word.kind === "host") continue;
    const what = `${word.kind} ${word.address.text} ${word.mac}`;
    ear.words.push(word.kind === "echo" ? `${what} ${word.identifier} ${word.sequence}` : what);
  }
}

/** Drains until every one of `words` was heard, or fails after `limitMs`. */
async function hear(wire: Wire, words: readonly string[], limitMs = 2000): Promise<void> {
  const ear: Ear = { words: [], overruns: 0 };
  const startMs = bootTimeMs();
  for (;;) {
    listen(wire, ear);
    const missing = words.filter((word) => !ear.words.includes(word));
    if (missing.length === 0) return;
    assert.ok(
      bootTimeMs() - startMs < limitMs,
      `not heard: ${missing.join(", ")}; but: ${ear.words.join(", ")}`,
    );
    await sleep(5);
  }
}

/** What is heard within 150 ms. */
async function overhear(wire: Wire): Promise<Ear> {
  const ear: Ear = { words: [], overruns: 0 };
  for (let i = 0; i < 10; i++) {
    await sleep(15);
    listen(wire, ear);
  }
  return ear;
}

function insideSandbox(): void {
  const open: Wire[] = [];

  function openWire(deps: Partial<LinuxWireDeps> = {}): Wire {
    const wire = createLinuxWire({
      interfaceName: () => "v0",
      log: silentLogger,
      own: () => OWN,
      families: [4, 6],
      ...deps,
    });
    wire.listen({
      identifier: IDENTIFIER,
      macs: [PEER_MAC],
      vips: [...VIPS, ip("2001:db8::300")],
      others: PEER,
    });
    wire.drain();
    open.push(wire);
    return wire;
  }

  beforeEach(() => {
    run("ip", "netns", "add", "peer");
    makeLink();
  });

  afterEach(() => {
    for (const wire of open.splice(0)) wire.close();
    run("nft", "flush", "ruleset");
    run("ip", "netns", "delete", "peer");
    // Deleting one end deletes the other, but a namespace's end comes a little later.
    try {
      run("ip", "link", "delete", "v0");
    } catch {
      assert.ok(!run("ip", "link").includes("v0@"));
    }
  });

  test("a kernel answers echoes to its own address and to a VIP bound on it, with a number for each; nobody after it was removed", async () => {
    const wire = openWire();
    bindVip("add");
    const targets = [...PEER, ...VIPS];
    targets.forEach((target, index) => assert.equal(wire.echo(target, PEER_MAC, IDENTIFIER, index), true));
    await hear(
      wire,
      targets.map((target, index) => `echo ${target.text} ${PEER_MAC} ${IDENTIFIER} ${index}`),
    );
    bindVip("delete");
    for (const vip of VIPS) assert.equal(wire.echo(vip, PEER_MAC, IDENTIFIER, 9), true);
    assert.deepEqual(
      (await overhear(wire)).words.filter((word) => word.startsWith("echo")),
      [],
    );
  });

  test("a machine that does not have the address does not pass an echo on to the one that has", async () => {
    run("ip", "netns", "add", "third");
    try {
      inPeer("ip link add w0 type veth peer name w1 netns third");
      inPeer("ip address add 198.51.100.1/24 dev w0");
      inPeer("ip address add 2001:db8:1::1/64 dev w0 nodad");
      inPeer("ip link set w0 up");
      for (const sysctl of ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        inPeer(`sysctl -qw ${sysctl}`);
      const third = [
        "link set w1 up",
        "address add 198.51.100.2/24 dev w1",
        "address add 2001:db8:1::2/64 dev w1 nodad",
        "route add default via 198.51.100.1",
      ];
      for (const command of third) run("ip", "-n", "third", ...command.split(" "));
      run("ip", "-n", "third", "route", "add", "default", "via", "2001:db8:1::1");
      for (const vip of ["192.0.2.100/32", "2001:db8::100/128"])
        run("ip", "-n", "third", "address", "add", vip, "dev", "w1");
      inPeer("ip route add 192.0.2.100 via 198.51.100.2");
      inPeer("ip route add 2001:db8::100 via 2001:db8:1::2");
      run("ip", "route", "add", "192.0.2.100", "via", "192.0.2.2");
      run("ip", "route", "add", "2001:db8::100", "via", "2001:db8::2");
      // What any ordinary program sends goes all the way.
      for (const vip of VIPS) run("ping", "-c", "1", "-w", "3", vip.text);
      const wire = openWire();
      for (const target of [...VIPS, ...PEER]) wire.echo(target, PEER_MAC, IDENTIFIER, 1);
      const { words } = await overhear(wire);
      assert.deepEqual(
        words.filter((word) => word.startsWith("echo")).toSorted(),
        PEER.map((peer) => `echo ${peer.text} ${PEER_MAC} ${IDENTIFIER} 1`).toSorted(),
      );
    } finally {
      run("ip", "netns", "delete", "third");
    }
  });

  for (const as of ["node", "probe"] as const) {
    test(`an owner answers who asks as ${as}, and says where it is`, async () => {
      bindVip("add");
      const wire = openWire();
      for (const vip of VIPS) assert.equal(wire.ask(vip, as), true);
      await hear(
        wire,
        VIPS.map((vip) => `owner ${vip.text} ${PEER_MAC}`),
      );
      const learnt = inPeer("ip neigh show")
        .split("\n")
        .filter((line) => line.includes(MAC));
      // From a node's question the owner learns, from a probe nothing.
      assert.deepEqual(
        OWN.map((own) => learnt.some((line) => line.startsWith(`${own.text} `))),
        as === "node" ? [true, true] : [false, false],
      );
    });
  }

  test("who asks as a probe is in the group in which others do, and leaves it in the end", () => {
    const member = (): boolean =>
      run("ip", "-6", "maddress", "show", "dev", "v0").includes("ff02::1:ff00:100");
    const wire = openWire();
    assert.equal(member(), false);
    wire.ask(ip("2001:db8::100"), "probe");
    wire.ask(ip("2001:db8::100"), "probe");
    assert.equal(member(), true);
    wire.close();
    assert.equal(member(), false);
  });

  test("announcements are heard: gratuitous ARP and unsolicited advertisements", async () => {
    bindVip("add");
    inPeer("sysctl -qw net.ipv4.conf.v1.arp_notify=1 net.ipv6.conf.v1.ndisc_notify=1");
    const wire = openWire();
    inPeer("ip link set v1 address 02:00:00:00:00:0c");
    await hear(
      wire,
      [...PEER, ...VIPS].map((address) => `owner ${address.text} 02:00:00:00:00:0c`),
    );
  });

  test("those who would like an address are heard: another agent's ARP probe and solicitation, a kernel's duplicate address detection", async () => {
    const wire = openWire();
    peerWire(`for (const vip of ["192.0.2.100", "2001:db8::100"]) wire.ask(ip(vip), "probe")`);
    await hear(
      wire,
      VIPS.map((vip) => `probe ${vip.text} ${PEER_MAC}`),
    );
    inPeer("ip address add 2001:db8::300/64 dev v1");
    await hear(wire, [`probe 2001:db8::300 ${PEER_MAC}`]);
  });

  test("a firewall that lets nothing in hides no answer", async () => {
    nft(`table inet fw {
      chain raw { type filter hook prerouting priority -300; policy drop; }
      chain in { type filter hook input priority 0; policy drop; }
    }`);
    assert.throws(() => run("ping", "-c", "1", "-W", "1", "192.0.2.2"));
    // The neighbour cannot find this machine by asking it (IPv6 asks over IPv6, which is dropped), but it
    // learns from who asks.
    const wire = openWire();
    for (const peer of PEER) wire.ask(peer, "node");
    await hear(
      wire,
      PEER.map((peer) => `owner ${peer.text} ${PEER_MAC}`),
    );
    for (const peer of PEER) wire.echo(peer, PEER_MAC, IDENTIFIER, 2);
    await hear(
      wire,
      PEER.map((peer) => `echo ${peer.text} ${PEER_MAC} ${IDENTIFIER} 2`),
    );
  });

  test("an interface that is deleted and made again is followed, and so is a new MAC address", async () => {
    const wire = openWire();
    const [peer4, peer6] = PEER;
    assert.ok(peer4 && peer6);
    wire.drain();
    run("ip", "link", "delete", "v0");
    // Before the news of it can have been read.
    assert.equal(wire.echo(peer4, PEER_MAC, IDENTIFIER, 1), false);
    assert.equal(wire.ask(peer6, "probe"), false);
    assert.deepEqual(wire.drain(), { heard: [], missing: ALL, flooded: false });
    assert.deepEqual(wire.drain(), { heard: [], missing: NONE, flooded: false });
    makeLink();
    await sleep(50);
    assert.equal(wire.echo(peer4, PEER_MAC, IDENTIFIER, 2), true);
    assert.equal(wire.echo(peer6, PEER_MAC, IDENTIFIER, 3), true);
    await hear(wire, [
      `echo 192.0.2.2 ${PEER_MAC} ${IDENTIFIER} 2`,
      `echo 2001:db8::2 ${PEER_MAC} ${IDENTIFIER} 3`,
    ]);

    run("ip", "link", "set", "v0", "address", "02:00:00:00:00:0d");
    await sleep(50);
    for (const peer of PEER) assert.equal(wire.ask(peer, "node"), true);
    for (const own of OWN) assert.match(inPeer(`ip neigh show ${own.text}`), /02:00:00:00:00:0d/u);
  });

  test("a new interface that gets the old one's index is followed", async () => {
    const wire = openWire();
    wire.drain();
    const index = /^\d+/u.exec(run("ip", "-o", "link", "show", "dev", "v0"))?.[0] ?? assert.fail();
    run("ip", "link", "delete", "v0");
    run(
      "ip",
      "link",
      "add",
      "v0",
      "index",
      index,
      "address",
      MAC,
      "type",
      "veth",
      "peer",
      "name",
      "v1",
      "address",
      PEER_MAC,
      "netns",
      "peer",
    );
    run("ip", "address", "add", "192.0.2.1/24", "dev", "v0");
    run("ip", "link", "set", "v0", "up");
    inPeer("ip address add 192.0.2.2/24 dev v1");
    inPeer("ip link set v1 up");
    assert.deepEqual(wire.drain().missing, ALL);
    await sleep(50);
    wire.drain();
    assert.equal(wire.ask(ip("192.0.2.2"), "probe"), true);
    await hear(wire, [`owner 192.0.2.2 ${PEER_MAC}`]);
  });

  test("a link that is down or without carrier says nothing and takes nothing; what comes afterwards is heard", async () => {
    const wire = openWire();
    const peer = ip("192.0.2.2");
    for (const [down, up] of [
      ["ip link set v0 down", "ip link set v0 up"],
      ["ip -n peer link set v1 down", "ip -n peer link set v1 up"],
    ] as const) {
      run("sh", "-c", down);
      await sleep(50);
      assert.equal(wire.echo(peer, PEER_MAC, IDENTIFIER, 1), false);
      assert.equal(wire.ask(peer, "probe"), false);
      await overhear(wire);
      assert.deepEqual(wire.drain(), { heard: [], missing: NONE, flooded: false });
      run("sh", "-c", up);
      await sleep(50);
      wire.drain();
      assert.equal(wire.ask(peer, "probe"), true);
      await hear(wire, [`owner 192.0.2.2 ${PEER_MAC}`]);
    }
  });

  test("without ARP, without an interface, or without an address of its own nothing is sent; an interface may come later", async () => {
    run("ip", "link", "set", "v0", "arp", "off");
    for (const interfaceName of ["v0", "lo", "nope"]) {
      const wire = openWire({ interfaceName: () => interfaceName });
      assert.deepEqual(
        [
          wire.echo(ip("192.0.2.2"), PEER_MAC, IDENTIFIER, 1),
          wire.ask(ip("192.0.2.2"), "node"),
          wire.drain(),
        ],
        [false, false, { heard: [], missing: NONE, flooded: false }],
      );
    }
    run("ip", "link", "set", "v0", "arp", "on");
    const only4 = openWire({ families: [4], own: () => [] });
    assert.equal(only4.echo(ip("192.0.2.2"), PEER_MAC, IDENTIFIER, 1), false, "no own address");
    assert.equal(only4.ask(ip("2001:db8::2"), "probe"), false, "not of the VIP's family");
    assert.equal(openWire().echo(ip("192.0.2.2"), "ff:ff:ff:ff:ff:ff", 1, 1), false, "no machine's MAC");
    assert.equal(only4.ask(ip("192.0.2.2"), "node"), true, "as a probe");
    await hear(only4, [`owner 192.0.2.2 ${PEER_MAC}`]);
    assert.ok(!inPeer("ip neigh show").includes("192.0.2.1 "));

    const later = openWire({ interfaceName: () => "v9" });
    assert.equal(later.ask(ip("192.0.2.2"), "probe"), false);
    run("ip", "link", "set", "v0", "down");
    run("ip", "link", "set", "v0", "name", "v9");
    run("ip", "link", "set", "v9", "up");
    await sleep(50);
    assert.equal(later.ask(ip("192.0.2.2"), "probe"), true);
    await hear(later, [`owner 192.0.2.2 ${PEER_MAC}`]);
    run("ip", "link", "delete", "v9");
  });

  test("own frames are not heard, not even those that the network sends back", async () => {
    const received = (): number =>
      Number(/RX:[^\n]*\n\s+\d+\s+(\d+)/u.exec(run("ip", "-s", "link", "show", "dev", "v0"))?.[1]);
    execFileSync("ip", ["netns", "exec", "peer", "nft", "-f", "-"], {
      input: `table netdev loop { chain in { type filter hook ingress device "v1" priority 0; fwd to "v1"\n }\n }\n`,
    });
    const wire = openWire();
    const before = received();
    for (const vip of VIPS) {
      wire.ask(vip, "node");
      wire.ask(vip, "probe");
      wire.echo(vip, PEER_MAC, IDENTIFIER, 1);
    }
    assert.deepEqual((await overhear(wire)).words, []);
    assert.ok(received() - before >= 6, "they did come back");
  });

  test("what comes in by the link for a virtual one above it is not heard", async () => {
    run("ip", "link", "add", "link", "v0", "name", "m0", "type", "macvlan", "mode", "bridge");
    run("ip", "address", "add", "203.0.113.1/24", "dev", "m0");
    run("ip", "link", "set", "m0", "up");
    inPeer("ip address add 203.0.113.2/24 dev v1");
    const wire = openWire();
    run("ping", "-c", "1", "-w", "3", "-s", "0", "203.0.113.2");
    assert.deepEqual(
      (await overhear(wire)).words.filter((word) => word.includes("203.0.113.2")),
      [],
    );
  });

  test("floods of other traffic do not come to the sockets", async () => {
    const wire = openWire();
    run("ping", "-c", "1", "192.0.2.2");
    run("ping", "-c", "1", "2001:db8::2");
    wire.drain();
    for (const peer of PEER) run("ping", "-q", "-f", "-c", "3000", peer.text);
    for (const own of OWN) inPeer(`ping -q -f -c 3000 ${own.text}`);
    run(
      "ip",
      "netns",
      "exec",
      "peer",
      "bash",
      "-c",
      "exec 3<>/dev/udp/192.0.2.1/9; for ((i = 0; i < 3000; i++)); do echo >&3; done 2>/dev/null",
    );
    const ear: Ear = { words: [], overruns: 0 };
    listen(wire, ear);
    assert.deepEqual(
      ear.words.filter((word) => word.startsWith("echo")),
      [],
    );
    assert.equal(ear.overruns, 0);
    wire.echo(ip("192.0.2.2"), PEER_MAC, IDENTIFIER, 1);
    await hear(wire, [`echo 192.0.2.2 ${PEER_MAC} ${IDENTIFIER} 1`]);
  });

  test("a flood of frames like ours fills no memory and takes no turn for itself; it is reported, and over when it is over", async () => {
    const wire = openWire();
    run("ping", "-q", "-f", "-s", "0", "-c", "3000", "192.0.2.2");
    assert.deepEqual(wire.drain().missing, NONE, "the answers to another program's echoes");
    for (let i = 0; i < 3_000; i++) wire.echo(ip("192.0.2.2"), PEER_MAC, IDENTIFIER, i);
    const first = wire.drain();
    assert.deepEqual([first.missing, first.flooded], [{ answers: true, claims: false }, true]);
    assert.ok(first.heard.length > 40 && first.heard.length <= 3 * 256, `${first.heard.length} frames`);
    for (let i = 0; i < 3; i++) wire.drain();
    wire.echo(ip("192.0.2.2"), PEER_MAC, IDENTIFIER, 1);
    await hear(wire, [`echo 192.0.2.2 ${PEER_MAC} ${IDENTIFIER} 1`]);
    assert.deepEqual(wire.drain().missing, NONE);
  });

  test("5,000 frames of any kind from other machines drive out no answer of the machines that matter", async () => {
    const flood = (frames: string): void =>
      peerRaw(`const frames = ${frames}; for (let i = 0; i < 5000; i++) send(frames[i % frames.length]);`);
    const ATTACKER = "Uint8Array.of(2, 0, 0, 0, 0, 0x66)";
    const bytesOf = (address: IpAddress): string => `Uint8Array.of(${address.bytes.join()})`;
    const forged = (frame: string): string => `(() => { const f = ${frame}; f[11] ^= 4; return f; })()`;
    const [vip4, vip6] = VIPS.map(bytesOf);
    const kinds = {
      "about other addresses": `[arpAnnouncement("request", ${ATTACKER}, ${bytesOf(ip("192.0.2.77"))}), unsolicitedAdvertisement(${ATTACKER}, ${bytesOf(ip("2001:db8::77"))}, false)]`,
      "in the holder's name, from another source": `[${forged(`arpAnnouncement("reply", ${macBytesText(PEER_MAC)}, ${vip4})`)}, ${forged(`unsolicitedAdvertisement(${macBytesText(PEER_MAC)}, ${vip6}, false)`)}]`,
      "that claim the VIP": `[arpAnnouncement("reply", ${ATTACKER}, ${vip4}), unsolicitedAdvertisement(${ATTACKER}, ${vip6}, false)]`,
      "that ask for the VIP": `[arpRequest(${ATTACKER}, undefined, ${vip4}), neighbourSolicitation(${ATTACKER}, undefined, ${vip6})]`,
    };
    bindVip("add");
    for (const [what, frames] of Object.entries(kinds)) {
      const wire = openWire();
      for (const vip of VIPS) wire.ask(vip, "node");
      flood(frames);
      for (const vip of VIPS) {
        wire.echo(vip, PEER_MAC, IDENTIFIER, 7);
        wire.ask(vip, "node");
      }
      const { heard, missing, flooded } = wire.drain();
      const claims = what.includes("the VIP");
      assert.deepEqual([missing, flooded], [{ answers: false, claims }, claims], what);
      for (const vip of VIPS)
        for (const kind of ["owner", "echo"])
          assert.ok(
            heard.some(
              (word) =>
                word.kind !== "host" &&
                word.kind === kind &&
                word.mac === PEER_MAC &&
                word.address.text === vip.text,
            ),
            `${what}: ${kind} ${vip.text}`,
          );
      assert.ok(
        heard.some(({ kind }) => kind === "host"),
        "the link carries frames",
      );
      wire.close();
    }
  });

  test("after its end it says nothing and takes nothing", () => {
    const wire = openWire();
    wire.close();
    assert.equal(wire.echo(ip("192.0.2.2"), PEER_MAC, IDENTIFIER, 1), false);
    assert.deepEqual(wire.drain(), { heard: [], missing: ALL, flooded: false });
  });

  test("the gateways on a link are the next hops of its default routes", () => {
    assert.deepEqual(gateways("v0", [4, 6]), []);
    assert.deepEqual(gateways("nope", [4, 6]), []);
    run("ip", "route", "add", "default", "via", "192.0.2.254", "metric", "10");
    run("ip", "route", "add", "default", "via", "192.0.2.253", "metric", "20");
    run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.252");
    run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "v0");
    const texts = (families: readonly (4 | 6)[]): readonly string[] =>
      gateways("v0", families).map((gateway) => gateway.text);
    assert.deepEqual(texts([4, 6]), ["192.0.2.254", "192.0.2.253", "fe80::1"]);
    assert.deepEqual(texts([6]), ["fe80::1"]);
    assert.deepEqual(gateways("lo", [4, 6]), []);
  });
}

if (process.argv.includes(INSIDE)) {
  describe("the wire on a real kernel", { timeout: 120_000 }, insideSandbox);
} else {
  test("the wire on a real kernel, in a sandbox", { timeout: 150_000 }, async () => {
    // The runner's variable would make the inner run report to a runner that is not there.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    assert.equal(await runInSandbox([process.execPath, fileURLToPath(import.meta.url), INSIDE], { env }), 0);
  });
}
