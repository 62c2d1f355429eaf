/**
 * Plays the episodes of a plan on a real cluster, and writes down when each fault began and what was so then.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { BUNDLE } from "../lab/cluster.ts";
import type { Cluster, ClusterNode } from "../lab/cluster.ts";
import { moveTo } from "../lab/fast-path-cluster.ts";
import { flap } from "../lab/flapping.ts";
import { lose } from "../lab/on-the-wire.ts";
import { bundleOfAnotherVersion } from "../lab/other-version.ts";
import { openClients, startTicker } from "../lab/watchers.ts";
import type { Clients } from "../lab/watchers.ts";
import { monotonicMs, sleep } from "../support/lab/clock.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import { seenBy } from "../support/lab/ticker.ts";
import type { Ticker } from "../support/lab/ticker.ts";
import type { FaultKind } from "./bounds.ts";
import type { PlayedEpisode, PlayedFault, WatchOutcome } from "./judge.ts";
import { describeEpisode } from "./plan.ts";
import type { Episode, NodeName, PlannedFault } from "./plan.ts";
import type { Prober } from "./prober.ts";
import type { WallClock } from "./wall-clock.ts";

/** So long a cluster may take to be well again: a node whose link flapped waits, servers start. */
const WELL_AGAIN_MS = 90_000;
const LOOK_EVERY_MS = 300;
/** After a move a candidate needs a second until it has proof. */
const PROOF_WAIT_MS = 5_000;
const STARTED_MS = 30_000;
/**
 * The kernel keeps a killed agent's address for 2.5 s at least. A machine that takes nearly as long to start
 * a process plays another fault than the planned one.
 */
const RESTARTED_MS = 2_000;
const WATCHES = 6;
const REQUESTS = 3;
const TICK_MS = 200;
/** How late an event may be on a machine that does many other things. */
const LATE_MS = 1_500;

type Heal = () => Promise<void>;

export class Player {
  readonly #cluster: Cluster;
  readonly #ownership: OwnershipSampler;
  readonly #prober: Prober;
  readonly #clocks: ReadonlyMap<string, WallClock>;
  /** Those that last. */
  readonly #now = new Set<PlannedFault>();
  #otherBundle: string | undefined;

  /** @param clocks by node; empty where clocks cannot be stepped */
  constructor(
    cluster: Cluster,
    ownership: OwnershipSampler,
    prober: Prober,
    clocks: ReadonlyMap<string, WallClock>,
  ) {
    this.#cluster = cluster;
    this.#ownership = ownership;
    this.#prober = prober;
    this.#clocks = clocks;
  }

  /** Settings of that node's agents. */
  environment(node: ClusterNode): Readonly<Record<string, string>> {
    return this.#clocks.get(node.name)?.environment() ?? {};
  }

  /** Waits until the cluster is well. Answers why it is not in the end; undefined when it is. */
  async well(): Promise<string | undefined> {
    const fromMs = monotonicMs();
    let reason: string | undefined;
    do {
      reason = await this.#unwell(fromMs).catch(firstLine);
      if (reason === undefined) return undefined;
      await sleep(LOOK_EVERY_MS);
    } while (monotonicMs() < fromMs + WELL_AGAIN_MS);
    return reason;
  }

  /** Never rejects: what goes wrong is the episode's problem. */
  async play(episode: Episode): Promise<PlayedEpisode> {
    const begunMs = monotonicMs();
    const faults: PlayedFault[] = [];
    const failed = (error: unknown): PlayedEpisode => ({
      title: describeEpisode(episode),
      startMs: begunMs,
      endMs: monotonicMs(),
      faults,
      watches: undefined,
      problem: firstLine(error),
    });
    return this.#play(episode, faults).catch(failed);
  }

