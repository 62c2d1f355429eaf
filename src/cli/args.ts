/** Parses the command line into a value, by the table of commands. Pure. */
import { duration } from "../config/parsers.ts";
import { suggest } from "../config/suggest.ts";
import { shown } from "../config/text.ts";
import { commandSpec, COMMANDS } from "./commands.ts";
import type { CommandName, CommandSpec, FlagSpec, Output, Shell } from "./commands.ts";

/** How long a command waits for what it has asked for. */
export interface Waiting {
  readonly wait: boolean;
  readonly timeoutMs: number;
}

export type Command =
  | { readonly kind: "run" }
  | { readonly kind: "status"; readonly output: Output; readonly watch: boolean }
  | {
      readonly kind: "why";
      /** undefined: this node. */
      readonly node: string | undefined;
      readonly all: boolean;
      readonly last: number;
      readonly file: string | undefined;
      readonly output: Exclude<Output, "wide">;
    }
  | ({ readonly kind: "move"; readonly to: string; readonly force: boolean } & Waiting)
  | { readonly kind: "unpin" }
  | ({ readonly kind: "resign" } & Waiting)
  /** `server` is a node's name, an address, or an address with a port, as a person wrote it. */
  | ({ readonly kind: "drain" | "undrain"; readonly server: string } & Waiting)
  | {
      readonly kind: "drill";
      /** undefined: the best other node. */
      readonly to: string | undefined;
      readonly intervalMs: number;
      readonly timeoutMs: number;
      readonly output: Exclude<Output, "wide">;
    }
  | { readonly kind: "doctor"; readonly output: Exclude<Output, "wide"> }
  | { readonly kind: "import"; readonly files: readonly string[]; readonly output: Exclude<Output, "wide"> }
  /** Removes the kernel's rules, which outlive the agent. */
  | { readonly kind: "cleanup"; readonly rulesOnly: boolean }
  /** Takes a node that is gone for good out of the Lease. */
  | { readonly kind: "forget"; readonly node: string }
  /** Prints a manifest; what `words` mean is in manifest.ts, because it takes every setting. */
  | { readonly kind: "manifest"; readonly words: readonly string[] }
  | { readonly kind: "completion"; readonly shell: Shell }
  | { readonly kind: "man" }
  | { readonly kind: "version"; readonly output: "text" | "json" }
  /** `of` is the command that is explained; undefined: all of them. */
  | { readonly kind: "help"; readonly of: CommandName | undefined }
  /** Ends with exit status 2 and this message on standard error. */
  | { readonly kind: "usage-error"; readonly message: string };

const TIMEOUT_MS = 30_000;
const TIMEOUT = duration("1s", "10m");
const INTERVAL_MS = 20;
const INTERVAL = duration("5ms", "1s");
const MOST = 1_000;
const LAST = 5;
const HELP_FLAGS = ["--help", "-h"];

/** A mistake in the command line. */
class Misuse extends Error {}

function misuse(problem: string, near?: string): Misuse {
  const advice = near === undefined ? "`leasehold --help` lists what there is" : `did you mean ${near}?`;
  return new Misuse(`leasehold: ${problem}; ${advice}`);
}

/** What the words of one command are. */
interface Words {
  readonly argument: string | undefined;
  /** All of them, where there may be several. */
  readonly all: readonly string[];
  /** The value of a flag by its long name; "" for a flag without a value. */
  readonly flags: ReadonlyMap<string, string>;
}

/** A node's name as a person writes or pastes it. Kubernetes has them in lower case. */
const nodeOf = (word: string): string =>
  word
    .trim()
    .toLowerCase()
    .replace(/^nodes?\//, "");

/** @throws {Misuse} */
function readWords(spec: CommandSpec, words: readonly string[]): Words {
  const flags = new Map<string, string>();
  const all: string[] = [];
  let onlyArguments = false;
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (onlyArguments || !word.startsWith("-") || word === "-") {
      if (spec.argument === undefined || (all.length > 0 && spec.argument.many !== true))
        throw surplus(spec, word);
      all.push(checkedValue(spec.argument.name, spec.argument.values, word));
      continue;
    }
    if (word === "--") {
      onlyArguments = true;
      continue;
    }
    const { written, flag, attached } = splitFlag(spec, word);
    if (flag === undefined) throw unknownFlag(spec, word);
    let value = attached;
    if (flag.value === undefined) {
      // As kubectl has it: --watch=false is as good as nothing.
      if (value === "false") continue;
      if (value !== undefined && value !== "true")
        throw misuse(`${written} takes no value, or true or false`);
      value = undefined;
    } else {
      value ??= words[++at];
      if (value === undefined && flag.values === undefined)
        throw misuse(`${written} needs a value: ${flag.doc}`);
      checkedValue(written, flag.values, value ?? "");
    }
    if (flags.has(flag.name)) throw misuse(`${written} is given twice`);
    flags.set(flag.name, value ?? "");
  }
  const [argument] = all;
  if (spec.argument?.required === true && (argument ?? "").trim() === "")
    throw misuse(`${spec.name} needs ${spec.argument.values?.join(", ") ?? spec.argument.name}`);
  return { argument, all, flags };
}

