/** pino behind {@link Logger}. It writes one JSON object a line, or text for people. */
import { pino } from "pino";
import type { BaseLogger, Logger as PinoLogger } from "pino";
import type { Clock } from "./clock.ts";
import { MAX_DEPTH, plainFields } from "./log-fields.ts";
import { createLogRepeats } from "./log-repeats.ts";
import type { LogRepeats } from "./log-repeats.ts";
import { textLine } from "./log-text.ts";
import type { LogFields, Logger } from "./log.ts";

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: "json" | "text";
  /** Fields that every line has, such as `{ node }`. */
  readonly base: LogFields;
  readonly clock: Pick<Clock, "wall" | "after">;
  /** Takes whole lines. It must not wait and must not throw. */
  readonly write: (line: string) => void;
}

/** A logger whose level may be changed while it is in use. */
export interface LevelLogger extends Logger {
  level(): LogLevel;
  setLevel(level: LogLevel): void;
  /** Writes the counts of lines that repeated. */
  close(): void;
}

interface Shared {
  level: LogLevel;
  readonly repeats: LogRepeats;
}

export function createLogger(options: LoggerOptions): LevelLogger {
  const { write } = options;
  const shared: Shared = { level: options.level, repeats: createLogRepeats(options) };
  const sink = pino(
    {
      // The level may change, and a child of pino has its own. So this file compares it.
      level: "debug",
      base: plainFields(options.base),
      messageKey: "msg",
      timestamp: () => `,"ts":"${options.clock.wall().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      // Errors are plain objects by then, and pino's own serializer would turn them into errors again.
      serializers: { err: (error: unknown) => error },
      // An error in the deepest field may have causes of the same depth.
      depthLimit: 2 * MAX_DEPTH + 2,
    },
    { write: options.format === "json" ? write : (line) => write(textLine(line)) },
  );
  return {
    ...over(sink, shared),
    level: () => shared.level,
    setLevel: (level) => void (shared.level = level),
    close: () => shared.repeats.close(),
  };
}

/**
 * Wraps pino, whose serializers know one key each. An error must not lose its message because it stands under
 * another key.
 */
function over(sink: PinoLogger, shared: Shared): Logger {
  const at = (level: LogLevel & keyof BaseLogger) => {
    const write = (fields: LogFields, message: string): void => sink[level](plainFields(fields), message);
    return (fields: LogFields, message: string): void => {
      if (LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(shared.level)) return;
      // A person who asks for debug wants every line of it. What is expected to happen often is no warning.
      const limited = level === "error" || level === "warn";
      if (!limited || shared.repeats.allow(level, fields, message, write)) write(fields, message);
    };
  };
  return {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    child: (fields) => over(sink.child(plainFields(fields)), shared),
  };
}
