/** Rules between settings. A rule is skipped while one of the values that it reads is wrong by itself. */
import { hostPort, isLoopback } from "../net.ts";
import type { IpAddress } from "../net.ts";
import { formatDuration, isApiServersPort } from "./parsers.ts";
import type { Endpoint } from "./parsers.ts";
import { PREFIX, SETTINGS, SETTING_NAMES } from "./settings.ts";
import type { SettingName, Values } from "./settings.ts";

interface Facts {
  readonly values: Values;
  /** True when the user set it, false when it is a default. */
  readonly isSet: (name: SettingName) => boolean;
}

interface Rule {
  readonly uses: readonly SettingName[];
  /** Returns one sentence for each problem; none when the rule holds. */
  check(facts: Facts): readonly string[];
}

/**
 * The kernel removes an address up to 1 s after its lifetime has passed, and two machines' clocks may run 5 %
 * apart each way. The last moment at which this node may still have the VIP must come before the first moment
 * at which another node may claim it, by the worst case of both clocks.
 */
const KERNEL_SLACK_SECONDS = 1;
const DRIFT = 0.05;
const LONGEST_LIFETIME_SECONDS = 3;
/**
 * The VIP is refreshed every 500 ms. A lifetime of 1 s would not outlast one late refresh and its rounding.
 */
const SHORTEST_LIFETIME_SECONDS = 2;

function fits(renewDeadlineMs: number, lifetimeSeconds: number, leaseDurationMs: number): boolean {
  const lastHeldMs = renewDeadlineMs + (lifetimeSeconds + KERNEL_SLACK_SECONDS) * 1_000;
  return lastHeldMs * (1 + DRIFT) < leaseDurationMs * (1 - DRIFT);
}

/**
 * Returns the seconds for which the kernel keeps the VIP after the last refresh, the longest that fits
 * (design invariant 3). They are whole, because IFA_CACHEINFO has no finer unit. Returns undefined when none
 * fits.
 */
export function addressLifetimeSeconds(renewDeadlineMs: number, leaseDurationMs: number): number | undefined {
  for (let seconds = LONGEST_LIFETIME_SECONDS; seconds >= SHORTEST_LIFETIME_SECONDS; seconds--) {
    if (fits(renewDeadlineMs, seconds, leaseDurationMs)) return seconds;
  }
  return undefined;
}

function fencedInTime({ values }: Facts): readonly string[] {
  const { RENEW_DEADLINE: deadlineMs, LEASE_DURATION: leaseMs } = values;
  if (addressLifetimeSeconds(deadlineMs, leaseMs) !== undefined) return [];
  const tailMs = (SHORTEST_LIFETIME_SECONDS + KERNEL_SLACK_SECONDS) * 1_000;
  const leastLeaseSeconds = Math.floor(((deadlineMs + tailMs) * (1 + DRIFT)) / (1 - DRIFT) / 1_000) + 1;
  const mostDeadlineMs = Math.floor(((leaseMs * (1 - DRIFT)) / (1 + DRIFT) - tailMs - 1) / 100) * 100;
  const shorter =
    mostDeadlineMs >= 500 ? `${PREFIX}RENEW_DEADLINE of at most ${formatDuration(mostDeadlineMs)} or a ` : "";
  return [
    `${PREFIX}RENEW_DEADLINE=${formatDuration(deadlineMs)} is too long for ${PREFIX}LEASE_DURATION=${formatDuration(leaseMs)}: ` +
      `(renew deadline + address lifetime of at least ${SHORTEST_LIFETIME_SECONDS}s + 1s) x 1.05 must be below lease duration x 0.95, ` +
      `else two nodes could hold the VIP; use a ${shorter}${PREFIX}LEASE_DURATION of at least ${leastLeaseSeconds}s`,
  ];
}

const same = (a: IpAddress, b: IpAddress): boolean => a.family === b.family && a.text === b.text;

