/**
 * Every manifest, by name: what `leasehold manifest` prints and what the repository's folder manifests/
 * holds. Pure.
 */
import type { Config } from "../config/config.ts";
import type { SettingName } from "../config/settings.ts";
import { dashboard } from "./dashboard.ts";
import { ctrProblems, hostScript } from "./host-script.ts";
import { KUBECTL_PLUGIN } from "./kubectl-plugin.ts";
import { MONITORING_RBAC, POD_MONITOR, prometheusRule } from "./monitoring.ts";
import { podMounts, workerMounts } from "./mounts.ts";
import { agentCapabilities, controlPlanePod, graceSeconds, workerPod } from "./pod.ts";
import { admission, flowSchema, rbac, workerRbac } from "./rbac.ts";
import { systemdUnit } from "./systemd-unit.ts";

export const MANIFESTS = [
  "pod",
  "rbac",
  "worker",
  "worker-rbac",
  "monitoring",
  "dashboard",
  "cli",
  "kubectl-plugin",
  "systemd",
] as const;
export type ManifestName = (typeof MANIFESTS)[number];

export interface Wanted {
  readonly config: Config;
  /** What a person has set, as it was written. Everything else is at its default. */
  readonly given: ReadonlyMap<SettingName, string>;
  readonly image: string;
}

export interface Printed {
  /** Text by its path below manifests/. */
  readonly files: Readonly<Record<string, string>>;
  /** One sentence for each setting that the manifest cannot do. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

const plain = (files: Printed["files"]): Printed => ({ files, problems: [], warnings: [] });

/** One or more files, which are one YAML stream when they are joined with `---`. */
export function printManifest(name: ManifestName, wanted: Wanted): Printed {
  const { config, given } = wanted;
  switch (name) {
    case "pod": {
      const { mounts, problems, warnings } = podMounts(config);
      const file = config.adminKubeconfig === null ? "leasehold-least-files.yaml" : "leasehold.yaml";
      return { files: { [file]: controlPlanePod({ ...wanted, mounts }) }, problems, warnings };
    }
    case "worker": {
      const { mounts, problems, warnings } = workerMounts(config, (setting) => given.has(setting));
      return { files: { "worker.yaml": workerPod({ ...wanted, mounts }) }, problems, warnings };
    }
    case "rbac":
      return plain({
        "rbac.yaml": rbac(config),
        "admission.yaml": admission(config),
        "flowschema.yaml": flowSchema(config),
      });
    case "worker-rbac":
      return plain({ "worker-rbac.yaml": workerRbac(config) });
    case "cli": {
      const { mounts, problems, warnings } = podMounts(config);
      const text = hostScript({ ...wanted, mounts });
      return {
        files: { "leasehold.sh": text },
        problems: [...problems, ...ctrProblems(mounts)],
        warnings,
      };
    }
    case "systemd": {
      const { mounts, problems, warnings } =
        config.role === "balancer"
          ? workerMounts(config, (setting) => given.has(setting))
          : podMounts(config);
      const text = systemdUnit({
        ...wanted,
        mounts,
        capabilities: agentCapabilities(config),
        graceSeconds: graceSeconds(config),
      });
      return {
        files: { "leasehold.service": text },
        problems: [...problems, ...ctrProblems(mounts)],
        warnings,
      };
    }
    case "kubectl-plugin":
      return plain({ "kubectl-leasehold": KUBECTL_PLUGIN });
    case "dashboard":
      return plain({ "monitoring/dashboard.json": dashboard() });
    case "monitoring":
      return plain({
        "monitoring/podmonitor.yaml": POD_MONITOR,
        "monitoring/prometheusrule.yaml": prometheusRule(config),
        "monitoring/rbac.yaml": MONITORING_RBAC,
      });
  }
}
