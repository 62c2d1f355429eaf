/** Writes the text of `leasehold --help` and of each command's help, from the tables. Pure. */
import { PREFIX, SECTIONS, SETTING_NAMES, SETTINGS } from "../config/settings.ts";
import { commandSpec, COMMANDS, synopsis } from "./commands.ts";
import type { CommandName, CommandSpec } from "./commands.ts";
import { capitalized } from "./diagnosis.ts";
import { manifestHelp } from "./manifest.ts";

const WIDTH = 100;
const INDENT = "      ";
/** Where the summaries of the list of commands begin. */
const COLUMN = 14;
/** Longest default that stands beside its setting. */
const MOST_IN_LINE = 60;

function wrap(text: string, indent = INDENT): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line !== indent && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}

const columns = (name: string, text: string, width: number): string =>
  `  ${name.padEnd(width)}${wrap(text, " ".repeat(width + 2)).trimStart()}`;

function overview(): string {
  const commands: readonly CommandSpec[] = COMMANDS;
  return `Usage: leasehold [COMMAND]

One highly available address for a kubeadm control plane: VRRP's rules over a Kubernetes Lease,
and a health-checked TCP balancer on every node.

Commands:
${commands.map(({ name, summary }) => columns(name, summary, COLUMN)).join("\n")}

\`leasehold COMMAND --help\` has flags, examples and exit statuses.

Exit status: 0 clean stop, 1 failure, 2 wrong usage or configuration, 69 Node is too old.

Settings are environment variables. Durations look like 250ms, 1s or 1m30s.
`;
}

/** @param of the command to explain; undefined: the list of commands and settings */
export function helpText(of?: CommandName): string {
  if (of === "manifest") return manifestHelp();
  const spec = of === undefined || of === "help" ? undefined : commandSpec(of);
  if (spec !== undefined) return commandHelp(spec);
  const sections = SECTIONS.map((section) => {
    const settings = SETTING_NAMES.filter((name) => SETTINGS[name].section === section).map((name) => {
      const { shown, doc } = SETTINGS[name];
      return `  ${PREFIX}${name}  (${shown === "required" ? shown : `default: ${listed(shown)}`})\n${wrap(doc)}`;
    });
    return `\n${section}:\n${settings.join("\n")}\n`;
  });
  return overview() + sections.join("");
}

/** A long list without spaces is wrapped at its commas. */
function listed(shown: string): string {
  if (shown.length <= MOST_IN_LINE || shown.includes(" ")) return shown;
  return `\n${wrap(shown.replaceAll(",", ", "))}`;
}

function commandHelp(spec: CommandSpec): string {
  const { summary, details, flags, examples, exits } = spec;
  const flagNames = flags.map(({ name, short, value }) =>
    [short, name]
      .filter((word) => word !== undefined)
      .join(", ")
      .concat(value === undefined ? "" : ` ${value}`),
  );
  const width = Math.max(0, ...flagNames.map((name) => name.length)) + 3;
  const sections = [
    `Usage: leasehold ${synopsis(spec)}`,
    wrap(`${capitalized(summary)}.`, ""),
    ...details.map((paragraph) => wrap(paragraph, "")),
    flags.length === 0
      ? ""
      : `Flags:\n${flags.map(({ doc, values }, at) => columns(flagNames[at] ?? "", values === undefined ? doc : `${values.join(", ")}: ${doc}`, width)).join("\n")}`,
    `Examples:\n${examples.map(([command, what]) => `  # ${what}\n  ${command}`).join("\n")}`,
    `Exit status:\n${exits.map(([status, meaning]) => columns(String(status), meaning, 4)).join("\n")}`,
  ];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}
