/**
 * What is compared: ours, keepalived with HAProxy, kube-vip; each with an address of its own on the same
 * nodes.
 */
import type { Cluster, ClusterNode } from "../../lab/cluster.ts";
import { fastPathReady, moveTo } from "../../lab/fast-path-cluster.ts";
import { sleep } from "../../support/lab/clock.ts";
import { DOCUMENTED, Keepalived } from "../failover/keepalived.ts";
import { KUBE_VIP_DOCUMENTED, KubeVip } from "../kube-vip.ts";

export interface Plane {
  readonly name: string;
  readonly vip: string;
  readonly port: number;
  /** All its programs run, and one node has the address: that node. */
  ready(): Promise<ClusterNode>;
  /** A planned stop of what holds the address, as a node's shutdown or an upgrade begins it. */
  stopHolder(holder: ClusterNode): Promise<void>;
  /** The address goes to another node and comes back, as soon after as it can be told to. */
  thereAndBack(holder: ClusterNode): Promise<void>;
}

export const LEASEHOLD = "leasehold";
export const KEEPALIVED = "keepalived+HAProxy";
export const KUBE_VIP = "kube-vip";

/** A move there and back takes no longer than this. */
const BACK_AFTER_MS = 1_000;
const HAPROXY_PORT = 7443;

export function leasehold(cluster: Cluster, port: number): Plane {
  return {
    name: LEASEHOLD,
    vip: cluster.vip,
    port,
    async ready() {
      await Promise.all(
        cluster.nodes.map(async (node) => (node.agent?.running === true ? undefined : node.startAgent())),
      );
      const holder = await cluster.settled(60_000);
      if (port === 6443) await fastPathReady(cluster);
      return holder;
    },
    stopHolder: (holder) => holder.endAgent("SIGTERM"),
    async thereAndBack(holder) {
      const [other] = cluster.others(holder);
      if (other === undefined) throw new Error("a move needs another node");
      await moveTo(cluster, other);
      await sleep(BACK_AFTER_MS);
      await moveTo(cluster, holder);
      await cluster.kubectl([
        "annotate",
        "-n",
        "kube-system",
        "lease",
        "leasehold",
        "leasehold.dev/move-to-",
      ]);
    },
  };
}

export function keepalivedAndHaproxy(cluster: Cluster, vip: string): Plane {
  const servers = cluster.nodes.map(({ host }) => `${host.ipv4}:6443`);
  const hosts = cluster.nodes.map(({ host }) => host);
  const keepalived = new Keepalived(cluster.lab, hosts, {
    vip,
    vrrp: DOCUMENTED,
    port: HAPROXY_PORT,
    servers,
  });
  return {
    name: KEEPALIVED,
    vip,
    port: HAPROXY_PORT,
    async ready() {
      await keepalived.start();
      return cluster.node(await keepalived.settled());
    },
    stopHolder: () => keepalived.stopMaster(),
    async thereAndBack() {
      await keepalived.stopMaster();
      await sleep(BACK_AFTER_MS);
      await keepalived.start();
      await keepalived.settled();
    },
  };
}

export function kubeVip(cluster: Cluster, vip: string, binary: string): Plane {
  const set = new KubeVip(cluster, { vip, binary, lease: KUBE_VIP_DOCUMENTED });
  return {
    name: KUBE_VIP,
    vip,
    port: 6443,
    async ready() {
      for (const node of cluster.nodes) await set.start(node);
      const first = await set.holder();
      await sleep(3_000); // its next gratuitous ARP
      return first;
    },
    stopHolder: (holder) => set.end(holder, "SIGTERM"),
    async thereAndBack(first) {
      // It has no say in who is next: with two candidates it comes back.
      const [second, ...rest] = cluster.others(first);
      for (const node of rest) await set.end(node, "SIGTERM");
      await set.end(first, "SIGTERM");
      await set.start(first);
      await sleep(BACK_AFTER_MS);
      if (second !== undefined) await set.end(second, "SIGTERM");
    },
  };
}
