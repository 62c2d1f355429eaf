import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { startsAgent } from "../../../src/cli/agent-words.ts";
import { parseArgs } from "../../../src/cli/args.ts";
import { COMMANDS, synopsis } from "../../../src/cli/commands.ts";
import type { CommandSpec } from "../../../src/cli/commands.ts";
import { completion } from "../../../src/cli/completion.ts";
import { helpText } from "../../../src/cli/help.ts";
import { versionText } from "../../../src/cli/version.ts";
import { SETTING_NAMES } from "../../../src/config/settings.ts";

describe("the command line", () => {
  for (const [argv, command] of [
    [[], { kind: "run" }],
    [["run"], { kind: "run" }],
    [["--help"], { kind: "help", of: undefined }],
    [["run", "-h"], { kind: "help", of: "run" }],
    [["help"], { kind: "help", of: undefined }],
    [["help", "move"], { kind: "help", of: "move" }],
    [["status"], { kind: "status", output: "text", watch: false }],
    [["status", "-o", "wide", "-w"], { kind: "status", output: "wide", watch: true }],
    [["status", "-o=json"], { kind: "status", output: "json", watch: false }],
    [["status", "-ojson", "--watch=false"], { kind: "status", output: "json", watch: false }],
    [["-o", "json", "status", "--watch=true"], { kind: "status", output: "json", watch: true }],
    [["--help", "drain"], { kind: "help", of: "drain" }],
    [["drain", "--wait", "n2"], { kind: "drain", server: "n2", wait: true, timeoutMs: 30_000 }],
    [["undrain", "--", "n2"], { kind: "undrain", server: "n2", wait: false, timeoutMs: 30_000 }],
    [["drill"], { kind: "drill", to: undefined, intervalMs: 20, timeoutMs: 30_000, output: "text" }],
    [
      ["drill", "--to=N2", "--interval", "5ms", "-oyaml"],
      { kind: "drill", to: "n2", intervalMs: 5, timeoutMs: 30_000, output: "yaml" },
    ],
    [["man"], { kind: "man" }],
    [["forget", " N4 "], { kind: "forget", node: "n4" }],
    [["why", "node/N2"], { kind: "why", node: "n2", all: false, last: 5, file: undefined, output: "text" }],
    [["why"], { kind: "why", node: undefined, all: false, last: 5, file: undefined, output: "text" }],
    [
      ["why", "n2", "--all", "--last=50", "-o", "yaml", "-f", "x.json"],
      { kind: "why", node: "n2", all: true, last: 50, file: "x.json", output: "yaml" },
    ],
    [["move", "--to", "n2"], { kind: "move", to: "n2", force: false, wait: false, timeoutMs: 30_000 }],
    [
      ["move", "--to=n2", "--force", "--wait", "--timeout", "1m30s"],
      { kind: "move", to: "n2", force: true, wait: true, timeoutMs: 90_000 },
    ],
    [["unpin"], { kind: "unpin" }],
    [["resign", "--timeout", "5s"], { kind: "resign", wait: false, timeoutMs: 5_000 }],
    [["completion", "fish"], { kind: "completion", shell: "fish" }],
    [["manifest", "pod", "--vip", "x"], { kind: "manifest", words: ["pod", "--vip", "x"] }],
    [["manifest", "--help"], { kind: "help", of: "manifest" }],
    [["manifest", "pod", "-h"], { kind: "help", of: "manifest" }],
    [["help", "manifest"], { kind: "help", of: "manifest" }],
    [["cleanup"], { kind: "cleanup", rulesOnly: false }],
    [["cleanup", "--rules-only"], { kind: "cleanup", rulesOnly: true }],
    [["forget", "n4"], { kind: "forget", node: "n4" }],
    [["version"], { kind: "version", output: "text" }],
    [["--version"], { kind: "version", output: "text" }],
    [["version", "-o", "json"], { kind: "version", output: "json" }],
    [["version", "--output=json"], { kind: "version", output: "json" }],
  ] as const) {
    test(`${JSON.stringify(argv)} is ${command.kind}`, () => assert.deepEqual(parseArgs(argv), command));
  }

  for (const [argv, pattern] of [
    [["rnu"], /unknown command "rnu"; did you mean run\?/],
    [["frobnicate"], /unknown command "frobnicate"; `leasehold --help`/],
    [["--hlep"], /unknown flag "--hlep"; did you mean --help\?/],
    [["run", "--vip=1"], /unknown flag "--vip=1"/],
    [["cleanup", "--rule-only"], /did you mean --rules-only\?/],
    [["cleanup", "--rules-only", "n3"], /cleanup takes no argument "n3"/],
    [["forget"], /forget needs NODE/],
    [["forget", ""], /forget needs NODE/],
    [["forget", "n4", "n5"], /forget takes one argument, and "n5" is one too many/],
    [["forget", "--rules-only"], /unknown flag "--rules-only"/],
    [["forget", "n4", "--force"], /unknown flag "--force"/],
    [["froget", "n4"], /did you mean forget\?/],
    [["run", "now"], /settings are environment variables/],
    [["version", "-o"], /-o is text or json, not ""/],
    [["status", "-o", "yml"], /-o is text, wide, json or yaml, not "yml"; did you mean yaml\?/],
    [["status", "n1"], /status takes no argument "n1": `leasehold why n1` is about one node/],
    [["status", "n1\u001b[2J"], /status takes no argument "n1\\u001b\[2J"; /],
    [["status", "--watch=2"], /--watch takes no value/],
    [["status", "-o", " JSON"], /did you mean json\?/],
    [["status", "-x"], /unknown flag "-x"/],
    [["status", "-", "-o"], /takes no argument "-"/],
    [["STATUS"], /unknown command "STATUS"; did you mean status\?/],
    [["forget", " "], /forget needs NODE/],
    [["drain"], /drain needs API_SERVER/],
    [["drill", "n2"], /the node is a flag: `leasehold drill --to n2`/],
    [["drill", "--interval", "1ms"], /--interval "1ms" .*5ms to 1s/],
    [["drill", "--to", " "], /--to needs the node/],
    [["status", "-w", "--watch"], /--watch is given twice/],
    [["why", "n1", "n2"], /why takes one argument, and "n2" is one too many/],
    [["why", "--last", "0"], /--last is a number from 1 to 1000, not "0"/],
    [["why", "--file"], /--file needs a value/],
    [["move"], /move needs the node/],
    [["move", "n2"], /move takes no argument "n2": the node is a flag: `leasehold move --to n2`/],
    [["move", "--to"], /--to needs a value/],
    [["move", "--to", "n2", "--timeout", "5"], /--timeout "5" has no unit/],
    [["completion"], /completion needs bash, zsh, fish/],
    [["completion", "tcsh"], /SHELL is bash, zsh or fish, not "tcsh"/],
    [["help", "staus"], /did you mean status\?/],
    [["version", "-o", "jsno"], /did you mean json\?/],
    [["version", "extra"], /takes no argument "extra"/],
  ] as const) {
    test(`${JSON.stringify(argv)} is refused with advice`, () => {
      const command = parseArgs(argv);
      assert.ok(command.kind === "usage-error");
      assert.match(command.message, pattern);
    });
  }

  test("starts the agent for exactly the words that the parser takes for run", () => {
    const vocabulary = ["run", "--", "", "-h", "--help", "status", "--watch=false", "-o", "Run", "run --"];
    let lines: readonly (readonly string[])[] = [[]];
    const started: string[] = [];
    for (let length = 0; length <= 4; length++) {
      for (const line of lines) {
        assert.equal(parseArgs(line).kind === "run", startsAgent(line), JSON.stringify(line));
        if (startsAgent(line)) started.push(line.join(" "));
      }
      lines = lines.flatMap((line) => vocabulary.map((word) => [...line, word]));
    }
    assert.deepEqual(started, ["", "run", "run --", "-- run"]);
  });

  test("of any kind is an answer, never an exception", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.string(),
            fc.constantFrom(
              "version",
              "-o",
              "run",
              "--output=",
              "constructor",
              "why",
              "move",
              "--to",
              "--last=",
            ),
          ),
        ),
        (argv) => {
          assert.ok(typeof parseArgs(argv).kind === "string");
        },
      ),
    );
  });
});

