/** Looks at the cluster a few times a second and tells what has changed. Steers nothing. */
import type { FastPathStatus } from "../../src/fastpath/status.ts";
import { monotonicMs, sleep } from "../../test/support/lab/clock.ts";
import type { Attempt } from "../../test/support/lab/probe.ts";
import type { DemoCluster, NodeName, WatchView } from "./cluster.ts";
import { explain, explainFault } from "./explain.ts";

export interface NodeView {
  readonly name: NodeName;
  readonly priority: number;
  /** undefined: the agent does not run, or does not answer. */
  readonly state: string | undefined;
  readonly effectivePriority: number | undefined;
  /** Why it is in FAULT. */
  readonly faults: readonly string[];
  readonly hasPower: boolean;
  /** Its kernel has the VIP, whatever its agent believes. */
  readonly hasVip: boolean;
  readonly apiServes: boolean;
  /** Who balances, in words; undefined while the agent has not decided. */
  readonly fastPath: string | undefined;
  readonly backends: readonly { readonly id: string; readonly grade: string }[];
}

export interface DemoEvent {
  readonly atMs: number;
  readonly text: string;
}

export interface Snapshot {
  readonly startedMs: number;
  readonly nowMs: number;
  readonly vip: string;
  /** Where the clients connect to; undefined before they start. */
  readonly endpoint: string | undefined;
  readonly nodes: readonly NodeView[];
  /** From the first one that was answered. */
  readonly attempts: readonly Attempt[];
  readonly watches: readonly WatchView[];
  /** What needs an explanation on the screen now. */
  readonly notes: readonly string[];
  readonly events: readonly DemoEvent[];
}

const EVERY_MS = 200;

function fastPathTextOf(fastPath: FastPathStatus | null | undefined): string | undefined {
  if (fastPath === null || fastPath === undefined || fastPath.mode === "starting") return undefined;
  return fastPath.mode === "fast-path" ? "fast path: the kernel balances" : `proxy mode: ${fastPath.reason}`;
}

export class Observer {
  readonly events: DemoEvent[] = [];
  readonly #cluster: DemoCluster;
  readonly #startedMs = monotonicMs();
  readonly #show: (snapshot: Snapshot) => void;
  #nodes: readonly NodeView[] = [];
  #notes: readonly string[] = [];
  /** As last said. */
  #fastPath: string | undefined;
  #ended = false;

  /** `show` gets each snapshot, five a second. */
  constructor(cluster: DemoCluster, show: (snapshot: Snapshot) => void) {
    this.#cluster = cluster;
    this.#show = show;
  }

  say(text: string): void {
    this.events.push({ atMs: monotonicMs(), text });
  }

  snapshot(): Snapshot {
    const { vip, clients } = this.#cluster;
    const nowMs = monotonicMs();
    return {
      startedMs: this.#startedMs,
      nowMs,
      vip,
      endpoint: clients?.endpoint,
      nodes: this.#nodes,
      attempts: clients?.attempts() ?? [],
      watches: clients?.watches(nowMs) ?? [],
      notes: this.#notes,
      events: this.events,
    };
  }

  /** Looks until {@link end} is called. */
  async run(): Promise<void> {
    while (!this.#ended) {
      const holders = await this.#cluster.ownership.holders(this.#cluster.vip);
      const nodes = await Promise.all(
        this.#cluster.nodes.map(async (node): Promise<NodeView> => {
          const status = await node.status();
          return {
            name: node.name,
            priority: node.priority,
            state: status?.election?.state,
            effectivePriority: status?.election?.effectivePriority,
            faults: status?.election?.faults ?? [],
            hasPower: node.hasPower,
            hasVip: holders.includes(node.name),
            apiServes: node.apiServes,
            fastPath: fastPathTextOf(status?.fastPath),
            backends: status?.balancer.backends.map(({ id, grade }) => ({ id, grade })) ?? [],
          };
        }),
      );
      for (const node of nodes)
        this.#compare(
          this.#nodes.find(({ name }) => name === node.name),
          node,
        );
      const notes = explain(nodes);
      for (const note of notes) if (!this.#notes.includes(note)) this.say(note);
      this.#notes = notes;
      this.#nodes = nodes;
      this.#show(this.snapshot());
      await sleep(EVERY_MS);
    }
  }

  end(): void {
    this.#ended = true;
  }

  #compare(before: NodeView | undefined, now: NodeView): void {
    if (before?.state !== now.state && now.state !== undefined)
      this.say(
        `${now.name}: ${before?.state ?? "starts as"}${before?.state === undefined ? "" : " ->"} ${now.state}${now.state === "FAULT" ? `: ${explainFault(now)}` : ""}`,
      );
    if (before !== undefined && before.hasVip !== now.hasVip)
      this.say(`${now.name}: ${now.hasVip ? "has" : "no longer has"} the VIP`);
    // Only the holder's balancer has clients.
    if (before === undefined || !now.hasVip) return;
    if (now.fastPath !== undefined && now.fastPath !== this.#fastPath) {
      this.#fastPath = now.fastPath;
      this.say(`${now.name}: ${now.fastPath}`);
    }
    for (const { id, grade } of now.backends) {
      const was = before.backends.find((backend) => backend.id === id)?.grade;
      if (was !== undefined && was !== grade) this.say(`${now.name}: backend ${id} is ${grade}`);
    }
  }
}
