/**
 * The API is there and does not carry out what the agents write: no credentials, no right, flow control, an
 * admission webhook, a full etcd, certificates that are not trusted. The VIP is served all the same, by the
 * agents that run and by agents that were started since, and the log says why.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import {
  HELD_MS,
  SERVED_MS,
  all,
  assertStayedOn,
  cluster,
  deleteLease,
  everyServer,
  refuse,
  refusedEverywhere,
  restartAll,
  serving,
  settled,
  since,
  story,
  writes,
} from "../lab/refused-rig.ts";
import type { Case } from "../lab/refused-rig.ts";

const CASES: readonly Case[] = [
  {
    name: "the webhook fails (500)",
    begin: () =>
      refuse(writes, 500, 'Internal error occurred: failed calling webhook "freeze"', "InternalError"),
    status: 500,
    says: /failed calling webhook/u,
  },
  {
    name: "nobody is known any more (401)",
    begin: () => refuse(all, 401, "Unauthorized", "Unauthorized"),
    status: 401,
    says: /Unauthorized/u,
  },
  {
    name: "writes are invalid for good (422)",
    begin: () => refuse(writes, 422, "the policy wants an owner label", "Invalid"),
    status: 422,
    says: /owner label/u,
  },
  {
    name: "writes conflict for good (409)",
    begin: () => refuse(writes, 409, "Operation cannot be fulfilled", "Conflict"),
    status: 409,
    says: /cannot be fulfilled/u,
  },
  {
    name: "RBAC lets the agents get and not patch or update (403)",
    begin: () =>
      refuse(({ method }) => method === "PATCH" || method === "PUT", 403, "leases is forbidden", "Forbidden"),
    status: 403,
    says: /leases is forbidden/u,
  },
  {
    name: "too many requests (429)",
    begin: () => refuse(all, 429, "too many requests", "TooManyRequests"),
    status: 429,
    says: /too many requests/u,
  },
  {
    name: "etcd is full, and the API reads only (500)",
    begin: () => refuse(writes, 500, "etcdserver: mvcc: database space exceeded"),
    status: 500,
    says: /space exceeded/u,
  },
];

describe("on every node", () => {
  refusedEverywhere(CASES);

  test("the Lease is deleted while its writes are refused: the VIP stays, and is served after a restart of all", async () => {
    const holder = await settled();
    const fromMs = monotonicMs();
    refuse(writes, 403, "exceeded quota: leases", "Forbidden");
    deleteLease();
    await sleep(HELD_MS);
    assert.deepEqual(since(fromMs).longestGapMs(), 0, story(fromMs));
    assert.equal((await serving()).name, holder.name);
    await restartAll();
    await serving();
  });

  test("a policy takes the agents' annotations out of the Lease: the VIP is served after a restart of all", async () => {
    const holder = await settled();
    const fromMs = monotonicMs();
    everyServer((faults) => {
      faults.mutate = (lease) => {
        lease.metadata.annotations = { "policy.example.com/checked": "yes" };
      };
    });
    await sleep(HELD_MS);
    assert.equal((await serving()).name, holder.name, story(fromMs));
    await restartAll();
    await serving();
  });

  test("a webhook puts another holder into the Lease: the VIP stays, one node serves after a restart of all, and the log says so", async () => {
    const holder = await settled();
    const fromMs = monotonicMs();
    everyServer((faults) => {
      faults.mutate = (lease) => {
        lease.spec["holderIdentity"] = "policy";
      };
    });
    await sleep(HELD_MS);
    assert.equal((await serving()).name, holder.name, story(fromMs));
    assert.equal(since(fromMs).longestGapMs(), 0, story(fromMs));
    assert.match(holder.agent?.log() ?? "", /LH_LEASE_CHANGED/u);
    await restartAll();
    const next = await serving();
    const servedMs = monotonicMs();
    await sleep(HELD_MS);
    assertStayedOn(next, servedMs);
    everyServer((faults) => (faults.mutate = undefined));
    assert.equal((await cluster.holder(SERVED_MS)).name, next.name, story(fromMs));
  });

  test("a policy adds labels and annotations: nothing happens", async () => {
    everyServer((faults) => {
      faults.mutate = (lease) => {
        lease.metadata.labels = { owner: "platform" };
        lease.metadata.annotations = { ...lease.metadata.annotations, "policy.example.com/checked": "yes" };
      };
    });
    const holder = await settled();
    const fromMs = monotonicMs();
    await sleep(HELD_MS);
    assert.equal((await cluster.holder(1_000)).name, holder.name);
    assert.equal(since(fromMs).longestGapMs(), 0, story(fromMs));
  });
});

describe("on some nodes", () => {
  test("one BACKUP is refused (403): nothing moves", async () => {
    const holder = await settled();
    const other = cluster.nodes.find((node) => node !== holder);
    const fromMs = monotonicMs();
    refuse(({ from }) => from === other?.host.ipv4, 403, "leases is forbidden", "Forbidden");
    await sleep(HELD_MS);
    assertStayedOn(holder, fromMs);
  });

  test("all but one are refused (403): that one is confirmed", async () => {
    const old = await settled();
    const able = cluster.nodes.find((node) => node !== old) ?? old;
    const fromMs = monotonicMs();
    refuse(({ from }) => from !== able.host.ipv4, 403, "leases is forbidden", "Forbidden");
    await cluster.lab.until(
      async () => (await able.status()).election?.confirmed === true,
      SERVED_MS,
      "the one that may write is confirmed",
    );
    await sleep(2_000);
    assert.deepEqual(since(fromMs).intervals().at(-1)?.holders, [able.name], story(fromMs));
    assert.ok(since(fromMs).longestDualMs() <= 1_000, story(fromMs));
  });
});

// The last one: the certificates change for good.
test("neither kubeconfig trusts the API servers: the VIP stays, agents that are restarted serve it, and then one is confirmed", async () => {
  const holder = await settled();
  const fromMs = monotonicMs();
  const mend = await cluster.api.changeAuthority([]);
  await sleep(HELD_MS);
  assertStayedOn(holder, fromMs);
  await restartAll();
  await serving();
  await mend();
  await cluster.holder(SERVED_MS);
});
