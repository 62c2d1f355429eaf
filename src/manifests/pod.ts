/** The static pods: of a control-plane node and of a worker. Pure. */
import type { Config } from "../config/config.ts";
import { PREFIX, SECTIONS, SETTING_NAMES, SETTINGS } from "../config/settings.ts";
import type { SettingName } from "../config/settings.ts";
import { VERSION } from "../version.ts";
import { KUBELET_CONF } from "./mounts.ts";
import type { Mount } from "./mounts.ts";
import { envValue, quoted, scalar } from "./yaml.ts";

export interface PodOptions {
  readonly config: Config;
  /** What a person has set, as it was written. Everything else is at its default. */
  readonly given: ReadonlyMap<SettingName, string>;
  readonly image: string;
  readonly mounts: readonly Mount[];
}

/** What differs between the two pods. */
interface Kind {
  readonly header: readonly string[];
  readonly name: string;
  readonly component: string;
  readonly tier: string;
  readonly grace: string;
  readonly env: readonly string[];
  readonly probes: string;
  readonly rights: readonly string[];
}

/** MiB that the agent may have at most. */
export const MEMORY_LIMIT_MIB = 512;
/** Seconds that a hand-over may take at most. */
const HANDOVER_SECONDS = 2;
/** Seconds that are left over before the kubelet kills the agent. */
const SPARE_SECONDS = 5;

const seconds = (ms: number): string => `${ms / 1_000} s`;
const entry = (name: SettingName, text: string): string =>
  `{name: ${PREFIX}${name}, value: ${envValue(text)}}`;
const comments = (indent: number, lines: readonly string[]): string[] =>
  lines.map((line) => `${" ".repeat(indent)}# ${line}`);

function variable(name: SettingName, text: string): string[] {
  return [`        - name: ${PREFIX}${name}`, `          value: ${envValue(text)}`];
}

function nodeName(given: PodOptions["given"]): string[] {
  const text = given.get("NODE_NAME");
  if (text !== undefined) return variable("NODE_NAME", text);
  return [
    `        - name: ${PREFIX}NODE_NAME`,
    "          valueFrom:",
    "            fieldRef:",
    "              fieldPath: spec.nodeName",
  ];
}

/** These settings have their own place above the list of the others. */
const ABOVE: ReadonlySet<SettingName> = new Set(["VIP", "NODE_NAME", "OPS_ADDRESS"]);

/**
 * Every other setting. Those that a person has set are in force, the rest is commented out and shows its
 * default.
 */
function settings(given: PodOptions["given"]): string[] {
  return SECTIONS.flatMap((section) => {
    const names = SETTING_NAMES.filter((name) => SETTINGS[name].section === section && !ABOVE.has(name));
    const lines = names.map((name) => {
      const text = given.get(name);
      if (text !== undefined) return `        - ${entry(name, text)}`;
      const { fallback, shown } = SETTINGS[name];
      const line = `        # - ${entry(name, fallback ?? "")}`;
      return fallback === undefined ? `${line}  # ${shown.replaceAll("`", "")}` : line;
    });
    return lines.length === 0 ? [] : [`        # ${section}`, ...lines];
  });
}

function opsAddress(given: PodOptions["given"]): string[] {
  const text = given.get("OPS_ADDRESS");
  if (text !== undefined)
    return [
      ...comments(8, [
        "Prometheus asks the agent here, by TLS and with a token. See manifests/monitoring.",
      ]),
      `        - ${entry("OPS_ADDRESS", text)}`,
    ];
  return [
    ...comments(8, [
      'To let Prometheus reach the agent, by TLS and with a token, take away the first "# " of this line. If the nodes\'',
      'addresses are IPv6, use "[::]:10081". See manifests/monitoring.',
    ]),
    `        # - ${entry("OPS_ADDRESS", "0.0.0.0:10081")}`,
  ];
}

const FROM_THE_START = [
  "Static pod. `leasehold manifest pod --vip ADDRESS` prints it with your settings. Put this file into",
  "/etc/kubernetes/manifests of every control-plane node, before or after `kubeadm init` or `kubeadm join`. Write the file",
  "elsewhere on the same disk and `mv` it there, because the kubelet may read that directory at any moment. Clients use",
  "VIP:6443 (or 8443). After you have removed the file and the pod is gone, the pod's rules are still in the kernel: see",
  "Uninstall in the README.",
];
const LEAST_FILES = [
  "Static pod of an agent that has its own kubeconfig (step 5 of the README) and no other. The pod sees the directory of",
  "that kubeconfig and the static pods' manifests, and neither admin.conf nor the cluster's keys. `leasehold manifest pod",
  "--vip ADDRESS --admin-kubeconfig none` prints it with your settings. Put this file in place of leasehold.yaml into",
  "/etc/kubernetes/manifests, under the same name and on one node after the other: docs/guides/least-files.md. Write the",
  "file elsewhere on the same disk and `mv` it there. After you have removed the file and the pod is gone, the pod's rules",
  "are still in the kernel: see Uninstall in the README.",
];

