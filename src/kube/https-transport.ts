/**
 * Implements `ApiTransport` over HTTPS. It keeps TLS connections for each API server and set of credentials
 * (`connections.ts`), one deadline per try that covers everything, and gives an exact reason for every failure. See
 * docs/adr/0002-transport-under-client-node.md.
 */
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { parseServer } from "../net.ts";
import { Connections } from "./connections.ts";
import type { Exchange } from "./connections.ts";
import type { Credentials } from "./credentials.ts";
import type { ClientCredentials } from "./kubeconfig.ts";
import { noAnswerReason, nobodyListens, tlsTrouble } from "./no-answer.ts";
import { plainText } from "./plain-text.ts";
import { createTrust } from "./trust.ts";
import type { Doubt } from "./trust.ts";
import { openWatch, parseBody } from "./watch-stream.ts";
import type { WatchEnd } from "./watch-stream.ts";
import { ApiNoAnswer } from "./transport.ts";
import type { ApiRequest, ApiResponse, ApiTransport, WatchHandlers } from "./transport.ts";

/** A Lease takes a few kilobytes, and so does the EndpointSlice of the API servers. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const NO_KUBECONFIG = "there is no usable kubeconfig";

export interface HttpsTransportDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly credentials: Pick<Credentials, "usable" | "rejected" | "accepted" | "proved" | "mayTryOther">;
  /** Returns the API server list, see {@link ApiTransport.servers}. */
  readonly servers: () => readonly string[];
  readonly userAgent: string;
}

/** A transport whose connections can be closed. */
export interface HttpsTransport extends ApiTransport {
  /** Ends every connection and every request. */
  close(): void;
}

