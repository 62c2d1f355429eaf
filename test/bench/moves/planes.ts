/** What is compared: ours, keepalived with HAProxy, kube-vip; each with an address of its own on the same nodes. */
import type { Cluster, ClusterNode } from "../../lab/cluster.ts";
import { fastPathReady, moveTo } from "../../lab/fast-path-cluster.ts";
import { sleep } from "../../support/lab/clock.ts";
import type { LabProcess } from "../../support/lab/process.ts";
import { Keepalived } from "../failover/keepalived.ts";
import { documented, startHaproxy } from "../haproxy.ts";

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
      await Promise.all(cluster.nodes.map(async (node) => (node.agent?.running === true ? undefined : node.startAgent())));
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
      await cluster.kubectl(["annotate", "-n", "kube-system", "lease", "leasehold", "leasehold.dev/move-to-"]);
    },
  };
}

export function keepalivedAndHaproxy(cluster: Cluster, vip: string): Plane {
  const servers = cluster.nodes.map(({ host }) => `${host.ipv4}:6443`);
  const keepalived = new Keepalived(
    cluster.lab,
    cluster.nodes.map(({ host }) => host),
    { vip, checkPort: HAPROXY_PORT, balancer: (host) => startHaproxy(host, "haproxy", documented({ port: HAPROXY_PORT, servers, checks: true })) },
  );
  return {
    name: KEEPALIVED,
    vip,
    port: HAPROXY_PORT,
    async ready() {
      await keepalived.start();
      const [holder] = await keepalived.holders();
      return cluster.node(holder ?? "");
    },
    stopHolder: () => keepalived.stopMaster(),
    async thereAndBack() {
      await keepalived.stopMaster();
      await sleep(BACK_AFTER_MS);
      await keepalived.start();
    },
  };
}

/** With its manifest's settings as environment variables, the Lease's times those of kubeadm's documentation. Without IPVS: VIP:6443 is the holder's own API server. */
export function kubeVip(cluster: Cluster, vip: string, binary: string): Plane {
  const processes = new Map<ClusterNode, LabProcess>();
  const start = async (node: ClusterNode): Promise<void> => {
    if (processes.get(node)?.running === true) return;
    const env = {
      vip_arp: "true",
      port: "6443",
      vip_interface: "eth0",
      vip_subnet: "32",
      address: vip,
      cp_enable: "true",
      cp_namespace: "kube-system",
      vip_leaderelection: "true",
      vip_leaseduration: "5",
      vip_renewdeadline: "3",
      vip_retryperiod: "1",
      vip_nodename: node.name,
      k8s_config_file: node.plane.kubeconfigs.superAdmin,
    };
    processes.set(node, await node.host.spawn([binary, "manager"], { name: "kube-vip", env }));
  };
  const stop = async (node: ClusterNode): Promise<void> => {
    const running = processes.get(node);
    if (running?.running !== true) return;
    running.kill("SIGTERM");
    await running.exited;
  };
  const holder = async (): Promise<ClusterNode> =>
    cluster.lab.until(
      async () => {
        const [name, ...others] = await cluster.bound(vip);
        return name !== undefined && others.length === 0 ? cluster.node(name) : undefined;
      },
      60_000,
      "one node has kube-vip's address",
    );
  return {
    name: KUBE_VIP,
    vip,
    port: 6443,
    async ready() {
      for (const node of cluster.nodes) await start(node);
      const first = await holder();
      await sleep(3_000); // its next gratuitous ARP
      return first;
    },
    stopHolder: stop,
    async thereAndBack(first) {
      // It has no say in who is next: with two candidates it comes back.
      const [second, ...rest] = cluster.others(first);
      for (const node of rest) await stop(node);
      await stop(first);
      await start(first);
      await sleep(BACK_AFTER_MS);
      if (second !== undefined) await stop(second);
    },
  };
}
