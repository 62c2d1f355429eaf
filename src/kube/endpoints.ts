/**
 * Finds the API servers in the EndpointSlices of the `kubernetes` Service, into which every kube-apiserver
 * writes its own address. The list is polled: a watch would be one more connection for a list that changes
 * only when a node is added.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";
import { parseIp } from "../net.ts";
import type { HostPort } from "../net.ts";
import type { ApiClient } from "./api.ts";
import { isObject, statusMessage } from "./record-codec.ts";
import type { NoAnswer } from "./transport.ts";

const PATH =
  "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes";
const POLL_MS = 10_000;
/** Poll interval until the first answer that names an API server. */
const FIRST_POLL_MS = 1000;
const TIMEOUT_MS = 5000;
/** No control plane has this many servers. The limit keeps a broken list from flooding the pool. */
const MAX_SERVERS = 64;

export interface EndpointsDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * Called with every list that differs from the one before. The list is never empty: an API that names no
   * server is wrong.
   */
  readonly onServers: (servers: readonly HostPort[]) => void;
  /** Called with every list that the API answers, whether it has changed or not. It may be empty. */
  readonly onAnswer?: (servers: readonly HostPort[]) => void;
}

/** What the last request for the list of API servers has found. */
export type Discovery =
  /** No request has been answered or has failed yet. */
  | { readonly kind: "asking" }
  | { readonly kind: "found" }
  /** The EndpointSlices of the Service name no API server. */
  | { readonly kind: "none" }
  | { readonly kind: "refused"; readonly server: string; readonly status: number; readonly message: string }
  | { readonly kind: "no-answer"; readonly reason: NoAnswer; readonly message: string };

/** A running poll of the EndpointSlices. */
export interface Endpoints {
  discovery(): Discovery;
  close(): void;
}

/** Starts to poll the EndpointSlices: every second until a list names a server, then every 10 s. */
export function watchEndpoints(deps: EndpointsDeps): Endpoints {
  const { api, clock, log } = deps;
  let closed = false;
  let discovery: Discovery = { kind: "asking" };
  let timer: Timer | undefined;
  let last = "";
  let refused: number | undefined;

  async function poll(): Promise<void> {
    const outcome = await api.call({ method: "GET", path: PATH }, TIMEOUT_MS);
    if (closed) return;
    timer = clock.after(POLL_MS, () => void poll());
    if (outcome.kind === "no-answer") {
      discovery = { kind: "no-answer", reason: outcome.reason, message: outcome.message };
    } else if (outcome.response.status === 200) {
      refused = undefined;
      const servers = parseEndpointSlices(outcome.response.body);
      discovery = { kind: servers.length > 0 ? "found" : "none" };
      const text = JSON.stringify(servers);
      if (servers.length > 0 && text !== last) {
        last = text;
        deps.onServers(servers);
      }
      deps.onAnswer?.(servers);
    } else {
      const { server, status, body } = outcome.response;
      discovery = { kind: "refused", server, status, message: statusMessage(body) };
      if (status !== refused)
        log.warn(
          { server, status, message: statusMessage(body) },
          "The API servers cannot be discovered, using the known and the configured ones",
        );
      refused = status;
    }
    if (last === "") {
      timer.cancel();
      timer = clock.after(FIRST_POLL_MS, () => void poll());
    }
  }

  void poll();
  return {
    discovery: () => discovery,
    close() {
      closed = true;
      timer?.cancel();
    },
  };
}

/**
 * Asks once for the API servers that the cluster names.
 * @returns the servers, or why they are not known, in the API's words
 */
export async function readApiServers(
  api: Pick<ApiClient, "call">,
): Promise<
  | { readonly kind: "ok"; readonly servers: readonly HostPort[] }
  | { readonly kind: "failed"; readonly message: string }
> {
  const outcome = await api.call({ method: "GET", path: PATH }, TIMEOUT_MS);
  if (outcome.kind === "no-answer") return { kind: "failed", message: outcome.message };
  const { server, status, body } = outcome.response;
  if (status === 200) return { kind: "ok", servers: parseEndpointSlices(body) };
  return { kind: "failed", message: `${server} answered ${status}: ${statusMessage(body)}` };
}

/**
 * Parses the numeric addresses of both families, sorted so that another order of the same answer is no
 * change. The `ready` condition is ignored: our own health checks find out sooner.
 */
export function parseEndpointSlices(body: unknown): readonly HostPort[] {
  const found = new Map<string, HostPort>();
  for (const slice of list(isObject(body) ? body["items"] : undefined)) {
    if (!isObject(slice)) continue;
    const port = httpsPort(slice["ports"]);
    if (port === undefined) continue;
    for (const endpoint of list(slice["endpoints"])) {
      for (const text of list(isObject(endpoint) ? endpoint["addresses"] : undefined)) {
        const address = typeof text === "string" ? parseIp(text) : undefined;
        if (address === undefined || !isUnicast(address.bytes)) continue;
        if (found.size < MAX_SERVERS) found.set(`${address.text} ${port}`, { host: address.text, port });
      }
    }
  }
  return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, server]) => server);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Returns the port named "https", as kube-apiserver names it, or else the only port. */
function httpsPort(ports: unknown): number | undefined {
  const objects = list(ports).filter(isObject);
  const port =
    objects.find((each) => each["name"] === "https") ?? (objects.length === 1 ? objects[0] : undefined);
  const number = port?.["port"];
  return typeof number === "number" && Number.isInteger(number) && number >= 1 && number <= 65_535
    ? number
    : undefined;
}

/** Tells whether another node could have this address: it is not unspecified, loopback or multicast. */
function isUnicast(bytes: Uint8Array): boolean {
  const first = bytes[0] ?? 0;
  if (bytes.length === 4) return first !== 0 && first !== 127 && first < 224;
  return first !== 0xff && bytes.subarray(0, 15).some((byte) => byte !== 0);
}
