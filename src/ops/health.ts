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

/** Writes the text that Kubernetes' own components answer with. */
export function healthText(
  endpoint: string,
  checks: readonly HealthCheck[],
  verbose: boolean,
): { readonly ok: boolean; readonly text: string } {
  const ok = checks.every((each) => each.ok);
  if (ok && !verbose) return { ok, text: "ok" };
  const lines = checks.map((each) =>
    each.ok ? `[+]${each.name} ok` : `[-]${each.name} failed: ${each.detail}`,
  );
  return { ok, text: `${[...lines, `${endpoint} check ${ok ? "passed" : "failed"}`].join("\n")}\n` };
}