function vipIsNobodysOwn({ values }: Facts): readonly string[] {
  const own = values.NODE_IP;
  if (own === undefined || values.VIP?.some((vip) => same(vip, own)) !== true) return [];
  return [
    `${PREFIX}VIP="${own.text}" is this node's own address (${PREFIX}NODE_IP): VRRP's address owner has no fence here; use an address that no machine has`,
  ];
}

function neverThroughTheVip(
  name: "BACKENDS" | "API_SERVERS",
  list: readonly Endpoint[] | undefined,
  values: Values,
): readonly string[] {
  const vips = values.VIP ?? [];
  return (list ?? [])
    .filter(({ address }) => vips.some((vip) => same(vip, address)))
    .map(
      ({ address }) =>
        `${PREFIX}${name} has the VIP ${address.text} itself; use the API servers' own addresses`,
    );
}

/** An IPv6 address without brackets that ends in a port, as people write it by mistake. */
function withoutBrackets(name: "BACKENDS" | "API_SERVERS", { values }: Facts): readonly string[] {
  const { BACKEND_PORT, BALANCER_PORT, VIP_PORTS } = values;
  const ports = new Set([BACKEND_PORT, BALANCER_PORT, ...VIP_PORTS]);
  return (values[name] ?? []).flatMap(({ address, meant }) =>
    meant !== undefined && (ports.has(meant.port) || isApiServersPort(meant.port))
      ? [
          `${PREFIX}${name} has ${address.text}, an IPv6 address without brackets that ends in what looks like port ${meant.port}; ` +
            `use ${hostPort(meant.host, meant.port)}, or [${address.text}] if that is the address`,
        ]
      : [],
  );
}

/** One API server that a list has twice: once with its port, and once with the port that is meant without. */
function noneTwice(name: "BACKENDS" | "API_SERVERS", { values }: Facts): readonly string[] {
  const list = (values[name] ?? []).map(({ address, port = values.BACKEND_PORT }) =>
    hostPort(address.text, port),
  );
  const twice = new Set(list.filter((each, index) => list.indexOf(each) < index));
  return [...twice].map(
    (each) =>
      `${PREFIX}${name} names ${each} twice, because an entry without a port has ${PREFIX}BACKEND_PORT="${values.BACKEND_PORT}"; name each API server once`,
  );
}

/** A port that one setting takes, with the words for it and its usual value. */
interface PortClaim {
  readonly name: SettingName;
  readonly port: number;
  /** The variable with its value. */
  readonly shown: string;
  /** Ends the sentence "X has ...". */
  readonly words: string;
  readonly usual: number;
  /** Writes the setting's value with another port. */
  readonly withPort: (port: number) => string;
}

function portClaims({ values }: Facts): readonly PortClaim[] {
  const { ROLE, OPS_ADDRESS: ops, PEER_PORT: peerPort } = values;
  const claim = (
    name: "BACKEND_PORT" | "BALANCER_PORT" | "HEALTH_PORT" | "PEER_PORT",
    words: string,
    port: number = Number(values[name]),
  ): PortClaim => {
    const shown = `${PREFIX}${name}="${port}"`;
    return {
      name,
      port,
      shown,
      words: `${words} (${shown})`,
      usual: Number(SETTINGS[name].fallback),
      withPort: String,
    };
  };
  const opsShown = `${PREFIX}OPS_ADDRESS="${hostPort(ops.host, ops.port)}"`;
  return [
    // A worker has no API server of its own, so its balancer may have that port.
    ...(ROLE === "control-plane" ? [claim("BACKEND_PORT", "the port of this node's own API server")] : []),
    claim("BALANCER_PORT", "the balancer's port"),
    {
      name: "OPS_ADDRESS",
      port: ops.port,
      shown: opsShown,
      words: `the port of ${opsShown}`,
      usual: 10081,
      withPort: (port) => hostPort(ops.host, port),
    },
    claim("HEALTH_PORT", "the probes' port"),
    // A worker has no peers.
    ...(ROLE === "control-plane" && peerPort !== undefined
      ? [claim("PEER_PORT", "the port for the other nodes' agents", peerPort)]
      : []),
  ];
}

