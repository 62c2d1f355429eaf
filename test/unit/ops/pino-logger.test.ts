import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LeaseholdError } from "../../../src/errors.ts";
import type { Logger } from "../../../src/log.ts";
import { createLogger } from "../../../src/pino-logger.ts";

function make(level: "info" | "debug", format: "json" | "text"): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const wall = (): Date => new Date("2026-01-02T03:04:05.678Z");
  return { log: createLogger({ level, format, base: { node: "n1" }, wall, write: (line) => lines.push(line) }), lines };
}

describe("the log", () => {
  test("is one JSON object a line: time, level in a word, node, fields, message", () => {
    const { log, lines } = make("info", "json");
    log.child({ part: "vip" }).info({ vip: "192.0.2.10" }, "bound");
    assert.deepEqual(lines.map((line) => JSON.parse(line)), [
      { level: "info", ts: "2026-01-02T03:04:05.678Z", node: "n1", part: "vip", vip: "192.0.2.10", msg: "bound" },
    ]);
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
    assert.deepEqual({ ...err, stack: typeof err.stack }, {
      type: "LeaseholdError", message: "cannot listen", code: "LH_LISTEN", stack: "string",
      hint: "The port is taken. Stop the other program or choose another LEASEHOLD_BALANCER_PORT or LEASEHOLD_OPS_ADDRESS.",
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

  test("for people is still one line, whatever the values hold", () => {
    const { log, lines } = make("debug", "text");
    log.warn({ holder: "n2", detail: "two\nlines", count: 3 }, "lease lost");
    assert.deepEqual(lines, ['2026-01-02T03:04:05.678Z WARN  lease lost  node=n1  holder=n2  detail="two\\nlines"  count=3\n']);
  });
});
