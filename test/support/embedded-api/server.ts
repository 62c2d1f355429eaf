/**
 * One embedded API server: TLS with client certificates over the shared store, and the faults that tests want
 * of it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server as HttpsServer } from "node:https";
import { createServer } from "node:https";
import type { Server, Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { hostPort } from "../../../src/net.ts";
import type { Run } from "../control-plane/process.ts";
import { listenAt } from "./listen.ts";
import type { EmbeddedPki } from "./pki.ts";
import { ENDPOINT_SLICES, EVENTS, LEASES } from "./resources.ts";
import { parseRoute } from "./route.ts";
import type { StoreResponse } from "./status.ts";
import { failure } from "./status.ts";
import type { ObjectStore, WatchEvent } from "./store.ts";

/** Set them while the server runs. */
export interface Faults {
  /** Every answer comes this much later, ms. The store has done its part before. */
  delayMs: number;
  /** /readyz and /livez answer 500, as a server does that has lost etcd or is going down. */
  notReady: boolean;
  /** Everything but /readyz and /livez answers 429. */
  tooManyRequests: boolean;
  /** Everything but /readyz and /livez answers 403, as before anybody has applied the RBAC. */
  forbidden: boolean;
  /**
   * Writes of Leases answer 403 in the words of an admission webhook that denies them; reads and Events are
   * let through.
   */
  denyLeaseWrites: boolean;
  /** Writes answer 500 as they do without etcd's quorum; reads come from the cache. */
  refuseWrites: boolean;
  /** The store does its part, then the connection is reset in the middle of the answer. */
  resetInAnswer: boolean;
  /** Answers a request for Leases in place of the store: RBAC, flow control, admission, a full etcd. */
  refuse: ((request: LeaseRequest) => StoreResponse | undefined) | undefined;
  /** Changes each Lease that is written, as a mutating webhook does. */
  mutate: ((lease: Lease) => void) | undefined;
}

/** A request for Leases as a fault sees it. */
export interface LeaseRequest {
  readonly method: string;
  readonly isWrite: boolean;
  /** The address that it comes from. */
  readonly from: string;
  /** The common name of its certificate. */
  readonly user: string;
}

/** The members of a Lease that a webhook may change. */
export interface Lease {
  metadata: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: Record<string, string | number>;
}

export interface EmbeddedServerSpec {
  readonly name: string;
  /** Address to listen on. */
  readonly ip: string;
  /** 0: a free one. Default 6443. */
  readonly port?: number;
  /** Starts a program in the namespace to listen in; without, this process' own. */
  readonly run?: Run;
}

const HEALTH: ReadonlySet<string> = new Set(["/readyz", "/livez", "/healthz"]);
/** As kube-apiserver: nothing that Leasehold sends is larger. */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

export class EmbeddedServer {
  readonly name: string;
  readonly ip: string;
  readonly faults: Faults = {
    delayMs: 0,
    notReady: false,
    tooManyRequests: false,
    forbidden: false,
    denyLeaseWrites: false,
    refuseWrites: false,
    resetInAnswer: false,
    refuse: undefined,
    mutate: undefined,
  };
  readonly #spec: EmbeddedServerSpec;
  readonly #store: ObjectStore;
  readonly #https: HttpsServer;
  readonly #sockets = new Set<Socket>();
  readonly #waiting: (() => void)[] = [];
  #hung = false;
  #listener: Server | undefined;
  #port: number;

  constructor(spec: EmbeddedServerSpec, store: ObjectStore, pki: EmbeddedPki) {
    this.name = spec.name;
    this.ip = spec.ip;
    this.#spec = spec;
    this.#store = store;
    this.#port = spec.port ?? 6443;
    const tls = { ...identity(pki), requestCert: true, rejectUnauthorized: false };
    this.#https = createServer(tls, (request, response) => void this.#answer(request, response));
    this.#https.on("tlsClientError", () => {});
  }

  get port(): number {
    return this.#port;
  }

