/**
 * Makes text that a server sent fit for a log or a status: one line, bounded, with nothing that a terminal
 * obeys. Pure.
 */

import { escapeUnprintable } from "../printable.ts";

/**
 * Escapes unprintable characters and bounds the length.
 * @param maxLength of the result, in characters. Longer text is cut and ends in "..."
 */
export function plainText(text: string, maxLength = 300): string {
  // The text is cut first, because escaping makes it longer and the sender chooses how long it is.
  const escaped = escapeUnprintable(text.slice(0, maxLength + 1));
  return escaped.length <= maxLength ? escaped : `${escaped.slice(0, maxLength - 3)}...`;
}
