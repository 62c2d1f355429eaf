/**
 * Defines the wire below the Lease store: one API server that the caller names, one try, one deadline. The
 * caller (`kube/api.ts`) decides which server to ask next, and when to send a request to a second server or
 * again.
 */

export type ApiMethod = "GET" | "POST" | "PUT" | "PATCH";

/** One request to an API server. */
export interface ApiRequest {
  readonly method: ApiMethod;
  /**
   * Absolute path with query, e.g. `/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold`.
   */
  readonly path: string;
  readonly contentType?: "application/json" | "application/json-patch+json" | "application/merge-patch+json";
  /** The body as a value, which the transport serializes as JSON. */
  readonly body?: unknown;
}

/** The answer of an API server, with any status. */
export interface ApiResponse {
  /** The server that answered, `ip:port`. */
  readonly server: string;
  readonly status: number;
  /** Parsed JSON, or the text itself if it is not JSON. undefined if the body is empty. */
  readonly body: unknown;
  /** The user that the server took us for, if our certificate says so. */
  readonly user?: string;
}

/**
 * Why there was no answer.
 * - `refused`: the connection was reset or refused before or instead of an answer, so a host is there.
 * - `silent`: no answer came within the deadline.
 * - `tls`: TLS with that server failed, with each of our kubeconfigs that may be tried there.
 * - `credentials`: nothing could be sent for want of a usable kubeconfig.
 */
export type NoAnswer = "refused" | "silent" | "tls" | "credentials";

/** The error of a request that got no answer. */
export class ApiNoAnswer extends Error {
  readonly reason: NoAnswer;
  readonly server: string;
  /** True when the request may have reached the server: a write may have been applied. */
  readonly sent: boolean;

  constructor(server: string, reason: NoAnswer, sent: boolean, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ApiNoAnswer";
    this.server = server;
    this.reason = reason;
    this.sent = sent;
  }
}

/** One finished request to one server, for metrics. */
export interface RequestReport {
  readonly server: string;
  readonly verb: ApiRequest["method"] | "WATCH";
  /** HTTP status, or why there was none. */
  readonly code: number | NoAnswer | "end";
  readonly durationMs: number;
}

/** The callbacks of a watch. */
export interface WatchHandlers {
  /** Called with one parsed watch event. */
  onEvent(type: string, object: unknown): void;
  /** Called when the stream has ended, by either side. Called exactly once, never after `close()`. */
  onEnd(
    reason:
      | { readonly kind: "status"; readonly status: number }
      | { readonly kind: "error"; readonly message: string }
      | { readonly kind: "end" },
  ): void;
}

/** Sends requests to single API servers. */
export interface ApiTransport {
  /**
   * Returns the API servers: this node's first, then the peers', as numeric `ip:port`, never the VIP and
   * never a name. The list may change between calls.
   */
  servers(): readonly string[];
  /**
   * Sends one request to one server. Resolves with the answer, whatever its status.
   * @param timeoutMs from now; covers connect, TLS and the whole answer
   * @throws ApiNoAnswer (as a rejection) if there was no answer
   */
  send(server: string, request: ApiRequest, timeoutMs: number): Promise<ApiResponse>;
  /** Opens a watch at one server. `close()` of the returned object is idempotent. */
  watch(server: string, path: string, handlers: WatchHandlers): { close(): void };
}
