/** In a container the agent is PID 1: what its programs leave behind must not pile up as zombies. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("../support/pid-one.ts", import.meta.url));

test("an agent that is PID 1 reaps orphans, and leaves its own children to Node", () => {
  const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
  const { stdout, stderr } = spawnSync(
    "unshare",
    [...user, "--pid", "--fork", "--mount-proc", "--kill-child", process.execPath, SCRIPT],
    { encoding: "utf8", timeout: 60_000 },
  );
  const { pid, before, after, statuses } = JSON.parse(stdout === "" ? `"${stderr}"` : stdout);
  assert.equal(pid, 1);
  assert.ok(before >= 10, `without reaping there are ${before} zombies`);
  assert.equal(after, 0);
  assert.deepEqual(statuses, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});
