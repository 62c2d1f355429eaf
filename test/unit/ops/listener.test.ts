import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { setImmediate as turn } from "node:timers/promises";
import type { LogFields, Logger } from "../../../src/log.ts";
import { createListener } from "../../../src/ops/listener.ts";
import type { Answer, Listener } from "../../../src/ops/listener.ts";
import { peerIdentity } from "../../../src/peers/identity.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { stopAfter } from "./rig.ts";

/** What the listener has room for here, and more. */
const ROOM = 40;
const CROWD = 60;

const ok: Answer = { status: 200, type: "text/plain", body: "ok" };

interface Line {
  readonly level: "error" | "warn" | "info" | "debug";
  readonly fields: LogFields;
  readonly message: string;
}

function recorder(lines: Line[]): Logger {
  const at = (level: Line["level"]) => (fields: LogFields, message: string) =>
    void lines.push({ level, fields, message });
  const log: Logger = {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    child: () => log,
  };
  return log;
}

interface Rig {
  readonly listener: Listener;
  readonly clock: FakeClock;
  readonly lines: Line[];
  /** How many requests got as far as an answer. */
  readonly answered: () => number;
}

function make(
  t: TestContext,
  options: { readonly port?: number; readonly host?: string; readonly answer?: () => Answer } = {},
): Rig {
  const clock = new FakeClock();
  const lines: Line[] = [];
  let answers = 0;
  const listener = createListener({
    name: "ops",
    host: options.host ?? "127.0.0.1",
    port: options.port ?? 0,
    log: recorder(lines),
    clock,
    maxConnections: ROOM,
    answer: async () => {
      answers += 1;
      return options.answer?.() ?? ok;
    },
  });
  stopAfter(t, clock, listener);
  return { listener, clock, lines, answered: () => answers };
}

async function started(t: TestContext, answer?: () => Answer): Promise<Rig> {
  const rig = make(t, answer === undefined ? {} : { answer });
  await rig.listener.start();
  return rig;
}

/**
 * An open connection that sends `text`, if any, and reads nothing unless told to. Resets are not news here.
 */
async function visitor(t: TestContext, port: number, text = "", from = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from });
  socket.on("error", () => {});
  t.after(() => socket.destroy());
  await once(socket, "connect");
  if (text !== "") socket.write(text);
  return socket;
}

/** One after the other, so that their order is known. */
async function crowd(t: TestContext, port: number, text: string, count = CROWD): Promise<Socket[]> {
  const all: Socket[] = [];
  while (all.length < count) all.push(await visitor(t, port, text));
  return all;
}

async function answerOf(port: number): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(5_000) })).text();
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 100_000; tries++) {
    if (condition()) return;
    await turn();
  }
  assert.fail(`not reached: ${what}`);
}

/** Flowing, so that the end of the stream is seen; counts what has ended. */
function watchEnds(sockets: readonly Socket[]): () => number {
  let ended = 0;
  for (const socket of sockets) socket.once("close", () => (ended += 1)).resume();
  return () => ended;
}

