/** The simulated API servers answer a survey as real ones were seen to do. */
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { LeaseStore, Survey } from "../../src/kube/store.ts";
import { silentLogger } from "../../src/log.ts";
import { ControlPlane } from "./control-plane.ts";
import type { ServerMode } from "./control-plane.ts";
import { Network } from "./network.ts";
import { MachineClock, SimProcess } from "./process.ts";
import { loadProduction } from "./production.ts";
import { Random } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

const production = await loadProduction();
const TIMEOUT_MS = 1000;

describe("a survey of three simulated API servers", () => {
  let scheduler: Scheduler;
  let network: Network;
  let plane: ControlPlane;
  let store: LeaseStore;

  beforeEach(async () => {
    const random = new Random("survey");
    scheduler = new Scheduler();
    network = new Network(scheduler, random.fork("network"), 3);
    plane = new ControlPlane(scheduler, network, random.fork("plane"), ["n1", "n2", "n3"], () => {});
    const machine = new MachineClock(scheduler, 1, 0, Date.UTC(2026, 0, 1));
    const process = new SimProcess(
      scheduler,
      machine,
      random.fork("process"),
      () => {},
      (error) => assert.fail(String(error)),
    );
    const api = production.createApiClient({
      transport: plane.transport(0, process),
      clock: process,
      log: silentLogger,
    });
    const lease = { namespace: "kube-system", name: "leasehold", node: "n1", leaseDurationMs: 10_000 };
    store = production.createLeaseStore({ api, clock: process, log: silentLogger, ...lease });
    assert.equal(
      (await run(store.write({ kind: "claim", replaces: null, offered: false, instance: "i1" }, TIMEOUT_MS)))
        .kind,
      "ok",
    );
  });

  async function wait(ms: number): Promise<void> {
    await scheduler.runUntil(scheduler.nowMs + ms, () => true);
  }

  async function run<T>(promise: Promise<T>): Promise<T> {
    const state: { result?: { readonly value: T } } = {};
    void (async () => (state.result = { value: await promise }))();
    // Timers of a process may be late.
    await wait(TIMEOUT_MS + 100);
    assert.ok(state.result !== undefined, "it is not over at its deadline");
    return state.result.value;
  }

  async function survey(): Promise<{
    readonly states: readonly string[];
    readonly holders: readonly string[];
  }> {
    const { servers, records }: Survey = await run(store.survey(TIMEOUT_MS));
    return { states: servers.map(({ state }) => state), holders: records.map(({ holder }) => holder) };
  }

  const modes: readonly (readonly [ServerMode, string])[] = [
    [{ kind: "up" }, "alive"],
    [{ kind: "slow", beforeMs: 200, afterMs: 200 }, "alive"],
    [{ kind: "failing", status: 503, rate: 1 }, "alive"],
    [{ kind: "down" }, "refusing"],
    [{ kind: "hung" }, "silent"],
    [{ kind: "dark" }, "silent"],
    [{ kind: "mute", rate: 1 }, "silent"],
  ];
  for (const [mode, state] of modes) {
    test(`finds one that is ${mode.kind} ${state}`, async () => {
      plane.setMode(1, mode);
      assert.deepEqual((await survey()).states, ["alive", state, "alive"]);
    });
  }

  test("finds those behind a cut silent", async () => {
    network.cut(0, 1);
    network.cut(2, 0);
    assert.deepEqual((await survey()).states, ["alive", "silent", "silent"]);
  });

  test("finds all alive, with the Lease, while etcd has no quorum and nothing else is answered", async () => {
    plane.quorumFaults = 1;
    assert.deepEqual(await survey(), { states: ["alive", "alive", "alive"], holders: ["n1", "n1", "n1"] });
    assert.equal((await run(store.read(TIMEOUT_MS))).kind, "no-answer");
    await wait(60_000);
    assert.deepEqual(
      (await survey()).states,
      ["alive", "alive", "alive"],
      "those without a cache still answer the ping",
    );
  });

  test("hears of the past for a while when the quorum is back", async () => {
    plane.quorumFaults = 1;
    await survey();
    plane.quorumFaults = 0;
    plane.changed();
    plane.delete();
    assert.deepEqual((await survey()).holders, ["n1", "n1", "n1"]);
    await wait(11_000);
    assert.deepEqual((await survey()).holders, []);
  });

  test("finds no Lease in a server that was started without a quorum", async () => {
    plane.quorumFaults = 1;
    plane.setMode(0, { kind: "down" });
    plane.setMode(0, { kind: "up" });
    assert.deepEqual(await survey(), { states: ["alive", "alive", "alive"], holders: ["n1", "n1"] });
  });
});
