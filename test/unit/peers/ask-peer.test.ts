/** Agents ask each other: which keys are answered, which are believed, and what a bad answer does. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { silentLogger } from "../../../src/log.ts";
import { createListener } from "../../../src/ops/listener.ts";
import type { Answer, Listener } from "../../../src/ops/listener.ts";
import { askPeer, followPeer } from "../../../src/peers/ask-peer.ts";
import type { PeerAnswer } from "../../../src/peers/ask-peer.ts";
import { keyIdOf } from "../../../src/peers/certificate.ts";
import { peerIdentity } from "../../../src/peers/identity.ts";
import type { PeerIdentity } from "../../../src/peers/identity.ts";
import type { Peer } from "../../../src/peers/known-peers.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const HOST = "127.0.0.1";
const OPTIONS = { timeoutMs: 5_000, mostBytes: 10_000 };

const directory = mkdtempSync(join(tmpdir(), "leasehold-ask-"));
const identity = (name: string): PeerIdentity => peerIdentity(join(directory, name), name, silentLogger);
const [asker, answerer, stranger] = [identity("n1"), identity("n2"), identity("n3")];
process.once("exit", () => rmSync(directory, { recursive: true }));

const peerAt = (port: number, key = answerer.id): Peer => ({ node: "n2", ip: HOST, port, key });

interface Rig {
  readonly listener: Listener;
  readonly clock: FakeClock;
  readonly asked: string[];
  /** The keys and the addresses that are known; tests change them. */
  readonly keys: Set<string>;
  readonly addresses: Set<string>;
}

async function listening(t: TestContext, answer: Partial<Answer> = {}, maxConnections = 40): Promise<Rig> {
  const keys = new Set([asker.id]);
  const addresses = new Set([HOST]);
  const asked: string[] = [];
  const clock = new FakeClock();
  const listener = createListener({
    name: "peers",
    host: HOST,
    port: 0,
    log: silentLogger,
    clock,
    maxConnections,
    tls: {
      identity: answerer,
      hasAddress: (ip) => addresses.has(ip),
      admits: (certificate) => certificate !== undefined && keys.has(keyIdOf(certificate) ?? ""),
    },
    answer: async ({ url = "" }) => {
      asked.push(url);
      return { status: 200, type: "text/plain", body: "well", ...answer };
    },
  });
  await listener.start();
  t.after(async () => {
    const stopped = listener.stop();
    clock.advance(1_000);
    await stopped;
  });
  return { listener, clock, asked, keys, addresses };
}

/** A server that is no agent of ours. */
async function impostor(
  t: TestContext,
  onConnection: (socket: Socket) => void,
  as?: PeerIdentity,
): Promise<number> {
  const server =
    as === undefined
      ? createServer(onConnection)
      : createTlsServer({ key: as.key, cert: as.cert }, onConnection);
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket.on("error", () => {})));
  server.on("tlsClientError", () => {});
  server.listen(0, HOST);
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
  return (server.address() as AddressInfo).port;
}

async function refusal(asked: Promise<PeerAnswer>): Promise<string> {
  const answer = await asked;
  return answer.kind === "failed" ? answer.why : assert.fail(`it answered ${answer.text}`);
}

