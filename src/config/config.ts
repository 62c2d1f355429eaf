/** Parses and checks the settings. The table of variables is in `settings.ts`. */
import { programEnvironment } from "./program-environment.ts";
import type { HostPort, IpAddress, Subnet } from "../net.ts";
import { boolean, commandLine, nodeName as nodeNameParser } from "./parsers.ts";
import type { Endpoint, Parsed, Parser } from "./parsers.ts";
import { addressLifetimeSeconds, RULES, WARNINGS } from "./rules.ts";
import { OTHER_MEANING, PREFIX, SETTING_NAMES, SETTINGS, SYNONYMS } from "./settings.ts";
import type { SettingName, Values } from "./settings.ts";
import { suggest } from "./suggest.ts";
import { invisible, shown, unquoted, visible } from "./text.ts";

export type BalanceAlgorithm = "leastconn" | "roundrobin" | "random" | "source" | "local";

export interface Config {
  readonly role: "control-plane" | "balancer";
  readonly nodeName: string;
  /** undefined: the agent finds it on the VIP's interface. */
  readonly nodeIp: IpAddress | undefined;
  readonly vips: readonly IpAddress[];
  /** undefined: the agent takes the interface whose connected subnet contains the VIP. */
  readonly interface: string | undefined;
  readonly leaseName: string;
  readonly leaseNamespace: string;
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly renewIntervalMs: number;
  /** Whole seconds, because IFA_CACHEINFO has no finer unit. */
  readonly addressLifetimeSeconds: number;
  /** VRRP's priority, 1 to 254. */
  readonly priority: number;
  readonly nopreempt: boolean;
  readonly nopreemptStrict: boolean;
  readonly preemptDelayMs: number;
  readonly announceRefreshMs: number;
  /** What a holder does at the renew deadline when no API server lets it renew. */
  readonly onApiLoss: "auto" | "hold" | "release";
  readonly takeOver: boolean;
  /** Milliseconds between two probes of the holder. 0 means none: only the Lease's expiry counts. */
  readonly probeIntervalMs: number;
  readonly probeMisses: number;
  readonly kubeconfig: string;
  readonly adminKubeconfig: string | null;
  readonly apiServerManifest: string;
  /**
   * Explicit API servers for the election. Empty means the own node's and those of the peers that are found.
   */
  readonly apiServers: readonly HostPort[];
  readonly backends: readonly HostPort[];
  readonly backendPort: number;
  readonly balancerPort: number;
  /** The addresses at which the balancer serves. undefined: every address of the node. */
  readonly balancerAddresses: readonly Subnet[] | undefined;
  readonly fastPath: "auto" | "on" | "off";
  /** The names of the interfaces by which this node's pods send. A `*` ends one that is a beginning. */
  readonly podInterfaces: readonly string[];
  /** Ports of the VIP that lead to the API servers. */
  readonly vipPorts: readonly number[];
  /** undefined: as many as suit the machine. */
  readonly balancerWorkers: number | undefined;
  readonly algorithm: BalanceAlgorithm;
  readonly maxConnections: number;
  readonly slowStartMs: number;
  readonly connectTimeoutMs: number;
  readonly drainTimeoutMs: number;
  readonly checkPath: string;
  readonly checkIntervalMs: number;
  readonly checkTimeoutMs: number;
  readonly checkRise: number;
  readonly checkFall: number;
  readonly trackBalancerWeight: number;
  readonly trackApiserverWeight: number;
  readonly trackInterfaceWeight: number;
  readonly trackFile: string | undefined;
  readonly trackFileWeight: number;
  readonly trackExec: string | undefined;
  readonly trackExecWeight: number;
  readonly notify: string | undefined;
  readonly notifyTimeoutMs: number;
  readonly notifyFifo: string | undefined;
  /** The whole environment of TRACK_EXEC's and NOTIFY's programs. */
  readonly programEnv: Readonly<Record<string, string>>;
  readonly trackHttp: string | undefined;
  readonly trackHttpWeight: number;
  readonly trackIntervalMs: number;
  readonly trackTimeoutMs: number;
  readonly trackRise: number;
  readonly trackFall: number;
  readonly opsHost: string;
  readonly opsPort: number;
  /** Port of 127.0.0.1. */
  readonly healthPort: number;
  /**
   * Port of the node's own address for the other nodes' agents. undefined: none is opened, as with role
   * balancer.
   */
  readonly peerPort: number | undefined;
  readonly logLevel: "error" | "warn" | "info" | "debug";
  readonly logFormat: "json" | "text";
  /** Where the runbook is served, for the alerts; undefined: nowhere. */
  readonly runbookUrl: string | undefined;
  /** Directory on a tmpfs: its content must not outlive a reboot. */
  readonly stateDir: string;
  /** Directory on disk: its content outlives a reboot. */
  readonly dataDir: string;
  readonly machineIdFile: string;
}