describe("a crowd on the port", () => {
  const HALF = "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ";
  for (const [what, text] of [
    ["connections that say nothing", ""],
    ["half requests", HALF],
    ["requests whose body never ends", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx"],
    ["requests that ask to be kept alive", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"],
  ] as const) {
    test(`${what} cost no probe its answer`, async (t) => {
      const { listener } = await started(t);
      await crowd(t, listener.port(), text);
      for (let probe = 0; probe < 35; probe++) {
        assert.equal(await answerOf(listener.port()), "ok");
        await visitor(t, listener.port(), text);
      }
    });
  }

  test("answers that nobody reads cost no probe its answer, and end", async (t) => {
    let size = 8_000_000;
    const { listener, clock, answered } = await started(t, () => ({ ...ok, body: "x".repeat(size) }));
    const deaf = await crowd(t, listener.port(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ROOM / 2 + 5);
    await until("every one is being answered", () => answered() === deaf.length);
    size = 2;
    const idle = await crowd(t, listener.port(), "");
    for (let probe = 0; probe < 35; probe++) assert.equal(await answerOf(listener.port()), "xx");
    const ended = watchEnds([...deaf.slice(-1), ...idle.slice(-1)]);
    clock.advance(10_000);
    await until("both kinds have been ended", () => ended() === 2);
  });

  test("the oldest connection without a request goes first, and only as many as must", async (t) => {
    const { listener } = await started(t);
    const sockets = await crowd(t, listener.port(), "", ROOM);
    const [first, second, third] = sockets;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const firstEnded = watchEnds([first, second]);
    const othersEnded = watchEnds(sockets.slice(2));
    await visitor(t, listener.port(), HALF);
    await visitor(t, listener.port(), "");
    await until("the two oldest are gone", () => firstEnded() === 2);
    assert.equal(await answerOf(listener.port()), "ok");
    await until("the third had to make room for that", () => third.destroyed);
    assert.equal(othersEnded(), 1);
  });

  test(
    "of one client costs no other client a connection, however slow it is",
    { timeout: 30_000 },
    async (t) => {
      const { listener } = await started(t);
      const port = listener.port();
      // Older than everything that comes, and in the middle of its request.
      const slow = await visitor(t, port, "GET / HTTP/1.1\r\nHost: a\r\n");
      const others = await Promise.all(["127.0.0.3", "127.0.0.4"].map((from) => visitor(t, port, "", from)));
      let text = "";
      slow.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      const ended = watchEnds(others);
      for (let round = 0; round < 3; round++)
        for (let count = 0; count < CROWD; count++) await visitor(t, port, HALF, "127.0.0.2");
      assert.equal(await answerOf(port), "ok");
      slow.write("\r\n");
      await once(slow, "close");
      assert.match(text, /200 OK[^]*ok$/);
      assert.equal(ended(), 0);
    },
  );

  test("of many clients with one connection each: the oldest goes", async (t) => {
    const { listener } = await started(t);
    const sockets: Socket[] = [];
    for (let count = 0; count < ROOM; count++)
      sockets.push(await visitor(t, listener.port(), "", `127.0.1.${count + 1}`));
    const ended = watchEnds(sockets);
    await visitor(t, listener.port(), "", "127.0.2.1");
    await until("one is gone", () => ended() === 1);
    assert.equal(sockets[0]?.destroyed, true);
  });

  test("one that is being answered stays while silent ones come", async (t) => {
    let release = (): void => {};
    const clock = new FakeClock();
    const waits = new Promise<void>((resolve) => (release = resolve));
    const listener = createListener({
      name: "ops",
      host: "127.0.0.1",
      port: 0,
      log: recorder([]),
      clock,
      maxConnections: ROOM,
      answer: async () => {
        await waits;
        return ok;
      },
    });
    await listener.start();
    t.after(() => listener.stop());
    const answer = answerOf(listener.port());
    await crowd(t, listener.port(), "");
    release();
    assert.equal(await answer, "ok");
  });
});

describe("one connection", () => {
  test("has one request: what comes after it in a pipeline is not looked at", async (t) => {
    const { listener, answered } = await started(t);
    const socket = await visitor(t, listener.port(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    await once(socket, "close");
    assert.equal(answered(), 1);
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*connection: close\r\n[^]*\r\n\r\nok$/i);
  });

  test("ends ten seconds after its first packet, however slowly it sends", async (t) => {
    const { listener, clock } = await started(t);
    const socket = await visitor(t, listener.port(), "GET / HT");
    const ended = watchEnds([socket]);
    await answerOf(listener.port());
    clock.advance(9_999);
    socket.write("TP/1.1\r\n");
    await answerOf(listener.port());
    assert.equal(ended(), 0);
    clock.advance(1);
    await until("it has ended", () => ended() === 1);
  });

  test("may send so much of a body and no more", async (t) => {
    const { listener, answered } = await started(t);
    const port = listener.port();
    const small = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "x".repeat(200_000) });
    assert.equal(await small.text(), "ok");
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "x".repeat(4_000_000) }));
    assert.equal(answered(), 1);
    assert.equal(await answerOf(port), "ok");
  });

  test("that its client gives up is nobody's error, and leaves nothing behind", async (t) => {
    const { listener, clock, lines, answered } = await started(t);
    for (const text of ["", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"]) {
      const socket = await visitor(t, listener.port(), text);
      await answerOf(listener.port());
      socket.resetAndDestroy();
    }
    await until("every connection's timer is gone", () => clock.pendingTimers === 0);
    assert.equal(answered(), 3);
    assert.deepEqual(lines, []);
  });
});

