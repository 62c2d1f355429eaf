/**
 * What most scenarios start from: virtual nodes, each with its own etcd, kube-apiserver and agent, and a
 * client.
 */
import { spawn } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { silentLogger } from "../../src/log.ts";
import type { AgentStatus } from "../../src/ops/status.ts";
import { findBinaries } from "../support/control-plane/binaries.ts";
import { startControlPlane } from "../support/control-plane/cluster.ts";
import type { ControlPlane } from "../support/control-plane/cluster.ts";
import type { ControlPlaneNode } from "../support/control-plane/node.ts";
import { Fetcher } from "../support/lab/fetcher.ts";
import type { Host } from "../support/lab/host.ts";
import { createLab } from "../support/lab/lab.ts";
import type { Lab } from "../support/lab/lab.ts";
import { OwnershipSampler } from "../support/lab/ownership.ts";
import { IMAGE_ENV, IMAGE_NODE_FLAGS } from "../support/lab/image-start.ts";
import type { LabProcess } from "../support/lab/process.ts";

export const BUNDLE = fileURLToPath(new URL("../../dist/leasehold.js", import.meta.url));
const OPS = "http://127.0.0.1:10081";
export const LEASE = ["-n", "kube-system", "lease", "leasehold"] as const;

/** Starts an agent on a machine, without an admin.conf unless `env` names one. */
export function startAgent(
  host: Host,
  env: Readonly<Record<string, string>>,
  bundle = BUNDLE,
): Promise<LabProcess> {
  return host.spawn([process.execPath, ...IMAGE_NODE_FLAGS, bundle, "run"], {
    name: "agent",
    env: {
      ...IMAGE_ENV,
      ...host.agentEnvironment(),
      LEASEHOLD_DATA_DIR: join(host.directory, "lib"),
      LEASEHOLD_ADMIN_KUBECONFIG: join(host.directory, "no-admin.conf"),
      LEASEHOLD_LOG_LEVEL: "debug",
      ...env,
    },
  });
}

/** One control-plane node. */
export class ClusterNode {
  readonly host: Host;
  readonly plane: ControlPlaneNode;
  readonly #fetcher: Fetcher;
  readonly #settings: () => Readonly<Record<string, string>>;
  agent: LabProcess | undefined;
  /** What agents that start from now on run. */
  bundle = BUNDLE;

  constructor(
    host: Host,
    plane: ControlPlaneNode,
    fetcher: Fetcher,
    settings: () => Readonly<Record<string, string>>,
  ) {
    this.host = host;
    this.plane = plane;
    this.#fetcher = fetcher;
    this.#settings = settings;
    mkdirSync(dirname(this.manifest), { recursive: true });
    writeFileSync(this.manifest, "# the first one\n");
  }

  get name(): string {
    return this.host.name;
  }

  /** What the agent takes for the manifest of this node's API server. No kubelet reads it. */
  get manifest(): string {
    return join(this.host.directory, "manifests", "kube-apiserver.yaml");
  }

  /** What kubeadm does to have kubelet restart the API server. */
  changeManifest(content: string): void {
    writeFileSync(`${this.manifest}.new`, content);
    renameSync(`${this.manifest}.new`, this.manifest);
  }

  async startAgent(env: Readonly<Record<string, string>> = {}): Promise<LabProcess> {
    this.agent = await startAgent(
      this.host,
      {
        LEASEHOLD_KUBECONFIG: this.plane.kubeconfigs.agent,
        LEASEHOLD_API_SERVER_MANIFEST: this.manifest,
        ...this.#settings(),
        ...env,
      },
      this.bundle,
    );
    return this.agent;
  }

  /** Ends the agent and waits for it: SIGTERM as the kubelet does, or SIGKILL. */
  async endAgent(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    if (this.agent?.running !== true) return;
    this.agent.kill(signal);
    await this.agent.exited;
  }

  async status(): Promise<AgentStatus> {
    const { status, body } = await this.#fetcher.get(`${OPS}/status`);
    if (status !== 200) throw new Error(`${this.name}: /status answered ${status}: ${body}`);
    return JSON.parse(body);
  }

  async get(path: string): Promise<{ readonly status: number; readonly body: string }> {
    return this.#fetcher.get(`${OPS}${path}`);
  }

  async state(): Promise<string> {
    return (await this.status()).election?.state ?? "none";
  }
}