export type ConfigResult =
  | { readonly kind: "ok"; readonly config: Config; readonly warnings: readonly string[] }
  | { readonly kind: "error"; readonly problems: readonly string[] };

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns a variable's text. An empty value counts as not set, which is what an emptied `value: ""` in a
 * manifest means.
 */
export function textOf(env: Environment, name: SettingName): string {
  return env[PREFIX + name]?.trim() ?? "";
}

/** The setting that a person probably meant who wrote a name that is none. */
export interface NearSetting {
  readonly name: SettingName;
  /** What to set it to: the name that was written says it by another value. */
  readonly value?: string;
  /** The name that was written means the opposite, and its value is not known. */
  readonly isOpposite?: boolean;
}

/**
 * `nearSetting` returns the setting that `name`, without its prefix, was probably meant to be, and undefined
 * when none is near. `text` is the value that was given to it.
 */
export function nearSetting(name: string, text: string): NearSetting | undefined {
  const other = [...Object.keys(SYNONYMS), ...Object.keys(OTHER_MEANING)];
  const near = other.includes(name) ? name : suggest(name, [...SETTING_NAMES, ...other]);
  if (near === undefined) return undefined;
  const meaning = Object.hasOwn(OTHER_MEANING, near) ? OTHER_MEANING[near] : undefined;
  if (meaning !== undefined) {
    const value = boolean.parse(text.trim());
    return value.kind === "wrong"
      ? { name: meaning.name, isOpposite: true }
      : { name: meaning.name, value: value.value ? meaning.whenTrue : meaning.whenFalse };
  }
  const found = SYNONYMS[near] ?? SETTING_NAMES.find((setting) => setting === near);
  return found && { name: found };
}

/**
 * `adviseNear` ends the sentence "X is not a setting; ...".
 * @param write how a setting is written: as a variable or as a flag
 */
export function adviseNear(near: NearSetting, write: (name: SettingName) => string): string {
  const written = write(near.name);
  if (near.value !== undefined) return `use ${written}=${near.value}`;
  return near.isOpposite === true
    ? `did you mean ${written}, which is its opposite?`
    : `did you mean ${written}?`;
}

const isSetting = (name: string): boolean => Object.hasOwn(SETTINGS, name);

/**
 * Returns what follows the prefix in a variable that is meant for this program, in upper case: also where
 * the prefix is written otherwise (`leasehold_vip`, `LEASEHOLD-VIP`, `LEASEHOLDVIP`). undefined: the variable
 * is another program's.
 */
function afterPrefix(variable: string): string | undefined {
  const [, separator, rest = ""] = /^leasehold([^a-z\d])?(.*)$/is.exec(visible(variable)) ?? [];
  const name = rest.toUpperCase();
  return separator !== undefined || isSetting(name) ? name : undefined;
}

/**
 * `unknownVariables` returns a sentence for each `LEASEHOLD_*` variable that is not a setting, and for each
 * whose prefix is written otherwise. {@link parseConfig} reports them as well.
 */
export function unknownVariables(env: Environment): string[] {
  return Object.keys(env)
    .filter((name) => afterPrefix(name) !== undefined)
    .filter((name) => !name.startsWith(PREFIX) || !isSetting(name.slice(PREFIX.length)))
    .toSorted()
    .map((name) => {
      const text = env[name] ?? "";
      const near = nearSetting(afterPrefix(name) ?? "", text);
      const advice =
        near === undefined
          ? "`leasehold --help` lists all of them"
          : adviseNear(near, (setting) => PREFIX + setting);
      return `${shown(name).slice(1, -1)}=${shown(text)} is not a setting; ${advice}`;
    });
}

