/**
 * For tests in which the API is there and does not carry out what the agents write. A file that imports this
 * gets a cluster with an embedded API, which begins before its first test and ends after its last one.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
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
export const HELD_MS = 11_000;
/** LEASE_DURATION / 0.95 + 5 s, and what a busy machine takes to start three agents. */
export const SERVED_MS = 25_000;

export let cluster: EmbeddedCluster;
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

export function everyServer(change: (faults: Faults) => void): void {
  for (const { faults } of cluster.api.servers) change(faults);
}

export function refuse(
  when: (request: LeaseRequest) => boolean,
  status: number,
  message: string,
  reason?: string,
): void {
  everyServer((faults) => {
    faults.refuse = (request) => (when(request) ? failure(status, message, reason, {}) : undefined);
  });
}

export function deleteLease(): void {
  cluster.api.store.handle({
    method: "DELETE",
    path: "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold",
    body: "",
  });
}

export function since(fromMs: number): OwnershipTimeline {
  return ownership.timeline(cluster.lab.vip4).between(fromMs);
}

export function startAll(nodes: readonly EmbeddedNode[] = cluster.nodes): Promise<unknown> {
  return Promise.all(nodes.map((node) => node.startAgent(TIMES)));
}

/** Who had the VIP since then, and what the agents say of it. */
export function story(fromMs: number): string {
  const lines = cluster.nodes.flatMap((node) => node.agent?.log().split("\n") ?? []);
  const told = lines.filter((line) => /State changed|VIP bound|VIP released|refuses|silent/u.test(line));
  return `${since(fromMs).describe()}\n${told.slice(-40).join("\n")}`;
}

/** One holder, and everybody knows everybody. */
export async function settled(): Promise<EmbeddedNode> {
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

/** Since then that node has had the VIP, and no other one, without a break. */
export function assertStayedOn(holder: EmbeddedNode, fromMs: number): void {
  assert.deepEqual(
    since(fromMs)
      .intervals()
      .map(({ holders }) => holders),
    [[holder.name]],
    story(fromMs),
  );
}

/** The node that has the VIP now. */
export async function serving(): Promise<EmbeddedNode> {
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
export async function restartAll(): Promise<void> {
  await Promise.all(cluster.nodes.map((node) => node.endAgent()));
  await startAll();
}

export const all = (): boolean => true;
export const writes = ({ isWrite }: LeaseRequest): boolean => isWrite;

/** What every API server refuses to every agent. */
export interface Case {
  readonly name: string;
  readonly begin: () => void;
  /** What /status says of the last refusal. */
  readonly status: number;
  readonly says: RegExp;
}

/** Every node meets the case, all agents start again meanwhile, and then the API accepts everything again. */
export function refusedEverywhere(cases: readonly Case[]): void {
  for (const { name, begin, status, says } of cases) {
    test(`${name}: the VIP stays, agents that are restarted serve it, and then one is confirmed`, async () => {
      const holder = await settled();
      const fromMs = monotonicMs();
      begin();
      await sleep(HELD_MS);
      assertStayedOn(holder, fromMs);
      const { election, api } = await holder.status();
      assert.deepEqual([election?.state, election?.confirmed], ["PROVISIONAL", false]);
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
}
