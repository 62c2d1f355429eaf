/**
 * The cluster of the staged incidents: three nodes with an etcd member, a kube-apiserver and an agent each, all of them
 * static pods that kubeadm and `leasehold manifest pod` have written, and two machines beside the cluster.
 */
import { cpSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AgentStatus } from "../../../src/ops/status.ts";
import type { Binaries } from "../control-plane/binaries.ts";
import { Fetcher } from "../lab/fetcher.ts";
import type { Host } from "../lab/host.ts";
import { createLab } from "../lab/lab.ts";
import type { Lab } from "../lab/lab.ts";
import { blocksOf } from "../guide/guide.ts";
import { Machine } from "./machine.ts";

export interface IncidentPrograms {
  readonly binaries: Binaries;
  /** Path of etcdctl. */
  readonly etcdctl: string;
}

export interface ClusterOptions {
  /** Flags of `leasehold manifest pod`, beside --vip, on every node. */
  readonly podFlags?: string;
  /** Size of a disk for /var/lib/leasehold on that node. */
  readonly dataSize?: Readonly<Record<string, string>>;
}

const IMAGE = "ctr -n k8s.io run --rm docker.io/library/leasehold:0.1.0 leasehold-manifest";
/** What every control plane of one cluster shares, below /etc/kubernetes/pki. */
const SHARED = [
  "ca.crt",
  "ca.key",
  "front-proxy-ca.crt",
  "front-proxy-ca.key",
  "sa.key",
  "sa.pub",
  "etcd/ca.crt",
  "etcd/ca.key",
];
const READY_MS = 90_000;

export class Node extends Machine {
  readonly #fetcher: Fetcher;

  constructor(host: Host, fetcher: Fetcher, options: ConstructorParameters<typeof Machine>[1]) {
    super(host, options);
    this.#fetcher = fetcher;
  }

  /** @throws Error while the agent does not answer */
  async status(): Promise<AgentStatus> {
    const { status, body } = await this.#fetcher.get("http://127.0.0.1:10081/status");
    if (status !== 200) throw new Error(`${this.name}: /status answered ${status}: ${body}`);
    return JSON.parse(body);
  }

  async metrics(): Promise<string> {
    return (await this.#fetcher.get("http://127.0.0.1:10081/metrics")).body;
  }

  /** kubectl as super-admin.conf, by this node's own API server. */
  kubectl(args: string, timeoutMs = 20_000): Promise<string> {
    const own = `--kubeconfig /etc/kubernetes/super-admin.conf --server https://${this.host.ipv4}:6443`;
    return this.type(`kubectl ${own} --request-timeout 10s ${args}`, timeoutMs);
  }
}

export class IncidentCluster implements AsyncDisposable {
  readonly lab: Lab;
  readonly nodes: readonly Node[];
  /** A workstation. */
  readonly client: Machine;
  /** A machine of the same network that has nothing to do with the cluster. */
  readonly neighbour: Machine;

  constructor(lab: Lab, nodes: readonly Node[], client: Machine, neighbour: Machine) {
    this.lab = lab;
    this.nodes = nodes;
    this.client = client;
    this.neighbour = neighbour;
  }

  get vip(): string {
    return this.lab.vip4;
  }

  get machines(): readonly Machine[] {
    return [...this.nodes, this.client, this.neighbour];
  }