/** The pod of a control-plane node. */
export function controlPlanePod(options: PodOptions): string {
  const { config, given } = options;
  return pod(options, {
    header: config.adminKubeconfig === null ? LEAST_FILES : FROM_THE_START,
    name: "leasehold",
    component: "vip-agent",
    tier: "control-plane",
    grace: `A hand-over takes at most ${HANDOVER_SECONDS} s. Draining connections takes ${seconds(config.drainTimeoutMs)} (LEASEHOLD_DRAIN_TIMEOUT).`,
    env: [
      ...comments(8, [
        "This setting is the only one that you must set: an address on the nodes' network that no machine has.",
      ]),
      ...variable("VIP", given.get("VIP") ?? ""),
      ...nodeName(given),
      ...opsAddress(given),
      "        # Every other setting, with its default.",
      ...settings(given),
    ],
    probes:
      "The probes ask their own port on loopback (LEASEHOLD_HEALTH_PORT), whatever LEASEHOLD_OPS_ADDRESS is.",
    rights: [
      "Addresses, nftables rules and raw frames need NET_ADMIN and NET_RAW, which uid 0 gets. Only uid 0, its owner,",
      `can read ${config.adminKubeconfig === null ? "the kubeconfig" : "admin.conf"}. Workers have their own manifest, worker.yaml.`,
    ],
  });
}

const WORKERS_VIP = [
  "The value is the same as on the control-plane nodes. Until the agent knows the API servers, it asks for them",
  "through the VIP.",
];
const WORKERS_RIGHTS = [
  "The rules for the worker's own clients need NET_ADMIN, which uid 0 gets. Only uid 0, its owner, can read the",
  "kubelet's key. With NET_RAW the agent finds a lost machine within a second. Without it the health checks find",
  "the machine in about four seconds.",
];
const PROXYS_RIGHTS = [
  "Without a VIP the agent is only the proxy and writes no rules. Only uid 0, its owner, can read the kubelet's key.",
  "With NET_RAW the agent finds a lost machine within a second. Without it the health checks find the machine in",
  "about four seconds.",
];

/** The pod of a worker, which only balances. */
export function workerPod(options: PodOptions): string {
  const { config, given } = options;
  const vip = given.get("VIP");
  const others = SETTING_NAMES.flatMap((name) => {
    const text = given.get(name);
    return text === undefined || ABOVE.has(name) || name === "ROLE" || name === "KUBECONFIG"
      ? []
      : [`        - ${entry(name, text)}`];
  });
  const ops = given.has("OPS_ADDRESS") ? opsAddress(given) : [];
  return pod(options, {
    header: [
      "Static pod for a worker, which only balances. `leasehold manifest worker --vip ADDRESS` prints it with your settings.",
      "Put this file into /etc/kubernetes/manifests of the worker after `kubeadm join`, and apply worker-rbac.yaml once. Write",
      "the file elsewhere on the same disk and `mv` it there. Connections of this worker and of its pods to VIP:6443 then go",
      "straight to a healthy API server. After you have removed the file and the pod is gone, the pod's rules are still in the",
      "kernel: see Uninstall in the README.",
    ],
    name: "leasehold-worker",
    component: "worker-balancer",
    tier: "node",
    grace: `Draining connections takes ${seconds(config.drainTimeoutMs)} (LEASEHOLD_DRAIN_TIMEOUT).`,
    env: [
      ...(vip === undefined ? [] : [...comments(8, WORKERS_VIP), ...variable("VIP", vip)]),
      ...nodeName(given),
      ...variable("ROLE", "balancer"),
      ...(config.kubeconfig === KUBELET_CONF
        ? comments(8, [
            "The agent uses the kubelet's own credentials, which the kubelet renews. A worker has no others.",
          ])
        : []),
      ...variable("KUBECONFIG", config.kubeconfig),
      ...ops,
      ...others,
      "        # docs/configuration.md lists every other setting.",
    ],
    probes: "The probes ask their own port on loopback (LEASEHOLD_HEALTH_PORT).",
    rights: vip === undefined ? PROXYS_RIGHTS : WORKERS_RIGHTS,
  });
}

/** What the request is for: docs/configuration.md, "What the pod asks for". */
const RESOURCES = [
  "An idle agent takes 20m. The request is also its share of a node with too little CPU: with 25m it would wait for half",
  "a second there, and find a dead holder late. No CPU limit: a throttled agent renews late.",
];

/** docs/configuration.md, "AppArmor and SELinux". A profile by name would be refused where the kernel has no AppArmor. */
const MANDATORY_ACCESS = [
  "AppArmor: the runtime's default profile is in force where the kernel has AppArmor. SELinux in enforcing mode: give the",
  "mounted directories the type container_file_t, or take away the first \"# \" of the next line",
  "(docs/configuration.md#apparmor-and-selinux).",
  "seLinuxOptions: {type: spc_t}",
];

