/**
 * Installs what is missing of the programs that a purpose calls, where that can be done without asking
 * anybody: as root, with apt. Elsewhere it says what is missing and how to have it.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { attempt } from "../lab/command.ts";
import {
  PURPOSES,
  TOOL_PATH,
  findProgram,
  installCommand,
  packagesOf,
  withPackages,
} from "../sandbox/tools.ts";
import type { PurposeName, Tool } from "../sandbox/tools.ts";

export interface Machine {
  readonly isRoot: boolean;
  /** Path of apt-get; undefined on another distribution. */
  readonly aptGet: string | undefined;
  /** What invoke-rc.d(8) asks whether the service of a new package may start: /usr/sbin/policy-rc.d. */
  readonly policyFile: string;
  has(tool: Tool): boolean;
  /** One line for people. */
  say(line: string): void;
}

/** The lists of packages, and a slow mirror. */
const UPDATE_LIMIT_MS = 5 * 60_000;
const INSTALL_LIMIT_MS = 20 * 60_000;
/** Another apt may be at work; how long to wait for it. */
const WAIT_FOR_APT_SECONDS = 120;

export function thisMachine(): Machine {
  return {
    isRoot: process.getuid?.() === 0,
    aptGet: findProgram("apt-get"),
    policyFile: "/usr/sbin/policy-rc.d",
    has: (tool) => findProgram(tool) !== undefined,
    say: (line) => void process.stderr.write(`${line}\n`),
  };
}

/**
 * Silent where nothing is missing, and one line where it installs or cannot.
 * @returns what is missing afterwards, and whether the purposes can begin without it
 */
export async function setUp(
  purposes: readonly PurposeName[],
  machine: Machine = thisMachine(),
): Promise<{ missing: readonly Tool[]; ready: boolean }> {
  const look = (): readonly Tool[] => missingOf(purposes, machine);
  let missing = look();
  if (missing.length > 0) {
    if (!machine.isRoot || machine.aptGet === undefined) machine.say(advice(purposes, missing));
    else {
      machine.say(
        `Installing ${packagesOf(missing).join(", ")} with apt-get, for want of ${missing.join(", ")}.`,
      );
      const failure = await install(machine.aptGet, packagesOf(missing), machine.policyFile);
      missing = look();
      if (missing.length > 0) machine.say(`${failure ?? "apt-get succeeded"}. ${advice(purposes, missing)}`);
    }
  }
  const needed = neededBy(purposes);
  return { missing, ready: !missing.some((tool) => needed.has(tool)) };
}

function neededBy(purposes: readonly PurposeName[]): ReadonlySet<Tool> {
  return new Set(purposes.flatMap((name) => PURPOSES[name].needs));
}

function missingOf(purposes: readonly PurposeName[], machine: Machine): readonly Tool[] {
  const called = new Set<Tool>(
    purposes.flatMap((name) => [...PURPOSES[name].needs, ...PURPOSES[name].wants]),
  );
  return [...called].filter((tool) => !machine.has(tool));
}

/** What is missing, what comes of it, and the command that helps. */
function advice(purposes: readonly PurposeName[], missing: readonly Tool[]): string {
  const needed = neededBy(purposes);
  const lesser = purposes
    .filter((name) => PURPOSES[name].wants.some((tool) => missing.includes(tool)))
    .map((name) => PURPOSES[name].without);
  const result = missing.some((tool) => needed.has(tool)) ? "" : `; without, ${lesser.join(" and ")}`;
  return `Missing: ${withPackages(missing)}${result}. Install with, as root: ${installCommand(missing)}`;
}

/** Answers what apt-get said when it failed. */
async function install(
  aptGet: string,
  packages: readonly string[],
  policyFile: string,
): Promise<string | undefined> {
  let interrupted: NodeJS.Signals | undefined;
  // apt-get gets a terminal's Ctrl-C as well, and must end in its own way: dpkg leaves half of a package
  // behind otherwise.
  const interrupt = (signal: NodeJS.Signals): void => {
    interrupted = signal;
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, interrupt);
  let withdraw = (): void => {};
  try {
    withdraw = forbidServices(policyFile);
    const options = ["-qq", "-o", `DPkg::Lock::Timeout=${WAIT_FOR_APT_SECONDS}`];
    // Its failure may be that of one source among several; whether the packages can be had shows when they
    // are asked for.
    const update = await call([aptGet, ...options, "update"], UPDATE_LIMIT_MS);
    if (interrupted !== undefined) return undefined;
    const failure = await call(
      [aptGet, ...options, "install", "--yes", "--no-install-recommends", ...packages],
      INSTALL_LIMIT_MS,
    );
    return failure === undefined ? undefined : (update ?? failure);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    withdraw();
    for (const signal of signals) process.off(signal, interrupt);
    if (interrupted !== undefined) process.exit(130);
  }
}

async function call(argv: readonly string[], timeoutMs: number): Promise<string | undefined> {
  const env = { ...process.env, PATH: TOOL_PATH, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
  const { code, stderr } = await attempt(argv, { env, timeoutMs });
  if (code === 0) return undefined;
  const lines = stderr.split("\n").map((line) => line.trim());
  const said = lines.findLast((line) => line.startsWith("E:")) ?? lines.findLast((line) => line !== "");
  return `apt-get failed: ${said ?? (code === null ? `not done within ${timeoutMs / 60_000} minutes` : `exit code ${code}`)}`;
}

const OURS = "# Written by Leasehold's set-up of its tests";

/**
 * haproxy, keepalived and prometheus are to be programs here, not services: none may start. A file of
 * somebody else's is left alone. Ours has no effect any more once this process has ended, however it ended.
 * @returns takes it back
 */
function forbidServices(policyFile: string): () => void {
  const text = `#!/bin/sh\n${OURS}: no service starts while it installs.\nkill -0 ${process.pid} 2>/dev/null && exit 101\nexit 0\n`;
  const present = read(policyFile);
  if (present !== undefined && !present.includes(OURS)) return () => {};
  writeFileSync(policyFile, text, { mode: 0o755 });
  return () => {
    if (read(policyFile) === text) rmSync(policyFile, { force: true });
  };
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
