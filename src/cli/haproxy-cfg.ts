/** Parses HAProxy's configuration into sections. Pure. */
import { linesOf, wordsOf, WrongText } from "./foreign-text.ts";
import type { Line } from "./foreign-text.ts";

/** A section with its lines; `words` are those of its first line. */
export interface HaproxySection extends Line {
  readonly kind: string;
  /** "" where it has none. */
  readonly name: string;
  readonly lines: readonly Line[];
}

const KINDS = new Set([
  "global",
  "defaults",
  "frontend",
  "backend",
  "listen",
  "peers",
  "mailers",
  "resolvers",
  "userlist",
  "program",
  "http-errors",
  "ring",
  "log-forward",
  "log-profile",
  "cache",
  "fcgi-app",
  "crt-store",
  "traces",
  "acme",
]);

const QUOTING = { comments: "#", quotes: '"', strongQuotes: "'", escapes: true } as const;

export const isSection = (word: string): boolean => KINDS.has(word);

/** @throws {WrongText} the file is not in HAProxy's format */
export function parseHaproxy(file: string, text: string): readonly HaproxySection[] {
  const sections: (HaproxySection & { readonly lines: Line[] })[] = [];
  linesOf(file, text).forEach((raw, index) => {
    const line = index + 1;
    const words = wordsOf(file, line, raw, QUOTING);
    const [kind = "", name = ""] = words;
    if (kind === "") return;
    if (isSection(kind)) {
      if (name === "" && ["frontend", "backend", "listen"].includes(kind))
        throw new WrongText(file, line, `${kind} needs a name`);
      sections.push({ file, line, words, kind, name, lines: [] });
      return;
    }
    const section = sections.at(-1);
    if (section === undefined)
      throw new WrongText(
        file,
        line,
        `${JSON.stringify(kind)} stands before the first section, such as global or defaults`,
      );
    section.lines.push({ file, line, words });
  });
  return sections;
}
