/** Defines a check that runs a program: exit status 0 passes, anything else fails. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Clock, Timer } from "../clock.ts";
import { errorCode, message } from "./check.ts";
import { splitCommand } from "../config/command-line.ts";
import type { Outcome } from "./rules.ts";

/** Time from SIGTERM to SIGKILL, as in keepalived. */
const KILL_AFTER_MS = 2_000;
/** Time for which the rest of the error output is awaited after the exit. */
const LAST_WORDS_MS = 100;
/** How much of the program's error output is kept to explain a failure. */
const STDERR_BYTES = 1_024;

/**
 * Runs `line` directly, without a shell, in a process group of its own. When `signal` is aborted, the whole
 * group gets SIGTERM and 2 s later SIGKILL, so that a `sleep` or `curl` inside a script does not outlive it.
 */
export function execCheck(line: string, clock: Clock): (signal: AbortSignal) => Promise<Outcome> {
  const argv = splitCommand(line);
  return (signal) => {
    const [program, ...args] = argv ?? [];
    if (program === undefined || program === "") {
      return Promise.resolve({ kind: "unusable", detail: `not a command line: ${line}` });
    }
    return runProgram(program, args, signal, clock);
  };
}

function runProgram(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
  clock: Clock,
): Promise<Outcome> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = spawn(program, args, { detached: true, stdio: ["ignore", "ignore", "pipe"] });
    } catch (error) {
      resolve(spawnFailure(program, error));
      return;
    }
    let killer: Timer | undefined;
    let lastWords: Timer | undefined;
    let stderr = "";
    const terminate = (): void => {
      killGroup(child, "SIGTERM");
      killer = clock.after(KILL_AFTER_MS, () => killGroup(child, "SIGKILL"));
    };
    const settle = (outcome: Outcome): void => {
      signal.removeEventListener("abort", terminate);
      killer?.cancel();
      lastWords?.cancel();
      child.stderr?.destroy();
      resolve(outcome);
    };
    child.stderr?.on("data", (chunk: Buffer) => {
      if (stderr.length < STDERR_BYTES) stderr += chunk.toString("utf8", 0, STDERR_BYTES - stderr.length);
    });
    child.on("error", (error) => {
      if (child.pid === undefined) settle(spawnFailure(program, error));
    });
    child.on("exit", (code, killedBy) => {
      // Processes that the program left behind in its group would pile up, run after run.
      killGroup(child, "SIGKILL");
      const end = (): void => settle(exitOutcome(program, code, killedBy, stderr));
      // "close" comes when stderr has been read to its end. A grandchild that left the group may keep it open
      // for ever.
      child.on("close", end);
      lastWords = clock.after(LAST_WORDS_MS, end);
    });
    if (signal.aborted) terminate();
    else signal.addEventListener("abort", terminate, { once: true });
  });
}

function exitOutcome(program: string, code: number | null, killedBy: string | null, stderr: string): Outcome {
  if (code === 0) return { kind: "pass", detail: "exit status 0" };
  const words = stderr.trim().split("\n", 1)[0] ?? "";
  const how = code === null ? `killed by ${killedBy ?? "a signal"}` : `exit status ${code}`;
  const detail = words === "" ? how : `${how}: ${words}`;
  // A shell and env(1) exit with 126 if the program cannot be run, and with 127 if it is not there.
  if (code === 126 || code === 127) return { kind: "unusable", detail: `${program}: ${detail}` };
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
      return { kind: "fail", detail: message(error) };
    default:
      return { kind: "unusable", detail: `${program}: ${message(error)}` };
  }
}

function killGroup(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): void {
  if (child.pid === undefined) return;
  try {
    // `detached` made it the leader of a group of the same number.
    process.kill(-child.pid, signal);
  } catch {
    // ESRCH: no process is left in the group. EPERM: it changed its user. If it goes on running, that shows
    // as skipped runs.
  }
}
