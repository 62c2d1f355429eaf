/**
 * Says why this agent has no API server to send connections to, in words that an operator can act on, and
 * repeats it in the log.
 */
import type { BackendStatus } from "../backends/backend.ts";
import type { Clock } from "../clock.ts";
import { unnamedError } from "../backends/sources.ts";
import type { Unnamed } from "../backends/sources.ts";
import type { Discovery } from "../kube/endpoints.ts";
import type { Logger } from "../log.ts";
import { repeatWarning } from "./repeat.ts";

export interface BackendFacts {
  readonly backends: readonly BackendStatus[];
  /**
   * undefined while the cluster has not been asked: LEASEHOLD_BACKENDS is the whole list, or the agent has
   * just started.
   */
  readonly discovery: Discovery | undefined;
  /** API servers, as `ip:port`, that can name the others. */
  readonly apiServers: readonly string[];
  /** What is wrong with the kubeconfigs; null when one is good. */
  readonly credentials: string | null;
  readonly role: "control-plane" | "balancer";
}

/** Most backends that are named. More would hide the first, and no control plane has so many. */
const MAX_NAMED = 5;

/**
 * Returns one sentence; null while a backend is UP, and while the first check or the first question is still
 * under way. Pure.
 */
export function whyNoBackend(facts: BackendFacts): string | null {
  const { backends } = facts;
  if (backends.some(({ grade }) => grade === "UP")) return null;
  const unknown = whyUndiscovered(facts);
  if (backends.length === 0) return unknown === null ? null : `no API server is known: ${unknown}`;
  if (unknown === null && backends.every(({ grade }) => grade === "UNKNOWN")) return null;
  const named = backends
    .slice(0, MAX_NAMED)
    .map(({ id, grade, reason }) => `${id} ${grade}${reason === "" ? "" : ` (${reason})`}`);
  const rest = backends.length > MAX_NAMED ? ` and ${backends.length - MAX_NAMED} more` : "";
  return `no backend is UP: ${named.join(", ")}${rest}${unknown === null ? "" : `; others cannot be found: ${unknown}`}`;
}

function whyUndiscovered({ discovery, apiServers, credentials, role }: BackendFacts): string | null {
  if (discovery === undefined) return null;
  switch (discovery.kind) {
    case "asking":
    case "found":
      return null;
    case "none":
      return "the EndpointSlices of the Service default/kubernetes name no address; each kube-apiserver writes its own into them";
    case "refused":
      return `${discovery.server} answered ${discovery.status}${discovery.message === "" ? "" : ` (${discovery.message})`}; ${advice(discovery.status, role)}`;
    case "no-answer":
      if (discovery.reason === "credentials")
        return `there are no credentials: ${credentials ?? discovery.message}`;
      if (apiServers.length === 0)
        return "there is nobody to ask; set LEASEHOLD_VIP, LEASEHOLD_API_SERVERS or LEASEHOLD_BACKENDS";
      return `${apiServers.slice(0, MAX_NAMED).join(", ")} did not answer (${discovery.message})`;
  }
}

function advice(status: number, role: BackendFacts["role"]): string {
  if (status === 401) return "the kubeconfig is of another cluster, or its certificate has ended";
  if (status === 403)
    return role === "balancer" ? "apply manifests/worker-rbac.yaml" : "apply manifests/rbac.yaml";
  return "see the log of that API server";
}

/** A list that is a few polls old says nothing: an API server that has just started is not named yet. */
const UNNAMED_MS = 30_000;

/** Warns repeatedly while something is wrong with the API servers that are known, and logs when that is over. */
export function reportBackends(deps: {
  readonly clock: Pick<Clock, "every" | "now">;
  readonly log: Logger;
  readonly why: () => string | null;
  readonly unnamed: () => Unnamed | null;
}): { close(): void } {
  const { clock, log } = deps;
  let namedMs = clock.now();
  const reports = [
    repeatWarning({
      clock,
      look: deps.why,
      warn: (reason) => log.warn({ reason }, "No API server to send connections to"),
      over: () => log.info({}, "An API server takes connections again"),
    }),
    repeatWarning({
      clock,
      look() {
        const found = deps.unnamed();
        if (found === null) namedMs = clock.now();
        return found !== null && clock.now() < namedMs + UNNAMED_MS ? undefined : found;
      },
      warn({ named, servers }) {
        const error = unnamedError({ named, servers });
        log.warn(
          { err: error, code: error.code, hint: error.hint, named, servers },
          "The cluster does not name the API servers by their nodes' addresses, so the agent uses those of the Lease",
        );
      },
      over: () => log.info({}, "The cluster names the API servers by their nodes' addresses now"),
    }),
  ];
  return { close: () => reports.forEach((report) => report.close()) };
}
