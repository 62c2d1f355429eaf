/** Several real worker threads on one port, real sockets on loopback. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import type { Backend } from "../../../src/backends/backend.ts";
import { closeSocket } from "../../../src/linux/libc.ts";
import { openPendingListener } from "../../../src/linux/listener.ts";
import { ConnectionCount, connectionCountMemory } from "../../../src/proxy/connection-count.ts";
import { sum, withoutSessions } from "../../../src/proxy/counters.ts";
import type { FromProxy, ProxySettings } from "../../../src/proxy/messages.ts";
import { BACKLOG, Proxy } from "../../../src/proxy/proxy.ts";
import { workersFor } from "../../../src/proxy/threads.ts";
import { startServer, type TestServer } from "../../support/backends/servers.ts";
import {
  clock,
  exchange,
  openClient,
  readAll,
  startProxy,
  until,
  type ProxyUnderTest,
} from "../../support/proxy/fixture.ts";

const WORKERS = 2;
/** So many that the kernel gives all of them to one worker once in 2^31 runs. */
const CLIENTS = 32;
const mortal = new URL("../../support/proxy/mortal-worker.ts", import.meta.url);

/** Says its name at the first byte, then sends back what it gets. */
async function named(t: TestContext, name: string): Promise<TestServer> {
  const started = await startServer((socket) => {
    socket.once("data", (chunk: Buffer) => {
      socket.write(name);
      socket.write(chunk);
      socket.pipe(socket);
    });
  });
  t.after(() => started.close());
  return started;
}

async function proxy(
  t: TestContext,
  backends: readonly Backend[],
  changes: Partial<ProxySettings> = {},
): Promise<ProxyUnderTest> {
  const started = await startProxy(backends, changes, { workers: WORKERS, workerUrl: mortal });
  t.after(() => started.stop());
  return started;
}

async function say(socket: Socket, text: string): Promise<string> {
  const answer = once(socket, "data");
  socket.write(text);
  return String((await answer)[0]);
}

async function clients(
  t: TestContext,
  under: ProxyUnderTest,
): Promise<readonly { readonly socket: Socket; readonly answer: string }[]> {
  const opened: { readonly socket: Socket; readonly answer: string }[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    const socket = await openClient(under.port);
    t.after(() => socket.destroy());
    socket.on("error", () => {}); // the servers go first when a test ends
    opened.push({ socket, answer: await say(socket, "!") });
  }
  return opened;
}

function kill(slot: number): void {
  const channel = new BroadcastChannel("die");
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has no origin, only windows do
  channel.postMessage(slot);
  channel.close();
}

