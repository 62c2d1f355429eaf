import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { createRecordings } from "../../../src/agent/recordings.ts";
import type { Recordings } from "../../../src/agent/recordings.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function setUp(context: TestContext) {
  const dataDir = mkdtempSync(join(tmpdir(), "leasehold-data-"));
  context.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const clock = new FakeClock();
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (_: object, text: string) => void warnings.push(text) };
  const recordings: Recordings = createRecordings({
    clock,
    log,
    dataDir,
    text: (cause) => Promise.resolve(`{"cause":"${cause}"}`),
  });
  const directory = join(dataDir, "decisions");
  return { clock, recordings, directory, dataDir, warnings, files: () => readdirSync(directory).sort() };
}

describe("the recordings of the flight recorder", () => {
  test("are files that only root can read, named by the time and the cause", async (t) => {
    const { recordings, files, directory } = setUp(t);
    await recordings.now("SIGUSR1");
    assert.deepEqual(files(), ["20260101T000000000Z-SIGUSR1.json"]);
    const file = join(directory, "20260101T000000000Z-SIGUSR1.json");
    assert.equal(readFileSync(file, "utf8"), '{"cause":"SIGUSR1"}');
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  test("are ten at most, the last ones, and other files are left alone", async (t) => {
    const { clock, recordings, files, directory } = setUp(t);
    mkdirSync(directory);
    writeFileSync(join(directory, "mine.txt"), "");
    writeFileSync(join(directory, "20250101T000000000Z-fault.json.new"), "half of one");
    for (let turn = 0; turn < 15; turn += 1) {
      clock.advance(1_000);
      await recordings.now("SIGUSR1");
    }
    assert.equal(files().length, 11);
    assert.equal(files()[0], "20260101T000006000Z-SIGUSR1.json");
    assert.equal(files()[10], "mine.txt");
  });

  test("of a move come 3 s after it, and of a VIP that flaps every 10 s", async (t) => {
    const { clock, recordings, files } = setUp(t);
    recordings.soon("holder-dead");
    recordings.soon("vip-lost");
    clock.advance(2_999);
    await recordings.now("SIGUSR1");
    assert.equal(files().length, 1);
    clock.advance(1);
    for (let turn = 0; turn < 10; turn += 1) {
      recordings.soon("vip-lost");
      clock.advance(999);
    }
    await recordings.now("SIGUSR1");
    assert.deepEqual(
      files().filter((name) => !name.includes("SIGUSR1")),
      ["20260101T000003000Z-holder-dead.json"],
    );
    clock.advance(10);
    await recordings.close();
    assert.equal(files().filter((name) => name.includes("vip-lost")).length, 1);
  });

  test("that are due are written when the agent stops", async (t) => {
    const { recordings, files } = setUp(t);
    recordings.soon("fault");
    await recordings.close();
    assert.deepEqual(files(), ["20260101T000000000Z-fault.json"]);
  });

  test("that cannot be written are a warning and no more", async (t) => {
    const { recordings, dataDir, warnings } = setUp(t);
    writeFileSync(join(dataDir, "decisions"), "a file in the place of the directory");
    await recordings.now("SIGUSR1");
    assert.deepEqual(warnings, [
      "The agent could not write the flight recorder: `err` says why, and the line `disk` of `leasehold doctor`",
    ]);
  });
});
