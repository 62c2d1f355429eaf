/**
 * The last known backends, on disk: at a cold start of the whole cluster no API server can tell where the others
 * are. Never written because the API is silent, only when it gave a list that is not empty.
 */
import type { Logger } from "../log.ts";
import { hostPort, parseIp } from "../net.ts";
import { isRecord, readRememberedItems, writeRememberedItems } from "../remembered-file.ts";
import type { Backend } from "./backend.ts";

/** Where it came from may be gone, so which backend is local is decided anew by whoever reads it. */
export type Remembered = Pick<Backend, "id" | "host" | "port">;

/** The file's name for them, and the log's. */
const WHAT = "backends";

/** Nothing remembered, or a damaged file (logged): an empty list. */
export function readRemembered(path: string, log: Logger): readonly Remembered[] {
  return readRememberedItems(path, WHAT, parseBackend, log);
}

/** A failure is logged; the balancer works without. An empty list is not remembered. */
export function writeRemembered(path: string, backends: readonly Backend[], log: Logger): void {
  writeRememberedItems(path, WHAT, backends.map(({ host, port }) => ({ host, port })), log);
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
