/**
 * Limits how often the log says the same thing: a program that flushes the rules four times a second, or a
 * disk that is full, must not hide everything else. A line that repeats is written three times in half a
 * minute. After that it is counted, and the count is written at the end of the half minute.
 */
import { inspect } from "node:util";
import type { Clock, Timer } from "./clock.ts";
import type { LogFields } from "./log.ts";

/** Milliseconds that a window lasts. It begins with the first of the lines. */
const WINDOW_MS = 30_000;
/** Lines that are written in a window. */
const MOST_LINES = 3;
/** Most kinds of lines that are counted at one time. Others are written. */
const MOST_KINDS = 256;

export interface LogRepeats {
  /**
   * Returns whether a line is to be written now.
   * @param write writes the line with a field `repeated`, the number of the lines that were counted
   */
  allow(
    level: string,
    fields: LogFields,
    message: string,
    write: (fields: LogFields, message: string) => void,
  ): boolean;
  /** Writes the counts that are due. */
  close(): void;
}

interface Kind {
  lines: number;
  readonly timer: Timer;
  /** Writes the last line with the count of those that were left out; undefined: none was. */
  tell?: () => void;
}

export function createLogRepeats({ clock }: { readonly clock: Pick<Clock, "after"> }): LogRepeats {
  const kinds = new Map<string, Kind>();

  function end(key: string): void {
    const kind = kinds.get(key);
    kinds.delete(key);
    kind?.tell?.();
  }

  return {
    allow(level, fields, message, write) {
      const key = keyOf(level, fields, message);
      const kind = kinds.get(key);
      if (kind === undefined) {
        if (kinds.size < MOST_KINDS) {
          const timer = clock.after(WINDOW_MS, () => end(key));
          kinds.set(key, { lines: 1, timer });
        }
        return true;
      }
      kind.lines++;
      if (kind.lines <= MOST_LINES) return true;
      kind.tell = () => write({ ...fields, repeated: kind.lines - MOST_LINES }, message);
      return false;
    },
    close() {
      for (const [key, { timer }] of kinds) {
        timer.cancel();
        end(key);
      }
    },
  };
}

/** Lines are the same if they differ only in numbers, and in what an error has besides code and message. */
function keyOf(level: string, fields: LogFields, message: string): string {
  const same = Object.entries(fields).flatMap(([key, value]): readonly unknown[] => {
    if (typeof value === "number") return [];
    if (!(value instanceof Error)) return [[key, value]];
    return [[key, "code" in value ? value.code : "", value.message.replaceAll(/\d+/g, "#")]];
  });
  return `${level} ${message} ${inspect(same, { depth: 4, breakLength: Number.POSITIVE_INFINITY })}`;
}
