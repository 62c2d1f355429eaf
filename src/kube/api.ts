/**
 * The rules for calling the servers of the API server list. A call asks this node's own server first. It asks
 * the next one at once after an error, and after 500 ms without an answer. No request is cancelled before the
 * deadline, and the first success counts. So a server that is dead, hung or 2 s slow costs half a second
 * once.
 *
 * When all have been asked and some are silent, all are asked once more. Those that refused the connection or
 * the request are asked at the same time, because they may have been started meanwhile, and the silent ones
 * 500 ms apart. A write is lost that an etcd member has passed on to a leader which is dead already, and its
 * API server finds that out only after etcd's 7 s. The same write succeeds as soon as etcd has another
 * leader, 1 to 2 s after the death. Every write of this agent may be carried out twice.
 *
 * The clock and the transport are the only sources of asynchrony here.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import { surveyServers } from "./survey.ts";
import type { ApiSurvey } from "./survey.ts";
import { ApiNoAnswer } from "./transport.ts";
import type {
  ApiRequest,
  ApiResponse,
  ApiTransport,
  NoAnswer,
  RequestReport,
  WatchHandlers,
} from "./transport.ts";

/** A request that has no answer after this long is sent to the next server as well. */
const HEDGE_MS = 500;
/** Servers are asked again this long after the first one was asked, at the earliest. */
const AGAIN_MS = 1000;
/**
 * A silent or slow server is asked last for this long. A server that refuses keeps its place: its refusal
 * costs nothing.
 */
const SUSPECT_MS = 5000;

/** What came of a call: the answer that counts, or why there was none before the deadline. */
export type CallOutcome =
  | {
      readonly kind: "answer";
      readonly response: ApiResponse;
      /** True if another try of this request may have been carried out, or may still be. */
      readonly uncertain: boolean;
    }
  | {
      readonly kind: "no-answer";
      readonly reason: NoAnswer;
      readonly uncertain: boolean;
      readonly message: string;
    };

/** A client of the API server list, which applies the rules above. */
export interface ApiClient {
  /**
   * Sends the request by the rules above. Never rejects. Resolves within `timeoutMs`.
   * @param urgent asks all servers at once, for a request that must not wait 500 ms for a silent server
   */
  call(request: ApiRequest, timeoutMs: number, urgent?: boolean): Promise<CallOutcome>;
  /** Asks every server what state it is in, see {@link surveyServers}. */
  survey(cachedPath: string, timeoutMs: number): Promise<ApiSurvey>;
  /**
   * Watches at the best server until the stream ends, fails, or sends nothing for `silentMs`. A silent stream
   * ends with an error. The caller opens the next one, which goes to another server after a failure.
   */
  watch(path: string, silentMs: number, handlers: WatchHandlers): { close(): void };
}

export interface ApiClientDeps {
  readonly transport: ApiTransport;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onRequest?: (report: RequestReport) => void;
}

