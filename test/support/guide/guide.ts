/**
 * The commands that a page tells people to type, taken out of its Markdown. The tests type these, so that the
 * page and the test cannot differ.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../runner/layers.ts";

/** One indented block of a page. */
export interface Block {
  /** The page's path below the repository, e.g. `README.md`. */
  readonly page: string;
  /** The heading above the block, e.g. `Uninstall`. */
  readonly heading: string;
  /** The number of the list item that the block is in; undefined for a block outside of a list. */
  readonly step: number | undefined;
  /** The block without its indentation. */
  readonly text: string;
}

/** Which block is meant. `has` is a part of its text. */
export interface Where {
  readonly heading?: string;
  readonly step?: number;
  readonly has?: string;
}

/**
 * `blocksOf` returns every indented block of a page, in the page's order.
 * @param text the page's Markdown; read from the repository when it is absent
 */
export function blocksOf(page: string, text = readFileSync(join(ROOT, page), "utf8")): readonly Block[] {
  const blocks: Block[] = [];
  let heading = "";
  let step: number | undefined;
  let lines: string[] = [];
  let afterBlank = true;
  const close = (): void => {
    while (lines.at(-1) === "") lines.pop();
    if (lines.length > 0) blocks.push({ page, heading, step, text: lines.join("\n") });
    lines = [];
  };
  for (const line of text.split("\n")) {
    // CommonMark: the block of a list item begins four columns right of the item's text.
    const indent = " ".repeat(step === undefined ? 4 : `${step}. `.length + 4);
    if (line.trim() === "") {
      if (lines.length > 0) lines.push("");
      afterBlank = true;
      continue;
    }
    if (line.startsWith(indent) && (lines.length > 0 || afterBlank)) {
      lines.push(line.slice(indent.length));
      continue;
    }
    close();
    const [, title] = /^#+ (.*)$/.exec(line) ?? [];
    const [, number] = /^(\d+)\. /.exec(line) ?? [];
    if (title !== undefined) heading = title;
    if (number !== undefined) step = Number(number);
    else if (!line.startsWith(" ")) step = undefined;
    afterBlank = false;
  }
  close();
  return blocks;
}

const asked: Block[] = [];

/** Every block that {@link blockOf} has returned in this process. */
export function askedFor(): readonly Block[] {
  return asked;
}

/** `blockOf` returns the one block that is meant. @throws Error when the page has none or several */
export function blockOf(page: string, where: Where): Block {
  const found = blocksOf(page).filter(
    ({ heading, step, text }) =>
      (where.heading === undefined || heading === where.heading) &&
      (where.step === undefined || step === where.step) &&
      (where.has === undefined || text.includes(where.has)),
  );
  const [block, ...more] = found;
  if (block === undefined || more.length > 0)
    throw new Error(`${page} has ${found.length} blocks with ${JSON.stringify(where)}`);
  asked.push(block);
  return block;
}

/** What may stand at a command's end when it goes on in the next line. */
const GOES_ON = /(?:\\|&&|\|\||\||\(|;)$/;

/**
 * `commandsOf` splits a block into the commands that a person types one after the other. A command goes on
 * in the next line after `\`, `&&` or `|`, in a bracket that is still open, and to the end of its
 * here-document.
 */
export function commandsOf(text: string): readonly string[] {
  const commands: string[] = [];
  let lines: string[] = [];
  let hereDocument: string | undefined;
  for (const line of text.split("\n")) {
    if (line === "" && lines.length === 0) continue;
    lines.push(line);
    if (hereDocument !== undefined) {
      if (line !== hereDocument) continue;
      hereDocument = undefined;
    } else {
      hereDocument = /<<'?(\w+)'?/.exec(line)?.[1];
      if (hereDocument !== undefined) continue;
      const whole = lines.join("\n");
      const open = whole.split("(").length > whole.split(")").length;
      if (open || GOES_ON.test(line.replace(/\s+#.*$/, "").trimEnd())) continue;
    }
    commands.push(lines.join("\n"));
    lines = [];
  }
  if (lines.length > 0) throw new Error(`a command has no end: ${lines.join("\n")}`);
  return commands;
}