/** Reads one value. A refusal is a whole sentence after the variable and its value. */
function read(parser: Parser<unknown>, text: string): Parsed<unknown> {
  // Quotes have a meaning in a command line, and an argument may be any text.
  const isCommand = parser === commandLine;
  const unseen = isCommand ? undefined : invisible(text);
  if (unseen !== undefined) {
    return {
      kind: "wrong",
      because: `has a character in it that cannot be seen, ${unseen}; remove it, or type the value instead of copying it`,
    };
  }
  const bare = isCommand ? undefined : unquoted(text);
  if (bare !== undefined) {
    const also = bare === "" || parser.parse(bare).kind === "ok" ? "" : `, and use ${parser.expects}`;
    return {
      kind: "wrong",
      because: `has quotes, which are part of the value here; remove the quotes${also}`,
    };
  }
  const parsed = parser.parse(text);
  return parsed.kind === "ok"
    ? parsed
    : { kind: "wrong", because: `${parsed.because}; use ${parser.expects}` };
}

/**
 * Parses all settings. A wrong value is reported and replaced by its default, so that the rest can be
 * checked.
 */
function parseValues(env: Environment): {
  values: Values;
  wrong: ReadonlySet<SettingName>;
  problems: string[];
} {
  const values: Record<string, unknown> = {};
  const wrong = new Set<SettingName>();
  const problems: string[] = [];
  for (const name of SETTING_NAMES) {
    const { parser, fallback } = SETTINGS[name];
    const text = textOf(env, name);
    const parsed = text === "" ? undefined : read(parser, text);
    if (parsed?.kind === "wrong") {
      wrong.add(name);
      problems.push(`${PREFIX}${name}=${shown(text)} ${parsed.because}`);
    }
    if (parsed?.kind === "ok") {
      values[name] = parsed.value;
    } else if (fallback !== undefined) {
      const standard = parser.parse(fallback);
      if (standard.kind === "wrong") throw new RangeError(`the default of ${name} ${standard.because}`);
      values[name] = standard.value;
    }
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every name has had its own parser's value or default
  return { values: values as Values, wrong, problems };
}

function hostPorts(list: readonly Endpoint[] | undefined, defaultPort: number): HostPort[] {
  return (list ?? []).map(({ address, port = defaultPort }) => ({ host: address.text, port }));
}

function assemble(env: Environment, values: Values, nodeName: string, lifetimeSeconds: number): Config {
  return Object.freeze<Config>({
    role: values.ROLE,
    nodeName,
    nodeIp: values.NODE_IP,
    vips: values.VIP ?? [],
    interface: values.INTERFACE,
    leaseName: values.LEASE_NAME,
    leaseNamespace: values.LEASE_NAMESPACE,
    leaseDurationMs: values.LEASE_DURATION,
    renewDeadlineMs: values.RENEW_DEADLINE,
    renewIntervalMs: values.RENEW_INTERVAL,
    addressLifetimeSeconds: lifetimeSeconds,
    priority: values.PRIORITY,
    nopreempt: values.NOPREEMPT,
    nopreemptStrict: values.NOPREEMPT_STRICT,
    preemptDelayMs: values.PREEMPT_DELAY,
    announceRefreshMs: values.ANNOUNCE_REFRESH,
    onApiLoss: values.ON_API_LOSS,
    takeOver: values.TAKE_OVER,
    probeIntervalMs: values.PROBE_INTERVAL,
    probeMisses: values.PROBE_MISSES,
    kubeconfig: values.KUBECONFIG,
    adminKubeconfig: values.ADMIN_KUBECONFIG,
    apiServerManifest: values.API_SERVER_MANIFEST,
    apiServers: hostPorts(values.API_SERVERS, values.BACKEND_PORT),
    backends: hostPorts(values.BACKENDS, values.BACKEND_PORT),
    backendPort: values.BACKEND_PORT,
    balancerPort: values.BALANCER_PORT,
    balancerAddresses: values.BALANCER_ADDRESSES,
    fastPath: values.FASTPATH,
    podInterfaces: values.POD_INTERFACES,
    vipPorts: values.VIP_PORTS,
    balancerWorkers: values.BALANCER_WORKERS,
    algorithm: values.ALGORITHM,
    maxConnections: values.MAX_CONNECTIONS,
    slowStartMs: values.SLOW_START,
    connectTimeoutMs: values.CONNECT_TIMEOUT,
    drainTimeoutMs: values.DRAIN_TIMEOUT,
    checkPath: values.CHECK_PATH,
    checkIntervalMs: values.CHECK_INTERVAL,
    checkTimeoutMs: values.CHECK_TIMEOUT,
    checkRise: values.CHECK_RISE,
    checkFall: values.CHECK_FALL,
    trackBalancerWeight: values.TRACK_BALANCER_WEIGHT,
    trackApiserverWeight: values.TRACK_APISERVER_WEIGHT,
    trackInterfaceWeight: values.TRACK_INTERFACE_WEIGHT,
    trackFile: values.TRACK_FILE,
    trackFileWeight: values.TRACK_FILE_WEIGHT,
    trackExec: values.TRACK_EXEC,
    trackExecWeight: values.TRACK_EXEC_WEIGHT,
    notify: values.NOTIFY,
    notifyTimeoutMs: values.NOTIFY_TIMEOUT,
    notifyFifo: values.NOTIFY_FIFO,
    programEnv: programEnvironment(env, {
      nodeName,
      leaseName: values.LEASE_NAME,
      vips: values.VIP ?? [],
    }),
    trackHttp: values.TRACK_HTTP,
    trackHttpWeight: values.TRACK_HTTP_WEIGHT,
    trackIntervalMs: values.TRACK_INTERVAL,
    trackTimeoutMs: values.TRACK_TIMEOUT,
    trackRise: values.TRACK_RISE,
    trackFall: values.TRACK_FALL,
    opsHost: values.OPS_ADDRESS.host,
    opsPort: values.OPS_ADDRESS.port,
    healthPort: values.HEALTH_PORT,
    // A worker has no peers.
    peerPort: values.ROLE === "balancer" ? undefined : values.PEER_PORT,
    logLevel: values.LOG_LEVEL,
    logFormat: values.LOG_FORMAT,
    runbookUrl: values.RUNBOOK_URL,
    stateDir: values.STATE_DIR,
    dataDir: values.DATA_DIR,
    machineIdFile: values.MACHINE_ID_FILE,
  });
}

/**
 * Reads every `LEASEHOLD_*` variable of `env`. It reports all problems at once, and each names the variable,
 * its value and what would be right. `hostname` is used when LEASEHOLD_NODE_NAME is not set.
 */
export function parseConfig(env: Environment, hostname: string): ConfigResult {
  const { values, wrong, problems: wrongValues } = parseValues(env);
  const problems = [...unknownVariables(env), ...wrongValues];
  const facts = { values, isSet: (name: SettingName) => textOf(env, name) !== "" };
  const judge = (rules: typeof RULES): string[] =>
    rules.filter(({ uses }) => uses.every((name) => !wrong.has(name))).flatMap((rule) => rule.check(facts));
  problems.push(...judge(RULES));

  const nodeName = values.NODE_NAME ?? hostname.toLowerCase();
  if (
    values.NODE_NAME === undefined &&
    !wrong.has("NODE_NAME") &&
    nodeNameParser.parse(nodeName).kind === "wrong"
  ) {
    problems.push(
      `${PREFIX}NODE_NAME is not set and the host name ${shown(hostname)} cannot stand in; use ${nodeNameParser.expects}`,
    );
  }
  const lifetimeSeconds = addressLifetimeSeconds(values.RENEW_DEADLINE, values.LEASE_DURATION);
  if (problems.length > 0 || lifetimeSeconds === undefined) return { kind: "error", problems };
  return { kind: "ok", config: assemble(env, values, nodeName, lifetimeSeconds), warnings: judge(WARNINGS) };
}