const commands: readonly CommandSpec[] = COMMANDS;

describe("the help", () => {
  test("names every command and every setting", () => {
    const help = helpText();
    for (const { name } of COMMANDS) assert.match(help, new RegExp(`^  ${name} `, "m"));
    for (const name of SETTING_NAMES) assert.ok(help.includes(`  LEASEHOLD_${name}  (`), name);
    for (const line of help.split("\n")) assert.ok(line.length <= 100, line);
  });

  for (const spec of commands) {
    if (spec.name === "manifest" || spec.name === "help") continue;
    test(`of ${spec.name} has its flags, examples that it accepts, and exit statuses`, () => {
      const parsed = parseArgs([spec.name, "--help"]);
      assert.ok(parsed.kind === "help" && parsed.of === spec.name);
      const help = helpText(parsed.of);
      for (const { name, doc } of spec.flags) assert.ok(help.includes(name) && doc !== "", name);
      assert.ok(spec.exits.length > 0 && spec.examples.length > 0);
      for (const [command] of spec.examples) {
        assert.ok(help.includes(command), command);
        const words = /leasehold ([^>|)"]*)/.exec(command)?.[1]?.trim().split(" ") ?? [];
        const example = parseArgs(words);
        assert.notEqual(example.kind, "usage-error", JSON.stringify(example));
      }
      for (const line of help.split("\n")) assert.ok(line.length <= 100, line);
    });
  }
});

test("the README lists every command as the table has it", () => {
  const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8");
  for (const spec of commands) {
    const row = `| \`leasehold ${synopsis(spec).replaceAll("|", "\\|")}\` | ${spec.summary} |`;
    assert.ok(readme.includes(row), row);
  }
});

describe("the completion", () => {
  /** What bash offers for the line, whose last word is the one that is completed. */
  function offered(...line: readonly string[]): readonly string[] {
    const script = `${completion("bash")}
COMP_WORDS=(leasehold "$@"); COMP_CWORD=$#; _leasehold; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const run = spawnSync("bash", ["--norc", "-c", script, "bash", ...line], { encoding: "utf8" });
    assert.equal(run.stderr, "");
    return run.stdout.split("\n").filter((word) => word !== "");
  }

  test("of bash offers commands, flags and values", () => {
    assert.deepEqual(offered("st"), ["status"]);
    assert.deepEqual(offered("").toSorted(), [...commands.map(({ name }) => name), "--help"].toSorted());
    assert.deepEqual(offered("status", "-o", ""), ["text", "wide", "json", "yaml"]);
    assert.deepEqual(offered("move", "--t"), ["--to", "--timeout"]);
    assert.deepEqual(offered("move", "--to", ""), []);
    assert.deepEqual(offered("completion", "z"), ["zsh"]);
    assert.deepEqual(offered("help", "un"), ["unpin", "undrain"]);
  });

  test("of every shell has every command and flag of the table", () => {
    for (const shell of ["bash", "zsh", "fish"] as const) {
      const script = completion(shell);
      for (const { name, flags } of commands) {
        assert.ok(script.includes(name), `${shell}: ${name}`);
        for (const flag of flags)
          assert.ok(script.includes(shell === "fish" ? `-l ${flag.name.slice(2)}` : flag.name), flag.name);
      }
      // Nothing of the table ends a quoted text.
      assert.equal((script.match(/'/g) ?? []).length % 2, 0, shell);
    }
  });
});

test("the version is for people or for programs", () => {
  const facts = { version: "1.2.3", nodeVersion: "v24.1.0", platform: "linux/x64" };
  assert.equal(versionText(facts, "text"), "leasehold 1.2.3 (node v24.1.0, linux/x64)\n");
  assert.deepEqual(JSON.parse(versionText(facts, "json")), facts);
});
