/** A cluster whose wire is listened to, for scenarios about who finds whom dead. */
import type { ArpCapture } from "../support/lab/capture.ts";
import type { OwnershipSampler } from "../support/lab/ownership.ts";
import type { OwnershipTimeline } from "../support/lab/timeline.ts";
import { createCluster } from "./cluster.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import { fastPathReady } from "./fast-path-cluster.ts";
import { Journal } from "./journal.ts";
import { provable, recover } from "./on-the-wire.ts";

export interface StartOptions {
  /** Default: IPv4. */
  readonly vips?: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
  /** Wait until the fast path is up, and the holder's silence would be proof; default true. */
  readonly fastPath?: boolean;
  readonly proof?: boolean;
}

export interface Taken {
  readonly ms: number;
  /** How late the samples were: a busy machine is no fault of the agents'. */
  readonly graceMs: number;
}

export class WireRig implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly arp: ArpCapture;
  readonly ownership: OwnershipSampler;
  /** Since the last {@link start}. */
  journal: Journal;

  private constructor(cluster: Cluster, arp: ArpCapture, ownership: OwnershipSampler) {
    this.cluster = cluster;
    this.arp = arp;
    this.ownership = ownership;
    this.journal = new Journal(cluster);
  }

  static async create(): Promise<WireRig> {
    const cluster = await createCluster({ vips: (lab) => [lab.vip4, lab.vip6] });
    return new WireRig(cluster, await cluster.lab.captureArp(), await cluster.lab.ownership());
  }

  get vip(): string {
    return this.cluster.lab.vip4;
  }

  async start({
    vips = [this.vip],
    settings = {},
    fastPath = true,
    proof = true,
  }: StartOptions = {}): Promise<ClusterNode> {
    this.journal = new Journal(this.cluster);
    this.cluster.settings = { LEASEHOLD_VIP: vips.join(","), ...settings };
    const holder = await this.cluster.startAgents();
    if (fastPath) await fastPathReady(this.cluster);
    if (proof) await provable(this.cluster, holder);
    return holder;
  }

  /** Undoes every accident, and ends all agents. */
  async reset(): Promise<void> {
    await recover(this.cluster);
    await this.cluster.reset();
  }

  /** Of the kernels of all nodes but `without`, whom nobody hears. */
  since(fromMs: number, vip = this.vip, without?: ClusterNode): OwnershipTimeline {
    return this.ownership
      .timeline(vip)
      .between(fromMs)
      .without(without === undefined ? [] : [without.name]);
  }

  /** How long after `fromMs` a node other than `old` first had the VIP. */
  async taken(old: ClusterNode, fromMs: number, limitMs: number, vip = this.vip): Promise<Taken> {
    const first = (): number | undefined =>
      this.since(fromMs, vip, old).samples.find(({ holders }) => holders.length > 0)?.atMs;
    const atMs = await this.cluster.lab.until(first, limitMs, `another node has ${vip}`);
    return { ms: atMs - fromMs, graceMs: this.since(fromMs, vip).resolutionMs() };
  }

  /** The one MASTER; the others may have to be calm for a while before they are BACKUP again. */
  async oneMaster(): Promise<ClusterNode> {
    const { lab, nodes } = this.cluster;
    return lab.until(
      async () => {
        const states = await Promise.all(nodes.map((node) => node.state()));
        const masters = nodes.filter((_, index) => states[index] === "MASTER");
        if (masters.length !== 1 || states.includes("PROVISIONAL"))
          throw new Error(`states: ${states.join(" ")}`);
        return masters[0];
      },
      15_000,
      "one MASTER",
    );
  }

  other(node: ClusterNode): ClusterNode {
    const [one] = this.cluster.others(node);
    if (one === undefined) throw new Error("a cluster has other nodes");
    return one;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cluster[Symbol.asyncDispose]();
  }
}
