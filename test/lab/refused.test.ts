/**
 * The API is there and does not carry out what the agents write: no credentials, no right, flow control, an
 * admission webhook, a full etcd, certificates that are not trusted. The VIP is served all the same, by the
 * agents that run and by agents that start anew, and the log says why.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { failure } from "../support/embedded-api/status.ts";
import type { Faults, LeaseRequest } from "../support/embedded-api/server.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import type { OwnershipTimeline } from "../support/lab/timeline.ts";
import { createEmbeddedCluster } from "./embedded-cluster.ts";
import type { EmbeddedCluster, EmbeddedNode } from "./embedded-cluster.ts";

/** Shorter than the defaults. A busy machine must still renew in time. */
const TIMES = {
  LEASEHOLD_LEASE_DURATION: "8s",
  LEASEHOLD_RENEW_DEADLINE: "2500ms",
  LEASEHOLD_RENEW_INTERVAL: "500ms",
};
/** A Lease and more: what could not be renewed has been lost by then. */
const HELD_MS = 11_000;
/** LEASE_DURATION / 0.95 + 5 s, and what a busy machine takes to start three agents. */
const SERVED_MS = 25_000;

let cluster: EmbeddedCluster;
let ownership: OwnershipSampler;

before(async () => {
  cluster = await createEmbeddedCluster();
  ownership = await cluster.lab.ownership();
});
after(async () => cluster[Symbol.asyncDispose]());
afterEach(async () => {
  everyServer((faults) => Object.assign(faults, { forbidden: false, refuse: undefined, mutate: undefined }));
  await Promise.all(cluster.nodes.map((node) => node.endAgent()));
  deleteLease();
});

function everyServer(change: (faults: Faults) => void): void {
  for (const { faults } of cluster.api.servers) change(faults);
}

function refuse(
  when: (request: LeaseRequest) => boolean,
  status: number,
  message: string,
  reason?: string,
): void {
  everyServer((faults) => {
    faults.refuse = (request) => (when(request) ? failure(status, message, reason, {}) : undefined);
  });
}

function deleteLease(): void {
  cluster.api.store.handle({
    method: "DELETE",
    path: "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold",
    body: "",
  });
}

function since(fromMs: number): OwnershipTimeline {
  return ownership.timeline(cluster.lab.vip4).between(fromMs);
}

function startAll(nodes: readonly EmbeddedNode[] = cluster.nodes): Promise<unknown> {
  return Promise.all(nodes.map((node) => node.startAgent(TIMES)));
}

/** Who had the VIP since then, and what the agents say of it. */
function story(fromMs: number): string {
  const lines = cluster.nodes.flatMap((node) => node.agent?.log().split("\n") ?? []);
  const told = lines.filter((line) => /State changed|VIP bound|VIP released|refuses|silent/u.test(line));
  return `${since(fromMs).describe()}\n${told.slice(-40).join("\n")}`;
}

/** One holder, and everybody knows everybody. */
async function settled(): Promise<EmbeddedNode> {
  await startAll();
  const holder = await cluster.holder(SERVED_MS);
  await cluster.lab.until(
    async () => (await holder.status()).election?.candidates.length === cluster.nodes.length,
    SERVED_MS,
    "all are candidates",
  );
  await sleep(1_000);
  return holder;
}

/** The node that has the VIP now. */
async function serving(): Promise<EmbeddedNode> {
  return cluster.lab.until(
    async () => {
      const last = since(0).intervals().at(-1)?.holders ?? [];
      const [name] = last;
      return last.length === 1 ? cluster.nodes.find((node) => node.name === name) : undefined;
    },
    SERVED_MS,
    "one node serves",
  );
}

/** All agents end at once, as with a new image that the kubelet starts, and nothing is remembered. */
async function restartAll(): Promise<void> {
  await Promise.all(cluster.nodes.map((node) => node.endAgent()));
  await startAll();
}

const all = (): boolean => true;
const writes = ({ isWrite }: LeaseRequest): boolean => isWrite;

interface Case {
  readonly name: string;
  readonly begin: () => void;
  /** What /status says of the last refusal. */
  readonly status: number;
  readonly says: RegExp;
}