function probe(name: string, port: number, path: string, rest: readonly string[]): string[] {
  const lines = [
    `${name}:`,
    "  httpGet:",
    "    host: 127.0.0.1",
    `    port: ${port}`,
    `    path: ${path}`,
    ...rest.map((line) => `  ${line}`),
  ];
  return lines.map((line) => `      ${line}`);
}

function volumeMount({ name, path, readOnly }: Mount): string[] {
  return [
    `        - name: ${name}`,
    `          mountPath: ${pathScalar(path)}`,
    ...(readOnly ? ["          readOnly: true"] : []),
  ];
}

function volume({ name, path, type, comment }: Mount): string[] {
  return [
    ...comments(4, comment),
    `    - name: ${name}`,
    "      hostPath:",
    `        path: ${pathScalar(path)}`,
    `        type: ${type}`,
  ];
}

/** Plain where that is safe. */
function pathScalar(path: string): string {
  return /^\/[\w./-]*$/.test(path) ? path : quoted(path);
}

/** Seconds that the agent has for its end, before it is killed. */
export function graceSeconds({ drainTimeoutMs }: Config): number {
  return Math.max(10, HANDOVER_SECONDS + Math.ceil(drainTimeoutMs / 1_000) + SPARE_SECONDS);
}

/** The capabilities that the agent needs: without a VIP it is only the proxy, and writes no rules. */
export function agentCapabilities({ vips }: Config): readonly string[] {
  return vips.length === 0 ? ["NET_RAW"] : ["NET_ADMIN", "NET_RAW"];
}

function pod({ config, image, mounts }: PodOptions, kind: Kind): string {
  const lines = [
    ...comments(0, kind.header),
    "apiVersion: v1",
    "kind: Pod",
    "metadata:",
    `  name: ${kind.name}`,
    "  namespace: kube-system",
    "  labels:",
    "    app.kubernetes.io/name: leasehold",
    `    app.kubernetes.io/instance: ${kind.name}`,
    `    app.kubernetes.io/version: ${quoted(VERSION)}`,
    `    app.kubernetes.io/component: ${kind.component}`,
    "    app.kubernetes.io/part-of: control-plane",
    `    component: ${kind.name}`,
    `    tier: ${kind.tier}`,
    "  annotations:",
    "    kubectl.kubernetes.io/default-container: leasehold",
    "spec:",
    "  hostNetwork: true",
    "  # The agent asks no name server: when the cluster needs the agent most, DNS may already be down.",
    "  dnsPolicy: Default",
    "  priorityClassName: system-node-critical",
    "  # A Service named leasehold would otherwise inject LEASEHOLD_* variables, which the agent refuses as unknown.",
    "  enableServiceLinks: false",
    "  automountServiceAccountToken: false",
    `  # ${kind.grace}`,
    `  terminationGracePeriodSeconds: ${graceSeconds(config)}`,
    "  securityContext:",
    "    seccompProfile:",
    "      type: RuntimeDefault",
    "  containers:",
    "    - name: leasehold",
    `      image: ${scalar(image)}`,
    "      imagePullPolicy: IfNotPresent",
    '      args: ["run"]',
    "      # This is the port of LEASEHOLD_OPS_ADDRESS. manifests/monitoring/podmonitor.yaml finds it by this name.",
    "      ports:",
    "        - name: metrics",
    `          containerPort: ${config.opsPort}`,
    "          protocol: TCP",
    "      env:",
    ...kind.env,
    `      # ${kind.probes}`,
    ...probe("livenessProbe", config.healthPort, "/livez", [
      "initialDelaySeconds: 10",
      "periodSeconds: 10",
      "timeoutSeconds: 15",
      "failureThreshold: 8",
    ]),
    ...probe("readinessProbe", config.healthPort, "/readyz", [
      "periodSeconds: 1",
      "timeoutSeconds: 15",
      "failureThreshold: 3",
    ]),
    ...probe("startupProbe", config.healthPort, "/livez", [
      "periodSeconds: 10",
      "timeoutSeconds: 15",
      "failureThreshold: 24",
    ]),
    "      resources:",
    ...comments(8, RESOURCES),
    "        requests:",
    "          cpu: 100m",
    "          memory: 96Mi",
    "        limits:",
    `          memory: ${MEMORY_LIMIT_MIB}Mi`,
    "      securityContext:",
    ...comments(8, kind.rights),
    "        runAsUser: 0",
    "        runAsGroup: 0",
    "        allowPrivilegeEscalation: false",
    "        readOnlyRootFilesystem: true",
    "        capabilities:",
    '          drop: ["ALL"]',
    `          add: [${agentCapabilities(config).map(quoted).join(", ")}]`,
    ...comments(8, MANDATORY_ACCESS),
    "      volumeMounts:",
    ...mounts.flatMap(volumeMount),
    "  volumes:",
    ...mounts.flatMap(volume),
  ];
  return `${lines.join("\n")}\n`;
}