describe("a peer", () => {
  test("is answered when each knows the other's key", async (t) => {
    const { listener, asked } = await listening(t);
    for (const from of [undefined, HOST])
      assert.deepEqual(
        await askPeer(asker, peerAt(listener.port()), "/status", { ...OPTIONS, ...(from && { from }) }),
        { kind: "ok", text: "well" },
      );
    assert.deepEqual(asked, ["/status", "/status"]);
  });

  test("whose key is not known gets no answer, and no request of it is looked at", async (t) => {
    const { listener, asked, keys } = await listening(t);
    assert.match(
      await refusal(askPeer(stranger, peerAt(listener.port()), "/status", OPTIONS)),
      /does not know/,
    );
    keys.clear();
    assert.match(await refusal(askPeer(asker, peerAt(listener.port()), "/status", OPTIONS)), /does not know/);
    assert.deepEqual(asked, []);
  });

  test("without a certificate, or without TLS, gets no answer", async (t) => {
    const { listener, asked } = await listening(t);
    const request = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n";
    const bare = connectTls({ host: HOST, port: listener.port(), rejectUnauthorized: false });
    const plain = connect(listener.port(), HOST);
    for (const socket of [bare, plain]) {
      let heard = "";
      socket.on("error", () => {}).on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
      socket.write(request);
      await once(socket, "close");
      assert.doesNotMatch(heard, /HTTP|well/);
    }
    assert.deepEqual(asked, []);
  });

  test("at another address is turned away before it can ask for a handshake", async (t) => {
    const { listener, asked, addresses } = await listening(t);
    addresses.clear();
    assert.match(await refusal(askPeer(asker, peerAt(listener.port()), "/status", OPTIONS)), /does not know/);
    assert.deepEqual(asked, []);
  });

  test("with older TLS is refused", async (t) => {
    const { listener } = await listening(t);
    const { key, cert } = asker;
    const socket = connectTls({
      host: HOST,
      port: listener.port(),
      key,
      cert,
      maxVersion: "TLSv1.2",
      rejectUnauthorized: false,
    });
    const [error] = await once(socket, "error");
    assert.match(String(error), /protocol version|alert/i);
  });
});

