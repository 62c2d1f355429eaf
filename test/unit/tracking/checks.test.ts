import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createServer as createTcpServer } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { systemClock } from "../../../src/clock.ts";
import type { Clock } from "../../../src/clock.ts";
import type { Finding } from "../../../src/tracking/check.ts";
import { checksFromConfig } from "../../../src/tracking/checks.ts";
import { execCheck } from "../../../src/tracking/exec.ts";
import { fileCheck, watchFile } from "../../../src/tracking/file.ts";
import { httpCheck } from "../../../src/tracking/http.ts";
import type { Outcome } from "../../../src/tracking/rules.ts";
import type { LinkState } from "../../../src/vip/kernel.ts";
import { authority, issueServing } from "../../support/backends/pki.ts";
import { issue as issueFor } from "../../support/embedded-api/certificates.ts";
import { FakeClock } from "../../support/fake-clock.ts";

// For localhost and 127.0.0.1, self-signed, valid from 2020 to 2119. It protects nothing.
const TEST_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnhgU24o1li3SR2Bb
n3T1FG+uiBD+LmXfu63SJozEwO2hRANCAASWqUduBYgOHhcM98xWEEeyqZ6x+0HU
6jXbR/H1saj95LLxlf2UT5MW9XlRTuPWx7hAEmdoewA3411+zALfiwk9
-----END PRIVATE KEY-----
`;
const TEST_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJapR24FiA4eFwz3
zFYQR7KpnrH7QdTqNdtH8fWxqP3ksvGV/ZRPkxb1eVFO49bHuEASZ2h7ADfjXX7M
At+LCT2jTjBMMA8GA1UdEwEB/wQFMAMBAf8wGgYDVR0RBBMwEYIJbG9jYWxob3N0
hwR/AAABMB0GA1UdDgQWBBQWyRff/GA+j8qr2In+mADbbTZJQjAKBggqhkjOPQQD
AgNIADBFAiBuwPwSn8MKBD6zI24rDcWbNQXYUZcWwoBx1f8Vu0VGxAIhALC/zYK/
BMvV4nTtBCSZuLl+bBOl3jAqV0GzjqtBTELg
-----END CERTIFICATE-----
`;

const realClock: Clock = systemClock(() => performance.now());
const never = new AbortController().signal;
const ENV = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LEASEHOLD_VIP: "192.0.2.10" };

