/**
 * Defines a check that reads a number from a file: with it an operator changes the priority, or the
 * eligibility.
 */
import { watch } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Clock, Timer } from "../clock.ts";
import { errorCode, errorMessage } from "../errors.ts";
import type { Outcome } from "./rules.ts";

/** A longer file does not hold a number. */
const FILE_BYTES = 64;
/** A shell's `echo 5 > file` empties the file first, so the writer gets this long to finish. */
const SETTLE_MS = 50;
const INTEGER = /^[+-]?\d{1,9}$/;

/**
 * Returns a run that reads the number in the file. A missing file, or one without an integer, is `unusable`.
 */
export function fileCheck(path: string): () => Promise<Outcome> {
  return async () => {
    let text: string;
    try {
      text = await readStart(path);
    } catch (error) {
      return {
        kind: "unusable",
        detail: errorCode(error) === "ENOENT" ? `${path}: no such file` : `${path}: ${errorMessage(error)}`,
      };
    }
    const trimmed = text.trim();
    if (!INTEGER.test(trimmed)) {
      const what =
        trimmed === "" ? "the file is empty" : `not an integer: ${JSON.stringify(trimmed.slice(0, 20))}`;
      return { kind: "unusable", detail: `${path}: ${what}` };
    }
    // "-0" is 0.
    const value = Number.parseInt(trimmed, 10) || 0;
    return { kind: "value", value, detail: `value ${value}` };
  };
}

/** Reads the first bytes of a small file. @throws {Error} when there is none or it cannot be read */
export async function readStart(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(FILE_BYTES), 0, FILE_BYTES, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Pokes after changes of the file, once they have settled. It watches the directory, so it sees a file that
 * is replaced or comes later. It only saves time: without it (no directory yet, no inotify watch left) the
 * next regular run finds out.
 */
export function watchFile(path: string, clock: Clock): (poke: () => void) => { close(): void } {
  return (poke) => {
    let settling: Timer | undefined;
    const name = basename(path);
    const changed = (_event: string, file: string | null): void => {
      if (file !== null && file !== name) return;
      settling?.cancel();
      settling = clock.after(SETTLE_MS, poke);
    };
    let watcher: ReturnType<typeof watch> | undefined;
    try {
      watcher = watch(dirname(path), { persistent: false }, changed);
      watcher.on("error", () => watcher?.close());
    } catch {
      watcher = undefined;
    }
    return {
      close() {
        settling?.cancel();
        watcher?.close();
      },
    };
  };
}
