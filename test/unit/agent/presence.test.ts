import assert from "node:assert/strict";
import { test } from "node:test";
import { agentIsPresent, announcePresence } from "../../../src/agent/presence.ts";
import { silentLogger } from "../../../src/log.ts";
import { monotonicMs, sleep } from "../../support/lab/clock.ts";

async function seen(expected: boolean): Promise<void> {
  const endMs = monotonicMs() + 5_000;
  while (agentIsPresent() !== expected && monotonicMs() < endMs) await sleep(5);
  assert.equal(agentIsPresent(), expected);
}

test("an agent is seen from its start to its end, and two do not hide each other", async () => {
  await seen(false);
  const first = announcePresence(silentLogger);
  const second = announcePresence(silentLogger);
  await seen(true);
  first.close();
  await sleep(20);
  assert.equal(agentIsPresent(), true);
  second.close();
  await seen(false);
});

test("other programs' sockets are none", () => {
  const head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
  assert.equal(agentIsPresent(`${head}0: 00000002 00000000 00010000 0001 01 9 @leasehold/agent/x\n`), true);
  assert.equal(
    agentIsPresent(
      `${head}0: 00000002 00000000 00010000 0001 01 9 /run/leasehold/agent/x\n0: 00000002 00000000 00000000 0002 01 8\n`,
    ),
    false,
  );
});
