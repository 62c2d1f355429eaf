/**
 * One control-plane node: an etcd member and a kube-apiserver in the network namespace that the caller made.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { hostPort } from "../../../src/net.ts";
import type { Binaries } from "./binaries.ts";
import type { Kubeconfigs, NodePki } from "./pki.ts";
import type { Run } from "./process.ts";
import { output, ServerProcess } from "./process.ts";

/** Where the programs listen when the node shares its network with others. */
export interface LoopbackPorts {
  readonly api: number;
  readonly etcdClient: number;
  readonly etcdPeer: number;
}

export interface NodeSpec {
  readonly name: string;
  /** The node's own address, numeric; what its API server advertises. */
  readonly ip: string;
  /** Starts a program in the node's network namespace, where loopback must be up. */
  readonly run: Run;
  /** Listen on these ports of 127.0.0.1 only, instead of the usual ones on every address. */
  readonly loopback?: LoopbackPorts;
}

/** What all nodes share. */
export interface ClusterShape {
  readonly binaries: Binaries;
  readonly nodes: readonly NodeSpec[];
  readonly vips: readonly string[];
  readonly serviceSubnet: string;
  /** Of every kube-apiserver, beside what kubeadm's manifest has. */
  readonly apiServerFlags?: Readonly<Record<string, string>>;
  /** Parent of the etcd members' data, on tmpfs. */
  readonly dataDir: string;
}

const WAIT_READY = fileURLToPath(new URL("wait-ready.ts", import.meta.url));

export class ControlPlaneNode {
  readonly name: string;
  readonly ip: string;
  readonly etcd: ServerProcess;
  readonly apiServer: ServerProcess;
  /** See {@link NodePki.etcKubernetes}. */
  readonly etcKubernetes: string;
  /** Kubeconfigs whose server is this node's own API server. */
  readonly kubeconfigs: Kubeconfigs;
  /** `https://host:port` of the API server, as the node itself and its peers reach it. */
  readonly server: string;
  readonly #kubectl: string;
  readonly #run: Run;

  constructor(shape: ClusterShape, spec: NodeSpec, etcd: ServerProcess, pki: NodePki, dir: string) {
    this.name = spec.name;
    this.ip = spec.ip;
    this.server = serverUrl(spec);
    this.etcd = etcd;
    this.etcKubernetes = pki.etcKubernetes;
    this.kubeconfigs = pki.kubeconfigs;
    this.#kubectl = shape.binaries.kubectl;
    this.#run = spec.run;
    const argv = apiServerArgv(shape, spec, join(pki.etcKubernetes, "pki"));
    this.apiServer = new ServerProcess(
      `${spec.name}/kube-apiserver`,
      argv,
      spec.run,
      join(dir, "kube-apiserver.log"),
    );
  }

  /**
   * Resolves when the node's API server answers /readyz with 200. @throws Error that says what it answered
   * instead
   */
  async ready(timeoutMs = 60_000): Promise<void> {
    const argv = [process.execPath, WAIT_READY, this.server, this.kubeconfigs.superAdmin, String(timeoutMs)];
    try {
      await output(argv, { run: this.#run, timeoutMs: timeoutMs + 10_000 });
    } catch (error) {
      throw new Error(`${this.name} is not ready, see ${this.apiServer.logFile}`, { cause: error });
    }
  }

  /**
   * Runs kubectl in the node's namespace against its own API server, as super-admin unless told otherwise.
   */
  kubectl(
    args: readonly string[],
    options: { readonly as?: keyof Kubeconfigs; readonly input?: string; readonly timeoutMs?: number } = {},
  ): Promise<string> {
    const { as = "superAdmin", ...rest } = options;
    return output([this.#kubectl, "--kubeconfig", this.kubeconfigs[as], ...args], {
      ...rest,
      run: this.#run,
    });
  }
}

export function serverUrl(spec: NodeSpec): string {
  return `https://${spec.loopback === undefined ? hostPort(spec.ip, 6443) : hostPort("127.0.0.1", spec.loopback.api)}`;
}

export function etcdProcess(shape: ClusterShape, spec: NodeSpec, dir: string): ServerProcess {
  const peer = (node: NodeSpec): string =>
    node.loopback === undefined
      ? `http://${hostPort(node.ip, 2380)}`
      : `http://127.0.0.1:${node.loopback.etcdPeer}`;
  const local = etcdClientUrl(spec);
  const clients = spec.loopback === undefined ? [`http://${hostPort(spec.ip, 2379)}`, local] : [local];
  const argv = [
    shape.binaries.etcd,
    ...flags({
      name: spec.name,
      "data-dir": join(shape.dataDir, spec.name),
      "listen-peer-urls": peer(spec),
      "initial-advertise-peer-urls": peer(spec),
      "listen-client-urls": clients.join(","),
      "advertise-client-urls": clients[0] ?? local,
      "initial-cluster": shape.nodes.map((node) => `${node.name}=${peer(node)}`).join(","),
      "initial-cluster-state": "new",
      // Its page cache outlives the process, which is all that these tests ever kill.
      "unsafe-no-fsync": "true",
      logger: "zap",
      "log-level": "warn",
    }),
  ];
  return new ServerProcess(`${spec.name}/etcd`, argv, spec.run, join(dir, "etcd.log"));
}

function etcdClientUrl(spec: NodeSpec): string {
  return `http://127.0.0.1:${spec.loopback?.etcdClient ?? 2379}`;
}

/** kubeadm's manifest, flag by flag, but for etcd's TLS. */
function apiServerArgv(shape: ClusterShape, spec: NodeSpec, pki: string): readonly string[] {
  const file = (name: string): string => join(pki, name);
  const sixAnywhere = [...shape.vips, ...shape.nodes.map(({ ip }) => ip)].some((ip) => ip.includes(":"));
  const anyAddress = sixAnywhere ? "::" : "0.0.0.0";
  return [
    shape.binaries.kubeApiserver,
    ...flags({
      "advertise-address": spec.ip,
      "bind-address": spec.loopback === undefined ? anyAddress : "127.0.0.1",
      "secure-port": String(spec.loopback?.api ?? 6443),
      "etcd-servers": etcdClientUrl(spec),
      "client-ca-file": file("ca.crt"),
      "tls-cert-file": file("apiserver.crt"),
      "tls-private-key-file": file("apiserver.key"),
      "kubelet-client-certificate": file("apiserver-kubelet-client.crt"),
      "kubelet-client-key": file("apiserver-kubelet-client.key"),
      "proxy-client-cert-file": file("front-proxy-client.crt"),
      "proxy-client-key-file": file("front-proxy-client.key"),
      "requestheader-allowed-names": "front-proxy-client",
      "requestheader-client-ca-file": file("front-proxy-ca.crt"),
      "requestheader-extra-headers-prefix": "X-Remote-Extra-",
      "requestheader-group-headers": "X-Remote-Group",
      "requestheader-username-headers": "X-Remote-User",
      "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
      "service-account-key-file": file("sa.pub"),
      "service-account-signing-key-file": file("sa.key"),
      "service-cluster-ip-range": shape.serviceSubnet,
      "authorization-mode": "Node,RBAC",
      "enable-admission-plugins": "NodeRestriction",
      "allow-privileged": "true",
      ...shape.apiServerFlags,
    }),
  ];
}

function flags(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}
