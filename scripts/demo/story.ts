/** What the demo does by itself, and what it claims of each step; a claim that is not seen is said so. */
import { monotonicMs, sleep } from "../../test/support/lab/clock.ts";
import { describeAttempts, failures, longestGap, longestPauseMs } from "../../test/support/lab/probe.ts";
import type { Attempt } from "../../test/support/lab/probe.ts";
import { WATCHES } from "./cluster.ts";
import type { DemoCluster, NodeName } from "./cluster.ts";
import type { Observer } from "./observer.ts";

export interface Claim {
  readonly text: string;
  readonly seen: boolean;
  readonly detail: string;
}

/**
 * The holder's death is proved by its silence, in 0.2 s. Without that proof it is missed when its Lease has
 * not moved for LEASE_DURATION (10 s), so a second shows the difference on a slow machine, too.
 */
const LOST_GAP_MS = 1000;
/**
 * Without the fast path the holder is probed ten times more slowly (ADR 0011), and a proof needs 20 answers
 * first. A holder that is lost in its first ten seconds is therefore missed by its Lease.
 */
const LOST_GAP_PROXY_MS = 14_000;
/** A planned move: the new holder binds before the old one unbinds. */
const PLANNED_GAP_MS = 150;
/** The other servers' watches get something to hear twice a second. */
const HEARD_MS = 3000;

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
    await this.#step("the best node is elected, and clients are served through the VIP", async () => {
      const { endpoint } = await this.#cluster.startClients(45_000);
      this.#observer.say(`the clients start: new connections to ${endpoint}, and ${WATCHES} watches`);
      await this.#holds("n1", 20_000);
    });

    this.#observer.say("n1, the holder, loses power");
    const lost = monotonicMs();
    await n1.losePower();
    const byKernel = await this.#isFastPath("n2");
    await this.#step(
      byKernel
        ? "the holder's node loses power: clients wait for a moment, and the other servers' watches live on"
        : "the holder's node loses power: n2 takes over, and clients connect again",
      async () => {
        await this.#holds("n2", 20_000);
        await sleep(1000);
        this.#gapBelow(lost, byKernel ? LOST_GAP_MS : LOST_GAP_PROXY_MS);
        if (byKernel) await this.#othersLive("n1");
      },
      lost,
    );

    this.#observer.say("n1 has power again");
    const returned = monotonicMs();
    await n1.regainPower();
    this.#observer.say("n1 preempts n2: its priority is higher, and LEASEHOLD_NOPREEMPT is false");
    await this.#step(
      "n1 preempts: a planned move, which nobody notices",
      async () => {
        await this.#holds("n1", 20_000);
        await sleep(1000);
        this.#gapBelow(returned, PLANNED_GAP_MS);
        if (byKernel) await this.#othersLive("n1");
      },
      returned,
    );
    await this.#cluster.clients?.watchAgain();
    await sleep(1500);

    this.#observer.say("n1's API server dies: its priority falls by 50, so n2 preempts n1");
    const stopped = monotonicMs();
    await n1.stopApi();
    await this.#step(
      "an API server dies: new connections find another one, and the VIP goes to a better node",
      async () => {
        await this.#holds("n2", 20_000);
        await this.#cluster.lab.until(
          async () => (await this.#gradeOnHolder("n2", "n1")) === "DOWN",
          10_000,
          "n1's backend DOWN",
        );
        this.#gapBelow(stopped, PLANNED_GAP_MS);
      },
      stopped,
    );

    this.#observer.say("n1's API server is back, and n1 preempts n2 again");
    const healed = monotonicMs();
    await n1.startApi();
    await this.#step(
      "the API server comes back: its backend too, and n1 is holder again",
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
      healed,
    );
  }

  /** `since`: what the client saw from then on belongs to the step. Without it there was no client before. */
  async #step(text: string, see: () => Promise<void>, since?: number): Promise<void> {
    const failure = await see().then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    await sleep(4000); // long enough to look at
    const client = since === undefined ? "" : `clients: ${describeAttempts(this.#since(since))}`;
    const [reason = ""] = (failure ?? "").split("\n");
    this.claims.push({
      text,
      seen: failure === undefined,
      detail: failure === undefined ? client : `${reason}; ${client}`,
    });
    const gap =
      since === undefined ? "" : ` (longest gap ${longestGap(this.#since(since)).ms.toFixed(0)} ms)`;
    this.#observer.say(failure === undefined ? `seen: ${text}${gap}` : `NOT SEEN: ${text}: ${reason}`);
  }

  /** Its kernel has the VIP, nobody else's has, its agent says MASTER, and the client is answered. */
  async #holds(name: NodeName, limitMs: number): Promise<void> {
    const { lab, ownership, vip } = this.#cluster;
    await lab.until(
      async () => {
        const holders = await ownership.holders(vip);
        if (holders.join() !== name) throw new Error(`VIP on ${holders.join(" and ") || "nobody"}`);
        const state = (await this.#cluster.node(name).status())?.election?.state;
        if (state !== "MASTER") throw new Error(`${name} says ${state ?? "nothing"}`);
        const last = this.#since(0).findLast((attempt) => attempt.sentMs < monotonicMs() - 50);
        return last?.ok === true;
      },
      limitMs,
      `${name} holds the VIP alone and serves`,
    );
  }

  /** No watch of another server than `name` has ended, and each goes on hearing changes. */
  async #othersLive(name: NodeName): Promise<void> {
    const others = () =>
      (this.#cluster.clients?.watches(monotonicMs()) ?? []).filter(({ server }) => server !== name);
    await this.#cluster.lab.until(
      () => others().length > 0 && others().every(({ state }) => state === "alive"),
      HEARD_MS,
      `the watches of other servers than ${name} live on`,
    );
  }

  async #isFastPath(name: NodeName): Promise<boolean> {
    return (await this.#cluster.node(name).status())?.fastPath?.mode === "fast-path";
  }

  async #gradeOnHolder(holder: NodeName, backend: NodeName): Promise<string | undefined> {
    const ip = this.#cluster.node(backend).host.ipv4;
    const status = await this.#cluster.node(holder).status();
    return status?.balancer.backends.find(({ host }) => host === ip)?.grade;
  }

  #since(fromMs: number): readonly Attempt[] {
    return (this.#cluster.clients?.attempts() ?? []).filter((attempt) => attempt.sentMs >= fromMs);
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
