/**
 * Says whether this agent is healthy. Pure: it takes a status and returns verdicts. Liveness never depends on
 * an API server: in an outage kubelet would restart every agent just when it is needed.
 */
import type { ElectionStatus } from "../election/status.ts";
import { hasVip } from "../election/states.ts";
import type { VipStatus } from "../vip/status.ts";
import type { AgentStatus, ListenerStatus } from "./status.ts";

export interface HealthCheck {
  readonly name: string;
  readonly ok: boolean;
  /** Why the check failed; "" when ok. */
  readonly detail: string;
}

/**
 * Milliseconds of silence after which kubelet may restart the agent. The agent itself restarts the worker
 * long before, so this means that the restart has failed.
 */
const DEAD_WORKER_MS = 30_000;
/**
 * Milliseconds after the fence deadline. The kernel removes the VIP at most 4 s after its last refresh, so an
 * agent that still shows it bound no longer runs its loop.
 */
const STUCK_FENCE_MS = 5_000;

const passed = (name: string): HealthCheck => ({ name, ok: true, detail: "" });
const failed = (name: string, detail: string): HealthCheck => ({ name, ok: false, detail });
const check = (name: string, ok: boolean, detail: string): HealthCheck =>
  ok ? passed(name) : failed(name, detail);

function fence(vip: VipStatus): HealthCheck {
  const overdueMs = -(vip.validForMs ?? 0);
  const bound = vip.addresses.some((address) => address.bound);
  return check(
    "fence",
    !(bound && overdueMs > STUCK_FENCE_MS),
    `the VIP is bound ${Math.round(overdueMs)} ms after the right to it ended`,
  );
}

/** Checks that the loops turn. An answer by itself shows that the main one does. */
export function liveness(status: AgentStatus): readonly HealthCheck[] {
  const { heartbeatAgeMs } = status.balancer;
  return [
    passed("ping"),
    check(
      "worker",
      heartbeatAgeMs <= DEAD_WORKER_MS,
      `the balancer's worker thread has been silent for ${Math.round(heartbeatAgeMs)} ms`,
    ),
    ...(status.vip === null ? [] : [fence(status.vip)]),
  ];
}

function election({ state, faults, reason }: ElectionStatus): HealthCheck {
  switch (state) {
    case "MASTER":
    case "PROVISIONAL":
    case "BACKUP":
      return passed("election");
    case "FAULT":
      return failed("election", `FAULT: ${faults.join(", ")}`);
    case "INIT":
    case "RELEASING":
    case "STOPPED":
      return failed("election", `${state}: ${reason}`);
  }
}

/** Checks that a node that says it has the VIP has every address bound, and all other nodes none. */
function role(state: ElectionStatus["state"], vip: VipStatus): HealthCheck {
  const has = hasVip(state);
  const odd = vip.addresses.filter(({ bound }) => bound !== has).map(({ address }) => address);
  return check(
    "vip",
    odd.length === 0,
    `${state}, yet ${odd.join(", ")} ${has ? "is not bound" : "is bound"}`,
  );
}

/**
 * Checks the agent's own port. The operator must free a port that another program has, so it must show where
 * `kubectl get pods` looks.
 */
function ownPort({ name, address, listening, error }: ListenerStatus): HealthCheck {
  return check(
    `${name}-port`,
    listening,
    `cannot listen on ${address}: ${error ?? "not yet tried"}; trying again`,
  );
}

/** Checks that the agent does what its role asks, carries traffic, and can be asked. */
export function readiness(status: AgentStatus): readonly HealthCheck[] {
  const { balancer } = status;
  const vip =
    status.election === null || status.vip === null ? [] : [role(status.election.state, status.vip)];
  return [
    ...(status.waiting === null
      ? []
      : [failed("network", `waiting for the VIP's interface: ${status.waiting}`)]),
    ...(status.election === null ? [] : [election(status.election)]),
    ...vip,
    check(
      "listener",
      balancer.listening,
      balancer.listenFailure ?? `port ${balancer.port} does not accept connections`,
    ),
    check(
      "backends",
      balancer.backends.some(({ grade }) => grade === "UP"),
      status.noBackend ?? "no backend has been checked yet",
    ),
    ...status.listeners.map(ownPort),
  ];
}

/**
 * Checks of readiness that there are only in some states of the agent. To exclude one that there is not, or to
 * ask for it, is no mistake: kube-apiserver's checks are always the same, and scripts rely on it.
 */
const SOMETIMES: readonly string[] = ["network", "election", "vip"];

/** What each of those checks says by itself in a state in which {@link readiness} does not have it. */
export function readinessElsewhere({ waiting }: AgentStatus): readonly HealthCheck[] {
  return SOMETIMES.map((name) => check(name, waiting === null, "the agent waits for the VIP's interface"));
}

/** How a client asks for health: what stands behind the path, and in the query. */
export interface HealthQuery {
  readonly verbose: boolean;
  /** Names of checks that do not count, as often as `exclude=` was given. */
  readonly excluded: readonly string[];
}

export function healthQuery(query: URLSearchParams): HealthQuery {
  return { verbose: query.has("verbose"), excluded: query.getAll("exclude") };
}

/**
 * Writes the text that kube-apiserver answers with (k8s.io/apiserver/pkg/server/healthz). An excluded check is
 * not asked and counts as passed. A name that there is no check of is said in the verbose text, and refuses
 * nothing.
 */
export function healthText(
  endpoint: string,
  checks: readonly HealthCheck[],
  { verbose, excluded }: HealthQuery,
): { readonly ok: boolean; readonly text: string } {
  const without = new Set(excluded);
  const ok = checks.every((each) => each.ok || without.has(each.name));
  if (ok && !verbose) return { ok, text: "ok" };
  const lines = checks.map((each) => {
    if (without.has(each.name)) return `[+]${each.name} excluded: ok`;
    return each.ok ? `[+]${each.name} ok` : `[-]${each.name} failed: ${each.detail}`;
  });
  const unknown = [...without]
    .filter((name) => !checks.some((each) => each.name === name) && !SOMETIMES.includes(name))
    .toSorted()
    .slice(0, MOST_UNKNOWN);
  if (unknown.length > 0)
    lines.push(
      `warn: some health checks cannot be excluded: no matches for ${unknown.map((name) => JSON.stringify(name)).join(",")}`,
    );
  return { ok, text: `${[...lines, `${endpoint} check ${ok ? "passed" : "failed"}`].join("\n")}\n` };
}

/** Most names of an exclusion that are given back. */
const MOST_UNKNOWN = 16;

/**
 * Answers for one check by its name, as kube-apiserver does at /readyz/NAME. undefined: there is none of that
 * name. Of two with one name the first counts.
 */
export function oneCheckText(
  checks: readonly HealthCheck[],
  name: string,
): { readonly ok: boolean; readonly text: string } | undefined {
  const found = checks.find((each) => each.name === name);
  return found && { ok: found.ok, text: found.ok ? "ok" : `internal server error: ${found.detail}\n` };
}
