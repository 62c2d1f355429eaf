/**
 * The last known backends, on disk: at a cold start of the whole cluster no API server can tell where the others
 * are. Never written because the API is silent, only when it gave a list that is not empty.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Logger } from "../log.ts";
import { hostPort, parseIp } from "../net.ts";
import type { Backend } from "./backend.ts";

/** Where it came from may be gone, so which backend is local is decided anew by whoever reads it. */
export type Remembered = Pick<Backend, "id" | "host" | "port">;

const VERSION = 1;

/** Nothing remembered, or a damaged file (logged): an empty list. */
export function readRemembered(path: string, log: Logger): readonly Remembered[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) {
      log.warn({ path, err: error }, "the remembered backends cannot be read");
    }
    return [];
  }
  const backends = parse(text);
  if (backends === undefined) log.warn({ path }, "the remembered backends are damaged and ignored");
  return backends ?? [];
}

/**
 * Replaces the file in one step (temporary file, fsync, rename): after a power loss it is the old or the new one.
 * A failure is logged; the balancer works without. An empty list is not remembered.
 */
export function writeRemembered(path: string, backends: readonly Backend[], log: Logger): void {
  if (backends.length === 0) return;
  const text = `${JSON.stringify({ version: VERSION, backends: backends.map(({ host, port }) => ({ host, port })) })}\n`;
  const temporary = `${path}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    syncing(temporary, "w", (fd) => void writeSync(fd, text));
    renameSync(temporary, path);
    // The rename itself lies in the directory.
    syncing(dirname(path), "r", () => {});
  } catch (error) {
    log.warn({ path, err: error }, "the backends cannot be remembered");
  }
}

function syncing(path: string, flags: string, write: (fd: number) => void): void {
  const fd = openSync(path, flags, 0o600);
  try {
    write(fd);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function parse(text: string): readonly Remembered[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || value["version"] !== VERSION || !Array.isArray(value["backends"])) return undefined;
  const backends: Remembered[] = [];
  for (const item of value["backends"] as readonly unknown[]) {
    const backend = parseBackend(item);
    if (backend === undefined) return undefined;
    backends.push(backend);
  }
  return backends;
}

function parseBackend(item: unknown): Remembered | undefined {
  if (!isRecord(item)) return undefined;
  const { host, port } = item;
  const address = typeof host === "string" ? parseIp(host) : undefined;
  if (address === undefined || typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) {
    return undefined;
  }
  return { id: hostPort(address.text, port), host: address.text, port };
}

function isRecord(value: unknown): value is { readonly host?: unknown; readonly port?: unknown } & Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
