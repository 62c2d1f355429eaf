/** `leasehold manifest`: prints the static pods, RBAC and the rest, with every setting as a flag. Pure. */
import { adviseNear, nearSetting, parseConfig, unknownVariables } from "../config/config.ts";
import type { Config } from "../config/config.ts";
import { boolean } from "../config/parsers.ts";
import { PREFIX, SETTING_NAMES, SETTINGS } from "../config/settings.ts";
import type { SettingName } from "../config/settings.ts";
import { suggest } from "../config/suggest.ts";
import { shown, unquoted } from "../config/text.ts";
import { DEFAULT_IMAGE, imageReference } from "../manifests/image.ts";
import { MANIFESTS, printManifest } from "../manifests/manifests.ts";
import type { ManifestName } from "../manifests/manifests.ts";
import { KUBELET_CONF } from "../manifests/mounts.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export type ManifestAnswer =
  /**
   * `text` is for standard output. `message`, if not empty, is for standard error. `files` has the parts of
   * `text` by their path below the repository's folder manifests/.
   */
  | {
      readonly kind: "ok";
      readonly text: string;
      readonly message: string;
      readonly files: Readonly<Record<string, string>>;
    }
  /** Exit status 2; nothing goes to standard output. */
  | { readonly kind: "error"; readonly message: string };

const IMAGE = "image";

export function manifestHelp(): string {
  return `Usage: leasehold manifest KIND [--SETTING VALUE]... [--image IMAGE]

Prints what Kubernetes needs, as YAML on standard output, or a script or a unit for a host or a workstation.

Kinds:
  pod             static pod of a control-plane node. Needs --vip
  rbac            the Lease of the agents, RBAC, a ValidatingAdmissionPolicy and a FlowSchema:
                  once per cluster
  worker          static pod of a worker, which only balances. Needs --vip, or --api-servers
                  or --backends for the proxy alone
  worker-rbac     RBAC of the workers: once per cluster that has any
  monitoring      PodMonitor and alerts for the Prometheus operator. --runbook-url is where the
                  alerts link to
  dashboard       Grafana dashboard, as JSON to import
  cli             script for the host, which runs \`leasehold status\` and the others: by crictl exec
                  in the pod's container, or by ctr run while the pod is down
  kubectl-plugin  script for a workstation, which is \`kubectl leasehold\`: by kubectl exec in an
                  agent's pod. While the VIP is dead it asks the API servers that it remembers
  systemd         unit that runs the agent in containerd, where the kubelet runs no static pods.
                  Needs --vip

Every setting of \`leasehold --help\` is a flag: LEASEHOLD_NODE_IP is --node-ip. \`--flag value\` and
\`--flag=value\` are the same, and true may be left out: --nopreempt. LEASEHOLD_* variables of the
environment count as well; a flag goes before them. Every kind takes every flag, so that one list of
flags does for all; each prints what concerns it. The mounts of the pod, the ports of its probes and
metrics, its grace period and the Lease in RBAC follow the settings.

  --image IMAGE   default: ${DEFAULT_IMAGE}

Wrong settings are reported all at once on standard error, with exit status 2, and nothing is printed.

Examples:
  leasehold manifest pod --vip 192.0.2.10
  leasehold manifest pod --vip 192.0.2.10,2001:db8::10 --interface eth0 --priority 150
  leasehold manifest pod --vip 192.0.2.10 --ops-address 0.0.0.0:10081 --image registry.example/leasehold:0.1.0
  leasehold manifest worker --vip 192.0.2.10
  leasehold manifest rbac --lease-name edge | kubectl apply -f -
  leasehold manifest cli --vip 192.0.2.10 | install -m 0755 /dev/stdin /usr/local/sbin/leasehold
  leasehold manifest kubectl-plugin | install -m 0755 /dev/stdin ~/.local/bin/kubectl-leasehold

Without an installation, from the image:
  ctr -n k8s.io run --rm docker.io/library/${DEFAULT_IMAGE} leasehold-manifest \\
    leasehold manifest pod --vip 192.0.2.10
`;
}

