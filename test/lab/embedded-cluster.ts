/**
 * Three virtual nodes over the embedded API, for what real API servers cannot be made to do in seconds, and a
 * client.
 */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { AgentStatus } from "../../src/ops/status.ts";
import { startEmbeddedApi } from "../support/embedded-api/embedded-api.ts";
import type { EmbeddedApi } from "../support/embedded-api/embedded-api.ts";
import { Fetcher } from "../support/lab/fetcher.ts";
import type { Host } from "../support/lab/host.ts";
import { createLab } from "../support/lab/lab.ts";
import type { Lab } from "../support/lab/lab.ts";
import type { LabProcess } from "../support/lab/process.ts";
import { startAgent } from "./cluster.ts";

const OPS = "http://127.0.0.1:10081";

export class EmbeddedNode {
  readonly host: Host;
  readonly #fetcher: Fetcher;
  readonly #settings: Readonly<Record<string, string>>;
  agent: LabProcess | undefined;

  constructor(host: Host, fetcher: Fetcher, settings: Readonly<Record<string, string>>) {
    this.host = host;
    this.#fetcher = fetcher;
    this.#settings = settings;
  }

  get name(): string {
    return this.host.name;
  }

  async startAgent(env: Readonly<Record<string, string>> = {}): Promise<void> {
    this.agent = await startAgent(this.host, { ...this.#settings, ...env });
  }

  /** The environment of a command that a person runs in the agent's container. */
  commandEnvironment(): Readonly<Record<string, string>> {
    return {
      ...this.host.agentEnvironment(),
      LEASEHOLD_DATA_DIR: join(this.host.directory, "lib"),
      ...this.#settings,
    };
  }

  async endAgent(): Promise<void> {
    await this.agent?.terminate();
    // As after a boot: nothing is adopted.
    rmSync(join(this.host.stateDirectory, "state.json"), { force: true });
  }

  async get(path: string): Promise<{ readonly status: number; readonly body: string }> {
    return this.#fetcher.get(`${OPS}${path}`);
  }

  async status(): Promise<AgentStatus> {
    return JSON.parse((await this.get("/status")).body);
  }
}

export class EmbeddedCluster implements AsyncDisposable {
  readonly lab: Lab;
  readonly api: EmbeddedApi;
  readonly nodes: readonly EmbeddedNode[];
  readonly client: Host;

  constructor(lab: Lab, api: EmbeddedApi, nodes: readonly EmbeddedNode[], client: Host) {
    this.lab = lab;
    this.api = api;
    this.nodes = nodes;
    this.client = client;
  }

  /** The one that is MASTER by the Lease; waits for it. */
  holder(timeoutMs: number): Promise<EmbeddedNode> {
    return this.lab.until(
      async () => {
        const states = await Promise.all(this.nodes.map(async (node) => (await node.status()).election));
        const holders = this.nodes.filter(
          (_, index) => states[index]?.state === "MASTER" && states[index].confirmed,
        );
        if (holders.length !== 1) throw new Error(JSON.stringify(states));
        return holders[0];
      },
      timeoutMs,
      "one holder",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
    await this.api[Symbol.asyncDispose]();
  }
}

export async function createEmbeddedCluster(): Promise<EmbeddedCluster> {
  const lab = await createLab();
  try {
    const hosts = await Promise.all(["n1", "n2", "n3"].map((name) => lab.node(name)));
    const client = await lab.client("client");
    const api = await startEmbeddedApi({
      vips: [lab.vip4],
      dir: join(lab.directory, "api"),
      servers: hosts.map((host) => ({
        name: host.name,
        ip: host.ipv4,
        run: (argv, { stdio }) => {
          const [file = "", ...args] = host.inside(argv);
          return spawn(file, args, { stdio });
        },
      })),
    });
    const nodes = hosts.map((host) => {
      const files = api.kubeconfigs.get(host.name);
      return new EmbeddedNode(host, lab.own(new Fetcher(host)), {
        LEASEHOLD_VIP: lab.vip4,
        LEASEHOLD_KUBECONFIG: files?.agent ?? "",
        LEASEHOLD_ADMIN_KUBECONFIG: files?.admin ?? "",
      });
    });
    return new EmbeddedCluster(lab, api, nodes, client);
  } catch (error) {
    await lab.stop();
    throw error;
  }
}
