/**
 * The wire below the Lease store: one API server named by the caller, one try, one deadline.
 * Which server to ask next, hedging and retries are the caller's rules (`kube/api.ts`).
 */

export type ApiMethod = "GET" | "POST" | "PUT" | "PATCH";

export interface ApiRequest {
  readonly method: ApiMethod;
  /** Absolute path with query, e.g. `/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leasehold`. */
  readonly path: string;
  readonly contentType?:
    | "application/json"
    | "application/json-patch+json"
    | "application/merge-patch+json";
  /** Serialized by the transport. */
  readonly body?: unknown;
}

export interface ApiResponse {
  /** The server that answered, `ip:port`. */
  readonly server: string;
  readonly status: number;
  /** Parsed JSON; the text itself where it is not JSON; undefined when empty. */
  readonly body: unknown;
  /** Whom the server took us for, where our certificate says so. */
  readonly user?: string;
}

/**
 * Why there was no answer. `refused`: a reset or refusal before or instead of an answer (somebody is there).
 * `silent`: no answer within the deadline. `tls`: no TLS with that server, by any of our kubeconfigs that may be tried there. `credentials`: nothing could be sent for want of a usable kubeconfig.
 */
export type NoAnswer = "refused" | "silent" | "tls" | "credentials";

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

/** One finished try, for metrics. */
export interface RequestReport {
  readonly server: string;
  readonly verb: ApiRequest["method"] | "WATCH";
  /** HTTP status, or why there was none. */
  readonly code: number | NoAnswer | "end";
  readonly durationMs: number;
}

export interface WatchHandlers {
  /** One parsed watch event. */
  onEvent(type: string, object: unknown): void;
  /** The stream has ended, whoever ended it. Called exactly once, never after `close()`. */
  onEnd(reason: { readonly kind: "status"; readonly status: number } | { readonly kind: "error"; readonly message: string } | { readonly kind: "end" }): void;
}

export interface ApiTransport {
  /** Own node first, then peers; numeric `ip:port`; never the VIP, never a name. May change between calls. */
  servers(): readonly string[];
  /**
   * One request to one server. Resolves with whatever status it answers, rejects with {@link ApiNoAnswer}.
   * @param timeoutMs from now; covers connect, TLS and the whole answer
   */
  send(server: string, request: ApiRequest, timeoutMs: number): Promise<ApiResponse>;
  /** Opens a watch at one server. `close()` of the returned object is idempotent. */
  watch(server: string, path: string, handlers: WatchHandlers): { close(): void };
}
