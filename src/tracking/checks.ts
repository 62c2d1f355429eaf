/** Builds the checks that the configuration asks for. */
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { VipKernel } from "../vip/kernel.ts";
import type { CheckSpec, Finding } from "./check.ts";
import { execCheck } from "./exec.ts";
import { fileCheck, watchFile } from "./file.ts";
import { httpCheck } from "./http.ts";
import type { Outcome } from "./rules.ts";

/** The parts of the agent that the checks ask. */
export interface CheckSources {
  readonly clock: Clock;
  /**
   * Tells whether the balancer accepts connections and has a backend that answers. Poke "balancer" when that
   * changes.
   */
  balancer(): Finding;
  /**
   * Returns the local API server's grade in the pool, so that it is not probed twice. Poke "apiserver" when
   * it changes.
   */
  apiserver(): Finding;
  /** The cluster's CA as PEM, which an https check trusts; undefined while it is not known. */
  clusterCa(): string | undefined;
  readonly kernel: Pick<VipKernel, "link" | "onChange">;
  /**
   * Tells whether another machine is heard on the VIP's link. null: none ever was. Poke "interface" when that
   * changes.
   */
  neighbours(): boolean | null;
}

type CheckSettings = Pick<
  Config,
  | "trackBalancerWeight"
  | "trackApiserverWeight"
  | "trackInterfaceWeight"
  | "trackFile"
  | "trackFileWeight"
  | "trackExec"
  | "trackExecWeight"
  | "programEnv"
  | "trackHttp"
  | "trackHttpWeight"
  | "trackIntervalMs"
  | "trackTimeoutMs"
  | "trackRise"
  | "trackFall"
>;

/**
 * Returns the checks: always balancer, apiserver and interface, and file, exec and http where they are set.
 */
export function checksFromConfig(config: CheckSettings, sources: CheckSources): CheckSpec[] {
  const pace = { intervalMs: config.trackIntervalMs, timeoutMs: config.trackTimeoutMs };
  // These checks look at facts of this machine, or at what rise and fall have damped already where it was
  // measured (the balancer's pool). If they counted again, that would only make each fail-over `fall` checks
  // slower.
  const instant = { ...pace, rise: 1, fall: 1 };
  const damped = { ...pace, rise: config.trackRise, fall: config.trackFall };
  const { clock, kernel } = sources;

  const checks: CheckSpec[] = [
    {
      name: "balancer",
      weight: config.trackBalancerWeight,
      ...instant,
      run: () => outcomeOf(sources.balancer()),
    },
    {
      name: "apiserver",
      weight: config.trackApiserverWeight,
      ...instant,
      run: () => outcomeOf(sources.apiserver()),
    },
    {
      name: "interface",
      weight: config.trackInterfaceWeight,
      ...instant,
      run: () => linkOutcome(kernel, sources.neighbours()),
      watch: (poke) => kernel.onChange(poke),
    },
  ];
  if (config.trackFile !== undefined) {
    const path = config.trackFile;
    checks.push({
      name: "file",
      weight: config.trackFileWeight,
      ...damped,
      run: fileCheck(path),
      watch: watchFile(path, clock),
    });
  }
  if (config.trackExec !== undefined) {
    checks.push({
      name: "exec",
      weight: config.trackExecWeight,
      ...damped,
      run: execCheck(config.trackExec, config.programEnv, clock),
    });
  }
  if (config.trackHttp !== undefined) {
    checks.push({
      name: "http",
      weight: config.trackHttpWeight,
      ...damped,
      run: httpCheck(config.trackHttp, () => sources.clusterCa()),
    });
  }
  return checks;
}

function outcomeOf(finding: Finding): Outcome | null {
  if (finding.ok === null) return null;
  return { kind: finding.ok ? "pass" : "fail", detail: finding.detail };
}

function linkOutcome(kernel: Pick<VipKernel, "link">, neighbours: boolean | null): Outcome {
  const link = kernel.link();
  if (link === undefined) return { kind: "fail", detail: "the VIP's interface does not exist" };
  if (!link.up) return { kind: "fail", detail: `${link.name} is down` };
  if (!link.carrier) return { kind: "fail", detail: `${link.name} has no carrier` };
  // A cable into a switch that is cut off has a carrier and leads nowhere.
  if (neighbours === false) return { kind: "fail", detail: `nobody answers on ${link.name}` };
  return { kind: "pass", detail: `${link.name} is up` };
}