const CASES: readonly Case[] = [
  {
    name: "every credential is refused (403)",
    begin: () => everyServer((faults) => (faults.forbidden = true)),
    status: 403,
    says: /forbidden: User/u,
  },
  {
    name: "nobody is known any more (401)",
    begin: () => refuse(all, 401, "Unauthorized", "Unauthorized"),
    status: 401,
    says: /Unauthorized/u,
  },
  {
    name: "an admission webhook denies Lease writes (403), reads work",
    begin: () => refuse(writes, 403, 'admission webhook "freeze" denied the request: not today', "Forbidden"),
    status: 403,
    says: /not today/u,
  },
  {
    name: "the webhook fails (500)",
    begin: () =>
      refuse(writes, 500, 'Internal error occurred: failed calling webhook "freeze"', "InternalError"),
    status: 500,
    says: /failed calling webhook/u,
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
  for (const { name, begin, status, says } of CASES) {
    test(`${name}: the VIP stays, agents that start anew serve it, and then one is confirmed`, async () => {
      const holder = await settled();
      const fromMs = monotonicMs();
      begin();
      await sleep(HELD_MS);
      assert.deepEqual(
        since(fromMs)
          .intervals()
          .map(({ holders }) => holders),
        [[holder.name]],
        story(fromMs),
      );
      const { election, api } = await holder.status();
      assert.deepEqual([election?.state, election?.confirmed], ["MASTER", false]);
      assert.match(election?.reason ?? "", /provisional: .*cannot/u);
      assert.equal(api.lastRefusal?.status, status);
      assert.match(api.lastRefusal?.message ?? "", says);
      assert.match(holder.agent?.log() ?? "", /"level":"warn".*The API refuses the agent's request/u);

      await restartAll();
      await serving();
      const againMs = monotonicMs();
      everyServer((faults) => Object.assign(faults, { forbidden: false, refuse: undefined }));
      await cluster.holder(SERVED_MS);
      await sleep(2_000);
      await cluster.holder(SERVED_MS);
      assert.ok(since(againMs).longestDualMs() <= 1_000, since(againMs).describe());
    });
  }

  test("the holder dies while every credential is refused: another node serves", async () => {
    const holder = await settled();
    everyServer((faults) => (faults.forbidden = true));
    await sleep(4_000);
    holder.agent?.kill("SIGKILL");
    await holder.agent?.exited;
    const next = await cluster.lab.until(
      async () => {
        const last = since(0).intervals().at(-1)?.holders ?? [];
        return cluster.nodes.find((node) => node !== holder && last.includes(node.name));
      },
      SERVED_MS,
      "another node serves",
    );
    assert.equal((await next.status()).election?.confirmed, false);
  });

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
  test("the holder gets 429 to everything: another one is confirmed, and they do not both have the VIP for more than 1 s", async () => {
    const old = await settled();
    const fromMs = monotonicMs();
    refuse(({ from }) => from === old.host.ipv4, 429, "too many requests", "TooManyRequests");
    const next = await cluster.lab.until(
      async () => {
        for (const node of cluster.nodes) {
          const { election } = await node.status();
          if (node !== old && election?.confirmed === true) return node;
        }
        return undefined;
      },
      SERVED_MS,
      "another node is confirmed",
    );
    await sleep(4_000);
    const timeline = since(fromMs);
    assert.deepEqual(timeline.intervals().at(-1)?.holders, [next.name], timeline.describe());
    assert.ok(timeline.longestDualMs() <= 1_000, timeline.describe());
    assert.ok(timeline.longestGapMs() <= 1_000, timeline.describe());
    assert.equal((await old.status()).election?.state, "BACKUP");
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
test("neither kubeconfig trusts the API servers: the VIP stays, agents that start anew serve it, and then one is confirmed", async () => {
  const holder = await settled();
  const fromMs = monotonicMs();
  const mend = await cluster.api.changeAuthority([]);
  await sleep(HELD_MS);
  assert.deepEqual(
    since(fromMs)
      .intervals()
      .map(({ holders }) => holders),
    [[holder.name]],
    story(fromMs),
  );
  await restartAll();
  await serving();
  await mend();
  await cluster.holder(SERVED_MS);
});
