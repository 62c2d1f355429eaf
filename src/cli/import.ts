/**
 * `leasehold import`: says keepalived's and HAProxy's configurations in this project's settings, and names every
 * line that it left out. Pure, but for reading the files.
 */
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { parseConfig } from "../config/config.ts";
import { PREFIX } from "../config/settings.ts";
import { shown } from "../config/text.ts";
import { errorMessage } from "../errors.ts";
import type { Command } from "./args.ts";
import { WrongText } from "./foreign-text.ts";
import { isSection, parseHaproxy } from "./haproxy-cfg.ts";
import type { HaproxySection } from "./haproxy-cfg.ts";
import { Draft } from "./import-draft.ts";
import type { Imported } from "./import-draft.ts";
import { importHaproxy } from "./import-haproxy.ts";
import { importKeepalived } from "./import-keepalived.ts";
import type { CommandDeps } from "./inspect.ts";
import { parseKeepalived } from "./keepalived-conf.ts";
import type { Statement } from "./keepalived-conf.ts";
import { document } from "./output.ts";

const MOST_BYTES = 1 << 20;

/** A file as it was read. `name` is what messages call it. */
export interface ForeignFile {
  readonly name: string;
  readonly text: string;
}

/** `problems` are whole sentences with the file and the line. */
export type ImportAnswer =
  | { readonly kind: "ok"; readonly imported: Imported; readonly warnings: readonly string[] }
  | { readonly kind: "error"; readonly problems: readonly string[] };

/** Which program's file it is; undefined: neither's. */
function formatOf(text: string): "keepalived" | "haproxy" | undefined {
  if (/^\s*(?:vrrp_\w+|global_defs|virtual_server(?:_group)?|static_\w+|track_file|include\w?)\b/m.test(text))
    return "keepalived";
  const first = text.split("\n").map((line) => line.replace(/#.*/, "").trim().split(/\s+/)[0] ?? "");
  return first.some((word) => word !== "" && isSection(word)) ? "haproxy" : undefined;
}

export function importFiles(files: readonly ForeignFile[]): ImportAnswer {
  const problems: string[] = [];
  const statements: Statement[] = [];
  const sections: HaproxySection[] = [];
  for (const { name, text } of files) {
    const format = formatOf(text);
    try {
      if (format === "keepalived") statements.push(...parseKeepalived(name, text));
      else if (format === "haproxy") sections.push(...parseHaproxy(name, text));
      else problems.push(`${name}: this is neither keepalived's nor HAProxy's configuration`);
    } catch (error) {
      if (!(error instanceof WrongText)) throw error;
      problems.push(error.message);
    }
  }
  if (problems.length > 0) return { kind: "error", problems };
  const draft = new Draft();
  importKeepalived(statements, draft);
  if (sections.length > 0) importHaproxy(sections, draft);
  const env = draft.environment();
  const hasVip = env[`${PREFIX}VIP`] !== undefined;
  if (!hasVip) draft.remind(`no file names a VIP: add ${PREFIX}VIP`);
  const parsed = parseConfig(hasVip ? env : { ...env, [`${PREFIX}ROLE`]: "balancer" }, "node");
  // Each setting was judged when it was taken. This would be a fault of the program.
  if (parsed.kind === "error") return { kind: "error", problems: parsed.problems };
  return { kind: "ok", imported: draft.finish(), warnings: hasVip ? parsed.warnings : [] };
}

/** A value as a shell, `env` of a file and a person read it. */
const quoted = (value: string): string =>
  /^[\w./:,@%+=[\]-]+$/.test(value) ? value : `'${value.replaceAll("'", String.raw`'\''`)}'`;

/** One comment line, without what a terminal would act on. */
const comment = (text: string): string =>
  `# ${shown(text)
    .slice(1, -1)
    .replaceAll(String.raw`\"`, '"')}`;

export function importText({ settings, leftOut, todo }: Imported, warnings: readonly string[]): string {
  const lines = [
    "# Settings of leasehold. Try them: set -a; . ./FILE; leasehold manifest pod",
    ...todo.map((text) => comment(`To do: ${text}`)),
    ...warnings.map((text) => comment(`Warning: ${text}`)),
  ];
  for (const { name, value, from, note } of settings)
    lines.push("", ...from.map(comment), ...(note === "" ? [] : [comment(note)]), `${name}=${quoted(value)}`);
  if (leftOut.length > 0) lines.push("", "# Left out:");
  for (const { file, line, text, reason } of leftOut)
    lines.push(comment(`${file}:${line}: ${text}: ${reason}`));
  return `${lines.join("\n")}\n`;
}

/** Resolves with the exit status. */
export function importCommand(
  { files, output }: Extract<Command, { kind: "import" }>,
  { print, printError }: Pick<CommandDeps, "print" | "printError">,
): number {
  const problems: string[] = [];
  const read = files.flatMap((path) => {
    try {
      if (statSync(path).size > MOST_BYTES) throw new Error("it is too large for a configuration");
      return [{ name: basename(path), text: readFileSync(path, "utf8") }];
    } catch (error) {
      problems.push(`${path}: ${errorMessage(error)}`);
      return [];
    }
  });
  const answer: ImportAnswer = problems.length > 0 ? { kind: "error", problems } : importFiles(read);
  if (answer.kind === "error") {
    printError(
      `leasehold: nothing was imported:\n${answer.problems.map((problem) => `  ${problem}\n`).join("")}`,
    );
    return 2;
  }
  const { imported, warnings } = answer;
  print(output === "text" ? importText(imported, warnings) : document({ ...imported, warnings }, output));
  return 0;
}
