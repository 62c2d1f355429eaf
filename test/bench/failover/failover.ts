/**
 * Failover as a client sees it, beside keepalived with HAProxy and kube-vip on the same nodes: a new
 * connection every 5 ms to each one's own address, and in each round everything that may happen to its
 * holder, once to each.
 */
import { createCluster } from "../../lab/cluster.ts";
import type { Cluster, ClusterNode } from "../../lab/cluster.ts";
import { twice } from "../again.ts";
import { versionsOf } from "../anchor.ts";
import { KUBE_VIP_PROGRAM } from "../kube-vip.ts";
import { takesPart } from "../report.ts";
import type { Benchmark, Plan, Sample } from "../report.ts";
import { keepalived, kubeVip, leasehold } from "./contenders.ts";
import type { Contender } from "./contenders.ts";
import { DOCUMENTED, VRRP3 } from "./keepalived.ts";
import { allowsRealTime } from "./observe.ts";
import type { Rig } from "./observe.ts";
import { metricName, metricsOf, SCENARIOS } from "./scenarios.ts";
import type { Scenario } from "./scenarios.ts";

const OURS = "leasehold";
const ANCHOR = "keepalived";
const QUICK = "keepalived VRRPv3 0.1 s";
const KUBE_VIP = "kube-vip";

/** In the order of the columns. */
const SUBJECTS: ReadonlyMap<string, (cluster: Cluster) => Contender> = subjectsHere(KUBE_VIP_PROGRAM);

function subjectsHere(
  kubeVipProgram: string | undefined,
): ReadonlyMap<string, (cluster: Cluster) => Contender> {
  const subjects = new Map<string, (cluster: Cluster) => Contender>();
  subjects.set(ANCHOR, (cluster) =>
    keepalived(cluster, { name: ANCHOR, vip: "10.77.0.101" }, 7443, DOCUMENTED),
  );
  subjects.set(QUICK, (cluster) => keepalived(cluster, { name: QUICK, vip: "10.77.0.103" }, 7444, VRRP3));
  if (kubeVipProgram !== undefined)
    subjects.set(KUBE_VIP, (cluster) =>
      kubeVip(cluster, { name: KUBE_VIP, vip: "10.77.0.102" }, kubeVipProgram),
    );
  return subjects.set(OURS, (cluster) => leasehold(cluster, OURS));
}

export const failover: Benchmark = {
  name: "failover",
  summary:
    "what a client sees when the holder stops, dies or loses its API server, beside keepalived and kube-vip",
  defaultRounds: 30,
  subjects: [...SUBJECTS.keys()],
  ours: OURS,
  anchor: ANCHOR,
  metrics: SCENARIOS.flatMap(metricsOf),
  scenarios: SCENARIOS.map(({ name }) => name),
  anchorVersion: () => versionsOf(["keepalived", "haproxy", "curl"]),
  needs: "control plane",
  run,
};

async function run(plan: Plan, record: (sample: Sample) => void): Promise<void> {
  const { rounds, subjects, scenarios } = plan;
  await using cluster = await createCluster();
  const contenders = [...SUBJECTS]
    .filter(([name]) => subjects.includes(name))
    .map(([, make]) => make(cluster));
  const newcomer = await cluster.lab.client("newcomer");
  const rig: Rig = {
    cluster,
    contenders,
    arp: await cluster.lab.captureArp(),
    realTime: await allowsRealTime(cluster),
    newcomer,
  };
  if (!rig.realTime)
    process.stderr.write("the client may not run in real time here: its pauses will be longer\n");
  const turns = [...contenders];
  for (let round = 1; round <= rounds; round++) {
    for (const scenario of SCENARIOS.filter(({ name }) => scenarios.includes(name))) {
      for (const contender of turns.filter(
        (each) => scenario.concerns(each) && takesPart(each.name, OURS, round, plan),
      )) {
        for (const { figure, value } of await twice(() => prepareAndPlay(rig, contender, scenario))) {
          record({ round, subject: contender.name, metric: metricName(figure, scenario.name), value });
        }
      }
    }
    turns.push(...turns.splice(0, 1)); // nobody is always the first
  }
}

interface Figure {
  readonly figure: string;
  readonly value: number;
}

async function prepareAndPlay(
  rig: Rig,
  contender: Contender,
  scenario: Scenario,
): Promise<readonly Figure[]> {
  const holder = await ready(rig, contender);
  const figures: Figure[] = [];
  await scenario.play(rig, contender, holder, (figure, value) => figures.push({ figure, value }));
  return figures;
}

/** Every program on every node runs, of the others too: none is to be at rest while another is measured. */
async function ready({ cluster, contenders }: Rig, contender: Contender): Promise<ClusterNode> {
  for (const { plane } of cluster.nodes)
    for (const program of [plane.etcd, plane.apiServer]) if (!program.running) await program.start();
  await cluster.plane.ready();
  await Promise.all(contenders.map((each) => each.start()));
  return contender.settled();
}
