/**
 * Writes the log's lines to a file descriptor and never waits. A reader that stands still must not cost the
 * VIP: a pipe holds 64 KiB, and a write that waits for its reader stops every timer of the agent. What does
 * not fit is kept for a while, then dropped and counted, and the count is logged when writing works again.
 */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { pause } from "./clock.ts";
import type { Clock, Timer } from "./clock.ts";

/** Bytes that are kept for a reader that is slow. */
const MOST_KEPT = 256 * 1024;
/** Milliseconds between two tries while something is kept. */
const RETRY_MS = 100;
/** Milliseconds for which {@link LogOutput.close} tries to write what is left. */
const CLOSE_MS = 300;

/** One write, as write(2). @returns the number of bytes that were taken, 0 when it would have to wait */
export type WriteBytes = (bytes: Uint8Array) => number;

export interface LogOutputDeps {
  readonly clock: Pick<Clock, "now" | "after">;
  /** It must not wait. It may throw, for example ENOSPC, EPIPE or EIO. */
  readonly write: WriteBytes;
  /** Returns the line that says how many lines were dropped, with its end of line. */
  readonly notice: (dropped: number, forMs: number) => string;
}

export interface LogOutput {
  /** Takes a whole line with its end. It never waits and never throws. */
  line(text: string): void;
  /** How many lines were dropped since the start. */
  dropped(): number;
  /** Resolves when everything is written, and after 0.3 s at the latest. */
  close(): Promise<void>;
}

export function createLogOutput({ clock, write, notice }: LogOutputDeps): LogOutput {
  const kept: Uint8Array[] = [];
  let keptBytes = 0;
  let timer: Timer | undefined;
  let dropped = 0;
  let untold = 0;
  let sinceMs = 0;

  function keep(text: string): void {
    const bytes = Buffer.from(text, "utf8");
    kept.push(bytes);
    keptBytes += bytes.length;
  }

  /** Writes what is kept, in order. A line that was taken in part is finished before the next one. */
  function flush(): void {
    for (let [first] = kept; first !== undefined; [first] = kept) {
      let taken: number;
      try {
        taken = write(first);
      } catch {
        // The disk is full, or no process has the pipe open for reading. That may change, so it is tried again.
        taken = 0;
      }
      keptBytes -= taken;
      if (taken >= first.length) kept.shift();
      else if (taken > 0) kept[0] = first.subarray(taken);
      else break;
    }
    tellDropped();
  }

  function tellDropped(): void {
    if (untold === 0 || kept.length > 0) return;
    const count = untold;
    untold = 0;
    keep(notice(count, clock.now() - sinceMs));
    flush();
  }

  function later(): void {
    if (kept.length === 0 || timer !== undefined) return;
    timer = clock.after(RETRY_MS, () => {
      timer = undefined;
      flush();
      later();
    });
  }

  function drop(): void {
    untold++;
    dropped++;
  }

  return {
    line(text) {
      if (kept.length > 0 && keptBytes + Buffer.byteLength(text) > MOST_KEPT) {
        if (untold === 0) sinceMs = clock.now();
        drop();
        return;
      }
      // A line after the ones that were dropped comes after the count of those.
      if (untold > 0) {
        flush();
        if (untold > 0) {
          drop();
          return later();
        }
      }
      keep(text);
      // While the reader stands still, one try in 100 ms is enough.
      if (timer === undefined) flush();
      later();
    },
    dropped: () => dropped,
    async close() {
      const untilMs = clock.now() + CLOSE_MS;
      timer?.cancel();
      for (;;) {
        flush();
        if (kept.length === 0 || clock.now() >= untilMs) return;
        await pause(clock, 10);
      }
    },
  };
}

/** The system calls that Node has no API for. */
export interface SystemCalls {
  /** Sends to a socket and does not wait. Returns 0 where it would have to. */
  readonly sendNow: (fd: number, bytes: Uint8Array) => number;
  /** Sets O_NONBLOCK. */
  readonly setNonBlocking: (fd: number) => void;
}

/**
 * Returns a write to the process's descriptor `fd` that does not wait for a reader.
 *
 * A pipe and a terminal are opened once more, because O_NONBLOCK belongs to the open file, which other
 * processes may share. A file never makes a writer wait for a reader, and is not opened again: the new one
 * would have a position of its own. A socket cannot be opened again (ENXIO), so it is sent to.
 */
export function openWithoutWaiting(fd: number, { sendNow, setNonBlocking }: SystemCalls): WriteBytes {
  const kind = kindOf(fd);
  if (kind === "socket") return (bytes) => sendNow(fd, bytes);
  const own = kind === "stream" ? openAgain(fd) : undefined;
  // The pipe belongs to another user, who may see the change too. To wait would be worse.
  if (kind === "stream" && own === undefined) setNonBlocking(fd);
  return (bytes) => {
    try {
      return writeSync(own ?? fd, bytes);
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return 0;
      throw error;
    }
  };
}

function kindOf(fd: number): "file" | "socket" | "stream" {
  try {
    const found = fstatSync(fd);
    if (found.isSocket()) return "socket";
    return found.isFIFO() || found.isCharacterDevice() ? "stream" : "file";
  } catch {
    // It is closed. Every write fails, and every line is counted.
    return "file";
  }
}

/** Returns undefined where the kernel does not allow it. */
function openAgain(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}
