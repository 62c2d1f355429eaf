/** One bounded system command, its output or an error that tells all. */
import { spawn } from "node:child_process";
import { TOOL_PATH } from "../sandbox/tools.ts";

export interface CommandOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `argv` to its end; never throws for an exit code. Killed after `timeoutMs` (10 s). */
export async function attempt(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file, ...args] = argv;
  if (file === undefined) throw new Error("no command given");
  const child = spawn(file, args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: TOOL_PATH, HOME: "/root", LANG: "C.UTF-8", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  child.stdin.on("error", () => {}); // a command that ends without reading its input
  child.stdin.end(options.input ?? "");
  // Not spawn's own: where the program cannot be started, that one goes on to keep this process alive.
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 10_000);
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve({ code, ...output }));
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Like {@link attempt}, but anything but exit code 0 throws. Answers stdout. */
export async function run(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await attempt(argv, options);
  if (result.code !== 0) {
    const input = options.input === undefined ? "" : `\n--- input\n${options.input}`;
    throw new Error(
      `${argv.join(" ")}: exit ${result.code ?? "by signal"}\n${result.stderr}${result.stdout}${input}`,
    );
  }
  return result.stdout;
}
