/** What the main thread and a worker of the proxy say to each other. */
import type { BackendId } from "../backends/backend.ts";
import type { BalanceAlgorithm } from "../config/config.ts";
import type { ConnectionCountShare } from "./connection-count.ts";

/** Fixed for the life of a worker, and the same for all. */
export interface ProxySettings {
  readonly port: number;
  readonly algorithm: BalanceAlgorithm;
  /** Of all workers together. */
  readonly maxConnections: number;
  readonly slowStartMs: number;
  readonly connectTimeoutMs: number;
}

export interface ProxyWorkerData {
  readonly settings: ProxySettings;
  readonly share: ConnectionCountShare;
}

export interface ProxyBackend {
  readonly id: BackendId;
  readonly host: string;
  readonly port: number;
  readonly local: boolean;
  /** Takes new connections. */
  readonly serving: boolean;
  /** How long ago it came back; undefined: no slow start. An age, since the threads' clocks need not agree. */
  readonly returnedAgoMs: number | undefined;
}

export type ToProxy =
  /** All there are, from now on. One that is missing is forgotten with its last session. */
  | { readonly kind: "backends"; readonly backends: readonly ProxyBackend[] }
  /** Reset every session of a DOWN backend. */
  | { readonly kind: "close-sessions"; readonly id: BackendId }
  /** Stop accepting, give sessions `drainMs` to end, then end them and the thread. */
  | { readonly kind: "stop"; readonly drainMs: number };

export interface BackendCounters {
  readonly id: BackendId;
  readonly active: number;
  readonly sessions: number;
  readonly connectErrors: number;
  /** From clients to the backend, and back. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface ProxyCounters {
  readonly connections: number;
  readonly refused: number;
  readonly backends: readonly BackendCounters[];
}

export type FromProxy =
  | { readonly kind: "listening"; readonly port: number }
  /** The listener is closed, or no longer tried for: no backend is left, or stopping. */
  | { readonly kind: "closed" }
  /** The port cannot be had; tried again, for ever. */
  | { readonly kind: "listen-failed"; readonly code: string; readonly message: string }
  /** The event loop of this thread still turns. */
  | { readonly kind: "heartbeat"; readonly counters: ProxyCounters }
  /** A hint to check that backend at once. */
  | { readonly kind: "connect-failed"; readonly id: BackendId; readonly reason: string }
  | { readonly kind: "accept-failed"; readonly code: string };

/** Milliseconds between two heartbeats of a worker. */
export const HEARTBEAT_INTERVAL_MS = 500;