/** Creates a client. It remembers for 5 s which servers were slow or silent. */
export function createApiClient(deps: ApiClientDeps): ApiClient {
  const { transport, clock, log } = deps;
  const slow = new Map<string, number>();
  const badWatch = new Map<string, number>();

  function ordered(suspects: Map<string, number>): readonly string[] {
    const nowMs = clock.now();
    const servers = transport.servers();
    for (const [server, untilMs] of suspects) {
      if (untilMs <= nowMs || !servers.includes(server)) suspects.delete(server);
    }
    return [
      ...servers.filter((server) => !suspects.has(server)),
      ...servers.filter((server) => suspects.has(server)),
    ];
  }

  function suspect(server: string): void {
    if (!slow.has(server))
      log.debug({ server }, "The API server is slow or silent, asking it last for a while");
    slow.set(server, clock.now() + SUSPECT_MS);
  }

  return {
    call(request, timeoutMs, urgent = false) {
      return new Promise((resolve) => {
        const sound = (server: string): void => void slow.delete(server);
        new Call(request, ordered(slow), { ...deps, suspect, sound, resolve }).start(timeoutMs, urgent);
      });
    },

    survey: (cachedPath, timeoutMs) => surveyServers(deps, cachedPath, timeoutMs),

    watch(path, silentMs, handlers) {
      const server = ordered(badWatch).find((candidate) => !slow.has(candidate)) ?? ordered(badWatch)[0];
      let open = true;
      let stream: { close(): void } | undefined;
      let silence: Timer | undefined;
      const startMs = clock.now();
      const end = (reason: Parameters<WatchHandlers["onEnd"]>[0]): void => {
        if (!open) return;
        open = false;
        silence?.cancel();
        stream?.close();
        if (server !== undefined) {
          const code = reason.kind === "status" ? reason.status : reason.kind === "end" ? "end" : "silent";
          deps.onRequest?.({ server, verb: "WATCH", code, durationMs: clock.now() - startMs });
          if (reason.kind === "error") badWatch.set(server, clock.now() + SUSPECT_MS);
        }
        handlers.onEnd(reason);
      };
      const listen = (): void => {
        silence?.cancel();
        silence = clock.after(silentMs, () => end({ kind: "error", message: `no event for ${silentMs} ms` }));
      };
      if (server === undefined) {
        silence = clock.after(0, () => end({ kind: "error", message: "no API server is known" }));
      } else {
        listen();
        stream = transport.watch(server, path, {
          onEvent: (type, object) => {
            if (!open) return;
            listen();
            handlers.onEvent(type, object);
          },
          onEnd: end,
        });
        // The transport may have ended the stream before it returned it.
        if (!open) stream.close();
      }
      return {
        close: () => {
          if (!open) return;
          open = false;
          silence?.cancel();
          stream?.close();
        },
      };
    },
  };
}

interface CallDeps extends ApiClientDeps {
  readonly suspect: (server: string) => void;
  readonly sound: (server: string) => void;
  readonly resolve: (outcome: CallOutcome) => void;
}

/** One try: a server, and when it was asked. */
interface Try {
  readonly server: string;
  readonly atMs: number;
}

/** One request, which is sent to one server after the other. */
class Call {
  readonly #request: ApiRequest;
  readonly #deps: CallDeps;
  readonly #waiting: string[];
  /** The tries that have no answer yet. A server that was asked twice may have two. */
  readonly #asked = new Set<Try>();
  /** The servers that have answered, and not in a way that counts. */
  readonly #refused = new Set<string>();
  #askedAgain = false;
  #startMs = 0;
  #endMs = 0;
  #guard: Timer | undefined;
  #hedge: Timer | undefined;
  #settled = false;
  #uncertain = false;
  #remembered: ApiResponse | undefined;
  #failure: ApiNoAnswer | undefined;

  constructor(request: ApiRequest, servers: readonly string[], deps: CallDeps) {
    this.#request = request;
    this.#deps = deps;
    this.#waiting = [...servers];
  }

