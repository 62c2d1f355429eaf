/**
 * The one table of settings. `--help`, the README, docs/configuration.md and the static pod's manifest
 * are written from it (scripts/docs.ts), so a setting exists in all of them or in none.
 */
import * as parsers from "./parsers.ts";
import type { Parser } from "./parsers.ts";

export const PREFIX = "LEASEHOLD_";

export const SECTIONS = ["Identity", "Lease", "Election", "Tracking", "Kubernetes", "Balancer", "Operations"] as const;
export type Section = (typeof SECTIONS)[number];

export interface Setting<T> {
  readonly section: Section;
  readonly parser: Parser<T>;
  /** Parsed like anything else; undefined: the value itself is undefined then. */
  readonly fallback: string | undefined;
  /** What the documentation shows as the default. */
  readonly shown: string;
  readonly doc: string;
  /** Means nothing with LEASEHOLD_ROLE=balancer. */
  readonly electionOnly: boolean;
}

interface Options {
  readonly section: Section;
  readonly doc: string;
  readonly electionOnly?: boolean;
}

function withDefault<T>(parser: Parser<T>, fallback: string, options: Options): Setting<T> {
  return { electionOnly: false, ...options, parser, fallback, shown: fallback };
}

function optional<T>(parser: Parser<T>, shown: string, options: Options): Setting<T | undefined> {
  return { electionOnly: false, ...options, parser, fallback: undefined, shown };
}

const election = { section: "Election", electionOnly: true } as const;
const lease = { section: "Lease", electionOnly: true } as const;
const tracking = { section: "Tracking", electionOnly: true } as const;

