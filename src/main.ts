/**
 * The entry point of the process. Only this file reads the environment and ends the process.
 *
 * The agent and the commands are two bundles (scripts/build.ts). An agent runs for months, and whatever is
 * loaded with it stays in memory for as long.
 */
import { startsAgent } from "./cli/agent-words.ts";

const words = process.argv.slice(2);

async function agent(): Promise<number> {
  const { agentProcess } = await import("./cli/agent-process.ts");
  return agentProcess(process);
}

async function command(): Promise<number> {
  const { commandProcess } = await import("./cli/command-process.ts");
  return commandProcess(words, process);
}

process.exit(await (startsAgent(words) ? agent() : command()));
