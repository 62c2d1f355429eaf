/** One server program of a node: started, killed, stopped and continued by its pid, its output in a file. */
import type { ChildProcess, StdioOptions } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";

export interface RunOptions {
  readonly stdio: StdioOptions;
}

/**
 * Starts a program inside a node's network namespace. The child's pid must be the program's own: `nsenter
 * --net=` and `ip netns exec` replace themselves, a shell or `unshare --fork` would not.
 */
export type Run = (argv: readonly string[], options: RunOptions) => ChildProcess;

/** Runs in this process' own namespace. */
export const runHere: Run = (argv, options) => {
  const [program = "", ...rest] = argv;
  return spawn(program, rest, options);
};

/** Everything that still runs ends with this process; dispose() is the orderly way. */
const live = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of live) child.kill("SIGKILL");
});

/** util-linux; makes the kernel end the child when the tests are killed and no exit handler runs. */
const SETPRIV = "/usr/bin/setpriv";
export const withParent = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL", "--"] : [];

export class ServerProcess {
  readonly name: string;
  /** stdout and stderr of every run, appended. */
  readonly logFile: string;
  readonly #argv: readonly string[];
  readonly #run: Run;
  #child: ChildProcess | undefined;

  constructor(name: string, argv: readonly string[], run: Run, logFile: string) {
    this.name = name;
    this.logFile = logFile;
    this.#argv = argv;
    this.#run = run;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.running ? this.#child?.pid : undefined;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts it, again after a kill too; resolves when the process exists, not when it is ready. */
  async start(): Promise<void> {
    if (this.running) throw new Error(`${this.name} runs already`);
    const log = await open(this.logFile, "a");
    try {
      const child = this.#run([...withParent, ...this.#argv], { stdio: ["ignore", log.fd, log.fd] });
      this.#child = child;
      live.add(child);
      child.once("exit", () => live.delete(child));
      child.on("error", () => live.delete(child));
      await once(child, "spawn");
    } finally {
      await log.close();
    }
  }

  /** SIGKILL: power loss of this program. Resolves when it is gone; no effect on one that does not run. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** SIGTERM, an orderly stop; SIGKILL after `limitMs`. */
  async terminate(limitMs = 10_000): Promise<void> {
    const timer = setTimeout(() => this.#child?.kill("SIGKILL"), limitMs);
    await this.#end("SIGTERM");
    clearTimeout(timer);
  }

  /** SIGSTOP: it keeps its sockets, the kernel accepts for it, nobody answers. */
  stop(): void {
    this.#signal("SIGSTOP");
  }

  /** SIGCONT. */
  continue(): void {
    this.#signal("SIGCONT");
  }

  #signal(signal: NodeJS.Signals): void {
    if (!this.running) throw new Error(`${this.name} does not run, see ${this.logFile}`);
    this.#child?.kill(signal);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = once(child, "exit");
    child.kill(signal);
    // A stopped process does not see SIGTERM before it is continued.
    child.kill("SIGCONT");
    await gone;
  }
}

/**
 * Runs a program to its end. @throws Error with what it wrote to stderr when it fails or `timeoutMs` is over
 */
export async function output(
  argv: readonly string[],
  options: { readonly run?: Run; readonly input?: string; readonly timeoutMs?: number } = {},
): Promise<string> {
  const child = (options.run ?? runHere)(argv, { stdio: ["pipe", "pipe", "pipe"] });
  live.add(child);
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // A program that ends without reading its input is judged by its exit code, not by our EPIPE.
  child.stdin?.on("error", () => {});
  child.stdin?.end(options.input ?? "");
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  try {
    const [code, signal] = await once(child, "close");
    if (code !== 0)
      throw new Error(
        `${argv.join(" ")} ended with ${String(code ?? signal)}: ${stderr.trim() || stdout.trim()}`,
      );
    return stdout;
  } finally {
    clearTimeout(timer);
    live.delete(child);
  }
}