function day(): { readonly notBefore: Date; readonly notAfter: Date } {
  return { notBefore: new Date(Date.now() - 86_400_000), notAfter: new Date(Date.now() + 86_400_000) };
}

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "leasehold-check-"));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function script(directory: string, name: string, lines: readonly string[]): string {
  const path = join(directory, name);
  writeFileSync(path, `${lines.join("\n")}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Waits for a condition outside this process; fails loudly, not by a time that a slow machine misses. */
async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_500; turn++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`never came true: ${what}`);
}

/** A zombie is gone for our purpose: it runs nothing. */
function alive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

describe("an exec check", () => {
  const run = (line: string, signal = never): Promise<Outcome> => execCheck(line, ENV, realClock)(signal);

  test("gets the environment that it is given, and nothing of the agent's own", async (context) => {
    const directory = folder(context);
    const file = script(directory, "env", ["#!/bin/sh", `/usr/bin/env > ${directory}/seen`]);
    process.env["LEASEHOLD_TEST_SECRET"] = "token";
    try {
      assert.equal((await run(file)).kind, "pass");
    } finally {
      delete process.env["LEASEHOLD_TEST_SECRET"];
    }
    const seen = read(join(directory, "seen")).trim().split("\n");
    // The shell itself adds these.
    const own = seen.filter((line) => !/^(?:PWD|SHLVL|_|OLDPWD)=/.test(line));
    assert.deepEqual(
      own.toSorted(),
      Object.entries(ENV)
        .map(([name, value]) => `${name}=${value}`)
        .toSorted(),
    );
  });

  test("passes with exit status 0 and fails with any other, with the first line of its error output", async (context) => {
    const failing = script(folder(context), "failing", [
      "#!/bin/sh",
      'echo "no route to $1" >&2',
      "echo more >&2",
      "exit 3",
    ]);
    assert.deepEqual(await run("true"), { kind: "pass", detail: "exit status 0" });
    assert.deepEqual(await run("false"), { kind: "fail", detail: "exit status 1" });
    assert.deepEqual(await run(`${failing} 'the gateway'`), {
      kind: "fail",
      detail: "exit status 3: no route to the gateway",
    });
  });

  test("hands its words to the program without a shell", async (context) => {
    const directory = folder(context);
    const show = script(directory, "show", [
      "#!/bin/sh",
      `printf '%s\\n' "$@" > ${join(directory, "words")}`,
    ]);
    assert.equal((await run(`${show} '$HOME' "a b" ; *`)).kind, "pass");
    assert.equal(readFileSync(join(directory, "words"), "utf8"), "$HOME\na b\n;\n*\n");
  });

  test("fails when a signal ended the program", async () => {
    assert.deepEqual(await run(`sh -c 'kill -9 $$'`), { kind: "fail", detail: "killed by SIGKILL" });
  });

  test("is unusable, and says why, when the program cannot be run", async (context) => {
    const directory = folder(context);
    const plain = join(directory, "plain");
    writeFileSync(plain, "#!/bin/sh\n");
    const orphan = script(directory, "orphan", ["#!/nonexistent/shell"]);
    const inner = script(directory, "inner", ["#!/bin/sh", "leasehold-no-such-tool"]);
    const cases: readonly (readonly [line: string, detail: RegExp])[] = [
      ["/nonexistent/check -x", /^\/nonexistent\/check: no such program/],
      [plain, /not executable$/],
      [directory, /not executable$/],
      [orphan, /interpreter is missing$/],
      [inner, /exit status 127: .*leasehold-no-such-tool/],
      [`'unclosed`, /^not a command line: 'unclosed$/],
      [`""`, /^not a command line/],
      ["true a\0b", /null bytes/],
    ];
    for (const [line, detail] of cases) {
      const outcome = await run(line);
      assert.equal(outcome.kind, "unusable", line);
      assert.match(outcome.detail, detail);
    }
  });

  test("ends the whole process group when its time is over", async (context) => {
    const directory = folder(context);
    const parent = script(directory, "parent", [
      "#!/bin/sh",
      "sleep 1000 &",
      `echo "$$ $!" > ${join(directory, "pids")}`,
      "wait",
    ]);
    const abort = new AbortController();
    const result = run(parent, abort.signal);
    await eventually("both processes are running", () => read(join(directory, "pids")).endsWith("\n"));
    const pids = read(join(directory, "pids")).trim().split(" ").map(Number);
    assert.equal(pids.length, 2);
    assert.deepEqual(pids.map(alive), [true, true]);
    abort.abort();
    assert.deepEqual(await result, { kind: "fail", detail: "killed by SIGTERM" });
    await eventually("no process is left", () => !pids.some(alive));
  });

  test("kills a program that ignores SIGTERM two seconds later, not before", async (context) => {
    const directory = folder(context);
    const marks = join(directory, "marks");
    const stubborn = script(directory, "stubborn", [
      "#!/bin/sh",
      `trap "echo term >> ${marks}" TERM`,
      `echo $$ > ${marks}`,
      "while :; do sleep 0.05; done",
    ]);
    const clock = new FakeClock();
    const abort = new AbortController();
    const result = execCheck(stubborn, ENV, clock)(abort.signal);
    await eventually("the program is running", () => read(marks).endsWith("\n"));
    const pid = Number(read(marks).trim());
    abort.abort();
    await eventually("SIGTERM arrived", () => read(marks).includes("term"));
    clock.advance(1_999);
    assert.ok(alive(pid));
    clock.advance(1);
    assert.match((await result).detail, /^killed by SIGKILL/);
    assert.equal(clock.pendingTimers, 0);
  });

  test("is ended at once when its time was over before it began", async () => {
    assert.deepEqual(await run("sleep 1000", AbortSignal.abort()), {
      kind: "fail",
      detail: "killed by SIGTERM",
    });
  });

  test("leaves nothing of its group running after it has passed", async (context) => {
    const directory = folder(context);
    const leaving = script(directory, "leaving", [
      "#!/bin/sh",
      "sleep 1000 &",
      `echo $! > ${join(directory, "pid")}`,
    ]);
    assert.equal((await run(leaving)).kind, "pass");
    const pid = Number(read(join(directory, "pid")).trim());
    assert.ok(pid > 0);
    await eventually("the sleeper is gone", () => !alive(pid));
  });

  test("does not wait for a grandchild that left the group and holds its error output", async (context) => {
    const directory = folder(context);
    const daemon = script(directory, "daemon", [
      "#!/bin/sh",
      `setsid sh -c 'echo $$ > ${join(directory, "pid")}; exec sleep 1000' &`,
      `while [ ! -s ${join(directory, "pid")} ]; do sleep 0.02; done`,
    ]);
    const outcome = await run(daemon);
    const pid = Number(read(join(directory, "pid")).trim());
    assert.ok(pid > 0 && alive(pid), "the daemon itself is not ours to end");
    process.kill(pid, "SIGKILL");
    assert.equal(outcome.kind, "pass");
  });

  test("survives any amount of error output", async (context) => {
    const noisy = script(folder(context), "noisy", [
      "#!/bin/sh",
      "head -c 3000000 /dev/zero | tr '\\0' x >&2",
      "exit 1",
    ]);
    const outcome = await run(noisy);
    assert.equal(outcome.kind, "fail");
    assert.ok(outcome.detail.length > 500 && outcome.detail.length < 1_100, `${outcome.detail.length}`);
  });
});

