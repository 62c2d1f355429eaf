/**
 * The demo's cluster: three virtual control-plane nodes, each with an API server and an agent, and a client.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAllYaml } from "@kubernetes/client-node";
import type { AgentStatus } from "../../src/ops/status.ts";
import { startEmbeddedApi } from "../../test/support/embedded-api/embedded-api.ts";
import type { EmbeddedApi } from "../../test/support/embedded-api/embedded-api.ts";
import { attempt } from "../../test/support/lab/command.ts";
import { Fetcher } from "../../test/support/lab/fetcher.ts";
import { HeldConnections } from "../../test/support/lab/hold.ts";
import type { Host } from "../../test/support/lab/host.ts";
import { createLab } from "../../test/support/lab/lab.ts";
import type { Cleaned, Lab } from "../../test/support/lab/lab.ts";
import type { OwnershipSampler } from "../../test/support/lab/ownership.ts";
import { ClientProbe } from "../../test/support/lab/probe.ts";
import type { Attempt, TlsOptions } from "../../test/support/lab/probe.ts";
import type { LabProcess } from "../../test/support/lab/process.ts";

const BUNDLE = fileURLToPath(new URL("../../dist/leasehold.js", import.meta.url));
/** Where the demo asks the agents; they listen there unless told otherwise. */
const OPS = "127.0.0.1:10081";
const API_PORT = 6443;
const BALANCER_PORT = 8443;
/** How many watches the client has. */
export const WATCHES = 18;
/** An object that changes twice a second, so that every watch has something to hear. */
const TICKER = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const TICK_MS = 500;
/** A watch that has heard nothing for this long is shown as silent. */
const SILENT_MS = 2_000;
/** Different, so that it is clear who takes over from whom. */
const PRIORITIES = { n1: 120, n2: 110, n3: 100 } as const;

export type NodeName = keyof typeof PRIORITIES;
export const NODE_NAMES = ["n1", "n2", "n3"] as const satisfies readonly NodeName[];

/** One watch of the client, as the client knows it. */
export interface WatchView {
  /** The API server that answers it. */
  readonly server: string;
  readonly state: "alive" | "silent" | "ended";
}

export class DemoNode {
  readonly name: NodeName;
  readonly host: Host;
  readonly priority: number;
  readonly #api: EmbeddedApi;
  readonly #fetcher: Fetcher;
  readonly #vip: string;
  #agent: LabProcess | undefined;
  #hasPower = true;

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

  get hasPower(): boolean {
    return this.#hasPower;
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

  /**
   * Nothing of the machine is left at once: it sends no packet, its processes are gone, and its kernel
   * forgets its rules, its addresses' VIP and what is on /run.
   */
  async losePower(): Promise<void> {
    this.#hasPower = false;
    // The agent must not see its cable go: by its own API server, which has the others' store, it would let
    // the Lease go before it dies.
    this.#agent?.kill("SIGKILL");
    await this.host.link.down();
    await Promise.all([this.killAgent(), this.stopApi()]);
    // Without nft there are no rules, and without the VIP there is nothing to remove.
    await attempt(this.host.inside(["ip", "address", "del", `${this.#vip}/32`, "dev", "eth0"]));
    await attempt(this.host.inside(["nft", "flush", "ruleset"]));
    rmSync(this.host.stateDirectory, { recursive: true, force: true });
  }

  async regainPower(env: Readonly<Record<string, string>> = {}): Promise<void> {
    mkdirSync(this.host.stateDirectory, { recursive: true });
    await this.host.link.up();
    this.#hasPower = true;
    await this.startApi();
    await this.startAgent(env);
  }

  /** SIGKILL: no goodbye. */
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
  create(api, `/apis/coordination.k8s.io/v1/namespaces/${lease.metadata.namespace}/leases`, lease);
}

function create(api: EmbeddedApi, path: string, object: unknown): void {
  const { status } = api.store.handle({ method: "POST", path, body: JSON.stringify(object) });
  if (status !== 201) throw new Error(`${path}: ${status}`);
}

/** Makes the object that the watches watch, and changes it until stopped. */
function startTicker(api: EmbeddedApi): NodeJS.Timeout {
  create(api, TICKER, {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: "ticker", namespace: "default" },
    spec: {},
  });
  let tick = 0;
  return setInterval(() => {
    api.store.handle({
      method: "PATCH",
      path: `${TICKER}/ticker`,
      contentType: "application/merge-patch+json",
      body: JSON.stringify({ metadata: { annotations: { tick: String((tick += 1)) } } }),
    });
  }, TICK_MS);
}

/** The client's certificate, which kubeadm's admin.conf has, as files. */
function clientTls(kubeconfig: string, directory: string): TlsOptions {
  const text = readFileSync(kubeconfig, "utf8");
  const file = (name: string, member: string): string => {
    const path = join(directory, name);
    writeFileSync(path, Buffer.from(new RegExp(`${member}: (\\S+)`).exec(text)?.[1] ?? "", "base64"), {
      mode: 0o600,
    });
    return path;
  };
  return {
    caFile: file("ca.crt", "certificate-authority-data"),
    certFile: file("client.crt", "client-certificate-data"),
    keyFile: file("client.key", "client-key-data"),
  };
}

