/** Defines the messages between the main thread and a worker of the proxy. */
import type { BackendId } from "../backends/backend.ts";
import type { BalanceAlgorithm } from "../config/config.ts";
import type { ServedAddresses } from "./addresses.ts";
import type { ConnectionCountShare } from "./connection-count.ts";
import type { Subnet } from "../net.ts";

/** The proxy's settings. They are fixed for the life of a worker and the same for all workers. */
export interface ProxySettings {
  readonly port: number;
  /** Where clients are served. */
  readonly addresses?: ServedAddresses;
  readonly algorithm: BalanceAlgorithm;
  /** Connections that all workers together may hold. */
  readonly maxConnections: number;
  readonly slowStartMs: number;
  readonly connectTimeoutMs: number;
}

/** The `workerData` of a worker. */
export interface ProxyWorkerData {
  readonly settings: ProxySettings;
  readonly share: ConnectionCountShare;
  /** A listening socket whose first clients wait. The worker takes it over in place of one of its own. */
  readonly listener: number | undefined;
}

/** A backend as a worker needs to know it. */
export interface ProxyBackend {
  readonly id: BackendId;
  readonly host: string;
  readonly port: number;
  readonly local: boolean;
  /** True if the backend takes new connections. */
  readonly serving: boolean;
  /**
   * Milliseconds since it came back. undefined: no slow start. It is an age, since the threads' clocks need
   * not agree.
   */
  readonly returnedAgoMs: number | undefined;
}

/** A message from the main thread to a worker. */
export type ToProxy =
  /**
   * The whole list of backends from now on. A backend that is missing in it is forgotten with its last
   * session. Clients at an address of `own` are served whatever the settings name.
   */
  | {
      readonly kind: "backends";
      readonly backends: readonly ProxyBackend[];
      readonly own?: readonly Subnet[];
    }
  /** Resets every session of a DOWN backend. */
  | { readonly kind: "close-sessions"; readonly id: BackendId }
  /** Stops accepting, gives sessions `drainMs` to end, then ends them and the thread. */
  | { readonly kind: "stop"; readonly drainMs: number };

/** What a worker has counted for one backend. */
export interface BackendCounters {
  readonly id: BackendId;
  readonly active: number;
  readonly sessions: number;
  readonly connectErrors: number;
  /** Bytes from clients to the backend (`bytesIn`) and back (`bytesOut`). */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** What a worker has counted. */
export interface ProxyCounters {
  readonly connections: number;
  readonly refused: number;
  readonly backends: readonly BackendCounters[];
}

/** A message from a worker to the main thread. */
export type FromProxy =
  | { readonly kind: "listening"; readonly port: number }
  /** The listener is closed or no longer tried, because no backend is left or the worker is stopping. */
  | { readonly kind: "closed" }
  /** The port cannot be opened. The worker tries again, for ever. */
  | { readonly kind: "listen-failed"; readonly code: string; readonly message: string }
  /** The heartbeat of the thread: its event loop turns. */
  | { readonly kind: "heartbeat"; readonly counters: ProxyCounters }
  /** A connection to this backend failed, which is a reason to check it at once. */
  | { readonly kind: "connect-failed"; readonly id: BackendId; readonly reason: string }
  | { readonly kind: "accept-failed"; readonly code: string };

/** Milliseconds between two heartbeats of a worker. */
export const HEARTBEAT_INTERVAL_MS = 500;
