/** Echo sockets on a real kernel, in a sandbox whose network has the loopback interface only. */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openEcho, type Echo } from "../../src/linux/echo.ts";
import { parseIp, type IpAddress } from "../../src/net.ts";
import { runInSandbox } from "../support/sandbox/sandbox.ts";

const INSIDE = "--inside-sandbox";

function ip(text: string): IpAddress {
  return parseIp(text) ?? assert.fail(`${text} is no address`);
}

function seen(echo: Echo): readonly string[] {
  return echo
    .drain()
    .replies.map(({ from, identifier, sequence }) => `${from.text} ${identifier} ${sequence}`);
}

if (process.argv.includes(INSIDE)) {
  describe("an echo", () => {
    let echo: Echo;
    before(() => {
      execFileSync("ip", ["link", "set", "lo", "up"]);
      echo = openEcho();
    });
    after(() => echo.close());

    for (const address of ["127.0.0.2", "::1"]) {
      test(`is answered by ${address}, and the requests are not heard`, async () => {
        assert.equal(echo.send(ip(address), 0xabcd, 65_535), true);
        assert.equal(echo.send(ip(address), 1, 0), true);
        await sleep(50);
        assert.deepEqual(seen(echo), [`${address} 43981 65535`, `${address} 1 0`]);
        assert.deepEqual(seen(echo), []);
      });
    }

    test("that cannot be sent says so", () => {
      assert.equal(echo.send(ip("192.0.2.1"), 1, 1), false);
      assert.equal(echo.send(ip("2001:db8::1"), 1, 1), false);
    });

    test("whose port is unreachable is no reply; a flood fills no memory and takes no turn for itself", async () => {
      execFileSync("bash", ["-c", "exec 3<>/dev/udp/127.0.0.1/9; echo >&3"]);
      assert.deepEqual(seen(echo), []);
      for (let i = 0; i < 2_000; i++) echo.send(ip("127.0.0.1"), 7, i);
      await sleep(50);
      const { replies } = echo.drain();
      assert.ok(replies.length > 40 && replies.length <= 256, `${replies.length} replies`);
      assert.deepEqual(
        replies.map(({ sequence }) => sequence),
        replies.map((_, index) => index),
        "the oldest are kept",
      );
    });
  });
} else {
  test("echo sockets, in a sandbox", { timeout: 60_000 }, async () => {
    // The runner's variable would make the inner run report to a runner that is not there.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    assert.equal(await runInSandbox([process.execPath, fileURLToPath(import.meta.url), INSIDE], { env }), 0);
  });
}
