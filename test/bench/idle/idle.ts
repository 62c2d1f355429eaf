/**
 * What a cluster pays for high availability while nothing happens: processor time and memory of all that one
 * node runs for it, with a real control plane and its own traffic beside it; ours as it comes and without
 * proof of death, keepalived with HAProxy, and kube-vip where KUBE_VIP names it.
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
import { KUBE_VIP_DEFAULTS, KUBE_VIP_PROGRAM, KubeVip } from "../kube-vip.ts";
import { family, processOf } from "../processes.ts";
import type { ProcessFigures } from "../processes.ts";
import type { Benchmark, Metric, Plan, Sample } from "../report.ts";

const OURS = "leasehold";
const UNPROVEN = "without proof";
const ANCHOR = "keepalived";
const QUICK = "keepalived VRRPv3 0.1 s";
const KUBE_VIP = "kube-vip";

const ROLES = ["BACKUP", "MASTER"] as const;
type Role = (typeof ROLES)[number];

const CPU = "CPU";
const RESIDENT = "resident memory";
const ANONYMOUS = "anonymous memory";
const PROPORTIONAL = "proportional memory";
const WAKE_UPS = "wake-ups";
const PROOF = "CPU for proof, BACKUP";

/** Until what happens at a start is over: first checks, the fast path's rules, the compiler's work. */
const WARM_MS = 10_000;
const MEASURED_MS = 30_000;

type Figures = Readonly<
  Record<typeof CPU | typeof WAKE_UPS | typeof RESIDENT | typeof ANONYMOUS | typeof PROPORTIONAL, number>
>;

/** Runs on every node. */
interface Resident {
  start(): Promise<ClusterNode>;
  pids(node: ClusterNode): readonly number[];
  end(): Promise<void>;
}

const SUBJECTS: ReadonlyMap<string, (cluster: Cluster) => Resident> = new Map([
  ...(KUBE_VIP_PROGRAM === undefined
    ? []
    : [[KUBE_VIP, (cluster: Cluster) => kubeVip(cluster, "10.77.0.102", KUBE_VIP_PROGRAM ?? "")] as const]),
  [ANCHOR, (cluster: Cluster) => keepalived(cluster, "10.77.0.101", 7443, DOCUMENTED)],
  [QUICK, (cluster: Cluster) => keepalived(cluster, "10.77.0.103", 7444, VRRP3)],
  [UNPROVEN, (cluster: Cluster) => leasehold(cluster, { LEASEHOLD_PROBE_INTERVAL: "0s" })],
  [OURS, (cluster: Cluster) => leasehold(cluster, {})],
]);

export const idle: Benchmark = {
  name: "idle",
  summary:
    "processor time, wake-ups and memory per node while nothing happens, with and without proof of death, beside keepalived and HAProxy, and kube-vip",
  defaultRounds: 5,
  subjects: [...SUBJECTS.keys()],
  ours: OURS,
  anchor: ANCHOR,
  metrics: [
    ...forRoles(CPU, "%", 2, 0.6),
    { name: PROOF, unit: "%", decimals: 2, goal: { kind: "at-most", value: 0.5 } },
    ...forRoles(WAKE_UPS, "per s", 1),
    ...forRoles(RESIDENT, "MiB", 0, 80),
    ...forRoles(ANONYMOUS, "MiB", 0, 30),
    ...forRoles(PROPORTIONAL, "MiB", 0),
  ],
  anchorVersion: () => versionsOf(["keepalived", "haproxy", "curl"]),
  needs: "control plane",
  run,
};

/** One metric for each role, with the same goal for both. */
function forRoles(name: string, unit: string, decimals: number, atMost?: number): readonly Metric[] {
  return ROLES.map((role) => ({
    name: `${name}, ${role}`,
    unit,
    decimals,
    ...(atMost === undefined ? {} : { goal: { kind: "at-most", value: atMost } as const }),
  }));
}

