import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { blocksOf } from "../../support/guide/guide.ts";
import { isMeant, PAGES, PLAYED } from "../../support/guide/played.ts";

const blocks = PAGES.flatMap(({ page, headings }) =>
  blocksOf(page).filter(({ heading }) => headings === undefined || headings.includes(heading)),
);

describe("the list of what the tests play", () => {
  test("has every block of commands of the pages once", () => {
    for (const block of blocks)
      assert.equal(
        PLAYED.filter((entry) => isMeant(entry, block)).length,
        1,
        `${block.page}, ${block.heading}: ${block.text}`,
      );
  });

  test("has no entry for a block that is not there", () => {
    for (const entry of PLAYED)
      assert.equal(blocks.filter((block) => isMeant(entry, block)).length, 1, JSON.stringify(entry));
  });
});
