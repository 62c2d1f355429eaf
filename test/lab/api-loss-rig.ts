/**
 * A cluster whose API is taken away and given back, for scenarios about a holder that cannot renew its Lease.
 */
import assert from "node:assert/strict";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import type { OwnershipTimeline } from "../support/lab/timeline.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";

export class ApiLossRig implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly #ownership: OwnershipSampler;

  private constructor(cluster: Cluster, ownership: OwnershipSampler) {
    this.cluster = cluster;
    this.#ownership = ownership;
  }

  static async create(): Promise<ApiLossRig> {
    const cluster = await createCluster();
    return new ApiLossRig(cluster, await cluster.lab.ownership());
  }

  /** Undoes every accident, and ends all agents. */
  async reset(): Promise<void> {
    await this.cluster.lab.heal();
    for (const { etcd, apiServer } of this.cluster.plane.nodes) {
      for (const program of [etcd, apiServer]) {
        if (!program.running) await program.start();
        program.continue();
      }
    }
    await this.cluster.plane.ready();
    await this.cluster.plane.bindAdmins();
    await this.cluster.reset();
  }

  since(fromMs: number): OwnershipTimeline {
    return this.#ownership.timeline(this.cluster.vip).between(fromMs);
  }

  /** Only `holder` has had the VIP since then, without a pause. */
  neverMoved(holder: ClusterNode, fromMs: number): void {
    const timeline = this.since(fromMs);
    assert.deepEqual(
      timeline.intervals().map(({ holders }) => holders),
      [[holder.name]],
      `${timeline.describe()}\n${this.cluster.history()}`,
    );
  }

  /** It holds without a Lease for `forMs`, from when it has noticed on. */
  async holdsOn(holder: ClusterNode, forMs: number): Promise<void> {
    await this.cluster.lab.until(
      async () => (await holder.state()) === "PROVISIONAL",
      8_000,
      "the holder is provisional",
    );
    const endMs = monotonicMs() + forMs;
    while (monotonicMs() < endMs) {
      // On a loaded machine an agent may answer late; who has the VIP is sampled all the time.
      const [state, ...others] = await Promise.all(
        [holder, ...this.cluster.others(holder)].map((node) => node.state().catch(() => undefined)),
      );
      if (state !== undefined) assert.equal(state, "PROVISIONAL", this.cluster.history());
      assert.ok(!others.includes("MASTER") && !others.includes("PROVISIONAL"), this.cluster.history());
      await sleep(500);
    }
  }

  async confirmedAgain(holder: ClusterNode): Promise<void> {
    await this.cluster.lab.until(
      async () => {
        const state = await holder.state();
        if (state !== "MASTER")
          throw new Error(
            `${holder.name} is ${state}; ${this.since(monotonicMs() - 90_000).describe()}\n${this.cluster.history()}`,
          );
        return true;
      },
      30_000,
      "the holder is confirmed again",
    );
    // The time in which another one would claim, had it been about to.
    await sleep(3_000);
    assert.equal(await this.cluster.settled(30_000), holder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }
}