interface Words {
  readonly kind: ManifestName | undefined;
  readonly settings: ReadonlyMap<SettingName, string>;
  readonly image: string | undefined;
  readonly problems: readonly string[];
}

const flagOf = (name: SettingName): string => `--${name.toLowerCase().replaceAll("_", "-")}`;
const FLAGS: ReadonlyMap<string, SettingName> = new Map(
  SETTING_NAMES.map((name) => [flagOf(name).slice(2), name]),
);
const KINDS = MANIFESTS.join(", ");
const isKind = (word: string): word is ManifestName => MANIFESTS.some((kind) => kind === word);
/** True for what runs an agent. */
const isAgent = (kind: ManifestName): boolean => kind === "pod" || kind === "worker" || kind === "systemd";
const isBoolean = (name: SettingName): boolean => SETTINGS[name].parser === boolean;

/**
 * @param word as it was written, without what follows "="
 * @param value what it was given; "true" for a flag without a value
 */
function unknownFlag(word: string, value: string): string {
  const flag = word.replace(/^--?/, "");
  // kube-vip writes --leaseName.
  const name = flag
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll("-", "_")
    .toUpperCase();
  const same = FLAGS.get(name.toLowerCase().replaceAll("_", "-"));
  const near = same === undefined ? nearSetting(name, value) : { name: same };
  const problem = `${shown(word).slice(1, -1)} is not a flag;`;
  if (near !== undefined) return `${problem} ${adviseNear(near, flagOf)}`;
  const other = suggest(flag, [IMAGE, "help"]);
  return `${problem} ${other === undefined ? "`leasehold --help` lists the settings" : `did you mean --${other}?`}`;
}

/** What a flag without "=" takes of the words that follow it: its value, or nothing. */
function following(next: string | undefined, name: SettingName | undefined): string | undefined {
  if (next === undefined || next.startsWith("--")) return undefined;
  return name !== undefined && isBoolean(name) && boolean.parse(next).kind === "wrong" ? undefined : next;
}

function readWords(words: readonly string[]): Words {
  let kind: ManifestName | undefined;
  let image: string | undefined;
  const settings = new Map<SettingName, string>();
  const problems: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("-") || word === "-") {
      if (kind !== undefined)
        problems.push(
          `${shown(word)} is one word too many: a value belongs to a flag, and there is one kind, here ${kind}`,
        );
      else if (isKind(word)) kind = word;
      else {
        const near = suggest(word, MANIFESTS);
        problems.push(
          `${shown(word)} is not a manifest; ${near === undefined ? `use one of ${KINDS}` : `did you mean ${near}?`}`,
        );
      }
      continue;
    }
    const [flag = "", ...parts] = word.replace(/^--?/, "").split("=");
    const name = word.startsWith("--") ? FLAGS.get(flag) : undefined;
    const isImage = word.startsWith("--") && flag === IMAGE;
    let value = parts.length > 0 ? parts.join("=") : undefined;
    if (value === undefined) {
      value = following(words[at + 1], name);
      // A kind after an unknown flag is not that flag's value.
      if (value !== undefined && name === undefined && !isImage && isKind(value)) value = undefined;
      else if (value !== undefined) at += 1;
    }
    if (name === undefined && !isImage) problems.push(unknownFlag(word.replace(/=.*/s, ""), value ?? "true"));
    else if (name === undefined ? image !== undefined : settings.has(name))
      problems.push(`--${flag} is given twice; use it once`);
    else if (name !== undefined) {
      if (value === undefined && !isBoolean(name))
        problems.push(`--${flag} has no value; use ${SETTINGS[name].parser.expects}`);
      settings.set(name, value ?? (isBoolean(name) ? "true" : ""));
    } else if (value === undefined || value === "")
      problems.push(`--${flag} has no value; use ${imageReference.expects}`);
    else image = value;
  }
  if (kind === undefined && !problems.some((problem) => problem.includes("is not a manifest")))
    problems.unshift(`which manifest? use one of ${KINDS}`);
  return { kind, settings, image, problems };
}