describe("several workers", () => {
  test("one that dies takes its own sessions with it and no others, and the port is served meanwhile", async (t) => {
    const backend = await named(t, "a");
    const under = await proxy(t, [backend.backend]);
    const opened = await clients(t, under);
    const endings: string[] = [];
    for (const { socket } of opened) void readAll(socket).then(({ end }) => endings.push(end));
    await until("all are counted", () => under.threads.counters().connections === CLIENTS);
    kill(0);
    await until("the dead worker's are counted out", () => under.threads.counters().connections < CLIENTS);
    const left = under.threads.counters().connections;
    assert.ok(left > 0, "the kernel gave the other worker some");
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax", "the other one accepts");
    await until("the dead worker's clients know", () => endings.length === CLIENTS - left);
    const survivors = opened.filter(({ socket }) => !socket.destroyed);
    assert.equal(survivors.length, left);
    for (const { socket } of survivors) assert.equal(await say(socket, "still here"), "still here");
    await until(
      "nothing that was counted is lost",
      () => under.threads.counters().backends[0]?.sessions === CLIENTS + 1,
    );
    kill(1);
    await until("the last old ones are gone", () => endings.length === CLIENTS);
    await until("the second is known to be dead", () => under.threads.counters().connections === 0);
    await until("one has been started again", () => under.threads.listening !== undefined);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax");
  });

  test("count together", async (t) => {
    const [a, b] = [await named(t, "a"), await named(t, "b")];
    const under = await proxy(t, [a.backend, b.backend]);
    await clients(t, under);
    await until("all bytes are counted", () => {
      const { backends } = under.threads.counters();
      return backends.reduce((bytes, { bytesOut }) => bytes + bytesOut, 0) === 2 * CLIENTS;
    });
    const { connections, backends } = under.threads.counters();
    assert.equal(connections, CLIENTS);
    for (const server of [a, b]) {
      const counted = backends.find(({ id }) => id === server.backend.id);
      const accepted = server.accepted();
      assert.deepEqual(
        [counted?.active, counted?.sessions, counted?.bytesIn],
        [accepted, accepted, accepted],
      );
    }
  });

  test("all take a new list of backends, and all close the sessions of one that is DOWN", async (t) => {
    const [a, b] = [await named(t, "a"), await named(t, "b")];
    const under = await proxy(t, [a.backend]);
    const old = await clients(t, under);
    const endings = old.map(({ socket }) => readAll(socket));
    under.serve([b.backend]);
    under.closeSessions(a.backend.id);
    for (const ending of endings) assert.equal((await ending).end, "ECONNRESET");
    const fresh = await clients(t, under);
    assert.deepEqual(new Set(fresh.map(({ answer }) => answer[0])), new Set(["b"]));
  });

  test("all close their listener when no backend is left, and open it again", async (t) => {
    const backend = await named(t, "a");
    const under = await proxy(t, [backend.backend]);
    under.serve([]);
    await until("no listener is left", () => under.threads.listening === undefined);
    assert.equal((await exchange(under.port, "x")).end, "ECONNREFUSED");
    under.serve([backend.backend]);
    await until("they listen again", () => under.threads.listening === under.port);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax");
  });

  test("have one limit, which a dead worker's sessions no longer fill", async (t) => {
    const backend = await named(t, "a");
    const under = await proxy(t, [backend.backend], { maxConnections: CLIENTS });
    await clients(t, under);
    assert.equal((await exchange(under.port, "x")).end, "ECONNRESET");
    assert.equal(backend.accepted(), CLIENTS);
    await until(
      "all is counted",
      () => under.threads.counters().refused === 1 && under.threads.counters().connections === CLIENTS,
    );
    kill(0);
    await until("there is room", () => under.threads.counters().connections < CLIENTS);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax");
  });

  test("do not share their port with another agent: the second one waits, and has it when the first has ended", async (t) => {
    const backend = await named(t, "a");
    const under = await proxy(t, [backend.backend]);
    const second = await startProxy([backend.backend], { port: under.port });
    t.after(() => second.stop());
    assert.equal(second.threads.listening, undefined);
    assert.equal(second.threads.failure?.error.code, "LH_LISTEN");
    await under.stop();
    await until("the second has it", () => second.threads.listening === under.port);
    assert.equal(second.threads.failure, undefined);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax");
  });

  test("a worker that comes back and finds the port taken: reported, tried on, and served when it is free", async (t) => {
    const backend = await named(t, "a");
    const started = await startProxy([backend.backend], {}, { workers: 1, workerUrl: mortal });
    t.after(() => started.stop());
    kill(0);
    await until("it is known to be dead", () => started.threads.listening === undefined);
    // Before the worker is back: it is started again after 100 ms, and needs some to start.
    const thief = createServer();
    thief.listen({ host: "::", port: started.port });
    await once(thief, "listening");
    t.after(() => thief.close());
    await until("it is reported", () => started.threads.failure !== undefined);
    assert.match(
      started.threads.failure?.detail ?? "",
      new RegExp(`^port ${started.port} cannot be opened: .*EADDRINUSE`, "u"),
    );
    assert.equal(started.threads.listening, undefined);
    thief.close();
    await until("it listens again", () => started.threads.listening === started.port);
    assert.equal(started.threads.failure, undefined);
    assert.equal((await exchange(started.port, "x")).bytes.toString(), "ax");
  });

  test("a taken port is no longer reported when nobody is left to serve: it is not tried for then", async (t) => {
    const backend = await named(t, "a");
    const started = await startProxy([backend.backend], {}, { workers: 1, workerUrl: mortal });
    t.after(() => started.stop());
    kill(0);
    await until("it is known to be dead", () => started.threads.listening === undefined);
    const thief = createServer();
    thief.listen({ host: "::", port: started.port });
    await once(thief, "listening");
    t.after(() => thief.close());
    await until("it is reported", () => started.threads.failure !== undefined);
    started.serve([]);
    await until("it is no longer", () => started.threads.failure === undefined);
  });
});

