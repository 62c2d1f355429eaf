/** Text that a server sent, as it may stand in a log or a status: one line, bounded, nothing that a terminal obeys. Pure. */

/** Control characters, line separators, and the marks that turn the direction of writing or hide. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** @param maxLength of the result, in characters; what is longer ends in "..." */
export function plainText(text: string, maxLength = 300): string {
  // Cut first: escaping makes it longer, and the sender chooses how long it is.
  const escaped = text.slice(0, maxLength + 1).replace(UNPRINTABLE, (found) => `\\u{${(found.codePointAt(0) ?? 0).toString(16)}}`);
  return escaped.length <= maxLength ? escaped : `${escaped.slice(0, maxLength - 3)}...`;
}
