/**
 * What the fast path asks of a real kernel: sockets destroyed, connections listed, the ruleset watched, stray
 * ACKs answered. The tests run in a sandbox of their own, whose network namespace has `v0`; the other end,
 * `v1`, is in the namespace `peer`, where a program does as it is told.
 */
import { strict as assert } from "node:assert";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openConntrack, type Tuple } from "../../src/linux/conntrack.ts";
import { bootTimeMs } from "../../src/linux/libc.ts";
import { readNetwork } from "../../src/linux/links.ts";
import { watchRuleset, type RulesetChange } from "../../src/linux/nftables-monitor.ts";
import {
  TCP_STATES_CONNECTED,
  openSockDiag,
  hasWildcard,
  type SockDiag,
  type TcpSocket,
} from "../../src/linux/sock-diag.ts";
import { openPacketSocket } from "../../src/linux/sockets.ts";
import { strayAck, udpFrame, type FrameEnds } from "../../src/linux/tcp-frame.ts";
import { parseIp, type Family, type IpAddress } from "../../src/net.ts";
import { runInSandbox } from "../support/sandbox/sandbox.ts";

const INSIDE = "--inside-sandbox";
const MAC = "02:00:00:00:00:0a";
const PEER_MAC = "02:00:00:00:00:0b";

interface Ends {
  readonly family: Family;
  readonly node: IpAddress;
  readonly peer: IpAddress;
  readonly vip: IpAddress;
}

const FAMILIES: readonly Ends[] = [
  { family: 4, node: ip("192.0.2.1"), peer: ip("192.0.2.2"), vip: ip("192.0.2.100") },
  { family: 6, node: ip("2001:db8::1"), peer: ip("2001:db8::2"), vip: ip("2001:db8::100") },
];

function ip(text: string): IpAddress {
  const address = parseIp(text);
  assert.ok(address);
  return address;
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function nft(script: string): void {
  execFileSync("nft", ["-f", "-"], { input: script, stdio: ["pipe", "pipe", "pipe"] });
}

async function until<T>(what: string, limitMs: number, look: () => T | undefined | false): Promise<T> {
  const startMs = bootTimeMs();
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    assert.ok(bootTimeMs() - startMs < limitMs, `${what}: not within ${limitMs} ms`);
    await sleep(5);
  }
}

