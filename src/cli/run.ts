/** `leasehold run` runs one agent, from a checked configuration to its clean end. */
import { createAgent } from "../agent/agent.ts";
import type { Clock } from "../clock.ts";
import { parseConfig } from "../config/config.ts";
import { LeaseholdError } from "../errors.ts";
import type { ErrorCode } from "../errors.ts";
import { createLogger } from "../pino-logger.ts";
import { PROXY_WORKER, VERSION } from "../version.ts";

export interface RunDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  readonly clock: Clock;
  readonly nodeVersion: string;
  readonly printError: (text: string) => void;
  /** Calls back for SIGTERM and SIGINT ("stop"), for SIGHUP ("reload") and for SIGUSR1 ("record"). */
  readonly onSignal: (callback: (signal: "stop" | "reload" | "record") => void) => void;
  /** Calls back when an error was thrown and not caught. The process must end. */
  readonly onFatal: (callback: (error: unknown) => void) => void;
}

/** Errors of the configuration that only the machine could show. */
const CONFIGURATION: ReadonlySet<ErrorCode> = new Set([
  "LH_CONFIG",
  "LH_AMBIGUOUS_INTERFACE",
  "LH_ADDRESS_OWNER",
  "LH_LINK_TYPE",
  "LH_NODE_IP",
  "LH_VIP_RESERVED",
]);

/** Resolves with the exit status: 0 after a clean stop, 1 after a failure, 2 for a wrong configuration. */
export async function run(deps: RunDeps): Promise<number> {
  const { clock, printError } = deps;
  const parsed = parseConfig(deps.env, deps.hostname);
  if (parsed.kind === "error") {
    printError(
      `leasehold: the configuration is wrong:\n${parsed.problems.map((problem) => `  ${problem}\n`).join("")}`,
    );
    return 2;
  }
  const { config } = parsed;
  const log = createLogger({
    level: config.logLevel,
    format: config.logFormat,
    base: { node: config.nodeName },
    wall: () => clock.wall(),
  });
  for (const warning of parsed.warnings) log.warn({ warning }, "Configuration");
  const agent = createAgent({
    config,
    clock,
    log,
    version: VERSION,
    nodeVersion: deps.nodeVersion,
    workerUrl: PROXY_WORKER,
  });

  return new Promise((resolve) => {
    let stops = 0;
    deps.onSignal((signal) => {
      if (signal === "reload") {
        log.info({}, "Reading files again");
        agent.reload();
        return;
      }
      if (signal === "record") {
        agent.record();
        return;
      }
      stops += 1;
      if (stops > 1) {
        // A second signal means: stop now.
        agent.abandon();
        resolve(1);
        return;
      }
      log.info({}, "Stopping");
      void agent.stop().then(
        () => resolve(0),
        (error: unknown) => {
          log.error({ err: error }, "Stopping failed");
          agent.abandon();
          resolve(1);
        },
      );
    });
    deps.onFatal((error) => {
      // The kernel would remove the VIP in a few seconds. This is sooner.
      agent.abandon();
      log.error({ err: error }, "Unexpected error, ending");
      resolve(1);
    });
    log.info({ version: VERSION, role: config.role }, "Starting");
    agent.start().catch((error: unknown) => {
      if (stops > 0) return;
      agent.abandon();
      const known = error instanceof LeaseholdError;
      log.error({ err: error, ...(known ? { code: error.code, hint: error.hint } : {}) }, "Starting failed");
      resolve(known && CONFIGURATION.has(error.code) ? 2 : 1);
    });
  });
}
