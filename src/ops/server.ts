/** The operator's window: health, metrics and status over HTTP. It looks at the agent and never steers it. */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AgentStatus } from "../agent/status.ts";
import type { Clock } from "../clock.ts";
import { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { hostPort } from "../net.ts";
import { healthText, liveness, readiness } from "./health.ts";
import type { HealthCheck } from "./health.ts";
import type { AgentMetrics } from "./metrics.ts";

export interface OpsDeps {
  readonly host: string;
  /** 0: any free port, see {@link Ops.port}. */
  readonly port: number;
  readonly status: () => AgentStatus;
  readonly metrics: AgentMetrics;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface Ops {
  /** @throws {LeaseholdError} LH_LISTEN when the port is taken or the address is not this machine's. */
  start(): Promise<void>;
  /** Idempotent. Answers under way get {@link STOP_GRACE_MS}. */
  stop(): Promise<void>;
  /** The port in use; 0 before start. */
  port(): number;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Probes, a scraper and a person or two; a scan of the port must not cost the agent its file descriptors. */
const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 5_000;
const MAX_HEADER_BYTES = 8 * 1024;
const STOP_GRACE_MS = 500;

const text = (status: number, body: string): Answer => ({ status, type: "text/plain; charset=utf-8", body });

export function createOps(deps: OpsDeps): Ops {
  const { status, metrics, log, clock } = deps;

  function health(endpoint: string, judge: (status: AgentStatus) => readonly HealthCheck[], query: URLSearchParams): Answer {
    const verdict = healthText(endpoint, judge(status()), query.has("verbose"));
    return text(verdict.ok ? 200 : 500, verdict.text);
  }

  async function answer(url: URL): Promise<Answer> {
    switch (url.pathname) {
      case "/livez":
        return health("livez", liveness, url.searchParams);
      case "/readyz":
        return health("readyz", readiness, url.searchParams);
      // The older name. Probes that use it are liveness probes.
      case "/healthz":
        return health("healthz", liveness, url.searchParams);
      case "/metrics":
        return { status: 200, type: metrics.contentType, body: await metrics.render(status(), clock.wall().getTime()) };
      case "/status":
        return { status: 200, type: "application/json", body: `${JSON.stringify(status(), null, 2)}\n` };
      default:
        return text(404, "404 page not found\n");
    }
  }

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A body means nothing here; it is read and thrown away within the request's time-out.
    request.resume();
    const { status, type, body, headers } = await route(request);
    response.writeHead(status, {
      "content-type": type, "content-length": Buffer.byteLength(body), "cache-control": "no-store", "x-content-type-options": "nosniff", ...headers,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  async function route(request: IncomingMessage): Promise<Answer> {
    const target = request.url ?? "";
    // Only the path counts: the origin given here is never used.
    const url = target.startsWith("/") && URL.canParse(`http://ops${target}`) ? new URL(`http://ops${target}`) : undefined;
    if (url === undefined) return text(400, "400 bad request\n");
    const found = await answer(url);
    if (found.status === 404 || request.method === "GET" || request.method === "HEAD") return found;
    return { ...text(405, "405 method not allowed\n"), headers: { allow: "GET, HEAD" } };
  }

  const server: Server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: REQUEST_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS, connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
    },
    (request, response) => {
      respond(request, response).catch((error: unknown) => {
        log.error({ err: error, path: request.url }, "ops request failed");
        response.destroy();
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;

  let stopping: Promise<void> | undefined;

  return {
    start() {
      return new Promise((resolve, reject) => {
        const refuse = (cause: Error): void => {
          reject(new LeaseholdError("LH_LISTEN", `cannot listen on ${hostPort(deps.host, deps.port)}: ${cause.message}`, { cause }));
        };
        server.once("error", refuse);
        server.listen({ host: deps.host, port: deps.port, exclusive: true }, () => {
          server.off("error", refuse);
          server.on("error", (error) => log.error({ err: error }, "ops server failed"));
          resolve();
        });
      });
    },
    stop() {
      stopping ??= new Promise((resolve) => {
        if (!server.listening) {
          resolve();
          return;
        }
        const cut = clock.after(STOP_GRACE_MS, () => server.closeAllConnections());
        server.close(() => {
          cut.cancel();
          resolve();
        });
        server.closeIdleConnections();
      });
      return stopping;
    },
    port() {
      const address = server.address();
      return typeof address === "object" && address !== null ? address.port : 0;
    },
  };
}
