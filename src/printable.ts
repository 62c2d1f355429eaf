/** Makes text from elsewhere fit for a terminal. Pure. */

/** Control characters, line separators, and the marks that turn the direction of writing or are invisible. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Escapes each character that a terminal obeys or that cannot be seen, as \u{1b}. */
export function escapeUnprintable(text: string): string {
  return text.replace(UNPRINTABLE, (found) => `\\u{${(found.codePointAt(0) ?? 0).toString(16)}}`);
}