  node(name: string): Node {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  others(node: Node): readonly Node[] {
    return this.nodes.filter((other) => other !== node);
  }

  /** Nodes whose kernel has the VIP. A machine without power has nothing. */
  async bound(): Promise<readonly Node[]> {
    const have = await Promise.all(
      this.nodes.map(async (node) =>
        node.pid === undefined
          ? false
          : (await node.type("ip -o address show dev eth0")).includes(` ${this.vip}/32 `),
      ),
    );
    return this.nodes.filter((_, index) => have[index]);
  }

  /** The node that holds the Lease by its own word, with the VIP in its kernel, and no other. */
  async holder(): Promise<Node | undefined> {
    const [only, ...more] = await this.bound();
    if (only === undefined || more.length > 0) return undefined;
    const { election } = await only.status();
    return election?.state === "MASTER" && election.confirmed ? only : undefined;
  }

  /** Every node of `nodes` takes part, one of them holds the VIP, and each sees `servers` API servers UP. */
  async isWell(nodes: readonly Node[] = this.nodes): Promise<boolean> {
    const holder = await this.holder();
    if (holder === undefined || !nodes.includes(holder)) return false;
    for (const node of nodes) {
      const { election, balancer } = await node.status();
      if (election === null || (election.state !== "MASTER" && election.state !== "BACKUP")) return false;
      if (!election.eligible) return false;
      const up = balancer.backends.filter(({ grade }) => grade === "UP");
      if (up.length !== nodes.length || balancer.backends.length !== nodes.length) return false;
    }
    return true;
  }

  /** How many of `times` new connections from the workstation to the VIP's API are answered. */
  async answered(times: number): Promise<number> {
    const one = `curl -sk -o /dev/null --max-time 2 -w '%{http_code}\\n' https://${this.vip}:6443/livez`;
    const { stdout } = await this.client.try(`for i in $(seq ${times}); do ${one}; done`);
    return stdout.split("\n").filter((line) => line === "200").length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
  }
}

/** Starts the cluster and waits until it is well. `progress` receives a line where something slow begins. */
export async function startCluster(
  { binaries, etcdctl }: IncidentPrograms,
  options: ClusterOptions = {},
  progress: (line: string) => void = () => {},
): Promise<IncidentCluster> {
  const lab = await createLab();
  try {
    const programs = [binaries.etcd, binaries.kubeApiserver, binaries.kubectl, binaries.kubeadm, etcdctl];
    const nodes = await Promise.all(
      ["n1", "n2", "n3"].map(async (name) => {
        const host = await lab.node(name);
        const dataSize = options.dataSize?.[name];
        const fetcher = lab.own(new Fetcher(host));
        return new Node(host, fetcher, { programs, ...(dataSize === undefined ? {} : { dataSize }) });
      }),
    );
    const client = new Machine(await lab.client("client"));
    const neighbour = new Machine(await lab.client("db1"));
    const cluster = new IncidentCluster(lab, nodes, client, neighbour);
    await Promise.all(cluster.machines.map((machine) => machine.boot()));
    progress("kubeadm makes the certificates and the manifests");
    await writeControlPlane(cluster, binaries.version);
    progress("etcd and the API servers start");
    await lab.until(
      async () => {
        for (const node of nodes) await node.kubectl("get --raw /readyz", 5_000);
        return true;
      },
      READY_MS,
      "every API server is ready",
    );
    progress("Leasehold is set up, as the README says");
    await setUp(cluster, options.podFlags ?? "");
    await lab.until(() => cluster.isWell(), READY_MS, "one MASTER, two BACKUP, every API server UP");
    return cluster;
  } catch (error) {
    await lab.stop();
    throw error;
  }
}

/** kubeadm's own files on every node. The second and the third node share the first one's authorities. */
async function writeControlPlane({ nodes, vip }: IncidentCluster, version: string): Promise<void> {
  const members = nodes.map(({ name, host }) => `${name}=https://${host.ipv4}:2380`).join(",");
  const [first] = nodes;
  for (const node of nodes) {
    const documents = [
      {
        apiVersion: "kubeadm.k8s.io/v1beta4",
        kind: "InitConfiguration",
        localAPIEndpoint: { advertiseAddress: node.host.ipv4, bindPort: 6443 },
        nodeRegistration: { name: node.name, criSocket: "unix:///run/containerd/containerd.sock" },
      },
      {
        apiVersion: "kubeadm.k8s.io/v1beta4",
        kind: "ClusterConfiguration",
        kubernetesVersion: version,
        controlPlaneEndpoint: `${vip}:6443`,
        apiServer: { certSANs: [vip] },
        etcd: {
          local: {
            dataDir: "/var/lib/etcd",
            extraArgs: [
              { name: "initial-cluster", value: members },
              { name: "initial-cluster-state", value: "new" },
              // What only a power loss of the real machine would lose.
              { name: "unsafe-no-fsync", value: "true" },
            ],
          },
        },
      },
    ];
    if (first !== undefined && node !== first) {
      for (const name of SHARED) {
        const target = node.disk(join("/etc/kubernetes/pki", name));
        mkdirSync(dirname(target), { recursive: true });
        cpSync(first.disk(join("/etc/kubernetes/pki", name)), target);
      }
    }
    await node.type(`cat >/root/kubeadm-init.yaml <<'END'
${documents.map((document) => JSON.stringify(document)).join("\n---\n")}
END
for phase in "certs all" "kubeconfig admin" "kubeconfig super-admin" "control-plane apiserver" "etcd local"; do
  kubeadm init phase $phase --config /root/kubeadm-init.yaml
done >/root/kubeadm-init.log 2>&1
rm /root/kubeadm-init.yaml`);
  }
}

/** kubeadm's last steps, and then steps 2, 3 and 5 of the README's quick start. */
async function setUp({ nodes, vip }: IncidentCluster, podFlags: string): Promise<void> {
  const [first] = nodes;
  if (first === undefined) return;
  await first.kubectl(
    "create clusterrolebinding kubeadm:cluster-admins --clusterrole cluster-admin --group kubeadm:cluster-admins",
  );
  // No kubelet registers these nodes.
  const list = nodes.map(({ name, host }) => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      labels: { "kubernetes.io/hostname": name, "node-role.kubernetes.io/control-plane": "" },
    },
    status: {
      addresses: [{ type: "InternalIP", address: host.ipv4 }],
      conditions: [{ type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime: null }],
    },
  }));
  const configuration = {
    apiVersion: "kubeadm.k8s.io/v1beta4",
    kind: "ClusterConfiguration",
    controlPlaneEndpoint: `${vip}:6443`,
    certificatesDir: "/etc/kubernetes/pki",
    kubernetesVersion: "v1.36.3",
  };
  const objects = {
    apiVersion: "v1",
    kind: "List",
    items: [
      ...list,
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "kubeadm-config", namespace: "kube-system" },
        data: { ClusterConfiguration: JSON.stringify(configuration) },
      },
    ],
  };
  await first.kubectl(`apply -f - <<'END'\n${JSON.stringify(objects)}\nEND`);
  for (const { metadata, status } of list)
    await first.kubectl(
      `patch node ${metadata.name} --subresource status -p '${JSON.stringify({ status })}'`,
    );
  await first.type(`export KUBECONFIG=/etc/kubernetes/admin.conf
${IMAGE} leasehold manifest rbac | kubectl --server https://${first.host.ipv4}:6443 apply -f -`);
  await Promise.all(
    nodes.map((node) =>
      node.type(`(umask 077 && mkdir -p /etc/kubernetes/leasehold &&
${makeKubeconfig(node)})
${IMAGE} leasehold manifest cli --vip ${vip} > /usr/local/sbin/leasehold && chmod 0755 /usr/local/sbin/leasehold
(umask 077 && ${IMAGE} leasehold manifest pod --vip ${vip} ${podFlags} > /etc/kubernetes/leasehold.yaml) &&
  mv /etc/kubernetes/leasehold.yaml /etc/kubernetes/manifests/`),
    ),
  );
}

/** Step 5 of the README's quick start, which reads the API through the VIP, by this node's own API server. */
function makeKubeconfig(node: Node): string {
  const block = blocksOf("README.md").find(({ text }) => text.includes("kubeadm kubeconfig user"));
  if (block === undefined) throw new Error("README.md has no kubeadm kubeconfig user");
  return block.text.replace("kubectl get", `kubectl --server https://${node.host.ipv4}:6443 get`);
}
