/**
 * Runs a program of the operator's, without a shell, in a process group of its own. When it has to end, the
 * whole group gets SIGTERM and 2 s later SIGKILL, so that a `sleep` or `curl` inside a script does not outlive
 * it.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Clock, Timer } from "../clock.ts";

/** Time from SIGTERM to SIGKILL, as in keepalived. */
const KILL_AFTER_MS = 2_000;
/** Time for which the rest of the error output is awaited after the exit. */
const LAST_WORDS_MS = 100;
/** How much of the program's error output is kept to explain a failure. */
const STDERR_BYTES = 1_024;

export interface Program {
  readonly path: string;
  readonly args: readonly string[];
  /** Its whole environment. Nothing of the agent's own is added. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends the program when it is aborted. */
  readonly signal: AbortSignal;
  readonly clock: Pick<Clock, "after">;
}

export type ProgramEnd =
  /** `words`: the first line of the error output. */
  | { readonly kind: "exit"; readonly status: number; readonly words: string }
  | { readonly kind: "killed"; readonly by: string; readonly words: string }
  /** It could not be started. */
  | { readonly kind: "failed"; readonly error: unknown };

/** Resolves when the program and the rest of its group are gone. Never rejects. */
export function runProgram({ path, args, env, signal, clock }: Program): Promise<ProgramEnd> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = spawn(path, args, { detached: true, stdio: ["ignore", "ignore", "pipe"], env: { ...env } });
    } catch (error) {
      resolve({ kind: "failed", error });
      return;
    }
    let killer: Timer | undefined;
    let lastWords: Timer | undefined;
    let stderr = "";
    const terminate = (): void => {
      killGroup(child, "SIGTERM");
      killer = clock.after(KILL_AFTER_MS, () => killGroup(child, "SIGKILL"));
    };
    const settle = (end: ProgramEnd): void => {
      signal.removeEventListener("abort", terminate);
      killer?.cancel();
      lastWords?.cancel();
      child.stderr?.destroy();
      resolve(end);
    };
    child.stderr?.on("data", (chunk: Buffer) => {
      if (stderr.length < STDERR_BYTES) stderr += chunk.toString("utf8", 0, STDERR_BYTES - stderr.length);
    });
    child.on("error", (error) => {
      if (child.pid === undefined) settle({ kind: "failed", error });
    });
    child.on("exit", (status, by) => {
      // Processes that the program left behind in its group would pile up, run after run.
      killGroup(child, "SIGKILL");
      const end = (): void => {
        const words = stderr.trim().split("\n", 1)[0] ?? "";
        settle(
          status === null ? { kind: "killed", by: by ?? "a signal", words } : { kind: "exit", status, words },
        );
      };
      // "close" comes when stderr has been read to its end. A grandchild that left the group may keep it open
      // for ever.
      child.on("close", end);
      lastWords = clock.after(LAST_WORDS_MS, end);
    });
    if (signal.aborted) terminate();
    else signal.addEventListener("abort", terminate, { once: true });
  });
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
