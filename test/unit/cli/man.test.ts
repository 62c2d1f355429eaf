/** The man page, as groff and man read it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { COMMANDS, synopsis } from "../../../src/cli/commands.ts";
import type { CommandSpec } from "../../../src/cli/commands.ts";
import { manPage } from "../../../src/cli/man.ts";
import { PREFIX, SETTING_NAMES } from "../../../src/config/settings.ts";
import { VERSION } from "../../../src/version.ts";

const page = manPage(VERSION);
const commands: readonly CommandSpec[] = COMMANDS;

/** The page as a reader sees it on a terminal of that width. */
function read(columns: number): string {
  const ran = spawnSync("groff", ["-man", "-Tutf8", "-ww", `-rLL=${columns}n`, "-P-c"], {
    input: page,
    encoding: "utf8",
  });
  assert.equal(ran.error, undefined, "groff is needed: apt-get install groff-base");
  assert.equal(ran.stderr, "");
  assert.equal(ran.status, 0);
  // Bold and underlined letters are overstruck.
  return ran.stdout.replaceAll(new RegExp(`.${String.fromCodePoint(8)}`, "g"), "");
}

describe("the man page", () => {
  test("is the one of docs/", () =>
    assert.equal(readFileSync(new URL("../../../docs/leasehold.8", import.meta.url), "utf8"), page));

  for (const columns of [60, 80, 120])
    test(`has nothing that groff warns about, on ${columns} columns`, () => void read(columns));

  test("shows every command, flag, example, exit status and setting as it is typed", () => {
    const words = read(400).replaceAll(/\s+/g, " ");
    const shows = (text: string): void =>
      assert.ok(words.includes(text.replaceAll(/\s+/g, " ").trim()), `the page does not show ${text}`);
    for (const spec of commands) {
      shows(`leasehold ${synopsis(spec)}`);
      for (const { name, doc } of spec.flags) {
        shows(name);
        shows(doc.replaceAll("`", ""));
      }
      for (const paragraph of spec.details) shows(paragraph.replaceAll("`", ""));
      for (const [command, what] of spec.examples) shows(`# ${what} ${command}`);
      for (const [, meaning] of spec.exits) shows(meaning.replaceAll("`", ""));
    }
    for (const name of SETTING_NAMES) shows(`${PREFIX}${name}`);
  });

  test("has no line that roff takes for a request and that is none of the page's own", () => {
    const requests = new Set([...page.matchAll(/^[.'](\S*)/gm)].map(([, name = ""]) => name));
    assert.deepEqual([...requests].toSorted(), [
      "BR",
      "PP",
      "RE",
      "RS",
      "SH",
      "SS",
      "TH",
      "TP",
      '\\"',
      "fi",
      "nf",
    ]);
  });
});