async function listening(context: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

describe("the documented command", () => {
  const page = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
  const documented = /^( {4}#!\/bin\/sh\n(?: {4}.*\n)+)/m.exec(page)?.[1]?.replaceAll(/^ {4}/gm, "");

  test("works with what the image has: sh and node, and no curl", async (context) => {
    assert.ok(documented !== undefined, "docs/configuration.md has no script");
    let status = 200;
    const apiServer = createTlsServer(issueServing(authority("cluster-ca")), (request, response) => {
      response.writeHead(request.url === "/livez" ? status : 404).end("ok");
    });
    const port = await listening(context, apiServer);
    const directory = folder(context);
    const programs = join(directory, "bin");
    mkdirSync(programs);
    symlinkSync(process.execPath, join(programs, "node"));
    assert.match(documented, /127\.0\.0\.1:6443/);
    const file = script(directory, "check.sh", [documented.replace(":6443", `:${port}`)]);
    const check = execCheck(`/usr/bin/env PATH=${programs} ${file}`, ENV, realClock);
    assert.deepEqual(await check(never), { kind: "pass", detail: "exit status 0" });
    status = 500;
    assert.deepEqual(await check(never), { kind: "fail", detail: "exit status 1: status 500" });
    apiServer.closeAllConnections();
    apiServer.close();
    const gone = await check(never);
    assert.equal(gone.kind, "fail");
    assert.match(gone.detail, /ECONNREFUSED/);
  });
});

describe("an http check", () => {
  const serve = (context: TestContext, listener: RequestListener): Promise<number> =>
    listening(context, createServer(listener));
  const get = (url: string, signal = never): Promise<Outcome> => httpCheck(url)(signal);

  test("passes with 2xx and 3xx, follows no redirect, and fails with the rest", async (context) => {
    const paths: string[] = [];
    const port = await serve(context, (request, response) => {
      paths.push(`${request.method} ${request.url}`);
      response.writeHead(Number(request.url?.slice(1, 4)), { location: "/500" }).end("body");
    });
    for (const status of [200, 204, 299, 302, 399]) {
      assert.deepEqual(await get(`http://127.0.0.1:${port}/${status}`), {
        kind: "pass",
        detail: `status ${status}`,
      });
    }
    for (const status of [400, 401, 404, 500, 503]) {
      assert.deepEqual(await get(`http://127.0.0.1:${port}/${status}?verbose`), {
        kind: "fail",
        detail: `status ${status}`,
      });
    }
    assert.equal(paths.length, 10);
    assert.equal(paths[5], "GET /400?verbose");
  });

  test("connects anew each time", async (context) => {
    let connections = 0;
    const server = createServer((_, response) => void response.end("ok"));
    server.on("connection", () => (connections += 1));
    const check = httpCheck(`http://127.0.0.1:${await listening(context, server)}/`);
    await check(never);
    await check(never);
    assert.equal(connections, 2);
  });

  test("fails when nobody listens, or what answers is not HTTP, or hangs up", async (context) => {
    const port = await listening(
      context,
      createTcpServer((socket) => socket.on("error", () => {}).end("SSH-2.0-x\r\n")),
    );
    const silent = await listening(
      context,
      createTcpServer((socket) => void socket.destroy()),
    );
    const gone = createTcpServer();
    const closed = await listening(context, gone);
    await new Promise((resolve) => gone.close(resolve));
    assert.match((await get(`http://127.0.0.1:${closed}/`)).detail, /ECONNREFUSED/);
    for (const url of [
      `http://127.0.0.1:${port}/`,
      `http://127.0.0.1:${silent}/`,
      `http://127.0.0.1:${closed}/`,
    ]) {
      assert.equal((await get(url)).kind, "fail", url);
    }
  });

  test("fails when the answer does not come to its end before the time is over", async (context) => {
    const abort = new AbortController();
    const port = await serve(context, (_, response) => {
      response.writeHead(200, { "content-length": "10" });
      response.write("half", () => abort.abort());
    });
    const outcome = await get(`http://127.0.0.1:${port}/`, abort.signal);
    assert.equal(outcome.kind, "fail");
  });

  test("fails when the connection ends within the body, or there is no answer before the time is over", async (context) => {
    const cut = await serve(context, (_, response) => {
      response.writeHead(200, { "content-length": "10" });
      response.write("half", () => response.destroy());
    });
    assert.match((await get(`http://127.0.0.1:${cut}/`)).detail, /^status 200, then /);
    const abort = new AbortController();
    const mute = await serve(context, () => abort.abort());
    assert.equal((await get(`http://127.0.0.1:${mute}/`, abort.signal)).kind, "fail");
  });

  test("settles when the server switches protocols unasked", async (context) => {
    const port = await listening(
      context,
      createTcpServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () =>
          socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
        );
      }),
    );
    assert.equal((await get(`http://127.0.0.1:${port}/`)).kind, "fail");
  });

  test("does not read an endless body", async (context) => {
    const port = await serve(context, (_, response) => {
      const chunk = Buffer.alloc(16_384);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on("drain", more);
      more();
    });
    assert.deepEqual(await get(`http://127.0.0.1:${port}/`), { kind: "pass", detail: "status 200" });
  });

  test("verifies a https server against the authorities it trusts", async (context) => {
    const server = createTlsServer(
      { key: TEST_KEY, cert: TEST_CERTIFICATE },
      (_, response) => void response.end("ok"),
    );
    const url = `https://127.0.0.1:${await listening(context, server)}/`;
    const stranger = await get(url);
    assert.equal(stranger.kind, "fail");
    assert.match(stranger.detail, /self-signed/);
    const trust = (): string => TEST_CERTIFICATE;
    assert.deepEqual(await httpCheck(url, trust)(never), { kind: "pass", detail: "status 200" });
    const otherName = await httpCheck(url.replace("127.0.0.1", "127.0.0.2"), trust)(never);
    assert.equal(otherName.kind, "fail");
  });

  test("trusts the cluster's CA, the new one as soon as there is one, and its API server on the loopback", async (context) => {
    const ca = authority("cluster-ca");
    const apiServer = issueServing(ca);
    const server = createTlsServer(apiServer, (_, response) => void response.end("ok"));
    // kubeadm's certificate has the name kubernetes and the node's address, and not 127.0.0.1.
    const url = `https://127.0.0.1:${await listening(context, server)}/livez`;
    let current: string | undefined = authority("another-ca").cert;
    const check = httpCheck(url, () => current);
    assert.equal((await check(never)).kind, "fail");
    current = ca.cert;
    assert.deepEqual(await check(never), { kind: "pass", detail: "status 200" });
    current = undefined;
    assert.equal((await check(never)).kind, "fail");
  });

  test("takes the API server's name for the loopback's alone", async (context) => {
    const ca = authority("cluster-ca");
    const other = issueFor(ca, { commonName: "x", names: ["etcd"], ...day() });
    const server = createTlsServer(other, (_, response) => void response.end("ok"));
    const port = await listening(context, server);
    const outcome = await httpCheck(`https://127.0.0.1:${port}/`, () => ca.cert)(never);
    assert.equal(outcome.kind, "fail");
    assert.match(outcome.detail, /does not match|altnames/u);
  });

  test("is unusable without a URL of http or https", async () => {
    for (const url of ["", "127.0.0.1:80", "ftp://127.0.0.1/", "http://"]) {
      assert.equal((await get(url)).kind, "unusable", url);
    }
  });
});

