/** The real worker thread, real sockets on loopback. */
import assert from "node:assert/strict";
import { createHash, randomBytes, type Hash } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import type { Backend } from "../../../src/backends/backend.ts";
import { networks } from "../../../src/config/parsers.ts";
import type { ProxySettings } from "../../../src/proxy/messages.ts";
import {
  backendAt,
  echo,
  freePort,
  startBlackHole,
  startServer,
  type TestServer,
} from "../../support/backends/servers.ts";
import {
  exchange,
  openClient,
  readAll,
  startProxy,
  until,
  type ProxyUnderTest,
} from "../../support/proxy/fixture.ts";
import { outside } from "../../support/outside.ts";

async function server(t: TestContext, handle: (socket: Socket) => void): Promise<TestServer> {
  const started = await startServer(handle);
  t.after(() => started.close());
  return started;
}

async function proxy(
  t: TestContext,
  backends: readonly Backend[],
  changes: Partial<ProxySettings> = {},
): Promise<ProxyUnderTest> {
  const started = await startProxy(backends, changes);
  t.after(() => started.stop());
  return started;
}

/** Says its name to each client that sends something, then sends it all back. */
function named(name: string): (socket: Socket) => void {
  return (socket) => {
    socket.once("data", (chunk: Buffer) => {
      socket.write(name);
      socket.write(chunk);
      socket.pipe(socket);
    });
  };
}

async function say(socket: Socket, text: string): Promise<string> {
  const answer = once(socket, "data");
  socket.write(text);
  return String((await answer)[0]);
}

