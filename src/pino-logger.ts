/** pino behind {@link Logger}. It writes one JSON object a line, or text for people. */
import { destination, pino } from "pino";
import type { BaseLogger, DestinationStream, Logger as PinoLogger } from "pino";
import { MAX_DEPTH, plainFields } from "./log-fields.ts";
import type { LogFields, Logger } from "./log.ts";

type Level = "error" | "warn" | "info" | "debug";

export interface LoggerOptions {
  readonly level: Level;
  readonly format: "json" | "text";
  /** Fields that every line has, such as `{ node }`. */
  readonly base: LogFields;
  readonly wall: () => Date;
  /** Takes whole lines. Without it they go to standard output. */
  readonly write?: (line: string) => void;
}

/**
 * Formats a line as `2026-01-01T00:00:00.000Z INFO  message  field=value ...`, on one line whatever the
 * values are.
 */
function textLine(json: string): string {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pino's own line, an object by construction
  const { ts, level, msg, ...fields } = JSON.parse(json) as Readonly<Record<string, unknown>>;
  const pairs = Object.entries(fields).map(
    ([key, value]) =>
      `${key}=${typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`,
  );
  return `${[`${String(ts)} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}`, ...pairs].join("  ")}\n`;
}

export function createLogger(options: LoggerOptions): Logger {
  // Synchronous, because the line that says why the agent ended is worth more than a few microseconds.
  const plain: DestinationStream =
    options.write === undefined ? destination({ dest: 1, sync: true }) : { write: options.write };
  const stream: DestinationStream =
    options.format === "json" ? plain : { write: (line) => plain.write(textLine(line)) };
  return over(
    pino(
      {
        level: options.level,
        base: plainFields(options.base),
        messageKey: "msg",
        timestamp: () => `,"ts":"${options.wall().toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
        // Errors are plain objects by then, and pino's own serializer would turn them into errors again.
        serializers: { err: (error: unknown) => error },
        // An error in the deepest field may have causes of the same depth.
        depthLimit: 2 * MAX_DEPTH + 2,
      },
      stream,
    ),
  );
}

/**
 * Wraps pino, whose serializers know one key each. An error must not lose its message because it stands under
 * another key.
 */
function over(sink: PinoLogger): Logger {
  const at = (level: Level & keyof BaseLogger) => (fields: LogFields, message: string) => {
    if (sink.isLevelEnabled(level)) sink[level](plainFields(fields), message);
  };
  return {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    child: (fields) => over(sink.child(plainFields(fields))),
  };
}