  /** `ip:port` */
  get address(): string {
    return hostPort(this.ip, this.#port);
  }

  get listening(): boolean {
    return this.#listener !== undefined;
  }

  /** Starts to listen, again after {@link kill} too, on the same port. */
  async start(): Promise<void> {
    if (this.#listener !== undefined) return;
    const listener = await listenAt(this.ip, this.#port, this.#spec.run);
    const address = listener.address();
    if (this.#port === 0 && address !== null && typeof address === "object") this.#port = address.port;
    listener.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
      // Such as a reset: TLS hears of it too and ends.
      socket.on("error", () => {});
      void this.#serve(socket);
    });
    this.#listener = listener;
  }

  /** As SIGKILL: stops listening, resets every connection. */
  async kill(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    if (listener !== undefined) await new Promise((resolve) => listener.close(resolve));
  }

  /** Takes certificates of another CA, as after `kubeadm reset` and `init`: every connection ends. */
  async become(pki: EmbeddedPki): Promise<void> {
    await this.kill();
    this.#https.setSecureContext(identity(pki));
    await this.start();
  }

  /** As SIGSTOP: connections are accepted, nothing is said on any. */
  stop(): void {
    this.#hung = true;
  }

  /** As SIGCONT: goes on where it stopped, requests that came meanwhile are answered. */
  continue(): void {
    this.#hung = false;
    for (const resume of this.#waiting.splice(0)) resume();
  }

  async #serve(socket: Socket): Promise<void> {
    await this.#awake();
    if (!socket.destroyed) this.#https.emit("connection", socket);
  }

  async #awake(): Promise<void> {
    while (this.#hung) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    await this.#awake();
    if (body === undefined || response.destroyed) return;
    const url = request.url ?? "/";
    const method = request.method ?? "GET";
    const refusal = this.#refusal(request, method, url);
    if (
      refusal === undefined &&
      method === "GET" &&
      parseRoute(url, [LEASES, ENDPOINT_SLICES, EVENTS])?.watch === true
    ) {
      await this.#watch(url, response);
      return;
    }
    const contentType = request.headers["content-type"]?.split(";")[0];
    await this.#send(response, refusal ?? this.#handle({ method, path: url, contentType, body }));
  }

  #handle(request: Parameters<ObjectStore["handle"]>[0]): StoreResponse {
    const review = reviewed(request.path, request.body ?? "{}");
    if (review !== undefined) return review;
    const { mutate } = this.faults;
    if (mutate === undefined || !request.path.includes("/leases")) return this.#store.handle(request);
    return this.#store.handle(request, (object) => {
      const { metadata, spec, ...rest } = object;
      const lease: Lease = JSON.parse(JSON.stringify({ metadata: metadata ?? {}, spec: spec ?? {} }));
      mutate(lease);
      return { ...rest, ...lease };
    });
  }

  /** What is answered without the store: health, version, faults, no credentials. */
  #refusal(request: IncomingMessage, method: string, url: string): StoreResponse | undefined {
    const path = url.split("?")[0] ?? url;
    const { faults } = this;
    if (HEALTH.has(path)) {
      return faults.notReady
        ? { status: 500, body: `[-]etcd failed: reason withheld\n${path.slice(1)} check failed\n` }
        : { status: 200, body: "ok" };
    }
    if (faults.tooManyRequests)
      return failure(429, "too many requests, please try again later", "TooManyRequests", {
        retryAfterSeconds: 1,
      });
    if (request.headers.authorization !== undefined) return failure(401, "Unauthorized", "Unauthorized");
    // RBAC lets everybody see /livez, and nobody but the admins what is below it.
    const adminsOnly = path === "/livez/ping" && userOf(request) !== "kubernetes-admin";
    if (faults.forbidden || adminsOnly || !isAuthorized(request)) {
      return failure(
        403,
        `forbidden: User "${userOf(request)}" cannot ${method.toLowerCase()} path "${path}"`,
        "Forbidden",
        {},
      );
    }
    if (faults.denyLeaseWrites && method !== "GET" && path.includes("/leases")) {
      return failure(
        403,
        'admission webhook "leases.example.com" denied the request: no changes\nin a freeze',
        "Forbidden",
        {},
      );
    }
    if (path.includes("/leases")) {
      const from = (request.socket.remoteAddress ?? "").replace(/^::ffff:/u, "");
      const refusal = faults.refuse?.({ method, isWrite: method !== "GET", from, user: userOf(request) });
      if (refusal !== undefined) return refusal;
    }
    if (faults.refuseWrites && method !== "GET") return failure(500, "etcdserver: request timed out");
    if (path === "/livez/ping") return { status: 200, body: "ok" };
    if (path === "/version") return { status: 200, body: { major: "1", minor: "36", gitVersion: "v1.36.3" } };
    return path.startsWith("/apis/") ? undefined : { status: 404, body: "404 page not found\n" };
  }

  async #send(response: ServerResponse, { status, body }: StoreResponse): Promise<void> {
    if (this.faults.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.faults.delayMs));
    await this.#awake();
    if (response.destroyed) return;
    const bytes = Buffer.from(typeof body === "string" ? body : `${JSON.stringify(body)}\n`);
    const type = typeof body === "string" ? "text/plain; charset=utf-8" : "application/json";
    response.writeHead(status, {
      "content-type": type,
      "content-length": bytes.length,
      ...(status === 429 ? { "retry-after": "1" } : {}),
    });
    if (!this.faults.resetInAnswer) {
      response.end(bytes);
      return;
    }
    // TLS cannot reset, the TCP socket under it can.
    const port = response.socket?.remotePort;
    const under = [...this.#sockets].find((socket) => socket.remotePort === port);
    response.write(bytes.subarray(0, bytes.length / 2), () => under?.resetAndDestroy());
  }

  async #watch(url: string, response: ServerResponse): Promise<void> {
    // Events wait here while the server is stopped.
    const pending: WatchEvent[] = [];
    const flush = async (): Promise<void> => {
      await this.#awake();
      for (const event of pending.splice(0))
        if (!response.destroyed && !response.writableEnded) response.write(`${JSON.stringify(event)}\n`);
    };
    const write = (event: WatchEvent): void => {
      pending.push(event);
      void flush();
    };
    const opened = this.#store.watch(url, write);
    if (opened.kind === "refused") {
      await this.#send(response, opened.response);
      return;
    }
    // A client behind a balancer cannot tell otherwise where its connection has gone.
    response.writeHead(200, {
      "content-type": "application/json",
      "cache-control": "no-cache, private",
      "x-served-by": this.name,
    });
    response.flushHeaders();
    // What changes between opening and here cannot be: both are in this turn of the loop.
    for (const event of opened.replay) response.write(`${JSON.stringify(event)}\n`);
    if (opened.kind === "over") {
      response.end();
      return;
    }
    const seconds = Number(new URL(url, "http://server").searchParams.get("timeoutSeconds") ?? "0");
    const timer = seconds > 0 ? setTimeout(() => response.end(), seconds * 1000) : undefined;
    response.once("close", () => {
      clearTimeout(timer);
      opened.close();
    });
  }
}

