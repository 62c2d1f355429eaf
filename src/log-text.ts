/**
 * Writes a line of the log as text for people: `2026-01-01T00:00:00.000Z WARN  message  field=value ...`. It
 * is one line whatever the values are. Only the stack of an unexpected error follows on lines of its own.
 */
import { escapeUnprintable } from "./printable.ts";

/** Most characters of one value. */
const MOST_CHARACTERS = 2_000;
/** A value that needs no quotes. */
const BARE = /^[^\s"'=,[\]{}\\\p{Cc}\p{Cf}]+$/u;

type Members = Readonly<Record<string, unknown>>;

/** @param json one line of pino, an object with `ts`, `level`, `msg` and fields */
export function textLine(json: string): string {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pino's own line, an object by construction
  const { ts, level, msg, ...fields } = JSON.parse(json) as Members;
  const stacks: string[] = [];
  const words = Object.entries(fields)
    .filter(([key, value]) => !isSaidByError(fields["err"], key, value))
    .flatMap(([key, value]) => pairs(key, value, stacks));
  const head = `${String(ts)} ${String(level).toUpperCase().padEnd(5)} ${oneLine(String(msg))}`;
  return `${[[head, ...words].join("  "), ...stacks].join("\n")}\n`;
}

/** The code and the hint of an error stand beside it as well, for programs that read JSON. */
function isSaidByError(err: unknown, key: string, value: unknown): boolean {
  return (key === "code" || key === "hint") && isMembers(err) && err[key] === value;
}

/** The words of one field. An object has one for each of its members: `vip.address=192.0.2.10`. */
function pairs(key: string, value: unknown, stacks: string[]): readonly string[] {
  if (isMembers(value)) {
    if (typeof value["message"] === "string" && "type" in value) return error(key, value, stacks);
    const members = Object.entries(value);
    if (members.length === 0) return [`${key}={}`];
    return members.flatMap(([name, member]) => pairs(`${key}.${name}`, member, stacks));
  }
  return [`${key}=${shown(value)}`];
}

/**
 * An error is its message, its code where the message does not have it, what to do, and its causes. The
 * frames of its stack come after the line.
 */
function error(key: string, members: Members, stacks: string[]): readonly string[] {
  const { type, message, code, hint, stack, cause, ...rest } = members;
  const text = String(message);
  if (typeof stack === "string")
    for (const frame of stack.split("\n").filter((line) => /^\s+at /.test(line)))
      stacks.push(`    ${oneLine(frame.trim())}`);
  return [
    `${key}=${shown(text === "" ? type : text)}`,
    ...(code === undefined || (typeof code === "string" && text.includes(code))
      ? []
      : [`${key}.code=${shown(code)}`]),
    ...(hint === undefined ? [] : [`${key}.hint=${shown(hint)}`]),
    ...(cause === undefined ? [] : pairs(`${key}.cause`, cause, stacks)),
    ...Object.entries(rest).flatMap(([name, member]) => pairs(`${key}.${name}`, member, stacks)),
  ];
}

function shown(value: unknown): string {
  if (Array.isArray(value) && value.every((each) => typeof each !== "object" || each === null))
    return `[${value.map(shown).join(", ")}]`;
  if (typeof value !== "string") return oneLine(JSON.stringify(value) ?? "");
  return BARE.test(value) ? cut(value) : `"${oneLine(value).replaceAll('"', "'")}"`;
}

function oneLine(text: string): string {
  return escapeUnprintable(cut(text).replaceAll("\n", "\\n").replaceAll("\t", " "));
}

function cut(text: string): string {
  return text.length <= MOST_CHARACTERS ? text : `${text.slice(0, MOST_CHARACTERS)}...`;
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