describe("a file check", () => {
  test("reads an integer, with space around it", async (context) => {
    const path = join(folder(context), "prio");
    for (const [text, value] of [
      ["5", 5],
      ["-30\n", -30],
      ["  +7 \n\n", 7],
      ["0", 0],
      ["-0", 0],
      ["007", 7],
    ] as const) {
      writeFileSync(path, text);
      assert.deepEqual(await fileCheck(path)(), { kind: "value", value, detail: `value ${value}` });
    }
  });

  test("is unusable, and says why, without a file or a number in it", async (context) => {
    const directory = folder(context);
    const path = join(directory, "prio");
    assert.deepEqual(await fileCheck(path)(), { kind: "unusable", detail: `${path}: no such file` });
    for (const [text, detail] of [
      ["", /file is empty/],
      [" \n", /file is empty/],
      ["abc", /not an integer: "abc"/],
      ["1.5", /not an integer/],
      ["1 2", /not an integer/],
      ["0x10", /not an integer/],
      ["9".repeat(100_000), /not an integer/],
    ] as const) {
      writeFileSync(path, text);
      const outcome = await fileCheck(path)();
      assert.equal(outcome.kind, "unusable", JSON.stringify(text.slice(0, 10)));
      assert.match(outcome.detail, detail);
    }
    assert.equal((await fileCheck(directory)()).kind, "unusable");
  });

  test("is run again when the file comes, changes or is replaced, but not for its neighbours", async (context) => {
    const directory = folder(context);
    const path = join(directory, "prio");
    let pokes = 0;
    const clock = new FakeClock();
    const watching = watchFile(path, clock)(() => (pokes += 1));
    context.after(() => watching.close());
    const settles = async (what: string): Promise<void> => {
      await eventually(what, () => clock.pendingTimers > 0);
      const before = pokes;
      clock.advance(50);
      assert.equal(pokes, before + 1, what);
    };
    writeFileSync(path, "1");
    await settles("it comes");
    writeFileSync(path, "2");
    await settles("it changes");
    writeFileSync(`${path}.new`, "3");
    renameSync(`${path}.new`, path);
    await settles("it is replaced");
    // inotify keeps the order: once a neighbour's event has come, all earlier ones have.
    const neighbourClock = new FakeClock();
    const neighbour = watchFile(join(directory, "other"), neighbourClock)(() => {});
    context.after(() => neighbour.close());
    writeFileSync(join(directory, "other"), "4");
    await eventually("the neighbour comes", () => neighbourClock.pendingTimers > 0);
    clock.advance(50);
    neighbourClock.advance(50);
    writeFileSync(join(directory, "other"), "5");
    await eventually("the neighbour changes", () => neighbourClock.pendingTimers > 0);
    assert.equal(clock.pendingTimers, 0);
  });

  test("can be watched before its directory exists, and stops without a trace", (context) => {
    const clock = new FakeClock();
    watchFile("/nonexistent/leasehold/prio", clock)(() => {}).close();
    watchFile(join(folder(context), "prio"), clock)(() => {}).close();
    assert.equal(clock.pendingTimers, 0);
  });
});

