/**
 * The files of docs/guides/files: what `leasehold manifest` prints, in the form that each tool takes. The
 * commands are those of the pages next to them.
 */
import { manifest } from "../../src/cli/manifest.ts";
import { blocksOf } from "../../test/support/guide/guide.ts";

const GUIDES = "docs/guides";

/** What the page's command `leasehold manifest ...` prints. `has` is a part of that command. */
export function printedByPage(page: string, has: string): string {
  const commands = blocksOf(`${GUIDES}/${page}`)
    .flatMap(({ text }) => text.replaceAll(/\\\n\s*/g, "").split("\n"))
    .flatMap((line) => /(?:^|\s)leasehold manifest ([^>|]*?)\s*(?:[>|].*)?$/.exec(line)?.[1] ?? [])
    .filter((words) => words.includes(has));
  const [words, ...more] = commands;
  if (words === undefined || more.length > 0)
    throw new Error(`${page} has ${commands.length} commands \`leasehold manifest\` with ${has}`);
  const answer = manifest(words.split(/\s+/), {});
  if (answer.kind === "error") throw new Error(answer.message);
  return answer.text;
}

const indented = (text: string, columns: number): string => text.replaceAll(/^(?=.)/gm, " ".repeat(columns));

function clusterApi(): string {
  return `# The part of a KubeadmControlPlane that Leasehold needs: see docs/guides/cluster-api.md. The content of the file is
# what \`leasehold manifest pod\` prints.
apiVersion: controlplane.cluster.x-k8s.io/v1beta2
kind: KubeadmControlPlane
metadata:
  name: example-control-plane
spec:
  kubeadmConfigSpec:
    initConfiguration:
      nodeRegistration:
        # The manifest is in this folder before kubeadm starts.
        ignorePreflightErrors: [DirAvailable--etc-kubernetes-manifests]
    joinConfiguration:
      nodeRegistration:
        ignorePreflightErrors: [DirAvailable--etc-kubernetes-manifests]
    files:
      - path: /etc/kubernetes/manifests/leasehold.yaml
        owner: root:root
        permissions: "0600"
        content: |
${indented(printedByPage("cluster-api.md", "pod"), 10)}`;
}

function cloudInit(): string {
  return `#cloud-config
# The part of a control-plane machine's user data that Leasehold needs: see docs/guides/cloud-init.md. The content of the
# file is what \`leasehold manifest pod\` prints.
write_files:
  - path: /etc/kubernetes/manifests/leasehold.yaml
    owner: root:root
    permissions: "0600"
    content: |
${indented(printedByPage("cloud-init.md", "pod"), 6)}`;
}

/** Whole files, by their paths below the repository. */
export function guideFiles(): readonly (readonly [path: string, text: string])[] {
  return [
    ["cluster-api.yaml", clusterApi()],
    ["cloud-init.yaml", cloudInit()],
    ["leasehold-k3s.yaml", printedByPage("rke2-and-k3s.md", "k3s.yaml")],
    ["leasehold-rke2.yaml", printedByPage("rke2-and-k3s.md", "rke2.yaml")],
  ].map(([name, text]) => [`${GUIDES}/files/${name}`, text ?? ""] as const);
}