describe("carrying bytes", () => {
  test("half-close by the client: the server sees the end and still answers", async (t) => {
    const backend = await server(t, (socket) => {
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
      socket.once("end", () => setTimeout(() => socket.end(`got ${text}`), 30));
    });
    const { port } = await proxy(t, [backend.backend]);
    assert.deepEqual(await exchange(port, "all of it"), { bytes: Buffer.from("got all of it"), end: "FIN" });
  });

  test("half-close by the server: the client sees the end and still sends", async (t) => {
    const got: string[] = [];
    const backend = await server(t, (socket) => {
      socket.end("goodbye");
      socket.on("data", (chunk: Buffer) => got.push(chunk.toString()));
      socket.once("end", () => got.push("FIN"));
    });
    const { port } = await proxy(t, [backend.backend]);
    const socket = await openClient(port);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(socket, "end");
    assert.equal(text, "goodbye");
    socket.end("one more thing");
    await until("the server has got the rest", () => got.at(-1) === "FIN");
    assert.equal(got.join(""), "one more thingFIN");
  });

  test("a server that ends without a byte is forwarded as it is, not tried elsewhere", async (t) => {
    const first = await server(t, (socket) => socket.end());
    const second = await server(t, named("second"));
    const { port } = await proxy(t, [first.backend, second.backend]);
    assert.deepEqual(await exchange(port, "x"), { bytes: Buffer.alloc(0), end: "FIN" });
    assert.equal(second.accepted(), 0);
  });

  test("a server that speaks first is heard", async (t) => {
    const backend = await server(t, (socket) => socket.write("220 ready\r\n"));
    const { port } = await proxy(t, [backend.backend]);
    const socket = await openClient(port);
    assert.equal(String((await once(socket, "data"))[0]), "220 ready\r\n");
    socket.destroy();
  });

  test("a reset by the client reaches the server, and by the server the client, as a reset", async (t) => {
    const ends: string[] = [];
    const backend = await server(t, (socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => ends.push(error.code ?? ""));
      socket.on("data", (chunk: Buffer) =>
        String(chunk) === "die" ? socket.resetAndDestroy() : socket.write(chunk),
      );
    });
    const { port } = await proxy(t, [backend.backend]);
    const client = await openClient(port);
    await say(client, "hello");
    client.resetAndDestroy();
    await until("the server has been told", () => ends.length === 1);
    assert.equal(ends[0], "ECONNRESET");
    const other = await openClient(port);
    await say(other, "hello");
    const ending = readAll(other);
    other.write("die");
    assert.equal((await ending).end, "ECONNRESET");
  });

  test("100 MB each way at once arrive unchanged", async (t) => {
    const backend = await server(t, echo);
    const { port, threads } = await proxy(t, [backend.backend]);
    const block = randomBytes(1_000_003);
    const blocks = 100;
    const sent: Hash = createHash("sha256");
    const got: Hash = createHash("sha256");
    let bytes = 0;
    const socket = await openClient(port);
    socket.on("data", (chunk: Buffer) => {
      got.update(chunk);
      bytes += chunk.length;
    });
    const ended = once(socket, "end");
    for (let i = 0; i < blocks; i++) {
      const part = Buffer.from(block);
      part.writeUInt32LE(i);
      sent.update(part);
      if (!socket.write(part)) await once(socket, "drain");
    }
    socket.end();
    await ended;
    assert.equal(bytes, blocks * block.length);
    assert.equal(got.digest("hex"), sent.digest("hex"));
    await until("the counters have come", () => threads.counters().backends[0]?.bytesOut === bytes);
    assert.equal(threads.counters().backends[0]?.bytesIn, bytes);
  });

  test("a reader that does not read stops the writer, and gets everything once it reads", async (t) => {
    const total = 200_000_000;
    let written = 0;
    const backend = await server(t, (socket) => {
      const block = Buffer.alloc(1_000_000, 5);
      const more = (): void => {
        while (written < total) {
          written += block.length;
          if (!socket.write(block)) {
            socket.once("drain", more);
            return;
          }
        }
        socket.end();
      };
      more();
    });
    const { port } = await proxy(t, [backend.backend]);
    const before = process.memoryUsage.rss();
    const socket = await openClient(port);
    socket.pause();
    let last = -1;
    await until("the writer is stopped", () => {
      const stopped = written === last;
      last = written;
      return stopped && written > 0;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    // Kernel buffers of two connections (tcp_wmem and tcp_rmem: 4 and 6 MB at most), and one block too many.
    assert.ok(written < 50_000_000, `${written} bytes`);
    assert.ok(process.memoryUsage.rss() - before < 100_000_000);
    let got = 0;
    socket.on("data", (chunk: Buffer) => (got += chunk.length));
    socket.resume();
    await once(socket, "end");
    assert.equal(got, total);
  });

  test("a server that does not read stops the client", async (t) => {
    const backend = await server(t, (socket) => void socket.pause());
    const { port } = await proxy(t, [backend.backend]);
    const socket = await openClient(port);
    const block = Buffer.alloc(1_000_000);
    let sent = 0;
    let last = -1;
    const more = (): void => {
      for (; sent < 200_000_000; sent += block.length) {
        if (!socket.write(block)) {
          socket.once("drain", more);
          return;
        }
      }
    };
    more();
    await until("the client is stopped", () => {
      const stopped = sent === last && sent > 0;
      last = sent;
      return stopped;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(sent < 50_000_000, `${sent} bytes`);
    socket.destroy();
  });
});

describe("the next backend", () => {
  test("is tried when one refuses, and the client does not notice", async (t) => {
    const [deadPort, alive] = [await freePort(), await server(t, named("alive "))];
    const dead = backendAt(deadPort);
    const { port, failed, threads } = await proxy(t, [dead, alive.backend]);
    for (let i = 0; i < 10; i++) assert.equal((await exchange(port, "hi")).bytes.toString(), "alive hi");
    assert.ok(failed.length >= 1 && failed.every((id) => id === dead.id));
    assert.ok(failed.length < 5, "one that failed comes last for a while");
    await until("it is counted", () =>
      threads.counters().backends.some(({ connectErrors }) => connectErrors > 0),
    );
  });

  test("is tried when one does not answer the SYN", async (t) => {
    const hole = await startBlackHole();
    t.after(() => hole.close());
    const alive = await server(t, named("alive "));
    const { port, failed } = await proxy(t, [hole.backend, alive.backend]);
    for (let i = 0; i < 2; i++) assert.equal((await exchange(port, "hi")).bytes.toString(), "alive hi");
    assert.deepEqual(failed, [hole.backend.id]);
  });

  test("gets the client's first bytes again when one resets before it has said anything", async (t) => {
    const resetting = await server(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
    const alive = await server(t, named("alive "));
    const { port } = await proxy(t, [resetting.backend, alive.backend]);
    assert.equal((await exchange(port, "hello, twice")).bytes.toString(), "alive hello, twice");
    assert.equal(resetting.accepted(), 1);
  });

  test("is not tried after the first byte", async (t) => {
    const halfway = await server(t, (socket) =>
      socket.once("data", () => socket.write("par", () => setTimeout(() => socket.resetAndDestroy(), 30))),
    );
    const alive = await server(t, named("alive "));
    const { port } = await proxy(t, [halfway.backend, alive.backend]);
    const socket = await openClient(port);
    const ending = readAll(socket);
    socket.write("x");
    assert.deepEqual(await ending, { bytes: Buffer.from("par"), end: "ECONNRESET" });
    assert.equal(alive.accepted(), 0);
  });

  test("is not tried when the client has sent more than is kept", async (t) => {
    const swallowing = await server(t, (socket) => {
      let bytes = 0;
      socket.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes >= 100_000) socket.resetAndDestroy();
      });
    });
    const alive = await server(t, named("alive "));
    const { port } = await proxy(t, [swallowing.backend, alive.backend]);
    const socket = await openClient(port);
    const ending = readAll(socket);
    socket.write(Buffer.alloc(100_000));
    assert.equal((await ending).end, "ECONNRESET");
    assert.equal(alive.accepted(), 0);
  });

  test("ends after three: the client is reset", async (t) => {
    const dead = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
    const { port, failed } = await proxy(
      t,
      dead.map((deadPort) => backendAt(deadPort)),
    );
    assert.equal((await exchange(port, "x")).end, "ECONNRESET");
    await until("the failures are reported", () => failed.length === 3);
    assert.equal(new Set(failed).size, 3);
  });
});

describe("a backend that is DOWN", () => {
  test("loses its sessions by a reset, another one does not", async (t) => {
    const [a, b] = [await server(t, named("a")), await server(t, named("b"))];
    const under = await proxy(t, [a.backend, b.backend]);
    const clients = await Promise.all(Array.from({ length: 6 }, () => openClient(under.port)));
    const answers = await Promise.all(clients.map((client) => say(client, "!")));
    const endings = clients.map((client) => readAll(client));
    under.serve([b.backend]);
    under.closeSessions(a.backend.id);
    for (const [i, client] of clients.entries()) {
      if (answers[i]?.startsWith("a") === true) assert.equal((await endings[i])?.end, "ECONNRESET");
      else assert.equal(client.destroyed, false);
    }
    assert.equal(answers.filter((answer) => answer.startsWith("b")).length, 3);
    assert.equal(b.sockets.size, 3);
    for (const client of clients) client.destroy();
  });

  test("hands over a client that has not had a byte yet", async (t) => {
    const [mute, alive] = [
      await server(t, (socket) => void socket.resume()),
      await server(t, named("alive ")),
    ];
    const under = await proxy(t, [mute.backend]);
    const client = await openClient(under.port);
    client.write("hi");
    await until("it has a session", () => mute.sockets.size === 1);
    const answer = once(client, "data");
    under.serve([alive.backend]);
    under.closeSessions(mute.backend.id);
    assert.match(String((await answer)[0]), /^alive/u);
    client.destroy();
  });
});

describe("the listener", () => {
  test("closes when no backend is left, and opens again with the first", async (t) => {
    const backend = await server(t, named("back "));
    const under = await proxy(t, [backend.backend]);
    const old = await openClient(under.port);
    await say(old, "x");
    under.serve([]);
    await until("connections are reset or refused", () => under.threads.listening === undefined);
    assert.equal((await exchange(under.port, "x")).end, "ECONNREFUSED");
    assert.equal(await say(old, "still here"), "still here");
    old.destroy();
    under.serve([backend.backend]);
    await until("it listens again", () => under.threads.listening !== undefined);
    assert.equal((await exchange(under.threads.listening ?? 0, "x")).bytes.toString(), "back x");
  });

  test("resets those who come between the last backend's end and its own closing", async (t) => {
    const backend = await server(t, named("back "));
    const under = await proxy(t, [backend.backend]);
    under.serve([]);
    assert.equal((await exchange(under.port, "x")).end, "ECONNRESET");
    under.serve([backend.backend]);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "back x", "it did not close after all");
  });

  test("resets what exceeds the limit, and takes more when there is room again", async (t) => {
    const backend = await server(t, named("ok "));
    const under = await proxy(t, [backend.backend], { maxConnections: 2 });
    const held = [await openClient(under.port), await openClient(under.port)];
    for (const client of held) await say(client, "x");
    assert.equal((await exchange(under.port, "x")).end, "ECONNRESET");
    assert.equal(backend.accepted(), 2);
    await until("the refusal is counted", () => under.threads.counters().refused === 1);
    held[0]?.destroy();
    await until("there is room", () => backend.sockets.size === 1);
    await until("it is counted", () => under.threads.counters().connections === 1);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ok x");
    held[1]?.destroy();
  });

  test("prefers this node's own server, also once that is another one of the list", async (t) => {
    const [a, b] = [await server(t, named("a ")), await server(t, named("b "))];
    const at = ({ backend }: TestServer, local: boolean): Backend => ({ ...backend, local });
    const under = await proxy(t, [at(a, true), at(b, false)], { algorithm: "local" });
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "a x");
    under.serve([at(a, false), at(b, true)]);
    let answer = "";
    // The worker thread learns of it in its own time.
    for (let tries = 0; tries < 1_000 && answer !== "b x"; tries++)
      answer = (await exchange(under.port, "x")).bytes.toString();
    assert.equal(answer, "b x");
  });

  test("resets clients at an address that it does not serve, and the others go on", async (t) => {
    const address = outside();
    if (address === undefined) return t.skip("this machine has no address but loopback");
    const backend = await server(t, named("ok "));
    const parsed = networks.parse("127.0.0.0/8");
    assert.ok(parsed.kind === "ok");
    const under = await proxy(t, [backend.backend], { addresses: parsed.value });
    const socket = connect({ host: address, port: under.port, allowHalfOpen: true });
    const ending = readAll(socket);
    socket.end("x");
    assert.equal((await ending).end, "ECONNRESET");
    assert.equal(backend.accepted(), 0);
    await until("the refusal is counted", () => under.threads.counters().refused === 1);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ok x");
  });

  test("accepts both families on one port", async (t) => {
    const backend = await server(t, named("ok "));
    const under = await proxy(t, [backend.backend]);
    for (const host of ["127.0.0.1", "::1"]) {
      const socket = connect({ host, port: under.port, allowHalfOpen: true });
      const ending = readAll(socket);
      socket.end("x");
      assert.equal((await ending).bytes.toString(), "ok x", host);
    }
  });
});

describe("stopping", () => {
  test("accepts no more, and waits for the sessions to end", async (t) => {
    const backend = await server(t, named("ok "));
    const under = await startProxy([backend.backend]);
    const client = await openClient(under.port);
    await say(client, "x");
    let stopped = false;
    const stopping = under.stop(60_000).then(() => (stopped = true));
    await until("the listener is closed", () => under.threads.listening === undefined);
    assert.equal((await exchange(under.port, "x")).end, "ECONNREFUSED");
    assert.equal(await say(client, "still served"), "still served");
    assert.equal(stopped, false);
    client.destroy();
    await stopping;
  });

  test("ends the sessions that do not end by themselves in time", async (t) => {
    const backend = await server(t, named("ok "));
    const under = await startProxy([backend.backend]);
    const client = await openClient(under.port);
    await say(client, "x");
    const ending = readAll(client);
    await under.stop(50);
    assert.match((await ending).end, /^(FIN|ECONNRESET)$/u);
    await until("the server's side is closed too", () => backend.sockets.size === 0);
  });
});
