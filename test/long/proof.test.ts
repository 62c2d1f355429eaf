/**
 * What test/lab/proof.test.ts has no time for: Leases that run out, and firewalls that are watched for a
 * while.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { leadFrom } from "../lab/etcd-leader.ts";
import { FENCE_MS, lose, provable, wireOf } from "../lab/on-the-wire.ts";
import { WireRig } from "../lab/wire-rig.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";

const TAKEN_MS = 1_000;
/** A Lease's duration, less the second since the last renewal, and some for the clocks' grain. */
const EXPIRY_MS = 8_500;

let rig: WireRig;

before(async () => {
  rig = await WireRig.create();
});
after(async () => rig[Symbol.asyncDispose]());
afterEach(async () => rig.reset());

describe("an agent that is killed for good", () => {
  test("and no third host: no proof, the Lease runs out", async () => {
    const { cluster, journal } = await started();
    const old = await cluster.settled();
    const [next, third] = cluster.others(old);
    assert.ok(next !== undefined && third !== undefined);
    await leadFrom(cluster, next);
    await lose(cluster, third);
    const fromMs = monotonicMs();
    await old.endAgent("SIGKILL");
    const proofs = new Set<string>();
    await cluster.lab.until(
      async () => {
        const { wire, election } = await next.status();
        if (election?.state !== "MASTER") proofs.add(wire?.proof ?? "");
        return election?.state === "MASTER";
      },
      25_000,
      `${next.name} is MASTER`,
    );
    const { ms } = await rig.taken(old, fromMs, 1_000);
    assert.ok(ms >= EXPIRY_MS, `${ms} ms\n${cluster.history()}`);
    assert.ok(proofs.has("no-witness") && !proofs.has("silent"), [...proofs].join());
    assert.deepEqual(journal.proofs(), []);
    assert.ok(!journal.roles(next).includes("PROVISIONAL"));
  });

  test("and LEASEHOLD_PROBE_INTERVAL=0s: no proof, the Lease runs out", async () => {
    const { cluster } = rig;
    const old = await rig.start({ settings: { LEASEHOLD_PROBE_INTERVAL: "0s" }, proof: false });
    const fromMs = monotonicMs();
    await old.endAgent("SIGKILL");
    await sleep(FENCE_MS);
    for (const node of cluster.others(old)) assert.equal((await wireOf(node))?.proof, "none");
    const { ms } = await rig.taken(old, fromMs, 20_000);
    assert.ok(ms >= EXPIRY_MS, `${ms} ms\n${cluster.history()}`);
    assert.deepEqual(rig.journal.proofs(), []);
  });
});

test("a holder that drops echoes: ARP takes over, finds it alive, and dead when it is lost", async (context) => {
  const { cluster, journal } = await started();
  const old = await cluster.settled();
  const rules = `table inet lab { chain in { type filter hook input priority -300; ip daddr ${rig.vip} icmp type echo-request drop; }; }`;
  await old.host.run(["nft", rules]);
  try {
    await provable(cluster, old, "arp");
    await sleep(12_000);
    assert.deepEqual(journal.proofs(), []);
    await provable(cluster, old, "arp");
    const fromMs = monotonicMs();
    await lose(cluster, old);
    const { ms, graceMs } = await rig.taken(old, fromMs, 8_000);
    context.diagnostic(`taken after ${ms.toFixed(0)} ms`);
    assert.ok(ms <= 2 * TAKEN_MS + graceMs, `${ms} ms\n${cluster.history()}`);
    const next = await cluster.successorOf(old);
    assert.deepEqual(
      journal
        .of(next)
        .filter(({ msg }) => msg === "The holder of the VIP is silent")
        .map(({ by }) => by),
      ["arp"],
    );
  } finally {
    await old.host.run(["nft", "delete table inet lab"]);
  }
});

test("a link that carries no frame to the holder: another one is MASTER at once, and soon the only one", async () => {
  const { cluster } = await started();
  const old = await cluster.settled();
  await leadFrom(cluster, rig.other(old));
  await provable(cluster, old);
  const fromMs = monotonicMs();
  await cluster.lab.drop({ to: old.name });
  const { ms, graceMs } = await rig.taken(old, fromMs, 5_000);
  assert.ok(ms <= TAKEN_MS + graceMs, `${ms} ms\n${cluster.history()}`);
  const next = await cluster.successorOf(old);
  await cluster.lab.until(
    async () => (await cluster.bound(rig.vip)).join() === next.name,
    5_000,
    `${next.name} alone has it`,
  );
  assert.ok(monotonicMs() - fromMs <= 5_500, `both had it for ${monotonicMs() - fromMs} ms`);
  await cluster.lab.heal();
  assert.equal(await rig.oneMaster(), next);
  assert.deepEqual(await cluster.bound(rig.vip), [next.name]);
});

async function started(): Promise<WireRig> {
  await rig.start();
  return rig;
}
