/**
 * The one table of settings. `--help`, the flags of `leasehold manifest`, the README, docs/configuration.md
 * and the static pod's manifest are written from it, so a setting exists in all of them or in none.
 */
import * as parsers from "./parsers.ts";
import type { Parser } from "./parsers.ts";

export const PREFIX = "LEASEHOLD_";

export const SECTIONS = [
  "Identity",
  "Lease",
  "Election",
  "Tracking",
  "Kubernetes",
  "Balancer",
  "Operations",
] as const;
export type Section = (typeof SECTIONS)[number];

export interface Setting<T> {
  readonly section: Section;
  readonly parser: Parser<T>;
  /**
   * The default, which the parser reads like any other text. undefined means that the value is undefined as
   * well.
   */
  readonly fallback: string | undefined;
  /** What the documentation shows as the default. */
  readonly shown: string;
  readonly doc: string;
  /** The setting has no effect with LEASEHOLD_ROLE=balancer. */
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

// Words of other programs, each with the word that means the same here.
const ROLES = {
  worker: "balancer",
  node: "balancer",
  agent: "balancer",
  proxy: "balancer",
  master: "control-plane",
  server: "control-plane",
  candidate: "control-plane",
} as const;
const SWITCHES = {
  true: "on",
  yes: "on",
  enabled: "on",
  "1": "on",
  false: "off",
  no: "off",
  none: "off",
  disabled: "off",
  "0": "off",
} as const;
const LEVELS = {
  warning: "warn",
  err: "error",
  fatal: "error",
  critical: "error",
  notice: "info",
  information: "info",
  trace: "debug",
  verbose: "debug",
} as const;
const FORMATS = { plain: "text", console: "text", human: "text", logfmt: "text" } as const;
const LOSSES = { keep: "hold", preserve: "hold", drop: "release" } as const;
const ALGORITHMS = {
  rr: "roundrobin",
  "round-robin": "roundrobin",
  lc: "leastconn",
  "least-connections": "leastconn",
  hash: "source",
  ip_hash: "source",
} as const;

/**
 * Where pods send by default: the bridges of the bridge plugin, kubenet, Weave and kube-router, the pods' own
 * interfaces of Calico, Cilium, kindnet and the clouds' plugins, and the gateways of Antrea, OVN-Kubernetes and
 * Kube-OVN.
 */
const POD_INTERFACES =
  "cni*,cbr0,weave,kube-bridge,cali*,lxc*,cilium_*,veth*,eni*,azv*,gke*,antrea-gw*,ovn-k8s-mp*,ovn0";

export const SETTINGS = {
  VIP: optional(parsers.vips, "required", {
    section: "Identity",
    doc:
      "The virtual address, IPv4 or IPv6. Several, separated by commas, move together or not at all. The " +
      "agent binds each as /32 or /128. Needed with LEASEHOLD_ROLE=control-plane.",
  }),
  ROLE: withDefault(parsers.oneOf(["control-plane", "balancer"], ROLES), "control-plane", {
    section: "Identity",
    doc: "`control-plane` takes part in the election and balances. `balancer`, for workers, only balances.",
  }),
  NODE_NAME: optional(parsers.nodeName, "host name in lower case", {
    section: "Identity",
    doc: "This node's name in Kubernetes. The manifest sets it from `spec.nodeName`.",
  }),
  NODE_IP: optional(parsers.hostAddress, "found on the interface", {
    section: "Identity",
    electionOnly: true,
    doc:
      "This node's own address on the VIP's network. Of two nodes with equal priorities, the one with the " +
      "higher address wins. Without this setting the agent follows the interface when that gets another address.",
  }),
  INTERFACE: optional(parsers.interfaceName, "found by subnet", {
    section: "Identity",
    electionOnly: true,
    doc:
      "The interface that gets the VIP, by its name, an alternative name, or as `ip` prints it (eth0@if6). Without " +
      "this setting the agent takes the interface that has the VIP in a connected subnet, or in a route without a " +
      "gateway. Of several it takes one that is up, and then the one with the longest prefix. It looks again until " +
      "this node has had the VIP, and while there is no carrier.",
  }),

  LEASE_NAME: withDefault(parsers.dnsSubdomain, "leasehold", {
    ...lease,
    electionOnly: false,
    doc: "Name of the Lease that the agents compete for. The Role in RBAC names it too: `leasehold manifest rbac` writes both. A worker reads in it which API servers are drained.",
  }),
  LEASE_NAMESPACE: withDefault(parsers.dnsLabel, "kube-system", {
    ...lease,
    electionOnly: false,
    doc: "Namespace of the Lease.",
  }),
  LEASE_DURATION: withDefault(parsers.wholeSeconds("2s", "10m"), "10s", {
    ...lease,
    doc: "How long another node waits, after it last saw the Lease change, before it may claim the Lease.",
  }),
  RENEW_DEADLINE: withDefault(parsers.duration("500ms", "10m"), "4s", {
    ...lease,
    doc:
      "The holder has the VIP by the Lease for this long after its last successful renewal, counted from its " +
      "sending. ON_API_LOSS says what happens then. (RENEW_DEADLINE + address lifetime + 1s) x 1.05 must " +
      "stay below LEASE_DURATION x 0.95. " +
      "The address lifetime is 3 s, or 2 s where 3 s do not fit.",
  }),
  RENEW_INTERVAL: withDefault(parsers.duration("100ms", "1m"), "1s", {
    ...lease,
    doc: "Time between two renewals. RENEW_INTERVAL x 1.2 must stay below RENEW_DEADLINE.",
  }),

  PRIORITY: withDefault(parsers.priority, "100", {
    ...election,
    doc: "VRRP's priority, 1 to 254. The highest wins. Nodes with equal priorities never preempt each other.",
  }),
  NOPREEMPT: withDefault(parsers.boolean, "true", {
    ...election,
    doc:
      "`true`: a node with a higher priority does not preempt a healthy holder (VRRP's own default is " +
      "`false`). A holder in FAULT hands over in either case.",
  }),
  NOPREEMPT_STRICT: withDefault(parsers.boolean, "false", {
    ...election,
    doc:
      "`true`: nopreempt to VRRP's letter. While a holder renews, no node displaces it, not even when it " +
      "is in FAULT.",
  }),
  PREEMPT_DELAY: withDefault(parsers.duration("0s", "1000s"), "0s", {
    ...election,
    doc:
      "With NOPREEMPT=false: how long a node with a higher priority waits before it asks for the VIP. A node waits " +
      "an eighth longer for each better candidate, so that the VIP moves once, to the best.",
  }),
  ANNOUNCE_REFRESH: withDefault(parsers.duration("0s", "1h"), "60s", {
    ...election,
    doc: "How often the holder repeats its gratuitous ARP or neighbour advertisement. 0s: never.",
  }),
  TAKE_OVER: withDefault(parsers.boolean, "false", {
    ...election,
    doc:
      "true: other software (keepalived, kube-vip) has the VIP, and goes first. The agent waits as BACKUP while it " +
      "has the VIP on any machine, this one included, claims the VIP within a second of its silence, and gives the " +
      "VIP back when it comes back. The same on every node, and only for the time of a take-over: any machine on the " +
      "VIP's network can make the agents give the VIP away. See docs/guides/take-over.md.",
  }),
  ON_API_LOSS: withDefault(parsers.oneOf(["auto", "hold", "release"], LOSSES), "auto", {
    ...election,
    doc:
      "What a node does when it cannot get the Lease written. `auto`: a holder keeps the VIP beyond " +
      "RENEW_DEADLINE until another node claims it, and another node takes the VIP when no machine has " +
      "answered for it for LEASE_DURATION. `hold`: the same, but it gives way only to the holder that the " +
      "Lease names and to better nodes. `release`: a holder lets go at RENEW_DEADLINE, and no node takes the " +
      "VIP without the Lease.",
  }),
  PROBE_INTERVAL: withDefault(parsers.durationOrOff("20ms", "1s"), "50ms", {
    ...election,
    doc:
      "How often each candidate asks the VIP whether its holder is alive. A holder that does not answer " +
      "is found dead long before the Lease expires. 0s: never, and only the Lease's expiry counts.",
  }),
  PROBE_MISSES: withDefault(parsers.wholeNumber(2, 20), "3", {
    ...election,
    doc: "Number of unanswered probes in a row after which a candidate may take the holder for dead.",
  }),

  TRACK_BALANCER_WEIGHT: withDefault(parsers.weight, "0", {
    ...tracking,
    doc:
      "Weight of the check that this node's balancer accepts connections and has a healthy backend. " +
      "Weights work as in keepalived: 0 means FAULT when the check fails, a positive weight adds while it " +
      "succeeds, a negative weight subtracts while it fails.",
  }),
  TRACK_APISERVER_WEIGHT: withDefault(parsers.weight, "-50", {
    ...tracking,
    doc: "Weight of the check of this node's own API server.",
  }),
  TRACK_INTERFACE_WEIGHT: withDefault(parsers.weight, "0", {
    ...tracking,
    doc: "Weight of the check that the VIP's interface is up and has a carrier.",
  }),
  TRACK_FILE: optional(parsers.filePath, "none", {
    ...tracking,
    doc:
      "A file that contains a number. With weight 0, any number other than 0 means FAULT. With another " +
      "weight, the agent adds number x weight to the priority.",
  }),
  TRACK_FILE_WEIGHT: withDefault(parsers.weight, "1", { ...tracking, doc: "Weight of TRACK_FILE." }),
  TRACK_EXEC: optional(parsers.commandLine, "none", {
    ...tracking,
    doc:
      "A command that the agent runs as a check. Exit status 0 is success. It runs inside the agent's image, " +
      "without a shell and with few environment variables: the image has sh and node, but no curl and no program of the node's. " +
      "docs/configuration.md has an example.",
  }),
  TRACK_EXEC_WEIGHT: withDefault(parsers.weight, "0", { ...tracking, doc: "Weight of TRACK_EXEC." }),
  TRACK_HTTP: optional(parsers.httpUrl, "none", {
    ...tracking,
    doc:
      "A URL that the agent requests with GET as a check, without credentials. Status 2xx or 3xx is success. " +
      "https trusts the cluster's CA, public ones and the image's.",
  }),
  TRACK_HTTP_WEIGHT: withDefault(parsers.weight, "0", { ...tracking, doc: "Weight of TRACK_HTTP." }),
  TRACK_INTERVAL: withDefault(parsers.duration("100ms", "10m"), "1s", {
    ...tracking,
    doc: "Time between two runs of a check. Two runs of the same check never overlap.",
  }),
  TRACK_TIMEOUT: withDefault(parsers.duration("50ms", "10m"), "1s", {
    ...tracking,
    doc: "A run of a check that takes longer than this has failed.",
  }),
  TRACK_RISE: withDefault(parsers.wholeNumber(1, 100), "2", {
    ...tracking,
    doc: "Number of successes in a row after which a failed check counts as good.",
  }),
  TRACK_FALL: withDefault(parsers.wholeNumber(1, 100), "3", {
    ...tracking,
    doc: "Number of failures in a row after which a good check counts as failed.",
  }),

  KUBECONFIG: withDefault(parsers.filePath, "/etc/kubernetes/leasehold/kubeconfig", {
    section: "Kubernetes",
    doc:
      "Kubeconfig of the agent's own user: a client certificate with its key, a token, or a tokenFile. The " +
      "file may appear after the agent has started, and the agent reads it and the files that it names again " +
      "when they change.",
  }),
  ADMIN_KUBECONFIG: withDefault(parsers.filePathOrNone, "/etc/kubernetes/admin.conf", {
    section: "Kubernetes",
    doc:
      "Kubeconfig that the agent uses, with a warning, while KUBECONFIG is missing, expired, answered with 401, " +
      "or does not fit the API servers' certificates, and after a 403 until KUBECONFIG has been able to use the " +
      "Lease. none: the agent has no other kubeconfig.",
  }),
  API_SERVER_MANIFEST: withDefault(parsers.filePath, "/etc/kubernetes/manifests/kube-apiserver.yaml", {
    section: "Kubernetes",
    doc:
      "Manifest of this node's API server. When it changes or goes, kubelet stops the server, so the agents give " +
      "its new connections to the others before that (docs/fast-path.md). Where there is no such file, they notice " +
      "it when the server says on /readyz that it shuts down, or refuses a connection.",
  }),
  API_SERVERS: optional(parsers.endpoints, "own node and its peers", {
    section: "Kubernetes",
    doc:
      "API servers for the agent's own requests, in this order: numeric addresses, with or without a " +
      "port. Never the VIP, never a name. Without this setting a worker finds them through the VIP.",
  }),

  BACKENDS: optional(parsers.endpoints, "the `kubernetes` EndpointSlice", {
    section: "Balancer",
    doc: "API servers that the balancer balances over: numeric addresses, with or without a port.",
  }),
  BACKEND_PORT: withDefault(parsers.port, "6443", {
    section: "Balancer",
    doc: "Port of this node's API server, and of every API server given without a port.",
  }),
  FASTPATH: withDefault(parsers.oneOf(["auto", "on", "off"], SWITCHES), "auto", {
    section: "Balancer",
    doc:
      "The fast path: nftables rules by which the kernel balances. `auto`: use it where the kernel and " +
      "the network allow, and say why where they do not. `on`: the network check takes no node out of it. " +
      "`off`: connections that arrive over the network go through the proxy. A node's own clients go " +
      "straight to an API server in any case.",
  }),
  POD_INTERFACES: withDefault(parsers.interfacePatterns, POD_INTERFACES, {
    section: "Balancer",
    doc:
      "The interfaces by which this node's pods send. Connections to the VIP that come in by them go straight " +
      "to an API server, with the node's address as their source. `*` at the end of a name stands for any " +
      "further letters. Name here no interface that other hosts can reach.",
  }),
  VIP_PORTS: withDefault(parsers.ports, "6443,8443", {
    section: "Balancer",
    doc: "Ports of the VIP that lead to the API servers.",
  }),
  BALANCER_PORT: withDefault(parsers.port, "8443", {
    section: "Balancer",
    doc: "Port that the balancer listens on.",
  }),
  BALANCER_ADDRESSES: optional(parsers.networks, "every address of the node", {
    section: "Balancer",
    doc:
      "The node's addresses at which the balancer serves, as addresses or as networks that they are in. It " +
      "resets clients that connect to another address of the node. The VIP, the node's address on the VIP's " +
      "network, and loopback always count.",
  }),
  BALANCER_WORKERS: optional(parsers.wholeNumber(1, 32), "2; 1 on fewer than 4 cores", {
    section: "Balancer",
    doc:
      "Number of threads that carry connections. The kernel spreads clients over them, and each thread " +
      "balances for itself. Each takes about 25 MB.",
  }),
  ALGORITHM: withDefault(
    parsers.oneOf(["leastconn", "roundrobin", "random", "source", "local"], ALGORITHMS),
    "leastconn",
    {
      section: "Balancer",
      doc: "How the balancer picks a backend, in HAProxy's words. `local` prefers this node's own API server.",
    },
  ),
  MAX_CONNECTIONS: withDefault(parsers.wholeNumber(1, 1_000_000), "20000", {
    section: "Balancer",
    doc:
      "Highest number of client connections at one time. The balancer refuses more. Each takes two file " +
      "descriptors. Where the process may not open that many (RLIMIT_NOFILE), the balancer takes fewer, with a " +
      "warning, because the agent keeps some for itself.",
  }),
  SLOW_START: withDefault(parsers.duration("0s", "1h"), "30s", {
    section: "Balancer",
    doc: "A backend that came back gets its full share only after this time.",
  }),
  CONNECT_TIMEOUT: withDefault(parsers.duration("50ms", "1m"), "1s", {
    section: "Balancer",
    doc: "How long one backend may take to accept a connection before the balancer tries the next one.",
  }),
  DRAIN_TIMEOUT: withDefault(parsers.duration("0s", "10m"), "3s", {
    section: "Balancer",
    doc:
      "How long open connections may go on when the agent stops. Keep it well below " +
      "terminationGracePeriodSeconds.",
  }),
  CHECK_PATH: withDefault(parsers.httpPath, "/readyz", {
    section: "Balancer",
    doc: "Path that a health check requests from a backend, over TLS. Status 200 is healthy.",
  }),
  CHECK_INTERVAL: withDefault(parsers.duration("100ms", "10m"), "1s", {
    section: "Balancer",
    doc: "Time between two health checks of one backend.",
  }),
  CHECK_TIMEOUT: withDefault(parsers.duration("50ms", "1m"), "1s", {
    section: "Balancer",
    doc: "A health check that takes longer than this has failed.",
  }),
  CHECK_RISE: withDefault(parsers.wholeNumber(1, 100), "2", {
    section: "Balancer",
    doc: "Number of successes in a row after which a backend is UP.",
  }),
  CHECK_FALL: withDefault(parsers.wholeNumber(1, 100), "3", {
    section: "Balancer",
    doc: "Number of failures in a row after which a backend is no longer UP.",
  }),

  OPS_ADDRESS: withDefault(parsers.listenAddress, "127.0.0.1:10081", {
    section: "Operations",
    doc:
      "Where the agent serves the page (docs/page.md), /livez, /readyz, /healthz, /metrics, /status and " +
      "/decisions. Programs of this machine need no right on loopback, which is always served. Other " +
      "machines are served by TLS, and with a bearer token or a client certificate that the API lets read " +
      "the path. `0.0.0.0:10081` lets Prometheus in; manifests/monitoring expects that port. While the port " +
      "is taken, the agent keeps trying.",
  }),
  HEALTH_PORT: withDefault(parsers.port, "10084", {
    section: "Operations",
    doc:
      "Port of 127.0.0.1 where the agent serves /livez, /readyz and /healthz as well, whatever " +
      "OPS_ADDRESS is. The probes in the pod's manifest ask it: `leasehold manifest pod` writes it in both " +
      "places. While the port is taken, the agent keeps trying.",
  }),
  PEER_PORT: withDefault(parsers.portOrOff, "10085", {
    section: "Operations",
    electionOnly: true,
    doc:
      "Port of this node's own address where the other control-plane nodes' agents ask this one for what its " +
      "ops port serves, and can change nothing. It accepts only keys that the Lease names " +
      "(docs/page.md). `off` opens no such port: `leasehold status` and the page then show this node alone " +
      "while no API server answers. While the port is taken, the agent keeps trying.",
  }),
  LOG_LEVEL: withDefault(parsers.oneOf(["error", "warn", "info", "debug"], LEVELS), "info", {
    section: "Operations",
    doc: "The least severe level that the agent logs.",
  }),
  LOG_FORMAT: withDefault(parsers.oneOf(["json", "text"], FORMATS), "json", {
    section: "Operations",
    doc: "`json`: one JSON object a line. `text`: lines for people.",
  }),
  RUNBOOK_URL: optional(parsers.pageUrl, "docs/operations.md of this repository", {
    section: "Operations",
    doc:
      "Where a copy of docs/operations.md is served. Each alert that `leasehold manifest monitoring` prints " +
      "links to its section there.",
  }),
  NOTIFY: optional(parsers.commandLine, "none", {
    section: "Operations",
    electionOnly: true,
    doc:
      "A command that the agent runs after each change of state, with keepalived's arguments: `INSTANCE`, the " +
      "Lease's name, `MASTER`, `BACKUP`, `FAULT` or `STOP`, and the effective priority. It runs inside the agent's " +
      "image, without a shell, one run at a time. docs/operations.md says how to reach the node.",
  }),
  NOTIFY_TIMEOUT: withDefault(parsers.duration("100ms", "10m"), "10s", {
    section: "Operations",
    electionOnly: true,
    doc: "A run of NOTIFY that takes longer than this is ended, with all that it has started.",
  }),
  NOTIFY_FIFO: optional(parsers.absolutePath, "none", {
    section: "Operations",
    electionOnly: true,
    doc:
      "A named pipe that the agent writes a line to after each change of state, as keepalived's vrrp_notify_fifo: " +
      '`INSTANCE "leasehold" MASTER 100`. The agent makes the pipe if it is not there.',
  }),
  STATE_DIR: withDefault(parsers.absolutePath, "/run/leasehold", {
    section: "Operations",
    doc:
      "Directory on a tmpfs for what a restarted agent must know: the last renewal. A reboot empties it, " +
      "as it must.",
  }),
  DATA_DIR: withDefault(parsers.absolutePath, "/var/lib/leasehold", {
    section: "Operations",
    doc:
      "Directory that outlives a reboot. The agent keeps the last known API servers there: when the whole " +
      "cluster starts cold, nothing else can name them. It also keeps the last ten recordings of its " +
      "decisions there, in decisions/.",
  }),
  MACHINE_ID_FILE: withDefault(parsers.filePath, "/etc/machine-id", {
    section: "Operations",
    doc:
      "File by which two machines with the same node name are told apart. Only a hash of it leaves the " +
      "node.",
  }),
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

export type SettingName = keyof typeof SETTINGS;
export type Values = {
  readonly [K in SettingName]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never;
};

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.keys of a constant
export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

/** Names that keepalived, client-go and kube-vip use for settings that have another name here. */
export const SYNONYMS: Readonly<Record<string, SettingName>> = {
  ADDRESS: "VIP",
  ADVERT_INTERVAL: "RENEW_INTERVAL",
  ADVERT_INT: "RENEW_INTERVAL",
  RETRY_PERIOD: "RENEW_INTERVAL",
  PORT: "BALANCER_PORT",
  API_PORT: "BACKEND_PORT",
  APISERVER_PORT: "BACKEND_PORT",
  API_SERVER_PORT: "BACKEND_PORT",
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
  METRICS_PORT: "OPS_ADDRESS",
  OPS_PORT: "OPS_ADDRESS",
  LISTEN: "OPS_ADDRESS",
  BIND: "BALANCER_ADDRESSES",
  BIND_ADDRESS: "BALANCER_ADDRESSES",
  PROMETHEUS_SERVER: "OPS_ADDRESS",
  HEALTH_ADDRESS: "HEALTH_PORT",
  HEALTH_CHECK_PORT: "HEALTH_PORT",
  HEALTHZ_PORT: "HEALTH_PORT",
  PROBE_PORT: "HEALTH_PORT",
  PEERS_PORT: "PEER_PORT",
  PEER_ADDRESS: "PEER_PORT",
  LEASE_RENEW_DURATION: "RENEW_DEADLINE",
  LEASE_RETRY: "RENEW_INTERVAL",
  PROMETHEUS_HTTP_SERVER: "OPS_ADDRESS",
  K8S_CONFIG_PATH: "KUBECONFIG",
  IFACE: "INTERFACE",
  IFNAME: "INTERFACE",
  NIC: "INTERFACE",
  VIRTUAL_IPADDRESS: "VIP",
  VIRTUAL_IP: "VIP",
  IP: "VIP",
  HOSTNAME: "NODE_NAME",
  HOST_NAME: "NODE_NAME",
  HOST_IP: "NODE_IP",
  // keepalived's `state` says who begins as the master. Here the priority alone decides.
  STATE: "PRIORITY",
  // What tells one group of agents from another is the Lease.
  VRID: "LEASE_NAME",
  VIRTUAL_ROUTER_ID: "LEASE_NAME",
  ROUTER_ID: "NODE_NAME",
  TRACK_SCRIPT: "TRACK_EXEC",
  VRRP_SCRIPT: "TRACK_EXEC",
  CHECK_SCRIPT: "TRACK_EXEC",
  RUNBOOK: "RUNBOOK_URL",
  RUNBOOK_BASE_URL: "RUNBOOK_URL",
  NOTIFY_SCRIPT: "NOTIFY",
  NOTIFY_FIFO_PATH: "NOTIFY_FIFO",
  VRRP_NOTIFY_FIFO: "NOTIFY_FIFO",
};

/** Names that say by true and false what a setting here says by another value. */
export const OTHER_MEANING: Readonly<
  Record<string, { readonly name: SettingName; readonly whenTrue: string; readonly whenFalse: string }>
> = {
  PREEMPT: { name: "NOPREEMPT", whenTrue: "false", whenFalse: "true" },
  NO_FASTPATH: { name: "FASTPATH", whenTrue: "off", whenFalse: "auto" },
  DISABLE_FASTPATH: { name: "FASTPATH", whenTrue: "off", whenFalse: "auto" },
  DEBUG: { name: "LOG_LEVEL", whenTrue: "debug", whenFalse: "info" },
  VERBOSE: { name: "LOG_LEVEL", whenTrue: "debug", whenFalse: "info" },
  QUIET: { name: "LOG_LEVEL", whenTrue: "warn", whenFalse: "info" },
};