export const SETTINGS = {
  VIP: optional(parsers.vips, "required", {
    section: "Identity",
    doc: "The virtual address, IPv4 or IPv6; several separated by commas move together or not at all. Always bound as /32 or /128. Needed with LEASEHOLD_ROLE=control-plane.",
  }),
  ROLE: withDefault(parsers.oneOf(["control-plane", "balancer"]), "control-plane", {
    section: "Identity",
    doc: "`control-plane` takes part in the election and balances; `balancer` (for workers) only balances.",
  }),
  NODE_NAME: optional(parsers.nodeName, "host name in lower case", {
    section: "Identity",
    doc: "This node's Kubernetes name. The manifest sets it from `spec.nodeName`.",
  }),
  NODE_IP: optional(parsers.hostAddress, "found on the interface", {
    section: "Identity", electionOnly: true,
    doc: "This node's own address on the VIP's network. Breaks ties between equal priorities: the higher one wins.",
  }),
  INTERFACE: optional(parsers.interfaceName, "found by subnet", {
    section: "Identity", electionOnly: true,
    doc: "Interface that gets the VIP. Without it, the one whose connected subnet holds the VIP.",
  }),

  LEASE_NAME: withDefault(parsers.dnsSubdomain, "leasehold", {
    ...lease, doc: "Name of the Lease that the agents compete for. The Role in manifests/rbac.yaml names it too.",
  }),
  LEASE_NAMESPACE: withDefault(parsers.dnsLabel, "kube-system", { ...lease, doc: "Namespace of the Lease." }),
  LEASE_DURATION: withDefault(parsers.wholeSeconds("2s", "10m"), "10s", {
    ...lease, doc: "How long the others wait after they last saw the Lease change before they may claim it.",
  }),
  RENEW_DEADLINE: withDefault(parsers.duration("500ms", "10m"), "4s", {
    ...lease,
    doc: "The holder gives up the VIP when its last successful renewal, counted from its sending, is older than this. (RENEW_DEADLINE + address lifetime + 1s) x 1.05 must stay below LEASE_DURATION x 0.95; the address lifetime is 3 s, or 2 s where 3 do not fit.",
  }),
  RENEW_INTERVAL: withDefault(parsers.duration("100ms", "1m"), "1s", {
    ...lease, doc: "Time between renewals. RENEW_INTERVAL x 1.2 must stay below RENEW_DEADLINE.",
  }),

  PRIORITY: withDefault(parsers.priority, "100", {
    ...election, doc: "VRRP's priority, 1 to 254. The highest wins; equal priorities never preempt each other.",
  }),
  NOPREEMPT: withDefault(parsers.boolean, "true", {
    ...election,
    doc: "A node with a higher priority leaves a healthy holder alone (VRRP's own default is `false`). A holder in FAULT hands over regardless.",
  }),
  NOPREEMPT_STRICT: withDefault(parsers.boolean, "false", {
    ...election, doc: "NOPREEMPT to VRRP's letter: not even a holder in FAULT is displaced while it renews.",
  }),
  PREEMPT_DELAY: withDefault(parsers.duration("0s", "1000s"), "0s", {
    ...election, doc: "With NOPREEMPT=false, how long a better node waits before it asks for the VIP.",
  }),
  ANNOUNCE_REFRESH: withDefault(parsers.duration("0s", "1h"), "60s", {
    ...election, doc: "The holder repeats its gratuitous ARP or neighbour advertisement this often; 0s: never.",
  }),
  ON_API_LOSS: withDefault(parsers.oneOf(["auto", "hold", "release"]), "auto", {
    ...election,
    doc: "What a holder does at RENEW_DEADLINE when no API server lets it renew. `auto` keeps the VIP while nobody could claim it (every API server refuses, or at least half answer and cannot write: etcd without quorum) and lets go when this node may be cut off; `hold` keeps it until another holder is seen; `release` always lets go. With an external etcd \"nobody could claim\" is less sure: servers that answer and cannot write may be cut off from an etcd that one which does not answer still reaches.",
  }),
  PROBE_INTERVAL: withDefault(parsers.durationOrOff("20ms", "1s"), "50ms", {
    ...election,
    doc: "Every candidate asks the VIP this often whether its holder is still there: its silence proves a death long before the Lease expires. 0s: never, only expiry counts.",
  }),
  PROBE_MISSES: withDefault(parsers.wholeNumber(2, 20), "3", {
    ...election, doc: "Probes in a row without an answer until a holder may be taken for dead.",
  }),

  TRACK_BALANCER_WEIGHT: withDefault(parsers.weight, "0", {
    ...tracking,
    doc: "Weight of the check that the own balancer accepts and has a healthy backend. As in keepalived: 0 means FAULT on failure; positive adds while it succeeds, negative subtracts while it fails.",
  }),
  TRACK_APISERVER_WEIGHT: withDefault(parsers.weight, "-50", {
    ...tracking, doc: "Weight of the check of this node's own API server.",
  }),
  TRACK_INTERFACE_WEIGHT: withDefault(parsers.weight, "0", {
    ...tracking, doc: "Weight of the check that the VIP's interface is up and has a carrier.",
  }),
  TRACK_FILE: optional(parsers.absolutePath, "none", {
    ...tracking, doc: "A file that holds a number: with weight 0 a number other than 0 is FAULT, otherwise number x weight is added.",
  }),
  TRACK_FILE_WEIGHT: withDefault(parsers.weight, "1", { ...tracking, doc: "Weight of TRACK_FILE." }),
  TRACK_EXEC: optional(parsers.commandLine, "none", {
    ...tracking, doc: "A command; exit status 0 is success.",
  }),
  TRACK_EXEC_WEIGHT: withDefault(parsers.weight, "0", { ...tracking, doc: "Weight of TRACK_EXEC." }),
  TRACK_HTTP: optional(parsers.httpUrl, "none", {
    ...tracking, doc: "A URL to GET; 2xx or 3xx is success.",
  }),
  TRACK_HTTP_WEIGHT: withDefault(parsers.weight, "0", { ...tracking, doc: "Weight of TRACK_HTTP." }),
  TRACK_INTERVAL: withDefault(parsers.duration("100ms", "10m"), "1s", {
    ...tracking, doc: "Time between two runs of a check. Two runs of one check never overlap.",
  }),
  TRACK_TIMEOUT: withDefault(parsers.duration("50ms", "10m"), "1s", {
    ...tracking, doc: "A run that takes longer has failed.",
  }),
  TRACK_RISE: withDefault(parsers.wholeNumber(1, 100), "2", { ...tracking, doc: "Successes in a row until a failed check counts as good." }),
  TRACK_FALL: withDefault(parsers.wholeNumber(1, 100), "3", { ...tracking, doc: "Failures in a row until a good check counts as failed." }),

  KUBECONFIG: withDefault(parsers.absolutePath, "/etc/kubernetes/leasehold/kubeconfig", {
    section: "Kubernetes", doc: "Kubeconfig of the agent's own user. May appear later than the agent; re-read when it changes.",
  }),
  ADMIN_KUBECONFIG: withDefault(parsers.absolutePath, "/etc/kubernetes/admin.conf", {
    section: "Kubernetes", doc: "Used, with a warning, while KUBECONFIG is missing, expired or refused.",
  }),
  API_SERVERS: optional(parsers.endpoints, "own node and its peers", {
    section: "Kubernetes",
    doc: "API servers for the agent's own requests, in order: numeric addresses with or without a port. Never the VIP, never a name. Without it a worker finds them by way of the VIP.",
  }),

  BACKENDS: optional(parsers.endpoints, "the `kubernetes` EndpointSlice", {
    section: "Balancer", doc: "API servers to balance over: numeric addresses with or without a port.",
  }),
  BACKEND_PORT: withDefault(parsers.port, "6443", {
    section: "Balancer", doc: "Port of this node's API server, and of those given without one.",
  }),
  FASTPATH: withDefault(parsers.oneOf(["auto", "on", "off"]), "auto", {
    section: "Balancer",
    doc: "The kernel's data plane (nftables). `auto` uses it where kernel and network allow, and says why where they do not; `on` does not let the network check take nodes out of it; `off` sends what comes over the wire through the proxy. A node's own clients go straight to an API server in any case.",
  }),
  VIP_PORTS: withDefault(parsers.ports, "6443,8443", {
    section: "Balancer", doc: "Ports of the VIP that lead to the API servers.",
  }),
  BALANCER_PORT: withDefault(parsers.port, "8443", { section: "Balancer", doc: "Port the balancer listens on, on every address of the node." }),
  BALANCER_WORKERS: optional(parsers.wholeNumber(1, 32), "2; 1 on fewer than 4 cores", {
    section: "Balancer", doc: "Threads that carry connections; the kernel spreads clients over them, and each balances for itself. About 25 MB each.",
  }),
  ALGORITHM: withDefault(parsers.oneOf(["leastconn", "roundrobin", "random", "source", "local"]), "leastconn", {
    section: "Balancer", doc: "How a backend is chosen, in HAProxy's words; `local` prefers this node's own API server.",
  }),
  MAX_CONNECTIONS: withDefault(parsers.wholeNumber(1, 1_000_000), "20000", {
    section: "Balancer", doc: "Client connections at one time; more are refused.",
  }),
  SLOW_START: withDefault(parsers.duration("0s", "1h"), "30s", {
    section: "Balancer", doc: "A backend that came back gets its full share only after this time.",
  }),
  CONNECT_TIMEOUT: withDefault(parsers.duration("50ms", "1m"), "1s", {
    section: "Balancer", doc: "Time for one backend to accept a connection before the next one is tried.",
  }),
  DRAIN_TIMEOUT: withDefault(parsers.duration("0s", "10m"), "3s", {
    section: "Balancer", doc: "On stop, how long open connections may go on. Keep it well below terminationGracePeriodSeconds.",
  }),
  CHECK_PATH: withDefault(parsers.httpPath, "/readyz", { section: "Balancer", doc: "What a backend is asked for, over TLS; 200 is healthy." }),
  CHECK_INTERVAL: withDefault(parsers.duration("100ms", "10m"), "1s", { section: "Balancer", doc: "Time between two checks of one backend." }),
  CHECK_TIMEOUT: withDefault(parsers.duration("50ms", "1m"), "1s", { section: "Balancer", doc: "A check that takes longer has failed." }),
  CHECK_RISE: withDefault(parsers.wholeNumber(1, 100), "2", { section: "Balancer", doc: "Successes in a row until a backend is UP." }),
  CHECK_FALL: withDefault(parsers.wholeNumber(1, 100), "3", { section: "Balancer", doc: "Failures in a row until a backend is no longer UP." }),

  OPS_ADDRESS: withDefault(parsers.listenAddress, "127.0.0.1:10081", {
    section: "Operations",
    doc: "Where /livez, /readyz, /healthz, /metrics and /status are served. No authentication: leave it on loopback unless the network is trusted. `0.0.0.0:10081` lets Prometheus in; manifests/monitoring expects that port. Tried again while it cannot be had.",
  }),
  HEALTH_PORT: withDefault(parsers.port, "10084", {
    section: "Operations",
    doc: "Port of 127.0.0.1 where /livez, /readyz and /healthz are served as well, whatever OPS_ADDRESS is. The probes in manifests/leasehold.yaml ask it: change it in both. Tried again while it cannot be had.",
  }),
  LOG_LEVEL: withDefault(parsers.oneOf(["error", "warn", "info", "debug"]), "info", { section: "Operations", doc: "Least severe level that is logged." }),
  LOG_FORMAT: withDefault(parsers.oneOf(["json", "text"]), "json", { section: "Operations", doc: "JSON, one object a line, or text for people." }),
  STATE_DIR: withDefault(parsers.absolutePath, "/run/leasehold", {
    section: "Operations", doc: "Directory, on a tmpfs, for what a restarted agent must know: the last renewal. Gone after a reboot, as it must be.",
  }),
  DATA_DIR: withDefault(parsers.absolutePath, "/var/lib/leasehold", {
    section: "Operations", doc: "Directory that outlives a reboot, for the last known API servers: at a cold start of the whole cluster nobody else can name them.",
  }),
  MACHINE_ID_FILE: withDefault(parsers.absolutePath, "/etc/machine-id", {
    section: "Operations", doc: "Tells two machines of one name apart; only a hash of it leaves the node.",
  }),
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

export type SettingName = keyof typeof SETTINGS;
export type Values = { readonly [K in SettingName]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never };

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.keys of a constant
export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

/** Names from keepalived, client-go and kube-vip for what has another name here. */
export const SYNONYMS: Readonly<Record<string, SettingName>> = {
  ADDRESS: "VIP",
  ADVERT_INTERVAL: "RENEW_INTERVAL",
  ADVERT_INT: "RENEW_INTERVAL",
  RETRY_PERIOD: "RENEW_INTERVAL",
  PREEMPT: "NOPREEMPT",
  PORT: "BALANCER_PORT",
  VIP_PORT: "VIP_PORTS",
  FAST_PATH: "FASTPATH",
  SERVERS: "BACKENDS",
  GARP_REFRESH: "ANNOUNCE_REFRESH",
  GARP_MASTER_REFRESH: "ANNOUNCE_REFRESH",
  API_LOSS: "ON_API_LOSS",
  PRESERVE_ON_LEADERSHIP_LOSS: "ON_API_LOSS",
  MIN_RX: "PROBE_INTERVAL",
  MIN_TX: "PROBE_INTERVAL",
  MULTIPLIER: "PROBE_MISSES",
  DOWN_TIMER_ADVERTS: "PROBE_MISSES",
  BALANCE: "ALGORITHM",
  MAXCONN: "MAX_CONNECTIONS",
  METRICS_ADDRESS: "OPS_ADDRESS",
  PROMETHEUS_SERVER: "OPS_ADDRESS",
  HEALTH_ADDRESS: "HEALTH_PORT",
  HEALTH_CHECK_PORT: "HEALTH_PORT",
  HEALTHZ_PORT: "HEALTH_PORT",
  PROBE_PORT: "HEALTH_PORT",
};
