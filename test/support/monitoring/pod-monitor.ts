/**
 * The shipped PodMonitor, what the Prometheus operator makes of one, and what Prometheus' Kubernetes
 * discovery makes of a pod. Debian builds Prometheus without that discovery; the rest of the way, relabelling
 * included, is Prometheus' own.
 */
import { readFileSync } from "node:fs";
import { loadYaml } from "@kubernetes/client-node";
import { hostPort } from "../../../src/net.ts";

export interface Relabeling {
  readonly sourceLabels: readonly string[];
  readonly targetLabel: string;
}

export interface PodMonitor {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly jobLabel: string;
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly podMetricsEndpoints: readonly {
      readonly port?: string;
      readonly portNumber?: number;
      readonly path: string;
      readonly interval: string;
      readonly scheme: string;
      readonly tlsConfig: { readonly insecureSkipVerify: boolean };
      readonly authorization: { readonly credentials: { readonly name: string; readonly key: string } };
      readonly relabelings: readonly Relabeling[];
    }[];
  };
}

const MANIFESTS = new URL("../../../manifests/", import.meta.url);

export function podMonitor(): PodMonitor {
  return loadYaml(readFileSync(new URL("monitoring/podmonitor.yaml", MANIFESTS), "utf8"));
}

/** The groups of the shipped PrometheusRule, which are a rule file of Prometheus. */
export function ruleGroups(): unknown {
  const { spec } = loadYaml<{ readonly spec: unknown }>(
    readFileSync(new URL("monitoring/prometheusrule.yaml", MANIFESTS), "utf8"),
  );
  return spec;
}

/**
 * A meta label's name (Prometheus, kubernetes_sd_config): what is no letter or digit becomes an underscore.
 */
const metaLabel = (label: string): string => label.replaceAll(/[^a-zA-Z0-9_]/g, "_");

/** What matters here of a pod. */
export interface Pod {
  readonly metadata: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly {
      readonly name: string;
      readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
      readonly env: readonly { readonly name: string; readonly value?: string }[];
    }[];
  };
}

/**
 * Where a static pod runs: the kubelet publishes it as `NAME-NODE`, with the node's address for hostNetwork.
 */
export interface Place {
  readonly node: string;
  readonly address: string;
}

/** One entry of a file for Prometheus' file discovery. */
export interface Target {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * The targets of one pod as kubernetes_sd_config's role `pod` has them: one for each declared port of a
 * container, at the pod's address and that port; a container without ports is one target, at the bare address
 * and without a port's labels.
 */
export function podTargets({ metadata, spec }: Pod, { node, address }: Place): readonly Target[] {
  const labels = Object.entries(metadata.labels).flatMap(([label, value]) => [
    [`__meta_kubernetes_pod_label_${metaLabel(label)}`, value],
    [`__meta_kubernetes_pod_labelpresent_${metaLabel(label)}`, "true"],
  ]);
  return spec.containers.flatMap(({ name, ports }) =>
    (ports ?? [undefined]).map((port): Target => ({
      targets: [port === undefined ? address : hostPort(address, port.containerPort)],
      labels: {
        ...Object.fromEntries(labels),
        __meta_kubernetes_namespace: metadata.namespace,
        __meta_kubernetes_pod_name: `leasehold-${node}`,
        __meta_kubernetes_pod_node_name: node,
        __meta_kubernetes_pod_phase: "Running",
        __meta_kubernetes_pod_container_name: name,
        ...(port === undefined
          ? {}
          : {
              __meta_kubernetes_pod_container_port_name: port.name,
              __meta_kubernetes_pod_container_port_number: String(port.containerPort),
            }),
      },
    })),
  );
}

/**
 * The scrape configurations of a PodMonitor, as the operator generates them (its generatePodMonitorConfig):
 * pods of the namespace, kept by label and by the name or number of a declared container port, then the
 * monitor's own relabelings.
 * @param targets the file that stands in for the discovery of pods
 * @param token what the Secret of the monitor has, which the operator reads
 */
export function scrapeConfigs(
  { metadata, spec }: PodMonitor,
  targets: string,
  token: string,
): readonly unknown[] {
  return spec.podMetricsEndpoints.map((endpoint, index) => ({
    job_name: `podMonitor/${metadata.namespace}/${metadata.name}/${index}`,
    scrape_interval: endpoint.interval,
    metrics_path: endpoint.path,
    scheme: endpoint.scheme,
    tls_config: { insecure_skip_verify: endpoint.tlsConfig.insecureSkipVerify },
    authorization: { type: "Bearer", credentials: token },
    file_sd_configs: [{ files: [targets] }],
    relabel_configs: [
      { action: "keep", source_labels: ["__meta_kubernetes_namespace"], regex: metadata.namespace },
      { action: "drop", source_labels: ["__meta_kubernetes_pod_phase"], regex: "(Failed|Succeeded)" },
      ...Object.entries(spec.selector.matchLabels).map(([label, value]) => ({
        action: "keep",
        source_labels: [
          `__meta_kubernetes_pod_label_${metaLabel(label)}`,
          `__meta_kubernetes_pod_labelpresent_${metaLabel(label)}`,
        ],
        regex: `(${value});true`,
      })),
      endpoint.port === undefined
        ? {
            action: "keep",
            source_labels: ["__meta_kubernetes_pod_container_port_number"],
            regex: String(endpoint.portNumber),
          }
        : {
            action: "keep",
            source_labels: ["__meta_kubernetes_pod_container_port_name"],
            regex: endpoint.port,
          },
      { source_labels: ["__meta_kubernetes_namespace"], target_label: "namespace" },
      { source_labels: ["__meta_kubernetes_pod_container_name"], target_label: "container" },
      { source_labels: ["__meta_kubernetes_pod_name"], target_label: "pod" },
      { target_label: "job", replacement: `${metadata.namespace}/${metadata.name}` },
      {
        source_labels: [`__meta_kubernetes_pod_label_${metaLabel(spec.jobLabel)}`],
        target_label: "job",
        regex: "(.+)",
        replacement: "${1}",
      },
      { target_label: "endpoint", replacement: endpoint.port ?? String(endpoint.portNumber) },
      ...endpoint.relabelings.map(({ sourceLabels, targetLabel }) => ({
        source_labels: sourceLabels,
        target_label: targetLabel,
      })),
    ],
  }));
}
