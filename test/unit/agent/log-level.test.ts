import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { watchLogLevel } from "../../../src/agent/log-level.ts";
import { createLogger } from "../../../src/pino-logger.ts";
import { FakeClock } from "../../support/fake-clock.ts";

let dataDir = "";
before(() => void (dataDir = mkdtempSync(join(tmpdir(), "leasehold-level-"))));
after(() => rmSync(dataDir, { recursive: true }));

test("a file in the data directory changes the log's level, and its removal changes it back", async () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const log = createLogger({ level: "info", format: "text", base: {}, clock, write });
  const file = watchLogLevel({ clock, log, dataDir, configured: "info" });
  await file.look();
  assert.equal(log.level(), "info");
  for (const [text, level] of [
    ["debug\n", "debug"],
    ["  WARN ", "warn"],
    ["error", "error"],
    ["loud", "error"],
    ["", "error"],
    ["info", "info"],
  ] as const) {
    writeFileSync(join(dataDir, "log-level"), text);
    await file.look();
    assert.equal(log.level(), level, text);
  }
  writeFileSync(join(dataDir, "log-level"), "shout");
  await file.look();
  await file.look();
  const refused = lines.filter((line) => line.includes("does not name a log level"));
  assert.equal(refused.length, 1, "told once");
  assert.match(refused[0] ?? "", /value=shout/);
  log.setLevel("debug");
  rmSync(join(dataDir, "log-level"));
  await file.look();
  assert.equal(log.level(), "info", "LEASEHOLD_LOG_LEVEL again");
  const changes = lines.filter((line) => line.includes("has another level now"));
  assert.deepEqual(
    changes.map((line) => [line.split(/\s+/)[1], /logLevel=(\w+)/.exec(line)?.[1]]),
    [
      ["INFO", "debug"],
      ["WARN", "warn"],
      ["ERROR", "error"],
      ["INFO", "info"],
      ["INFO", "info"],
    ],
  );
  file.close();
  log.close();
  assert.equal(clock.pendingTimers, 0);
});
