/** A real process inside a node's network namespace, its log, and the signals a test sends it. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { monotonicMs } from "./clock.ts";

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly atMs: number;
}

export interface ProcessSpec {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly logFile: string;
}

export class LabProcess implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** stdout and stderr, appended over restarts of the same name. */
  readonly logFile: string;
  readonly startedMs: number;
  /** Settles when the process has ended, by whatever cause; never rejects. */
  readonly exited: Promise<ProcessExit>;
  #exit: ProcessExit | undefined;

  private constructor(spec: ProcessSpec, pid: number, exited: Promise<ProcessExit>) {
    this.name = spec.name;
    this.pid = pid;
    this.logFile = spec.logFile;
    this.startedMs = monotonicMs();
    this.exited = exited.then((exit) => (this.#exit = exit));
  }

  /** Output goes straight into the file, so that a busy test never blocks the process. */
  static async start(spec: ProcessSpec): Promise<LabProcess> {
    const [file, ...args] = spec.argv;
    if (file === undefined) throw new Error(`${spec.name}: no command given`);
    mkdirSync(dirname(spec.logFile), { recursive: true });
    const log = openSync(spec.logFile, "a");
    try {
      // detached: a terminal's Ctrl-C goes to the test, which then stops its processes in order.
      const child = spawn(file, args, {
        stdio: ["ignore", log, log],
        env: spec.env,
        cwd: spec.cwd,
        detached: true,
      });
      const exited = new Promise<ProcessExit>((resolve) => {
        child.once("exit", (code, signal) => resolve({ code, signal, atMs: monotonicMs() }));
      });
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", (error) =>
          reject(new Error(`${spec.name}: cannot start ${file}: ${error.message}`)),
        );
      });
      if (child.pid === undefined) throw new Error(`${spec.name}: no process id`);
      return new LabProcess(spec, child.pid, exited);
    } finally {
      closeSync(log);
    }
  }

  /** undefined while it runs. */
  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** Sends a signal to the process and its children. False when it had ended already. */
  kill(signal: NodeJS.Signals = "SIGTERM"): boolean {
    if (this.#exit !== undefined) return false;
    try {
      process.kill(-this.pid, signal);
      return true;
    } catch {
      return false;
    }
  }

  /** SIGSTOP: the process hangs as if swapped out; its sockets and addresses stay. */
  stop(): boolean {
    return this.kill("SIGSTOP");
  }

  cont(): boolean {
    return this.kill("SIGCONT");
  }

  /** SIGTERM, and SIGKILL for what is left after `graceMs`. */
  async terminate(graceMs = 5000): Promise<ProcessExit> {
    this.kill("SIGTERM");
    this.kill("SIGCONT"); // a stopped process would sit on the SIGTERM
    const killer = setTimeout(() => this.kill("SIGKILL"), graceMs);
    const exit = await this.exited;
    clearTimeout(killer);
    return exit;
  }

  log(): string {
    try {
      return readFileSync(this.logFile, "utf8");
    } catch {
      return "";
    }
  }

  lastLines(count: number): string[] {
    return this.log()
      .split("\n")
      .filter((line) => line !== "")
      .slice(-count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      process.kill(-this.pid, "SIGKILL"); // also children that outlived it
    } catch {
      // nobody left
    }
    await this.exited;
  }
}
