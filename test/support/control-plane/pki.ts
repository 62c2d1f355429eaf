/**
 * Certificates, keys and kubeconfigs of one node, made by kubeadm itself: names and contents as users have
 * them.
 */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hostPort } from "../../../src/net.ts";
import type { Binaries } from "./binaries.ts";
import { output } from "./process.ts";

export interface Kubeconfigs {
  /** Group `kubeadm:cluster-admins`: 403 everywhere until kubeadm's ClusterRoleBinding exists. */
  readonly admin: string;
  /** Group `system:masters`. */
  readonly superAdmin: string;
  /** User `leasehold`, group `leasehold:agents`; what manifests/rbac.yaml gives rights to. */
  readonly agent: string;
}

export interface NodePki {
  /**
   * What `/etc/kubernetes` is on a real node: `pki/`, `admin.conf`, `super-admin.conf` and the agent's
   * `leasehold/kubeconfig`, every kubeconfig with the VIP as its server.
   */
  readonly etcKubernetes: string;
  /** The same credentials with the node's own API server as server. */
  readonly kubeconfigs: Kubeconfigs;
}

export interface PkiRequest {
  readonly binaries: Binaries;
  readonly node: string;
  readonly ip: string;
  readonly vips: readonly string[];
  readonly serviceSubnet: string;
  /** `https://...` of this node's API server in {@link NodePki.kubeconfigs}. */
  readonly server: string;
  readonly dir: string;
}

const SHARED = ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"];

/** @param first the first node's PKI, whose certificate authorities this node shares; undefined makes them */
export async function makePki(request: PkiRequest, first: NodePki | undefined): Promise<NodePki> {
  const etcKubernetes = join(request.dir, "kubernetes");
  const pki = join(etcKubernetes, "pki");
  const local = join(request.dir, "kubeconfig");
  await Promise.all(
    [pki, local, join(etcKubernetes, "leasehold")].map((path) => mkdir(path, { recursive: true })),
  );
  if (first !== undefined) {
    await Promise.all(
      SHARED.map((name) => copyFile(join(first.etcKubernetes, "pki", name), join(pki, name))),
    );
  }
  const config = join(request.dir, "kubeadm.yaml");
  await writeFile(config, kubeadmConfig(request, pki));
  const kubeadm = (...args: string[]): Promise<string> =>
    output([request.binaries.kubeadm, ...args, "--config", config]);
  await kubeadm("init", "phase", "certs", "all");
  await kubeadm("init", "phase", "kubeconfig", "admin", "--kubeconfig-dir", etcKubernetes);
  await kubeadm("init", "phase", "kubeconfig", "super-admin", "--kubeconfig-dir", etcKubernetes);
  const agent = await kubeadm(
    "kubeconfig",
    "user",
    "--client-name",
    "leasehold",
    "--org",
    "leasehold:agents",
  );
  await writeFile(join(etcKubernetes, "leasehold", "kubeconfig"), agent, { mode: 0o600 });

  const localize = async (from: string, name: string): Promise<string> => {
    const text = await readFile(join(etcKubernetes, from), "utf8");
    await writeFile(join(local, name), text.replace(/^( *server: ).*$/m, `$1${request.server}`), {
      mode: 0o600,
    });
    return join(local, name);
  };
  return {
    etcKubernetes,
    kubeconfigs: {
      admin: await localize("admin.conf", "admin.conf"),
      superAdmin: await localize("super-admin.conf", "super-admin.conf"),
      agent: await localize("leasehold/kubeconfig", "agent.conf"),
    },
  };
}

/**
 * JSON is YAML. External etcd keeps `certs all` from making etcd's certificates: ours listens without TLS.
 */
function kubeadmConfig(request: PkiRequest, pki: string): string {
  const apiVersion = "kubeadm.k8s.io/v1beta4";
  const init = {
    apiVersion,
    kind: "InitConfiguration",
    localAPIEndpoint: { advertiseAddress: request.ip, bindPort: 6443 },
    // Named, or kubeadm looks for one on this machine and fails where it finds two.
    nodeRegistration: { name: request.node, criSocket: "unix:///run/containerd/containerd.sock" },
  };
  const cluster = {
    apiVersion,
    kind: "ClusterConfiguration",
    kubernetesVersion: request.binaries.version,
    certificatesDir: pki,
    controlPlaneEndpoint: hostPort(request.vips[0] ?? request.ip, 6443),
    apiServer: { certSANs: [...request.vips, request.ip, "127.0.0.1", "::1", "localhost"] },
    networking: { serviceSubnet: request.serviceSubnet },
    etcd: { external: { endpoints: ["http://127.0.0.1:2379"] } },
  };
  return `${JSON.stringify(init)}\n---\n${JSON.stringify(cluster)}\n`;
}
