/**
 * A real control plane on one machine: an etcd member and a kube-apiserver per node, PKI by kubeadm. Three
 * nodes are ready in about 11 s and take about 950 MiB.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "../../../src/log.ts";
import type { Binaries } from "./binaries.ts";
import type { ClusterShape, LoopbackPorts, NodeSpec } from "./node.ts";
import { ControlPlaneNode, etcdProcess, serverUrl } from "./node.ts";
import type { NodePki } from "./pki.ts";
import { makePki } from "./pki.ts";
import { runHere } from "./process.ts";

export interface ControlPlaneOptions {
  readonly binaries: Binaries;
  readonly nodes: readonly NodeSpec[];
  /** The first is kubeadm's controlPlaneEndpoint; all are in the API servers' certificates. */
  readonly vips: readonly string[];
  /** Logs, PKI and kubeconfigs go into `dir/NODE/`. The caller removes it. */
  readonly dir: string;
  readonly log: Logger;
  /** See {@link ClusterShape.apiServerFlags}. */
  readonly apiServerFlags?: Readonly<Record<string, string>>;
  /**
   * What there is when {@link startControlPlane} returns. Default `ready`: every API server is ready,
   * kubeadm's ClusterRoleBinding and `manifests/rbac.yaml` are there. `files`: certificates and kubeconfigs,
   * and nothing runs: what kubeadm has made before it starts anything.
   */
  readonly until?: "files" | "ready";
}

const RBAC = fileURLToPath(new URL("../../../manifests/rbac.yaml", import.meta.url));

export class ControlPlane implements AsyncDisposable {
  readonly nodes: readonly ControlPlaneNode[];
  readonly #dataDir: string;

  constructor(nodes: readonly ControlPlaneNode[], dataDir: string) {
    this.nodes = nodes;
    this.#dataDir = dataDir;
  }

  node(name: string): ControlPlaneNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no control-plane node ${name}`);
    return found;
  }

  /** Resolves when every API server is ready. */
  async ready(timeoutMs = 60_000): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.ready(timeoutMs)));
  }

  /** What `kubeadm init` does last: gives admin.conf its rights. */
  async bindAdmins(): Promise<void> {
    const binding = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "kubeadm:cluster-admins" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "kubeadm:cluster-admins" }],
    };
    await this.#first().kubectl(["apply", "-f", "-"], { input: JSON.stringify(binding) });
  }

  /** Applies what users apply: `manifests/rbac.yaml`. */
  async applyRbac(): Promise<void> {
    await this.#first().kubectl(["apply", "-f", RBAC]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const programs = this.nodes.flatMap(({ apiServer, etcd }) => [apiServer, etcd]);
    await Promise.all(programs.map((program) => program.kill()));
    await rm(this.#dataDir, { recursive: true, force: true });
  }

  #first(): ControlPlaneNode {
    const [first] = this.nodes;
    if (first === undefined) throw new Error("a control plane has at least one node");
    return first;
  }
}

/**
 * Starts a control plane; disposing of the result ends every program. Cleans up after itself when it fails.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const six = options.nodes[0]?.ip.includes(":") === true;
  const shape: ClusterShape = {
    binaries: options.binaries,
    nodes: options.nodes,
    vips: options.vips,
    serviceSubnet: six ? "fd00:10:96::/112" : "10.96.0.0/12",
    apiServerFlags: options.apiServerFlags ?? {},
    dataDir: await tmpfsFolder(options.nodes.length),
  };
  const begun = performance.now();
  const folder = (spec: NodeSpec): string => join(options.dir, spec.name);
  await Promise.all(options.nodes.map((spec) => mkdir(folder(spec), { recursive: true })));
  const etcds = new Map(options.nodes.map((spec) => [spec, etcdProcess(shape, spec, folder(spec))]));
  const nodes: ControlPlaneNode[] = [];
  const starts = options.until !== "files";
  try {
    // etcd needs no certificates here: its members elect a leader while kubeadm makes them.
    if (starts) await Promise.all([...etcds.values()].map((etcd) => etcd.start()));
    let first: NodePki | undefined;
    for (const [spec, etcd] of etcds) {
      const { binaries, vips, serviceSubnet } = shape;
      const request = {
        binaries,
        vips,
        serviceSubnet,
        node: spec.name,
        ip: spec.ip,
        server: serverUrl(spec),
        dir: folder(spec),
      };
      const pki = await makePki(request, first);
      first ??= pki;
      const node = new ControlPlaneNode(shape, spec, etcd, pki, folder(spec));
      nodes.push(node);
      if (starts) await node.apiServer.start();
    }
    const cluster = new ControlPlane(nodes, shape.dataDir);
    if (starts) {
      await cluster.ready();
      await Promise.all([cluster.bindAdmins(), cluster.applyRbac()]);
      options.log.info(
        { nodes: nodes.length, ms: Math.round(performance.now() - begun) },
        "control plane ready",
      );
    }
    return cluster;
  } catch (error) {
    for (const etcd of etcds.values()) await etcd.kill();
    await new ControlPlane(nodes, shape.dataDir)[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * One API server on random ports of 127.0.0.1, in this process' own namespace and without privileges. It
 * advertises an address of RFC 5737, which nobody has: an EndpointSlice refuses loopback addresses.
 */
export async function startLoopbackControlPlane(
  options: Pick<ControlPlaneOptions, "binaries" | "dir" | "log">,
): Promise<ControlPlane> {
  const spec: NodeSpec = { name: "n1", ip: "192.0.2.1", run: runHere, loopback: await freePorts() };
  return startControlPlane({ ...options, nodes: [spec], vips: ["192.0.2.100"] });
}

/** Held all at once, so that they differ, then let go. */
async function freePorts(): Promise<LoopbackPorts> {
  const servers = [createServer(), createServer(), createServer()];
  const [api = 0, etcdClient = 0, etcdPeer = 0] = await Promise.all(
    servers.map(async (server) => {
      await new Promise<void>((resolve, reject) =>
        server.once("error", reject).listen(0, "127.0.0.1", resolve),
      );
      const address = server.address();
      return address !== null && typeof address === "object" ? address.port : 0;
    }),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return { api, etcdClient, etcdPeer };
}

/** etcd preallocates 64 MB of log a member; a container's /dev/shm may be smaller than three of them. */
async function tmpfsFolder(members: number): Promise<string> {
  const shm = "/dev/shm";
  const free = await statfs(shm).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  const parent = free > members * 256 * 2 ** 20 ? shm : tmpdir();
  await reap(parent);
  return mkdtemp(join(parent, `${DATA_PREFIX}${process.pid}-`));
}

const DATA_PREFIX = "leasehold-etcd-";

/** Removes what killed test runs left behind: their programs ended with them, see process.ts. */
async function reap(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = name.startsWith(DATA_PREFIX)
      ? Number.parseInt(name.slice(DATA_PREFIX.length), 10)
      : Number.NaN;
    if (pid > 0 && !existsSync(`/proc/${pid}`))
      await rm(join(parent, name), { recursive: true, force: true });
  }
}