/** Of two settings with one port, the one that a person has set is to change, or else the later one. */
function portsApart(facts: Facts): readonly string[] {
  const claims = portClaims(facts);
  const taken = new Set(claims.map(({ port }) => port));
  const free = ({ usual, withPort }: PortClaim): string => {
    let port = usual;
    while (taken.has(port)) port++;
    return withPort(port);
  };
  return claims.flatMap((later, index) => {
    const first = claims.slice(0, index).find(({ port }) => port === later.port);
    if (first === undefined) return [];
    const [culprit, other] =
      facts.isSet(first.name) && !facts.isSet(later.name) ? [first, later] : [later, first];
    const problem = `${culprit.shown} has ${other.words}; use`;
    return culprit.name === "BACKEND_PORT"
      ? [
          `${problem} the port of this node's own API server, such as ${free(culprit)}. If it really is ${culprit.port}, set ${PREFIX}${other.name} to another such as ${free(other)}`,
        ]
      : [`${problem} another such as ${free(culprit)}`];
  });
}

/** Refuses an API server that is a port of this agent: the agent would answer itself. */
function noLoop(name: "BACKENDS" | "API_SERVERS", facts: Facts): readonly string[] {
  const { values } = facts;
  const own = values.NODE_IP;
  const ours = portClaims(facts).filter((claim) => claim.name !== "BACKEND_PORT");
  return (values[name] ?? []).flatMap(({ address, port = values.BACKEND_PORT }) => {
    const isHere = isLoopback(address.text) || (own !== undefined && same(own, address));
    const taken = isHere ? ours.find((claim) => claim.port === port) : undefined;
    if (taken === undefined) return [];
    const what = taken.name === "BALANCER_PORT" ? "own balancer" : "own agent";
    return [
      `${PREFIX}${name} has ${hostPort(address.text, port)}, which is this node's ${what}: ${taken.words}; use the API server's port`,
    ];
  });
}

/** Refuses an ops address that is the VIP: only the holder has that address, and it moves. */
function opsNotOnVip({ values: { VIP, OPS_ADDRESS: ops } }: Facts): readonly string[] {
  if (VIP?.some((vip) => vip.text === ops.host) !== true) return [];
  const everywhere = hostPort(ops.host.includes(":") ? "::" : "0.0.0.0", ops.port);
  return [
    `${PREFIX}OPS_ADDRESS="${hostPort(ops.host, ops.port)}" has the VIP, which only the holder has; use this node's own address or ${everywhere}`,
  ];
}

const withoutSlash = (path: string): string => path.replace(/\/+$/, "");

/** Refuses a check that asks the VIP: it would ask whichever node has it, and fail on every node at once. */
function checkNotOnVip({ values: { VIP, TRACK_HTTP: url } }: Facts): readonly string[] {
  const host = url === undefined ? "" : new URL(url).hostname.replace(/^\[|\]$/g, "");
  if (VIP?.some((vip) => vip.text === host) !== true) return [];
  return [
    `${PREFIX}TRACK_HTTP="${url}" asks the VIP, which another node may have; use an address of this node, such as 127.0.0.1`,
  ];
}

