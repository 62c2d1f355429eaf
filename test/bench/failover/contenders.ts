/** Who is compared: each with an address of its own on the same nodes, all of them running all the time. */
import type { Cluster, ClusterNode } from "../../lab/cluster.ts";
import { LEASE } from "../../lab/cluster.ts";
import { fastPathReady } from "../../lab/fast-path-cluster.ts";
import { KUBE_VIP_DEFAULTS, KubeVip } from "../kube-vip.ts";
import { Keepalived } from "./keepalived.ts";
import type { Vrrp } from "./keepalived.ts";

export interface Contender {
  readonly name: string;
  readonly vip: string;
  /** A connection to it is answered by the node that has the address, whatever its API server does. */
  readonly port: number;
  /** An API server answers here. */
  readonly apiPort: number;
  /** False: where etcd's leader is cannot matter to it. */
  readonly electsByApi: boolean;
  /** Starts what does not run, on every node. */
  start(): Promise<void>;
  /** The node that has the address once everything is as it should be. */
  settled(): Promise<ClusterNode>;
  /** A planned stop, as the kubelet does it. */
  stop(holder: ClusterNode): Promise<void>;
  /** SIGKILL to all that it runs there. */
  kill(node: ClusterNode): Promise<void>;
  /** What a boot does to a node where nothing of it runs. */
  forget(node: ClusterNode): Promise<void>;
  /** While it runs nowhere: the cluster no longer knows who held the address. */
  forgetHolder(): Promise<void>;
}

export function leasehold(cluster: Cluster, name: string): Contender {
  return {
    name,
    vip: cluster.vip,
    port: 8443,
    apiPort: 6443,
    electsByApi: true,
    async start() {
      await Promise.all(
        cluster.nodes.map(async (node) => (node.agent?.running === true ? undefined : node.startAgent())),
      );
    },
    async settled() {
      const holder = await cluster.settled(60_000);
      await fastPathReady(cluster);
      return holder;
    },
    stop: (holder) => holder.endAgent("SIGTERM"),
    kill: (node) => node.endAgent("SIGKILL"),
    forget: (node) => cluster.forget(node),
    async forgetHolder() {
      await cluster.kubectl(["delete", ...LEASE, "--ignore-not-found"]);
      await cluster.plane.applyRbac();
    },
  };
}

export interface Place {
  readonly name: string;
  readonly vip: string;
}

export function keepalived(cluster: Cluster, { name, vip }: Place, port: number, vrrp: Vrrp): Contender {
  const hosts = cluster.nodes.map(({ host }) => host);
  const set = new Keepalived(cluster.lab, hosts, {
    vip,
    vrrp,
    port,
    servers: hosts.map(({ ipv4 }) => `${ipv4}:6443`),
  });
  return {
    name,
    vip,
    port,
    apiPort: port,
    electsByApi: false,
    start: () => set.start(),
    settled: async () => cluster.node(await set.settled()),
    stop: () => set.stopMaster(),
    kill: (node) => set.kill(node.name),
    forget: (node) => removeAddress(node, vip),
    forgetHolder: async () => {},
  };
}

/**
 * A process that has lost its Lease ends and is not started again while that is looked at, as with a kubelet
 * in its back-off.
 */
export function kubeVip(cluster: Cluster, { name, vip }: Place, binary: string): Contender {
  const set = new KubeVip(cluster, { vip, binary, lease: KUBE_VIP_DEFAULTS });
  return {
    name,
    vip,
    port: 6443,
    apiPort: 6443,
    electsByApi: true,
    async start() {
      await Promise.all(cluster.nodes.map((node) => set.start(node)));
    },
    settled: () => set.holder(),
    stop: (holder) => set.end(holder, "SIGTERM"),
    kill: (node) => set.end(node, "SIGKILL"),
    forget: (node) => removeAddress(node, vip),
    async forgetHolder() {
      await cluster.kubectl(["delete", "-n", "kube-system", "lease", "plndr-cp-lock", "--ignore-not-found"]);
    },
  };
}

/** A killed program leaves it. */
export async function removeAddress(node: ClusterNode, vip: string): Promise<void> {
  await node.host.run(["sh", "-c", `ip addr del ${vip}/32 dev eth0 2>/dev/null; true`]);
}
