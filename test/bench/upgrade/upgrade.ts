/**
 * All three API servers are restarted, one after the other, as `kubeadm upgrade` has kubelet do it: the manifest is
 * replaced, then the process gets SIGTERM, and 1.5 s after its end the next one starts. Clients ask all the while.
 */
import { createCluster } from "../../lab/cluster.ts";
import type { Cluster } from "../../lab/cluster.ts";
import { clientTls } from "../../lab/watchers.ts";
import { sleep } from "../../support/lab/clock.ts";
import { versionsOf } from "../anchor.ts";
import { KUBE_VIP_PROGRAM } from "../kube-vip.ts";
import {
  KEEPALIVED,
  KUBE_VIP,
  keepalivedAndHaproxy,
  kubeVip,
  LEASEHOLD,
  leasehold,
} from "../moves/planes.ts";
import type { Plane } from "../moves/planes.ts";
import { takesPart } from "../report.ts";
import type { Benchmark, Metric, Plan, Sample } from "../report.ts";
import { KINDS, startClients } from "./clients.ts";

const KEEPALIVED_VIP = "10.77.0.101";
const KUBE_VIP_VIP = "10.77.0.102";
const PER_KIND = 4;
const EVERY_MS = 50;
const REQUEST_TIMEOUT_MS = 10_000;
/**
 * From the change of the manifest to SIGTERM. kubelet is told of the change by inotify, as the agent is, and then
 * looks up the pod's state and asks the container runtime.
 */
const KUBELET_MS = 500;
/** From the end of a process to the start of the next one: the container is made. */
const RESTART_MS = 1_500;
/** kubeadm looks at the next node when this one's server is ready. HAProxy asks every 2 s and believes the second answer. */
const NEXT_NODE_MS = 6_000;

const metrics: readonly Metric[] = KINDS.flatMap((kind): readonly Metric[] => [
  { name: `${kind}: requests`, unit: "", decimals: 0 },
  { name: `${kind}: failed`, unit: "", decimals: 0, goal: { kind: "every-round-at-most", value: 0 } },
  { name: `${kind}: slowest`, unit: "ms", decimals: 0, goal: { kind: "every-round-at-most", value: 300 } },
]);

export const upgrade: Benchmark = {
  name: "upgrade",
  summary:
    "three real API servers restarted one after the other by manifest, with new, kept and HTTP/2 connections, beside keepalived with HAProxy",
  defaultRounds: 10,
  subjects: [KEEPALIVED, ...(KUBE_VIP_PROGRAM === undefined ? [] : [KUBE_VIP]), LEASEHOLD],
  ours: LEASEHOLD,
  anchor: KEEPALIVED,
  metrics,
  scenarios: ["all three"],
  anchorVersion: () => versionsOf(["keepalived", "haproxy"]),
  needs: "control plane",
  run,
};

async function run(plan: Plan, record: (sample: Sample) => void): Promise<void> {
  await using cluster = await createCluster();
  const all = [leasehold(cluster, 6443), keepalivedAndHaproxy(cluster, KEEPALIVED_VIP)];
  if (KUBE_VIP_PROGRAM !== undefined) all.push(kubeVip(cluster, KUBE_VIP_VIP, KUBE_VIP_PROGRAM));
  const planes = all.filter(({ name }) => plan.subjects.includes(name));
  for (let round = 1; round <= plan.rounds; round++) {
    for (const plane of planes.filter(({ name }) => takesPart(name, LEASEHOLD, round, plan))) {
      for (const each of planes) await each.ready();
      for (const { metric, value } of await play(cluster, plane, round))
        record({ round, subject: plane.name, metric, value });
    }
    planes.push(...planes.splice(0, 1)); // nobody is always the first
  }
}

async function play(
  cluster: Cluster,
  plane: Plane,
  round: number,
): Promise<readonly { readonly metric: string; readonly value: number }[]> {
  const clients = await startClients(cluster.client, {
    host: plane.vip,
    port: plane.port,
    perKind: PER_KIND,
    everyMs: EVERY_MS,
    timeoutMs: REQUEST_TIMEOUT_MS,
    tls: clientTls(cluster),
  });
  await sleep(2_000);
  for (const each of cluster.nodes) {
    const { plane: node } = each;
    each.changeManifest(`# ${plane.name}, round ${round}\n`);
    await sleep(KUBELET_MS);
    await node.apiServer.terminate(60_000);
    await sleep(RESTART_MS);
    await node.apiServer.start();
    await node.ready();
    await sleep(NEXT_NODE_MS);
  }
  const reports = await clients.stop();
  return reports.flatMap(({ kind, requests, failed, slowestMs, why }) => {
    if (why.length > 0) process.stderr.write(`${plane.name}, ${kind}: ${why.join(", ")}\n`);
    return [
      { metric: `${kind}: requests`, value: requests },
      { metric: `${kind}: failed`, value: failed },
      { metric: `${kind}: slowest`, value: slowestMs },
    ];
  });
}