export interface ClusterOptions {
  /** Default 3. */
  readonly size?: number;
  readonly vips?: (lab: Lab) => readonly string[];
  /** Of every kube-apiserver, beside kubeadm's. */
  readonly apiServerFlags?: Readonly<Record<string, string>>;
  /** Default `ready`; `files` starts nothing, see {@link startControlPlane}. */
  readonly until?: "files" | "ready";
  /** Settings of every agent beside LEASEHOLD_VIP. */
  readonly settings?: Readonly<Record<string, string>>;
}

export class Cluster implements AsyncDisposable {
  readonly lab: Lab;
  readonly plane: ControlPlane;
  readonly nodes: readonly ClusterNode[];
  readonly client: Host;
  readonly vips: readonly string[];
  /** Settings of agents that start from now on. */
  settings: Readonly<Record<string, string>>;

  constructor(
    lab: Lab,
    plane: ControlPlane,
    hosts: readonly Host[],
    client: Host,
    vips: readonly string[],
    settings: Readonly<Record<string, string>>,
  ) {
    this.lab = lab;
    this.plane = plane;
    this.client = client;
    this.vips = vips;
    this.settings = settings;
    this.nodes = hosts.map(
      (host) =>
        new ClusterNode(host, plane.node(host.name), lab.own(new Fetcher(host)), () => ({
          LEASEHOLD_VIP: this.vips.join(","),
          ...this.settings,
        })),
    );
  }

  get vip(): string {
    return this.vips[0] ?? "";
  }

  node(name: string): ClusterNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  others(node: ClusterNode): readonly ClusterNode[] {
    return this.nodes.filter((other) => other !== node);
  }

  /** Starts all agents, with settings per node; returns when one is MASTER and the others are BACKUP. */
  async startAgents(
    perNode: Readonly<Record<string, Readonly<Record<string, string>>>> = {},
  ): Promise<ClusterNode> {
    await Promise.all(this.nodes.map((node) => node.startAgent(perNode[node.name] ?? {})));
    return this.settled();
  }

  /**
   * As {@link startAgents}, and `first` is MASTER: it is alone when the others start. For scenarios that need
   * to know who holds; a process that takes a second longer to start on a busy machine is no candidate when a
   * new Lease is claimed, whatever its priority.
   */
  async startAgentsAfter(
    first: ClusterNode,
    perNode: Readonly<Record<string, Readonly<Record<string, string>>>> = {},
  ): Promise<ClusterNode> {
    await first.startAgent(perNode[first.name] ?? {});
    await this.settled();
    await Promise.all(this.others(first).map((node) => node.startAgent(perNode[node.name] ?? {})));
    return this.settled();
  }

  /**
   * An agent on a machine that is no control-plane node, with no right but NET_ADMIN to what it does to the
   * network.
   */
  startWorker(host: Host, env: Readonly<Record<string, string>>): Promise<LabProcess> {
    const [node] = this.nodes;
    if (node === undefined) throw new Error("a cluster has nodes");
    return host.spawn(
      [
        "setpriv",
        "--inh-caps",
        "-net_raw",
        "--bounding-set",
        "-net_raw",
        process.execPath,
        ...IMAGE_NODE_FLAGS,
        BUNDLE,
        "run",
      ],
      {
        name: "agent",
        env: {
          ...IMAGE_ENV,
          ...host.agentEnvironment(),
          LEASEHOLD_ROLE: "balancer",
          LEASEHOLD_DATA_DIR: join(host.directory, "lib"),
          LEASEHOLD_KUBECONFIG: node.plane.kubeconfigs.agent,
          ...env,
        },
      },
    );
  }

  /** Ends all agents in order and puts the Lease back as the manifest ships it. */
  async reset(): Promise<void> {
    await this.lab.heal();
    await Promise.all(this.nodes.map((node) => node.endAgent()));
    for (const node of this.nodes) {
      await this.forget(node);
      node.bundle = BUNDLE;
      // A server on a node that was cut off holds connections of clients that are long gone, and would be
      // counted as theirs.
      await node.host.run([
        "ss",
        "-K",
        "-Htn",
        `( sport = :6443 and ( dst ${this.client.ipv4} or dst [${this.client.ipv6}] ) )`,
      ]);
    }
    await this.kubectl(["delete", ...LEASE, "--ignore-not-found"]);
    await this.plane.applyRbac();
    this.settings = {};
  }

