import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { loadAllYaml, loadYaml } from "@kubernetes/client-node";
import type { V1ClusterRole, V1Lease, V1Pod, V1Role, V1RoleBinding } from "@kubernetes/client-node";
import { parseConfig } from "../../../src/config/config.ts";
import { SETTINGS } from "../../../src/config/settings.ts";
import { createMetrics } from "../../../src/ops/metrics.ts";
import { HEALTH_HOST } from "../../../src/ops/server.ts";
import { VERSION } from "../../../src/version.ts";
import { podMonitor } from "../../support/monitoring/pod-monitor.ts";
import { exampleStatus } from "../ops/example.ts";
import { assertKnownFields, kubectl } from "./kubectl.ts";

const read = (name: string): string =>
  readFileSync(new URL(`../../../manifests/${name}`, import.meta.url), "utf8");

interface Resource {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

function resources(yaml: string): readonly Resource[] {
  return loadAllYaml(yaml);
}

interface Kinds {
  readonly Lease: V1Lease;
  readonly Role: V1Role;
  readonly ClusterRole: V1ClusterRole;
  readonly RoleBinding: V1RoleBinding;
}

function named<K extends keyof Kinds>(yaml: string, kind: K, name: string): Kinds[K] {
  const found: Kinds[K] | undefined = loadAllYaml(yaml).find(
    (each: Resource) => each.kind === kind && each.metadata.name === name,
  );
  if (found === undefined) assert.fail(`there is no ${kind} ${name}`);
  return found;
}

/** Without client-node's classes, for comparisons. */
const plain = (value: unknown): unknown => structuredClone(value);

const names = (list: readonly Resource[]): string[] =>
  list.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ""}/${metadata.name}`).toSorted();

describe("the static pod", () => {
  const pod = loadYaml<V1Pod>(read("leasehold.yaml"));
  const container = pod.spec?.containers[0];

  test("has no field that kubectl does not know", async () => {
    await assertKnownFields("manifests/leasehold.yaml");
  });

  test("has what the agent needs and nothing more", () => {
    const security = container?.securityContext;
    assert.deepEqual(plain(security), {
      runAsUser: 0,
      runAsGroup: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"], add: ["NET_ADMIN", "NET_RAW"] },
    });
    assert.equal(pod.spec?.hostNetwork, true);
    assert.equal(pod.spec?.hostPID, undefined);
    assert.equal(pod.spec?.priorityClassName, "system-node-critical");
    assert.equal(pod.spec?.enableServiceLinks, false);
    assert.equal(pod.spec?.securityContext?.seccompProfile?.type, "RuntimeDefault");
    // As etcd's and the scheduler's own pods of kubeadm.
    assert.deepEqual(plain(container?.resources), {
      requests: { cpu: "100m", memory: "96Mi" },
      limits: { memory: "512Mi" },
    });
  });

  test("offers a type for SELinux, and names no AppArmor profile, which a kernel without AppArmor refuses", () => {
    const line = "        # seLinuxOptions: {type: spc_t}\n";
    for (const file of ["leasehold.yaml", "leasehold-least-files.yaml", "worker.yaml"]) {
      const text = read(file);
      assert.ok(text.includes(line), file);
      const edited = loadYaml<V1Pod>(text.replace(line, line.replace("# ", ""))).spec?.containers[0];
      assert.equal(edited?.securityContext?.seLinuxOptions?.type, "spc_t");
      assert.doesNotMatch(text, /^[^#]*appArmor/m);
    }
  });

  test("is accepted by the agent, with the VIP as the only setting of a person", () => {
    const env = Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value ?? "n1"]));
    assert.deepEqual(Object.keys(env), ["LEASEHOLD_VIP", "LEASEHOLD_NODE_NAME"]);
    assert.equal(parseConfig(env, "host").kind, "ok");
  });

  test("offers settings that the agent accepts when they are uncommented", () => {
    const shown = read("leasehold.yaml")
      .split("\n")
      .filter((line) => line.includes("# - {name: "));
    const env: Record<string, string> = { LEASEHOLD_VIP: "192.0.2.10" };
    for (const line of shown) {
      const [entry] = loadYaml<readonly { readonly name: string; readonly value: string }[]>(
        line.replace("# - ", "- "),
      );
      assert.ok(entry !== undefined);
      env[entry.name] = entry.value;
    }
    assert.ok(Object.keys(env).length > 30);
    const result = parseConfig(env, "n1");
    assert.deepEqual(result.kind === "error" ? result.problems : [], []);
  });

  test("probes the port that is the probes' own, whatever LEASEHOLD_OPS_ADDRESS is", () => {
    for (const ops of ["127.0.0.1:10081", "0.0.0.0:10081", "[::]:10081", "192.0.2.11:9999"]) {
      const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10", LEASEHOLD_OPS_ADDRESS: ops }, "n1");
      assert.ok(parsed.kind === "ok");
      const { healthPort, drainTimeoutMs } = parsed.config;
      for (const [probe, path] of [
        [container?.livenessProbe, "/livez"],
        [container?.startupProbe, "/livez"],
        [container?.readinessProbe, "/readyz"],
      ] as const) {
        assert.deepEqual(plain(probe?.httpGet), { host: HEALTH_HOST, port: healthPort, path });
      }
      assert.ok(drainTimeoutMs + 2_000 < (pod.spec?.terminationGracePeriodSeconds ?? 0) * 1_000);
    }
  });

  test("declares the port that the PodMonitor names, which is the agent's own, and no other", () => {
    const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10" }, "n1");
    assert.ok(parsed.kind === "ok");
    assert.deepEqual(plain(container?.ports), [
      { name: "metrics", containerPort: parsed.config.opsPort, protocol: "TCP" },
    ]);
    const monitor = podMonitor();
    assert.deepEqual(
      monitor.spec.podMetricsEndpoints.map(({ port, portNumber, path }) => ({ port, portNumber, path })),
      [{ port: "metrics", portNumber: undefined, path: "/metrics" }],
    );
    const labels = pod.metadata?.labels ?? {};
    for (const [name, value] of Object.entries(monitor.spec.selector.matchLabels))
      assert.equal(labels[name], value);
    assert.equal(monitor.metadata.namespace, pod.metadata?.namespace);
    // The alerts ask for this job.
    assert.equal(labels[monitor.spec.jobLabel], "leasehold");
  });

  test("lets Prometheus in with one edit, the one that manifests/monitoring shows", () => {
    const shown =
      read("monitoring/kustomization.yaml")
        .split("\n")
        .find((line) => line.includes("LEASEHOLD_OPS_ADDRESS"))
        ?.replace(/^#\s+/, "") ?? "";
    const lines = read("leasehold.yaml").split("\n");
    const at = lines.findIndex((line) => line.trim() === shown);
    assert.ok(at >= 0, `leasehold.yaml has no line ${shown}`);
    assert.equal(lines.filter((line) => line.includes("name: LEASEHOLD_OPS_ADDRESS")).length, 1);
    const edited = loadYaml<V1Pod>(lines.with(at, lines[at]?.replace("# ", "") ?? "").join("\n")).spec
      ?.containers[0];
    const env = Object.fromEntries((edited?.env ?? []).map(({ name, value }) => [name, value ?? "n1"]));
    const parsed = parseConfig(env, "host");
    assert.ok(parsed.kind === "ok");
    assert.deepEqual(
      [parsed.config.opsHost, parsed.config.opsPort],
      ["0.0.0.0", edited?.ports?.[0]?.containerPort],
    );
  });

  test("mounts every directory that the settings name, and writes only to its own two", () => {
    const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10" }, "n1");
    assert.ok(parsed.kind === "ok");
    const mounts = container?.volumeMounts ?? [];
    const { kubeconfig, adminKubeconfig, stateDir, dataDir, machineIdFile } = parsed.config;
    assert.ok(adminKubeconfig !== null);
    for (const path of [kubeconfig, adminKubeconfig, stateDir, dataDir, machineIdFile]) {
      assert.ok(
        mounts.some(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`)),
        path,
      );
    }
    assert.deepEqual(
      mounts.filter(({ readOnly }) => readOnly !== true).map(({ mountPath }) => mountPath),
      [stateDir, dataDir],
    );
    for (const { name, mountPath } of mounts) {
      assert.equal(pod.spec?.volumes?.find((volume) => volume.name === name)?.hostPath?.path, mountPath);
    }
  });

  test("starts on a machine that has none of what it mounts", () => {
    for (const { name, hostPath } of pod.spec?.volumes ?? [])
      assert.match(hostPath?.type ?? "", /^(?:Directory|File)OrCreate$/, name);
  });

  test("is of this version", () => {
    assert.equal(container?.image, `leasehold:${VERSION}`);
    assert.equal(pod.metadata?.labels?.["app.kubernetes.io/version"], VERSION);
  });
});