/** Creates a transport without connections. They are opened when they are needed. */
export function createHttpsTransport(deps: HttpsTransportDeps): HttpsTransport {
  const { clock, credentials } = deps;
  const trust = createTrust(deps);
  const pools = new Map<string, Connections>();
  let closed = false;

  /** @throws {TypeError} for a server that is no address with a port */
  function connectionsTo(server: string, used: ClientCredentials): Connections {
    const key = `${server} ${used.fingerprint}`;
    const known = pools.get(key);
    if (known !== undefined) return known;
    retire(key);
    const address = parseServer(server);
    if (address === undefined) throw new TypeError(`${server} is no address with a port`);
    const made = new Connections(clock, address, used);
    pools.set(key, made);
    return made;
  }

  /** Closes the connections of servers and credentials that no longer exist, once their requests have ended. */
  function retire(except: string): void {
    const servers = new Set(deps.servers());
    const fingerprints = new Set(credentials.usable().map((each) => each.fingerprint));
    for (const [key, connections] of pools) {
      const [server = "", fingerprint = ""] = key.split(" ");
      if (key === except || (servers.has(server) && fingerprints.has(fingerprint))) continue;
      pools.delete(key);
      connections.retire();
    }
  }

  function headersFor(
    used: ClientCredentials,
    request: Pick<ApiRequest, "contentType" | "body">,
  ): Record<string, string> {
    return {
      accept: "application/json",
      "user-agent": deps.userAgent,
      ...(used.token === undefined ? {} : { authorization: `Bearer ${used.token}` }),
      ...(request.body === undefined ? {} : { "content-type": request.contentType ?? "application/json" }),
    };
  }

  /** Makes one exchange with one set of credentials. Never rejects. */
  function exchange(
    server: string,
    used: ClientCredentials,
    request: ApiRequest,
    timeoutMs: number,
  ): Promise<Exchanged> {
    return new Promise((resolve) => {
      let settled = false;
      let sent = false;
      let status = 0;
      let length = 0;
      const chunks: Buffer[] = [];
      const fail = (error: ApiNoAnswer): void => {
        if (settled) return;
        settled = true;
        deadline.cancel();
        resolve({
          kind: "none",
          error,
          doubt: doubtOf(error, { used, heard: status > 0, read: request.method === "GET" }),
        });
        // A request that waits for a connection is never sent then.
        call.abort();
      };
      const deadline = clock.after(timeoutMs, () =>
        fail(
          new ApiNoAnswer(server, "silent", sent, `${server}: no answer within ${Math.round(timeoutMs)} ms`),
        ),
      );
      const call: Exchange = connectionsTo(server, used).request(
        {
          method: request.method,
          path: request.path,
          headers: headersFor(used, request),
          body: request.body === undefined ? undefined : JSON.stringify(request.body),
        },
        {
          onSent: () => void (sent = true),
          onStatus: (code) => void (status = code),
          onData(chunk) {
            length += chunk.length;
            if (length <= MAX_BODY_BYTES) {
              chunks.push(chunk);
              return;
            }
            const tooLong = `${server}: its answer exceeds ${MAX_BODY_BYTES} bytes`;
            fail(new ApiNoAnswer(server, "refused", true, tooLong));
          },
          onEnd() {
            if (settled) return;
            settled = true;
            deadline.cancel();
            const user = used.user === undefined ? {} : { user: used.user };
            resolve({
              kind: "answer",
              response: { server, status, body: parseBody(Buffer.concat(chunks)), ...user },
            });
          },
          onError: (error) =>
            fail(
              new ApiNoAnswer(server, noAnswerReason(error), sent, `${server}: ${plainText(error.message)}`, {
                cause: error,
              }),
            ),
        },
      );
    });
  }

  /** Tells whether the other credentials may be tried after this failure. Call it once for each doubt. */
  const mayBeTheirs = (server: string, doubt: Doubt): boolean =>
    trust.mayBeTheirs(server, doubt) && credentials.mayTryOther(doubt.used, doubt.kind);

  /**
   * Records what the status says of the credentials.
   * @returns "other": the other ones may be tried
   */
  function judge(
    server: string,
    used: ClientCredentials,
    { status, path }: { readonly status: number; readonly path: string },
    doubts: readonly Doubt[],
  ): "taken" | "refused" | "other" {
    const turnedAway = isTurnedAway(status, path);
    trust.answered(server, used, turnedAway ? status : undefined, doubts);
    if (isProof(status, path)) credentials.proved(used);
    if (!turnedAway) return "taken";
    return credentials.mayTryOther(used, status) ? "other" : "refused";
  }

  /**
   * Tries the usable credentials one after the other until the server takes one: if it refuses one, our own
   * file may be at fault.
   */
  async function send(server: string, request: ApiRequest, timeoutMs: number): Promise<ApiResponse> {
    const endMs = clock.now() + timeoutMs;
    const doubts: Doubt[] = [];
    let turnedAway: ApiResponse | undefined;
    let failure: ApiNoAnswer | undefined;
    for (const used of closed ? [] : credentials.usable()) {
      const leftMs = endMs - clock.now();
      if ((turnedAway !== undefined || failure !== undefined) && leftMs <= 0) break;
      const exchanged = await exchange(server, used, request, leftMs);
      if (exchanged.kind === "answer") {
        const { response } = exchanged;
        const verdict = judge(server, used, { status: response.status, path: request.path }, doubts);
        if (verdict === "taken") return response;
        turnedAway ??= response;
        if (verdict === "refused") break;
        continue;
      }
      failure ??= exchanged.error;
      if (exchanged.doubt === undefined) break;
      doubts.push(exchanged.doubt);
      if (!mayBeTheirs(server, exchanged.doubt)) break;
    }
    trust.undecided(server, doubts);
    if (turnedAway !== undefined) return turnedAway;
    throw failure ?? new ApiNoAnswer(server, "credentials", false, closed ? "closed" : NO_KUBECONFIG);
  }

  function watch(server: string, path: string, handlers: WatchHandlers): { close(): void } {
    const candidates = closed ? [] : credentials.usable();
    const streams: { close(): void }[] = [];
    const doubts: Doubt[] = [];
    let first: WatchEnd | undefined;
    let over = false;
    let verdict: ReturnType<typeof judge> = "taken";

    function open(index: number): void {
      const used = candidates[index];
      if (used === undefined) return end(first ?? { kind: "error", message: NO_KUBECONFIG });
      streams.push(
        openWatch(server, {
          clock,
          request: (handlers) =>
            connectionsTo(server, used).request(
              { method: "GET", path, headers: headersFor(used, {}) },
              handlers,
            ),
          onAnswer(status) {
            verdict = judge(server, used, { status, path }, doubts.splice(0));
          },
          onEvent: (type, object) => handlers.onEvent(type, object),
          onEnd(reason, error) {
            first ??= reason;
            if (reason.kind === "status" && verdict === "other") return open(index + 1);
            const doubt =
              error === undefined ? undefined : doubtOf(error, { used, heard: false, read: true });
            if (doubt === undefined) return end(reason);
            doubts.push(doubt);
            if (mayBeTheirs(server, doubt)) open(index + 1);
            else end(reason);
          },
        }),
      );
      // A callback may have closed the watch meanwhile.
      if (over) close();
    }

    function end(reason: WatchEnd): void {
      if (over) return;
      over = true;
      trust.undecided(server, doubts);
      handlers.onEnd(reason);
    }

    function close(): void {
      over = true;
      for (const stream of streams) stream.close();
    }

    open(0);
    return { close };
  }

  return {
    servers: deps.servers,
    send,
    watch(server, path, handlers) {
      if (!closed && credentials.usable().length > 0) return watch(server, path, handlers);
      const soon = clock.after(0, () => handlers.onEnd({ kind: "error", message: NO_KUBECONFIG }));
      return { close: () => soon.cancel() };
    },
    close() {
      closed = true;
      const open = [...pools.values()];
      pools.clear();
      for (const connections of open) connections.close(new Error("closed"));
    },
  };
}

