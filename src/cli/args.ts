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
  | { readonly kind: "doctor"; readonly output: Exclude<Output, "wide"> }
  | { readonly kind: "import"; readonly files: readonly string[]; readonly output: Exclude<Output, "wide"> }
  /** Removes the kernel's rules, which outlive the agent. */
  | { readonly kind: "cleanup"; readonly rulesOnly: boolean }
  /** Takes a node that is gone for good out of the Lease. */
  | { readonly kind: "forget"; readonly node: string }
  /** Prints a manifest; what `words` mean is in manifest.ts, because it takes every setting. */
  | { readonly kind: "manifest"; readonly words: readonly string[] }
  | { readonly kind: "completion"; readonly shell: Shell }
  | { readonly kind: "version"; readonly output: "text" | "json" }
  /** `of` is the command that is explained; undefined: all of them. */
  | { readonly kind: "help"; readonly of: CommandName | undefined }
  /** Ends with exit status 2 and this message on standard error. */
  | { readonly kind: "usage-error"; readonly message: string };

const TIMEOUT_MS = 30_000;
const TIMEOUT = duration("1s", "10m");
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

/** @throws {Misuse} */
function readWords(spec: CommandSpec, words: readonly string[]): Words {
  const flags = new Map<string, string>();
  const all: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("-") || word === "-") {
      if (spec.argument === undefined || (all.length > 0 && spec.argument.many !== true))
        throw surplus(spec, word);
      all.push(checkedValue(spec.argument.name, spec.argument.values, word));
      continue;
    }
    const [written = "", ...rest] = word.split("=");
    const flag = spec.flags.find(({ name, short }) => name === written || short === written);
    if (flag === undefined) throw unknownFlag(spec, word);
    let value = rest.length > 0 ? rest.join("=") : undefined;
    if (flag.value === undefined) {
      if (value !== undefined) throw misuse(`${written} takes no value`);
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
  if (spec.argument?.required === true && (argument ?? "") === "")
    throw misuse(`${spec.name} needs ${spec.argument.values?.join(", ") ?? spec.argument.name}`);
  return { argument, all, flags };
}

function surplus({ name, argument }: CommandSpec, word: string): Misuse {
  return argument === undefined
    ? misuse(
        `${name} takes no argument ${shown(word)}${name === "run" || name === "cleanup" ? ": settings are environment variables" : ""}`,
      )
    : misuse(`${name} takes one argument, and ${shown(word)} is one too many`);
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
    suggest(value, values),
  );
}

function waiting({ flags }: Words): Waiting {
  const text = flags.get("--timeout");
  if (text === undefined) return { wait: flags.has("--wait"), timeoutMs: TIMEOUT_MS };
  const parsed = TIMEOUT.parse(text);
  if (parsed.kind === "wrong")
    throw misuse(`--timeout ${shown(text)} ${parsed.because}: use ${TIMEOUT.expects}`);
  return { wait: flags.has("--wait"), timeoutMs: parsed.value };
}

function whyCommand({ argument, flags }: Words): Command {
  const last = flags.get("--last") ?? String(LAST);
  if (!/^[1-9]\d{0,3}$/.test(last) || Number(last) > MOST)
    throw misuse(`--last is a number from 1 to ${MOST}, not ${shown(last)}`);
  return {
    kind: "why",
    node: argument,
    all: flags.has("--all"),
    last: Number(last),
    file: flags.get("--file"),
    output: oneOf(["text", "json", "yaml"], flags.get("--output")),
  };
}

function moveCommand(words: Words): Command {
  const to = words.flags.get("--to") ?? "";
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
      word,
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
      return { kind: name, node: argument ?? "" };
    case "manifest":
      return { kind: name, words: [] };
    case "completion":
      return { kind: name, shell: oneOf(["bash", "zsh", "fish"], argument) };
    case "version":
      return { kind: name, output: oneOf(["text", "json"], flags.get("--output")) };
    case "help":
      return helpOf(words);
  }
}

/** Parses `argv`, which is without the interpreter and the script: `process.argv.slice(2)`. */
export function parseArgs(argv: readonly string[]): Command {
  const [first = "run", ...rest] = argv;
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
