/**
 * What a cluster pays for high availability while nothing happens: processor time and memory of all that one
 * node runs for it, with a real control plane and its own traffic beside it; ours as it comes and without
 * proof of death, and keepalived with HAProxy.
 */
import { createCluster } from "../../lab/cluster.ts";
import type { Cluster, ClusterNode } from "../../lab/cluster.ts";
import { fastPathReady } from "../../lab/fast-path-cluster.ts";
import { provable } from "../../lab/on-the-wire.ts";
import { monotonicMs, sleep } from "../../support/lab/clock.ts";
import { versionsOf } from "../anchor.ts";
import { removeAddress } from "../failover/contenders.ts";
import { DOCUMENTED, Keepalived, VRRP3 } from "../failover/keepalived.ts";
import type { Vrrp } from "../failover/keepalived.ts";
import { family, processOf } from "../processes.ts";
import type { ProcessFigures } from "../processes.ts";
import type { Benchmark, Plan, Sample } from "../report.ts";

const OURS = "leasehold";
const UNPROVEN = "without proof";
const ANCHOR = "keepalived";
const QUICK = "keepalived VRRPv3 0.1 s";

const BACKUP = "CPU, BACKUP";
const MASTER = "CPU, MASTER";
const MEMORY = "memory, BACKUP";
const PROOF = "CPU for proof, BACKUP";

/** Until what happens at a start is over: first checks, the fast path's rules, the compiler's work. */
const WARM_MS = 10_000;
const MEASURED_MS = 30_000;

/** Runs on every node. */
interface Resident {
  start(): Promise<ClusterNode>;
  pids(node: ClusterNode): readonly number[];
  end(): Promise<void>;
}

const SUBJECTS: ReadonlyMap<string, (cluster: Cluster) => Resident> = new Map([
  [ANCHOR, (cluster: Cluster) => keepalived(cluster, "10.77.0.101", 7443, DOCUMENTED)],
  [QUICK, (cluster: Cluster) => keepalived(cluster, "10.77.0.103", 7444, VRRP3)],
  [UNPROVEN, (cluster: Cluster) => leasehold(cluster, { LEASEHOLD_PROBE_INTERVAL: "0s" })],
  [OURS, (cluster: Cluster) => leasehold(cluster, {})],
]);

export const idle: Benchmark = {
  name: "idle",
  summary:
    "processor time and memory per node while nothing happens, with and without proof of death, beside keepalived and HAProxy",
  defaultRounds: 5,
  subjects: [...SUBJECTS.keys()],
  ours: OURS,
  anchor: ANCHOR,
  metrics: [
    { name: BACKUP, unit: "%", decimals: 2 },
    { name: MASTER, unit: "%", decimals: 2 },
    { name: PROOF, unit: "%", decimals: 2, goal: { kind: "at-most", value: 0.5 } },
    { name: MEMORY, unit: "MiB", decimals: 0 },
  ],
  anchorVersion: () => versionsOf(["keepalived", "haproxy", "curl"]),
  needs: "control plane",
  run,
};

async function run({ rounds, subjects }: Plan, record: (sample: Sample) => void): Promise<void> {
  await using cluster = await createCluster();
  const turns = [...SUBJECTS]
    .filter(([name]) => subjects.includes(name))
    .map(([name, make]) => ({ name, resident: make(cluster) }));
  for (let round = 1; round <= rounds; round++) {
    const backups = new Map<string, number>();
    for (const { name, resident } of turns) {
      const { backup, master, memoryMib } = await measure(cluster, resident);
      backups.set(name, backup);
      for (const [metric, value] of [
        [BACKUP, backup],
        [MASTER, master],
        [MEMORY, memoryMib],
      ] as const)
        record({ round, subject: name, metric, value });
    }
    const [proven, unproven] = [backups.get(OURS), backups.get(UNPROVEN)];
    if (proven !== undefined && unproven !== undefined)
      record({ round, subject: OURS, metric: PROOF, value: proven - unproven });
    turns.push(...turns.splice(0, 1)); // nobody is always the first
  }
}

/** Alone: what the others would cost is no part of it. */
async function measure(
  cluster: Cluster,
  resident: Resident,
): Promise<{ readonly backup: number; readonly master: number; readonly memoryMib: number }> {
  const holder = await resident.start();
  await sleep(WARM_MS);
  // A check that runs at this moment ends before the next look: only those that live on count.
  const residents = new Map(cluster.nodes.map((node) => [node, resident.pids(node)]));
  const cpuMs = (node: ClusterNode): number => sum(figures(residents.get(node)).map((one) => one.cpuMs));
  const before = new Map(cluster.nodes.map((node) => [node, cpuMs(node)]));
  const fromMs = monotonicMs();
  await sleep(MEASURED_MS);
  const forMs = monotonicMs() - fromMs;
  const share = (node: ClusterNode): number =>
    ((cpuMs(node) - (before.get(node) ?? Number.NaN)) / forMs) * 100;
  const backups = cluster.others(holder);
  const mean = (of: (node: ClusterNode) => number): number => sum(backups.map(of)) / backups.length;
  const result = {
    backup: mean(share),
    master: share(holder),
    memoryMib: mean((node) => sum(figures(residents.get(node)).map((one) => one.memoryKib)) / 1024),
  };
  await resident.end();
  return result;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function figures(pids: readonly number[] | undefined): readonly ProcessFigures[] {
  return (pids ?? []).flatMap((pid) => {
    const one = processOf(pid);
    return one === undefined ? [] : [one];
  });
}

function leasehold(cluster: Cluster, settings: Readonly<Record<string, string>>): Resident {
  return {
    async start() {
      cluster.settings = settings;
      const holder = await cluster.startAgents();
      await fastPathReady(cluster);
      if (settings["LEASEHOLD_PROBE_INTERVAL"] === undefined) await provable(cluster, holder);
      return holder;
    },
    pids: ({ agent }) => (agent === undefined ? [] : family(agent.pid)),
    end: () => cluster.reset(),
  };
}

function keepalived(cluster: Cluster, vip: string, port: number, vrrp: Vrrp): Resident {
  const hosts = cluster.nodes.map(({ host }) => host);
  const set = new Keepalived(cluster.lab, hosts, {
    vip,
    vrrp,
    port,
    servers: hosts.map(({ ipv4 }) => `${ipv4}:6443`),
  });
  return {
    async start() {
      await set.start();
      return cluster.node(await set.settled());
    },
    pids: ({ name }) => set.pids(name).flatMap(family),
    async end() {
      for (const node of cluster.nodes) {
        await set.kill(node.name);
        await removeAddress(node, vip);
      }
    },
  };
}
