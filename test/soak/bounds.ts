/**
 * The one table of what the soak demands: for each kind of fault how soon the VIP answers and serves again,
 * and for how long two nodes may answer for it. The judge uses it, and docs/verification.md shows it.
 */

/** What is demanded while a fault lasts, and until the cluster is well again. All in ms. */
export interface Bound {
  /**
   * From the first question for the VIP (ARP, neighbour solicitation) without an answer to the next answer.
   */
  readonly answersMs: number;
  /** Likewise for GET /readyz over the VIP, counted only while an API server serves. */
  readonly servesMs: number;
  /** How long two nodes may answer for the VIP in one go. */
  readonly twoMs: number;
}

/**
 * The prober asks 20 times a second. A promise of "no gap" is judged with room for ten of its turns, because
 * it shares two processors with three API servers.
 */
const NO_GAP_MS = 500;
/** A replacement by proof of death, with the same room as in test/lab/proof.test.ts. */
const PROOF_MS = 1_000;
/** LEASEHOLD_LEASE_DURATION + 5 s: the bound where nobody has proof. */
const LEASE_MS = 15_000;
/**
 * What a new connection may lose in addition to the VIP: a SYN that the client's kernel repeats after 1 s.
 */
const CONNECT_MS = 2_000;
/** Until the health checks find an API server DOWN that accepts connections and does not answer. */
const CHECKS_MS = 6_000;
/** What two nodes that reach each other may have the VIP in common, apart from the exceptions. */
const TWO_MS = 1_000;
/** An agent is restarted and finds the VIP bound. */
const ADOPTED_MS = 4_200;
/** The renew deadline, and what a busy machine takes to see it. */
const DEADLINE_MS = 5_000;

/** Nothing happens, or nothing that concerns the VIP. */
export const CALM: Bound = { answersMs: NO_GAP_MS, servesMs: CONNECT_MS, twoMs: TWO_MS };

interface Row extends Bound {
  /** The fault in words. */
  readonly what: string;
  /**
   * The node loses the VIP if it has it. Then `answersMs` holds where another candidate has proof of death,
   * and {@link LEASE_MS} where none has. On a node without the VIP, {@link CALM} holds.
   */
  readonly losesVip: boolean;
  /** No established connection ends, and no watch misses an event. */
  readonly watchesLive: boolean;
}

const QUIET = { ...CALM, losesVip: false } as const;
const LOST = { answersMs: PROOF_MS, servesMs: PROOF_MS + CONNECT_MS, losesVip: true } as const;

export const BOUNDS = {
  "vip-moved": { what: "a person moves the VIP (`move-to`)", ...QUIET, watchesLive: true },
  "agent-stopped": { what: "an agent gets SIGTERM, and starts again later", ...QUIET, watchesLive: true },
  "agent-restarted": {
    what: "an agent is killed, and starts again at once",
    ...QUIET,
    twoMs: ADOPTED_MS,
    watchesLive: true,
  },
  "agent-killed": {
    what: "an agent is killed, and starts again after seconds",
    ...LOST,
    twoMs: ADOPTED_MS,
    watchesLive: true,
  },
  "agent-frozen": { what: "an agent is stopped by SIGSTOP", ...LOST, twoMs: TWO_MS, watchesLive: true },
  "agent-upgraded": {
    what: "an agent is replaced by one of another version of the fast path, and later by its own again",
    ...QUIET,
    servesMs: CHECKS_MS,
    watchesLive: false,
  },
  "node-lost": { what: "a node loses power", ...LOST, twoMs: ADOPTED_MS, watchesLive: false },
  "link-down": { what: "a node's cable is pulled", ...LOST, twoMs: TWO_MS, watchesLive: false },
  "link-flapping": {
    what: "a node's cable comes and goes every second",
    ...LOST,
    twoMs: TWO_MS,
    watchesLive: false,
  },
  "node-isolated": {
    what: "no frame comes from a node or to it; its link stays up",
    ...LOST,
    twoMs: ADOPTED_MS,
    watchesLive: false,
  },
  "link-cut": {
    what: "no frame passes between two nodes, in one direction or both",
    ...LOST,
    twoMs: DEADLINE_MS,
    watchesLive: false,
  },
  "api-killed": { what: "an API server is killed", ...QUIET, watchesLive: false },
  "api-hung": {
    what: "an API server is stopped by SIGSTOP",
    ...QUIET,
    servesMs: CHECKS_MS,
    watchesLive: false,
  },
  "api-refused": {
    what: "a firewall refuses connections to an API server",
    ...QUIET,
    servesMs: CHECKS_MS,
    watchesLive: false,
  },
  "apis-down": { what: "all API servers are killed", ...QUIET, servesMs: CHECKS_MS, watchesLive: false },
  "etcd-killed": { what: "an etcd member is killed", ...QUIET, servesMs: CHECKS_MS, watchesLive: false },
  "etcd-hung": {
    what: "an etcd member is stopped by SIGSTOP",
    ...QUIET,
    servesMs: CHECKS_MS,
    watchesLive: false,
  },
  "etcd-refused": {
    what: "a firewall refuses connections to an etcd member",
    ...QUIET,
    servesMs: CHECKS_MS,
    watchesLive: false,
  },
  "quorum-lost": {
    what: "two of the three etcd members are killed",
    ...QUIET,
    servesMs: CHECKS_MS,
    watchesLive: false,
  },
  "rules-flushed": { what: "a program flushes a node's nftables rules", ...QUIET, watchesLive: false },
  "address-deleted": {
    what: "a person deletes the VIP from a node's interface",
    ...QUIET,
    answersMs: PROOF_MS,
    servesMs: PROOF_MS + CONNECT_MS,
    watchesLive: true,
  },
  "clock-stepped": { what: "an agent's wall clock jumps by hours", ...QUIET, watchesLive: true },
} as const satisfies Readonly<Record<string, Row>>;

