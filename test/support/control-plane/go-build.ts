/**
 * Programs built from Go modules that a go.mod of this folder pins, once, into a cache folder outside the
 * repository.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { access, constants, link, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { withParent } from "./process.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** A Go package and what its program is called here. */
export interface GoProgram {
  readonly name: string;
  readonly package: string;
}

/** A folder with a go.mod, and the module in it whose version names what is built. */
export interface GoModule {
  readonly folder: string;
  /** For example `v1.36.3`. */
  readonly version: string;
}

/**
 * A build that hangs (a proxy that never answers) must not hang the tests: an empty cache needs about 7
 * minutes.
 */
const BUILD_LIMIT_MS = 30 * 60_000;

/** @param name a folder next to this file  @param requires the module whose version counts */
export function goModule(name: string, requires: string): GoModule {
  const folder = fileURLToPath(new URL(`${name}/`, import.meta.url));
  const lines = readFileSync(join(folder, "go.mod"), "utf8").split("\n");
  // `replace` lines have the module's name too, and an arrow.
  const version = lines
    .map((line) => line.replace(/^require /, "").trim())
    .find((line) => line.startsWith(`${requires} v`) && !line.includes("=>"))
    ?.split(" ")[1];
  if (version === undefined) throw new Error(`${name}/go.mod requires no ${requires}`);
  return { folder, version };
}

/** Where what is built is kept. */
export function cacheFolder(environment: Environment): string {
  return join(environment["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "leasehold");
}

/** Names of the programs that `folder` lacks. */
export async function missingFrom(folder: string, programs: readonly GoProgram[]): Promise<string[]> {
  const missing: string[] = [];
  for (const { name } of programs) {
    try {
      await access(join(folder, name), constants.X_OK);
    } catch {
      missing.push(name);
    }
  }
  return missing;
}

/**
 * Builds `programs` into `target`, unless all of them are there.
 * @throws Error when a build fails, with the last line that Go wrote
 */
export async function ensure(
  module: GoModule,
  target: string,
  programs: readonly GoProgram[],
  environment: Environment,
  progress: (line: string) => void,
): Promise<void> {
  if ((await missingFrom(target, programs)).length === 0) return;
  await mkdir(join(target, ".."), { recursive: true });
  // The rename at the end is what makes the folder whole; the lock only saves doing the work twice.
  await using _lock = await lock(`${target}.lock`, progress);
  if ((await missingFrom(target, programs)).length === 0) return;
  progress(
    `building ${programs.map(({ name }) => name).join(", ")}; minutes on two cores, less with Go's build cache`,
  );
  const work = await mkdtemp(`${target}.building-`);
  try {
    for (const program of programs) {
      await goBuild(module, program, join(work, program.name), environment);
    }
    await rm(target, { recursive: true, force: true });
    await rename(work, target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** kubeadm refuses to work, and /version lies, without the version that the release build links in. */
async function goBuild(
  module: GoModule,
  program: GoProgram,
  file: string,
  environment: Environment,
): Promise<void> {
  const [major, minor] = module.version.slice(1).split(".");
  const stamps = [
    `k8s.io/component-base/version.gitVersion=${module.version}`,
    `k8s.io/component-base/version.gitMajor=${major}`,
    `k8s.io/component-base/version.gitMinor=${minor}`,
    `github.com/containerd/containerd/v2/version.Version=${module.version}`,
  ];
  const ldflags = `-s -w ${stamps.map((stamp) => `-X ${stamp}`).join(" ")}`;
  const argv = ["go", "build", "-buildvcs=false", `-ldflags=${ldflags}`, "-o", file, program.package];
  const [command = "go", ...args] = [...withParent, ...argv];
  const child = spawn(command, args, {
    cwd: module.folder,
    env: { ...environment, CGO_ENABLED: "0" },
    stdio: ["ignore", "ignore", "pipe"],
    timeout: BUILD_LIMIT_MS,
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-2000);
  });
  const absent = new Error("the Go toolchain (go) is not installed; set KUBEBUILDER_ASSETS");
  await new Promise<void>((resolve, reject) => {
    child.once("error", () => reject(absent));
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
      // setpriv(1) says so where it finds no program to run.
      else if (/^setpriv: .*go: No such file/m.test(stderr)) reject(absent);
      else reject(new Error(`go build ${program.package} ended with ${code ?? signal}: ${lastLine(stderr)}`));
    });
  });
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

/** A lock file that names its owner; one whose owner is dead is taken over. */
async function lock(path: string, progress: (line: string) => void): Promise<AsyncDisposable> {
  const own = `${path}.${process.pid}`;
  const giveUpAt = performance.now() + BUILD_LIMIT_MS;
  for (let waited = false; performance.now() < giveUpAt; waited = true) {
    if (await linked(own, path)) return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    // Number("") is 0: the owner has just removed it.
    if (owner > 0 && !alive(owner)) await rm(path, { force: true });
    if (!waited) progress(`waiting for the build of process ${owner}`);
    await sleep(500);
  }
  throw new Error(`${path} is still held; remove it if no build is running`);
}

/** Puts a file that holds our pid at `path`, whole or not at all; false when there is one already. */
async function linked(own: string, path: string): Promise<boolean> {
  await writeFile(own, String(process.pid));
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