describe("a port that cannot be had", () => {
  test("is tried again until it can, and said once", async (t) => {
    const first = await started(t);
    const port = first.listener.port();
    const { listener, clock, lines } = make(t, { port });
    await listener.start();
    assert.deepEqual(listener.status(), {
      name: "ops",
      address: `127.0.0.1:${port}`,
      listening: false,
      error: "another program has it, `ss -ltnp` names it (EADDRINUSE)",
    });
    for (let tries = 0; tries < 5; tries++) {
      await until("the next try is due", () => clock.pendingTimers === 1);
      clock.advance(5_000);
    }
    await until("the last of them has failed", () => clock.pendingTimers === 1);
    assert.deepEqual(
      lines.map(({ level, message, fields }) => [
        level,
        message,
        fields["code"],
        fields["listener"],
        fields["address"],
      ]),
      [
        [
          "error",
          "The agent cannot listen on an HTTP port, and tries again",
          "LH_LISTEN",
          "ops",
          `127.0.0.1:${port}`,
        ],
      ],
    );
    assert.match(
      String(lines[0]?.fields["hint"]),
      /Stop the other program \(`ss -ltnp` names it\), or choose another/,
    );

    await first.listener.stop();
    clock.advance(5_000);
    await until("it listens", () => listener.status().listening);
    assert.equal(listener.status().error, null);
    assert.equal(await answerOf(port), "ok");
    assert.deepEqual(
      lines.slice(1).map(({ level, message }) => [level, message]),
      [["info", "The agent listens on the HTTP port now"]],
    );
  });

  test("is waited for longer each time, five seconds at most", async (t) => {
    const first = await started(t);
    const { listener, clock } = make(t, { port: first.listener.port() });
    await listener.start();
    for (const waitMs of [500, 1_000, 2_000, 4_000, 5_000, 5_000]) {
      clock.advance(waitMs - 1);
      assert.equal(clock.pendingTimers, 1, `after ${waitMs - 1} ms`);
      clock.advance(1);
      assert.equal(clock.pendingTimers, 0, `a try after ${waitMs} ms`);
      await until("it has failed", () => clock.pendingTimers === 1);
    }
  });

  test("may be one of an address that this machine does not have yet", async (t) => {
    const { listener, lines } = make(t, { host: "192.0.2.1", port: 10_081 });
    await listener.start();
    assert.equal(listener.status().error, "this machine does not have the address 192.0.2.1 (EADDRNOTAVAIL)");
    assert.equal(lines[0]?.fields["code"], "LH_LISTEN_ADDRESS");
    assert.doesNotMatch(JSON.stringify(lines[0]?.fields), /taken|other program/);
  });

  test("is not tried any more by one that was stopped, whenever that was", async (t) => {
    const first = await started(t);
    const { listener, clock } = make(t, { port: first.listener.port() });
    await listener.start();
    await listener.stop();
    assert.equal(clock.pendingTimers, 0);

    const other = make(t);
    const starting = other.listener.start();
    await other.listener.stop();
    await starting;
    await turn();
    assert.equal(other.listener.status().listening, false);
    assert.equal(other.clock.pendingTimers, 0);
  });
});

