import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { blockOf, blocksOf, commandsOf } from "../../support/guide/guide.ts";

const PAGE = `# Page

    at the top

## Steps

1. First:

       one
       two \\
         three

   And:

       four

       five

10. Tenth:

        six

Text
    which goes on.

    seven

### Under

- a list

      eight
`;

describe("blocksOf", () => {
  test("finds each block with its heading and its step", () => {
    assert.deepEqual(
      blocksOf("page.md", PAGE).map(({ heading, step, text }) => [heading, step, text]),
      [
        ["Page", undefined, "at the top"],
        ["Steps", 1, "one\ntwo \\\n  three"],
        ["Steps", 1, "four\n\nfive"],
        ["Steps", 10, "six"],
        ["Steps", undefined, "seven"],
        ["Under", undefined, "  eight"],
      ],
    );
  });
});

describe("blockOf", () => {
  test("refuses a block that is not there, and one of several", () => {
    assert.throws(() => blockOf("README.md", { heading: "No such heading" }), /has 0 blocks/);
    assert.throws(() => blockOf("README.md", {}), /has \d\d blocks/);
  });
});

describe("commandsOf", () => {
  test("splits a block as a shell does", () => {
    assert.deepEqual(
      commandsOf(
        "a\nb \\\n  c\n(d &&\n  e)\nf |\n  g\nh  # until it says so\ncat > k <<EOF\ni (\n\nj\nEOF\nl $(m) &&  # why\n  n",
      ),
      [
        "a",
        "b \\\n  c",
        "(d &&\n  e)",
        "f |\n  g",
        "h  # until it says so",
        "cat > k <<EOF\ni (\n\nj\nEOF",
        "l $(m) &&  # why\n  n",
      ],
    );
  });
  test("refuses a command without an end", () => {
    assert.throws(() => commandsOf("a &&"), /has no end/);
    assert.throws(() => commandsOf("cat <<EOF\na"), /has no end/);
  });
});
