/** The pictures of the documentation can be read by everybody, and say what the sources say. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { pictures } from "../../scripts/pictures/all.ts";

const ROOT = new URL("../../", import.meta.url);
const DOCS = readdirSync(new URL("docs/", ROOT)).filter((name) => name.endsWith(".md"));
const PAGES = ["README.md", ...DOCS.map((name) => `docs/${name}`)];
const read = (path: string): string => readFileSync(new URL(path, ROOT), "utf8");

/** WCAG 2.1, 1.4.3: normal text needs this contrast with what is behind it. */
const CONTRAST = 4.5;
const INKS = ["t", "s", "a", "w"];
const GROUNDS = ["bg", "box", "vip", "lost"];
/** Nothing is written on these grounds in these colours. */
const UNUSED = new Set(["w on vip", "a on lost", "t on lost", "s on lost"]);

function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [light = 0, dark = 0] = [luminance(a), luminance(b)].toSorted((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

/** Every tag that is opened is closed, in order. */
function isBalanced(svg: string): boolean {
  const open: string[] = [];
  for (const [, closing, name = "", empty] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (closing === "/" && open.pop() !== name) return false;
    if (closing === "" && empty === "") open.push(name);
  }
  return open.length === 0;
}

describe("the pictures", () => {
  for (const [path, svg] of pictures()) {
    const name = path.split("/").at(-1) ?? "";

    test(`${name} in the repository is the one that the sources give (else: npm run docs)`, () => {
      assert.equal(read(path), svg);
    });

    test(`${name} has a title, a description, and nothing from outside`, () => {
      assert.match(svg, /^<svg [^>]*viewBox="0 0 \d+ \d+"[^>]*role="img"/);
      assert.match(svg, /<title id="title">.{10,}<\/title>/);
      assert.match(svg, /<desc id="description">.{100,}<\/desc>/);
      const rest = svg.replace("http://www.w3.org/2000/svg", "");
      assert.doesNotMatch(rest, /https?:|href|<image|@import|<script|<foreignObject/);
      assert.ok(isBalanced(svg));
    });

    test(`${name} can be read in the light and in the dark theme`, () => {
      const [light = "", dark = ""] = svg.split("@media (prefers-color-scheme:dark)");
      for (const theme of [light, dark]) {
        const fillOf = (what: string): string =>
          new RegExp(`^\\.${what}\\{fill:(#[0-9a-f]{6})`, "m").exec(theme)?.[1] ?? assert.fail(what);
        for (const ink of INKS) {
          for (const ground of GROUNDS) {
            const pair = `${ink} on ${ground}`;
            if (!UNUSED.has(pair)) assert.ok(contrast(fillOf(ink), fillOf(ground)) >= CONTRAST, pair);
          }
        }
      }
    });

    test(`${name} is shown in the documentation, with a text in its stead`, () => {
      const shown = new RegExp(`!\\[[^\\]]{40,}\\]\\([\\w/]*pictures/${name}\\)`);
      assert.ok(PAGES.some((page) => shown.test(read(page))));
    });
  }

  test("are all in one folder, which has no other file", () => {
    // Two are of a real run: `npm run demo -- --record docs/pictures/demo.svg` writes the recording, and
    // `LEASEHOLD_TEST_SCREENSHOTS=DIR npm run test:lab -- page` writes page.svg, with screenshots beside it.
    const wanted = [
      "demo.svg",
      "page.svg",
      ...[...pictures().keys()].map((path) => path.split("/").at(-1) ?? ""),
    ];
    assert.deepEqual(new Set(readdirSync(new URL("docs/pictures/", ROOT))), new Set(wanted));
  });
});
