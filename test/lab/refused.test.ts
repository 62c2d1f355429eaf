/**
 * The API is there and does not carry out what the agents write: no credentials, no right, flow control, an
 * admission webhook, a full etcd, certificates that are not trusted. The VIP is served all the same, by the
 * agents that run and by agents that were started since, and the log says why.
 * `npm run test:long` has more cases.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { failure } from "../support/embedded-api/status.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import {
  HELD_MS,
  SERVED_MS,
  assertStayedOn,
  cluster,
  everyServer,
  refuse,
  refusedEverywhere,
  restartAll,
  serving,
  settled,
  since,
  writes,
} from "./refused-rig.ts";
import type { Case } from "./refused-rig.ts";

const CASES: readonly Case[] = [
  {
    name: "every credential is refused (403)",
    begin: () => everyServer((faults) => (faults.forbidden = true)),
    status: 403,
    says: /forbidden: User/u,
  },
  {
    name: "an admission webhook denies Lease writes (403), reads work",
    begin: () => refuse(writes, 403, 'admission webhook "freeze" denied the request: not today', "Forbidden"),
    status: 403,
    says: /not today/u,
  },
];

describe("on every node", () => {
  refusedEverywhere(CASES);

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
});

test("a webhook denies the agents' user what it lets admin.conf do (403): no agent becomes an administrator, before and after a restart", async () => {
  const holder = await settled();
  const fromMs = monotonicMs();
  const askedAs = new Set<string>();
  everyServer((faults) => {
    faults.refuse = ({ user, isWrite }) => {
      askedAs.add(user);
      return isWrite && user === "leasehold" ? failure(403, "not today", "Forbidden", {}) : undefined;
    };
  });
  await sleep(HELD_MS);
  assertStayedOn(holder, fromMs);
  await restartAll();
  await serving();
  await sleep(4_000);
  assert.deepEqual([...askedAs], ["leasehold"]);
  for (const node of cluster.nodes) {
    const { credentials } = await node.status();
    assert.equal(credentials.source, cluster.api.kubeconfigs.get(node.name)?.agent, node.name);
    assert.doesNotMatch(node.agent?.log() ?? "", /uses admin\.conf/u, node.name);
  }
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
});