/** The flag that a word is, as kubectl takes it: `--output json`, `--output=json`, `-o json`, `-o=json` or `-ojson`. */
function splitFlag(
  { flags }: CommandSpec,
  word: string,
): { readonly written: string; readonly flag: FlagSpec | undefined; readonly attached: string | undefined } {
  const [written = "", ...rest] = word.split("=");
  const flag = flags.find(({ name, short }) => name === written || short === written);
  if (flag !== undefined || word.startsWith("--"))
    return { written, flag, attached: rest.length > 0 ? rest.join("=") : undefined };
  const short = flags.find((one) => one.value !== undefined && one.short === word.slice(0, 2));
  return { written: word.slice(0, 2), flag: short, attached: word.slice(2) };
}

/** What a person may have meant by an argument that a command does not take. */
const MEANT: Readonly<Partial<Record<string, (word: string) => string>>> = {
  run: () => "settings are environment variables",
  cleanup: () => "settings are environment variables",
  status: (word) => `\`leasehold why ${word}\` is about one node`,
  move: (word) => `the node is a flag: \`leasehold move --to ${word}\``,
  drill: (word) => `the node is a flag: \`leasehold drill --to ${word}\``,
  resign: (word) => `\`leasehold move --to ${word}\` moves the VIP to a certain node`,
};

function surplus({ name, argument }: CommandSpec, word: string): Misuse {
  if (argument !== undefined) return misuse(`${name} takes one argument, and ${shown(word)} is one too many`);
  const meant = /^[\w.-]{1,253}$/.test(word) ? MEANT[name]?.(word) : undefined;
  return misuse(`${name} takes no argument ${shown(word)}${meant === undefined ? "" : `: ${meant}`}`);
}

function unknownFlag({ flags }: { readonly flags: readonly FlagSpec[] }, word: string): Misuse {
  const known = [...flags.flatMap(({ name, short }) => [name, short ?? name]), "--help"];
  return misuse(`unknown flag ${shown(word)}`, suggest(word.replace(/=.*/s, ""), known));
}

function checkedValue(name: string, values: readonly string[] | undefined, value: string): string {
  if (values === undefined || values.includes(value)) return value;
  const last = values.at(-1) ?? "";
  throw misuse(
    `${name} is ${values.slice(0, -1).join(", ")} or ${last}, not ${shown(value)}`,
    suggest(value.trim().toLowerCase(), values),
  );
}

function waiting({ flags }: Words): Waiting {
  return { wait: flags.has("--wait"), timeoutMs: durationOf(flags, "--timeout", TIMEOUT, TIMEOUT_MS) };
}

function durationOf(flags: Words["flags"], name: string, parser: typeof TIMEOUT, fallbackMs: number): number {
  const text = flags.get(name);
  if (text === undefined) return fallbackMs;
  const parsed = parser.parse(text);
  if (parsed.kind === "wrong")
    throw misuse(`${name} ${shown(text)} ${parsed.because}: use ${parser.expects}`);
  return parsed.value;
}

function drillCommand({ flags }: Words): Command {
  const to = flags.has("--to") ? nodeOf(flags.get("--to") ?? "") : undefined;
  if (to === "") throw misuse("--to needs the node that shall have the VIP in between");
  return {
    kind: "drill",
    to,
    intervalMs: durationOf(flags, "--interval", INTERVAL, INTERVAL_MS),
    timeoutMs: durationOf(flags, "--timeout", TIMEOUT, TIMEOUT_MS),
    output: oneOf(["text", "json", "yaml"], flags.get("--output")),
  };
}