describe("an answer", () => {
  test("of a machine with another key is not asked for: nothing is sent to it", async (t) => {
    let sent = 0;
    const port = await impostor(
      t,
      (socket) => void socket.on("data", ({ length }: Buffer) => (sent += length)),
      stranger,
    );
    assert.match(await refusal(askPeer(asker, peerAt(port), "/status", OPTIONS)), /another key/);
    assert.equal(sent, 0);
  });

  test("that is too long, not 200, cut off or no HTTP is none", async (t) => {
    const long = await listening(t, { body: "x".repeat(OPTIONS.mostBytes + 1) });
    assert.match(await refusal(askPeer(asker, peerAt(long.listener.port()), "/", OPTIONS)), /too long/);
    const wrong = await listening(t, { status: 500 });
    assert.match(await refusal(askPeer(asker, peerAt(wrong.listener.port()), "/", OPTIONS)), /answered 500/);
    for (const bytes of [
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
      `HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
      "\u0000\u0001 no HTTP\r\n\r\n",
    ]) {
      const port = await impostor(t, (socket) => void socket.end(bytes), answerer);
      assert.notEqual(await refusal(askPeer(asker, peerAt(port), "/", OPTIONS)), "");
    }
  });

  test("that does not come ends the question in time, with and without a handshake", async (t) => {
    const silent = [await impostor(t, () => {}), await impostor(t, () => {}, answerer)];
    for (const port of silent)
      assert.match(
        await refusal(askPeer(asker, peerAt(port), "/", { ...OPTIONS, timeoutMs: 300 })),
        /no answer in 300 ms/,
      );
  });

  test("that trickles for ever ends in time", async (t) => {
    const port = await impostor(
      t,
      (socket) => {
        socket.on("error", () => {}).write("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n");
        const drip = setInterval(() => socket.write("x"), 20);
        socket.on("close", () => clearInterval(drip));
      },
      answerer,
    );
    assert.match(
      await refusal(askPeer(asker, peerAt(port), "/", { ...OPTIONS, timeoutMs: 300 })),
      /no answer/,
    );
  });

  test("of a port that is closed says so", async () => {
    assert.match(await refusal(askPeer(asker, peerAt(1), "/", OPTIONS)), /ECONNREFUSED/);
  });
});

test("connections that begin no handshake cost a peer its answer no more than those of a probe", async (t) => {
  const { listener, asked } = await listening(t, {}, 20);
  const crowd: Socket[] = [];
  t.after(() => crowd.forEach((socket) => socket.destroy()));
  for (let index = 0; index < 60; index++) {
    const socket = connect(listener.port(), HOST).on("error", () => {});
    crowd.push(socket);
    await once(socket, "connect");
  }
  for (let index = 0; index < 30; index++)
    assert.equal((await askPeer(asker, peerAt(listener.port()), "/", OPTIONS)).kind, "ok");
  assert.equal(asked.length, 30);
});

describe("an answer that goes on", () => {
  const FOLLOW = { connectMs: 5_000, lifeMs: 60_000, mostBytes: 100, betweenMs: 20 };

  async function telling(t: TestContext): Promise<{
    readonly port: number;
    readonly told: (chunk: string) => void;
    readonly begun: Promise<void>;
    readonly ended: Promise<void>;
    readonly end: () => Promise<void>;
  }> {
    const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let send: ((chunk: string) => void) | undefined;
    const listener = createListener({
      name: "peers",
      host: HOST,
      port: 0,
      log: silentLogger,
      clock: new FakeClock(),
      tls: {
        identity: answerer,
        hasAddress: () => true,
        admits: (certificate) => keyIdOf(certificate ?? assert.fail()) === asker.id,
      },
      answer: async () => ({
        type: "application/json",
        begin: (given, signal) => {
          send = given;
          signal.addEventListener("abort", () => ended.resolve());
          begun.resolve();
        },
      }),
    });
    await listener.start();
    t.after(() => listener.stop());
    return {
      port: listener.port(),
      told: (chunk) => send?.(chunk),
      begun: begun.promise,
      ended: ended.promise,
      end: () => listener.stop(),
    };
  }

  function follow(
    by: PeerIdentity,
    port: number,
    key?: string,
  ): {
    readonly lines: string[];
    readonly next: () => Promise<string>;
    readonly ended: Promise<void>;
    readonly close: () => void;
  } {
    const lines: string[] = [];
    const ended = Promise.withResolvers<void>();
    let arrived = Promise.withResolvers<string>();
    const stream = followPeer(
      by,
      peerAt(port, key),
      "/flows",
      FOLLOW,
      (line) => {
        lines.push(line);
        arrived.resolve(line);
        arrived = Promise.withResolvers();
      },
      () => ended.resolve(),
    );
    return { lines, next: () => arrived.promise, ended: ended.promise, close: () => stream.close() };
  }

  test("is passed on line by line, until either side ends it", async (t) => {
    const rig = await telling(t);
    const stream = follow(asker, rig.port);
    await rig.begun;
    const first = stream.next();
    rig.told("one\nt");
    assert.equal(await first, "one");
    const second = stream.next();
    rig.told("wo\n");
    assert.equal(await second, "two");
    stream.close();
    await rig.ended;
    const again = follow(asker, rig.port);
    await rig.end();
    await again.ended;
    assert.deepEqual(again.lines, []);
  });

  test("of a peer that sends without end is passed on now and then, the last line first", async (t) => {
    const rig = await telling(t);
    const stream = follow(asker, rig.port);
    await rig.begun;
    const first = stream.next();
    rig.told("1\n2\n3\n");
    assert.equal(await first, "3");
    for (let n = 0; n < 10_000; n++) rig.told(`${n}\n`);
    while (stream.lines.at(-1) !== "9999") await stream.next();
    assert.ok(stream.lines.length < 100, `${stream.lines.length} lines`);
    stream.close();
  });

  test("ends at a line that is too long", async (t) => {
    const rig = await telling(t);
    const stream = follow(asker, rig.port);
    await rig.begun;
    rig.told("x".repeat(101));
    await Promise.all([stream.ended, rig.ended]);
    assert.deepEqual(stream.lines, []);
  });

  test("is none of a peer with another key, nor for a stranger, nor where nobody listens", async (t) => {
    const rig = await telling(t);
    await follow(asker, rig.port, stranger.id).ended;
    await follow(stranger, rig.port).ended;
    await rig.end();
    await follow(asker, rig.port).ended;
  });
});