describe("the static pod of an agent that has its own kubeconfig", () => {
  const pod = loadYaml<V1Pod>(read("leasehold-least-files.yaml"));
  const [container] = pod.spec?.containers ?? [];
  const env = Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value ?? "n1"]));

  test("has no field that kubectl does not know", async () => {
    await assertKnownFields("manifests/leasehold-least-files.yaml");
  });

  test("is accepted by the agent, which has no other kubeconfig", () => {
    const parsed = parseConfig(env, "n1");
    assert.ok(parsed.kind === "ok");
    assert.equal(parsed.config.adminKubeconfig, null);
  });

  test("sees no file of the cluster but that kubeconfig and the static pods' manifests", () => {
    const hostPaths = pod.spec?.volumes?.map(({ hostPath }) => hostPath?.path);
    assert.deepEqual(hostPaths, [
      "/etc/kubernetes/leasehold",
      "/etc/kubernetes/manifests",
      "/run/leasehold",
      "/var/lib/leasehold",
      "/etc/machine-id",
    ]);
    assert.deepEqual(
      container?.volumeMounts?.map(({ mountPath }) => mountPath),
      hostPaths,
    );
    assert.deepEqual(
      container?.volumeMounts?.slice(0, 2).map(({ readOnly }) => readOnly),
      [true, true],
    );
  });

  test("differs from the first one in that alone, so the kubelet puts it in its place", () => {
    const first = loadYaml<V1Pod>(read("leasehold.yaml"));
    for (const each of [pod, first]) {
      const [agent] = each.spec?.containers ?? [];
      assert.ok(each.spec?.volumes !== undefined && agent?.volumeMounts !== undefined);
      each.spec.volumes = each.spec.volumes.filter(({ name }) => !/kube|api-server/.test(name));
      agent.volumeMounts = agent.volumeMounts.filter(({ name }) => !/kube|api-server/.test(name));
      agent.env = (agent.env ?? []).filter(({ name }) => name !== "LEASEHOLD_ADMIN_KUBECONFIG");
    }
    assert.deepEqual(plain(pod), plain(first));
  });
});