type Exchanged =
  | { readonly kind: "answer"; readonly response: ApiResponse }
  | { readonly kind: "none"; readonly error: ApiNoAnswer; readonly doubt: Doubt | undefined };

/**
 * Returns the doubt that this failure casts on the credentials, if any. Every TLS failure casts doubt: the CA
 * may be an old one, or the name or the client's certificate wrong. So does a connection that ends where TLS
 * or the answer should have begun, for two reasons. Not every server says that it refuses a client's
 * certificate. With TLS 1.3 a server says so only after the client's handshake, and its alert may be lost in
 * the reset. There is one exception: a write that was sent may have been carried out, and is not sent twice.
 */
function doubtOf(
  error: ApiNoAnswer,
  seen: { readonly used: ClientCredentials; readonly heard: boolean; readonly read: boolean },
): Doubt | undefined {
  const { used, heard, read } = seen;
  const trouble = tlsTrouble(error.cause);
  if (trouble !== undefined) return { kind: "tls", used, reason: trouble };
  if (
    error.cause === undefined ||
    error.reason !== "refused" ||
    heard ||
    (error.sent && !read) ||
    nobodyListens(error.cause)
  )
    return undefined;
  return { kind: "reset", used, reason: "the server ends the connection instead of answering" };
}

const LEASES = "/apis/coordination.k8s.io/";

/**
 * Tells whether the answer condemns the credentials. 401 is about the user, so it does. 403 is about one
 * request, so it does only for the Lease, without which the agent is of no use. A missing right to write
 * Events is no reason to use admin.conf.
 */
function isTurnedAway(status: number, path: string): boolean {
  return status === 401 || (status === 403 && path.startsWith(LEASES));
}

/** Tells whether the answer proves that the user may use the Lease. The API answers 404 after it has allowed it. */
function isProof(status: number, path: string): boolean {
  return path.startsWith(LEASES) && ((status >= 200 && status < 300) || status === 404 || status === 409);
}
