import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import fc from "fast-check";
import { createPersistence, machineInstance } from "../../../src/agent/persistence.ts";
import type { Persistence } from "../../../src/agent/persistence.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Logger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "leasehold-state-"));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function bootId(directory: string, id: string): string {
  const file = join(directory, `boot_id.${id}`);
  writeFileSync(file, `${id}\n`);
  return file;
}

function counting(): { log: Logger; errors: string[]; warnings: string[] } {
  const errors: string[] = [];
  const warnings: string[] = [];
  const log = {
    ...silentLogger,
    error: (_: object, text: string) => void errors.push(text),
    warn: (_: object, text: string) => void warnings.push(text),
  };
  return { log, errors, warnings };
}

describe("the last renewal", () => {
  function setUp(
    context: TestContext,
    changes: { node?: string; instance?: string; boot?: string; stateDir?: string; log?: Logger } = {},
  ) {
    const directory = folder(context);
    const stateDir = join(directory, "run", "leasehold");
    const clock = new FakeClock(5_000);
    const open = (more: typeof changes = {}): Persistence => {
      const all = {
        node: "n1",
        instance: "abc",
        boot: "boot-1",
        stateDir,
        log: silentLogger,
        ...changes,
        ...more,
      };
      return createPersistence({ ...all, clock, bootIdFile: bootId(directory, all.boot) });
    };
    return { stateDir, clock, open };
  }

  test("is recalled by the next process of the same node, machine and boot", (context) => {
    const { open, stateDir } = setUp(context);
    assert.equal(open().recall(), null);
    open().remember(4_000);
    open().remember(4_999.5);
    assert.deepEqual(open().recall(), { renewedAtMs: 4_999.5 });
    assert.deepEqual(readdirSync(stateDir), ["state.json"], "no temporary file is left");
  });

  test("is void in another boot, under another name, on another machine", (context) => {
    const { open } = setUp(context);
    open().remember(4_000);
    assert.equal(open({ boot: "boot-2" }).recall(), null);
    assert.equal(open({ node: "n2" }).recall(), null);
    assert.equal(open({ instance: "other" }).recall(), null);
    assert.deepEqual(open().recall(), { renewedAtMs: 4_000 });
  });

  test("is void when it lies in the future", (context) => {
    const { open } = setUp(context);
    open().remember(5_001);
    assert.equal(open().recall(), null);
  });

  test("is void once it has been forgotten, also twice", (context) => {
    const { open } = setUp(context);
    const persistence = open();
    persistence.remember(4_000);
    persistence.forget();
    persistence.forget();
    assert.equal(persistence.recall(), null);
  });

  test("is void when the file is damaged, whatever is in it", (context) => {
    const { open, stateDir } = setUp(context);
    const persistence = open();
    persistence.remember(4_000);
    const file = join(stateDir, "state.json");
    const whole = readFileSync(file, "utf8").trim();
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(file, whole.slice(0, length));
      assert.equal(persistence.recall(), null, `cut after ${length} bytes`);
    }
    const damaged = fc.oneof(
      fc.string(),
      fc.json(),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(damaged, (content) => {
        writeFileSync(file, content);
        assert.equal(persistence.recall(), null);
      }),
      { numRuns: 200 },
    );
    for (const renewedAtMs of ["4000", null, -1, [], {}]) {
      writeFileSync(file, JSON.stringify({ bootId: "boot-1", node: "n1", instance: "abc", renewedAtMs }));
      assert.equal(persistence.recall(), null, `renewedAtMs ${JSON.stringify(renewedAtMs)}`);
    }
  });

  test("that cannot be written is logged once, until it works again, and throws nothing", (context) => {
    const { log, errors } = counting();
    const blocked = join(folder(context), "blocked");
    writeFileSync(blocked, "a file where the directory should be");
    const { open } = setUp(context, { log, stateDir: blocked });
    const persistence = open();
    persistence.remember(1_000);
    persistence.remember(2_000);
    assert.equal(errors.length, 1);
    assert.equal(persistence.recall(), null);
    rmSync(blocked);
    persistence.remember(3_000);
    assert.deepEqual(persistence.recall(), { renewedAtMs: 3_000 });
    rmSync(blocked, { recursive: true });
    writeFileSync(blocked, "");
    persistence.remember(4_000);
    assert.equal(errors.length, 2);
  });

  test("is not kept where the kernel tells no boot id", (context) => {
    const stateDir = folder(context);
    const persistence = createPersistence({
      log: silentLogger,
      clock: new FakeClock(),
      stateDir,
      node: "n1",
      instance: "abc",
      bootIdFile: join(stateDir, "none"),
    });
    persistence.remember(1);
    assert.equal(persistence.recall(), null);
    assert.deepEqual(readdirSync(stateDir), []);
  });

  test("is told from other boots by the kernel's own boot id", (context) => {
    const stateDir = folder(context);
    const deps = { log: silentLogger, clock: new FakeClock(), stateDir, node: "n1", instance: "abc" };
    createPersistence(deps).remember(7);
    assert.deepEqual(createPersistence(deps).recall(), { renewedAtMs: 7 });
    const saved = readFileSync(join(stateDir, "state.json"), "utf8");
    assert.ok(saved.includes(readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()));
  });
});

describe("the machine's instance", () => {
  test("is 16 hex digits that depend on the machine id and do not show it", (context) => {
    const directory = folder(context);
    const instances = ["8f0c2d1e4b5a69788796a5b4c3d2e1f0", "8f0c2d1e4b5a69788796a5b4c3d2e1f1"].map(
      (id, index) => {
        const file = join(directory, `id${index}`);
        writeFileSync(file, `${id}\n`);
        assert.equal(
          machineInstance(file, directory, silentLogger),
          machineInstance(file, directory, silentLogger),
        );
        return machineInstance(file, directory, silentLogger);
      },
    );
    assert.match(instances[0] ?? "", /^[0-9a-f]{16}$/);
    assert.notEqual(instances[0], instances[1]);
    assert.notEqual(instances[0], "8f0c2d1e4b5a6978");
  });

  test("is made up once, with a warning, where there is no machine id or none yet", (context) => {
    for (const content of [undefined, "", "\n", "uninitialized\n"]) {
      const directory = folder(context);
      const file = join(directory, "machine-id.of.system");
      if (content !== undefined) writeFileSync(file, content);
      const { log, warnings } = counting();
      const first = machineInstance(file, join(directory, "state"), log);
      assert.match(first, /^[0-9a-f]{16}$/);
      assert.equal(warnings.length, 1);
      assert.equal(machineInstance(file, join(directory, "state"), log), first);
      assert.equal(warnings.length, 1);
      assert.notEqual(machineInstance(file, join(directory, "other"), log), first);
    }
  });

  test("is given even if it cannot be kept", (context) => {
    const blocked = join(folder(context), "blocked");
    writeFileSync(blocked, "");
    const { log, errors } = counting();
    assert.match(machineInstance("/nonexistent/machine-id", blocked, log), /^[0-9a-f]{16}$/);
    assert.equal(errors.length, 1);
    assert.ok(existsSync(blocked));
  });
});
