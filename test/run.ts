/**
 * The test runner: `npm test -- [check|unit|sim|contract|image|lab|e2e|long]... [part of a file's path]...`
 * Without a layer all of them but `long`, in this order. `e2e --all` plays the guides as well. Exit code 0
 * only when every layer passed and at least one test ran. `--no-build` takes dist/ as it is. The last line is
 * `N passed, N failed, N skipped`.
 */
import { spawnSync } from "node:child_process";
import { dirname, join, delimiter } from "node:path";
import { findBinaries } from "./support/control-plane/binaries.ts";
import { prepareCluster } from "./support/e2e/prepare.ts";
import { findEtcdctl } from "./support/e2e/programs.ts";
import { LAYERS, ROOT, filesOf, runLayer } from "./support/runner/layers.ts";
import type { Layer, Outcome } from "./support/runner/layers.ts";
import { setUp } from "./support/set-up/set-up.ts";

const CHECKS = [
  { name: "typecheck", argv: ["tsc", "--noEmit", "-p", "."] },
  { name: "lint", argv: ["oxlint", "--type-aware", "--deny-warnings"] },
  { name: "knip", argv: ["knip"] },
] as const;

const bin = join(ROOT, "node_modules", ".bin");
process.env["PATH"] = [bin, process.env["PATH"] ?? "/usr/bin:/bin"].join(delimiter);

const build = !process.argv.includes("--no-build");
const words = process.argv
  .slice(2)
  .filter((word) => word !== "--no-build")
  .map((word) => (word === "--all" ? "e2e-all" : word));
const isLayer = (word: string): boolean => word === "check" || LAYERS.some((layer) => layer.name === word);
const chosen = words.filter(isLayer);
const filters = words.filter((word) => !isLayer(word));
const isNamed = (name: string): boolean => chosen.includes(name);

const work = LAYERS.filter(
  ({ name, onlyWhenNamed }) => isNamed(name) || (chosen.length === 0 && onlyWhenNamed !== true),
).map((layer) => ({
  layer,
  files: filesOf(layer, filters),
}));
if (work.some(({ files }) => files.length > 0)) await setUp(["test"]);

const outcomes: Outcome[] = [];
if (isNamed("check") || words.length === 0) outcomes.push(check());
for (const { layer, files } of work) {
  if (files.length > 0) outcomes.push(await prepareAndRun(layer, files));
  else if (filters.length === 0) outcomes.push(nothing(layer, `test/${layer.name} has no test files yet`));
}
process.exit(conclude());

function headline(text: string): void {
  process.stdout.write(`\n=== ${text}\n`);
}

function call(argv: readonly string[], timeoutMs: number): boolean {
  const [file = "", ...args] = argv;
  const result = spawnSync(file, args, { cwd: ROOT, stdio: "inherit", timeout: timeoutMs });
  if (result.error !== undefined) process.stderr.write(`${file}: ${result.error.message}\n`);
  return result.status === 0;
}

function check(): Outcome {
  const broken = CHECKS.filter(({ name, argv }) => {
    headline(name);
    return !call(argv, 5 * 60_000);
  });
  return {
    layer: "check",
    passed: CHECKS.length - broken.length,
    failed: broken.length,
    skipped: 0,
    problems: broken.map(({ name }) => `${name} failed`),
    notes: [],
  };
}

async function prepareAndRun(layer: Layer, files: readonly string[]): Promise<Outcome> {
  headline(`${layer.name}: ${files.length} files`);
  if (layer.needs.includes("control-plane")) {
    // Here and not in the tests: a build needs the network, and the sandbox has none.
    const found = await findBinaries((line) => process.stdout.write(`control plane: ${line}\n`));
    const line =
      found.kind === "found"
        ? `${found.binaries.version} from ${dirname(found.binaries.kubeApiserver)}`
        : found.reason;
    process.stdout.write(`control plane: ${line}\n`);
  }
  if (layer.needs.includes("etcdctl")) {
    try {
      await findEtcdctl((line) => process.stdout.write(`etcdctl: ${line}\n`));
    } catch (error) {
      return { ...nothing(layer), problems: [error instanceof Error ? error.message : String(error)] };
    }
  }
  if (layer.needs.includes("cluster")) {
    try {
      const older = layer.needs.includes("older-kubeadm");
      await prepareCluster((line) => process.stdout.write(`cluster: ${line}\n`), { older });
    } catch (error) {
      return { ...nothing(layer), problems: [error instanceof Error ? error.message : String(error)] };
    }
  }
  if (build && layer.needs.includes("build") && !call([process.execPath, "scripts/build.ts"], 2 * 60_000)) {
    return { ...nothing(layer), problems: ["the build failed (node scripts/build.ts)"] };
  }
  return runLayer(layer, files);
}

function nothing(layer: Layer, ...notes: readonly string[]): Outcome {
  return { layer: layer.name, passed: 0, failed: 0, skipped: 0, problems: [], notes };
}

/** Prints the summary; answers the exit code. */
function conclude(): number {
  headline("summary");
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { layer, passed, failed, skipped, problems, notes } of outcomes) {
    process.stdout.write(
      `${layer.padEnd(9)} ${passed} passed, ${failed} failed, ${skipped} skipped in this layer\n`,
    );
    for (const line of [...notes, ...problems]) process.stdout.write(`          ${line}\n`);
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  const executed = total.passed + total.failed;
  const unmatched =
    outcomes.length === 0 && filters.length > 0 ? `: no file matches ${filters.join(" ")}` : "";
  if (executed === 0) process.stdout.write(`no test was executed${unmatched}\n`);
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
  return executed === 0 || outcomes.some(({ failed, problems }) => failed > 0 || problems.length > 0) ? 1 : 0;
}