describe("the worker's static pod", () => {
  const pod = loadYaml<V1Pod>(read("worker.yaml"));
  const container = pod.spec?.containers[0];
  const env = Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value ?? "w1"]));
  const parsed = parseConfig(env, "w1");
  assert.ok(parsed.kind === "ok");
  const { config } = parsed;

  test("has no field that kubectl does not know", async () => {
    await assertKnownFields("manifests/worker.yaml");
  });

  test("is accepted by the agent without a warning, with the VIP as the only setting of a person", () => {
    assert.equal(config.role, "balancer");
    assert.deepEqual(parsed.warnings, []);
    assert.deepEqual(Object.keys(env), [
      "LEASEHOLD_VIP",
      "LEASEHOLD_NODE_NAME",
      "LEASEHOLD_ROLE",
      "LEASEHOLD_KUBECONFIG",
    ]);
  });

  test("mounts the kubelet's kubeconfig and what it refers to, where that says it is, and writes to the data folder alone", () => {
    const mounts = container?.volumeMounts ?? [];
    for (const path of [
      config.kubeconfig,
      "/var/lib/kubelet/pki/kubelet-client-current.pem",
      config.dataDir,
    ]) {
      assert.ok(
        mounts.some(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`)),
        path,
      );
    }
    assert.deepEqual(
      mounts.filter(({ readOnly }) => readOnly !== true).map(({ mountPath }) => mountPath),
      [config.dataDir],
    );
    for (const { name, mountPath } of mounts) {
      assert.equal(pod.spec?.volumes?.find((volume) => volume.name === name)?.hostPath?.path, mountPath);
    }
  });

  test("is otherwise the control-plane nodes' own", () => {
    const control = loadYaml<V1Pod>(read("leasehold.yaml")).spec?.containers[0];
    for (const member of [
      "image",
      "args",
      "ports",
      "securityContext",
      "resources",
      "livenessProbe",
      "readinessProbe",
      "startupProbe",
    ] as const) {
      assert.deepEqual(plain(container?.[member]), plain(control?.[member]), member);
    }
    assert.notEqual(pod.metadata?.name, "leasehold");
    assert.equal(pod.metadata?.labels?.["app.kubernetes.io/version"], VERSION);
  });

  test("comes with the rights that the kubelet lacks, for nodes alone", () => {
    const text = read("worker-rbac.yaml");
    const [binding, health, role, lease, ...more]: readonly V1RoleBinding[] = loadAllYaml(text);
    assert.equal(more.length, 0);
    assert.deepEqual(plain(lease?.subjects), plain(binding?.subjects));
    assert.equal(lease?.roleRef.name, role?.metadata?.name);
    // A kubelet reads the one Lease, and writes none.
    assert.match(text, /resourceNames: \["leasehold"\]\n +verbs: \["get"\]/);
    assert.equal(
      health?.roleRef.name,
      named(read("rbac.yaml"), "ClusterRole", "leasehold-health").metadata?.name,
    );
    assert.deepEqual(plain(health?.subjects), plain(binding?.subjects));
    assert.equal(binding?.metadata?.namespace, "default");
    assert.equal(
      binding?.roleRef.name,
      named(read("rbac.yaml"), "Role", "leasehold-endpoints").metadata?.name,
    );
    assert.deepEqual(plain(binding?.subjects), [
      { apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "system:nodes" },
    ]);
  });
});

describe("the cluster's part", () => {
  test("is what kustomize makes of it", async () => {
    assert.deepEqual(names(resources(await kubectl("kustomize", "manifests"))), [
      "ClusterRole /leasehold-health",
      "ClusterRoleBinding /leasehold-health",
      "FlowSchema /leasehold",
      "Lease kube-system/leasehold",
      "Role default/leasehold-endpoints",
      "Role default/leasehold-events",
      "Role kube-system/leasehold",
      "RoleBinding default/leasehold-endpoints",
      "RoleBinding default/leasehold-events",
      "RoleBinding kube-system/leasehold",
      "ValidatingAdmissionPolicy /leasehold",
      "ValidatingAdmissionPolicyBinding /leasehold",
    ]);
    assert.deepEqual(names(resources(await kubectl("kustomize", "manifests/monitoring"))), [
      "ClusterRole /leasehold-metrics",
      "ClusterRoleBinding /leasehold-auth-delegator",
      "ClusterRoleBinding /leasehold-metrics",
      "PodMonitor kube-system/leasehold",
      "PrometheusRule kube-system/leasehold",
      "Secret kube-system/leasehold-metrics",
      "ServiceAccount kube-system/leasehold-metrics",
    ]);
  });

  test("ships the Lease with an annotation, for a patch has to find a parent, and with no holder", () => {
    const lease = named(read("rbac.yaml"), "Lease", "leasehold");
    assert.ok(Object.keys(lease.metadata?.annotations ?? {}).length > 0);
    assert.equal(lease.spec, undefined);
  });

  test("gives the user one Lease, and of cluster-wide rights only the question whether an API server is ready", () => {
    const role = named(read("rbac.yaml"), "Role", "leasehold");
    const leases = role.rules?.filter(({ resources }) => resources?.includes("leases")) ?? [];
    assert.deepEqual(
      leases.map(({ verbs, resourceNames }) => ({ verbs, resourceNames })),
      [
        { verbs: ["get", "list", "watch", "update", "patch"], resourceNames: ["leasehold"] },
        { verbs: ["create"], resourceNames: undefined },
      ],
    );
    const everywhere = resources(read("rbac.yaml")).filter(({ kind }) => kind?.startsWith("Cluster"));
    assert.deepEqual(names(everywhere), ["ClusterRole /leasehold-health", "ClusterRoleBinding /leasehold-health"]);
    assert.deepEqual(plain(named(read("rbac.yaml"), "ClusterRole", "leasehold-health").rules), [
      { nonResourceURLs: [SETTINGS.CHECK_PATH.fallback], verbs: ["get"] },
    ]);
    const verbs = role.rules?.flatMap((rule) => rule.verbs) ?? [];
    assert.ok(!verbs.includes("*") && !verbs.includes("delete"));
    for (const name of ["leasehold", "leasehold-endpoints"]) {
      const binding = named(read("rbac.yaml"), "RoleBinding", name);
      assert.deepEqual(plain(binding.subjects), [
        { apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "leasehold" },
      ]);
      assert.equal(binding.roleRef.name, name);
    }
  });

  test("names the Lease as the agent does by default", () => {
    const parsed = parseConfig({ LEASEHOLD_VIP: "192.0.2.10" }, "n1");
    assert.ok(parsed.kind === "ok");
    const { metadata } = named(read("rbac.yaml"), "Lease", parsed.config.leaseName);
    assert.equal(metadata?.namespace, parsed.config.leaseNamespace);
  });
});

describe("the alerts", () => {
  interface Alert {
    readonly alert: string;
    readonly expr: string;
    readonly annotations: Readonly<Record<string, string>>;
    readonly labels: { readonly severity: string };
  }
  const rule = loadYaml<{
    readonly spec: { readonly groups: readonly { readonly rules: readonly Alert[] }[] };
  }>(read("monitoring/prometheusrule.yaml"));
  const alerts = rule.spec.groups.flatMap(({ rules }) => rules);

  test("ask only for metrics that the agent has", async () => {
    const metrics = createMetrics({ version: VERSION, nodeVersion: process.version, leaseName: "leasehold" });
    const text = await metrics.render(exampleStatus(), 0);
    for (const { alert, expr } of alerts) {
      const asked = [...expr.matchAll(/\b(?:leasehold|leader_election)_[a-z_]+/g)].map(([name]) => name);
      assert.ok(asked.length > 0 || expr.startsWith("up{"), alert);
      for (const name of asked) assert.ok(text.includes(`# TYPE ${name} `), `${alert}: ${name}`);
    }
  });

  test("know an agent without any backend, which has no series for one", async () => {
    const metrics = createMetrics({ version: VERSION, nodeVersion: process.version, leaseName: "leasehold" });
    const text = await metrics.render(
      exampleStatus({ election: null, vip: null, balancer: { listening: false, backends: [] } }),
      0,
    );
    assert.doesNotMatch(text, /^leasehold_backend_up/m);
    const { expr = "" } = alerts.find(({ alert }) => alert === "LeaseholdAllBackendsDown") ?? {};
    const fallback = /\bcount by \(node\) \((\w+) unless\b/.exec(expr)?.[1] ?? assert.fail(expr);
    assert.match(text, new RegExp(`^${fallback}(?:\\{[^}]*\\})? \\d`, "m"));
  });

  test("each say what is wrong, and where to read on", () => {
    for (const { alert, annotations, labels } of alerts) {
      assert.ok(annotations["summary"] !== undefined && annotations["description"] !== undefined, alert);
      assert.equal(annotations["runbook_url"], `docs/operations.md#${alert.toLowerCase()}`);
      assert.match(labels.severity, /^(?:warning|critical)$/);
    }
  });
});
