import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { COMMANDS, parseArgs } from "../../../src/cli/args.ts";
import { helpText } from "../../../src/cli/help.ts";
import { versionText } from "../../../src/cli/version.ts";
import { SETTING_NAMES } from "../../../src/config/settings.ts";

describe("the command line", () => {
  for (const [argv, command] of [
    [[], { kind: "run" }],
    [["run"], { kind: "run" }],
    [["--help"], { kind: "help" }],
    [["run", "-h"], { kind: "help" }],
    [["help"], { kind: "help" }],
    [["manifest", "pod", "--vip", "x"], { kind: "manifest", words: ["pod", "--vip", "x"] }],
    [["manifest", "--help"], { kind: "manifest-help" }],
    [["manifest", "pod", "-h"], { kind: "manifest-help" }],
    [["help", "manifest"], { kind: "manifest-help" }],
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
    [["forget"], /forget needs the name of a node/],
    [["forget", ""], /forget needs the name of a node/],
    [["forget", "n4", "n5"], /forget takes one node, and not "n5" as well/],
    [["forget", "--rules-only"], /unknown flag "--rules-only"/],
    [["forget", "n4", "--force"], /unknown flag "--force"/],
    [["froget", "n4"], /did you mean forget\?/],
    [["run", "now"], /settings are environment variables/],
    [["version", "-o"], /-o is json or text, not ""/],
    [["version", "-o", "jsno"], /did you mean json\?/],
    [["version", "extra"], /takes no argument "extra"/],
  ] as const) {
    test(`${JSON.stringify(argv)} is refused with advice`, () => {
      const command = parseArgs(argv);
      assert.ok(command.kind === "usage-error");
      assert.match(command.message, pattern);
    });
  }

  test("of any kind is an answer, never an exception", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom("version", "-o", "run", "--output=", "constructor"))),
        (argv) => {
          assert.ok(["run", "version", "help", "usage-error"].includes(parseArgs(argv).kind));
        },
      ),
    );
  });
});

test("the help names every command and every setting", () => {
  const help = helpText();
  for (const command of COMMANDS) assert.match(help, new RegExp(`^  ${command} `, "m"));
  for (const name of SETTING_NAMES) assert.ok(help.includes(`  LEASEHOLD_${name}  (`), name);
  for (const line of help.split("\n")) assert.ok(line.length <= 100, line);
});

test("the version is for people or for programs", () => {
  const facts = { version: "1.2.3", nodeVersion: "v24.1.0", platform: "linux/x64" };
  assert.equal(versionText(facts, "text"), "leasehold 1.2.3 (node v24.1.0, linux/x64)\n");
  assert.deepEqual(JSON.parse(versionText(facts, "json")), facts);
});
