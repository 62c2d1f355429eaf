import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runInNewContext } from "node:vm";
import { LeaseholdError } from "../../src/errors.ts";
import { createLogger } from "../../src/pino-logger.ts";
import type { LevelLogger } from "../../src/pino-logger.ts";
import { FakeClock } from "../support/fake-clock.ts";

function make(level: "info" | "debug", format: "json" | "text") {
  const lines: string[] = [];
  const clock = new FakeClock(0, new Date("2026-01-02T03:04:05.678Z"));
  const log: LevelLogger = createLogger({
    level,
    format,
    base: { node: "n1" },
    clock,
    write: (line) => lines.push(line),
  });
  return { log, lines, clock };
}

describe("the log", () => {
  test("is one JSON object a line: time, level in a word, node, fields, message", () => {
    const { log, lines } = make("info", "json");
    log.child({ part: "vip" }).info({ vip: "192.0.2.10" }, "bound");
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      [
        {
          level: "info",
          ts: "2026-01-02T03:04:05.678Z",
          node: "n1",
          part: "vip",
          vip: "192.0.2.10",
          msg: "bound",
        },
      ],
    );
    assert.ok(lines[0]?.endsWith("\n"));
  });

  test("leaves out what is below its level", () => {
    const { log, lines } = make("info", "json");
    log.debug({}, "renewed");
    assert.deepEqual(lines, []);
  });

  test("tells an error's code, hint and causes", () => {
    const { log, lines } = make("info", "json");
    const cause = Object.assign(new Error("listen EADDRINUSE"), { code: "EADDRINUSE" });
    log.error({ err: new LeaseholdError("LH_LISTEN", "cannot listen", { cause }) }, "start failed");
    const { err } = JSON.parse(lines[0] ?? "");
    assert.deepEqual(err, {
      type: "LeaseholdError",
      message: "cannot listen",
      code: "LH_LISTEN",
      hint: "The port is taken, or may not be opened. Stop the other program (`ss -ltnp` names it), or choose another LEASEHOLD_BALANCER_PORT, LEASEHOLD_OPS_ADDRESS, LEASEHOLD_HEALTH_PORT or LEASEHOLD_PEER_PORT.",
      cause: { type: "Error", message: "listen EADDRINUSE", code: "EADDRINUSE" },
    });
  });

  test("survives an error that is its own cause, and one that is no error", () => {
    const { log, lines } = make("info", "json");
    const loop = new Error("loop");
    loop.cause = loop;
    log.error({ err: loop }, "failed");
    log.error({ err: "text" }, "failed");
    assert.deepEqual(JSON.parse(lines[1] ?? "").err, { type: "string", message: "text" });
  });

  test("loses no error's message, whatever key it stands under and however deep", () => {
    const { log, lines } = make("info", "json");
    const error = new Error("the reason");
    const shapes: Record<string, unknown> = {
      error,
      cause: error,
      list: [1, error],
      outcome: { kind: "failed", why: { error } },
      map: new Map([["n1", error]]),
      set: new Set([error]),
      chain: new TypeError("outer", { cause: new Error("between", { cause: error }) }),
      aggregate: new AggregateError([new Error("first"), error]),
      suppressed: Object.assign(new Error("both"), { error: new Error("first"), suppressed: error }),
      plain: { message: "the reason", code: 7 },
      otherRealm: runInNewContext("new Error('the reason')"),
      abyss: { a: { b: { c: { d: { e: { f: error } } } } } },
    };
    for (const [key, value] of Object.entries(shapes)) {
      lines.length = 0;
      // @ts-expect-error -- a value that may be an error compiles under `err` alone
      log.warn({ [key]: value }, "failed");
      assert.match(lines[0] ?? "", /the reason/, key);
      lines.length = 0;
      log.child({ err: value }).warn({}, `failed ${key}`);
      assert.match(lines[0] ?? "", /the reason/, `${key} under err, of a child`);
    }
    lines.length = 0;
    // @ts-expect-error -- nor may a child's field be one
    log.child({ failure: error }).info({}, "failed");
    const { failure } = JSON.parse(lines[0] ?? "");
    assert.deepEqual(
      { ...failure, stack: typeof failure.stack },
      { type: "Error", message: "the reason", stack: "string" },
    );
  });

  test("does not compile where an error is under another key than err", () => {
    const { log } = make("info", "json");
    const error: Error | undefined = new LeaseholdError("LH_NATIVE", "the reason");
    const thrown: unknown = error;
    // @ts-expect-error -- as `catch` gives it
    log.error({ error: thrown }, "failed");
    // @ts-expect-error -- by its type
    log.error({ error }, "failed");
    // @ts-expect-error -- one that may be absent
    log.error({ failure: Math.random() < 2 ? error : undefined }, "failed");
    // @ts-expect-error -- within another field
    log.debug({ outcome: { kind: "failed", error } }, "failed");
    // @ts-expect-error -- in a list
    log.info({ failures: [error] }, "failed");
    log.error({ err: thrown, outcome: { kind: "failed", attempts: [1, 2], at: null } }, "failed");
  });

  test("writes what is no error as it was, and survives what JSON does not know", () => {
    const { log, lines } = make("info", "json");
    const loop: Record<string, unknown> = { name: "loop" };
    loop["self"] = loop;
    const fields = { at: new Date(0), bytes: [1, 2], none: null, absent: undefined, big: 7n, loop };
    // @ts-expect-error -- `loop` is made of values of no known type
    log.info(fields, "odd");
    const { at, bytes, none, absent, big, loop: shown } = JSON.parse(lines[0] ?? "");
    assert.deepEqual(
      { at, bytes, none, absent, big, shown },
      {
        at: "1970-01-01T00:00:00.000Z",
        bytes: [1, 2],
        none: null,
        absent: undefined,
        big: 7,
        shown: { name: "loop", self: "[Circular]" },
      },
    );
    log.error({ err: Object.create(null) }, "thrown by somebody");
    log.error({ err: { reason: { status: 503 } } }, "thrown by somebody");
    assert.match(lines[2] ?? "", /status: 503/);
  });

  test("shows the stack of what nobody expected, and of nothing else", () => {
    const { log, lines } = make("info", "json");
    const coded = (code: string): Error => Object.assign(new Error("it failed"), { code });
    for (const error of [
      coded("ENOSPC"),
      coded("ECONNREFUSED"),
      coded("UND_ERR_SOCKET"),
      coded("CERT_HAS_EXPIRED"),
      new LeaseholdError("LH_NFT", "nft failed", { cause: coded("ENOENT") }),
      new DOMException("too late", "TimeoutError"),
    ])
      log.error({ err: error }, error.message);
    for (const error of [
      new Error("a bug"),
      new TypeError("x is not a function"),
      Object.assign(new TypeError("bad argument"), { code: "ERR_INVALID_ARG_TYPE" }),
      new LeaseholdError("LH_NFT", "nft failed", { cause: new TypeError("x is undefined") }),
    ])
      log.error({ err: error }, error.message);
    const stacks = lines.map((line) => JSON.parse(line).err.stack !== undefined);
    assert.deepEqual(stacks, [...Array<boolean>(6).fill(false), ...Array<boolean>(4).fill(true)]);
  });

  test("changes its level while it is in use, also for a part that has a logger of its own", () => {
    const { log, lines } = make("info", "json");
    const part = log.child({ part: "vip" });
    part.debug({}, "one");
    log.setLevel("debug");
    part.debug({}, "two");
    log.setLevel("error");
    part.warn({}, "three");
    part.error({}, "four");
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).msg),
      ["two", "four"],
    );
  });

  test("counts a warning that repeats, and says the count at the end of half a minute", () => {
    const { log, lines, clock } = make("info", "json");
    for (let flush = 0; flush < 60; flush++) {
      log.warn({ program: "nft", pid: 1000 + flush }, "Another program changed the rules");
      clock.advance(233);
    }
    log.warn({ program: "firewalld", pid: 7 }, "Another program changed the rules");
    assert.equal(lines.length, 4, "three, and the one about another program");
    clock.advance(30_000);
    const last = JSON.parse(lines.at(-1) ?? "");
    assert.deepEqual([lines.length, last.repeated, last.program], [5, 57, "nft"]);
    log.warn({ program: "nft", pid: 1 }, "Another program changed the rules");
    assert.equal(lines.length, 6, "a new half minute");
    log.close();
    assert.equal(clock.pendingTimers, 0);
  });

  test("for people is still one line, whatever the values hold", () => {
    const { log, lines } = make("debug", "text");
    log.warn({ holder: "n2", detail: "two\nlines", count: 3 }, "lease lost");
    assert.deepEqual(lines, [
      '2026-01-02T03:04:05.678Z WARN  lease lost  node=n1  holder=n2  detail="two\\nlines"  count=3\n',
    ]);
  });

  test("for people shows an error as its message, its code, what to do and its cause, without JSON", () => {
    const { log, lines } = make("debug", "text");
    const cause = Object.assign(new Error("listen EADDRINUSE: address already in use"), {
      code: "EADDRINUSE",
    });
    log.error({ err: new LeaseholdError("LH_LISTEN", "cannot listen on 8443", { cause }) }, "No port");
    const known = new LeaseholdError("LH_NFT", "no nft");
    log.warn({ err: known, code: known.code, hint: known.hint }, "Said once");
    assert.equal(lines.pop()?.match(/LH_NFT|hint=/g)?.length, 2);
    const [line = ""] = lines;
    assert.match(
      line,
      /^\S+ ERROR No port {2}node=n1 {2}err="cannot listen on 8443" {2}err\.code=LH_LISTEN {2}err\.hint="The port is taken, .*" {2}err\.cause="listen EADDRINUSE: address already in use"\n$/,
    );
    log.warn({ nodes: ["n1", "n2"], vip: { address: "192.0.2.10", bound: true }, none: [] }, "Nested");
    assert.match(
      lines[1] ?? "",
      /nodes=\[n1, n2\] {2}vip\.address=192\.0\.2\.10 {2}vip\.bound=true {2}none=\[\]\n$/,
    );
    log.error({ err: new TypeError("x is not a function") }, "A bug");
    assert.match(lines[2] ?? "", /^.*err="x is not a function"\n( {4}at .*\n)+$/);
    log.warn({ from: "a\u001b[2Jb \u202e" }, "Sent by somebody");
    assert.match(lines[3] ?? "", /from="a\\u\{1b\}\[2Jb \\u\{202e\}"\n$/);
  });
});
