/** The test layers: which files, how many at a time, how long, and in the sandbox or not. */
import { spawn } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CGROUP_VARIABLE, startJanitor } from "../e2e/cgroups.ts";
import { sandboxObstacle, spawnInSandbox } from "../sandbox/sandbox.ts";
import { LAB_TOOLS, SANDBOX_TOOLS } from "../sandbox/tools.ts";
import type { TestRecord } from "./counts-reporter.ts";

export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const COUNTS_REPORTER = fileURLToPath(new URL("counts-reporter.ts", import.meta.url));

export interface Layer {
  readonly name: string;
  /** Files at a time. Lab files share two cores with three control planes: one. */
  readonly concurrency: number;
  readonly testTimeoutMs: number;
  /** For the whole layer: a hung process must not hang the run. */
  readonly limitMs: number;
  /** required: needs namespaces. preferred: leaves nothing behind there, runs without as well. */
  readonly sandbox: "none" | "preferred" | "required";
  /** `cluster`: what a kubeadm cluster needs, and cgroups for its nodes. */
  readonly needs: readonly ("build" | "control-plane" | "etcdctl" | "cluster" | "older-kubeadm")[];
  /** Its scenarios take minutes of waiting: runs when it is named, and is no part of `npm test`. */
  readonly onlyWhenNamed?: boolean;
}

export const LAYERS: readonly Layer[] = [
  { name: "unit", concurrency: 2, testTimeoutMs: 30_000, limitMs: 10 * 60_000, sandbox: "none", needs: [] },
  { name: "sim", concurrency: 2, testTimeoutMs: 180_000, limitMs: 15 * 60_000, sandbox: "none", needs: [] },
  {
    name: "contract",
    concurrency: 1,
    testTimeoutMs: 180_000,
    limitMs: 15 * 60_000,
    sandbox: "preferred",
    needs: ["control-plane"],
  },
  // Needs registries, which the sandbox cannot reach.
  {
    name: "image",
    concurrency: 1,
    testTimeoutMs: 10 * 60_000,
    limitMs: 15 * 60_000,
    sandbox: "none",
    needs: [],
  },
  {
    name: "lab",
    concurrency: 1,
    testTimeoutMs: 300_000,
    limitMs: 60 * 60_000,
    sandbox: "required",
    needs: ["control-plane", "build"],
  },
  {
    name: "e2e",
    concurrency: 1,
    testTimeoutMs: 15 * 60_000,
    limitMs: 30 * 60_000,
    sandbox: "required",
    needs: ["cluster"],
  },
  // `npm run test:e2e -- --all`
  {
    name: "e2e-all",
    concurrency: 1,
    testTimeoutMs: 30 * 60_000,
    limitMs: 120 * 60_000,
    sandbox: "required",
    needs: ["cluster", "older-kubeadm"],
    onlyWhenNamed: true,
  },
  {
    name: "long",
    concurrency: 1,
    testTimeoutMs: 900_000,
    limitMs: 120 * 60_000,
    sandbox: "required",
    needs: ["control-plane", "etcdctl", "build"],
    onlyWhenNamed: true,
  },
];

export interface Outcome {
  readonly layer: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Why the layer failed beside failed tests, or what a reader should know; one line each. */
  readonly problems: readonly string[];
  readonly notes: readonly string[];
}

/** Test files of a layer whose path below test/ contains one of `filters`; all when there are none. */
export function filesOf(layer: Layer, filters: readonly string[]): string[] {
  const files = globSync(`test/${layer.name}/**/*.test.ts`, { cwd: ROOT }).sort();
  return filters.length === 0
    ? files
    : files.filter((file) => filters.some((filter) => file.includes(filter)));
}

/** Runs `files` as one `node --test` and counts what it reports. */
export async function runLayer(layer: Layer, files: readonly string[]): Promise<Outcome> {
  const obstacle =
    layer.sandbox === "none"
      ? undefined
      : sandboxObstacle(layer.sandbox === "required" ? LAB_TOOLS : SANDBOX_TOOLS);
  if (layer.sandbox === "required" && obstacle !== undefined) {
    return { layer: layer.name, passed: 0, failed: 0, skipped: 0, problems: [obstacle], notes: [] };
  }
  const directory = mkdtempSync(join(tmpdir(), "leasehold-test-"));
  try {
    const counts = join(directory, "counts");
    const argv = [
      process.execPath, "--test",
      `--test-concurrency=${layer.concurrency}`, `--test-timeout=${layer.testTimeoutMs}`,
      "--test-reporter=spec", "--test-reporter-destination=stdout",
      `--test-reporter=${COUNTS_REPORTER}`, `--test-reporter-destination=${counts}`,
      ...files,
    ]; // prettier-ignore
    const sandboxed = layer.sandbox !== "none" && obstacle === undefined;
    const janitor = layer.needs.includes("cluster") ? startJanitor() : undefined;
    if (janitor !== undefined) process.env[CGROUP_VARIABLE] = janitor.cgroup;
    const code = await runBounded(argv, sandboxed, layer.limitMs);
    const problems = (await janitor?.finish()) === false ? ["cgroups are left below /sys/fs/cgroup"] : [];
    // Where no sandbox could be made nothing has run, and nothing was written.
    const written = existsSync(counts) ? readFileSync(counts, "utf8") : "";
    const records = written
      .split("\n")
      .filter((line) => line !== "")
      .map((line): TestRecord => JSON.parse(line));
    const outcome = summarize(layer, code, records);
    return { ...outcome, problems: [...outcome.problems, ...problems] };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Exit code; undefined when the limit had to end it. */
async function runBounded(
  argv: readonly string[],
  sandboxed: boolean,
  limitMs: number,
): Promise<number | undefined> {
  const [file = "", ...args] = argv;
  process.chdir(ROOT);
  const child = sandboxed ? spawnInSandbox(argv) : spawn(file, args, { stdio: "inherit", detached: true });
  const end = (signal: NodeJS.Signals): void => {
    if (child.pid === undefined || child.exitCode !== null) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // ended in between
    }
  };
  // Both kinds lead a process group of their own: what they started ends with them.
  const interrupt = (): void => {
    end("SIGKILL");
    process.stderr.write(
      "interrupted: the tests' processes, and in the sandbox their namespaces, are gone\n",
    );
    process.exit(130);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, interrupt);
  let expired = false;
  const timer = setTimeout(() => {
    expired = true;
    end("SIGKILL");
  }, limitMs);
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => resolve(code ?? 137));
    });
    return expired ? undefined : code;
  } finally {
    clearTimeout(timer);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, interrupt);
  }
}

function summarize(layer: Layer, code: number | undefined, all: readonly TestRecord[]): Outcome {
  const empty = all.filter((record) => record.isFile && record.outcome === "passed");
  const records = all.filter((record) => !empty.includes(record));
  const count = (outcome: TestRecord["outcome"]): number =>
    records.filter((record) => record.outcome === outcome).length;
  const failed = count("failed");
  const problems = empty.map((record) => `${record.name} has no tests`);
  if (code === undefined) problems.push(`not done within ${layer.limitMs / 60_000} minutes, ended`);
  else if (code !== 0 && failed === 0) problems.push(`node --test ended with ${code} though no test failed`);
  if (count("passed") + failed === 0) problems.push("not one test was executed");
  const notes = records
    .filter((record) => record.outcome === "skipped")
    .map((record) => `skipped: ${record.name}${record.reason === "" ? "" : ` (${record.reason})`}`);
  return { layer: layer.name, passed: count("passed"), failed, skipped: count("skipped"), problems, notes };
}
