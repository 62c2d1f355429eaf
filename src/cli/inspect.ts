/** `leasehold status`, `leasehold why` and `leasehold doctor`: ask, make the picture, print it. */
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { parseConfig } from "../config/config.ts";
import type { Config } from "../config/config.ts";
import { PREFIX } from "../config/settings.ts";
import type { Command } from "./args.ts";
import { askAll, askFile } from "./ask.ts";
import { clusterView } from "./cluster-view.ts";
import { diagnose, diagnosisExit, diagnosisText } from "./diagnose.ts";
import { examine } from "./examine.ts";
import { document } from "./output.ts";
import { gaps, statusExit, statusText } from "./render-status.ts";
import { why, whyText } from "./why.ts";

export interface CommandDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  readonly clock: Clock;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
  /**
   * Calls back when a person ends the command (SIGINT, SIGTERM), until the function that it returns is called. Without it
   * the process ends at once.
   */
  readonly onInterrupt?: (callback: () => void) => () => void;
}

/** Milliseconds between two pictures of `--watch`. */
const WATCH_MS = 2_000;

/**
 * The settings of the environment; undefined when they are wrong, which is printed. A person's shell seldom
 * has LEASEHOLD_VIP, which only an agent must have.
 */
export function commandConfig({ env, hostname, printError }: CommandDeps): Config | undefined {
  const role = (env[`${PREFIX}VIP`] ?? "").trim() === "" ? { [`${PREFIX}ROLE`]: "balancer" } : {};
  const parsed = parseConfig({ ...env, ...role }, hostname);
  if (parsed.kind === "ok") return parsed.config;
  printError(
    `leasehold: the configuration is wrong:\n${parsed.problems.map((problem) => `  ${problem}\n`).join("")}`,
  );
  return undefined;
}

/** Resolves with the exit status. With `--watch` it goes on until the process is ended. */
export async function status(
  { output, watch }: Extract<Command, { kind: "status" }>,
  deps: CommandDeps,
): Promise<number> {
  const config = commandConfig(deps);
  if (config === undefined) return 2;
  for (;;) {
    const view = clusterView(await askAll(config, deps.clock));
    if (output === "json" && watch) deps.print(`${JSON.stringify(view)}\n`);
    else if (output === "json" || output === "yaml")
      deps.print(`${watch ? "---\n" : ""}${document(view, output)}`);
    else deps.print(`${watch ? `\n${view.at}\n` : ""}${statusText(view, output === "wide")}`);
    if (!watch) return statusExit(view);
    await pause(deps.clock, WATCH_MS);
  }
}

/** Resolves with the exit status. */
export async function explainNode(
  { node, all, last, file, output }: Extract<Command, { kind: "why" }>,
  deps: CommandDeps,
): Promise<number> {
  const config = commandConfig(deps);
  if (config === undefined) return 2;
  const answers = await askAll(config, deps.clock);
  const recording = file === undefined ? answers.recording : askFile(file);
  if (file !== undefined && recording.kind === "failed") {
    deps.printError(`leasehold: ${file} is no recording: ${recording.why}\n`);
    return 1;
  }
  const view = clusterView(answers);
  const told = why(view, recording.kind === "ok" ? recording.value : undefined, { node, all, last });
  if (output === "text") deps.print(whyText(told) + (view.notAsked.length === 0 ? "" : `\n${gaps(view)}`));
  else deps.print(document(told, output));
  const asked = answers.agent.kind === "ok" || answers.lease.kind === "ok" || file !== undefined;
  return asked ? 0 : 1;
}

/** Resolves with the exit status. */
export async function doctor(
  { output }: Extract<Command, { kind: "doctor" }>,
  deps: CommandDeps,
): Promise<number> {
  const config = commandConfig(deps);
  if (config === undefined) return 2;
  const diagnoses = diagnose(await examine(config, deps.clock));
  deps.print(output === "text" ? diagnosisText(diagnoses) : document({ checks: diagnoses }, output));
  return diagnosisExit(diagnoses);
}