export const RULES: readonly Rule[] = [
  {
    uses: ["VIP", "ROLE"],
    check: ({ values }) =>
      values.ROLE === "control-plane" && values.VIP === undefined
        ? [`${PREFIX}VIP is not set; use ${SETTINGS.VIP.parser.expects}`]
        : [],
  },
  { uses: ["RENEW_DEADLINE", "LEASE_DURATION"], check: fencedInTime },
  {
    uses: ["RENEW_INTERVAL", "RENEW_DEADLINE"],
    check: ({ values: { RENEW_INTERVAL: interval, RENEW_DEADLINE: deadline } }) =>
      interval * 1.2 < deadline
        ? []
        : [
            `${PREFIX}RENEW_INTERVAL=${formatDuration(interval)} is too long: x 1.2 it must be below ${PREFIX}RENEW_DEADLINE=${formatDuration(deadline)}, so that one renewal may fail; use at most ${formatDuration(Math.floor((deadline / 1.2 - 1) / 10) * 10)}`,
          ],
  },
  { uses: ["VIP", "NODE_IP"], check: vipIsNobodysOwn },
  {
    uses: ["VIP", "BACKENDS"],
    check: ({ values }) => neverThroughTheVip("BACKENDS", values.BACKENDS, values),
  },
  {
    uses: ["VIP", "API_SERVERS"],
    check: ({ values }) => neverThroughTheVip("API_SERVERS", values.API_SERVERS, values),
  },
  ...(["BACKENDS", "API_SERVERS"] as const).flatMap((name): readonly Rule[] => [
    {
      uses: [name, "BACKEND_PORT", "BALANCER_PORT", "VIP_PORTS"],
      check: (facts) => withoutBrackets(name, facts),
    },
    { uses: [name, "BACKEND_PORT"], check: (facts) => noneTwice(name, facts) },
    {
      uses: [name, "BACKEND_PORT", "BALANCER_PORT", "OPS_ADDRESS", "HEALTH_PORT", "PEER_PORT", "NODE_IP"],
      check: (facts) => noLoop(name, facts),
    },
  ]),
  {
    uses: ["BALANCER_PORT", "BACKEND_PORT", "OPS_ADDRESS", "HEALTH_PORT", "PEER_PORT", "ROLE"],
    check: portsApart,
  },
  { uses: ["VIP", "OPS_ADDRESS"], check: opsNotOnVip },
  {
    uses: ["STATE_DIR", "DATA_DIR"],
    check: ({ values: { STATE_DIR: state, DATA_DIR: data } }) =>
      `${withoutSlash(data)}/`.startsWith(`${withoutSlash(state)}/`)
        ? [
            `${PREFIX}STATE_DIR="${state}" contains ${PREFIX}DATA_DIR="${data}": a reboot must empty the one and must leave the other; use a directory on a tmpfs for STATE_DIR, such as ${SETTINGS.STATE_DIR.fallback}, and one on disk for DATA_DIR, such as ${SETTINGS.DATA_DIR.fallback}`,
          ]
        : [],
  },
  { uses: ["VIP", "TRACK_HTTP"], check: checkNotOnVip },
];

function weightUnderNopreempt({ values, isSet }: Facts): readonly string[] {
  if (!values.NOPREEMPT) return [];
  const weights = [
    "TRACK_BALANCER_WEIGHT",
    "TRACK_APISERVER_WEIGHT",
    "TRACK_INTERFACE_WEIGHT",
    "TRACK_FILE_WEIGHT",
    "TRACK_EXEC_WEIGHT",
    "TRACK_HTTP_WEIGHT",
  ] as const;
  return weights
    .filter((name) => isSet(name) && values[name] !== 0)
    .map(
      (name) =>
        `${PREFIX}${name}=${values[name]} lowers a holder's rank but does not take the VIP from it while ${PREFIX}NOPREEMPT is true; use weight 0 (FAULT) or ${PREFIX}NOPREEMPT=false`,
    );
}

/**
 * Shortest safe time of proof in milliseconds. With a shorter one, a holder that only waits for a processor
 * is silent long enough to be taken for dead.
 */
const HASTY_PROOF_MS = 100;

