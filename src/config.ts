/** The settings, parsed and checked. */
import type { IpAddress } from "./net.ts";
import type { Backend } from "./balancer/backend.ts";

export type BalanceAlgorithm = "leastconn" | "roundrobin" | "random" | "source" | "local";

export interface TrackSettings {
  /** 0 = FAULT on failure, otherwise -253..253. */
  readonly weight: number;
}

export interface Config {
  readonly role: "control-plane" | "balancer";
  readonly nodeName: string;
  /** undefined: found from the VIP's interface. */
  readonly nodeIp: IpAddress | undefined;
  readonly vips: readonly IpAddress[];
  /** undefined: the one whose connected subnet holds the VIP. */
  readonly interface: string | undefined;
  readonly leaseName: string;
  readonly leaseNamespace: string;
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly renewIntervalMs: number;
  /** Whole seconds: IFA_CACHEINFO has no finer unit. */
  readonly addressLifetimeSeconds: number;
  /** 1-254 */
  readonly priority: number;
  readonly nopreempt: boolean;
  readonly nopreemptStrict: boolean;
  readonly preemptDelayMs: number;
  readonly announceRefreshMs: number;
  readonly kubeconfig: string;
  readonly adminKubeconfig: string;
  /** Explicit API servers for the election; empty: own node and the peers that are found. */
  readonly apiServers: readonly Backend[];
  readonly backends: readonly Backend[];
  readonly backendPort: number;
  readonly balancerPort: number;
  readonly algorithm: BalanceAlgorithm;
  readonly maxConnections: number;
  readonly slowStartMs: number;
  readonly connectTimeoutMs: number;
  readonly drainTimeoutMs: number;
  readonly checkPath: string;
  readonly checkIntervalMs: number;
  readonly checkTimeoutMs: number;
  readonly checkRise: number;
  readonly checkFall: number;
  readonly trackBalancerWeight: number;
  readonly trackApiserverWeight: number;
  readonly trackInterfaceWeight: number;
  readonly trackFile: string | undefined;
  readonly trackFileWeight: number;
  readonly trackExec: string | undefined;
  readonly trackExecWeight: number;
  readonly trackHttp: string | undefined;
  readonly trackHttpWeight: number;
  readonly trackIntervalMs: number;
  readonly trackTimeoutMs: number;
  readonly trackRise: number;
  readonly trackFall: number;
  readonly opsHost: string;
  readonly opsPort: number;
  readonly logLevel: "error" | "warn" | "info" | "debug";
  readonly logFormat: "json" | "text";
  readonly stateDir: string;
  readonly machineIdFile: string;
}
