import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runInNewContext } from "node:vm";
import { LeaseholdError } from "../../src/errors.ts";
import type { Logger } from "../../src/log.ts";
import { createLogger } from "../../src/pino-logger.ts";

function make(level: "info" | "debug", format: "json" | "text"): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const wall = (): Date => new Date("2026-01-02T03:04:05.678Z");
  return {
    log: createLogger({ level, format, base: { node: "n1" }, wall, write: (line) => lines.push(line) }),
    lines,
  };
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
    assert.deepEqual(
      { ...err, stack: typeof err.stack },
      {
        type: "LeaseholdError",
        message: "cannot listen",
        code: "LH_LISTEN",
        stack: "string",
        hint: "The port is taken, or may not be opened. Stop the other program (`ss -ltnp` names it), or choose another LEASEHOLD_BALANCER_PORT, LEASEHOLD_OPS_ADDRESS or LEASEHOLD_HEALTH_PORT.",
        cause: { type: "Error", message: "listen EADDRINUSE", code: "EADDRINUSE" },
      },
    );
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
      log.child({ err: value }).warn({}, "failed");
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

  test("for people is still one line, whatever the values hold", () => {
    const { log, lines } = make("debug", "text");
    log.warn({ holder: "n2", detail: "two\nlines", count: 3 }, "lease lost");
    assert.deepEqual(lines, [
      '2026-01-02T03:04:05.678Z WARN  lease lost  node=n1  holder=n2  detail="two\\nlines"  count=3\n',
    ]);
  });
});