function proofOfDeath({ values, isSet }: Facts): readonly string[] {
  const { PROBE_INTERVAL: intervalMs, PROBE_MISSES: misses, LEASE_DURATION: leaseMs } = values;
  if (intervalMs === 0)
    return isSet("PROBE_MISSES")
      ? [`${PREFIX}PROBE_MISSES has no effect while ${PREFIX}PROBE_INTERVAL is 0s`]
      : [];
  const proofMs = intervalMs * misses;
  const product = `${PREFIX}PROBE_INTERVAL x ${PREFIX}PROBE_MISSES is ${formatDuration(proofMs)}`;
  if (proofMs >= leaseMs)
    return [
      `${product}: the Lease expires before that (${PREFIX}LEASE_DURATION=${formatDuration(leaseMs)}), and no death is ever proved`,
    ];
  return proofMs < HASTY_PROOF_MS
    ? [
        `${product}: a holder that is merely busy may be taken for dead; use at least ${formatDuration(HASTY_PROOF_MS)}`,
      ]
    : [];
}

/** Warnings about settings that have no effect and settings that are risky. The agent starts all the same. */
export const WARNINGS: readonly Rule[] = [
  {
    uses: [
      "NOPREEMPT",
      "TRACK_BALANCER_WEIGHT",
      "TRACK_APISERVER_WEIGHT",
      "TRACK_INTERFACE_WEIGHT",
      "TRACK_FILE_WEIGHT",
      "TRACK_EXEC_WEIGHT",
      "TRACK_HTTP_WEIGHT",
    ],
    check: weightUnderNopreempt,
  },
  {
    uses: ["NOPREEMPT", "PREEMPT_DELAY"],
    check: ({ values }) =>
      values.NOPREEMPT && values.PREEMPT_DELAY > 0
        ? [`${PREFIX}PREEMPT_DELAY has no effect while ${PREFIX}NOPREEMPT is true`]
        : [],
  },
  {
    uses: ["NOPREEMPT", "NOPREEMPT_STRICT"],
    check: ({ values }) =>
      values.NOPREEMPT_STRICT && !values.NOPREEMPT
        ? [`${PREFIX}NOPREEMPT_STRICT has no effect while ${PREFIX}NOPREEMPT is false`]
        : [],
  },
  {
    uses: ["TAKE_OVER"],
    check: ({ values }) =>
      values.TAKE_OVER
        ? [
            `${PREFIX}TAKE_OVER=true gives the VIP to any other machine that claims it; remove it on every node when the take-over is done`,
          ]
        : [],
  },
  {
    uses: ["ON_API_LOSS"],
    check: ({ values }) =>
      values.ON_API_LOSS === "hold"
        ? [
            `${PREFIX}ON_API_LOSS=hold keeps the VIP on a node that is cut off, where it cannot know that another has claimed it; use auto unless that is wanted`,
          ]
        : [],
  },
  { uses: ["PROBE_INTERVAL", "PROBE_MISSES", "LEASE_DURATION"], check: proofOfDeath },
  {
    uses: ["TRACK_FILE", "TRACK_EXEC", "TRACK_HTTP"],
    check: ({ values, isSet }) =>
      (["TRACK_FILE", "TRACK_EXEC", "TRACK_HTTP"] as const)
        .filter((name) => values[name] === undefined && isSet(`${name}_WEIGHT`))
        .map((name) => `${PREFIX}${name}_WEIGHT has no effect without ${PREFIX}${name}`),
  },
  {
    uses: ["OPS_ADDRESS"],
    check: ({ values: { OPS_ADDRESS: ops } }) =>
      isLoopback(ops.host)
        ? []
        : [
            `${PREFIX}OPS_ADDRESS="${hostPort(ops.host, ops.port)}" is reachable from other machines: it speaks TLS there, and asks the API who may read (docs/page.md)`,
          ],
  },
  {
    uses: ["ROLE"],
    check: ({ values, isSet }) =>
      values.ROLE === "balancer"
        ? SETTING_NAMES.filter((name) => SETTINGS[name].electionOnly && isSet(name)).map(
            (name) => `${PREFIX}${name} has no effect with ${PREFIX}ROLE=balancer`,
          )
        : [],
  },
];