/** What the kind asks of the settings beyond the rules that the agent has. */
function kindProblems(kind: ManifestName, config: Config): string[] {
  const worker = config.role === "balancer";
  const role = `${PREFIX}ROLE=${shown(config.role)}`;
  if (kind === "pod" && worker) return [`${role} is a worker's; use \`leasehold manifest worker\``];
  if (kind === "worker" && !worker) return [`${role} is not a worker's; use \`leasehold manifest pod\``];
  if (
    (kind === "worker" || (kind === "systemd" && worker)) &&
    config.vips.length === 0 &&
    config.apiServers.length === 0 &&
    config.backends.length === 0
  ) {
    return [
      `${PREFIX}VIP is not set; use ${SETTINGS.VIP.parser.expects}; or, for the proxy without a VIP, set ${PREFIX}API_SERVERS`,
    ];
  }
  return [];
}

/**
 * The settings to judge: with the worker's own defaults, and without the rule that a candidate needs a VIP
 * where no agent is made.
 */
function judged(kind: ManifestName, given: ReadonlyMap<SettingName, string>): Record<string, string> {
  const runsNoAgent = !isAgent(kind);
  const hasRightRole = SETTINGS.ROLE.parser.parse(given.get("ROLE") ?? "control-plane").kind === "ok";
  const values = {
    ...(kind === "worker" ? { ROLE: "balancer", KUBECONFIG: KUBELET_CONF } : {}),
    ...Object.fromEntries(given),
    ...(runsNoAgent && hasRightRole && !given.has("VIP") ? { ROLE: "balancer" } : {}),
  };
  return Object.fromEntries(Object.entries(values).map(([name, text]) => [PREFIX + name, text]));
}

/**
 * @param words what follows `manifest` on the command line
 * @param env LEASEHOLD_* variables count as flags that were not given
 */
export function manifest(words: readonly string[], env: Environment): ManifestAnswer {
  const { kind, settings, image = DEFAULT_IMAGE, problems: wrongWords } = readWords(words);
  const problems = [...wrongWords, ...unknownVariables(env)];
  const ofEnvironment = new Set(
    SETTING_NAMES.filter((name) => !settings.has(name) && (env[PREFIX + name]?.trim() ?? "") !== ""),
  );
  const given = new Map(
    SETTING_NAMES.map(
      (name) => [name, (settings.get(name) ?? env[PREFIX + name] ?? "").trim()] as const,
    ).filter(([, text]) => text !== ""),
  );
  const wrongImage = imageReference.parse(image);
  if (wrongImage.kind === "wrong")
    problems.push(
      `--image=${shown(image)} ${wrongImage.because}; ${unquoted(image) === undefined ? "" : "remove the quotes, and "}use ${imageReference.expects}`,
    );

  /** A setting is called by the name under which the person gave it, or may give it. */
  const named = (text: string): string =>
    text.replaceAll(new RegExp(`${PREFIX}([A-Z_]+)`, "g"), (variable, rest: string) => {
      const name = SETTING_NAMES.find((setting) => setting === rest);
      return name === undefined || ofEnvironment.has(name) ? variable : flagOf(name);
    });
  const chosen = kind ?? "rbac";
  const parsed = parseConfig(judged(chosen, given), "node");
  if (parsed.kind === "error") return refused([...problems, ...parsed.problems.map(named)]);
  const printed = printManifest(chosen, { config: parsed.config, given, image });
  problems.push(...[...kindProblems(chosen, parsed.config), ...printed.problems].map(named));
  if (problems.length > 0 || kind === undefined) return refused(problems);
  // The other kinds run no agent.
  const warnings = isAgent(kind) ? [...parsed.warnings, ...printed.warnings].map(named) : [];
  const message = warnings.map((warning) => `leasehold: warning: ${warning}\n`).join("");
  return { kind: "ok", text: Object.values(printed.files).join("---\n"), message, files: printed.files };
}

function refused(problems: readonly string[]): ManifestAnswer {
  return {
    kind: "error",
    message: `leasehold: no manifest can be printed:\n${problems.map((problem) => `  ${problem}\n`).join("")}`,
  };
}
