/** The man page, leasehold(8), from the table of commands and the table of settings. Pure. */
import { PREFIX, SECTIONS, SETTING_NAMES, SETTINGS } from "../config/settings.ts";
import { COMMANDS, synopsis } from "./commands.ts";
import type { CommandSpec, FlagSpec } from "./commands.ts";
import { manifestHelp } from "./manifest.ts";

const commands: readonly CommandSpec[] = COMMANDS;

/**
 * A text for roff: a backslash is an escape, and a line that begins with a dot or a quote is a request
 * (groff(7)). A hyphen that belongs to what a person types is written as a minus.
 */
const plain = (text: string): string => text.replaceAll("\\", "\\e").replaceAll(/^(?=[.'])/gm, "\\&");
const typed = (text: string): string => plain(text).replaceAll("-", "\\-");
/** Commands stand between backquotes in the tables. They are bold on the page. */
const prose = (text: string): string =>
  plain(
    text
      .split("`")
      .map((part, at) => (at % 2 === 0 ? part : `\u0001${part.replaceAll("-", "\u0003")}\u0002`))
      .join(""),
  )
    .replaceAll("\u0001", "\\fB")
    .replaceAll("\u0002", "\\fR")
    .replaceAll("\u0003", "\\-");

/** A long list without spaces may be broken after its commas: see `\\:` in groff(7). */
const breakable = (text: string): string => text.replace(/,(?=\S)/g, ",\\:");

const example = (text: string): string => `.PP\n.RS 4\n.nf\n${typed(text).trimEnd()}\n.fi\n.RE\n`;

function flagText({ name, short, value, values, doc }: FlagSpec): string {
  const names = [short, name].filter((word) => word !== undefined).map((word) => `\\fB${typed(word)}\\fR`);
  const shown = value === undefined ? "" : ` \\fI${plain(value)}\\fR`;
  return `.TP\n${names.join(", ")}${shown}\n${prose(values === undefined ? doc : `${values.join(", ")}: ${doc}`)}\n`;
}

function commandText(spec: CommandSpec): string {
  const { name, summary, details, flags, examples, exits } = spec;
  const head = `.SS leasehold ${typed(name)}\n\\fBleasehold ${typed(synopsis(spec))}\\fR\n.PP\n${prose(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)}\n`;
  // This one takes every setting as a flag, so its help is written by hand.
  if (name === "manifest") return `${head}${example(manifestHelp())}`;
  return [
    head,
    ...details.map((paragraph) => `.PP\n${prose(paragraph)}\n`),
    ...flags.map(flagText),
    examples.length === 0
      ? ""
      : `.PP\nExamples:\n${example(examples.map(([command, what]) => `# ${what}\n${command}`).join("\n"))}`,
    `.PP\nExit status:\n${exits.map(([status, meaning]) => `.TP\n${status}\n${prose(meaning)}\n`).join("")}`,
  ].join("");
}

/** @param version of the agent, which is the page's source */
export function manPage(version: string): string {
  const settings = SECTIONS.map((section) => {
    const all = SETTING_NAMES.filter((name) => SETTINGS[name].section === section).map((name) => {
      const { shown, doc } = SETTINGS[name];
      return `.TP\n\\fB${PREFIX}${name}\\fR (${shown === "required" ? shown : `default: ${breakable(typed(shown))}`})\n${prose(doc)}\n`;
    });
    return `.SS ${plain(section)}\n${all.join("")}`;
  });
  return `.\\" Written by "npm run docs" from src/cli/commands.ts and src/config/settings.ts.
.TH LEASEHOLD 8 "" "leasehold ${plain(version)}" "Leasehold"
.SH NAME
leasehold \\- one highly available address for a kubeadm control plane
.SH SYNOPSIS
\\fBleasehold\\fR [\\fICOMMAND\\fR]
.SH DESCRIPTION
One agent on each control\\-plane node competes for a Kubernetes Lease by VRRP's rules. The holder has the virtual IP
bound. On every node the kernel, or a TCP proxy, balances connections over the healthy API servers.
.PP
Without a command the agent runs. The other commands ask the agents, the kernel and the API, or store a wish in the
Lease. On a host they run in the image, by the script of \\fBleasehold manifest cli\\fR. On a workstation
\\fBkubectl leasehold\\fR runs them, by the script of \\fBleasehold manifest kubectl\\-plugin\\fR.
.SH COMMANDS
${commands.map(commandText).join("")}.SH ENVIRONMENT
Settings are environment variables. Durations look like 250ms, 1s or 1m30s.
${settings.join("")}.SH FILES
.TP
\\fI/etc/kubernetes/manifests/leasehold.yaml\\fR
the static pod of the agent
.TP
\\fI/etc/kubernetes/leasehold/kubeconfig\\fR
the credentials of the agent
.TP
\\fI/var/lib/leasehold\\fR
what the agent remembers across a reboot, and its recordings (\\fIdecisions/\\fR)
.SH SEE ALSO
.BR kubectl (1),
.BR crictl (1),
.BR keepalived (8),
.BR nft (8)
.PP
The runbook is docs/operations.md.
`;
}