function portOf(server: Server): number {
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

const macBytes = (mac: string): Uint8Array => Uint8Array.from(Buffer.from(mac.replaceAll(":", ""), "hex"));
const brief = (tuple: Tuple): string =>
  `${tuple.source.text} > ${tuple.destination.text} ${tuple.destinationPort}`;

/** A child of the namespace `peer` that prints lines. */
class PeerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #text = "";
  #seen = 0;

  constructor(...argv: readonly string[]) {
    this.#child = spawn("ip", ["netns", "exec", "peer", ...argv], { stdio: ["pipe", "pipe", "pipe"] });
    this.#exited = once(this.#child, "exit");
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.#text += String(chunk)));
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Everything after what was last awaited. */
  get unread(): string {
    return this.#text.slice(this.#seen);
  }

  /** Waits for text that matches, reads up to its end and gives what the group matched. */
  async hear(pattern: RegExp, limitMs = 2000): Promise<string> {
    const match = await until(
      `${pattern} in "${this.unread}"`,
      limitMs,
      () => pattern.exec(this.unread) ?? undefined,
    );
    this.#seen += match.index + match[0].length;
    return match[1] ?? match[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#exited;
  }
}

/** The TCP packets that reach or leave the peer's link, as tcpdump writes them. */
async function capturePeer(filter: string): Promise<PeerProcess> {
  const capture = new PeerProcess("tcpdump", "-i", "v1", "-n", "-l", "--immediate-mode", filter);
  await capture.hear(/listening on .*\n/u, 5000);
  return capture;
}

function insideSandbox(): void {
  let diag: SockDiag;
  let peer: PeerProcess;
  const open: { close(): unknown }[] = [];

  before(() => {
    run("ip", "netns", "add", "peer");
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
    run("ip", "link", "set", "v0", "up");
    run("ip", "-n", "peer", "link", "set", "v1", "up");
    run("ip", "-n", "peer", "link", "set", "lo", "up");
    for (const { family, node, peer } of FAMILIES) {
      const [prefix, nodad] = family === 4 ? ["24", []] : ["64", ["nodad"]];
      run("ip", "address", "add", `${node.text}/${prefix}`, "dev", "v0", ...nodad);
      run("ip", "-n", "peer", "address", "add", `${peer.text}/${prefix}`, "dev", "v1", ...nodad);
    }
  });

  after(() => run("ip", "netns", "delete", "peer"));

  beforeEach(async () => {
    diag = openSockDiag();
    open.push(diag);
    peer = new PeerProcess(
      process.execPath,
      fileURLToPath(new URL("children/neighbour.ts", import.meta.url)),
    );
    await peer.hear(/ready\n/u, 10_000);
  });

  afterEach(async () => {
    for (const resource of open.splice(0).toReversed()) resource.close();
    await peer[Symbol.asyncDispose]();
    run("nft", "flush", "ruleset");
  });

  /** A client of ours; errors are kept in order. */
  async function client(
    host: IpAddress,
    port: number,
    localAddress?: IpAddress,
  ): Promise<{ socket: Socket; errors: string[] }> {
    const socket = connect({
      host: host.text,
      port,
      ...(localAddress && { localAddress: localAddress.text }),
    });
    const errors: string[] = [];
    socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? error.message));
    open.push({ close: () => socket.destroy() });
    await once(socket, "connect");
    return { socket, errors };
  }

  /** An echo server of ours. */
  async function listen(host: string): Promise<{ server: Server; port: number; errors: string[] }> {
    const errors: string[] = [];
    const server = createServer((socket) => {
      open.push({ close: () => socket.destroy() });
      socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? error.message));
      socket.pipe(socket);
    });
    open.push(server);
    server.listen(0, host);
    await once(server, "listening");
    return { server, port: portOf(server), errors };
  }

  const find = (family: Family, wanted: (socket: TcpSocket) => boolean): readonly TcpSocket[] =>
    diag.list(family, TCP_STATES_CONNECTED).filter(wanted);

  for (const { family, node, peer: peerIp, vip } of FAMILIES) {
    describe(`IPv${family}`, () => {
      test("a client whose source address is gone learns it at once when its socket is destroyed", async () => {
        const bits = family === 4 ? "32" : "128";
        run("ip", "address", "add", `${vip.text}/${bits}`, "dev", "v0", ...(family === 4 ? [] : ["nodad"]));
        const { socket, errors } = await client(peerIp, 7000, vip);
        const other = await client(peerIp, 7000, node);
        run("ip", "address", "delete", `${vip.text}/${bits}`, "dev", "v0");
        socket.write("nobody carries this");
        await sleep(100);
        assert.deepEqual(errors, [], "by itself it would hang");
        const [found, ...more] = find(family, (candidate) => candidate.local.address.text === vip.text);
        assert.ok(found);
        assert.deepEqual(more, []);
        assert.deepEqual([found.state, found.remote.address.text, found.remote.port], [1, peerIp.text, 7000]);
        assert.equal(diag.destroy(found), true);
        await until("the error", 200, () => errors.length > 0);
        assert.deepEqual(errors, ["ECONNABORTED"]);
        assert.equal(diag.destroy(found), false, "it is gone");
        assert.deepEqual(other.errors, []);
      });

      for (const host of family === 4 ? ["0.0.0.0", "::"] : ["::"]) {
        test(`a connection accepted on ${host} is found as IPv${family}, and its end is a reset for the peer`, async () => {
          const { port, errors } = await listen(host);
          peer.say(`connect ${node.text} ${port}`);
          const peerPort = Number(await peer.hear(/connected from (\d+)\n/u));
          const accepted = (): readonly TcpSocket[] => find(family, (socket) => socket.local.port === port);
          const [found, ...more] = accepted();
          assert.ok(found);
          assert.deepEqual(more, []);
          assert.deepEqual(
            [found.family, found.local.address.text, found.remote.address.text, found.remote.port],
            [family, node.text, peerIp.text, peerPort],
          );
          assert.deepEqual(diag.list(family === 4 ? 6 : 4, TCP_STATES_CONNECTED), []);
          assert.equal(diag.destroy(found), true);
          await peer.hear(/client ECONNRESET\n/u, 500);
          await until("the server's error", 200, () => errors.length > 0);
          assert.deepEqual(errors, ["ECONNABORTED"]);
          assert.deepEqual(accepted(), []);
          assert.equal(diag.destroy(found), false);
        });
      }

      test("connections through a translation have both tuples, and a long list comes whole", async () => {
        const [table, word, target] =
          family === 4 ? ["ip", "ip", peerIp.text] : ["ip6", "ip6", `[${peerIp.text}]`];
        nft(`table ${table} nat {
          chain out { type nat hook output priority -100; ${word} daddr ${vip.text} tcp dport 6443 dnat to ${target}:7000; }
        }`);
        const conntrack = openConntrack();
        open.push(conntrack);
        const count = 400;
        for (let i = 0; i < count; i++) await client(vip, 6443);
        await client(peerIp, 7000);
        const entries = conntrack.list(family, { address: vip, port: 6443 });
        assert.equal(entries.length, count);
        for (const { original, reply } of entries) {
          assert.equal(brief(original), `${node.text} > ${vip.text} 6443`);
          assert.equal(brief(reply), `${peerIp.text} > ${node.text} ${original.sourcePort}`);
          assert.deepEqual([reply.sourcePort, reply.destinationPort], [7000, original.sourcePort]);
        }
        const to = (address: IpAddress, port: number): number =>
          conntrack.list(family, { address, port }).length;
        assert.deepEqual([to(vip, 6444), to(node, 6443), to(peerIp, 7000)], [0, 0, 1]);
        assert.ok(conntrack.list(family).length > count);
        assert.equal(conntrack.list(family === 4 ? 6 : 4, { address: vip, port: 6443 }).length, 0);
        assert.equal(find(family, (socket) => socket.remote.address.text === vip.text).length, count);
      });

      test("a stray ACK makes an idle client speak and changes nothing; where there is none, it is reset", async () => {
        const { port, errors } = await listen("::");
        peer.say(`connect ${node.text} ${port}`);
        const peerPort = Number(await peer.hear(/connected from (\d+)\n/u));
        const link = readNetwork().links.find((candidate) => candidate.name === "v0");
        assert.ok(link);
        const packets = openPacketSocket();
        open.push(packets);
        await using capture = await capturePeer(`tcp port ${port}`);
        const ends: FrameEnds = {
          sourceMac: link.macBytes,
          destinationMac: macBytes(PEER_MAC),
          source: node,
          destination: peerIp,
          sourcePort: port,
          destinationPort: peerPort,
        };
        packets.send(link.index, strayAck(ends));
        const flags = async (from: number, to: number): Promise<string> =>
          capture.hear(new RegExp(`\\.${from} > .*\\.${to}: Flags \\[(.*?)\\].*\\n`, "u"));
        assert.equal(await flags(port, peerPort), ".");
        assert.equal(await flags(peerPort, port), ".", "the duplicate ACK");
        await sleep(100);
        // Our own kernel takes the duplicate ACK for what it is, and is silent.
        assert.equal(capture.unread, "");
        peer.say("write alive");
        await peer.hear(/got alive\n/u);
        assert.deepEqual(errors, []);

        await flags(port, peerPort);
        packets.send(link.index, strayAck({ ...ends, destinationPort: 9 }));
        assert.equal(await flags(9, port), "R");
      });

      test("a UDP packet made by hand is taken by the peer's kernel", async () => {
        const link = readNetwork().links.find((candidate) => candidate.name === "v0");
        assert.ok(link);
        const packets = openPacketSocket();
        open.push(packets);
        const frame = {
          sourceMac: link.macBytes,
          destinationMac: macBytes(PEER_MAC),
          source: node,
          destination: peerIp,
          sourcePort: 6444,
          destinationPort: 7001,
        };
        packets.send(link.index, udpFrame({ ...frame, payload: Buffer.from("probe") }));
        assert.match(
          await peer.hear(/datagram (.*)\n/u),
          new RegExp(`^probe from (::ffff:)?${node.text} 6444$`, "u"),
        );
      });
    });
  }

  test("a wildcard listener is told from one on an address, and one for both families from one for IPv6", async () => {
    const both = await listen("::");
    const four = await listen("0.0.0.0");
    const one = await listen("192.0.2.1");
    const only6 = createServer();
    open.push(only6);
    only6.listen({ port: 0, host: "::", ipv6Only: true });
    await once(only6, "listening");
    const families = (port: number): readonly boolean[] => {
      const listeners = diag.listeners(port);
      assert.deepEqual(
        listeners.map(({ local }) => local.port),
        [port],
        "the kernel lists no other port",
      );
      return [hasWildcard(listeners, 4), hasWildcard(listeners, 6)];
    };
    assert.deepEqual(families(both.port), [true, true]);
    assert.deepEqual(families(four.port), [true, false]);
    assert.deepEqual(families(one.port), [false, false]);
    assert.deepEqual(families(portOf(only6)), [false, true]);
  });

  describe("the ruleset", () => {
    const TABLES =
      "table ip leasehold { chain a { }; }\ntable netdev leasehold { }\ntable inet other { set s { type ipv4_addr; }; }\n";

    function watch(): RulesetChange[] {
      const changes: RulesetChange[] = [];
      open.push(watchRuleset((change) => changes.push(change)));
      return changes;
    }

    /** As another program would: not waited for in the call, so that its process id is known. */
    async function foreign(...args: readonly string[]): Promise<number | undefined> {
      const child = spawn("nft", args, { stdio: "ignore" });
      assert.deepEqual(await once(child, "exit"), [0, null]);
      return child.pid;
    }

    test("that somebody flushes or deletes from is reported with its tables and with who did it", async () => {
      nft(TABLES);
      const changes = watch();
      const deleter = await foreign("delete", "table", "ip", "leasehold");
      const flusher = await foreign("flush", "ruleset");
      await until("both changes", 500, () => changes.length === 2);
      const [deleted, flushed] = changes;
      assert.deepEqual(deleted?.tables, new Set(["ip leasehold"]));
      assert.deepEqual(flushed?.tables, new Set(["netdev leasehold", "inet other"]));
      for (const [change, pid] of [
        [deleted, deleter],
        [flushed, flusher],
      ] as const) {
        assert.deepEqual([change?.program, change?.lost, change?.port], ["nft", false, pid]);
        // The first process namespace's number, which is not that of this sandbox.
        assert.ok(change?.pid !== undefined && change.pid > 0);
        assert.notEqual(change.pid, pid);
      }
    });

    test("is reported for rules, set elements and chains too", async () => {
      nft(TABLES);
      const changes = watch();
      for (const script of [
        "add rule ip leasehold a counter",
        "add element inet other s { 192.0.2.7 }",
        "delete element inet other s { 192.0.2.7 }",
        "flush chain ip leasehold a",
        "add chain netdev leasehold b",
        "add counter inet other c",
      ]) nft(script); // prettier-ignore
      await until("the changes", 500, () => changes.length === 6);
      assert.deepEqual(
        changes.map((change) => [...change.tables].join()),
        ["ip leasehold", "inet other", "inet other", "ip leasehold", "netdev leasehold", "inet other"],
      );
    });

    test("that packets add set elements to, which end by themselves, is quiet", async () => {
      nft(`table inet flows {
        set s { type inet_service; flags dynamic,timeout; timeout 1s; gc-interval 1s; size 100; }
        chain out { type filter hook output priority 0; tcp dport 7000 add @s { tcp sport }; }
      }`);
      const changes = watch();
      const listed = (): boolean => run("nft", "list", "set", "inet", "flows", "s").includes("elements");
      const { socket } = await client(ip("192.0.2.2"), 7000);
      await until("the element", 500, listed);
      socket.destroy();
      await until("its end", 5000, () => !listed());
      await sleep(1200);
      assert.deepEqual(changes, []);
    });

    test("says that something was lost, and goes on", async () => {
      const changes = watch();
      const fill = (rules: number): void =>
        nft(
          `table ip noise { chain a { }; }\nflush chain ip noise a\n${"add rule ip noise a ip saddr 192.0.2.1 tcp dport 7 drop\n".repeat(rules)}`,
        );
      // Synchronous: nobody reads meanwhile. In a user namespace the receive buffer is small, and so is what
      // nft can send.
      for (let i = 0; i < 20; i++) fill(200);
      try {
        for (let i = 0; i < 4; i++) fill(20_000);
      } catch {
        // Too long for nft's send buffer.
      }
      await until("the loss", 2000, () => changes.some((change) => change.lost));
      await sleep(200);
      for (let i = 1; i <= 3; i++) {
        const before = changes.length;
        nft(`add table ip t${i}`);
        await until(`change ${i} after the loss`, 500, () => changes.length > before);
        assert.deepEqual([changes.at(-1)?.lost, changes.at(-1)?.tables.has(`ip t${i}`)], [false, true]);
      }
    });
  });

  test("without the capability everything says EPERM", async () => {
    await listen("127.0.0.1");
    const source = (path: string): string =>
      JSON.stringify(new URL(`../../src/linux/${path}`, import.meta.url).href);
    const program = `
      import { openConntrack } from ${source("conntrack.ts")};
      import { watchRuleset } from ${source("nftables-monitor.ts")};
      import { TCP_STATE_LISTEN, openSockDiag } from ${source("sock-diag.ts")};
      const diag = openSockDiag();
      const attempts = [() => openConntrack().list(4), () => watchRuleset(() => {}), () => diag.destroy(diag.list(4, TCP_STATE_LISTEN)[0])];
      for (const attempt of attempts) try { attempt(); console.log("done"); } catch (error) { console.log(error.errnoName ?? error); }`;
    const argv = [
      "--bounding-set=-all",
      "--inh-caps=-all",
      "--",
      process.execPath,
      "--input-type=module-typescript",
      "-e",
      program,
    ];
    assert.equal(run("setpriv", ...argv).trim(), "EPERM\nEPERM\nEPERM");
  });
}

if (process.argv.includes(INSIDE)) {
  describe("the fast path's kernel", { timeout: 120_000 }, insideSandbox);
} else {
  test("the fast path's kernel, in a sandbox", { timeout: 150_000 }, async () => {
    // The runner's variable would make the inner run report to a runner that is not there.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    assert.equal(await runInSandbox([process.execPath, fileURLToPath(import.meta.url), INSIDE], { env }), 0);
  });
}
