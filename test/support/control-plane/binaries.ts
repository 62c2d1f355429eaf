/**
 * Where the real control plane's programs come from: `KUBEBUILDER_ASSETS` (envtest's convention), or built
 * once from the Go modules that `binaries/go.mod` pins into a cache folder outside the repository.
 */
import { spawn } from "node:child_process";
import { access, constants, link, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export interface Binaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubectl: string;
  readonly kubeadm: string;
  /** Kubernetes' version, e.g. `v1.36.3`. */
  readonly version: string;
}

/** `unavailable`: one line for people; callers then run against the embedded API only. */
export type FoundBinaries =
  | { readonly kind: "found"; readonly binaries: Binaries }
  | { readonly kind: "unavailable"; readonly reason: string };

type Environment = Readonly<Record<string, string | undefined>>;

/** A Go package and what its program is called here; `go build` names it after the last path element. */
interface Program {
  readonly name: string;
  readonly package: string;
  readonly builtAs: string;
}

const MODULE = fileURLToPath(new URL("binaries/", import.meta.url));
const KUBEADM: Program = { name: "kubeadm", package: "k8s.io/kubernetes/cmd/kubeadm", builtAs: "kubeadm" };
const ASSETS: readonly Program[] = [
  { name: "etcd", package: "go.etcd.io/etcd/server/v3", builtAs: "server" },
  { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", builtAs: "kube-apiserver" },
  { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", builtAs: "kubectl" },
];

/**
 * A build that hangs (a proxy that never answers) must not hang the tests: an empty cache needs about 7
 * minutes.
 */
const BUILD_LIMIT_MS = 30 * 60_000;

/**
 * Finds the programs, building what is missing.
 * @param progress receives one line where something slow begins
 */
export async function findBinaries(
  progress: (line: string) => void = () => {},
  environment: Environment = process.env,
): Promise<FoundBinaries> {
  const version = await kubernetesVersion();
  const cache = join(environment["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "leasehold");
  const built = join(cache, `control-plane-${version}`);
  try {
    const assets = environment["KUBEBUILDER_ASSETS"];
    if (assets === undefined || assets === "") {
      await ensure(built, [...ASSETS, KUBEADM], environment, progress);
      return { kind: "found", binaries: paths(built, built, version) };
    }
    const missing = await missingFrom(assets, ASSETS);
    if (missing.length > 0) return unavailable(`KUBEBUILDER_ASSETS=${assets} has no ${missing.join(", ")}`);
    // envtest's folder has no kubeadm, and its PKI is what users really have.
    if ((await missingFrom(assets, [KUBEADM])).length === 0) {
      return { kind: "found", binaries: paths(assets, assets, version) };
    }
    const whole = (await missingFrom(built, [KUBEADM])).length === 0;
    const folder = whole ? built : join(cache, `kubeadm-${version}`);
    if (!whole) await ensure(folder, [KUBEADM], environment, progress);
    return { kind: "found", binaries: paths(assets, folder, version) };
  } catch (error) {
    return unavailable(error instanceof Error ? error.message : String(error));
  }
}

function unavailable(reason: string): FoundBinaries {
  const line = reason.replaceAll(/\s+/g, " ").trim();
  return { kind: "unavailable", reason: `no real control plane: ${line}` };
}

function paths(assets: string, kubeadm: string, version: string): Binaries {
  return {
    etcd: join(assets, "etcd"),
    kubeApiserver: join(assets, "kube-apiserver"),
    kubectl: join(assets, "kubectl"),
    kubeadm: join(kubeadm, "kubeadm"),
    version,
  };
}

async function kubernetesVersion(): Promise<string> {
  const found = /^\s*k8s\.io\/kubernetes (v\S+)/m.exec(await readFile(join(MODULE, "go.mod"), "utf8"))?.[1];
  if (found === undefined) throw new Error("binaries/go.mod requires no k8s.io/kubernetes");
  return found;
}

async function missingFrom(folder: string, programs: readonly Program[]): Promise<string[]> {
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

async function ensure(
  target: string,
  programs: readonly Program[],
  environment: Environment,
  progress: (line: string) => void,
): Promise<void> {
  if ((await missingFrom(target, programs)).length === 0) return;
  await mkdir(join(target, ".."), { recursive: true });
  // The rename at the end is what makes the folder whole; the lock only saves doing the work twice.
  await using _lock = await lock(`${target}.lock`, progress);
  if ((await missingFrom(target, programs)).length === 0) return;
  progress(
    `building ${programs.map(({ name }) => name).join(", ")}; 7 minutes on two cores, less with Go's build cache`,
  );
  const work = await mkdtemp(`${target}.building-`);
  try {
    for (const program of programs) {
      await goBuild(program, work, environment);
      if (program.builtAs !== program.name)
        await rename(join(work, program.builtAs), join(work, program.name));
    }
    await rm(target, { recursive: true, force: true });
    await rename(work, target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** kubeadm refuses to work, and /version lies, without the version that the release build links in. */
async function goBuild(program: Program, folder: string, environment: Environment): Promise<void> {
  const version = await kubernetesVersion();
  const [major, minor] = version.slice(1).split(".");
  const stamp = "-X k8s.io/component-base/version.";
  const ldflags = `-s -w ${stamp}gitVersion=${version} ${stamp}gitMajor=${major} ${stamp}gitMinor=${minor}`;
  const child = spawn("go", ["build", `-ldflags=${ldflags}`, "-o", `${folder}/`, program.package], {
    cwd: MODULE,
    env: { ...environment, CGO_ENABLED: "0" },
    stdio: ["ignore", "ignore", "pipe"],
    timeout: BUILD_LIMIT_MS,
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-2000);
  });
  await new Promise<void>((resolve, reject) => {
    child.once("error", () =>
      reject(new Error("the Go toolchain (go) is not installed; set KUBEBUILDER_ASSETS")),
    );
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
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
