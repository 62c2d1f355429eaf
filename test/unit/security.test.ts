/** SECURITY.md: each line of its tables says how far it is defended, and what shows it. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";

const ROOT = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), "utf8");
const page = read("SECURITY.md");

interface Table {
  readonly heading: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const cells = (line: string): string[] =>
  line
    .slice(1, -1)
    .split("|")
    .map((cell) => cell.trim());

function tables(): readonly Table[] {
  const found: { heading: string; head: string[]; rows: string[][] }[] = [];
  let heading = "";
  let open = false;
  for (const line of page.split("\n")) {
    const [, title] = /^#+ (.*)/.exec(line) ?? [];
    heading = title ?? heading;
    if (!line.startsWith("|")) open = false;
    else if (!open) {
      found.push({ heading, head: cells(line), rows: [] });
      open = true;
    } else if (!/^\|[-|]+\|$/.test(line)) found.at(-1)?.rows.push(cells(line));
  }
  return found;
}

/** The anchor that GitHub makes of a heading. */
const anchorOf = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
const anchors = (text: string): ReadonlySet<string> =>
  new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) => anchorOf(title)));

const attacks = tables().filter(({ head }) => head.at(-1) === "test or reference");

describe("SECURITY.md", () => {
  test("has a table for each place, and one that compares", () => {
    assert.deepEqual(
      attacks.map(({ heading }) => heading),
      [
        "From the internet",
        "From another network of a node",
        "On the VIP's segment",
        "On a worker",
        "In a pod",
        "On one control-plane node",
        "What a client that may write the Lease can do",
      ],
    );
    const compared = tables().find(({ heading }) => heading === "Compared with keepalived and kube-vip");
    assert.deepEqual(compared?.head, ["attack", "Leasehold", "keepalived", "kube-vip"]);
    for (const row of compared.rows) assert.equal(row.filter((cell) => cell.length > 5).length, 4, row[0]);
  });

  for (const { heading, rows } of attacks)
    test(`${heading}: each line says how far it is defended, and names a test or a reference`, () => {
      assert.ok(rows.length >= 2);
      for (const row of rows) {
        assert.equal(row.length, 3, row[0]);
        const [what = "", effect = "", shown = ""] = row;
        assert.match(effect, /^(?:Prevented|Bounded|Not defended)\b.*[:.]/, what);
        assert.match(shown, /`test\/|`forged\w+`|\]\(|RFC \d+/, what);
      }
    });

  test("names tests and scenarios that there are", () => {
    const scenarios = read("test/sim/scenarios.ts");
    for (const [, path = ""] of page.matchAll(/`(test\/[^`]+)`/g))
      assert.ok(existsSync(new URL(path, ROOT)), path);
    for (const [, name = ""] of page.matchAll(/`(forged\w+)`/g))
      assert.ok(scenarios.includes(`  ${name}: {`), name);
  });

  test("links to pages and headings that there are", () => {
    for (const [, target = ""] of page.matchAll(/\]\(([^)]+)\)/g)) {
      if (target.startsWith("https://")) continue;
      const [path = "", anchor] = target.split("#");
      assert.ok(path === "" || existsSync(new URL(path, ROOT)), target);
      if (anchor === undefined) continue;
      assert.ok(anchors(path === "" ? page : read(path)).has(anchor), target);
    }
  });
});
