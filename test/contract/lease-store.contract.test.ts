/**
 * The Lease store over the wire, with the agent's own rights, against the embedded API server and a real one.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import type { Candidate, LeaseRecord } from "../../src/kube/record.ts";
import { INSTANCE, OFFER, RELEASED_BY } from "../../src/kube/record.ts";
import type { WriteOutcome } from "../../src/kube/store.ts";
import type { Agent } from "./agent.ts";
import { startAgent } from "./agent.ts";
import type { RawClient, Target } from "./target.ts";
import { rawClient, targetKinds } from "./target.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const LEASE = `${LEASES}/leasehold`;
const TIMEOUT_MS = 4000;

function ok(outcome: WriteOutcome): LeaseRecord {
  assert.ok(outcome.kind === "ok", JSON.stringify(outcome));
  return outcome.record;
}

function candidate(node: string, counter: number): Candidate {
  const fixed = {
    base: 100,
    effective: 100,
    eligible: true,
    state: "BACKUP",
    faults: [],
    preempt: false,
  } as const;
  return {
    node,
    ...fixed,
    ip: "192.0.2.1",
    mac: "",
    fastPath: null,
    vips: null,
    instance: "i",
    version: "0.1.0",
    counter,
  };
}

for (const kind of await targetKinds()) {
  describe(`the Lease store over ${kind.name}:`, { timeout: 120_000 }, () => {
    let target: Target;
    let admin: RawClient;
    let n1: Agent;
    let n2: Agent;

    before(async () => {
      target = await kind.start();
      admin = await rawClient(target);
      n1 = await startAgent("n1", [target.server], target.agentKubeconfig);
      n2 = await startAgent("n2", [target.server], target.agentKubeconfig);
    });
    after(async () => {
      await n1[Symbol.asyncDispose]();
      await n2[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
    });
    beforeEach(async () => {
      await admin.call("DELETE", LEASE);
    });

    const claim = (
      agent: Agent,
      replaces: LeaseRecord | null,
      offered = false,
      instance = "i1",
    ): Promise<WriteOutcome> => agent.store.write({ kind: "claim", replaces, offered, instance }, TIMEOUT_MS);
    const renew = (agent: Agent, held: LeaseRecord): Promise<WriteOutcome> =>
      agent.store.write({ kind: "renew", held }, TIMEOUT_MS);
    async function read(): Promise<LeaseRecord | null> {
      const outcome = await n1.store.read(TIMEOUT_MS);
      assert.ok(outcome.kind === "ok", JSON.stringify(outcome));
      return outcome.record;
    }

    test("no Lease reads as null; the first claim creates it, the second conflicts", async () => {
      assert.equal(await read(), null);
      const held = ok(await claim(n1, null));
      assert.equal(held.holder, "n1");
      assert.equal(held.leaseDurationMs, 10_000);
      assert.deepEqual(await claim(n2, null), { kind: "conflict", record: held });
      assert.deepEqual(await read(), held);
    });

    test("a Lease as people make it, with neither spec nor annotations, can be claimed", async () => {
      await admin.call("POST", LEASES, { metadata: { name: "leasehold" } });
      const empty = await read();
      assert.equal(empty?.holder, "");
      const held = ok(await claim(n1, empty));
      assert.equal(held.holder, "n1");
      assert.equal(held.leaseTransitions, 1);
    });

    test("renewals move renewTime and nothing else, whatever is annotated meanwhile", async () => {
      const first = ok(await claim(n1, null));
      ok(await n2.store.write({ kind: "candidate", candidate: candidate("n2", 1) }, TIMEOUT_MS));
      const second = ok(await renew(n1, first));
      assert.notEqual(second.renewTime, first.renewTime);
      assert.deepEqual(
        [second.holder, second.acquireTime, second.leaseTransitions],
        ["n1", first.acquireTime, first.leaseTransitions],
      );
      assert.deepEqual(Object.keys(second.annotations).toSorted(), ["leasehold.dev/candidate.n2", INSTANCE]);
      ok(await renew(n1, first));
    });

    test("a renewal removes nodes that have left, and leaves one that has written meanwhile", async () => {
      ok(await claim(n1, null));
      for (const node of ["n2", "n4", "n5"]) {
        ok(await n2.store.write({ kind: "candidate", candidate: candidate(node, 1) }, TIMEOUT_MS));
      }
      const seen = (await read()) ?? assert.fail();
      const texts = new Map(Object.entries(seen.annotations));
      const departed = ["n2", "n4", "n5"].map((node) => ({
        node,
        text: texts.get(`leasehold.dev/candidate.${node}`) ?? "",
      }));
      const left = (record: LeaseRecord): readonly string[] =>
        Object.keys(record.annotations).filter((key) => key !== INSTANCE);
      ok(await n2.store.write({ kind: "candidate", candidate: candidate("n2", 2) }, TIMEOUT_MS));
      const renewed = ok(await n1.store.write({ kind: "renew", held: seen, departed }, TIMEOUT_MS));
      assert.notEqual(renewed.renewTime, seen.renewTime, "the renewal itself succeeds in any case");
      assert.deepEqual(left(renewed), ["leasehold.dev/candidate.n2"]);
      // A person was faster: there is nothing left to remove.
      const again = ok(await n1.store.write({ kind: "renew", held: renewed, departed }, TIMEOUT_MS));
      assert.notEqual(again.renewTime, renewed.renewTime);
      assert.deepEqual(left(again), ["leasehold.dev/candidate.n2"]);
      // The node comes back by itself.
      const back = ok(await n2.store.write({ kind: "candidate", candidate: candidate("n4", 9) }, TIMEOUT_MS));
      assert.deepEqual(left(back).toSorted(), ["leasehold.dev/candidate.n2", "leasehold.dev/candidate.n4"]);
    });

    test("a renewal of a lost term removes nothing", async () => {
      const held = ok(await claim(n1, null));
      ok(await n2.store.write({ kind: "candidate", candidate: candidate("n4", 1) }, TIMEOUT_MS));
      const seen = (await read()) ?? assert.fail();
      const departed = [{ node: "n4", text: seen.annotations["leasehold.dev/candidate.n4"] ?? "" }];
      ok(await claim(n2, seen));
      const outcome = await n1.store.write({ kind: "renew", held, departed }, TIMEOUT_MS);
      assert.equal(outcome.kind, "conflict");
      assert.ok((await read())?.annotations["leasehold.dev/candidate.n4"] !== undefined);
    });

    test("of two claims on one record one succeeds, and the other learns who won; the old holder cannot renew", async () => {
      const held = ok(await claim(n1, null));
      const outcomes = await Promise.all([claim(n1, held), claim(n2, held)]);
      const winners = outcomes.filter(({ kind }) => kind === "ok");
      assert.equal(winners.length, 1);
      const record = await read();
      assert.deepEqual(
        outcomes.find(({ kind }) => kind === "conflict"),
        { kind: "conflict", record },
      );
      const taken = ok(await claim(n2, record));
      assert.equal(taken.holder, "n2");
      assert.deepEqual(await renew(n1, held), { kind: "conflict", record: taken });
    });

    test("a claim on a record that was renewed since conflicts", async () => {
      const held = ok(await claim(n1, null));
      const renewed = ok(await renew(n1, held));
      assert.deepEqual(await claim(n2, held), { kind: "conflict", record: renewed });
    });

    test("after a restart the holder claims again and keeps its tenure", async () => {
      const held = ok(await claim(n1, null));
      const adopted = ok(await claim(n1, held));
      assert.equal(adopted.leaseTransitions, held.leaseTransitions);
      assert.notEqual(
        adopted.acquireTime,
        held.acquireTime,
        "what was sent before this claim must fail after it",
      );
      assert.notEqual(adopted.renewTime, held.renewTime);
    });

    test("another machine of the holder's name begins a tenure of its own, and the first one cannot renew", async () => {
      const held = ok(await claim(n1, null));
      const taken = ok(await claim(n1, held, false, "i2"));
      assert.deepEqual([taken.holder, taken.annotations[INSTANCE]], ["n1", "i2"]);
      assert.notEqual(taken.leaseTransitions, held.leaseTransitions);
      assert.deepEqual(await renew(n1, held), { kind: "conflict", record: taken });
    });

    test("an offer is claimed once and is gone then; one that was withdrawn cannot be claimed", async () => {
      const held = ok(await claim(n1, null));
      const offered = ok(await n1.store.write({ kind: "offer", held, to: "n2" }, TIMEOUT_MS));
      assert.equal(offered.annotations[OFFER], "n2");
      const withdrawn = ok(await n1.store.write({ kind: "offer", held: offered, to: null }, TIMEOUT_MS));
      assert.equal((await claim(n2, offered, true)).kind, "conflict");
      const again = ok(await n1.store.write({ kind: "offer", held: withdrawn, to: "n2" }, TIMEOUT_MS));
      const taken = ok(await claim(n2, again, true));
      assert.equal(taken.holder, "n2");
      assert.equal(taken.annotations[OFFER], undefined);
      assert.equal(taken.leaseTransitions, (held.leaseTransitions ?? 0) + 1);
    });

    test("a released Lease is empty and says by whom; a claim clears that", async () => {
      const held = ok(await claim(n1, null));
      const released = ok(await n1.store.write({ kind: "release", held }, TIMEOUT_MS));
      assert.deepEqual(
        [released.holder, released.leaseDurationMs, released.annotations[RELEASED_BY]],
        ["", 1000, "n1"],
      );
      assert.equal((await renew(n1, held)).kind, "conflict");
      const taken = ok(await claim(n2, released));
      assert.deepEqual(
        [taken.holder, taken.leaseDurationMs, taken.annotations[RELEASED_BY]],
        ["n2", 10_000, undefined],
      );
    });

    test("candidates write their annotations at once, and none is lost", async () => {
      ok(await claim(n1, null));
      const writes = [1, 2, 3, 4].flatMap((counter) => [
        n1.store.write({ kind: "candidate", candidate: candidate("n1", counter) }, TIMEOUT_MS),
        n2.store.write({ kind: "candidate", candidate: candidate("n2", counter) }, TIMEOUT_MS),
      ]);
      for (const outcome of await Promise.all(writes)) ok(outcome);
      const record = await read();
      assert.deepEqual(Object.keys(record?.annotations ?? {}).sort(), [
        "leasehold.dev/candidate.n1",
        "leasehold.dev/candidate.n2",
        INSTANCE,
      ]);
    });

    test("renewing a Lease that somebody deleted conflicts with null", async () => {
      const held = ok(await claim(n1, null));
      await admin.call("DELETE", LEASE);
      assert.deepEqual(await renew(n1, held), { kind: "conflict", record: null });
    });

    test("a survey finds a server alive and brings the Lease, and nothing when there is none", async () => {
      const held = ok(await claim(n1, null));
      // The cache may be late.
      const until = async (
        what: string,
        found: (records: readonly LeaseRecord[]) => boolean,
      ): Promise<void> => {
        for (let tries = 0; tries < 100; tries++) {
          const { servers, records } = await n1.store.survey(TIMEOUT_MS);
          assert.deepEqual(servers, [{ server: target.server, state: "alive" }]);
          if (found(records)) return;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        assert.fail(what);
      };
      await until(
        "the Lease",
        ([record]) => record?.resourceVersion === held.resourceVersion && record.holder === "n1",
      );
      await admin.call("DELETE", LEASE);
      await until("no Lease", (records) => records.length === 0);
    });

    test("a survey tells a stopped server from a port that nobody listens on, and finds the first alive again", async () => {
      const nobody = "127.0.0.1:1";
      await using both = await startAgent("n1", [target.server, nobody], target.agentKubeconfig);
      const states = async (timeoutMs: number): Promise<readonly string[]> =>
        (await both.store.survey(timeoutMs)).servers.map(({ state }) => state);
      assert.deepEqual(await states(TIMEOUT_MS), ["alive", "refusing"]);
      target.stop();
      try {
        assert.deepEqual(await states(500), ["silent", "refusing"], "over connections that were open");
        await using stranger = await startAgent("n1", [target.server], target.agentKubeconfig);
        assert.deepEqual(
          (await stranger.store.survey(500)).servers,
          [{ server: target.server, state: "silent" }],
          "over a new one",
        );
      } finally {
        target.continue();
      }
      assert.deepEqual(await states(TIMEOUT_MS), ["alive", "refusing"]);
    });

    test("an urgent renewal is one renewal, to however many servers it goes", async () => {
      // The same server by two spellings: it gets two copies of every request.
      await using twice = await startAgent(
        "n1",
        [target.server, target.server.replace("127.0.0.1", "[::ffff:127.0.0.1]")],
        target.agentKubeconfig,
      );
      const held = ok(await claim(n1, null));
      const renewed = ok(await twice.store.write({ kind: "renew", held }, TIMEOUT_MS, true));
      assert.notEqual(renewed.renewTime, held.renewTime);
      assert.equal((await read())?.renewTime, renewed.renewTime);
      ok(await renew(n1, renewed));
    });

    test("a watch tells of creation, renewal, deletion and creation anew", async () => {
      const seen: (LeaseRecord | null)[] = [];
      let wake = (): void => {};
      const watch = n2.store.watch((record) => {
        seen.push(record);
        wake();
      });
      async function until(what: string, found: (record: LeaseRecord | null) => boolean): Promise<void> {
        const limit = AbortSignal.timeout(15_000);
        while (!seen.some(found)) {
          await new Promise<void>((resolve, reject) => {
            wake = resolve;
            limit.addEventListener(
              "abort",
              () => reject(new Error(`not seen: ${what}; only ${JSON.stringify(seen)}`)),
              { once: true },
            );
          });
        }
      }
      try {
        const held = ok(await claim(n1, null));
        await until("creation", (record) => record?.uid === held.uid);
        const renewed = ok(await renew(n1, held));
        await until("renewal", (record) => record?.renewTime === renewed.renewTime);
        seen.length = 0;
        await admin.call("DELETE", LEASE);
        await until("deletion", (record) => record === null);
        const anew = ok(await claim(n2, null));
        await until("creation anew", (record) => record?.uid === anew.uid);
      } finally {
        watch.close();
      }
    });
  });
}