/** The one token that the API knows, and the paths that its user may get. */
export const SCRAPER_TOKEN = "token-of-the-scraper";
const SCRAPER = "system:serviceaccount:kube-system:leasehold-metrics";
const SCRAPED = "/metrics";

/** Answers who has a token, and what a user may get. */
function reviewed(path: string, body: string): StoreResponse | undefined {
  const reviews =
    /^\/apis\/(authentication|authorization)\.k8s\.io\/v1\/(tokenreviews|subjectaccessreviews)$/;
  if (!reviews.test(path)) return undefined;
  const {
    spec,
    ...rest
  }: {
    readonly spec: {
      readonly token?: string;
      readonly user?: string;
      readonly nonResourceAttributes?: { readonly path: string };
    };
  } = JSON.parse(body);
  const authenticated = spec.token === SCRAPER_TOKEN;
  const user = { username: SCRAPER, groups: ["system:authenticated"] };
  const status =
    spec.token === undefined
      ? { allowed: spec.user === SCRAPER && spec.nonResourceAttributes?.path === SCRAPED }
      : { authenticated, ...(authenticated ? { user } : {}) };
  return { status: 201, body: { ...rest, spec, status } };
}

function identity({ server, authority }: EmbeddedPki): {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
} {
  return { cert: server.cert, key: server.key, ca: authority.cert };
}

function isAuthorized({ socket }: IncomingMessage): boolean {
  return socket instanceof TLSSocket && socket.authorized;
}

function userOf({ socket }: IncomingMessage): string {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return "system:anonymous";
  const name: string | string[] | undefined = socket.getPeerCertificate().subject.CN;
  return [name ?? ""].flat().join("/");
}

/** Undefined when the client has gone or sends too much. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request) {
      if (!Buffer.isBuffer(chunk)) return undefined;
      length += chunk.length;
      if (length > MAX_BODY_BYTES) {
        request.destroy();
        return undefined;
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  } catch {
    return undefined;
  }
}