  /** @param faults gets each as it begins */
  async #play(episode: Episode, faults: PlayedFault[]): Promise<PlayedEpisode> {
    const { vips, client } = this.#cluster;
    await this.#giveVipTo(episode.holder);
    await using ticker = await startTicker(this.#cluster, this.#cluster.node(episode.healthy), TICK_MS);
    const vip = vips[episode.index % vips.length] ?? this.#cluster.vip;
    const wanted = { watches: WATCHES, requests: REQUESTS, vip };
    await using clients = await openClients(this.#cluster, client, wanted);
    await sleep(episode.calmMs);
    await this.#waitForProof(episode.holder);
    const startMs = monotonicMs();
    const problems: string[] = [];
    await Promise.all(
      episode.faults.map(async (fault) => {
        await sleep(fault.afterMs);
        await this.#playFault(fault, faults).catch((error: unknown) => problems.push(firstLine(error)));
      }),
    );
    const problem = problems.length > 0 ? problems.join("; ") : await this.well();
    const endMs = monotonicMs();
    return {
      title: describeEpisode(episode),
      startMs,
      endMs,
      faults: faults.toSorted((one, other) => one.startMs - other.startMs),
      watches: problem === undefined ? await watchOutcome(clients, ticker, endMs) : undefined,
      problem,
    };
  }

  /**
   * What a cluster without a fault has and this one lacks; undefined when it has all.
   * @param fromMs what the prober saw before then is old
   */
  async #unwell(fromMs: number): Promise<string | undefined> {
    this.#prober.read();
    const names = this.#cluster.nodes.map(({ name }) => name);
    for (const name of names) {
      const last = this.#prober.direct.findLast((answer) => answer.name === name);
      if (last === undefined || last.sentMs < fromMs) return `the API server of ${name} was not asked yet`;
      if (last.outcome !== "ok") return `the API server of ${name} answers ${last.outcome}`;
    }
    let masters = 0;
    for (const node of this.#cluster.nodes) {
      if (node.agent?.running !== true)
        return `the agent of ${node.name} has ended: ${JSON.stringify(node.agent?.exit)}`;
      const { election, fastPath } = await node.status();
      const state = election?.state ?? "none";
      const calm = state === "FAULT" && election?.faults.every((fault) => fault === "unstable") === true;
      if (state === "MASTER" && election?.confirmed === true) masters += 1;
      else if (state !== "BACKUP" && !calm) return `${node.name} is ${state}: ${election?.reason ?? ""}`;
      const takers = fastPath?.nodes.filter(({ slots }) => slots > 0).map((peer) => peer.node) ?? [];
      if (fastPath?.mode !== "fast-path" || names.some((name) => !takers.includes(name)))
        return `the fast path of ${node.name} (${fastPath?.mode ?? "none"}) leads to ${takers.join(" ") || "nobody"}`;
    }
    if (masters !== 1) return `${masters} agents are MASTER`;
    for (const vip of this.#cluster.vips) {
      const holders = await this.#ownership.holders(vip);
      if (holders.length !== 1) return `${vip} is bound on ${holders.join(" ") || "no node"}`;
    }
    return undefined;
  }

