import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { readPeers, writePeers } from "../../../src/fastpath/remembered-peers.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Logger } from "../../../src/log.ts";
import { macOf } from "../../support/fastpath/plans.ts";
import { peer } from "./facts.ts";

describe("remembered peers", () => {
  function place(t: TestContext): { path: string; log: Logger; warnings: string[] } {
    const directory = mkdtempSync(join(tmpdir(), "leasehold-peers-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const warnings: string[] = [];
    return {
      path: join(directory, "state", "peers.json"),
      warnings,
      log: { ...silentLogger, warn: (_, message) => void warnings.push(message) },
    };
  }

  test("come back as they were, and of their agents nothing is known", (t) => {
    const { path, log, warnings } = place(t);
    writePeers(path, [peer(2), peer(3)], log);
    assert.deepEqual(readPeers(path, log), [
      peer(2, { fresh: false, said: "" }),
      peer(3, { fresh: false, said: "" }),
    ]);
    assert.deepEqual(warnings, []);
  });

  test("are none, silently, where there is no file, and where the last one has left", (t) => {
    const { path, log, warnings } = place(t);
    assert.deepEqual(readPeers(path, log), []);
    writePeers(path, [peer(2)], log);
    writePeers(path, [], log);
    assert.deepEqual(readPeers(path, log), []);
    assert.deepEqual(warnings, []);
  });

  test("are ignored with a warning when the file is damaged: it is a part of rules", (t) => {
    const { path, log, warnings } = place(t);
    writePeers(path, [peer(2), peer(3)], log);
    const text = readFileSync(path, "utf8");
    const damaged = [
      "",
      "{}",
      "[]",
      text.slice(0, 30),
      text.replace('"version":1', '"version":2'),
      text.replace('"node":"n2"', '"node":2'),
      text.replace(macOf(2), "02:00"),
      text.replace(macOf(2), "02:00:00:00:00:02 } accept; #"),
      text.replace("10.88.0.12", "10.88.0.300"),
      text.replace('{"node"', 'null,{"node"'),
    ];
    for (const [i, content] of damaged.entries()) {
      writeFileSync(path, content);
      assert.deepEqual(readPeers(path, log), [], content);
      assert.equal(warnings.length, i + 1, content);
    }
  });
});
