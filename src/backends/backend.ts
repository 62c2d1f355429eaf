/** Words shared by the pool, the health checks, the proxy and the status. */

/** `ip:port`, canonical (see `hostPort` in net.ts). */
export type BackendId = string;

/**
 * UP: takes new connections. DRAIN: answers but is not ready, or too slow: no new connections, old ones live.
 * DOWN: refused, reset, or silent: no new connections, old ones are closed. UNKNOWN: not checked yet.
 */
export type Grade = "UNKNOWN" | "UP" | "DRAIN" | "DOWN";

export interface Backend {
  readonly id: BackendId;
  readonly host: string;
  readonly port: number;
  /** This node's own API server. */
  readonly local: boolean;
}

export interface BackendStatus extends Backend {
  readonly grade: Grade;
  /** Takes new connections; false before its first check. */
  readonly serving: boolean;
  /** Not even TCP answered its last check, or its machine was found gone. */
  readonly silent: boolean;
  /** Times that its machine was found gone. */
  readonly gone: number;
  /** Why, in the words of the last check: "200", "refused", "timeout", "500", "tls: ...". */
  readonly reason: string;
  /** Monotonic ms of the last change of grade. */
  readonly sinceMs: number;
  /** Duration of the last check, ms; null before the first. */
  readonly checkMs: number | null;
  /** Open sessions of the proxy to this backend. */
  readonly active: number;
  /** Sessions ever opened. */
  readonly sessions: number;
  /** Connection attempts that failed and were tried elsewhere. */
  readonly connectErrors: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface BalancerStatus {
  /** The proxy's listener accepts connections. */
  readonly listening: boolean;
  readonly port: number;
  /** Why the port cannot be opened, by a worker at least; it is tried again. null: nothing is wrong with it. */
  readonly listenFailure: string | null;
  /** Milliseconds since the worker last answered a heartbeat. */
  readonly heartbeatAgeMs: number;
  readonly connections: number;
  /** Connections refused because of the limit or for want of a backend. */
  readonly refused: number;
  readonly backends: readonly BackendStatus[];
}