  /** A node that was unstable a moment ago does not take it; then it stays. */
  async #giveVipTo(name: NodeName): Promise<void> {
    const node = this.#cluster.node(name);
    if ((await node.state()) === "MASTER") return;
    await moveTo(this.#cluster, node).catch(() => {});
    await this.#cluster.kubectl([
      "annotate",
      "-n",
      "kube-system",
      "lease",
      "leasehold",
      "leasehold.dev/move-to-",
    ]);
  }

  async #waitForProof(name: NodeName): Promise<void> {
    const endMs = monotonicMs() + PROOF_WAIT_MS;
    while (monotonicMs() < endMs && !(await this.#proofAgainst(this.#cluster.node(name))))
      await sleep(LOOK_EVERY_MS);
  }

  /**
   * Some other candidate would take `node`'s silence for proof of death: it and all others that could claim
   * say so, and there is a third host, whose answer shows that the link works.
   */
  async #proofAgainst(node: ClusterNode): Promise<boolean> {
    const suffers = (name: string, kinds: ReadonlySet<FaultKind>): boolean =>
      [...this.#now].some((fault) => fault.node === name && kinds.has(fault.kind));
    const heard = this.#cluster.others(node).filter(({ name }) => !suffers(name, WITHOUT_LINK));
    const asked = heard.filter(({ name }) => !suffers(name, WITHOUT_AGENT));
    const statuses = await Promise.all(asked.map((other) => other.status().catch(() => undefined)));
    const candidates = statuses.filter((status) => status?.election?.state === "BACKUP");
    return (
      heard.length > 1 &&
      candidates.length > 0 &&
      candidates.every((status) => status?.wire?.proof === "ready")
    );
  }

  async #playFault(fault: PlannedFault, played: PlayedFault[]): Promise<void> {
    const node = this.#cluster.node(fault.node);
    const proof = await this.#proofAgainst(node);
    const holders = await this.#ownership.holders(this.#cluster.vip);
    const hadVip =
      holders.includes(fault.node) || (fault.other !== undefined && holders.includes(fault.other));
    const { kind, other } = fault;
    const facts = { kind, node: fault.node, other, hadVip, proof, startMs: monotonicMs() };
    const place = played.push(facts) - 1;
    this.#now.add(fault);
    try {
      if (fault.kind === "agent-restarted") {
        const restartMs = await this.#restart(node);
        if (restartMs > RESTARTED_MS) played[place] = { ...facts, kind: "agent-killed" };
        return;
      }
      const heal = await this.#begin(fault, node);
      await sleep(fault.forMs);
      await heal();
    } finally {
      this.#now.delete(fault);
    }
  }

  async #begin(fault: PlannedFault, node: ClusterNode): Promise<Heal> {
    const { lab, plane } = this.#cluster;
    const { apiServer, etcd } = node.plane;
    const other = fault.other === undefined ? undefined : this.#cluster.node(fault.other);
    switch (fault.kind) {
      case "vip-moved":
        await this.#giveVipTo(fault.node);
        return nothing;
      case "agent-stopped":
        await node.endAgent("SIGTERM");
        return () => this.#start(node);
      case "agent-restarted":
        throw new Error("a restart has no end");
      case "agent-killed":
        await node.endAgent("SIGKILL");
        return () => this.#start(node);
      case "agent-frozen":
        node.agent?.stop();
        return async () => void node.agent?.cont();
      case "agent-upgraded":
        await this.#upgrade(node, (this.#otherBundle ??= bundleOfAnotherVersion(this.#cluster)));
        return () => this.#upgrade(node, BUNDLE);
      case "node-lost": {
        const dark = await lose(this.#cluster, node);
        return async () => {
          await this.#forget(node);
          await dark.heal();
          etcd.continue();
          apiServer.continue();
          await this.#start(node);
        };
      }
      case "link-down":
        await node.host.link.down();
        return () => node.host.link.up();
      case "link-flapping":
        await flap(node, fault.forMs);
        return nothing;
      case "node-isolated": {
        const cut = await lab.isolate(node.host);
        return () => cut.heal();
      }
      case "link-cut": {
        if (other === undefined) throw new Error("a cut is between two nodes");
        const cut = await lab.cut(node.host, other.host, { oneWay: fault.oneWay });
        return () => cut.heal();
      }
      case "api-killed":
        await apiServer.kill();
        return () => apiServer.start();
      case "api-hung":
        apiServer.stop();
        return async () => apiServer.continue();
      case "api-refused":
        return refuse(node, [6443]);
      case "apis-down":
        await Promise.all(plane.nodes.map((one) => one.apiServer.kill()));
        return async () => void (await Promise.all(plane.nodes.map((one) => one.apiServer.start())));
      case "etcd-killed":
        await etcd.kill();
        return () => etcd.start();
      case "etcd-hung":
        etcd.stop();
        return async () => etcd.continue();
      case "etcd-refused":
        return refuse(node, [2379, 2380]);
      case "quorum-lost": {
        const members = [etcd, ...(other === undefined ? [] : [other.plane.etcd])];
        await Promise.all(members.map((member) => member.kill()));
        return async () => void (await Promise.all(members.map((member) => member.start())));
      }
      case "rules-flushed":
        await node.host.run(["nft", "flush", "ruleset"]);
        return nothing;
      case "address-deleted":
        for (const vip of this.#cluster.vips)
          await node.host.run(["sh", "-c", `ip addr del ${vip} dev eth0 2>/dev/null; true`]);
        return nothing;
      case "clock-stepped": {
        const clock = this.#clocks.get(node.name);
        if (clock === undefined) throw new Error("no clock can be stepped here");
        clock.stepTo(fault.stepHours);
        return async () => clock.stepTo(0);
      }
    }
  }

  async #start(node: ClusterNode): Promise<void> {
    await node.startAgent(this.environment(node));
  }

  /** Answers how long it took until the new agent serves, ms. */
  async #restart(node: ClusterNode): Promise<number> {
    const fromMs = monotonicMs();
    await node.endAgent("SIGKILL");
    await this.#start(node);
    await this.#cluster.lab.until(
      async () => (await node.get("/livez")).status === 200,
      STARTED_MS,
      `the agent of ${node.name} is live`,
    );
    return monotonicMs() - fromMs;
  }

  async #upgrade(node: ClusterNode, bundle: string): Promise<void> {
    await node.endAgent("SIGTERM");
    node.bundle = bundle;
    await this.#start(node);
    await this.#cluster.lab.until(
      async () => (await node.get("/readyz")).status === 200,
      STARTED_MS,
      `the agent of ${node.name} is ready`,
    );
  }

  /** What a machine forgets without power: its tmpfs, its addresses and its rules. */
  async #forget(node: ClusterNode): Promise<void> {
    rmSync(join(node.host.stateDirectory, "state.json"), { force: true });
    await this.#cluster.forget(node);
    await node.host.run(["nft", "flush", "ruleset"]);
  }
}

async function nothing(): Promise<void> {}

/** The lab's errors show all logs' ends after it. */
function firstLine(error: unknown): string {
  return String(error).split("\n")[0] ?? "";
}

const WITHOUT_LINK: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "node-lost",
  "link-down",
  "link-flapping",
  "node-isolated",
]);
const WITHOUT_AGENT: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "agent-stopped",
  "agent-restarted",
  "agent-killed",
  "agent-frozen",
  "agent-upgraded",
  "node-lost",
]);

/** A firewall that refuses these ports from everywhere, loopback included. */
async function refuse(node: ClusterNode, ports: readonly number[]): Promise<Heal> {
  const table = `inet refused-${ports[0]}`;
  await node.host.run(["nft", "-f", "-"], {
    input: `table ${table} {
      chain in {
        type filter hook input priority -10; tcp dport { ${ports.join(", ")} } reject with tcp reset;
      }
    }\n`,
  });
  // Another fault may have flushed it meanwhile.
  return async () => void (await node.host.run(["sh", "-c", `nft delete table ${table} 2>/dev/null; true`]));
}

async function watchOutcome(clients: Clients, ticker: Ticker, untilMs: number): Promise<WatchOutcome> {
  await sleep(LATE_MS);
  const ticks = ticker.ticks().filter(({ t }) => t <= untilMs);
  return {
    open: WATCHES + REQUESTS,
    lost: clients.watches.lost().length + clients.requests.lost().length,
    deaf: clients.watches.alive().filter((watch) => seenBy(watch, ticks).missed > 0).length,
  };
}
