/** The programs that build the image, run one after the other. */
import { spawnSync } from "node:child_process";

/** A program that failed: its name and what it said, for people. */
export class CommandError extends Error {}

/**
 * `call` runs a program with its output on standard error. @throws {CommandError} when it fails or takes
 * too long
 */
export function call(argv: readonly string[], timeoutMs: number, env: NodeJS.ProcessEnv = process.env): void {
  const [file = "", ...args] = argv;
  const { status, signal, error } = spawnSync(file, args, {
    stdio: ["ignore", 2, 2],
    timeout: timeoutMs,
    env,
  });
  if (status !== 0)
    throw new CommandError(
      `${file} ${args[0] ?? ""} ${error?.message ?? (signal === null ? `ended with ${status}` : `was ended by ${signal}`)}`,
    );
}

/**
 * `capture` runs a program and returns its standard output, or undefined when the program is missing or
 * fails.
 */
export function capture(
  argv: readonly string[],
  timeoutMs = 60_000,
  env: NodeJS.ProcessEnv = process.env,
): string | undefined {
  const [file = "", ...args] = argv;
  const { status, stdout } = spawnSync(file, args, {
    stdio: ["ignore", "pipe", "ignore"],
    encoding: "utf8",
    timeout: timeoutMs,
    env,
    maxBuffer: 1 << 26,
  });
  return status === 0 ? stdout : undefined;
}

export interface Buildah {
  /** Runs buildah with its output on standard error. @throws {CommandError} */
  call(args: readonly string[], timeoutMs?: number): void;
  /** Returns buildah's standard output, trimmed. @throws {CommandError} */
  capture(args: readonly string[]): string;
  /** Runs buildah silently and returns whether it succeeded. */
  try(args: readonly string[], timeoutMs: number): boolean;
}

const LIMIT_MS = 15 * 60_000;

/**
 * `createBuildah` returns buildah with its images below `store`. There is no daemon and no container
 * runtime: RUN steps run in a chroot. Layers are overlay mounts where this machine allows them, and
 * otherwise copies (vfs).
 */
export function createBuildah(store: string): Buildah {
  const argv = (args: readonly string[]): string[] => [
    "buildah",
    "--root",
    `${store}/images`,
    "--runroot",
    `${store}/run`,
    ...args,
  ];
  const environment = (driver: string): NodeJS.ProcessEnv => ({
    ...process.env,
    BUILDAH_ISOLATION: "chroot",
    STORAGE_DRIVER: driver,
  });
  const overlays = capture(argv(["info"]), 60_000, environment("overlay")) !== undefined;
  const env = environment(overlays ? "overlay" : "vfs");
  return {
    call: (args, timeoutMs = LIMIT_MS) => call(argv(args), timeoutMs, env),
    try: (args, timeoutMs) => capture(argv(args), timeoutMs, env) !== undefined,
    capture(args) {
      const text = capture(argv(args), LIMIT_MS, env);
      if (text === undefined) throw new CommandError(`buildah ${args.join(" ")} failed`);
      return text.trim();
    },
  };
}
