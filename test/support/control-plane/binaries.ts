/**
 * Where the real control plane's programs come from: `KUBEBUILDER_ASSETS` (envtest's convention), or built
 * once from the Go modules that `binaries/go.mod` pins into a cache folder outside the repository.
 */
import { join } from "node:path";
import { cacheFolder, ensure, goModule, missingFrom } from "./go-build.ts";
import type { Environment, GoProgram } from "./go-build.ts";

export interface Binaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubectl: string;
  readonly kubeadm: string;
  /** Kubernetes' version, e.g. `v1.36.3`. */
  readonly version: string;
}

/** `unavailable`: one line for people; callers then run against the embedded API only. */
export type FoundBinaries =
  | { readonly kind: "found"; readonly binaries: Binaries }
  | { readonly kind: "unavailable"; readonly reason: string };

/** Kubernetes and etcd, as `binaries/go.mod` pins them. */
export const KUBERNETES = goModule("binaries", "k8s.io/kubernetes");
const KUBEADM: GoProgram = { name: "kubeadm", package: "k8s.io/kubernetes/cmd/kubeadm" };
const ASSETS: readonly GoProgram[] = [
  { name: "etcd", package: "go.etcd.io/etcd/server/v3" },
  { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" },
  { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" },
];

/**
 * Finds the programs, building what is missing.
 * @param progress receives one line where something slow begins
 */
export async function findBinaries(
  progress: (line: string) => void = () => {},
  environment: Environment = process.env,
): Promise<FoundBinaries> {
  const { version } = KUBERNETES;
  const cache = cacheFolder(environment);
  const built = join(cache, `control-plane-${version}`);
  try {
    const assets = environment["KUBEBUILDER_ASSETS"];
    if (assets === undefined || assets === "") {
      await ensure(KUBERNETES, built, [...ASSETS, KUBEADM], environment, progress);
      return { kind: "found", binaries: paths(built, built, version) };
    }
    const missing = await missingFrom(assets, ASSETS);
    if (missing.length > 0) return unavailable(`KUBEBUILDER_ASSETS=${assets} has no ${missing.join(", ")}`);
    // envtest's folder has no kubeadm, and its PKI is what users really have.
    if ((await missingFrom(assets, [KUBEADM])).length === 0) {
      return { kind: "found", binaries: paths(assets, assets, version) };
    }
    const whole = (await missingFrom(built, [KUBEADM])).length === 0;
    const folder = whole ? built : join(cache, `kubeadm-${version}`);
    if (!whole) await ensure(KUBERNETES, folder, [KUBEADM], environment, progress);
    return { kind: "found", binaries: paths(assets, folder, version) };
  } catch (error) {
    return unavailable(error instanceof Error ? error.message : String(error));
  }
}

function unavailable(reason: string): FoundBinaries {
  const line = reason.replaceAll(/\s+/g, " ").trim();
  return { kind: "unavailable", reason: `no real control plane: ${line}` };
}

function paths(assets: string, kubeadm: string, version: string): Binaries {
  return {
    etcd: join(assets, "etcd"),
    kubeApiserver: join(assets, "kube-apiserver"),
    kubectl: join(assets, "kubectl"),
    kubeadm: join(kubeadm, "kubeadm"),
    version,
  };
}
