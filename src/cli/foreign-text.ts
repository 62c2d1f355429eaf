/** What the parsers of other programs' configurations share. Pure. */

/** One line of a configuration, as its program reads it. */
export interface Line {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly words: readonly string[];
}

/** The text is not such a configuration. The message has the file and the line. */
export class WrongText extends Error {
  constructor(file: string, line: number, problem: string) {
    super(`${file}:${line}: ${problem}`);
    this.name = "WrongText";
  }
}

/** Most bytes, lines and words of one file. A configuration of a thousand services is smaller. */
const MOST_CHARACTERS = 1 << 20;
const MOST_LINES = 50_000;
const MOST_WORDS = 1_000;

/**
 * Splits a text into lines, with their words still whole.
 * @throws {WrongText} it is too long, or no text
 */
export function linesOf(file: string, text: string): readonly string[] {
  if (text.length > MOST_CHARACTERS)
    throw new WrongText(
      file,
      1,
      `the file is longer than ${MOST_CHARACTERS} characters, so it is no configuration`,
    );
  const lines = text.split(/\r?\n/);
  if (lines.length > MOST_LINES) throw new WrongText(file, MOST_LINES, "the file has too many lines");
  const binary = lines.findIndex((line) => /(?!\s)\p{Cc}/u.test(line));
  if (binary >= 0)
    throw new WrongText(file, binary + 1, "the line has a control character in it, so this is no text");
  return lines;
}

/** The characters that mean something in a program's line. */
export interface Quoting {
  readonly comments: string;
  /** Quotes within which a backslash escapes. */
  readonly quotes: string;
  /** Quotes within which everything stands for itself. */
  readonly strongQuotes: string;
  /** A backslash outside of quotes escapes the next character. */
  readonly escapes: boolean;
}

/**
 * Splits a line into words.
 * @throws {WrongText} a quote is not closed
 */
export function wordsOf(file: string, line: number, text: string, quoting: Quoting): readonly string[] {
  const { comments, quotes, strongQuotes, escapes } = quoting;
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at);
    if (quote !== undefined) {
      if (char === quote) quote = undefined;
      else if (char === "\\" && quotes.includes(quote) && at + 1 < text.length) {
        at += 1;
        const next = text.charAt(at);
        word = `${word ?? ""}${next === quote || next === "\\" ? "" : "\\"}${next}`;
      } else word = `${word ?? ""}${char}`;
    } else if (quotes.includes(char) || strongQuotes.includes(char)) {
      quote = char;
      word ??= "";
    } else if (char === "\\" && escapes && at + 1 < text.length) {
      at += 1;
      word = `${word ?? ""}${text.charAt(at)}`;
    } else if (/\s/.test(char) || comments.includes(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      if (comments.includes(char)) break;
    } else word = `${word ?? ""}${char}`;
  }
  if (quote !== undefined) throw new WrongText(file, line, `the quote ${quote} is not closed`);
  if (word !== undefined) words.push(word);
  if (words.length > MOST_WORDS) throw new WrongText(file, line, "the line has too many words");
  return words;
}
