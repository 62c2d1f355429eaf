/** pino behind {@link Logger}: one JSON object a line, or text for people. */
import { destination, pino } from "pino";
import type { DestinationStream } from "pino";
import { LeaseholdError } from "./errors.ts";
import type { LogFields, Logger } from "./log.ts";

export interface LoggerOptions {
  readonly level: "error" | "warn" | "info" | "debug";
  readonly format: "json" | "text";
  /** In every line, e.g. `{ node }`. */
  readonly base: LogFields;
  readonly wall: () => Date;
  /** Takes whole lines; standard output when absent. */
  readonly write?: (line: string) => void;
}

/** A chain of causes longer than this is a loop. */
const MAX_CAUSES = 4;

interface ErrorFields {
  readonly type: string;
  readonly message: string;
  readonly code?: unknown;
  readonly hint?: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
}

function errorFields(error: unknown, depth = 0): ErrorFields {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  return {
    type: error.name,
    message: error.message,
    ...("code" in error && { code: error.code }),
    ...(error instanceof LeaseholdError && { hint: error.hint }),
    // Once is enough: the causes' stacks share most of their lines with it.
    ...(depth === 0 && error.stack !== undefined && { stack: error.stack }),
    ...(error.cause !== undefined && depth < MAX_CAUSES && { cause: errorFields(error.cause, depth + 1) }),
  };
}

/** `2026-01-01T00:00:00.000Z INFO  message  field=value ...`, on one line whatever the values hold. */
function textLine(json: string): string {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pino's own line, an object by construction
  const { ts, level, msg, ...fields } = JSON.parse(json) as Readonly<Record<string, unknown>>;
  const pairs = Object.entries(fields).map(([key, value]) => `${key}=${typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)}`);
  return `${[`${String(ts)} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}`, ...pairs].join("  ")}\n`;
}

export function createLogger(options: LoggerOptions): Logger {
  // Synchronous: the line that says why the agent ended is worth more than a few microseconds.
  const plain: DestinationStream = options.write === undefined ? destination({ dest: 1, sync: true }) : { write: options.write };
  const stream: DestinationStream = options.format === "json" ? plain : { write: (line) => plain.write(textLine(line)) };
  return pino(
    {
      level: options.level,
      base: { ...options.base },
      messageKey: "msg",
      timestamp: () => `,"ts":"${options.wall().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error: unknown) => errorFields(error) },
    },
    stream,
  );
}
