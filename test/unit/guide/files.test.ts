/** The guides whose commands no test can type: their files, read as the tools read them. */
import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, test } from "node:test";
import { loadYaml } from "@kubernetes/client-node";
import type { V1Pod } from "@kubernetes/client-node";
import { printedByPage } from "../../../scripts/guides/files.ts";
import { parseConfig } from "../../../src/config/config.ts";
import { blocksOf } from "../../support/guide/guide.ts";
import { PAGES } from "../../support/guide/played.ts";
import { containerOf, environment } from "../../support/manifests/kubelet.ts";
import { ROOT } from "../../support/runner/layers.ts";
import { assertKnownFields } from "../manifests/kubectl.ts";

const GUIDES = "docs/guides";
const read = (name: string): string => readFileSync(join(ROOT, GUIDES, name), "utf8");
const MANIFEST = "/etc/kubernetes/manifests/leasehold.yaml";
const IGNORED = "DirAvailable--etc-kubernetes-manifests";

interface WrittenFile {
  readonly path: string;
  readonly owner: string;
  readonly permissions: string;
  readonly content: string;
}

interface KubeadmControlPlane {
  readonly kind: string;
  readonly spec: {
    readonly kubeadmConfigSpec: Readonly<
      Record<
        "initConfiguration" | "joinConfiguration",
        { readonly nodeRegistration: { readonly ignorePreflightErrors: readonly string[] } }
      >
    > & { readonly files: readonly WrittenFile[] };
  };
}

const clusterApi = (): KubeadmControlPlane => loadYaml(read("files/cluster-api.yaml"));
const cloudInit = (): { readonly write_files: readonly WrittenFile[] } =>
  loadYaml(read("files/cloud-init.yaml"));

/** Each pod of the guides, with the page's command that prints it. */
const PODS: readonly (readonly [page: string, has: string, text: () => string])[] = [
  [
    "cluster-api.md",
    "pod",
    () =>
      clusterApi()
        .spec.kubeadmConfigSpec.files.map(({ content }) => content)
        .join(),
  ],
  [
    "cloud-init.md",
    "pod",
    () =>
      cloudInit()
        .write_files.map(({ content }) => content)
        .join(),
  ],
  ["rke2-and-k3s.md", "k3s.yaml", () => read("files/leasehold-k3s.yaml")],
  ["rke2-and-k3s.md", "rke2.yaml", () => read("files/leasehold-rke2.yaml")],
];

const mountsOf = (pod: V1Pod): readonly string[] =>
  (containerOf(pod).volumeMounts ?? []).map(({ mountPath }) => mountPath);

describe("the pods in the guides' files", () => {
  for (const [page, has, text] of PODS)
    test(`${page}: is what \`leasehold manifest\` prints by the page's command (${has})`, async () => {
      assert.equal(text(), printedByPage(page, has));
      const pod: V1Pod = loadYaml(text());
      const parsed = parseConfig(environment(pod, "n1"), "host");
      assert.ok(parsed.kind === "ok");
      assert.deepEqual(
        parsed.config.vips.map((vip) => vip.text),
        ["192.0.2.10"],
      );
      const directory = mkdtempSync(join(tmpdir(), "leasehold-guide-"));
      try {
        writeFileSync(join(directory, "pod.yaml"), text());
        await assertKnownFields(join(directory, "pod.yaml"));
      } finally {
        rmSync(directory, { recursive: true });
      }
    });

  test("of RKE2 and k3s can read the kubeconfig that is there, and have no other", () => {
    for (const name of ["k3s", "rke2"]) {
      const pod: V1Pod = loadYaml(read(`files/leasehold-${name}.yaml`));
      const parsed = parseConfig(environment(pod, "n1"), "host");
      assert.ok(parsed.kind === "ok");
      const file = `/etc/rancher/${name}/${name}.yaml`;
      assert.deepEqual([parsed.config.kubeconfig, parsed.config.adminKubeconfig], [file, file]);
      assert.ok(mountsOf(pod).includes(`/etc/rancher/${name}`), mountsOf(pod).join());
      assert.ok(!mountsOf(pod).includes("/etc/kubernetes"), mountsOf(pod).join());
    }
  });
});

describe("the guides' files", () => {
  test("Cluster API: one file, which only root can read, and no command", () => {
    const { kind, spec } = clusterApi();
    assert.equal(kind, "KubeadmControlPlane");
    const { initConfiguration, joinConfiguration, files, ...rest } = spec.kubeadmConfigSpec;
    assert.deepEqual(rest, {});
    for (const { nodeRegistration } of [initConfiguration, joinConfiguration])
      assert.deepEqual(nodeRegistration, { ignorePreflightErrors: [IGNORED] });
    assert.deepEqual(
      files.map(({ path, owner, permissions }) => [path, owner, permissions]),
      [[MANIFEST, "root:root", "0600"]],
    );
  });

  test("cloud-init: one file, which only root can read", () => {
    // cloud-init knows the kind of user data by its first line.
    assert.match(read("files/cloud-init.yaml"), /^#cloud-config\n/);
    assert.deepEqual(
      cloudInit().write_files.map(({ path, owner, permissions }) => [path, owner, permissions]),
      [[MANIFEST, "root:root", "0600"]],
    );
  });

  test("Ansible: the manifest of the page's command, on the machines of the page's group", () => {
    const [play, ...more]: readonly {
      readonly hosts: string;
      readonly serial: number;
      readonly tasks: readonly Readonly<Record<string, unknown>>[];
    }[] = loadYaml(read("files/ansible.yaml"));
    assert.ok(play !== undefined);
    assert.deepEqual(more, []);
    assert.deepEqual([play.hosts, play.serial], ["kube_control_plane", 1]);
    const copied = play.tasks.flatMap((task) => task["ansible.builtin.copy"] ?? []);
    assert.deepEqual(copied, [
      { src: "leasehold.yaml", dest: MANIFEST, owner: "root", group: "root", mode: "0600" },
    ]);
    const page = read("ansible.md");
    assert.match(page, /> leasehold\.yaml$/m);
    assert.ok(page.includes(`\`${play.hosts}\``));
    const pod: V1Pod = loadYaml(printedByPage("ansible.md", "pod"));
    assert.equal(parseConfig(environment(pod, "n1"), "host").kind, "ok");
  });

  test("RKE2 and k3s: the pod goes into the folder of the page's table", () => {
    const commands = blocksOf(`${GUIDES}/rke2-and-k3s.md`).map(({ text }) => text);
    for (const name of ["k3s", "rke2"]) {
      const folder = `/var/lib/rancher/${name}/agent/pod-manifests`;
      assert.ok(read("rke2-and-k3s.md").includes(`| ${folder} |`), folder);
      const block = commands.find((text) => text.includes(`/etc/rancher/${name}/`)) ?? "";
      assert.match(block, new RegExp(`^mkdir -p .* ${folder}$`, "m"));
      assert.match(block, new RegExp(`^mv /var/lib/rancher/${name}/leasehold\\.yaml ${folder}/$`, "m"));
    }
  });
});

test("a guide is played by a test, or says at its top that none plays it", () => {
  const played = new Set(PAGES.map(({ page }) => page));
  for (const page of globSync(`${GUIDES}/*.md`, { cwd: ROOT })) {
    if (basename(page) === "README.md") continue;
    const says = /\*\*No test (?:plays this page|starts the unit)\*\*|^No test plays /m.test(
      readFileSync(join(ROOT, page), "utf8"),
    );
    assert.notEqual(says, played.has(page) && !page.endsWith("systemd.md"), page);
  }
});
