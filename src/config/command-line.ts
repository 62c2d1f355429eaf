/**
 * Splits a command line as a shell does, without a shell: spaces, quotes and backslashes count, and nothing
 * is expanded.
 */

const SPACE = /\s/;

/**
 * Splits the line into words. Single quotes keep everything as it is. In double quotes a backslash escapes
 * `"` and `\`. Outside of quotes it escapes any character. undefined: a quote is not closed, the line ends in
 * a backslash, or it is empty.
 */
export function splitCommand(line: string): readonly string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote: "'" | '"' | undefined;
  for (let index = 0; index < line.length; index++) {
    const char = line.charAt(index);
    const next = line.charAt(index + 1);
    if (quote !== undefined) {
      if (char === quote) quote = undefined;
      else if (quote === '"' && char === "\\" && (next === '"' || next === "\\")) {
        word = `${word ?? ""}${next}`;
        index += 1;
      } else word = `${word ?? ""}${char}`;
    } else if (char === "'" || char === '"') {
      quote = char;
      // "" is a word, too.
      word ??= "";
    } else if (char === "\\") {
      if (next === "") return undefined;
      word = `${word ?? ""}${next}`;
      index += 1;
    } else if (SPACE.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = `${word ?? ""}${char}`;
  }
  if (quote !== undefined) return undefined;
  if (word !== undefined) words.push(word);
  return words.length === 0 ? undefined : words;
}
