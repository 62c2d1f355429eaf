/**
 * Reads values that another agent, or what answers in its place, has sent. Each reader gives the value that
 * it names, with text made fit for a page and a terminal, or throws {@link Unreadable}. Pure.
 */
import { plainText } from "../kube/plain-text.ts";
import { isObject } from "../kube/record-codec.ts";
import type { JsonObject } from "../kube/record-codec.ts";

/** The value is not what it should be. */
class Unreadable extends Error {}

/** Returns what `read` returns, or undefined when the value was not what it should be. */
export function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Unreadable || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function object(value: unknown): JsonObject {
  if (!isObject(value)) throw new Unreadable();
  return value;
}

/** Bounded, and without characters that move others. */
export function text(value: unknown): string {
  if (typeof value !== "string") throw new Unreadable();
  return plainText(value);
}

export function number(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Unreadable();
  return value;
}

export function boolean(value: unknown): boolean {
  if (typeof value !== "boolean") throw new Unreadable();
  return value;
}

export function nullable<T>(value: unknown, read: (value: unknown) => T): T | null {
  return value === null ? null : read(value);
}

/** The first `most` members of a list. */
export function list<T>(value: unknown, read: (value: unknown) => T, most: number): readonly T[] {
  if (!Array.isArray(value)) throw new Unreadable();
  return value.slice(0, most).map(read);
}
