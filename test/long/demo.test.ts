/**
 * `npm run demo` on a machine without nft and iptables: it ends by itself, and all that it claims is seen.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { attempt } from "../support/lab/command.ts";
import { ROOT } from "../support/runner/layers.ts";
import { findProgram } from "../support/sandbox/tools.ts";

test("the demo without nft and iptables is in proxy mode, and sees all of its claims", async () => {
  const hidden = ["nft", "iptables-restore"]
    .flatMap((name) => findProgram(name) ?? [])
    .map((file) => `mount --bind /dev/null ${file}`);
  const script = [...hidden, `exec ${process.execPath} scripts/demo.ts`].join(" && ");
  const { code, stdout, stderr } = await attempt(["unshare", "--mount", "sh", "-c", script], {
    cwd: ROOT,
    timeoutMs: 240_000,
    env: { LAB_SANDBOX: "1" },
  });
  assert.equal(code, 0, `${stdout}${stderr}`);
  assert.match(stdout, /n1: proxy mode: nft cannot be started/);
  assert.equal(stdout.match(/^seen {6}/gm)?.length, 5, stdout);
  // Without nft no rule leads VIP:6443 to a balancer.
  assert.match(stdout, /new connections to [\d.]+:8443/);
  assert.doesNotMatch(stdout, /Infinity/);
  assert.match(stdout, /n1 preempts n2: its priority is higher, and LEASEHOLD_NOPREEMPT is false/);
  assert.match(stdout, /removed 5 network namespaces/);
});
