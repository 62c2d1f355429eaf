/** `leasehold completion`: completion scripts of the shells, from the table of commands. Pure. */
import { COMMANDS } from "./commands.ts";
import type { CommandSpec, FlagSpec, Shell } from "./commands.ts";

const commands: readonly CommandSpec[] = COMMANDS;
const HELP: FlagSpec = { name: "--help", short: "-h", doc: "print the help of the command" };

const flagsOf = (spec: CommandSpec): readonly FlagSpec[] => [...spec.flags, HELP];
const wordsOf = ({ name, short }: FlagSpec): readonly string[] =>
  short === undefined ? [name] : [short, name];
/**
 * A text in single quotes for bash, zsh and fish. The tables have neither a quote nor a backslash in them.
 */
const quoted = (text: string): string => `'${text.replaceAll(/['\\]/g, "")}'`;

const argumentsOf = (spec: CommandSpec): readonly string[] =>
  spec.name === "help" ? commands.map(({ name }) => name) : (spec.argument?.values ?? []);

export function completion(shell: Shell): string {
  switch (shell) {
    case "bash":
      return bash();
    case "zsh":
      return zsh();
    case "fish":
      return fish();
  }
}

function bash(): string {
  const cases = commands.map((spec) => {
    const values = flagsOf(spec).flatMap((flag) =>
      flag.value === undefined
        ? []
        : [`        ${wordsOf(flag).join("|")}) words=${quoted((flag.values ?? []).join(" "))} ;;`],
    );
    const words = [...argumentsOf(spec), ...flagsOf(spec).flatMap(wordsOf)].join(" ");
    return `    ${spec.name})
      case "$previous" in
${[...values, `        *) words=${quoted(words)} ;;`].join("\n")}
      esac
      ;;`;
  });
  return `# bash completion of leasehold: source <(leasehold completion bash)
_leasehold() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quoted([...commands.map(({ name }) => name), "--help"].join(" "))} -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _leasehold leasehold
`;
}

function zsh(): string {
  const cases = commands.map((spec) => {
    const flags = flagsOf(spec).flatMap((flag) =>
      wordsOf(flag).map((word) => {
        const doc = flag.doc.replaceAll(/[[\]:]/g, " ");
        const value =
          flag.value === undefined
            ? ""
            : `:${flag.value}:${flag.values === undefined ? "" : `(${flag.values.join(" ")})`}`;
        return `        ${quoted(`${word}[${doc}]${value}`)}`;
      }),
    );
    const values = argumentsOf(spec);
    const argument =
      values.length === 0
        ? []
        : [`        ${quoted(`1:${spec.argument?.name ?? ""}:(${values.join(" ")})`)}`];
    return `    ${spec.name})
      _arguments \\
${[...flags, ...argument].join(" \\\n")}
      ;;`;
  });
  return `#compdef leasehold
# zsh completion of leasehold: leasehold completion zsh > "\${fpath[1]}/_leasehold"
_leasehold() {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary.replaceAll(":", " ")}`)}`).join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="$words[2]"
  words=("$words[1]" "\${(@)words[3,-1]}")
  (( CURRENT -= 1 ))
  case "$command" in
${cases.join("\n")}
  esac
}
if [ "$funcstack[1]" = _leasehold ]; then _leasehold "$@"; else compdef _leasehold leasehold; fi
`;
}

function fish(): string {
  const lines = commands.flatMap((spec) => {
    const seen = `'__fish_seen_subcommand_from ${spec.name}'`;
    const values = argumentsOf(spec);
    return [
      `complete -c leasehold -n __fish_use_subcommand -a ${spec.name} -d ${quoted(spec.summary)}`,
      ...(values.length === 0 ? [] : [`complete -c leasehold -n ${seen} -a ${quoted(values.join(" "))}`]),
      ...flagsOf(spec).map((flag) => {
        const short = flag.short === undefined ? "" : ` -s ${flag.short.slice(1)}`;
        const value =
          flag.value === undefined
            ? ""
            : flag.values !== undefined
              ? ` -x -a ${quoted(flag.values.join(" "))}`
              : flag.value === "FILE"
                ? " -r"
                : " -x";
        return `complete -c leasehold -n ${seen}${short} -l ${flag.name.slice(2)}${value} -d ${quoted(flag.doc)}`;
      }),
    ];
  });
  return `# fish completion of leasehold: leasehold completion fish > ~/.config/fish/completions/leasehold.fish
complete -c leasehold -f
${lines.join("\n")}
`;
}