test("a machine gets a second worker from four cores on, and never a third by itself", () => {
  assert.deepEqual([1, 2, 3, 4, 8, 64].map(workersFor), [1, 1, 1, 2, 2, 2]);
});

describe("counters", () => {
  const backend = { id: "a", active: 2, sessions: 10, connectErrors: 1, bytesIn: 100, bytesOut: 1000 };

  test("of workers that know different backends", () => {
    const one = { connections: 2, refused: 1, backends: [backend] };
    const other = {
      connections: 3,
      refused: 4,
      backends: [
        { ...backend, active: 1 },
        { ...backend, id: "b" },
      ],
    };
    assert.deepEqual(sum([one, other]), {
      connections: 5,
      refused: 5,
      backends: [
        { id: "a", active: 3, sessions: 20, connectErrors: 2, bytesIn: 200, bytesOut: 2000 },
        { ...backend, id: "b" },
      ],
    });
  });

  test("of one that has ended: what it did, and nothing open", () => {
    assert.deepEqual(withoutSessions({ connections: 2, refused: 1, backends: [backend] }), {
      connections: 0,
      refused: 1,
      backends: [{ ...backend, active: 0 }],
    });
  });
});

/**
 * `tr` of /proc/net/tcp for the sockets that have this remote port: 02 is a timer that is neither
 * retransmission nor TIME_WAIT.
 */
function timersTowards(port: number): readonly string[] {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const established = "01";
  return ["/proc/net/tcp", "/proc/net/tcp6"]
    .flatMap((file) =>
      readFileSync(file, "utf8")
        .split("\n")
        .map((line) => line.trim().split(/\s+/u)),
    )
    .filter((fields) => fields[2]?.endsWith(remote) === true && fields[3] === established)
    .map((fields) => fields[5]?.split(":")[0] ?? "");
}

/** In this thread: `ticks` runs what the clock would. */
function proxyHere(t: TestContext): {
  readonly under: Proxy;
  readonly ticks: readonly (() => void)[];
  readonly port: () => number | undefined;
} {
  const ticks: (() => void)[] = [];
  const posted: FromProxy[] = [];
  const under = new Proxy({
    clock: { ...clock, every: (_, callback) => (ticks.push(callback), { cancel: () => {} }) },
    settings: { port: 0, algorithm: "roundrobin", maxConnections: 10, slowStartMs: 0, connectTimeoutMs: 500 },
    connections: new ConnectionCount({ memory: connectionCountMemory(1), slot: 0 }),
    random: Math.random,
    post: (message) => posted.push(message),
  });
  t.after(() => under.handle({ kind: "stop", drainMs: 0 }, () => {}));
  return { under, ticks, port: () => posted.find((message) => message.kind === "listening")?.port };
}

test("a worker does not accept before it knows a backend: another one has the port", async (t) => {
  const backend = await named(t, "a");
  const { under, port } = proxyHere(t);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(port(), undefined);
  under.handle(
    { kind: "backends", backends: [{ ...backend.backend, serving: true, returnedAgoMs: undefined }] },
    () => {},
  );
  await until("it listens", () => port() !== undefined);
});

test("a session that lasts gets a TCP keepalive on both sides", async (t) => {
  const backend = await named(t, "a");
  const { under, ticks, port } = proxyHere(t);
  under.handle(
    { kind: "backends", backends: [{ ...backend.backend, serving: true, returnedAgoMs: undefined }] },
    () => {},
  );
  await until("it listens", () => port() !== undefined);
  const client = await openClient(port() ?? 0);
  t.after(() => client.destroy());
  await say(client, "!");
  const ends = [backend.port, client.localPort ?? 0];
  await until("nothing waits for an acknowledgement", () =>
    ends.every((end) => timersTowards(end).join() === "00"),
  );
  for (const tick of ticks) tick();
  await until("both have a timer", () => ends.every((end) => timersTowards(end).join() === "02"));
  for (const tick of ticks) tick();
  assert.equal(await say(client, "still here"), "still here");
});