  start(timeoutMs: number, urgent: boolean): void {
    const { clock } = this.#deps;
    this.#startMs = clock.now();
    this.#endMs = this.#startMs + timeoutMs;
    // The transport has the same deadline. This timer keeps the promise even if the transport is late.
    this.#guard = clock.after(timeoutMs, () => this.#giveUp());
    const atOnce = urgent ? Math.max(1, this.#waiting.length) : 1;
    for (let asked = 0; asked < atOnce; asked++) this.#next();
  }

  /** The server that was asked last has been silent for a while. */
  #hedged(): void {
    const { clock } = this.#deps;
    if (this.#waiting.length === 0 && !this.#askedAgain) {
      const againMs = this.#startMs + AGAIN_MS - clock.now();
      if (againMs > 0) {
        this.#hedge = clock.after(againMs, () => this.#hedged());
        return;
      }
      this.#askedAgain = true;
      this.#waiting.push(...this.#silent());
      // One that was down may be starting, and would keep the others waiting.
      for (const server of this.#refused) this.#ask({ server, atMs: clock.now() });
    }
    this.#next();
  }

  /** The servers that have not answered yet, in the order in which they were asked. */
  #silent(): readonly string[] {
    return [...new Set(Array.from(this.#asked, ({ server }) => server))];
  }

  #next(): void {
    if (this.#settled) return;
    const nowMs = this.#deps.clock.now();
    const server = nowMs < this.#endMs ? this.#waiting.shift() : undefined;
    if (server !== undefined) this.#ask({ server, atMs: nowMs });
    else if (this.#asked.size === 0) this.#giveUp();
  }

  #ask(one: Try): void {
    const { clock, transport } = this.#deps;
    this.#asked.add(one);
    this.#hedge?.cancel();
    this.#hedge = clock.after(HEDGE_MS, () => this.#hedged());
    transport.send(one.server, this.#request, this.#endMs - one.atMs).then(
      (response) => this.#answered(one, response),
      (error: unknown) => this.#failed(one, error),
    );
  }

  #answered(one: Try, response: ApiResponse): void {
    const { server } = one;
    this.#asked.delete(one);
    const durationMs = this.#deps.clock.now() - one.atMs;
    this.#deps.onRequest?.({ server, verb: this.#request.method, code: response.status, durationMs });
    if (durationMs < HEDGE_MS) this.#deps.sound(server);
    if (this.#settled) return;
    if (isFinal(response.status)) {
      for (const other of this.#asked) {
        if (this.#deps.clock.now() - other.atMs >= HEDGE_MS) this.#deps.suspect(other.server);
      }
      this.#settle({ kind: "answer", response, uncertain: this.#uncertain || this.#asked.size > 0 });
      return;
    }
    // A server that gave up waiting for etcd may answer 5xx: the write may still be carried out.
    if (response.status >= 500) this.#uncertain = true;
    this.#remembered ??= response;
    this.#refused.add(server);
    this.#next();
  }

  #failed(one: Try, error: unknown): void {
    const { server } = one;
    this.#asked.delete(one);
    const failure =
      error instanceof ApiNoAnswer
        ? error
        : new ApiNoAnswer(server, "silent", true, `unexpected: ${String(error)}`, { cause: error });
    const durationMs = this.#deps.clock.now() - one.atMs;
    this.#deps.onRequest?.({ server, verb: this.#request.method, code: failure.reason, durationMs });
    if (failure.reason === "silent" || failure.reason === "tls") this.#deps.suspect(server);
    if (this.#settled) return;
    if (failure.sent) this.#uncertain = true;
    if (failure.reason === "refused") this.#refused.add(server);
    this.#failure = failure;
    // Every server would refuse our credentials in the same way.
    if (failure.reason === "credentials") this.#waiting.length = 0;
    this.#next();
  }

  #giveUp(): void {
    if (this.#settled) return;
    const uncertain = this.#uncertain || this.#asked.size > 0;
    if (this.#remembered !== undefined) {
      this.#settle({ kind: "answer", response: this.#remembered, uncertain });
      return;
    }
    for (const server of this.#silent()) this.#deps.suspect(server);
    const message =
      this.#failure?.message ??
      (this.#asked.size > 0 ? "no answer before the deadline" : "no API server is known");
    const reason = this.#asked.size > 0 ? "silent" : (this.#failure?.reason ?? "silent");
    this.#settle({ kind: "no-answer", reason, uncertain, message });
  }

  #settle(outcome: CallOutcome): void {
    this.#settled = true;
    this.#hedge?.cancel();
    this.#guard?.cancel();
    this.#deps.resolve(outcome);
  }
}

/**
 * Tells whether the answer is one that another server would only repeat. 429 and 5xx are one server's own
 * trouble. So may be 401 and 403: a server that has just started does not know the RBAC objects or the new CA
 * yet.
 */
function isFinal(status: number): boolean {
  return status < 500 && status !== 401 && status !== 403 && status !== 429;
}
