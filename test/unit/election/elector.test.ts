/**
 * What the elector adds to the machine: the order in which a process that stood still learns what has
 * happened.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createElector } from "../../../src/election/elector.ts";
import type { Elector, ElectorDeps } from "../../../src/election/elector.ts";
import { termOf } from "../../../src/election/identity.ts";
import type { SelfFacts } from "../../../src/election/types.ts";
import type { LeaseRecord } from "../../../src/kube/record.ts";
import type { LeaseStore } from "../../../src/kube/store.ts";
import { silentLogger } from "../../../src/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { candidate, held, SETTINGS } from "./harness.ts";

const OFFER = { version: 1, addresses: ["10.88.0.11"] };
/** What n1 knows of itself. */
const WELL: SelfFacts = {
  effective: 100,
  faults: [],
  ready: true,
  mac: "02:00:00:00:00:01",
  fastPath: OFFER,
  foreign: false,
};
const n2 = candidate("n2", { mac: "02:00:00:00:00:02" });
const n3 = candidate("n3", { mac: "02:00:00:00:00:03" });
const record = held("n2", 1, [candidate("n1", { mac: "02:00:00:00:00:01", fastPath: OFFER }), n2, n3]);

/** What the election needs and this file does not look at. */
const IDLE: Omit<ElectorDeps, "clock" | "store"> = {
  settings: SETTINGS,
  vip: { hold: () => {}, limit: () => {}, release: () => {}, announce: () => {}, defend: () => {} },
  sentinel: { watch: () => {}, probe: () => {}, poll: () => {} },
  memory: { remember: () => {}, forget: () => {} },
  log: silentLogger,
  onReport: () => {},
  onWrite: () => {},
};
const storeOf = (seen: LeaseRecord): LeaseStore => ({
  read: () => Promise.resolve({ kind: "ok", record: seen }),
  write: () => new Promise(() => {}),
  survey: () => Promise.resolve({ servers: [], records: [] }),
  watch: () => ({ close: () => {} }),
});

/**
 * The second best of two that have found the holder dead. `inSocket`: the better one's announcement has come,
 * and nobody has read it.
 */
async function secondBest(inSocket: boolean): Promise<boolean> {
  const clock = new FakeClock();
  let bound = false;
  let unread = false;
  const elector: Elector = createElector({
    ...IDLE,
    clock,
    store: storeOf(record),
    vip: {
      hold: () => (bound = true),
      limit: () => {},
      release: () => (bound = false),
      announce: () => {},
      defend: () => {},
    },
    sentinel: {
      watch: () => {},
      probe: () => {},
      poll() {
        if (unread) elector.learn({ kind: "claimed", mac: n3.mac });
        unread = false;
      },
    },
  });
  elector.start(null, null);
  elector.update(WELL);
  await new Promise((resolve) => void setImmediate(resolve));
  elector.learn({ kind: "silent", tenure: termOf(record) });
  assert.equal(bound, false, "the better one has the first 100 ms");
  unread = inSocket;
  clock.advance(150);
  return bound;
}

test("a node whose turn has come reads first whether another one has taken the VIP meanwhile", async () => {
  assert.equal(await secondBest(false), true);
  assert.equal(await secondBest(true), false);
});

test("the VIP is not vacant while other software on this machine has it, and the status names the machine", async () => {
  for (const foreign of [true, false]) {
    const clock = new FakeClock();
    const settings = { ...SETTINGS, takeOver: true };
    const elector = createElector({ ...IDLE, settings, clock, store: storeOf(held("", 1, [n2])) });
    elector.start(null, null);
    elector.update({ ...WELL, foreign });
    await new Promise((resolve) => void setImmediate(resolve));
    clock.advance(60_000);
    assert.equal(elector.vacantSinceMs() === null, foreign);
    assert.deepEqual(elector.status().other, foreign ? { mac: "02:00:00:00:00:01", node: "n1" } : null);
    elector.update(WELL);
    elector.learn({ kind: "claimed", mac: "02:00:00:00:00:99" });
    const { taken, other } = elector.status();
    assert.deepEqual([taken, other], [true, { mac: "02:00:00:00:00:99", node: null }]);
  }
});
