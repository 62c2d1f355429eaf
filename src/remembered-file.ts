/**
 * Keeps small JSON files on disk that outlive a reboot. They are replaced in one step, so that after a power
 * loss the file is the old or the new one. A damaged file is reported and ignored.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { errorCode } from "./errors.ts";
import type { Logger } from "./log.ts";

const VERSION = 1;

/**
 * Reads the items of the file that `parse` accepts; none when there is no file, or when any of it is damaged
 * (logged). `what` is the key of the list in the file, and names it in the log.
 */
export function readRememberedItems<T>(
  path: string,
  what: string,
  parse: (item: unknown) => T | undefined,
  log: Logger,
): readonly T[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) !== "ENOENT")
      log.warn(
        { path, what, err: error },
        "The agent could not read a file of LEASEHOLD_DATA_DIR, and goes on without it",
      );
    return [];
  }
  const items = parseItems(text, what, parse);
  if (items === undefined)
    log.warn(
      { path, what },
      "A file of LEASEHOLD_DATA_DIR is damaged, the agent ignores it and writes it again",
    );
  return items ?? [];
}

/**
 * Replaces the file (temporary file, fsync, rename). A failure is logged, because everything works without
 * the file.
 */
export function writeRememberedItems(
  path: string,
  what: string,
  items: readonly unknown[],
  log: Logger,
): void {
  const text = `${JSON.stringify({ version: VERSION, [what]: items })}\n`;
  try {
    replaceFile(path, text);
  } catch (error) {
    log.warn(
      { path, what, err: error },
      "The agent could not write a file of LEASEHOLD_DATA_DIR: `err` says why, and the line `disk` of `leasehold doctor`",
    );
  }
}

/**
 * Replaces the file in one step, and makes its directory. Only its owner may read it.
 * @throws {Error} when it cannot be written
 */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.new`;
  mkdirSync(dirname(path), { recursive: true });
  syncing(temporary, "w", (fd) => void writeSync(fd, text));
  renameSync(temporary, path);
  // The rename itself is an entry of the directory, so the directory is synced too.
  syncing(dirname(path), "r", () => {});
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

function parseItems<T>(
  text: string,
  what: string,
  parse: (item: unknown) => T | undefined,
): readonly T[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || value["version"] !== VERSION) return undefined;
  const list = value[what];
  if (!Array.isArray(list)) return undefined;
  const items: T[] = [];
  for (const entry of list as readonly unknown[]) {
    const item = parse(entry);
    if (item === undefined) return undefined;
    items.push(item);
  }
  return items;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
