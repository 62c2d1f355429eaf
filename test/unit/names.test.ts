/** One exported name of a type means one thing, in whatever folder a reader meets it. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
const DECLARATION = /^export (?:declare )?(?:abstract )?(?:type|interface|class) (\w+)/gm;

/** The names with the files that declare them. */
function declared(): ReadonlyMap<string, readonly string[]> {
  const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".ts"),
  );
  const names = new Map<string, string[]>();
  for (const file of files.toSorted()) {
    for (const [, name = ""] of readFileSync(join(SOURCE, file), "utf8").matchAll(DECLARATION)) {
      names.set(name, [...(names.get(name) ?? []), file]);
    }
  }
  return names;
}

test("no two files export a type, an interface or a class of one name", () => {
  const names = declared();
  assert.ok(names.size > 200, `${names.size} names were read`);
  assert.deepEqual(
    [...names].filter(([, files]) => files.length > 1),
    [],
  );
});
