/** Defines a check that runs a program: exit status 0 passes, anything else fails. */
import type { Clock } from "../clock.ts";
import { splitCommand } from "../config/command-line.ts";
import { runProgram } from "../linux/program.ts";
import type { ProgramEnd } from "../linux/program.ts";
import { errorCode, errorMessage } from "../errors.ts";
import type { Outcome } from "./rules.ts";

/**
 * Runs `line` directly, without a shell, see linux/program.ts.
 * @param env the program's whole environment
 */
export function execCheck(
  line: string,
  env: Readonly<Record<string, string>>,
  clock: Clock,
): (signal: AbortSignal) => Promise<Outcome> {
  const argv = splitCommand(line);
  return async (signal) => {
    const [program, ...args] = argv ?? [];
    if (program === undefined || program === "")
      return { kind: "unusable", detail: `not a command line: ${line}` };
    return outcomeOf(program, await runProgram({ path: program, args, env, signal, clock }));
  };
}

function outcomeOf(program: string, end: ProgramEnd): Outcome {
  if (end.kind === "failed") return spawnFailure(program, end.error);
  if (end.kind === "exit" && end.status === 0) return { kind: "pass", detail: "exit status 0" };
  const how = end.kind === "exit" ? `exit status ${end.status}` : `killed by ${end.by}`;
  const detail = end.words === "" ? how : `${how}: ${end.words}`;
  // A shell and env(1) exit with 126 if the program cannot be run, and with 127 if it is not there.
  if (end.kind === "exit" && (end.status === 126 || end.status === 127))
    return { kind: "unusable", detail: `${program}: ${detail}` };
  return { kind: "fail", detail };
}

function spawnFailure(program: string, error: unknown): Outcome {
  switch (errorCode(error)) {
    case "ENOENT":
      return { kind: "unusable", detail: `${program}: no such program, or its interpreter is missing` };
    case "EACCES":
      return { kind: "unusable", detail: `${program}: not executable` };
    case "EAGAIN":
    case "ENOMEM":
    case "EMFILE":
    case "ENFILE":
      // The machine is short of a resource, which says nothing about the program.
      return { kind: "fail", detail: errorMessage(error) };
    default:
      return { kind: "unusable", detail: `${program}: ${errorMessage(error)}` };
  }
}
