/** The embedded servers' faults do what the real ones' do: the Lease store meets each of them. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { LeaseholdError } from "../../src/errors.ts";
import type { LeaseRecord } from "../../src/kube/record.ts";
import type { WriteOutcome } from "../../src/kube/store.ts";
import { silentLogger } from "../../src/log.ts";
import type { LogFields } from "../../src/log.ts";
import type { EmbeddedApi } from "../support/embedded-api/embedded-api.ts";
import { startEmbeddedApi } from "../support/embedded-api/embedded-api.ts";
import type { Agent } from "./agent.ts";
import { startAgent } from "./agent.ts";
import { rawClient } from "./target.ts";

describe("two embedded API servers over one store:", { timeout: 60_000 }, () => {
  let dir: string;
  let api: EmbeddedApi;
  let agent: Agent;
  let held: LeaseRecord;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "leasehold-faults-"));
    api = await startEmbeddedApi({
      servers: ["s1", "s2"].map((name) => ({ name, ip: "127.0.0.1", port: 0 })),
      dir,
    });
    const servers = api.servers.map(({ address }) => address);
    agent = await startAgent("n1", servers, api.kubeconfigs.get("s1")?.agent ?? "");
    const outcome = await agent.store.write(
      { kind: "claim", replaces: null, offered: false, instance: "i1" },
      4000,
    );
    assert.ok(outcome.kind === "ok", JSON.stringify(outcome));
    held = outcome.record;
  });
  afterEach(async () => {
    await agent[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });

  const renew = (timeoutMs = 4000): Promise<WriteOutcome> =>
    agent.store.write({ kind: "renew", held }, timeoutMs);
  const both = (change: (faults: EmbeddedApi["servers"][number]["faults"]) => void): void => {
    for (const { faults } of api.servers) change(faults);
  };

  test("one killed: its connections are reset, the other serves; started again it serves on the same port", async () => {
    const { address } = api.server("s1");
    await api.server("s1").kill();
    assert.equal((await renew()).kind, "ok");
    await api.server("s2").kill();
    assert.equal((await renew(1000)).kind, "no-answer");
    await api.server("s1").start();
    assert.equal(api.server("s1").address, address);
    assert.equal((await renew()).kind, "ok");
  });

  test("an admission webhook denies what is written, and lets reads through: told in its own words, once, and again when it is over", async () => {
    const lines: [message: string, fields: LogFields][] = [];
    const line = (fields: LogFields, message: string): void => void lines.push([message, fields]);
    await agent[Symbol.asyncDispose]();
    const logger = { ...silentLogger, warn: line, info: line };
    agent = await startAgent(
      "n1",
      api.servers.map(({ address }) => address),
      api.kubeconfigs.get("s1")?.agent ?? "",
      logger,
    );
    both((faults) => (faults.denyLeaseWrites = true));
    lines.length = 0;
    const message = 'admission webhook "leases.example.com" denied the request: no changes\\u{a}in a freeze';
    for (let i = 0; i < 3; i++) assert.deepEqual(await renew(), { kind: "rejected", status: 403, message });
    assert.equal((await agent.store.read(4000)).kind, "ok");
    const server = api.server("s1").address;
    const refusal = { request: "renew", status: 403, message, server, user: "leasehold" };
    const meaning = `403 on the Lease for user leasehold: ${message}`;
    assert.deepEqual(lines, [
      ["The API refuses the agent's request on the Lease", { ...refusal, meaning, count: 1 }],
    ]);
    const { atMs, ...last } = agent.store.lastRefusal() ?? assert.fail();
    assert.ok(atMs > 0);
    assert.deepEqual(last, { ...refusal, count: 3, over: false });
    both((faults) => (faults.denyLeaseWrites = false));
    assert.equal((await renew()).kind, "ok");
    assert.equal(lines.at(-1)?.[0], "The API takes the agent's request on the Lease again");
    assert.equal(lines.length, 2);
    assert.equal(agent.store.lastRefusal()?.over, true);
  });

  test("a webhook that puts another holder into every write confirms nobody, and each node knows its own writes", async () => {
    const errors: LogFields[] = [];
    const log = { ...silentLogger, error: (fields: LogFields): void => void errors.push(fields) };
    const servers = api.servers.map(({ address }) => address);
    const kubeconfig = api.kubeconfigs.get("s1")?.agent ?? "";
    await using first = await startAgent("n1", servers, kubeconfig, log);
    await using second = await startAgent("n2", servers, kubeconfig);
    const take = (by: Agent, instance: string, replaces: LeaseRecord): Promise<WriteOutcome> =>
      by.store.write({ kind: "claim", replaces, offered: false, instance }, 4000);
    const seenBy = async (one: Agent): Promise<LeaseRecord> => {
      const read = await one.store.read(4000);
      assert.ok(read.kind === "ok" && read.record !== null, JSON.stringify(read));
      return read.record;
    };
    const before = await take(first, "i1", held);
    assert.ok(before.kind === "ok", JSON.stringify(before));
    both((faults) => (faults.mutate = (lease) => (lease.spec["holderIdentity"] = "policy")));
    const mine = await take(first, "i1", before.record);
    assert.deepEqual([mine.kind, "status" in mine && mine.status], ["rejected", 200]);
    const record = await seenBy(first);
    assert.deepEqual([record.holder, record.rewritten], ["policy", true]);
    assert.equal((await seenBy(second)).rewritten, undefined, "to the other one it is a holder that renews");
    assert.ok(errors[0]?.["err"] instanceof LeaseholdError && errors[0]["err"].code === "LH_LEASE_CHANGED");
    assert.equal((await take(second, "i2", record)).kind, "rejected");
    assert.equal((await seenBy(first)).rewritten, undefined, "the newest write is the other one's");
    both((faults) => (faults.mutate = undefined));
    assert.equal((await take(second, "i2", await seenBy(second))).kind, "ok");
    assert.equal((await seenBy(first)).holder, "n2");
  });

  test("stopped, a server takes connections and says nothing; continued, it answers what has waited", async () => {
    for (const server of api.servers) server.stop();
    const outcome = await renew(1500);
    assert.ok(outcome.kind === "no-answer" && outcome.ambiguous, JSON.stringify(outcome));
    const waiting = renew();
    for (const server of api.servers) server.continue();
    assert.equal((await waiting).kind, "ok");
  });

  test("a connection reset in the middle of the answer: the write was applied, and the store finds out", async () => {
    api.server("s1").faults.resetInAnswer = true;
    const outcome = await renew();
    assert.ok(outcome.kind === "ok", JSON.stringify(outcome));
    assert.notEqual(outcome.record.renewTime, held.renewTime);
  });

  test("a slow server costs the hedge, not the deadline", async () => {
    api.server("s1").faults.delayMs = 3000;
    assert.equal((await renew(2500)).kind, "ok");
  });

  test("a server that is not ready says so on /readyz, and goes on serving", async () => {
    const { faults } = api.server("s1");
    const client = await rawClient({
      server: api.server("s1").address,
      adminKubeconfig: api.kubeconfigs.get("s1")?.admin ?? "",
    });
    assert.equal((await client.call("GET", "/readyz")).status, 200);
    faults.notReady = true;
    assert.equal((await client.call("GET", "/readyz")).status, 500);
    assert.equal((await renew()).kind, "ok");
  });

  test("a survey: alive without a quorum, unready, forbidden or overloaded; silent when stopped; refusing when killed", async () => {
    const states = async (timeoutMs = 4000): Promise<string> =>
      (await agent.store.survey(timeoutMs)).servers.map(({ state }) => state).join();
    both((faults) => (faults.refuseWrites = true));
    const { records } = await agent.store.survey(4000);
    assert.deepEqual(records, [held, held]);
    for (const fault of ["refuseWrites", "notReady", "forbidden", "tooManyRequests"] as const) {
      both((faults) => (faults[fault] = true));
      assert.equal(await states(), "alive,alive", fault);
      both((faults) => (faults[fault] = false));
    }
    api.server("s1").stop();
    await api.server("s2").kill();
    assert.equal(await states(300), "silent,refusing");
    api.server("s1").continue();
    await api.server("s2").start();
    assert.equal(await states(), "alive,alive");
  });

  test("429, 403 and etcd's errors are refusals, reads go on without a quorum", async () => {
    both((faults) => (faults.tooManyRequests = true));
    const busy = await renew(1000);
    assert.ok(busy.kind === "rejected" && busy.status === 429, JSON.stringify(busy));
    both((faults) => (faults.tooManyRequests = false));
    both((faults) => (faults.refuseWrites = true));
    const unable = await renew(1000);
    assert.ok(unable.kind === "rejected" && unable.status === 500, JSON.stringify(unable));
    const read = await agent.store.read(1000);
    assert.ok(read.kind === "ok" && read.record?.renewTime === held.renewTime, JSON.stringify(read));
    both((faults) => (faults.refuseWrites = false));
    both((faults) => (faults.forbidden = true));
    const forbidden = await renew(1000);
    assert.ok(forbidden.kind === "rejected" && forbidden.status === 403, JSON.stringify(forbidden));
  });
});
