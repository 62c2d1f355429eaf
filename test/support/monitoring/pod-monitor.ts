/** The shipped PodMonitor. */
import { readFileSync } from "node:fs";
import { loadYaml } from "@kubernetes/client-node";

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
      readonly relabelings: readonly Relabeling[];
    }[];
  };
}

const MANIFESTS = new URL("../../../manifests/", import.meta.url);

export function podMonitor(): PodMonitor {
  return loadYaml(readFileSync(new URL("monitoring/podmonitor.yaml", MANIFESTS), "utf8"));
}
