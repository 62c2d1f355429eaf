/** Shows text that a person has written, and finds in it what that person cannot see. Pure. */

/** Every character that leaves no ink or only moves others, except the ordinary space. */
const UNSEEN = /(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** Returns `text` in double quotes, with every character that cannot be seen as an escape such as \u200b. */
export function shown(text: string): string {
  return JSON.stringify(text).replaceAll(UNSEEN, (char) => {
    const hex = (char.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`;
  });
}

/**
 * Returns the first character of `text` that cannot be seen and is no white space, as `U+200B`. undefined
 * when there is none. Such characters come along when text is copied out of a web page or a chat.
 */
export function invisible(text: string): string | undefined {
  for (const [char] of text.matchAll(UNSEEN)) {
    if (/\s/.test(char)) continue;
    return `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
  }
  return undefined;
}

/** Returns `text` without the characters that cannot be seen. */
export function visible(text: string): string {
  return text.replaceAll(UNSEEN, "");
}

const QUOTES = "\"'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb";
const AT_AN_EDGE = new RegExp(`^\\s*[${QUOTES}]|[${QUOTES}]\\s*$|[${QUOTES}]\\s*,|,\\s*[${QUOTES}]`);
const EACH = new RegExp(`[${QUOTES}]`, "g");

/**
 * Returns `text` without its quotes if it, or an entry of the list that it is, begins or ends with one;
 * undefined otherwise. A shell and YAML take their quotes away, so a quote that arrives was written twice.
 */
export function unquoted(text: string): string | undefined {
  return AT_AN_EDGE.test(text) ? text.replaceAll(EACH, "").trim() : undefined;
}