describe("a stream", () => {
  async function streaming(
    t: TestContext,
  ): Promise<{ port: number; clock: FakeClock; sends: ((chunk: string) => void)[]; ended: () => number }> {
    const clock = new FakeClock();
    const sends: ((chunk: string) => void)[] = [];
    let ended = 0;
    const listener = createListener({
      name: "ops",
      host: "127.0.0.1",
      port: 0,
      log: recorder([]),
      clock,
      answer: async () => ({
        type: "text/event-stream",
        begin(send, signal) {
          sends.push(send);
          signal.addEventListener("abort", () => (ended += 1));
        },
      }),
    });
    await listener.start();
    t.after(async () => {
      const stopped = listener.stop();
      clock.advance(1_000);
      await stopped;
    });
    return { port: listener.port(), clock, sends, ended: () => ended };
  }

  const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

  test("outlives the time that other answers have, and ends after ten minutes", async (t) => {
    const { port, clock, sends, ended } = await streaming(t);
    const socket = await visitor(t, port, REQUEST);
    let heard = "";
    socket.on("data", (chunk: Buffer) => (heard += chunk.toString()));
    await until("it has begun", () => sends.length === 1);
    clock.advance(599_000);
    sends[0]?.("still here\n");
    await until("it is heard", () => heard.includes("still here"));
    clock.advance(1_001);
    await until("it is over", () => ended() === 1);
  });

  test("ends when its reader does not read, or leaves", async (t) => {
    const { port, sends, ended } = await streaming(t);
    const deaf = await visitor(t, port, REQUEST);
    deaf.pause();
    await until("it has begun", () => sends.length === 1);
    for (let chunk = 0; chunk < 2_000 && ended() === 0; chunk++) {
      sends[0]?.("x".repeat(64 * 1_024));
      await turn();
    }
    await until("the deaf one has lost it", () => ended() === 1);
    const leaver = await visitor(t, port, REQUEST);
    await until("another has begun", () => sends.length === 2);
    leaver.destroy();
    await until("it is over", () => ended() === 2);
    sends[1]?.("nobody hears this");
  });
});

describe("handshakes", () => {
  async function underTls(t: TestContext, isKnown?: (ip: string) => boolean) {
    const directory = mkdtempSync(join(tmpdir(), "leasehold-handshakes-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const clock = new FakeClock();
    const listener = createListener({
      name: "ops",
      host: "127.0.0.1",
      port: 0,
      log: recorder([]),
      clock,
      tls: {
        identity: peerIdentity(directory, "n1", recorder([])),
        ...(isKnown === undefined ? {} : { isKnown }),
      },
      answer: async () => ok,
    });
    await listener.start();
    stopAfter(t, clock, listener);
    /** Whether a client with this address may begin one. */
    const begins = async (localAddress: string): Promise<boolean> => {
      const socket = connectTls({
        socket: connect({ host: "127.0.0.1", port: listener.port(), localAddress }),
        rejectUnauthorized: false,
      });
      t.after(() => socket.destroy());
      return new Promise((resolve) => {
        socket.once("secureConnect", () => resolve(true));
        socket.once("error", () => resolve(false));
      });
    };
    const count = async (localAddress: string, tries: number): Promise<number> => {
      let begun = 0;
      for (let attempt = 0; attempt < tries; attempt++) if (await begins(localAddress)) begun += 1;
      return begun;
    };
    return { clock, begins, count };
  }

  test("of strangers begin 50 times a second at most, 20 times from one source, and the next second others may", async (t) => {
    const { clock, begins, count } = await underTls(t);
    assert.equal(await count("127.0.0.2", 30), 20);
    assert.equal(await count("127.0.0.3", 19), 19);
    assert.equal(await count("127.0.0.4", 30), 11);
    assert.equal(await begins("127.0.0.5"), false);
    clock.advance(1_000);
    assert.equal(await begins("127.0.0.2"), true);
  });

  test("of a known client begin whatever strangers do, 20 times a second at most", async (t) => {
    const { count } = await underTls(t, (ip) => ip === "127.0.0.9");
    for (const source of ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]) await count(source, 25);
    assert.equal(await count("127.0.0.9", 30), 20);
  });
});
