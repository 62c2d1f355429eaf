/**
 * What the lab needs besides the commands of the guides: this list is the whole difference between what a
 * page says and what the tests type.
 */

/** Text of the guides that is replaced when it is typed, with the reason. */
export interface Replacement {
  readonly text: string;
  readonly by: string;
  readonly because: string;
}

/** kubeadm refuses cgroup v1 in its check SystemVerification, also where failCgroupV1 is false. */
export const CGROUP_V1: Replacement = {
  text: "DirAvailable--etc-kubernetes-manifests",
  by: "DirAvailable--etc-kubernetes-manifests,SystemVerification",
  because: "the machines of the tests may have cgroup v1",
};

/** The words of `kubeadm join` in the guides that stand for what `kubeadm init` has printed. */
export function printedBy(init: string): readonly Replacement[] {
  const word = (flag: string, text: string, lead = ""): Replacement => {
    const value = new RegExp(`${flag} ${lead}(\\S+)`).exec(init)?.[1];
    if (value === undefined) throw new Error(`kubeadm init has printed no ${flag}: ${init}`);
    return {
      text: `${flag} ${lead}${text}`,
      by: `${flag} ${lead}${value}`,
      because: "kubeadm init prints it",
    };
  };
  return [
    word("--token", "TOKEN"),
    word("--discovery-token-ca-cert-hash", "HASH", "sha256:"),
    word("--certificate-key", "KEY"),
  ];
}

/** Applies `replacements`. @throws Error when one of them finds nothing, because the page has changed then */
export function replaced(text: string, replacements: readonly Replacement[]): string {
  return replacements.reduce((result, { text: from, by, because }) => {
    if (!result.includes(from)) throw new Error(`nothing to replace: ${from} (${because}) in ${text}`);
    return result.replaceAll(from, by);
  }, text);
}

/** Settings of a guide's kubeadm.yaml that only the lab needs. JSON is YAML. */
const ADDITIONS: readonly { readonly document: unknown; readonly because: string }[] = [
  {
    because: "no name server, so CoreDNS has nothing to forward to",
    document: {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      kind: "InitConfiguration",
      skipPhases: ["addon/coredns"],
    },
  },
  {
    because: "several kubelets on one machine, which may have cgroup v1 and no systemd",
    document: {
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      failCgroupV1: false,
      cgroupDriver: "cgroupfs",
      enforceNodeAllocatable: [],
      oomScoreAdj: 0,
      makeIPTablesUtilChains: false,
      imageGCHighThresholdPercent: 100,
      evictionHard: {
        "memory.available": "50Mi",
        "nodefs.available": "1%",
        "imagefs.available": "1%",
        "nodefs.inodesFree": "1%",
        "imagefs.inodesFree": "1%",
      },
    },
  },
  {
    because: "values of 0 keep kube-proxy from settings that are the whole machine's",
    document: {
      apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
      kind: "KubeProxyConfiguration",
      mode: "nftables",
      conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    },
  },
];

/**
 * @param text a guide's kubeadm.yaml
 * @param version Kubernetes' version; kubeadm would ask the internet for the newest
 */
export function withAdditions(text: string, version: string): string {
  return [
    `${text.trimEnd()}\nkubernetesVersion: ${version}\n`,
    ...ADDITIONS.map(({ document }) => `${JSON.stringify(document)}\n`),
  ].join("---\n");
}
