/**
 * A stand-in for crictl on a machine of the staged incidents: `ps`, `logs`, `exec`, `stop` and `inspect` of what the
 * stand-in for the kubelet runs, with crictl's own flags and columns.
 */
import { spawn, spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { readContainers } from "../containers.ts";
import type { Container } from "../containers.ts";

const SHORT = 13;
const [command = "", ...words] = process.argv.slice(2);

function fail(text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

function byId(id: string | undefined): Container {
  if (id === undefined || id === "") fail("ID cannot be empty");
  const found = readContainers().find((container) => container.id.startsWith(id));
  return found ?? fail(`container with ID starting with ${id} not found`);
}

function age(ms: number): string {
  const seconds = Math.round((Date.now() - ms) / 1_000);
  return seconds < 120 ? `${seconds} seconds ago` : `${Math.round(seconds / 60)} minutes ago`;
}

function ps(): void {
  const { values } = parseArgs({
    args: words,
    options: {
      all: { type: "boolean", short: "a" },
      quiet: { type: "boolean", short: "q" },
      name: { type: "string" },
      state: { type: "string", short: "s" },
      latest: { type: "boolean", short: "l" },
    },
  });
  const state = values.state?.toLowerCase() ?? (values.all === true ? undefined : "running");
  const name = new RegExp(values.name ?? "");
  const found = readContainers().filter(
    (one) =>
      name.test(one.name) &&
      (state === undefined || (one.exit === undefined ? "running" : "exited") === state),
  );
  const shown = values.latest === true ? found.slice(0, 1) : found;
  if (values.quiet === true) {
    for (const { id } of shown) process.stdout.write(`${id}\n`);
    return;
  }
  const rows = [
    ["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD"],
    ...shown.map((one) => [
      one.id.slice(0, SHORT),
      one.image,
      age(one.createdMs),
      one.exit === undefined ? "Running" : "Exited",
      one.name,
      String(one.attempt),
      one.pod,
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd((widths[column] ?? 0) + 4))
        .join("")
        .trimEnd()}\n`,
    );
}

function logs(): void {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: { tail: { type: "string" }, follow: { type: "boolean", short: "f" } },
  });
  const { logFile } = byId(positionals[0]);
  const lines = values.tail === undefined ? "+1" : values.tail;
  const { status } = spawnSync("tail", ["-n", lines, ...(values.follow === true ? ["-f"] : []), logFile], {
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
}

function exec(): void {
  const at = words.findIndex((word) => !word.startsWith("-"));
  const container = byId(words[at]);
  if (container.exit !== undefined) fail(`container is not running: ${container.id}`);
  const [file = "", ...args] = words.slice(at + 1);
  const child = spawn(file, args, { stdio: "inherit", env: container.env });
  child.once("error", (error) => fail(`failed to exec in container: ${error.message}`));
  child.once("exit", (code) => (process.exitCode = code ?? 1));
}

async function stop(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: { timeout: { type: "string", short: "t", default: "0" } },
  });
  for (const id of positionals) {
    const { pid } = byId(id);
    const deadline = Date.now() + Number(values.timeout) * 1_000;
    if (Number(values.timeout) > 0) kill(pid, "SIGTERM");
    while (Date.now() < deadline && kill(pid, 0)) await new Promise((resolve) => setTimeout(resolve, 100));
    kill(pid, "SIGKILL");
    process.stdout.write(`${id}\n`);
  }
}

function kill(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

switch (command) {
  case "ps":
    ps();
    break;
  case "logs":
    logs();
    break;
  case "exec":
    exec();
    break;
  case "stop":
    await stop();
    break;
  case "inspect":
    process.stdout.write(`${JSON.stringify({ status: byId(words[0]) }, undefined, 2)}\n`);
    break;
  default:
    fail(`this machine's crictl has ps, logs, exec, stop and inspect, and not ${command || "nothing"}`);
}
