/**
 * Serves health, metrics and status over HTTP. It reads the agent's state and never changes it. The probes
 * have their own port on loopback, because the kubelet's manifest cannot follow LEASEHOLD_OPS_ADDRESS.
 */
import type { IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { healthText, liveness, readiness } from "./health.ts";
import type { HealthCheck } from "./health.ts";
import { createListener } from "./listener.ts";
import type { Answer } from "./listener.ts";
import type { AgentMetrics } from "./metrics.ts";
import type { AgentStatus, ListenerStatus } from "./status.ts";

export interface OpsDeps {
  /** Numeric address where everything is served. */
  readonly host: string;
  /** Port where everything is served. 0 means any free port, see {@link Ops.port}. */
  readonly port: number;
  /** Port of the probes, on {@link HEALTH_HOST}. 0 means any free port, see {@link Ops.healthPort}. */
  readonly healthPort: number;
  readonly status: () => AgentStatus;
  /** Returns the election's last decisions as JSON. It is asked once a second at most. */
  readonly decisions: () => Promise<string>;
  readonly metrics: AgentMetrics;
  readonly log: Logger;
  readonly clock: Clock;
}

export interface Ops {
  /** Resolves after both ports were tried once. A port that is taken is tried again, and is no error. */
  start(): Promise<void>;
  /** Stops both listeners. Answers under way get half a second. Idempotent. */
  stop(): Promise<void>;
  /** Says for the status whether the agent has the two ports. */
  listeners(): readonly ListenerStatus[];
  /** The ports in use; 0 while there is none. */
  port(): number;
  healthPort(): number;
}

/**
 * Address of the probes, IPv4 also where the cluster's network is IPv6: Linux has 127.0.0.1 on every loopback
 * interface, and the probes name one address.
 */
export const HEALTH_HOST = "127.0.0.1";

/**
 * Milliseconds for which the text of /decisions is kept. It may take a tenth of a second to make, and the
 * port may be open to a network.
 */
const KEPT_MS = 1_000;

type Route = (query: URLSearchParams) => Answer | Promise<Answer>;
type Routes = ReadonlyMap<string, Route>;

const text = (status: number, body: string): Answer => ({ status, type: "text/plain; charset=utf-8", body });

async function route(routes: Routes, request: IncomingMessage): Promise<Answer> {
  const target = request.url ?? "";
  // Only the path counts. The origin given here is never used.
  const url =
    target.startsWith("/") && URL.canParse(`http://ops${target}`)
      ? new URL(`http://ops${target}`)
      : undefined;
  if (url === undefined) return text(400, "400 bad request\n");
  const found = routes.get(url.pathname);
  if (found === undefined) return text(404, "404 page not found\n");
  if (request.method === "GET" || request.method === "HEAD") return found(url.searchParams);
  return { ...text(405, "405 method not allowed\n"), headers: { allow: "GET, HEAD" } };
}

export function createOps(deps: OpsDeps): Ops {
  const { status, metrics, log, clock } = deps;

  function health(
    endpoint: string,
    judge: (status: AgentStatus) => readonly HealthCheck[],
  ): readonly [string, Route] {
    return [
      `/${endpoint}`,
      (query) => {
        const verdict = healthText(endpoint, judge(status()), query.has("verbose"));
        return text(verdict.ok ? 200 : 500, verdict.text);
      },
    ];
  }

  let kept: Promise<string> | undefined;
  function decisions(): Promise<string> {
    if (kept === undefined) {
      kept = deps.decisions();
      clock.after(KEPT_MS, () => (kept = undefined));
    }
    return kept;
  }

  // healthz is the older name, and probes that use it are liveness probes.
  const probes: Routes = new Map([
    health("livez", liveness),
    health("readyz", readiness),
    health("healthz", liveness),
  ]);
  const all: Routes = new Map<string, Route>([
    ...probes,
    [
      "/metrics",
      async () => ({
        status: 200,
        type: metrics.contentType,
        body: await metrics.render(status(), clock.wall().getTime()),
      }),
    ],
    [
      "/status",
      () => ({ status: 200, type: "application/json", body: `${JSON.stringify(status(), null, 2)}\n` }),
    ],
    ["/decisions", async () => ({ status: 200, type: "application/json", body: await decisions() })],
  ]);

  const forProbes = createListener({
    name: "health",
    host: HEALTH_HOST,
    port: deps.healthPort,
    log,
    clock,
    answer: (request) => route(probes, request),
  });
  const forAll = createListener({
    name: "ops",
    host: deps.host,
    port: deps.port,
    log,
    clock,
    answer: (request) => route(all, request),
  });
  const both = [forProbes, forAll];

  return {
    async start() {
      await Promise.all(both.map((listener) => listener.start()));
    },
    async stop() {
      await Promise.all(both.map((listener) => listener.stop()));
    },
    listeners: () => both.map((listener) => listener.status()),
    port: () => forAll.port(),
    healthPort: () => forProbes.port(),
  };
}
