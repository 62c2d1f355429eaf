import assert from "node:assert/strict";
import {
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { createNotifier, notifyState } from "../../../src/agent/notify.ts";
import { systemClock } from "../../../src/clock.ts";
import { AGENT_STATES } from "../../../src/election/states.ts";
import type { AgentState } from "../../../src/election/states.ts";
import { bootTimeMs, makeFifo } from "../../../src/linux/libc.ts";
import { silentLogger } from "../../../src/log.ts";
import type { LogFields } from "../../../src/log.ts";

const clock = systemClock(bootTimeMs);

function setUp(context: TestContext, script?: string, options: { timeoutMs?: number; fifo?: string } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "leasehold-notify-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const out = join(directory, "out");
  const hook = join(directory, "hook");
  writeFileSync(out, "");
  writeFileSync(hook, `#!/bin/sh\n${(script ?? 'echo "$@" >> OUT').replaceAll("OUT", out)}\n`);
  chmodSync(hook, 0o755);
  const said: string[] = [];
  const line = (level: string) => (_fields: LogFields, message: string) =>
    void said.push(`${level}: ${message}`);
  const notifier = createNotifier({
    clock,
    log: { ...silentLogger, info: line("info"), warn: line("warn"), error: line("error") },
    command: script === undefined ? undefined : `${hook} first`,
    timeoutMs: options.timeoutMs ?? 10_000,
    fifo: options.fifo === undefined ? undefined : join(directory, options.fifo),
    name: "leasehold",
    env: { PATH: "/usr/bin:/bin", LEASEHOLD_NODE_NAME: "n1" },
    makeFifo,
  });
  const lines = (): readonly string[] => readFileSync(out, "utf8").split("\n").slice(0, -1);
  return { notifier, lines, said, directory };
}

async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_000; turn++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`never came true: ${what}`);
}

describe("a notify hook", () => {
  test("is told keepalived's states, and INIT is none of them", () => {
    const told = Object.keys(AGENT_STATES).map((state) => [
      state,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.keys of a constant
      notifyState(state as AgentState) ?? "nothing",
    ]);
    assert.deepEqual(Object.fromEntries(told), {
      INIT: "nothing",
      BACKUP: "BACKUP",
      MASTER: "MASTER",
      PROVISIONAL: "MASTER",
      FAULT: "FAULT",
      RELEASING: "STOP",
      STOPPED: "STOP",
    });
  });

  test("gets its own arguments and then keepalived's", async (context) => {
    const { notifier, lines } = setUp(context, 'echo "$@" "$LEASEHOLD_NODE_NAME" >> OUT');
    notifier.tell("INIT", 90);
    notifier.tell("BACKUP", 90);
    await eventually("BACKUP", () => lines().length === 1);
    notifier.tell("PROVISIONAL", 100);
    notifier.tell("MASTER", 100);
    await eventually("MASTER", () => lines().length === 2);
    notifier.tell("RELEASING", 100);
    notifier.tell("STOPPED", 100);
    await notifier.close(10_000);
    assert.deepEqual(lines(), [
      "first INSTANCE leasehold BACKUP 90 n1",
      "first INSTANCE leasehold MASTER 100 n1",
      "first INSTANCE leasehold STOP 100 n1",
    ]);
  });

  test("never runs twice at once, and is told the newest state when it is behind", async (context) => {
    const { notifier, lines, said } = setUp(
      context,
      'mkdir OUT.lock || echo twice >> OUT; sleep 0.3; echo "$4" >> OUT; rmdir OUT.lock',
    );
    notifier.tell("BACKUP", 100);
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const state of ["MASTER", "BACKUP", "FAULT", "BACKUP", "MASTER"] as const) notifier.tell(state, 100);
    await notifier.close(10_000);
    assert.deepEqual(lines(), ["BACKUP", "MASTER"]);
    assert.deepEqual(said, ["info: The notify hook was behind, so it is told the newest state only"]);
  });

  test("that hangs is ended with all that it has started, and the next one runs", async (context) => {
    const { notifier, lines, said } = setUp(
      context,
      'if [ "$4" = BACKUP ]; then sleep 60 & echo $! >> OUT; wait; fi; echo "$4" >> OUT',
      { timeoutMs: 300 },
    );
    notifier.tell("BACKUP", 100);
    await eventually("the child's pid", () => lines().length === 1);
    notifier.tell("MASTER", 100);
    await eventually("MASTER", () => lines().at(-1) === "MASTER");
    const pid = Number(lines()[0]);
    await eventually("the sleep has gone", () => {
      try {
        return /^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
      } catch {
        return true;
      }
    });
    assert.match(said[0] ?? "", /^warn: The notify hook took longer than LEASEHOLD_NOTIFY_TIMEOUT/);
    await notifier.close(1_000);
  });

  test("that fails is a warning, and one that cannot be started an error", async (context) => {
    const { notifier, said, directory } = setUp(context, 'echo "no route" >&2; exit 3');
    notifier.tell("BACKUP", 100);
    await notifier.close(10_000);
    assert.deepEqual(said, ["warn: The notify hook failed"]);
    rmSync(join(directory, "hook"));
    notifier.tell("MASTER", 100);
    await notifier.close(10_000);
    assert.match(said[1] ?? "", /^error: The notify hook could not be started/);
  });

  test("does not hold up the end of the agent", async (context) => {
    const { notifier } = setUp(context, "exec sleep 60");
    notifier.tell("BACKUP", 100);
    notifier.tell("STOPPED", 100);
    const fromMs = bootTimeMs();
    await notifier.close(200);
    assert.ok(bootTimeMs() - fromMs < 10_000);
  });
});

describe("the notify pipe", () => {
  test("is made by the agent, keeps the lines until a reader comes, and never holds the agent up", async (context) => {
    const { notifier, said, directory } = setUp(context, undefined, { fifo: "pipe" });
    notifier.tell("BACKUP", 100);
    notifier.tell("MASTER", 101);
    const path = join(directory, "pipe");
    assert.ok(statSync(path).isFIFO());
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const read = (): string => {
      const bytes = Buffer.alloc(65_536);
      return bytes.toString("utf8", 0, readSync(reader, bytes));
    };
    assert.equal(read(), 'INSTANCE "leasehold" BACKUP 100\nINSTANCE "leasehold" MASTER 101\n');
    for (let turn = 0; turn < 5_000; turn++) notifier.tell(turn % 2 === 0 ? "BACKUP" : "MASTER", 100);
    assert.match(said[0] ?? "", /^warn: A change of state could not be written to LEASEHOLD_NOTIFY_FIFO/);
    assert.match(read(), /^(INSTANCE "leasehold" (BACKUP|MASTER) 100\n)+$/, "whole lines only");
    closeSync(reader);
    await notifier.close(1_000);
  });

  test("is made again where a person has removed it, and a file is left alone", async (context) => {
    const { notifier, said, directory } = setUp(context, undefined, { fifo: "pipe" });
    const path = join(directory, "pipe");
    notifier.tell("BACKUP", 100);
    rmSync(path);
    notifier.tell("MASTER", 100);
    assert.ok(statSync(path).isFIFO());
    rmSync(path);
    writeFileSync(path, "precious");
    notifier.tell("BACKUP", 100);
    assert.equal(readFileSync(path, "utf8"), "precious");
    assert.equal(said.length, 1);
    await notifier.close(1_000);
  });
});
