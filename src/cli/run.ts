/** `leasehold run` runs one agent, from a checked configuration to its clean end. */
import { createAgent } from "../agent/agent.ts";
import { watchLogLevel } from "../agent/log-level.ts";
import type { Clock } from "../clock.ts";
import { parseConfig } from "../config/config.ts";
import type { Config } from "../config/config.ts";
import { shownSettings } from "../config/shown.ts";
import { LeaseholdError } from "../errors.ts";
import type { ErrorCode } from "../errors.ts";
import { createLogOutput } from "../log-output.ts";
import type { WriteBytes } from "../log-output.ts";
import { createLogger } from "../pino-logger.ts";
import type { LevelLogger } from "../pino-logger.ts";
import { PROXY_WORKER, VERSION } from "../version.ts";

export interface RunDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  readonly clock: Clock;
  readonly nodeVersion: string;
  readonly printError: (text: string) => void;
  /** Writes bytes of the log and never waits, see log-output.ts. */
  readonly writeLog: WriteBytes;
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
  const output = createLogOutput({
    clock,
    write: deps.writeLog,
    notice(dropped, forMs) {
      // The lines that say so go through the logger, so that they look like all others.
      const lines: string[] = [];
      const told = createLogger({ ...logging, write: (line) => void lines.push(line) });
      told.warn(
        { dropped, forMs: Math.round(forMs) },
        "Lines of the log were dropped, because standard output was not read or could not be written",
      );
      told.close();
      return lines.join("");
    },
  });
  const logging = {
    level: config.logLevel,
    format: config.logFormat,
    base: { node: config.nodeName },
    clock,
  };
  const log = createLogger({ ...logging, write: (line) => output.line(line) });
  const exitStatus = await runAgent(deps, config, parsed.warnings, log, () => output.dropped());
  log.close();
  await output.close();
  return exitStatus;
}

function runAgent(
  deps: RunDeps,
  config: Config,
  warnings: readonly string[],
  log: LevelLogger,
  droppedLines: () => number,
): Promise<number> {
  const { clock } = deps;
  const levelFile = watchLogLevel({ clock, log, dataDir: config.dataDir, configured: config.logLevel });
  void levelFile.look();
  for (const warning of warnings) log.warn({ warning }, "A setting may not do what is expected of it");
  const agent = createAgent({
    config,
    clock,
    log,
    version: VERSION,
    nodeVersion: deps.nodeVersion,
    workerUrl: PROXY_WORKER,
    droppedLines,
    settings: shownSettings(deps.env),
    async picture(input) {
      // Seldom wanted: a bundle of its own, which is loaded with the first person who looks at the page.
      const { pagePicture } = await import("./page-picture.ts");
      return pagePicture(config, input);
    },
  });

  return new Promise((resolve) => {
    let stops = 0;
    deps.onSignal((signal) => {
      if (signal === "reload") {
        log.info({}, "SIGHUP: reading the kubeconfigs and the log level again, and running every check");
        void levelFile.look();
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
          log.error({ err: error }, "The agent could not stop cleanly, it unbinds the VIP now");
          agent.abandon();
          resolve(1);
        },
      );
    });
    deps.onFatal((error) => {
      // The kernel would remove the VIP in a few seconds. This is sooner.
      agent.abandon();
      // The stack is shown whatever the error is: no code has caught it.
      const stack = error instanceof Error && "code" in error ? error.stack : undefined;
      log.error({ err: error, stack }, "The agent met an error that it does not handle, and ends: report it");
      resolve(1);
    });
    log.info({ version: VERSION, role: config.role }, "Starting");
    agent.start().catch((error: unknown) => {
      if (stops > 0) return;
      agent.abandon();
      const known = error instanceof LeaseholdError;
      log.error(
        { err: error, ...(known ? { code: error.code, hint: error.hint } : {}) },
        "The agent could not start",
      );
      resolve(known && CONFIGURATION.has(error.code) ? 2 : 1);
    });
  });
}
