/** Prometheus' own checker, from Debian's package `prometheus`. */
import { attempt } from "../../support/lab/command.ts";
import type { CommandResult } from "../../support/lab/command.ts";
import { missingTools } from "../../support/sandbox/tools.ts";

/** Runs it to its end. Throws where it is not installed: without it nothing is known of the alerts. */
export function promtool(args: readonly string[], input = ""): Promise<CommandResult> {
  const missing = missingTools(["promtool"]);
  if (missing !== undefined) throw new Error(missing);
  return attempt(["promtool", ...args], { input, timeoutMs: 25_000 });
}
