import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { describe, test } from "node:test";
import { createLogOutput } from "../../src/log-output.ts";
import { FakeClock } from "../support/fake-clock.ts";

function setUp() {
  const clock = new FakeClock();
  let room = 0;
  let failure: Error | undefined;
  let out = "";
  const output = createLogOutput({
    clock,
    write(bytes) {
      if (failure !== undefined) throw failure;
      const taken = Math.min(room, bytes.length);
      room -= taken;
      out += Buffer.from(bytes.subarray(0, taken)).toString("utf8");
      return taken;
    },
    notice: (dropped, forMs) => `dropped ${dropped} in ${forMs} ms\n`,
  });
  return {
    clock,
    output,
    out: () => out,
    give: (bytes: number) => void (room = bytes),
    fail: (error: Error | undefined) => void (failure = error),
  };
}

const line = (number: number): string => `${String(number).padStart(4, "0")} ${"x".repeat(1018)}\n`;

describe("the log's output", () => {
  test("writes at once where there is room, and later what there was none for, in order", () => {
    const { clock, output, out, give } = setUp();
    give(5);
    output.line("first\n");
    output.line("second\n");
    assert.equal(out(), "first");
    give(1_000);
    clock.advance(100);
    assert.equal(out(), "first\nsecond\n", "a line that was taken in part is finished first");
    assert.equal(clock.pendingTimers, 0, "nothing is left to do");
  });

  test("drops what does not fit, counts it, says the count when writing works again, and goes on", () => {
    const { clock, output, out, give } = setUp();
    for (let number = 0; number < 1_000; number++) output.line(line(number));
    assert.equal(output.dropped(), 1_000 - 256);
    clock.advance(5_000);
    give(10_000_000);
    clock.advance(100);
    output.line("after\n");
    const lines = out().trimEnd().split("\n");
    assert.equal(lines.length, 256 + 2);
    assert.match(lines[255] ?? "", /^0255 /);
    assert.deepEqual(lines.slice(256), ["dropped 744 in 5100 ms", "after"]);
  });

  test("outlives a full disk and a reader that has gone", () => {
    for (const code of ["ENOSPC", "EPIPE", "EIO", "EBADF"]) {
      const { clock, output, out, give, fail } = setUp();
      give(1_000_000);
      fail(Object.assign(new Error(code), { code }));
      output.line("kept\n");
      clock.advance(1_000);
      fail(undefined);
      clock.advance(100);
      assert.equal(out(), "kept\n", code);
    }
  });

  test("ends within 0.3 s, whether somebody reads or not", async () => {
    const { clock, output } = setUp();
    output.line("last words\n");
    let closed = false;
    void output.close().then(() => (closed = true));
    for (let step = 0; step < 40; step++) {
      clock.advance(10);
      await Promise.resolve();
    }
    assert.ok(closed);
  });
});

const FLOOD = new URL("../support/log-flood.ts", import.meta.url).pathname;

/** Runs the flood until it has logged everything, and returns what it has told. */
async function flood(stdout: "pipe" | number | Socket) {
  const child = spawn(process.execPath, [FLOOD], { stdio: ["ignore", stdout, "inherit", "ipc"] });
  let last = { beats: 0, dropped: 0, done: false };
  child.on("message", (message: typeof last) => void (last = message));
  const deadline = AbortSignal.timeout(30_000);
  while (!last.done) await once(child, "message", { signal: deadline });
  return { child, told: last };
}

describe("an agent whose standard output nobody reads goes on", () => {
  test("a pipe", async () => {
    const { child, told } = await flood("pipe");
    assert.ok(told.beats >= 40 && told.dropped > 3_000, JSON.stringify(told));
    assert.ok(child.stdout !== null);
    let read = "";
    child.stdout.setEncoding("utf8");
    // The child has written what waited when it says how many lines it dropped.
    for await (const chunk of child.stdout) {
      const told = read.includes("\ndropped ");
      read += String(chunk);
      if (!told && read.includes("\ndropped ")) child.send("end");
    }
    const lines = read.trimEnd().split("\n");
    assert.equal(lines.at(-1), "after the flood");
    assert.equal(lines.at(-2), `dropped ${told.dropped}`);
    assert.deepEqual(
      lines.slice(0, -2).map((each) => Number.parseInt(each, 10)),
      Array.from({ length: lines.length - 2 }, (_, index) => index),
      "every line before that is whole and in order",
    );
  });

  test("a socket, as systemd gives it", async () => {
    const server = createServer({ pauseOnConnect: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    const accepted = once(server, "connection");
    const own = connect(address.port, "127.0.0.1");
    await once(own, "connect");
    const [reader] = await accepted;
    const { child, told } = await flood(own);
    assert.ok(told.beats >= 40, JSON.stringify(told));
    child.kill("SIGKILL");
    for (const socket of [own, reader]) socket.destroy();
    server.close();
  });

  test("a full disk", async () => {
    const full = openSync("/dev/full", "w");
    const { child, told } = await flood(full);
    assert.ok(told.beats >= 40 && told.dropped > 3_000, JSON.stringify(told));
    child.kill("SIGKILL");
    closeSync(full);
  });
});
