/**
 * Keeps the flight recorder's files: `decisions/` of the data directory has the last ten recordings. A
 * recording is written a little after its cause, so that it has what came of it, and so that the write costs
 * the move itself nothing.
 */
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log.ts";

/** Most files that are kept. */
const MOST_FILES = 10;
/** Milliseconds from a move to its recording. */
const AFTER_MS = 3_000;
/** Milliseconds between two recordings of moves at least: a VIP that flaps must not fill the disk's queue. */
const APART_MS = 10_000;
/** The name of a recording: the time, and why it was written. */
const NAME = /^\d{8}T\d{9}Z-[a-zA-Z0-9-]+\.json$/;

export interface RecordingsDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly dataDir: string;
  /** Returns the text of a recording as of the call. */
  readonly text: (cause: string) => Promise<string>;
}

export interface Recordings {
  /** Writes a recording soon. Causes that come meanwhile are in it. */
  soon(cause: string): void;
  /** Writes a recording now. Resolves when it is written, or has failed (logged). */
  now(cause: string): Promise<void>;
  /** Writes what is due, and resolves when nothing is under way. */
  close(): Promise<void>;
}

/** Milliseconds of work without a pause: the same thread renews the Lease and asks the wire every 50 ms. */
const WORK_MS = 10;

/** Joins the parts, and lets other work of this thread go between them. */
export async function inPieces(clock: Clock, parts: Iterable<string>): Promise<string> {
  const done: string[] = [];
  let sinceMs = clock.now();
  for (const part of parts) {
    done.push(part);
    if (clock.now() - sinceMs < WORK_MS) continue;
    await new Promise<void>((resolve) => void setImmediate(resolve));
    sinceMs = clock.now();
  }
  return done.join("");
}

/** The directory of the recordings. */
export function recordingsDirectory(dataDir: string): string {
  return join(dataDir, "decisions");
}

/** The names of the recordings in a list of files, the oldest first. */
export function recordingsIn(files: readonly string[]): readonly string[] {
  return files.filter((file) => NAME.test(file)).sort();
}

export function createRecordings({ clock, log, dataDir, text }: RecordingsDeps): Recordings {
  const directory = recordingsDirectory(dataDir);
  let due: { readonly cause: string; readonly timer: Timer } | undefined;
  let lastMs = Number.NEGATIVE_INFINITY;
  let writing: Promise<void> = Promise.resolve();

  async function write(cause: string, at: Date, text: Promise<string>): Promise<void> {
    const file = join(directory, `${at.toISOString().replaceAll(/[-:.]/g, "")}-${cause}.json`);
    try {
      const content = await text;
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeFile(`${file}.new`, content, { mode: 0o600 });
      await rename(`${file}.new`, file);
      log.info({ file, cause }, "The flight recorder was written");
      const files = await readdir(directory);
      const old = recordingsIn(files).slice(0, -MOST_FILES);
      const broken = files.filter((name) => name.endsWith(".json.new"));
      for (const name of [...old, ...broken]) await rm(join(directory, name), { force: true });
    } catch (error) {
      log.warn(
        { err: error, file, cause },
        "The agent could not write the flight recorder: `err` says why, and the line `disk` of `leasehold doctor`",
      );
      await rm(`${file}.new`, { force: true }).catch(() => {});
    }
  }

  function now(cause: string): Promise<void> {
    const at = clock.wall();
    const content = text(cause);
    writing = writing.then(() => write(cause, at, content));
    return writing;
  }

  function writeDue(): Promise<void> {
    if (due === undefined) return writing;
    const { cause, timer } = due;
    timer.cancel();
    due = undefined;
    lastMs = clock.now();
    return now(cause);
  }

  return {
    soon(cause) {
      if (due !== undefined) return;
      const delayMs = Math.max(AFTER_MS, lastMs + APART_MS - clock.now());
      due = { cause, timer: clock.after(delayMs, () => void writeDue()) };
    },
    now,
    close: writeDue,
  };
}
