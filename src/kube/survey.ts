/**
 * What is left of the API servers when the Lease cannot be renewed: every one is asked at once, with requests that it answers out of its own memory. Says
 * whether this node is cut off or the servers themselves are in trouble. Apart from the call rules: it changes nobody's order.
 */
import type { Clock } from "../clock.ts";
import type { ServerState } from "./store.ts";
import { ApiNoAnswer } from "./transport.ts";
import type { ApiRequest, ApiResponse, ApiTransport, NoAnswer, RequestReport } from "./transport.ts";

/**
 * A handler of kube-apiserver's that checks nothing. /livez itself asks etcd, for up to 2 s. RBAC lets an ordinary user see /livez and not what is below it:
 * the agent is answered 403, out of the server's memory too.
 */
const PING: ApiRequest = { method: "GET", path: "/livez/ping" };

export interface ApiSurvey {
  /** In the order of the API server list. */
  readonly servers: readonly { readonly server: string; readonly state: ServerState }[];
  /** What the cached reads were answered, whatever the status. */
  readonly answers: readonly ApiResponse[];
}

export interface SurveyDeps {
  readonly transport: ApiTransport;
  readonly clock: Clock;
  readonly onRequest?: (report: RequestReport) => void;
}

/** A timer that comes this much late means that this process stood still: the answers may lie in its sockets, and are read first. */
const LATE_MS = 100;

type Heard = { readonly kind: "answer"; readonly response: ApiResponse } | { readonly kind: "none"; readonly reason: NoAnswer };

/** Never rejects. Resolves within `timeoutMs`, unless this process stood still, when everything has been answered, refused or waited for. @param cachedPath of an object in the watch cache */
export async function surveyServers(deps: SurveyDeps, cachedPath: string, timeoutMs: number): Promise<ApiSurvey> {
  // 0 is "any version": served from the watch cache, which outlives etcd's quorum (1.36: by 34 s where the server's own member still runs, by 100 s and more where it does not).
  const cachedRead: ApiRequest = { method: "GET", path: `${cachedPath}?resourceVersion=0` };
  const heard = await Promise.all(
    deps.transport.servers().map(async (server) => {
      const [ping, cached] = await Promise.all([ask(deps, server, PING, timeoutMs), ask(deps, server, cachedRead, timeoutMs)]);
      return { server, state: stateOf([ping, cached]), cached };
    }),
  );
  return {
    servers: heard.map(({ server, state }) => ({ server, state })),
    answers: heard.flatMap(({ cached }) => (cached.kind === "answer" ? [cached.response] : [])),
  };
}

function ask({ transport, clock, onRequest }: SurveyDeps, server: string, request: ApiRequest, timeoutMs: number): Promise<Heard> {
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
    // Its own deadline must not come before the second look.
    transport.send(server, request, timeoutMs + 2 * LATE_MS).then(
      (response) => finish({ kind: "answer", response }),
      (error: unknown) => finish({ kind: "none", reason: error instanceof ApiNoAnswer ? error.reason : "silent" }),
    );
  });
}

/**
 * One answer is enough to be alive: a cached read that finds no cache waits for etcd. Refusing is only who refuses both; the rest counts as silent, which is
 * the cautious word: it may serve others. So does who fails in TLS (others may trust what we do not), and everybody while there are no credentials: nothing
 * was sent then, and nothing is known.
 */
function stateOf(heard: readonly Heard[]): ServerState {
  if (heard.some(({ kind }) => kind === "answer")) return "alive";
  return heard.every((one) => one.kind === "none" && one.reason === "refused") ? "refusing" : "silent";
}