async function run({ rounds, subjects }: Plan, record: (sample: Sample) => void): Promise<void> {
  await using cluster = await createCluster();
  const turns = [...SUBJECTS]
    .filter(([name]) => subjects.includes(name))
    .map(([name, make]) => ({ name, resident: make(cluster) }));
  for (let round = 1; round <= rounds; round++) {
    const backups = new Map<string, number>();
    for (const { name, resident } of turns) {
      const figuresOf = await measure(cluster, resident);
      for (const role of ROLES) {
        for (const [metric, value] of Object.entries(figuresOf[role]))
          record({ round, subject: name, metric: `${metric}, ${role}`, value });
      }
      backups.set(name, figuresOf.BACKUP[CPU]);
    }
    const [proven, unproven] = [backups.get(OURS), backups.get(UNPROVEN)];
    if (proven !== undefined && unproven !== undefined)
      record({ round, subject: OURS, metric: PROOF, value: proven - unproven });
    turns.push(...turns.splice(0, 1)); // nobody is always the first
  }
}

/** Alone: what the others would cost is no part of it. */
async function measure(cluster: Cluster, resident: Resident): Promise<Readonly<Record<Role, Figures>>> {
  const holder = await resident.start();
  await sleep(WARM_MS);
  // A check that runs at this moment ends before the next look: only those that live on count.
  const residents = new Map(cluster.nodes.map((node) => [node, resident.pids(node)]));
  const before = new Map(cluster.nodes.map((node) => [node, total(residents.get(node))]));
  const fromMs = monotonicMs();
  await sleep(MEASURED_MS);
  const forMs = monotonicMs() - fromMs;
  const ofNode = (node: ClusterNode): Figures => {
    const now = total(residents.get(node));
    const then = before.get(node) ?? now;
    return {
      [CPU]: ((now.cpuMs - then.cpuMs) / forMs) * 100,
      [WAKE_UPS]: ((now.wakeUps - then.wakeUps) / forMs) * 1000,
      [RESIDENT]: now.memoryKib / 1024,
      [ANONYMOUS]: now.anonymousKib / 1024,
      [PROPORTIONAL]: now.proportionalKib / 1024,
    };
  };
  const backups = cluster.others(holder).map(ofNode);
  const mean = (metric: keyof Figures): number =>
    backups.reduce((sum, figures) => sum + figures[metric], 0) / backups.length;
  const result = {
    MASTER: ofNode(holder),
    BACKUP: {
      [CPU]: mean(CPU),
      [WAKE_UPS]: mean(WAKE_UPS),
      [RESIDENT]: mean(RESIDENT),
      [ANONYMOUS]: mean(ANONYMOUS),
      [PROPORTIONAL]: mean(PROPORTIONAL),
    },
  };
  await resident.end();
  return result;
}

/** Of all processes of a subject on a node. */
function total(pids: readonly number[] | undefined): ProcessFigures {
  const living = (pids ?? []).flatMap((pid) => processOf(pid) ?? []);
  const sum = (figure: keyof ProcessFigures): number => living.reduce((sum, one) => sum + one[figure], 0);
  return {
    cpuMs: sum("cpuMs"),
    memoryKib: sum("memoryKib"),
    anonymousKib: sum("anonymousKib"),
    proportionalKib: sum("proportionalKib"),
    wakeUps: sum("wakeUps"),
  };
}

function leasehold(cluster: Cluster, settings: Readonly<Record<string, string>>): Resident {
  return {
    async start() {
      // The lab's agents log all they do, which is not how the agent comes.
      cluster.settings = { LEASEHOLD_LOG_LEVEL: "info", ...settings };
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

function kubeVip(cluster: Cluster, vip: string, binary: string): Resident {
  const set = new KubeVip(cluster, { vip, binary, lease: KUBE_VIP_DEFAULTS });
  return {
    async start() {
      await Promise.all(cluster.nodes.map((node) => set.start(node)));
      return set.holder();
    },
    pids: (node) => set.pids(node).flatMap(family),
    async end() {
      for (const node of cluster.nodes) {
        await set.end(node, "SIGKILL");
        await removeAddress(node, vip);
      }
      await cluster.kubectl(["delete", "-n", "kube-system", "lease", "plndr-cp-lock", "--ignore-not-found"]);
    },
  };
}
