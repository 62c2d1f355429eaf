import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { createDrains } from "../../../src/agent/drains.ts";
import type { Drains } from "../../../src/agent/drains.ts";
import { createApiClient } from "../../../src/kube/api.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Logger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { held } from "../election/harness.ts";
import { lease } from "../kube/lease-fixture.ts";
import { pass, ScriptedTransport } from "../kube/scripted-transport.ts";
import type { Step } from "../kube/scripted-transport.ts";

const A = "192.0.2.1:6443";
const DRAIN = { "leasehold.dev/drain.192.0.2.1-6443": A };

let dataDir: string;
beforeEach(() => (dataDir = mkdtempSync(join(tmpdir(), "drains-"))));
afterEach(() => rmSync(dataDir, { recursive: true }));

interface Rig {
  readonly clock: FakeClock;
  readonly transport: ScriptedTransport;
  readonly drains: Drains;
  readonly told: (readonly string[])[];
  readonly warnings: unknown[];
}

function setUp(): Rig {
  const clock = new FakeClock();
  const transport = new ScriptedTransport(clock, [A]);
  const told: (readonly string[])[] = [];
  const warnings: unknown[] = [];
  const log: Logger = { ...silentLogger, warn: (fields) => void warnings.push(fields) };
  const drains = createDrains({
    config: { dataDir, leaseNamespace: "kube-system", leaseName: "leasehold" },
    clock,
    log,
    api: createApiClient({ transport, clock, log: silentLogger }),
    onChange: (servers) => void told.push(servers),
  });
  return { clock, transport, drains, told, warnings };
}

describe("the drained API servers", () => {
  test("are told at each change, and stay while there is no Lease", () => {
    const { drains, told } = setUp();
    drains.observe(held("n1", 1, [], { annotations: DRAIN }));
    drains.observe(held("n1", 2, [], { annotations: DRAIN }));
    drains.observe(null);
    assert.deepEqual([drains.current(), told], [[A], [[A]]]);
    drains.observe(held("n1", 3, []));
    assert.deepEqual([drains.current(), told], [[], [[A], []]]);
  });

  test("are known after a restart, before the Lease has been read", () => {
    setUp().drains.observe(held("n1", 1, [], { annotations: DRAIN }));
    const again = setUp();
    assert.deepEqual([again.drains.current(), again.told], [[A], [[A]]]);
    again.drains.observe(held("n1", 2, []));
    assert.deepEqual(setUp().told, []);
  });

  test("are none where the file is damaged, which is logged", () => {
    for (const text of ["{", JSON.stringify({ version: 1, drained: ["n1"] })]) {
      writeFileSync(join(dataDir, "drained-api-servers.json"), text);
      const { drains, warnings } = setUp();
      assert.deepEqual([drains.current(), warnings.length], [[], 1], text);
    }
  });
});

test("a worker asks for the Lease every 10 s, keeps the last word, and warns once of what it may not read", async () => {
  const { clock, transport, drains, warnings } = setUp();
  const get = (reply: Step["reply"]): Step => ({
    method: "GET",
    path: "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold",
    reply,
  });
  const forbidden = get({ status: 403, body: { kind: "Status", message: "may not" } });
  transport.expect(get({ status: 200, body: lease({ holderIdentity: "n1" }, DRAIN) }));
  const poll = drains.poll();
  await pass(clock, 1_000);
  assert.deepEqual(drains.current(), [A]);
  transport.expect(forbidden, forbidden, get({ status: 200, body: lease({ holderIdentity: "n1" }) }));
  await pass(clock, 20_000);
  assert.deepEqual([drains.current(), warnings.length], [[A], 1]);
  await pass(clock, 10_000);
  assert.deepEqual(drains.current(), []);
  transport.done();
  poll.close();
  assert.equal(clock.pendingTimers, 0);
});
