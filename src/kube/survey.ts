/**
 * Finds out what state the API servers are in when the Lease cannot be renewed. It asks each of them at once,
 * with requests that a server answers out of its own memory. The result tells whether this node is cut off or
 * the servers themselves are in trouble. A survey is separate from the call rules: it does not change the
 * order in which they ask the servers.
 */
import type { Clock } from "../clock.ts";
import type { ServerState } from "./store.ts";
import { ApiNoAnswer } from "./transport.ts";
import type { ApiRequest, ApiResponse, ApiTransport, NoAnswer, RequestReport } from "./transport.ts";

/**
 * A handler of kube-apiserver that checks nothing. /livez itself asks etcd, for up to 2 s. RBAC lets an
 * ordinary user read /livez, but nothing below it. So the agent gets a 403, which comes out of the server's
 * memory too.
 */
const PING: ApiRequest = { method: "GET", path: "/livez/ping" };

/** What a survey found, with the answers as they came. */
export interface ApiSurvey {
  /** The servers in the order of the API server list. */
  readonly servers: readonly { readonly server: string; readonly state: ServerState }[];
  /** The answers to the cached reads, whatever the status. */
  readonly answers: readonly ApiResponse[];
}

export interface SurveyDeps {
  readonly transport: ApiTransport;
  readonly clock: Clock;
  readonly onRequest?: (report: RequestReport) => void;
}

/**
 * A timer that fires this late means that this process stood still. The answers may wait in its sockets and
 * are read first.
 */
const LATE_MS = 100;

type Heard =
  | { readonly kind: "answer"; readonly response: ApiResponse }
  | { readonly kind: "none"; readonly reason: NoAnswer };

/**
 * Asks every API server for its state and for its cached Lease. Never rejects. Resolves when every request
 * has been answered, has been refused or has timed out. That is within `timeoutMs`, unless this process stood
 * still.
 * @param cachedPath path of an object in the watch cache
 */
export async function surveyServers(
  deps: SurveyDeps,
  cachedPath: string,
  timeoutMs: number,
): Promise<ApiSurvey> {
  // 0 means "any version": it is served from the watch cache, which outlives etcd's quorum. With
  // kube-apiserver 1.36 it does so by 34 s while the server's own etcd member still runs, and by 100 s and
  // more if that member does not run.
  const cachedRead: ApiRequest = { method: "GET", path: `${cachedPath}?resourceVersion=0` };
  const heard = await Promise.all(
    deps.transport.servers().map(async (server) => {
      const [ping, cached] = await Promise.all([
        ask(deps, server, PING, timeoutMs),
        ask(deps, server, cachedRead, timeoutMs),
      ]);
      return { server, state: stateOf([ping, cached]), cached };
    }),
  );
  return {
    servers: heard.map(({ server, state }) => ({ server, state })),
    answers: heard.flatMap(({ cached }) => (cached.kind === "answer" ? [cached.response] : [])),
  };
}

function ask(
  { transport, clock, onRequest }: SurveyDeps,
  server: string,
  request: ApiRequest,
  timeoutMs: number,
): Promise<Heard> {
  const startMs = clock.now();
  return new Promise((resolve) => {
    const silent = (): void => resolve({ kind: "none", reason: "silent" });
    let guard = clock.after(timeoutMs, () => {
      if (clock.now() < startMs + timeoutMs + LATE_MS) silent();
      else guard = clock.after(LATE_MS, silent);
    });
    const finish = (heard: Heard): void => {
      guard.cancel();
      const code = heard.kind === "answer" ? heard.response.status : heard.reason;
      onRequest?.({ server, verb: request.method, code, durationMs: clock.now() - startMs });
      resolve(heard);
    };
    // The transport's own deadline must not come before the second look.
    transport.send(server, request, timeoutMs + 2 * LATE_MS).then(
      (response) => finish({ kind: "answer", response }),
      (error: unknown) =>
        finish({ kind: "none", reason: error instanceof ApiNoAnswer ? error.reason : "silent" }),
    );
  });
}

/**
 * Derives a server's state. One answer is enough to be `alive`, because a cached read that finds no cache
 * waits for etcd. A server is `refusing` only if it refused both requests. Anything else counts as `silent`,
 * which is the cautious reading: the server may still serve other nodes. `silent` includes a server that
 * fails in TLS, since other nodes may trust a CA that we do not. It also includes every server while there
 * are no credentials, since nothing was sent and nothing is known.
 */
function stateOf(heard: readonly Heard[]): ServerState {
  if (heard.some(({ kind }) => kind === "answer")) return "alive";
  return heard.every((one) => one.kind === "none" && one.reason === "refused") ? "refusing" : "silent";
}