export type FaultKind = keyof typeof BOUNDS;

/** Faults that no API server has reason to notice. */
const NO_API_SERVER: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "vip-moved",
  "agent-stopped",
  "agent-restarted",
  "agent-killed",
  "agent-frozen",
  "agent-upgraded",
  "rules-flushed",
  "address-deleted",
  "clock-stepped",
]);

/**
 * The API servers that a fault may keep from answering: none, those of the nodes that it happens to, or all.
 */
export function concernedApis(kind: FaultKind): "none" | "its nodes" | "all" {
  if (NO_API_SERVER.has(kind)) return "none";
  return kind === "apis-down" || kind === "quorum-lost" ? "all" : "its nodes";
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of that very table
export const FAULT_KINDS = Object.keys(BOUNDS) as readonly FaultKind[];

/** What was so on the moment when a fault began, of which the bound depends. */
export interface Circumstances {
  readonly kind: FaultKind;
  /** The kernel of the fault's node had the VIP. */
  readonly hadVip: boolean;
  /** Another candidate would have taken that node's silence for proof of death. */
  readonly proof: boolean;
}

/** The bound of one fault. */
export function boundOf({ kind, hadVip, proof }: Circumstances): Bound {
  const row: Row = BOUNDS[kind];
  if (!row.losesVip) return row;
  if (!hadVip) return { ...CALM, servesMs: Math.max(CALM.servesMs, row.servesMs), twoMs: row.twoMs };
  return proof ? row : { ...row, answersMs: LEASE_MS, servesMs: LEASE_MS + CONNECT_MS };
}

/** The loosest of the bounds of faults that happen at the same time; {@link CALM} where there is none. */
export function boundOfAll(faults: readonly Circumstances[]): Bound {
  return faults.map(boundOf).reduce(
    (one, other) => ({
      answersMs: Math.max(one.answersMs, other.answersMs),
      servesMs: Math.max(one.servesMs, other.servesMs),
      twoMs: Math.max(one.twoMs, other.twoMs),
    }),
    CALM,
  );
}

/** The rows of docs/verification.md. */
export function boundsTable(): string {
  const seconds = (ms: number): string => `${ms / 1_000} s`;
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rows = FAULT_KINDS.map((kind) => {
    const row: Row = BOUNDS[kind];
    const without = row.losesVip ? `, ${seconds(LEASE_MS)} without proof` : "";
    return line([
      `\`${kind}\``,
      row.what,
      `${seconds(row.answersMs)}${without}`,
      `${seconds(row.servesMs)}${row.losesVip ? `, ${seconds(LEASE_MS + CONNECT_MS)} without proof` : ""}`,
      seconds(row.twoMs),
      row.watchesLive ? "live" : "may end",
    ]);
  });
  return [
    line([
      "fault",
      "what happens",
      "the VIP answers within",
      "/readyz answers within",
      "two answer for at most",
      "watches",
    ]),
    "|---|---|---|---|---|---|",
    ...rows,
    line(["none", "nothing", seconds(CALM.answersMs), seconds(CALM.servesMs), seconds(CALM.twoMs), "live"]),
  ].join("\n");
}