describe("the configured checks", () => {
  const UP: LinkState = { name: "eth0", index: 2, mac: "02:00:00:00:00:01", up: true, carrier: true };

  function setUp() {
    const world: {
      neighbours: boolean | null;
      link: LinkState | undefined;
      balancer: Finding;
      apiserver: Finding;
      onChange: (() => void)[];
    } = {
      neighbours: null,
      link: UP,
      balancer: { ok: true, detail: "1 backend" },
      apiserver: { ok: null, detail: "UNKNOWN" },
      onChange: [],
    };
    const sources = {
      clock: new FakeClock(),
      balancer: () => world.balancer,
      apiserver: () => world.apiserver,
      neighbours: () => world.neighbours,
      clusterCa: () => undefined,
      kernel: {
        link: () => world.link,
        onChange(callback: () => void) {
          world.onChange.push(callback);
          return {
            close: () => void (world.onChange = world.onChange.filter((other) => other !== callback)),
          };
        },
      },
    };
    const settings = {
      trackBalancerWeight: 0,
      trackApiserverWeight: -50,
      trackInterfaceWeight: 0,
      trackFile: undefined,
      trackFileWeight: 1,
      trackExec: undefined,
      trackExecWeight: -20,
      programEnv: ENV,
      trackHttp: undefined,
      trackHttpWeight: 5,
      trackIntervalMs: 1_000,
      trackTimeoutMs: 900,
      trackRise: 2,
      trackFall: 3,
    };
    return { world, sources, settings };
  }

  test("are balancer, apiserver and interface, and those that are set, each with its weight", () => {
    const { sources, settings } = setUp();
    const weights = (changes: object): unknown =>
      checksFromConfig({ ...settings, ...changes }, sources).map((check) => [check.name, check.weight]);
    const always = [
      ["balancer", 0],
      ["apiserver", -50],
      ["interface", 0],
    ];
    assert.deepEqual(weights({}), always);
    assert.deepEqual(weights({ trackFile: "/x", trackExec: "true", trackHttp: "http://x/" }), [
      ...always,
      ["file", 1],
      ["exec", -20],
      ["http", 5],
    ]);
  });

  test("count rise and fall where nothing else has, and keep the interval and time-out", () => {
    const { sources, settings } = setUp();
    const checks = checksFromConfig(
      { ...settings, trackFile: "/x", trackExec: "true", trackHttp: "http://x/" },
      sources,
    );
    assert.deepEqual(
      checks.map(({ rise, fall }) => [rise, fall]),
      [
        [1, 1],
        [1, 1],
        [1, 1],
        [2, 3],
        [2, 3],
        [2, 3],
      ],
    );
    assert.ok(checks.every(({ intervalMs, timeoutMs }) => intervalMs === 1_000 && timeoutMs === 900));
  });

  test("the balancer and the API server are asked, not probed, and may not know yet", () => {
    const { world, sources, settings } = setUp();
    const [balancer, apiserver] = checksFromConfig(settings, sources);
    assert.deepEqual(balancer?.run(never), { kind: "pass", detail: "1 backend" });
    assert.equal(apiserver?.run(never), null);
    world.apiserver = { ok: false, detail: "DOWN: refused" };
    assert.deepEqual(apiserver?.run(never), { kind: "fail", detail: "DOWN: refused" });
  });

  test("the interface fails when it is missing, down or without carrier, and is looked at after every change", () => {
    const { world, sources, settings } = setUp();
    const check = checksFromConfig(settings, sources).find(({ name }) => name === "interface");
    const look = (link: LinkState | undefined): unknown => ((world.link = link), check?.run(never));
    assert.deepEqual(look(UP), { kind: "pass", detail: "eth0 is up" });
    assert.deepEqual(look({ ...UP, carrier: false }), { kind: "fail", detail: "eth0 has no carrier" });
    assert.deepEqual(look({ ...UP, up: false, carrier: false }), { kind: "fail", detail: "eth0 is down" });
    assert.deepEqual(look(undefined), { kind: "fail", detail: "the VIP's interface does not exist" });
    world.neighbours = true;
    assert.deepEqual(look(UP), { kind: "pass", detail: "eth0 is up" });
    world.neighbours = false;
    assert.deepEqual(look(UP), { kind: "fail", detail: "nobody answers on eth0" });
    let pokes = 0;
    const watching = check?.watch?.(() => (pokes += 1));
    for (const callback of world.onChange) callback();
    assert.equal(pokes, 1);
    watching?.close();
    assert.equal(world.onChange.length, 0);
  });
});
