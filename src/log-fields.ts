/**
 * Turns a log line's fields into what JSON can show. JSON does not know errors:
 * `JSON.stringify(new Error("reason"))` is `{}`, and a Map or a Set is `{}` too. So each error becomes an
 * object with its message, under any key and at any depth. Pure.
 */
import { inspect, types } from "node:util";
import { LeaseholdError } from "./errors.ts";
import type { LogFields } from "./log.ts";

/**
 * Most levels of fields within fields, and of errors within errors. More is a loop, or a dump that does not
 * belong in a log.
 */
export const MAX_DEPTH = 5;
/** Most errors shown of those that one error collects (AggregateError). The first tell enough. */
const MAX_GATHERED = 8;

export interface ErrorFields {
  readonly type: string;
  readonly message: string;
  readonly code?: unknown;
  readonly hint?: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
  /**
   * The errors of an AggregateError, such as one for each address of a name that could not be connected to.
   */
  readonly errors?: readonly ErrorFields[];
  /** The two errors of a SuppressedError. */
  readonly error?: ErrorFields;
  readonly suppressed?: ErrorFields;
}

/** Returns the same fields, fit for JSON, with every error's message in them. */
export function plainFields(fields: LogFields): LogFields {
  return members(Object.entries(fields), []);
}

/**
 * Converts the members of an object.
 * @param around the objects that contain `entries`, outermost first: an object that comes again is a loop
 */
function members(entries: Iterable<readonly [unknown, unknown]>, around: readonly object[]): LogFields {
  const plain: Record<string, unknown> = {};
  for (const [key, value] of entries)
    plain[String(key)] =
      key === "err" && value !== undefined ? errorFields(value) : plainValue(value, around);
  return plain;
}

function plainValue(value: unknown, around: readonly object[]): unknown {
  if (isError(value)) return errorFields(value);
  if (typeof value !== "object" || value === null) return value;
  if (around.includes(value)) return "[Circular]";
  // Deeper values are shown as text, in which an error is readable.
  if (around.length >= MAX_DEPTH) return described(value);
  const within = [...around, value];
  if (Array.isArray(value) || value instanceof Set)
    return Array.from(value, (each: unknown) => plainValue(each, within));
  if (value instanceof Map) return members(value, within);
  // A date, a URL or a Buffer has its own JSON form.
  if (ArrayBuffer.isView(value) || ("toJSON" in value && typeof value.toJSON === "function")) return value;
  return members(Object.entries(value), within);
}

/** Codes of the kernel (ENOENT), of a connection (UND_ERR_SOCKET, CERT_HAS_EXPIRED), and of TLS. */
const CONDITION =
  /^(?:E[A-Z0-9]+|UND_ERR_\w+|HPE_\w+|CERT_\w+|CRL_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+|ERR_TLS_\w+|ERR_SSL_\S+|ERR_OSSL_\S+|ABORT_ERR)$/;

/**
 * A condition of the machine or the network is told by its message and its code, and nobody looks for it in
 * the source. A stack would hide the lines around it. An error of the program itself has one.
 */
function isExpected(error: Error): boolean {
  if (error instanceof LeaseholdError) return !isBug(error.cause);
  if (error.name === "AbortError" || error.name === "TimeoutError") return true;
  return "code" in error && typeof error.code === "string" && CONDITION.test(error.code);
}

/** A mistake in the source, which an error with a code may wrap. */
function isBug(cause: unknown): boolean {
  return cause instanceof TypeError || cause instanceof ReferenceError || cause instanceof RangeError
    ? !("code" in cause)
    : false;
}

function errorFields(error: unknown, depth = 0): ErrorFields {
  if (!isError(error)) return strangeFields(error);
  const nested = (value: unknown): ErrorFields => errorFields(value, depth + 1);
  const deeper = depth < MAX_DEPTH - 1;
  const gathered: unknown = "errors" in error ? error.errors : undefined;
  return {
    type: error.name,
    // The code comes first: a reader of a long line finds out by it whether to read on.
    ...("code" in error && { code: error.code }),
    message: error.message,
    ...(error instanceof LeaseholdError && { hint: error.hint }),
    // One stack is enough: the causes' stacks share most of their lines with it.
    ...(depth === 0 && error.stack !== undefined && !isExpected(error) && { stack: error.stack }),
    ...(deeper && error.cause !== undefined && { cause: nested(error.cause) }),
    ...(deeper && Array.isArray(gathered) && { errors: gathered.slice(0, MAX_GATHERED).map(nested) }),
    ...(deeper &&
      "suppressed" in error && {
        error: nested("error" in error ? error.error : undefined),
        suppressed: nested(error.suppressed),
      }),
  };
}

/**
 * Converts what was thrown and is no error. Anything can be thrown, also an object that only looks like an
 * error, such as one from JSON.
 */
function strangeFields(thrown: unknown): ErrorFields {
  if (typeof thrown !== "object" || thrown === null) return { type: typeof thrown, message: String(thrown) };
  const message =
    "message" in thrown && typeof thrown.message === "string" ? thrown.message : described(thrown);
  return { type: "object", message, ...("code" in thrown && { code: thrown.code }) };
}

function described(value: object): string {
  return inspect(value, {
    depth: MAX_DEPTH,
    breakLength: Number.POSITIVE_INFINITY,
    maxArrayLength: MAX_GATHERED,
  });
}

/** True also for an error of another realm, which is no instance of this realm's Error. */
function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}
