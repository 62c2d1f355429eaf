import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { splitCommand } from "../../../src/config/command-line.ts";

describe("a command line", () => {
  const table: readonly (readonly [line: string, words: readonly string[] | undefined])[] = [
    ["/bin/check", ["/bin/check"]],
    ["  /bin/check   -p\t6443 ", ["/bin/check", "-p", "6443"]],
    [`curl -H "Host: a b" 'it''s'`, ["curl", "-H", "Host: a b", "its"]],
    [`a --name="x y"z`, ["a", "--name=x yz"]],
    [`a "" ''`, ["a", "", ""]],
    [String.raw`a\ b c\\d \"e`, ["a b", String.raw`c\d`, `"e`]],
    [String.raw`a "x\"y\\z\n" 'x\y'`, ["a", String.raw`x"y\z\n`, String.raw`x\y`]],
    // Nothing is expanded: what a shell would interpret is text.
    [
      "a $HOME ~ * ; rm | b > c `d` $(e) &",
      ["a", "$HOME", "~", "*", ";", "rm", "|", "b", ">", "c", "`d`", "$(e)", "&"],
    ],
    ["", undefined],
    ["   ", undefined],
    [`a "b`, undefined],
    ["a 'b", undefined],
    ["a b\\", undefined],
  ];
  for (const [line, words] of table) {
    test(`${JSON.stringify(line)} is ${words === undefined ? "refused" : JSON.stringify(words)}`, () => {
      assert.deepEqual(splitCommand(line), words);
    });
  }

  test("gives back any words that were quoted", () => {
    const single = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;
    const double = (word: string): string => `"${word.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.boolean()), { minLength: 1 }), (words) => {
        const line = words.map(([word, inSingle]) => (inSingle ? single(word) : double(word))).join(" ");
        assert.deepEqual(
          splitCommand(line),
          words.map(([word]) => word),
        );
      }),
    );
  });
});
