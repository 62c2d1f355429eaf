/** What one agent knows, as `/status` shows it. It is plain data, made on demand, and nothing acts on it. */
import type { BalancerStatus } from "../backends/backend.ts";
import type { ElectionStatus } from "../election/status.ts";
import type { FastPathStatus } from "../fastpath/status.ts";
import type { RefusalStatus } from "../kube/refusals.ts";
import type { SentinelStatus } from "../sentinel/evidence.ts";
import type { CheckStatus } from "../tracking/check.ts";
import type { VipStatus } from "../vip/status.ts";

/** One of the agent's own HTTP ports. */
export interface ListenerStatus {
  /**
   * `health` serves the probes, on loopback. `ops` serves everything, at LEASEHOLD_OPS_ADDRESS, and `local`
   * the same on loopback where that address is not. `peers` serves the other nodes' agents, at
   * LEASEHOLD_PEER_PORT.
   */
  readonly name: "health" | "ops" | "local" | "peers";
  /** Address and port as configured. */
  readonly address: string;
  readonly listening: boolean;
  /** Why the last try to listen failed; null when it succeeded. The agent tries again. */
  readonly error: string | null;
}

/** The client certificate of one kubeconfig, our own or admin.conf. */
export interface CertificateStatus {
  readonly kubeconfig: "own" | "admin";
  readonly path: string;
  readonly expiresAt: string;
  /** It has ended or ends soon, and the agent relies on it. */
  readonly endsSoon: boolean;
}

export interface AgentStatus {
  readonly node: string;
  readonly role: "control-plane" | "balancer";
  readonly version: string;
  readonly uptimeMs: number;
  readonly nowMs: number;
  /** null with role balancer, and while the agent waits for the network. */
  readonly election: ElectionStatus | null;
  /**
   * What the agent waits for before it takes part in anything, in one sentence: the VIP's interface. null
   * once it has that, and with role balancer.
   */
  readonly waiting: string | null;
  readonly vip: VipStatus | null;
  /** What is heard on the VIP's link; null with role balancer. */
  readonly wire: SentinelStatus | null;
  readonly balancer: BalancerStatus;
  /**
   * Why there is no API server to send connections to, in one sentence that an operator can act on; null
   * while there is one, or nothing is known yet.
   */
  readonly noBackend: string | null;
  /** The API servers that a person has drained, as canonical `ip:port`, whether this agent knows them or not. */
  readonly drained: readonly string[];
  /** null without a VIP (role balancer), and while the agent waits for the network. */
  readonly fastPath: FastPathStatus | null;
  readonly checks: readonly CheckStatus[];
  readonly apiServers: readonly string[];
  /**
   * The last request on the Lease that the API refused, in the API's own words; null when it has refused none
   * since the start.
   */
  readonly api: { readonly lastRefusal: RefusalStatus | null };
  readonly listeners: readonly ListenerStatus[];
  /**
   * The kubeconfig in use and when its certificate ends. `problem` says what is wrong with the kubeconfigs,
   * each by its path; null while one is good. `warning` names the certificates that have ended or end soon,
   * and what to do; null while none does.
   */
  readonly credentials: {
    readonly source: string;
    readonly expiresAt: string | null;
    readonly problem: string | null;
    readonly warning: string | null;
    /** The client certificate of each kubeconfig; see {@link CertificateStatus}. */
    readonly certificates: readonly CertificateStatus[];
  };
}