describe("threads that wait for the first client", () => {
  type Asleep = ProxyUnderTest & { readonly handedOver: () => number };

  async function asleep(t: TestContext, backends: readonly Backend[], workerUrl = mortal): Promise<Asleep> {
    let handedOver = 0;
    const under = await startProxy(
      backends,
      {},
      {
        workers: 1,
        workerUrl,
        closeListener: closeSocket,
        openPending: (port) => {
          const listener = openPendingListener(port, BACKLOG);
          return { ...listener, release: () => (handedOver++, listener.release()) };
        },
      },
    );
    t.after(() => under.stop());
    return { ...under, handedOver: () => handedOver };
  }

  test("run from the first client on, which is served, and so are those that came while they started", async (t) => {
    const backend = await named(t, "a");
    const under = await asleep(t, [backend.backend]);
    assert.deepEqual(
      [under.threads.listening, under.threads.heartbeatAgeMs(), under.handedOver()],
      [under.port, 0, 0],
    );
    const answers = await Promise.all(Array.from({ length: CLIENTS }, () => exchange(under.port, "x")));
    assert.deepEqual(
      answers.map(({ bytes }) => bytes.toString()),
      answers.map(() => "ax"),
    );
    assert.equal(under.handedOver(), 1);
    assert.equal(under.threads.listening, under.port);
    kill(0);
    await until("it is known to be dead", () => under.threads.listening === undefined);
    await until("it has been started again", () => under.threads.listening === under.port);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax");
  });

  test("never say meanwhile that the port is closed", async (t) => {
    const backend = await named(t, "a");
    const under = await asleep(t, [backend.backend]);
    const client = exchange(under.port, "x");
    const seen = new Set<number | undefined>();
    await until("they run", () => {
      seen.add(under.threads.listening);
      return under.threads.counters().backends.length > 0;
    });
    assert.deepEqual([...seen], [under.port]);
    assert.equal((await client).bytes.toString(), "ax");
  });

  test("run before a client comes when they are told to", async (t) => {
    const backend = await named(t, "a");
    const under = await asleep(t, [backend.backend]);
    under.threads.wake();
    assert.equal(under.handedOver(), 1);
    under.threads.wake();
    assert.equal(under.handedOver(), 1);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax");
  });

  test("run when no backend is left, and close the port then", async (t) => {
    const backend = await named(t, "a");
    const under = await asleep(t, [backend.backend]);
    under.serve([]);
    await until("the port is closed", () => under.threads.listening === undefined);
    assert.equal((await exchange(under.port, "x")).end, "ECONNREFUSED");
    under.serve([backend.backend]);
    await until("it is open again", () => under.threads.listening === under.port);
    assert.equal((await exchange(under.port, "x")).bytes.toString(), "ax");
  });

  test("close the port when they are stopped before a client has come", async (t) => {
    const backend = await named(t, "a");
    const under = await asleep(t, [backend.backend]);
    await under.stop();
    assert.equal((await exchange(under.port, "x")).end, "ECONNREFUSED");
    assert.equal(under.handedOver(), 0);
  });

  test("are tried again later where the machine cannot start one, and the agent goes on", async (t) => {
    const backend = await named(t, "a");
    // Node refuses this before it makes a thread, as it does where no process is left.
    const under = await asleep(t, [backend.backend], new URL("http://127.0.0.1/worker.js"));
    assert.equal((await exchange(under.port, "x")).end, "ECONNRESET");
    assert.equal(under.threads.listening, undefined);
  });

  test("reset the first client if they cannot start: it is not left waiting", async (t) => {
    const backend = await named(t, "a");
    const broken = new URL("data:text/javascript,throw new Error('a bug in the proxy')");
    const under = await asleep(t, [backend.backend], broken);
    assert.equal((await exchange(under.port, "x")).end, "ECONNRESET");
    assert.equal(under.threads.listening, undefined);
  });
});
