import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import fc from "fast-check";
import { readRemembered, writeRemembered } from "../../../src/backends/remembered.ts";
import { silentLogger, type Logger } from "../../../src/log.ts";
import { backendAt } from "../../support/backends/servers.ts";

function place(t: TestContext): { path: string; log: Logger; warnings: string[] } {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-remembered-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_, message) => void warnings.push(message) };
  return { path: join(directory, "state", "backends.json"), log, warnings };
}

describe("remembered backends", () => {
  test("come back as they were, in canonical form", (t) => {
    const { path, log, warnings } = place(t);
    const v6 = { id: "[2001:db8::1]:6443", host: "2001:db8::1", port: 6443, local: true };
    writeRemembered(path, [backendAt(1), v6], log);
    assert.deepEqual(readRemembered(path, log), [
      { id: "127.0.0.1:1", host: "127.0.0.1", port: 1 },
      { id: "[2001:db8::1]:6443", host: "2001:db8::1", port: 6443 },
    ]);
    assert.deepEqual(warnings, []);
    assert.ok(!existsSync(`${path}.new`));
  });

  test("are none, silently, where there is no file", (t) => {
    const { path, log, warnings } = place(t);
    assert.deepEqual(readRemembered(path, log), []);
    assert.deepEqual(warnings, []);
  });

  test("are not emptied by an empty list", (t) => {
    const { path, log } = place(t);
    writeRemembered(path, [backendAt(1)], log);
    writeRemembered(path, [], log);
    assert.equal(readRemembered(path, log).length, 1);
  });

  test("are ignored with a warning when the file is damaged", (t) => {
    const { path, log, warnings } = place(t);
    writeRemembered(path, [backendAt(1), backendAt(2)], log);
    const text = readFileSync(path, "utf8");
    const damaged = [
      "",
      "null",
      "[]",
      "{}",
      text.slice(0, 20),
      text.replace('"version":1', '"version":2'),
      text.replace("127.0.0.1", "api.example"),
      text.replace('"port":1', '"port":0'),
      text.replace('"port":2', '"port":"2"'),
      text.replace('"port":1', '"port":65536'),
      text.replace('{"host"', '[],{"host"'),
    ];
    for (const [i, content] of damaged.entries()) {
      writeFileSync(path, content);
      assert.deepEqual(readRemembered(path, log), [], content);
      assert.equal(warnings.length, i + 1, content);
    }
  });

  test("never throw, whatever the file holds", (t) => {
    const { path, log } = place(t);
    writeRemembered(path, [backendAt(1)], log);
    const backend = fc.record({
      host: fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()),
      port: fc.oneof(fc.integer(), fc.string()),
    });
    const file = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record({ version: fc.constant(1), backends: fc.array(fc.oneof(backend, fc.jsonValue())) })
        .map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(file, (content) => {
        writeFileSync(path, content);
        for (const { port, host } of readRemembered(path, log))
          assert.ok(port > 0 && port < 65_536 && host !== "");
      }),
      { numRuns: 200 },
    );
  });

  test("that cannot be written are a warning, not an end", (t) => {
    const { path, log, warnings } = place(t);
    writeRemembered(join(path, "x"), [backendAt(1)], log);
    writeFileSync(join(path, "blocker"), "");
    writeRemembered(join(path, "blocker", "y"), [backendAt(1)], log);
    assert.equal(warnings.length, 1);
  });
});
