/**
 * The programs of a kubeadm cluster, built once into the cache: Kubernetes, etcd, etcdctl, containerd, crictl,
 * pause.
 */
import { join } from "node:path";
import { findBinaries, KUBERNETES } from "../control-plane/binaries.ts";
import { cacheFolder, ensure, goModule } from "../control-plane/go-build.ts";
import type { Environment, GoModule, GoProgram } from "../control-plane/go-build.ts";

export interface ClusterPrograms {
  /** Folders with the programs that a node has on its PATH. */
  readonly folders: readonly string[];
  /** Kubernetes' version, e.g. `v1.36.3`. */
  readonly version: string;
}

const kubernetes = (name: string): GoProgram => ({ name, package: `k8s.io/kubernetes/cmd/${name}` });
const containerd = (name: string): GoProgram => ({
  name,
  package: `github.com/containerd/containerd/v2/cmd/${name}`,
});

interface Part {
  readonly name: string;
  readonly module: GoModule;
  readonly programs: readonly GoProgram[];
}

/** Of the version of etcd in binaries/go.mod. It goes into etcd's image, as in the released one. */
const ETCDCTL: Part = {
  name: "etcdctl",
  module: goModule("etcdctl", "go.etcd.io/etcd/etcdctl/v3"),
  programs: [{ name: "etcdctl", package: "go.etcd.io/etcd/etcdctl/v3" }],
};
const PARTS: readonly Part[] = [
  {
    name: "kubelet",
    module: KUBERNETES,
    programs: ["kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"].map(kubernetes),
  },
  // The kubelet of 1.36 needs containerd 2. Debian 12 has 1.6.
  {
    name: "containerd",
    module: goModule("containerd", "github.com/containerd/containerd/v2"),
    programs: ["containerd", "containerd-shim-runc-v2", "ctr"].map(containerd),
  },
  {
    name: "crictl",
    module: goModule("crictl", "sigs.k8s.io/cri-tools"),
    programs: [{ name: "crictl", package: "sigs.k8s.io/cri-tools/cmd/crictl" }],
  },
  ETCDCTL,
  {
    name: "pause",
    module: { folder: join(KUBERNETES.folder, "..", "pause"), version: "v1.0.0" },
    programs: [{ name: "pause", package: "leasehold.dev/test/pause" }],
  },
];

/**
 * Finds kubeadm 1.36.0, building it if it is missing. Its `init` waits for the API server through the control
 * plane's endpoint, the VIP. Later versions wait for the node's own address.
 * @returns the folder with it
 */
export async function findOlderKubeadm(progress: (line: string) => void): Promise<string> {
  const module = goModule("kubeadm-1.36.0", "k8s.io/kubernetes");
  const folder = join(cacheFolder(process.env), `kubeadm-${module.version}`);
  await ensure(module, folder, [kubernetes("kubeadm")], process.env, progress);
  return folder;
}

/** Finds etcdctl, building it if it is missing. Returns its path. @throws Error when it cannot be built */
export async function findEtcdctl(progress: (line: string) => void): Promise<string> {
  return join(await built(ETCDCTL, process.env, progress), "etcdctl");
}

/** Returns the folder with the programs of that part. */
async function built(
  { name, module, programs }: Part,
  environment: Environment,
  progress: (line: string) => void,
): Promise<string> {
  const folder = join(cacheFolder(environment), `${name}-${module.version}`);
  await ensure(module, folder, programs, environment, progress);
  return folder;
}

/**
 * Finds the programs, building what is missing.
 * @param progress receives one line where something slow begins
 * @throws Error when one cannot be built
 */
export async function findPrograms(progress: (line: string) => void): Promise<ClusterPrograms> {
  // The programs of KUBEBUILDER_ASSETS may be of another version than the kubelet.
  const { KUBEBUILDER_ASSETS: _, ...environment } = process.env;
  const found = await findBinaries(progress, environment);
  if (found.kind === "unavailable") throw new Error(found.reason);
  const folders = [join(found.binaries.kubeadm, "..")];
  for (const part of PARTS) folders.push(await built(part, environment, progress));
  return { folders, version: found.binaries.version };
}
