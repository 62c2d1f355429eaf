/**
 * kube-vip on every node with its static pod's settings as environment variables: ARP, a Lease, no IPVS.
 * VIP:6443 is the holder's own API server.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Cluster, ClusterNode } from "../lab/cluster.ts";
import type { LabProcess } from "../support/lab/process.ts";

/** The program to compare with; Debian has none. */
export const KUBE_VIP_PROGRAM = process.env["KUBE_VIP"];

/** Lease duration, renew deadline, retry period, seconds. */
export interface LeaseTimes {
  readonly durationS: number;
  readonly renewS: number;
  readonly retryS: number;
}

/** Its own defaults since v1.1.0. */
export const KUBE_VIP_DEFAULTS: LeaseTimes = { durationS: 15, renewS: 10, retryS: 2 };
/** What kubeadm's documentation makes of them. */
export const KUBE_VIP_DOCUMENTED: LeaseTimes = { durationS: 5, renewS: 3, retryS: 1 };

export interface KubeVipOptions {
  readonly vip: string;
  readonly binary: string;
  readonly lease: LeaseTimes;
}

export class KubeVip {
  readonly #cluster: Cluster;
  readonly #options: KubeVipOptions;
  readonly #processes = new Map<ClusterNode, LabProcess>();

  constructor(cluster: Cluster, options: KubeVipOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  async start(node: ClusterNode): Promise<void> {
    if (this.#processes.get(node)?.running === true) return;
    const { vip, binary, lease } = this.#options;
    // Releases before 1.1 look there, and not where `k8s_config_file` says.
    const home = join(node.host.directory, "kube-vip");
    mkdirSync(join(home, ".kube"), { recursive: true });
    copyFileSync(node.plane.kubeconfigs.superAdmin, join(home, ".kube", "config"));
    const env = {
      vip_arp: "true",
      port: "6443",
      vip_interface: "eth0",
      vip_subnet: "32",
      address: vip,
      cp_enable: "true",
      cp_namespace: "kube-system",
      vip_leaderelection: "true",
      vip_leaseduration: String(lease.durationS),
      vip_renewdeadline: String(lease.renewS),
      vip_retryperiod: String(lease.retryS),
      vip_nodename: node.name,
      HOME: home,
      k8s_config_file: node.plane.kubeconfigs.superAdmin,
    };
    this.#processes.set(node, await node.host.spawn([binary, "manager"], { name: "kube-vip", env }));
  }

  async end(node: ClusterNode, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const running = this.#processes.get(node);
    if (running?.running !== true) return;
    running.kill(signal);
    await running.exited;
  }

  pids(node: ClusterNode): readonly number[] {
    const running = this.#processes.get(node);
    return running?.running === true ? [running.pid] : [];
  }

  /** The one node that has the address. */
  async holder(): Promise<ClusterNode> {
    return this.#cluster.lab.until(
      async () => {
        const [name, ...others] = await this.#cluster.bound(this.#options.vip);
        return name !== undefined && others.length === 0 ? this.#cluster.node(name) : undefined;
      },
      60_000,
      "one node has kube-vip's address",
    );
  }
}