/** The machine of the clients, and what they see of the VIP. */
export class DemoClients {
  /** `VIP:port`, as the clients have it in their kubeconfigs. */
  readonly endpoint: string;
  readonly #host: Host;
  readonly #target: { readonly host: string; readonly port: number; readonly tls: TlsOptions };
  readonly #probe: ClientProbe;
  #watches: HeldConnections;
  #serial = 0;

  private constructor(
    host: Host,
    target: { readonly host: string; readonly port: number; readonly tls: TlsOptions },
    probe: ClientProbe,
    watches: HeldConnections,
  ) {
    this.endpoint = `${target.host}:${target.port}`;
    this.#host = host;
    this.#target = target;
    this.#probe = probe;
    this.#watches = watches;
  }

  static async start(host: Host, vip: string, port: number, tls: TlsOptions): Promise<DemoClients> {
    const target = { host: vip, port, tls };
    const watches = await DemoClients.#open(host, target, 0);
    const options = { host: vip, port, intervalMs: 20, timeoutMs: 1000, tls: {}, path: "/readyz" };
    return new DemoClients(host, target, await ClientProbe.start(host, options, "client"), watches);
  }

  static #open(
    host: Host,
    target: object & { host: string; port: number },
    serial: number,
  ): Promise<HeldConnections> {
    const path = `${TICKER}?watch=1&fieldSelector=metadata.name%3Dticker&timeoutSeconds=3600`;
    return HeldConnections.start(
      host,
      { ...target, mode: "watch", path, count: WATCHES },
      `watches-${serial}`,
    );
  }

  /** Opens new watches and closes the old ones. Some of these have ended, and a real client connects again. */
  async watchAgain(): Promise<void> {
    const before = this.#watches;
    this.#watches = await DemoClients.#open(this.#host, this.#target, (this.#serial += 1));
    await before[Symbol.asyncDispose]();
  }

  /** By server, so that a row of them can be read. */
  watches(nowMs: number): readonly WatchView[] {
    return this.#watches
      .all()
      .flatMap(({ openedMs, closedMs, lines }): WatchView[] => {
        const server = lines.find(({ text }) => text.startsWith("x-served-by: "))?.text.slice(13);
        if (openedMs === undefined || server === undefined) return [];
        const heardMs = lines.at(-1)?.atMs ?? openedMs;
        const state = closedMs !== undefined ? "ended" : nowMs - heardMs > SILENT_MS ? "silent" : "alive";
        return [{ server, state }];
      })
      .toSorted((a, b) => a.server.localeCompare(b.server));
  }

  /** Every attempt from the first one that was answered: before it there was nothing to miss. */
  attempts(): readonly Attempt[] {
    const all = this.#probe.attempts();
    const first = all.findIndex(({ ok }) => ok);
    return first < 0 ? [] : all.slice(first);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#probe.stop(), this.#watches[Symbol.asyncDispose]()]);
  }
}

export class DemoCluster implements AsyncDisposable {
  readonly lab: Lab;
  readonly nodes: readonly DemoNode[];
  readonly vip: string;
  readonly ownership: OwnershipSampler;
  readonly #api: EmbeddedApi;
  readonly #client: Host;
  readonly #ticker: NodeJS.Timeout;
  #clients: DemoClients | undefined;

  private constructor(
    lab: Lab,
    api: EmbeddedApi,
    nodes: readonly DemoNode[],
    ownership: OwnershipSampler,
    client: Host,
  ) {
    this.lab = lab;
    this.vip = lab.vip4;
    this.nodes = nodes;
    this.ownership = ownership;
    this.#api = api;
    this.#client = client;
    this.#ticker = startTicker(api);
  }

  /** Machines and API servers. The agents and the clients are started by the story. */
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
      return new DemoCluster(lab, api, nodes, await lab.ownership(), client);
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  /** undefined until {@link startClients}. */
  get clients(): DemoClients | undefined {
    return this.#clients;
  }

  /**
   * Waits until a node is MASTER, and starts the clients: a new TLS connection and one GET /readyz 50 times a
   * second, and the watches. They use VIP:6443. Without nft there are no rules that lead this port to a
   * balancer, so there they use the balancer's own.
   */
  async startClients(limitMs: number): Promise<DemoClients> {
    let mode = "starting";
    await this.lab.until(
      async () => {
        const all = await Promise.all(this.nodes.map((node) => node.status()));
        const master = all.find((status) => status?.election?.state === "MASTER");
        mode = master?.fastPath?.mode ?? "starting";
        return mode !== "starting" && master?.balancer.backends.some(({ grade }) => grade === "UP") === true;
      },
      limitMs,
      "a MASTER that balances",
    );
    const port = mode === "off" ? BALANCER_PORT : API_PORT;
    const admin = this.#api.kubeconfigs.get("n1")?.admin ?? "";
    const tls = clientTls(admin, this.lab.directory);
    this.#clients = await DemoClients.start(this.#client, this.vip, port, tls);
    return this.#clients;
  }

  node(name: string): DemoNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  async stop(): Promise<Cleaned> {
    clearInterval(this.#ticker);
    const cleaned = await this.lab.stop();
    await this.#api[Symbol.asyncDispose]();
    return cleaned;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
