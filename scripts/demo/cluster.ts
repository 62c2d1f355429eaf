/**
 * The demo's cluster: three virtual control-plane nodes, each with an API server and an agent, and a client.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAllYaml } from "@kubernetes/client-node";
import type { AgentStatus } from "../../src/ops/status.ts";
import { startEmbeddedApi } from "../../test/support/embedded-api/embedded-api.ts";
import type { EmbeddedApi } from "../../test/support/embedded-api/embedded-api.ts";
import { Fetcher } from "../../test/support/lab/fetcher.ts";
import type { Host } from "../../test/support/lab/host.ts";
import { createLab } from "../../test/support/lab/lab.ts";
import type { Cleaned, Lab } from "../../test/support/lab/lab.ts";
import type { OwnershipSampler } from "../../test/support/lab/ownership.ts";
import { ClientProbe } from "../../test/support/lab/probe.ts";
import type { LabProcess } from "../../test/support/lab/process.ts";

const BUNDLE = fileURLToPath(new URL("../../dist/leasehold.js", import.meta.url));
/** Where the demo asks the agents; they listen there unless told otherwise. */
const OPS = "127.0.0.1:10081";
const BALANCER_PORT = 8443;
/** Different, so that it is clear who takes over from whom. */
const PRIORITIES = { n1: 120, n2: 110, n3: 100 } as const;

export type NodeName = keyof typeof PRIORITIES;
export const NODE_NAMES = ["n1", "n2", "n3"] as const satisfies readonly NodeName[];

export class DemoNode {
  readonly name: NodeName;
  readonly host: Host;
  readonly priority: number;
  readonly #api: EmbeddedApi;
  readonly #fetcher: Fetcher;
  readonly #vip: string;
  #agent: LabProcess | undefined;

  constructor(name: NodeName, host: Host, api: EmbeddedApi, lab: Lab) {
    this.name = name;
    this.host = host;
    this.priority = PRIORITIES[name];
    this.#api = api;
    this.#fetcher = lab.own(new Fetcher(host));
    this.#vip = lab.vip4;
  }

  get agentRuns(): boolean {
    return this.#agent?.running === true;
  }

  get apiServes(): boolean {
    return this.#api.server(this.name).listening;
  }

  /** `env`: settings of this agent beside the demo's. */
  async startAgent(env: Readonly<Record<string, string>> = {}): Promise<void> {
    if (this.agentRuns) return;
    this.#agent = await this.host.spawn([process.execPath, BUNDLE, "run"], {
      name: "agent",
      env: {
        ...this.host.agentEnvironment(),
        LEASEHOLD_VIP: this.#vip,
        LEASEHOLD_PRIORITY: String(this.priority),
        LEASEHOLD_NOPREEMPT: "false",
        LEASEHOLD_KUBECONFIG: this.#api.kubeconfigs.get(this.name)?.agent,
        LEASEHOLD_DATA_DIR: join(this.host.directory, "lib"),
        LEASEHOLD_BALANCER_PORT: String(BALANCER_PORT),
        ...env,
      },
    });
  }

  /** SIGKILL: no goodbye, as in a power loss of the agent alone. */
  async killAgent(): Promise<void> {
    this.#agent?.kill("SIGKILL");
    await this.#agent?.exited;
  }

  stopApi(): Promise<void> {
    return this.#api.server(this.name).kill();
  }

  startApi(): Promise<void> {
    return this.#api.server(this.name).start();
  }

  /** undefined while its agent does not answer. */
  async status(): Promise<AgentStatus | undefined> {
    if (!this.agentRuns) return undefined;
    const { status, body } = await this.#fetcher.get(`http://${OPS}/status`);
    if (status !== 200) return undefined;
    const parsed: AgentStatus = JSON.parse(body);
    return parsed;
  }
}

/**
 * What a person does once with kubectl: the Lease as the manifest ships it. The embedded API needs no RBAC.
 */
function installLease(api: EmbeddedApi): void {
  const manifest = readFileSync(new URL("../../manifests/rbac.yaml", import.meta.url), "utf8");
  const objects: { readonly kind: string; readonly metadata: { readonly namespace?: string } }[] =
    loadAllYaml(manifest);
  const lease = objects.find(({ kind }) => kind === "Lease");
  if (lease === undefined) throw new Error("manifests/rbac.yaml has no Lease");
  const path = `/apis/coordination.k8s.io/v1/namespaces/${lease.metadata.namespace}/leases`;
  const { status } = api.store.handle({ method: "POST", path, body: JSON.stringify(lease) });
  if (status !== 201) throw new Error(`the Lease was not created: ${status}`);
}

export class DemoCluster implements AsyncDisposable {
  readonly lab: Lab;
  readonly nodes: readonly DemoNode[];
  readonly vip: string;
  readonly endpoint: string;
  readonly ownership: OwnershipSampler;
  /** The client: a new TLS connection and one GET /readyz through the VIP, 50 times a second. */
  readonly probe: ClientProbe;
  readonly #api: EmbeddedApi;

  private constructor(
    lab: Lab,
    api: EmbeddedApi,
    nodes: readonly DemoNode[],
    ownership: OwnershipSampler,
    probe: ClientProbe,
  ) {
    this.lab = lab;
    this.vip = lab.vip4;
    this.endpoint = `${lab.vip4}:${BALANCER_PORT}`;
    this.nodes = nodes;
    this.ownership = ownership;
    this.probe = probe;
    this.#api = api;
  }

  /** Machines, API servers and the client's first probes; agents are started by the story. */
  static async start(): Promise<DemoCluster> {
    const lab = await createLab();
    try {
      const hosts = new Map<NodeName, Host>();
      for (const name of NODE_NAMES) hosts.set(name, await lab.node(name));
      const client = await lab.client("client");
      const api = await startEmbeddedApi({
        vips: [lab.vip4],
        dir: join(lab.directory, "api"),
        servers: [...hosts].map(([name, host]) => ({
          name,
          ip: host.ipv4,
          run: (argv, { stdio }) => {
            const [file = "", ...args] = host.inside(argv);
            return spawn(file, args, { stdio });
          },
        })),
      });
      installLease(api);
      const nodes = [...hosts].map(([name, host]) => new DemoNode(name, host, api, lab));
      const ownership = await lab.ownership();
      const options = {
        host: lab.vip4,
        port: BALANCER_PORT,
        intervalMs: 20,
        timeoutMs: 1000,
        tls: {},
        path: "/readyz",
      };
      return new DemoCluster(lab, api, nodes, ownership, await ClientProbe.start(client, options, "client"));
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  node(name: string): DemoNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  async stop(): Promise<Cleaned> {
    const cleaned = await this.lab.stop();
    await this.#api[Symbol.asyncDispose]();
    return cleaned;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
