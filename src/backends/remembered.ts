/**
 * Keeps the last known backends on disk: at a cold start of the whole cluster no API server can tell where
 * the others are. The list is written only when the API gave one that is not empty, never because the API is
 * silent.
 */
import type { Logger } from "../log.ts";
import { hostPort, parseIp } from "../net.ts";
import { isRecord, readRememberedItems, writeRememberedItems } from "../remembered-file.ts";
import type { Backend } from "./backend.ts";

/**
 * A remembered backend. The node that wrote the list may be gone, so the reader decides again which backend
 * is local.
 */
export type Remembered = Pick<Backend, "id" | "host" | "port">;

/** The name of these items in the file and in the log. */
const WHAT = "backends";

/**
 * Reads the remembered backends. The list is empty if nothing is remembered or the file is damaged, which is
 * logged.
 */
export function readRemembered(path: string, log: Logger): readonly Remembered[] {
  return readRememberedItems(path, WHAT, parseBackend, log);
}

/** Writes the backends. A failure is logged, and the balancer works without. An empty list is not written. */
export function writeRemembered(path: string, backends: readonly Backend[], log: Logger): void {
  if (backends.length === 0) return;
  writeRememberedItems(
    path,
    WHAT,
    backends.map(({ host, port }) => ({ host, port })),
    log,
  );
}

function parseBackend(item: unknown): Remembered | undefined {
  if (!isRecord(item)) return undefined;
  const { host, port } = item;
  const address = typeof host === "string" ? parseIp(host) : undefined;
  if (
    address === undefined ||
    typeof port !== "number" ||
    !Number.isInteger(port) ||
    port < 1 ||
    port > 65_535
  ) {
    return undefined;
  }
  return { id: hostPort(address.text, port), host: address.text, port };
}
