/** Parses the command line into a value. Pure. */
import { suggest } from "../config/suggest.ts";
import { shown } from "../config/text.ts";

export type Command =
  | { readonly kind: "run" }
  /** Removes the kernel's rules, which outlive the agent. */
  | { readonly kind: "cleanup"; readonly rulesOnly: boolean }
  /** Takes a node that is gone for good out of the Lease. */
  | { readonly kind: "forget"; readonly node: string }
  /** Prints a manifest; what `words` mean is in manifest.ts, because it takes every setting. */
  | { readonly kind: "manifest"; readonly words: readonly string[] }
  | { readonly kind: "version"; readonly output: "text" | "json" }
  | { readonly kind: "help" }
  | { readonly kind: "manifest-help" }
  /** Ends with exit status 2 and this message on standard error. */
  | { readonly kind: "usage-error"; readonly message: string };

export const COMMANDS = ["run", "cleanup", "forget", "manifest", "version", "help"] as const;
const RULES_ONLY = "--rules-only";
const FLAGS = ["--help", "-h", "--version", "--output", "-o", RULES_ONLY] as const;

function usageError(problem: string, near: string | undefined): Command {
  const advice = near === undefined ? "`leasehold --help` lists what there is" : `did you mean ${near}?`;
  return { kind: "usage-error", message: `leasehold: ${problem}; ${advice}` };
}

const unknownFlag = (flag: string): Command =>
  usageError(`unknown flag ${shown(flag)}`, suggest(flag, FLAGS));

/** Returns the error of a command without arguments that was given one. */
function refused(command: string, [extra]: readonly string[]): Command | undefined {
  if (extra === undefined) return undefined;
  if (extra.startsWith("-")) return unknownFlag(extra);
  return usageError(
    `${command} takes no argument ${shown(extra)}: settings are environment variables`,
    undefined,
  );
}

/** Parses the words after `forget`. */
function forgetCommand([node, extra]: readonly string[]): Command {
  if (node === undefined || node === "")
    return usageError("forget needs the name of a node, as in `leasehold forget n4`", undefined);
  for (const word of [node, extra]) if (word?.startsWith("-") === true) return unknownFlag(word);
  if (extra !== undefined)
    return usageError(`forget takes one node, and not ${JSON.stringify(extra)} as well`, undefined);
  return { kind: "forget", node };
}

/** Parses the words after `version`. */
function versionCommand(rest: readonly string[]): Command {
  let output: "text" | "json" = "text";
  const words = rest.flatMap((arg) =>
    /^(?:-o|--output)=/.test(arg) ? [arg.slice(0, arg.indexOf("=")), arg.slice(arg.indexOf("=") + 1)] : [arg],
  );
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    if (word !== "-o" && word !== "--output")
      return word.startsWith("-")
        ? unknownFlag(word)
        : usageError(`version takes no argument ${shown(word)}`, undefined);
    const value = words[++i];
    if (value !== "json" && value !== "text")
      return usageError(
        `${word} is json or text, not ${shown(value ?? "")}`,
        suggest(value ?? "", ["json", "text"]),
      );
    output = value;
  }
  return { kind: "version", output };
}

/** Parses `argv`, which is without the interpreter and the script: `process.argv.slice(2)`. */
export function parseArgs(argv: readonly string[]): Command {
  if (argv.includes("--help") || argv.includes("-h"))
    return { kind: argv[0] === "manifest" ? "manifest-help" : "help" };
  const [first = "run", ...rest] = argv;
  switch (first) {
    case "help":
      if (rest.length === 1 && rest[0] === "manifest") return { kind: "manifest-help" };
      return refused(first, rest) ?? { kind: first };
    case "run":
      return refused(first, rest) ?? { kind: first };
    case "cleanup":
      return (
        refused(
          first,
          rest.filter((word) => word !== RULES_ONLY),
        ) ?? { kind: first, rulesOnly: rest.includes(RULES_ONLY) }
      );
    case "forget":
      return forgetCommand(rest);
    case "manifest":
      return { kind: first, words: rest };
    case "version":
    case "--version":
      return versionCommand(rest);
    default:
      if (first.startsWith("-")) return unknownFlag(first);
      return usageError(`unknown command ${shown(first)}`, suggest(first, COMMANDS));
  }
}
