/**
 * `npm run incident -- NAME [--minutes 20]`: puts a person before a cluster in which one thing is broken. It starts
 * three nodes on this machine, breaks one thing, prints what an alert would say and how to get a shell on each machine,
 * and looks every second whether the cluster is well again. Exit code 0 when it is, 1 when the time is over, 2 for wrong
 * arguments, 69 where it cannot run.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { EX_UNAVAILABLE } from "../src/needed-node.js";
import { findBinaries } from "../test/support/control-plane/binaries.ts";
import { findEtcdctl } from "../test/support/e2e/programs.ts";
import { INCIDENTS } from "../test/support/incident/incidents.ts";
import { play } from "../test/support/incident/play.ts";
import { writeSandboxShell } from "../test/support/incident/shells.ts";
import { insideSandbox, runInSandbox, sandboxObstacle } from "../test/support/sandbox/sandbox.ts";
import { LAB_TOOLS } from "../test/support/sandbox/tools.ts";
import { setUp } from "../test/support/set-up/set-up.ts";

/** The directory of the shells, which the outer process makes and the one in the sandbox fills. */
const SHELLS = "LAB_INCIDENT_SHELLS";
const MOST_MINUTES = 240;

const { name, minutes } = readArguments();
const incident = INCIDENTS.find((one) => one.name === name);
if (incident === undefined) {
  const known = INCIDENTS.map((one) => one.name).join(", ");
  fail(
    2,
    `${name === "" ? "Give the name of one incident" : `There is no incident ${name}`}. Known: ${known}`,
  );
}
const shells = process.env[SHELLS];
const say = (line: string): void => void process.stdout.write(`${line}\n`);
if (insideSandbox() && shells !== undefined) {
  const found = await findBinaries();
  if (found.kind === "unavailable") fail(EX_UNAVAILABLE, found.reason);
  const programs = { binaries: found.binaries, etcdctl: await findEtcdctl(() => {}) };
  process.exit((await play(incident, { programs, minutes, shells, say })) ? 0 : 1);
}
process.exit(await outside());

function readArguments(): { readonly name: string; readonly minutes: number } {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { minutes: { type: "string", default: "20" } },
    });
    const minutes = Number(values.minutes);
    if (!(minutes > 0 && minutes <= MOST_MINUTES))
      fail(2, `--minutes is ${values.minutes}: give a number up to ${MOST_MINUTES}`);
    return { name: positionals.length === 1 ? (positionals[0] ?? "") : "", minutes };
  } catch (error) {
    fail(2, error instanceof Error ? error.message : String(error));
  }
}

/** Everything that needs the network or writes into this repository, and then the sandbox. */
async function outside(): Promise<number> {
  if (!(await setUp(["test"])).ready) return EX_UNAVAILABLE;
  const obstacle = sandboxObstacle(LAB_TOOLS);
  if (obstacle !== undefined) fail(EX_UNAVAILABLE, obstacle);
  const found = await findBinaries(say);
  if (found.kind === "unavailable") fail(EX_UNAVAILABLE, found.reason);
  await findEtcdctl(say);
  const build = spawnSync(process.execPath, [fileURLToPath(new URL("build.ts", import.meta.url))], {
    encoding: "utf8",
  });
  if (build.status !== 0) fail(1, `the build failed:\n${build.stderr}`);
  const directory = mkdtempSync(join(tmpdir(), "leasehold-incident-"));
  try {
    return await runInSandbox([process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
      env: { ...process.env, [SHELLS]: directory },
      started: (pid) => writeSandboxShell(directory, pid),
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function fail(code: number, text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(code);
}
