/** What the demo does by itself, and what it claims of each step; a claim that is not seen is said so. */
import { monotonicMs, sleep } from "../../test/support/lab/clock.ts";
import { describeAttempts, failures, longestGap, longestPauseMs } from "../../test/support/lab/probe.ts";
import type { Attempt } from "../../test/support/lab/probe.ts";
import type { DemoCluster, NodeName } from "./cluster.ts";
import type { Observer } from "./observer.ts";

export interface Claim {
  readonly text: string;
  readonly seen: boolean;
  readonly detail: string;
}

/**
 * A lost holder is missed when its Lease has not moved for LEASE_DURATION (10 s); twice that is far too late.
 */
const FAILOVER_LIMIT_MS = 20_000;
/** A planned move: the new holder binds before the old one unbinds. */
const PLANNED_GAP_MS = 150;

export class Story {
  readonly claims: Claim[] = [];
  readonly #cluster: DemoCluster;
  readonly #observer: Observer;

  constructor(cluster: DemoCluster, observer: Observer) {
    this.#cluster = cluster;
    this.#observer = observer;
  }

  async tell(): Promise<void> {
    const n1 = this.#cluster.node("n1");

    this.#observer.say("three agents start; n1 has the highest priority");
    await Promise.all(this.#cluster.nodes.map((node) => node.startAgent()));
    await this.#step("the best node is elected and clients are served through the VIP", 0, async () =>
      this.#holds("n1", 20_000),
    );

    const killed = monotonicMs();
    this.#observer.say("n1's agent is killed (SIGKILL)");
    await n1.killAgent();
    await this.#step("the holder is killed: n2 takes over", killed, async () => {
      await this.#holds("n2", FAILOVER_LIMIT_MS);
      // The old holder's kernel let go by itself, and not much later than the new one took it.
      const timeline = this.#cluster.ownership.timeline(this.#cluster.vip).between(killed);
      if (timeline.longestDualMs() > 1000) throw new Error(`two nodes had the VIP: ${timeline.describe()}`);
    });

    const returned = monotonicMs();
    this.#observer.say("n1's agent is back; it outranks n2, which hands over");
    await n1.startAgent();
    await this.#step("n1 comes back: a planned move, which clients do not notice", returned, async () => {
      await this.#holds("n1", 20_000);
      await sleep(1000);
      this.#gapBelow(returned, PLANNED_GAP_MS);
    });

    const stopped = monotonicMs();
    this.#observer.say("n1's API server stops: its priority falls by 50");
    await n1.stopApi();
    await this.#step(
      "an API server dies: its backend is out, the VIP goes to a better node",
      stopped,
      async () => {
        await this.#holds("n2", 20_000);
        await this.#cluster.lab.until(
          async () => (await this.#gradeOnHolder("n2", "n1")) === "DOWN",
          10_000,
          "n1's backend DOWN",
        );
        this.#gapBelow(stopped, PLANNED_GAP_MS);
      },
    );

    const healed = monotonicMs();
    this.#observer.say("n1's API server is back");
    await n1.startApi();
    await this.#step(
      "the API server comes back: its backend too, and n1 is holder again",
      healed,
      async () => {
        await this.#holds("n1", 20_000);
        await this.#cluster.lab.until(
          async () => (await this.#gradeOnHolder("n1", "n1")) === "UP",
          10_000,
          "n1's backend UP",
        );
        await sleep(1000);
        this.#gapBelow(healed, PLANNED_GAP_MS);
      },
    );
  }

  /** `since` 0: nothing to say about the client, who had nobody to talk to before. */
  async #step(text: string, since: number, see: () => Promise<void>): Promise<void> {
    const failure = await see().then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    await sleep(2500); // long enough to look at
    const attempts = this.#since(since);
    const client = since === 0 ? "" : `client: ${describeAttempts(attempts)}`;
    const [reason = ""] = (failure ?? "").split("\n");
    this.claims.push({
      text,
      seen: failure === undefined,
      detail: failure === undefined ? client : `${reason}; ${client}`,
    });
    this.#observer.say(failure === undefined ? `seen: ${text}` : `NOT SEEN: ${text}: ${reason}`);
  }

  /** Its kernel has the VIP, nobody else's has, its agent says MASTER, and the client is answered. */
  async #holds(name: NodeName, limitMs: number): Promise<void> {
    const { lab, ownership, vip, probe } = this.#cluster;
    await lab.until(
      async () => {
        const holders = await ownership.holders(vip);
        if (holders.join() !== name) throw new Error(`VIP on ${holders.join(" and ") || "nobody"}`);
        const state = (await this.#cluster.node(name).status())?.election?.state;
        if (state !== "MASTER") throw new Error(`${name} says ${state ?? "nothing"}`);
        const last = probe.attempts().findLast((attempt) => attempt.sentMs < monotonicMs() - 50);
        return last?.ok === true;
      },
      limitMs,
      `${name} holds the VIP alone and serves`,
    );
  }

  async #gradeOnHolder(holder: NodeName, backend: NodeName): Promise<string | undefined> {
    const ip = this.#cluster.node(backend).host.ipv4;
    const status = await this.#cluster.node(holder).status();
    return status?.balancer.backends.find(({ host }) => host === ip)?.grade;
  }

  #since(fromMs: number): readonly Attempt[] {
    return this.#cluster.probe.attempts().filter((attempt) => attempt.sentMs >= fromMs);
  }

  #gapBelow(fromMs: number, limitMs: number): void {
    const attempts = this.#since(fromMs);
    const gap = longestGap(attempts).ms;
    // What the client did not ask it cannot have missed: on a busy machine it waits for a processor itself.
    if (gap > limitMs + longestPauseMs(attempts))
      throw new Error(
        `a gap of ${gap.toFixed(0)} ms, more than ${limitMs} ms (${failures(attempts).length} failed)`,
      );
  }
}