  /** What a boot does to a node whose agent does not run. */
  async forget(node: ClusterNode): Promise<void> {
    // A killed agent's memory of its last renewal would let the next one bind the VIP before it has read the
    // Lease, as it must after a restart.
    rmSync(join(node.host.stateDirectory, "state.json"), { force: true });
    // What a killed agent left must not wait for the kernel: the next scenario starts clean.
    for (const vip of this.vips)
      await node.host.run(["sh", "-c", `ip addr del ${vip} dev eth0 2>/dev/null; true`]);
  }

  /** What the agents logged of their states, checks and offers, for messages. */
  history(): string {
    const lines = this.nodes.flatMap((node) => node.agent?.log().split("\n") ?? []);
    return lines
      .filter((line) =>
        /State changed|Offering|check (failed|recovered)|VIP bound|VIP released|not accepted|"Starting"/.test(
          line,
        ),
      )
      .sort((a, b) => (stampOf(a) < stampOf(b) ? -1 : 1))
      .slice(-40)
      .join("\n");
  }

  /** The one MASTER, when there is exactly one and every other running agent is BACKUP. */
  async settled(timeoutMs = 20_000): Promise<ClusterNode> {
    return this.lab.until(
      async () => {
        const running = this.nodes.filter((node) => node.agent?.running === true);
        const states = await Promise.all(running.map((node) => node.state()));
        const masters = running.filter((_, index) => states[index] === "MASTER");
        if (masters.length !== 1 || states.some((state) => state !== "MASTER" && state !== "BACKUP")) {
          throw new Error(`states: ${states.join(" ")}`);
        }
        return masters[0];
      },
      timeoutMs,
      "one MASTER, the others BACKUP",
    );
  }

  /** The first other node that is MASTER, while `old` itself cannot be asked. */
  async successorOf(old: ClusterNode): Promise<ClusterNode> {
    return this.lab.until(
      async () => {
        const masters = await Promise.all(
          this.others(old).map(async (node) => ((await node.state()) === "MASTER" ? node : undefined)),
        );
        return masters.find((node) => node !== undefined);
      },
      20_000,
      "another node is MASTER",
    );
  }

  /** Nodes whose kernel has the VIP, now. */
  async bound(vip = this.vip): Promise<readonly string[]> {
    const sampler = await OwnershipSampler.start(
      new Map(this.nodes.map((node) => [node.name, node.host.namespace])),
    );
    try {
      return await sampler.holders(vip);
    } finally {
      await sampler[Symbol.asyncDispose]();
    }
  }

  kubectl(args: readonly string[], input?: string): Promise<string> {
    const [first] = this.plane.nodes;
    if (first === undefined) throw new Error("a cluster has nodes");
    const alive = this.plane.nodes.find((node) => node.apiServer.running) ?? first;
    return alive.kubectl(args, input === undefined ? {} : { input });
  }

  async lease(): Promise<{
    readonly metadata: { readonly annotations?: Record<string, string> };
    readonly spec: Record<string, unknown>;
  }> {
    return JSON.parse(await this.kubectl(["get", ...LEASE, "-o", "json"]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.endAgent("SIGKILL")));
    await this.plane[Symbol.asyncDispose]();
    await this.lab.stop();
  }
}

function stampOf(line: string): string {
  return /"ts":"([^"]+)"/.exec(line)?.[1] ?? "";
}

/** A ready cluster without agents; undefined, with the reason, where no API server can be had. */
export async function createCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const found = await findBinaries();
  if (found.kind === "unavailable") throw new Error(found.reason);
  const lab = await createLab();
  try {
    const names = Array.from({ length: options.size ?? 3 }, (_, index) => `n${index + 1}`);
    const hosts = await Promise.all(names.map((name) => lab.node(name)));
    const client = await lab.client("client");
    const vips = options.vips?.(lab) ?? [lab.vip4];
    const dir = join(lab.directory, "control-plane");
    mkdirSync(dir, { recursive: true });
    const plane = await startControlPlane({
      binaries: found.binaries,
      vips: [...vips],
      dir,
      log: silentLogger,
      apiServerFlags: options.apiServerFlags ?? {},
      until: options.until ?? "ready",
      nodes: hosts.map((host) => ({
        name: host.name,
        ip: host.ipv4,
        run: (argv, { stdio }) => {
          const [file = "", ...args] = host.inside(argv);
          return spawn(file, args, { stdio });
        },
      })),
    });
    return new Cluster(lab, plane, hosts, client, vips, options.settings ?? {});
  } catch (error) {
    await lab.stop();
    throw error;
  }
}
