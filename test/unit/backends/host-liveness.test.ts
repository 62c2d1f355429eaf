/** Host liveness on a fake clock and a fake network; real TCP for the confirmation. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Backend } from "../../../src/backends/backend.ts";
import { createHostLiveness, tcpAnswers } from "../../../src/backends/host-liveness.ts";
import type { EchoReply } from "../../../src/linux/echo.ts";
import { silentLogger } from "../../../src/log.ts";
import { hostPort } from "../../../src/net.ts";
import { freePort, startBlackHole, startServer } from "../../support/backends/servers.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { clock as realClock } from "../../support/proxy/fixture.ts";

function backend(host: string, local = false): Backend {
  return { id: hostPort(host, 6443), host, port: 6443, local };
}

const [A, B] = ["192.0.2.2", "2001:db8::3"];

/** Machines that answer at once, but for those in `dead`. */
function fixture(hosts: readonly string[] = [A, B], own: readonly string[] = []) {
  const clock = new FakeClock();
  const dead = new Set<string>();
  const sent: string[] = [];
  const told: string[] = [];
  const asked: string[] = [];
  let waiting: EchoReply[] = [];
  let closed = false;
  const liveness = createHostLiveness({
    clock,
    log: silentLogger,
    echo: {
      send(to, identifier, sequence) {
        sent.push(to.text);
        if (!dead.has(to.text))
          waiting.push(
            { from: to, identifier, sequence },
            { from: to, identifier: identifier ^ 1, sequence },
          );
        return true;
      },
      drain() {
        const replies = waiting;
        waiting = [];
        return { replies, overrun: false };
      },
      close: () => void (closed = true),
    },
    ownAddresses: () => new Set(own),
    tcpAnswers: (host, port, timeoutMs) => {
      asked.push(hostPort(host, port));
      return new Promise(
        (resolve) => void clock.after(dead.has(host) ? timeoutMs : 1, () => resolve(!dead.has(host))),
      );
    },
  });
  liveness.setBackends([backend("192.0.2.1", true), ...hosts.map((host) => backend(host))]);
  liveness.start({
    gone: (id) => void told.push(`gone ${id}`),
    returned: (id) => void told.push(`returned ${id}`),
  });
  const run = async (ms: number): Promise<void> => {
    for (let i = 0; i < ms; i += 10) {
      clock.advance(10);
      await Promise.resolve();
    }
  };
  return { clock, liveness, dead, sent, told, asked, run, closed: () => closed };
}

describe("host liveness", () => {
  test("reports a lost machine once, and its return", async () => {
    const { liveness, dead, told, asked, run, closed, clock } = fixture();
    await run(4_000);
    assert.deepEqual(asked, []);
    dead.add(B);
    await run(900);
    assert.deepEqual(told, [`gone [${B}]:6443`]);
    assert.deepEqual(asked, [`[${B}]:6443`]);
    await run(10_000);
    dead.clear();
    await run(10_000);
    assert.deepEqual(told, [`gone [${B}]:6443`, `returned [${B}]:6443`]);
    liveness.stop();
    assert.ok(closed());
    assert.equal(clock.pendingTimers, 0);
  });

  test("says nothing when all are silent, nor of one that speaks TCP only", async () => {
    const all = fixture();
    await all.run(4_000);
    all.dead.add(A).add(B);
    await all.run(10_000);
    assert.deepEqual([all.told, all.asked], [[], []]);
  });

  test("says nothing after its own pause: answers wait in the socket, lost ones do not count", async () => {
    const { dead, told, run, clock } = fixture();
    await run(4_000);
    for (let i = 0; i < 20; i++) {
      clock.jump(700);
      if (i % 2 === 0) dead.add(A);
      else dead.clear();
      await run(160);
    }
    assert.deepEqual(told, []);
  });

  test("does not run for one machine alone, our own addresses, or nobody", async () => {
    for (const { clock, sent, run } of [fixture([A]), fixture([A, B], [B]), fixture([])]) {
      await run(1_000);
      assert.deepEqual(sent, []);
      assert.equal(clock.pendingTimers, 0);
    }
  });

  test("follows the list", async () => {
    const { liveness, dead, told, sent, run } = fixture();
    await run(4_000);
    liveness.setBackends([backend(A), backend("192.0.2.4")]);
    await run(4_000);
    sent.length = 0;
    dead.add("192.0.2.4").add(B);
    await run(2_000);
    assert.ok(!sent.includes(B));
    assert.deepEqual(told, ["gone 192.0.2.4:6443"]);
    liveness.setBackends([backend(A)]);
    sent.length = 0;
    await run(1_000);
    assert.deepEqual(sent, []);
    liveness.stop();
  });
});

test("a process that is out of descriptors keeps on with the addresses that it knew as its own", async () => {
  let own = (): ReadonlySet<string> => new Set([B]);
  const sent: string[] = [];
  const clock = new FakeClock();
  const liveness = createHostLiveness({
    clock,
    log: silentLogger,
    echo: {
      send(address) {
        sent.push(address.text);
        return true;
      },
      drain: () => ({ replies: [], overrun: false }),
      close: () => {},
    },
    ownAddresses: () => own(),
    tcpAnswers: () => Promise.resolve(true),
  });
  liveness.setBackends([backend(A), backend(B)]);
  own = () => assert.fail("EMFILE");
  liveness.setBackends([backend(A), backend(B), backend("192.0.2.4")]);
  liveness.start({ gone: () => {}, returned: () => {} });
  clock.advance(1_000);
  assert.deepEqual([...new Set(sent)], [A, "192.0.2.4"]);
  liveness.stop();
});

describe("TCP answers", () => {
  const answers = tcpAnswers(realClock);

  test("a connection and a refusal are answers", async () => {
    const server = await startServer(() => {});
    assert.equal(await answers("127.0.0.1", server.port, 5_000), true);
    await server.close();
    assert.equal(await answers("127.0.0.1", await freePort(), 5_000), true);
  });

  test("silence is none", async () => {
    const hole = await startBlackHole();
    assert.equal(await answers(hole.backend.host, hole.backend.port, 50), false);
    await hole.close();
  });

  test("an answer that came while this process stood still counts", async () => {
    const server = await startServer(() => {});
    const answered = answers("127.0.0.1", server.port, 20);
    const endMs = performance.now() + 100;
    while (performance.now() < endMs);
    assert.equal(await answered, true);
    await server.close();
  });
});