function whyCommand({ argument, flags }: Words): Command {
  const last = flags.get("--last") ?? String(LAST);
  if (!/^[1-9]\d{0,3}$/.test(last) || Number(last) > MOST)
    throw misuse(`--last is a number from 1 to ${MOST}, not ${shown(last)}`);
  return {
    kind: "why",
    node: argument === undefined ? undefined : nodeOf(argument),
    all: flags.has("--all"),
    last: Number(last),
    file: flags.get("--file"),
    output: oneOf(["text", "json", "yaml"], flags.get("--output")),
  };
}

function moveCommand(words: Words): Command {
  const to = nodeOf(words.flags.get("--to") ?? "");
  if (to === "") throw misuse("move needs the node that shall have the VIP, as in `leasehold move --to n2`");
  return { kind: "move", to, force: words.flags.has("--force"), ...waiting(words) };
}

/**
 * The value as one of those that the table allows, which {@link readWords} has checked; the first by default.
 */
function oneOf<T extends string>(values: readonly [T, ...T[]], value: string | undefined): T {
  return values.find((one) => one === value) ?? values[0];
}

function helpOf({ argument }: Words): Command {
  const of = argument === undefined ? undefined : commandSpec(argument);
  if (argument !== undefined && of === undefined) throw unknownCommand(argument);
  return { kind: "help", of: of?.name };
}

function unknownCommand(word: string): Misuse {
  return misuse(
    `unknown command ${shown(word)}`,
    suggest(
      word.trim().toLowerCase(),
      COMMANDS.map(({ name }) => name),
    ),
  );
}

function commandOf(name: CommandName, words: Words): Command {
  const { argument, flags } = words;
  switch (name) {
    case "run":
      return { kind: name };
    case "status":
      return {
        kind: name,
        output: oneOf(["text", "wide", "json", "yaml"], flags.get("--output")),
        watch: flags.has("--watch"),
      };
    case "why":
      return whyCommand(words);
    case "move":
      return moveCommand(words);
    case "unpin":
      return { kind: name };
    case "resign":
      return { kind: name, ...waiting(words) };
    case "drain":
    case "undrain":
      return { kind: name, server: argument ?? "", ...waiting(words) };
    case "drill":
      return drillCommand(words);
    case "doctor":
      return { kind: name, output: oneOf(["text", "json", "yaml"], flags.get("--output")) };
    case "import":
      return {
        kind: name,
        files: words.all,
        output: oneOf(["text", "json", "yaml"], flags.get("--output")),
      };
    case "cleanup":
      return { kind: name, rulesOnly: flags.has("--rules-only") };
    case "forget":
      return { kind: name, node: nodeOf(argument ?? "") };
    case "manifest":
      return { kind: name, words: [] };
    case "completion":
      return { kind: name, shell: oneOf(["bash", "zsh", "fish"], argument) };
    case "man":
      return { kind: name };
    case "version":
      return { kind: name, output: oneOf(["text", "json"], flags.get("--output")) };
    case "help":
      return helpOf(words);
  }
}

/** kubectl takes flags before the command too: `leasehold -o json status`. */
function commandFirst(argv: readonly string[]): readonly string[] {
  const at = argv.findIndex((word) => commandSpec(word) !== undefined);
  if (at <= 0 || argv[0]?.startsWith("-") !== true) return argv;
  return [...argv.slice(at, at + 1), ...argv.slice(0, at), ...argv.slice(at + 1)];
}

/** Parses `argv`, which is without the interpreter and the script: `process.argv.slice(2)`. */
export function parseArgs(argv: readonly string[]): Command {
  const [first = "run", ...rest] = commandFirst(argv);
  if (argv.some((word) => HELP_FLAGS.includes(word))) return { kind: "help", of: commandSpec(first)?.name };
  try {
    const spec = commandSpec(first === "--version" ? "version" : first);
    if (spec === undefined)
      throw first.startsWith("-") ? unknownFlag({ flags: [] }, first) : unknownCommand(first);
    // Every setting is a flag of this one.
    if (spec.name === "manifest") return { kind: spec.name, words: rest };
    return commandOf(spec.name, readWords(spec, rest));
  } catch (error) {
    if (error instanceof Misuse) return { kind: "usage-error", message: error.message };
    throw error;
  }
}
