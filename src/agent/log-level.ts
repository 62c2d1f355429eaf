/**
 * Changes the log's level while the agent runs: the file `log-level` of the data directory has one word,
 * `error`, `warn`, `info` or `debug`. Without the file LEASEHOLD_LOG_LEVEL holds.
 */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { LOG_LEVELS } from "../pino-logger.ts";
import type { LevelLogger, LogLevel } from "../pino-logger.ts";
import { readStart } from "../tracking/file.ts";

/** Milliseconds between two looks at the file. */
const LOOK_MS = 5_000;

export interface LogLevelFile {
  /** Looks at the file now (SIGHUP). */
  look(): Promise<void>;
  close(): void;
}

export interface LogLevelDeps {
  readonly clock: Pick<Clock, "every">;
  readonly log: Logger & Pick<LevelLogger, "level" | "setLevel">;
  readonly dataDir: string;
  /** The level of LEASEHOLD_LOG_LEVEL. */
  readonly configured: LogLevel;
}

export function watchLogLevel({ clock, log, dataDir, configured }: LogLevelDeps): LogLevelFile {
  const file = join(dataDir, "log-level");
  let refused: string | undefined;
  let looking = false;

  async function look(): Promise<void> {
    // A disk that hangs must not collect readers.
    if (looking) return;
    looking = true;
    try {
      // Where there is no file, or it cannot be read, the setting holds.
      take(await readStart(file).catch(() => undefined));
    } finally {
      looking = false;
    }
  }

  function take(text: string | undefined): void {
    const word = text?.trim().toLowerCase();
    const level = word === undefined ? configured : LOG_LEVELS.find((each) => each === word);
    if (level === undefined) {
      if (word !== refused)
        log.warn(
          { file, value: word, logLevel: log.level() },
          `The file does not name a log level, so the level stays: write ${LOG_LEVELS.join(", ")} into it, or remove it`,
        );
      refused = word;
      return;
    }
    refused = undefined;
    const before = log.level();
    if (level === before) return;
    log.setLevel(level);
    // An error is seen at every level. This line has to be.
    const shown = level === "debug" ? "info" : level;
    log[shown]({ logLevel: level, prevLogLevel: before, file }, "The log has another level now");
  }

  const timer = clock.every(LOOK_MS, () => void look());
  return { look, close: () => timer.cancel() };
}
