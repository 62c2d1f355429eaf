/** Defines the types that the pool, the health checks, the proxy and the status share. */

/** Identifies a backend as canonical `ip:port` (see `hostPort` in net.ts). */
export type BackendId = string;

/**
 * State of a backend.
 * - UP: it takes new connections.
 * - DRAIN: it answers but is not ready, or is too slow. It takes no new connections, old ones live.
 * - DOWN: it refused, reset or was silent. It takes no new connections, old ones are closed.
 * - UNKNOWN: it has not been checked yet.
 */
export type Grade = "UNKNOWN" | "UP" | "DRAIN" | "DOWN";

/** An API server that connections may go to. */
export interface Backend {
  readonly id: BackendId;
  readonly host: string;
  readonly port: number;
  /** True for this node's own API server. */
  readonly local: boolean;
  /**
   * Only a candidate's annotation in the Lease names it, and the cluster's list of API servers does not. An
   * annotation is no evidence of an API server, so it takes no connection before a check has verified its
   * certificate.
   */
  readonly claimed?: true;
}

/** A backend as the status shows it. */
export interface BackendStatus extends Backend {
  readonly grade: Grade;
  /** True if it takes new connections. False before its first check. */
  readonly serving: boolean;
  /** It is claimed, and no check has verified its certificate yet. It takes no connections. */
  readonly unproven?: true;
  /** True if a person has drained it, or it is about to stop. It serves all the same while no other backend is fit. */
  readonly drained: boolean;
  /** True if TCP or TLS failed in its last check, or its machine was found gone. */
  readonly silent: boolean;
  /** How many times its machine was found gone. */
  readonly gone: number;
  /**
   * Why it has this grade, in the words of the last check: "200", "refused", "timeout", "500", "tls: ...".
   */
  readonly reason: string;
  /** Monotonic ms of the last change of grade. */
  readonly sinceMs: number;
  /** Duration of the last check, ms; null before the first. */
  readonly checkMs: number | null;
  /** Open sessions of the proxy to this backend. */
  readonly active: number;
  /** Sessions that were ever opened. */
  readonly sessions: number;
  /** Connection attempts that failed and were tried elsewhere. */
  readonly connectErrors: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** The balancer as the status shows it. */
export interface BalancerStatus {
  /** True if the proxy's listener accepts connections. */
  readonly listening: boolean;
  readonly port: number;
  /**
   * Why the port cannot be opened by at least one worker, which tries again. null: nothing is wrong with it.
   */
  readonly listenFailure: string | null;
  /** Milliseconds since the worker last answered a heartbeat. */
  readonly heartbeatAgeMs: number;
  readonly connections: number;
  /** Connections that were refused because of the limit or because no backend was left. */
  readonly refused: number;
  readonly backends: readonly BackendStatus[];
}
