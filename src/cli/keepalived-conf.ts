/**
 * Parses keepalived.conf(5) into a tree. Pure. Definitions ($NAME=value) are put in, as keepalived does. What
 * depends on the machine (include, @conditions) stays in the tree, for the caller to say so.
 */
import { linesOf, wordsOf, WrongText } from "./foreign-text.ts";
import type { Line } from "./foreign-text.ts";

/** A keyword with its words, and the block behind it; undefined: it has none. */
export interface Statement extends Line {
  readonly block: readonly Statement[] | undefined;
}

const QUOTING = { comments: "#!", quotes: '"', strongQuotes: "", escapes: false } as const;
/** keepalived's own blocks are four deep. */
const DEEPEST = 16;
/** Most definitions that one word may go through, because a definition may name others. */
const MOST_EXPANSIONS = 32;

interface Open {
  readonly line: number;
  readonly statements: Mutable[];
}
interface Mutable extends Line {
  block: Mutable[] | undefined;
}

/** The first statement with this keyword in a block. */
export const find = (one: Statement, keyword: string): Statement | undefined =>
  one.block?.find(({ words: [word] }) => word === keyword);

/** The word behind that keyword. */
export const valueOf = (one: Statement, keyword: string): string | undefined => find(one, keyword)?.words[1];

/** @throws {WrongText} the file is not in keepalived's format */
export function parseKeepalived(file: string, text: string): readonly Statement[] {
  const definitions = new Map<string, string>();
  const stack: Open[] = [{ line: 0, statements: [] }];
  let pending: { readonly line: number; readonly text: string } | undefined;

  linesOf(file, text).forEach((raw, index) => {
    const line = pending?.line ?? index + 1;
    const whole = `${pending?.text ?? ""}${raw}`;
    // A backslash at the end continues the line.
    if (/\\\s*$/.test(whole) && !/^\s*[#!]/.test(whole)) {
      pending = { line, text: whole.replace(/\\\s*$/, " ") };
      return;
    }
    pending = undefined;
    const [, name, value] = /^\s*\$(\w+)\s*=\s*(.*?)\s*$/.exec(whole) ?? [];
    if (name !== undefined) {
      definitions.set(name, expand(file, line, value ?? "", definitions));
      return;
    }
    take(line, wordsOf(file, line, expand(file, line, whole, definitions), QUOTING));
  });
  if (pending !== undefined)
    throw new WrongText(file, pending.line, "the last line ends in a backslash, and none follows");
  const open = stack.at(-1);
  if (stack.length > 1 && open !== undefined)
    throw new WrongText(file, open.line, "the block that begins here has no }");
  return stack[0]?.statements ?? [];

  /** Takes the words of a line, in which braces begin and end blocks. */
  function take(line: number, all: readonly string[]): void {
    let words: string[] = [];
    const end = (): void => {
      if (words.length > 0) stack.at(-1)?.statements.push({ file, line, words, block: undefined });
      words = [];
    };
    for (const word of all) {
      if (word === "{") {
        end();
        // The brace may stand on a line of its own.
        const owner = stack.at(-1)?.statements.at(-1);
        if (owner === undefined || owner.block !== undefined)
          throw new WrongText(file, line, "a { without a keyword before it");
        if (stack.length > DEEPEST) throw new WrongText(file, line, "the blocks are too deep");
        owner.block = [];
        stack.push({ line: owner.line, statements: owner.block });
      } else if (word === "}") {
        end();
        if (stack.length === 1) throw new WrongText(file, line, "a } without a { before it");
        stack.pop();
      } else if (/^[^"]*[{}]$/.test(word) && word.length > 1 && !word.includes("$")) {
        // vrrp_instance VI_1{
        words.push(word.slice(0, -1));
        take(line, [...words.splice(0), word.slice(-1)]);
      } else words.push(word);
    }
    end();
  }
}

/** Puts definitions in. A name that is not defined stays as it is written, as in a shell's command. */
function expand(file: string, line: number, text: string, definitions: ReadonlyMap<string, string>): string {
  let expanded = text;
  for (let turn = 0; turn < MOST_EXPANSIONS; turn++) {
    const next = expanded.replaceAll(
      /\$\{(\w+)\}|\$(\w+)/g,
      (written, braced?: string, bare?: string) => definitions.get(braced ?? bare ?? "") ?? written,
    );
    if (next === expanded) return expanded;
    if (next.length > 65_536) break;
    expanded = next;
  }
  throw new WrongText(file, line, "the definitions ($NAME) of this line name each other in a circle");
}
